//! One client's connection: an operator, submitter or viewer, known by certificate.

mod admin;
mod details;
mod jobs;
mod nodes;
mod placing;
mod topology;

use std::sync::Arc;
use std::time::Duration;

use phalanx_common::identity::{Owner, Principal};
use phalanx_common::spec::Ship;
use phalanx_common::wire::StreamKind;
use phalanx_common::wire::client_v1::{PART, Refusal, Reply, Request};
use phalanx_launcher_core::Job;
use phalanx_launcher_core::access::{Action, allowed};
use phalanx_net::frames::{self, Receiving, Sending, accept};
use phalanx_net::transport::{CLOSED_PROTOCOL, MORE_STREAMS};
use quinn::{Connection, RecvStream, SendStream, VarInt};
use serde::Serialize;
use tokio::task::JoinSet;

pub(crate) use self::details::JobDetails;
use super::connection::{Error, greet_in_time};
use super::{Service, blobs, relay};
use crate::cluster::Cluster;
use crate::cluster::registry;
use crate::driver::{Message, look};

/// Events that may wait for one client: a gang of thousands of ranks starts and ends within milliseconds,
/// and each rank has its event.
pub(super) const EVENTS_QUEUED: usize = 1 << 16;
/// From the opening of a request's stream to the whole request, which may be a large job file over a thin
/// link. Half a request takes memory, up to a frame on each of the streams a client may have.
const REQUEST_WITHIN: Duration = Duration::from_secs(15);

/// A request that is not done.
#[derive(Debug)]
pub(super) enum Failed {
    /// The client is told.
    Refused(Refusal, String),
    /// Nobody is there to be told.
    Gone,
}

impl From<frames::Error> for Failed {
    fn from(_: frames::Error) -> Failed {
        Failed::Gone
    }
}

impl From<registry::Error> for Failed {
    fn from(error: registry::Error) -> Failed {
        let kind = match &error {
            registry::Error::Store(_) => Refusal::Failed,
            registry::Error::NoToken | registry::Error::NoUser { .. } => Refusal::Unknown,
            _ => Refusal::Bad,
        };
        Failed::Refused(kind, error.to_string())
    }
}

fn bad(why: impl std::fmt::Display) -> Failed {
    Failed::Refused(Refusal::Bad, why.to_string())
}

fn ending() -> Failed {
    Failed::Refused(Refusal::Failed, "the coordinator ends".to_owned())
}

/// Serves one client to its end.
pub(super) async fn serve(
    connection: Connection,
    principal: Principal,
    service: Service,
    cluster: Arc<Cluster>,
) {
    let ended = run(&connection, &principal, service, cluster).await;
    let Err(error) = ended else { return };
    match error.breach() {
        Some(why) => {
            tracing::warn!(from = %connection.remote_address(), %principal, why, "a client broke the protocol");
            connection.close(CLOSED_PROTOCOL, why.as_bytes());
        }
        None => {
            tracing::debug!(%principal, error = &error as &dyn std::error::Error, "a client's connection ended")
        }
    }
}

async fn run(
    connection: &Connection,
    principal: &Principal,
    service: Service,
    cluster: Arc<Cluster>,
) -> Result<(), Error> {
    let Some(_control) = greet_in_time(connection, service.epoch).await? else { return Ok(()) };
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(MORE_STREAMS));
    let mut requests = JoinSet::new();
    loop {
        let stream = connection.accept_bi().await?;
        let session =
            Session { principal: principal.clone(), service: service.clone(), cluster: Arc::clone(&cluster) };
        requests.spawn(session.answer(stream));
        while requests.try_join_next().is_some() {}
    }
}

struct Session {
    principal: Principal,
    service: Service,
    cluster: Arc<Cluster>,
}

impl Session {
    async fn answer(self, stream: (SendStream, RecvStream)) {
        let asked = tokio::time::timeout(REQUEST_WITHIN, async {
            let (header, send, mut frames) = accept(stream).await?;
            if header.kind != StreamKind::Request {
                return Err(Error::Protocol("a client opens streams for requests alone"));
            }
            let request: Request = frames.read().await?;
            Ok((request, send, frames))
        });
        let (request, mut send, mut frames) = match asked.await {
            Ok(Ok(asked)) => asked,
            // Only this stream ends: what else the client asked is well.
            Ok(Err(error)) => {
                tracing::debug!(principal = %self.principal, error = &error as &dyn std::error::Error, "no request");
                return;
            }
            Err(_) => {
                tracing::warn!(principal = %self.principal, "a request did not come in time");
                return;
            }
        };
        tracing::debug!(principal = %self.principal, ?request, "request");
        let last = match self.handle(request, &mut send, &mut frames).await {
            Ok(()) => Reply::Done,
            Err(Failed::Refused(kind, why)) => Reply::Refused { kind, why },
            Err(Failed::Gone) => return,
        };
        if send.write(&last).await.is_ok() {
            send.finish().await;
        }
    }

    async fn handle(
        &self,
        request: Request,
        send: &mut Sending,
        frames: &mut Receiving,
    ) -> Result<(), Failed> {
        match request {
            Request::Submit(submit) => self.submit(submit, send).await,
            Request::Attach { job, wait } => self.attach(&job, wait, send).await,
            Request::Stop { job, signal, force } => self.stop(&job, signal, force).await,
            Request::Jobs { ended } => {
                self.may(Action::Look)?;
                let found = look(&self.service.inbox, move |coordinator, _| coordinator.job_statuses(ended));
                document(&found.await.ok_or_else(ending)?, send).await
            }
            Request::Job { job } => {
                self.may(Action::Look)?;
                document(&self.details(&job).await?, send).await
            }
            Request::Nodes => self.nodes(send).await,
            Request::Plan { document, as_user } => self.plan(&document, as_user, send).await,
            Request::Suspend { job } => self.suspend(&job).await,
            Request::Resume { job } => self.resume(&job).await,
            Request::Explain { job } => self.explain(&job, send).await,
            Request::Topology => self.topology(send).await,
            Request::Witnesses => self.witnesses(send).await,
            Request::Machine { node } => self.machine(&node, send).await,
            Request::Label { node, changes } => {
                self.may(Action::Administer)?;
                self.label(&node, changes, send).await
            }
            Request::Node { node, wish } => {
                self.may(Action::Administer)?;
                self.wish(&node, wish, send).await
            }
            Request::ResumeReplacement => {
                self.may(Action::Administer)?;
                self.resume_replacement().await
            }
            Request::Logs { job, generation, rank, follow } => {
                let (job, owner) = self.find(&job).await?;
                self.may(Action::ReadOutput { owner: &owner })?;
                self.has_output_of(&job, generation, rank).await?;
                let wanted = relay::Wanted { job, generation, rank, follow };
                relay::run(wanted, &self.service.inbox, &self.cluster, send).await
            }
            Request::CreateToken { lifetime_s, uses, note } => {
                self.may(Action::Administer)?;
                self.create_token(lifetime_s, uses, note, send).await
            }
            Request::Tokens => {
                self.may(Action::Administer)?;
                document(&self.cluster.registry.tokens().await, send).await
            }
            Request::RevokeToken { id } => {
                self.may(Action::Administer)?;
                Ok(self.cluster.registry.revoke_token(&id).await?)
            }
            Request::AddUser { name, role, unix_user, csr } => {
                self.may(Action::Administer)?;
                self.add_user(name, &role, unix_user, &csr, send).await
            }
            Request::Users => {
                self.may(Action::Administer)?;
                document(&self.cluster.registry.users().await, send).await
            }
            Request::RemoveUser { name } => {
                self.may(Action::Administer)?;
                Ok(self.cluster.registry.remove_user(&name).await?)
            }
            Request::Put { digest, bytes, as_user } => {
                let owner = self.owner(as_user).await?;
                let ship = Ship { digest, bytes };
                let in_use = self.ships_in_use().await?;
                match self.cluster.blobs.take(&owner.name, &ship, in_use, (send, frames)).await {
                    Ok(()) => Ok(()),
                    Err(blobs::Error::Stream(_)) => Err(Failed::Gone),
                    Err(blobs::Error::Io(error)) => {
                        Err(Failed::Refused(Refusal::Failed, blobs::Error::Io(error).to_string()))
                    }
                    Err(error) => Err(bad(error)),
                }
            }
        }
    }

    fn may(&self, action: Action<'_>) -> Result<(), Failed> {
        if allowed(&self.principal, action) {
            return Ok(());
        }
        let what = match action {
            Action::Submit if matches!(self.principal, Principal::Operator { .. }) => {
                "run jobs as itself: submit for a user with --as USER, or log in as one".to_owned()
            }
            Action::Submit => "run jobs".to_owned(),
            Action::SubmitAs => "run jobs for others: that takes an operator".to_owned(),
            Action::Look => "see jobs".to_owned(),
            Action::ReadOutput { owner } => format!("read the output of {owner}'s jobs"),
            Action::Control { owner } => format!("control {owner}'s jobs"),
            Action::Administer => {
                "administer tokens, users and nodes: that takes an operator, who names --identity FILE; \
                 the first one's file is operator.json in the state directory of `phalanx serve`"
                    .to_owned()
            }
        };
        tracing::warn!(principal = %self.principal, ?action, "denied");
        Err(Failed::Refused(Refusal::Denied, format!("{} may not {what}", self.principal)))
    }

    /// Users and digests of the directories that jobs may need again.
    async fn ships_in_use(&self) -> Result<Vec<(String, String)>, Failed> {
        let found = look(&self.service.inbox, |coordinator, _| {
            let live = coordinator.jobs().filter(|view| !view.job.ended());
            let ship = |job: &Job| Some((job.owner.name.clone(), job.spec.ship.clone()?.digest));
            live.filter_map(|view| ship(view.job)).collect()
        });
        found.await.ok_or_else(ending)
    }

    async fn owner(&self, as_user: Option<String>) -> Result<Owner, Failed> {
        match (&self.principal, as_user) {
            (Principal::Submitter { name, unix_user }, None) => {
                Ok(Owner { name: name.clone(), unix_user: Some(unix_user.clone()) })
            }
            (_, Some(name)) => {
                self.may(Action::SubmitAs)?;
                let user = self.cluster.registry.user(&name).await?;
                let unix_user = user.unix_user.ok_or_else(|| bad(format!("{name} runs no jobs")))?;
                Ok(Owner { name, unix_user: Some(unix_user) })
            }
            (_, None) => self.may(Action::Submit).and(Err(bad("a job needs a user"))),
        }
    }

    async fn nodes(&self, send: &mut Sending) -> Result<(), Failed> {
        self.may(Action::Look)?;
        document(&self.node_statuses().await?, send).await
    }

    async fn tell(&self, message: Message) -> Result<(), Failed> {
        self.service.inbox.send(message).await.map_err(|_| ending())
    }
}

/// A document in JSON, in parts that fit a frame.
async fn document(value: &impl Serialize, send: &mut Sending) -> Result<(), Failed> {
    text(&serde_json::to_string(value).map_err(bad)?, send).await
}

async fn text(mut rest: &str, send: &mut Sending) -> Result<(), Failed> {
    while !rest.is_empty() {
        let (part, more) = rest.split_at(rest.floor_char_boundary(PART));
        send.write(&Reply::Part(part.to_owned())).await?;
        rest = more;
    }
    Ok(())
}
