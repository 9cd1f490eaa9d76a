//! Jobs: finding, submitting, following and stopping them.

use phalanx_common::defaults::MAX_JOBS_OF_USER;
use phalanx_common::event::{Event, EventKind};
use phalanx_common::exit::ExitStatus;
use phalanx_common::id::JobId;
use phalanx_common::identity::Owner;
use phalanx_common::spec::JobSpec;
use phalanx_common::wire::client_v1::{Refusal, Reply, Submit};
use phalanx_launcher_core::access::Action;
use phalanx_net::frames::Sending;
use tokio::sync::{mpsc, oneshot};

use super::{EVENTS_QUEUED, Failed, Session, bad, ending};
use crate::driver::{Launch, Launched, Message, Secrets, Waiting, look};

/// Linux has no signal beyond this.
const LAST_SIGNAL: u8 = 64;

impl Session {
    /// The job of this id, or the one job whose id begins so; and its owner.
    pub(super) async fn find(&self, prefix: &str) -> Result<(JobId, String), Failed> {
        let wanted = prefix.to_owned();
        let found = look(&self.service.inbox, move |coordinator, _| {
            let exact = JobId::from_existing(wanted.as_str());
            let begins = |id: &JobId| id.as_str().starts_with(&wanted);
            let mut found: Vec<(JobId, String)> = match coordinator.job(&exact) {
                Some(view) => vec![(exact.clone(), view.job.owner.name.clone())],
                None => coordinator
                    .jobs()
                    .filter(|view| begins(view.id))
                    .map(|view| (view.id.clone(), view.job.owner.name.clone()))
                    .collect(),
            };
            // A name stands for its job that has not ended, if there is one such.
            if found.len() > 1 {
                let live = |id: &JobId| coordinator.job(id).is_some_and(|view| !view.job.ended());
                if found.iter().filter(|(id, _)| live(id)).count() == 1 {
                    found.retain(|(id, _)| live(id));
                }
            }
            found
        });
        let mut found = found.await.ok_or_else(ending)?;
        match (found.pop(), found.len()) {
            (Some(job), 0) => Ok(job),
            (Some(last), more) => Err(bad(format!(
                "{prefix} stands for {} jobs, {} among them: give more of the id",
                more + 1,
                last.0
            ))),
            (None, _) => Err(Failed::Refused(
                Refusal::Unknown,
                format!("there is no job {prefix}; `phalanx ps --all` lists them"),
            )),
        }
    }

    /// Whether the job has, or had, this generation and this rank.
    pub(super) async fn has_output_of(
        &self,
        job: &JobId,
        generation: Option<u32>,
        rank: Option<u32>,
    ) -> Result<(), Failed> {
        let of = job.clone();
        let found = look(&self.service.inbox, move |coordinator, _| {
            let job = coordinator.job(&of)?.job;
            // A generation of an elastic job may have had more than it has now.
            let ranks = job.spec.elastic.map_or(job.spec.world_size(), |elastic| elastic.max);
            Some((ranks, job.generation.as_ref().map_or(0, |last| last.number.0)))
        });
        let Some((ranks, last)) = found.await.ok_or_else(ending)? else { return Ok(()) };
        match (rank, generation) {
            (Some(rank), _) if rank >= ranks && ranks == 1 => {
                Err(bad(format!("job {job} has no rank {rank}: its one rank is 0")))
            }
            (Some(rank), _) if rank >= ranks => Err(bad(format!(
                "job {job} has no rank {rank}: its ranks are 0 to {}",
                ranks.saturating_sub(1)
            ))),
            (_, Some(generation)) if generation == 0 || generation > last => Err(bad(format!(
                "job {job} has no generation {generation}: it has had {last}, counted from 1"
            ))),
            _ => Ok(()),
        }
    }

    pub(super) async fn submit(&self, submit: Submit, send: &mut Sending) -> Result<(), Failed> {
        let attached = submit.attached;
        let owner = self.owner(submit.as_user).await?;
        let spec = JobSpec::from_document(submit.document.as_bytes()).map_err(bad)?;
        if let Some(ship) = &spec.ship
            && !self.cluster.blobs.holds(&owner.name, ship).await
        {
            let why = "the job's directory was not sent before the job; submit it again";
            return Err(Failed::Refused(Refusal::Unknown, why.to_owned()));
        }
        self.has_room_for_job_of(&owner).await?;
        let (watcher, events) = mpsc::channel(EVENTS_QUEUED);
        let (reply, job) = oneshot::channel();
        let launch = Launch {
            spec,
            owner,
            waits: attached.then(|| self.service.inbox.clone()),
            secrets: Secrets(submit.secrets),
            watcher,
            reply,
        };
        self.tell(Message::Launch(Box::new(launch))).await?;
        let Launched { job, waiting } = job.await.map_err(|_| ending())?;
        send.write(&Reply::Submitted { job: job.to_string() }).await?;
        for warning in self.warnings(&job, attached).await? {
            send.write(&Reply::Warning(warning)).await?;
        }
        self.follow(job, events, waiting, send).await
    }

    /// Whether the user may have one more job. Several submitted in one moment may all be let in: the bound is no
    /// quota.
    async fn has_room_for_job_of(&self, owner: &Owner) -> Result<(), Failed> {
        let name = owner.name.clone();
        let found = look(&self.service.inbox, move |coordinator, _| {
            coordinator.jobs().filter(|view| !view.job.ended() && view.job.owner.name == name).count()
        });
        if found.await.ok_or_else(ending)? < MAX_JOBS_OF_USER {
            return Ok(());
        }
        Err(bad(format!(
            "{} has {MAX_JOBS_OF_USER} jobs that have not ended, as many as one user may: wait for some, or stop them",
            owner.name
        )))
    }

    pub(super) async fn attach(&self, job: &str, wait: bool, send: &mut Sending) -> Result<(), Failed> {
        let (job, owner) = self.find(job).await?;
        self.may(Action::Control { owner: &owner })?;
        let (watcher, events) = mpsc::channel(EVENTS_QUEUED);
        self.tell(Message::Watch { job: job.clone(), watcher }).await?;
        let waiting = if wait {
            self.tell(Message::ClientWaits { job: job.clone() }).await?;
            Some(Waiting::new(&job, self.service.inbox.clone()))
        } else {
            None
        };
        send.write(&Reply::Submitted { job: job.to_string() }).await?;
        self.follow(job, events, waiting, send).await
    }

    /// Tells the client what happens to the job, to its end.
    async fn follow(
        &self,
        job: JobId,
        mut events: mpsc::Receiver<Event>,
        waiting: Option<Waiting>,
        send: &mut Sending,
    ) -> Result<(), Failed> {
        while let Some(event) = events.recv().await {
            let text = serde_json::to_string(&event).map_err(|error| bad(error.to_string()))?;
            send.write(&Reply::Event(text)).await?;
            if matches!(event.kind, EventKind::JobEnded { .. }) && event.job.as_ref() == Some(&job) {
                if let Some(waiting) = waiting {
                    waiting.over();
                }
                return Ok(());
            }
        }
        Err(Failed::Refused(Refusal::Failed, "this client did not keep up with the events".to_owned()))
    }

    pub(super) async fn suspend(&self, job: &str) -> Result<(), Failed> {
        let (job, owner) = self.find(job).await?;
        self.may(Action::Control { owner: &owner })?;
        self.tell(Message::Suspend { job }).await
    }

    pub(super) async fn resume(&self, job: &str) -> Result<(), Failed> {
        let (job, owner) = self.find(job).await?;
        self.may(Action::Control { owner: &owner })?;
        self.tell(Message::Resume { job }).await
    }

    pub(super) async fn stop(&self, job: &str, signal: u8, force: bool) -> Result<(), Failed> {
        let (job, owner) = self.find(job).await?;
        self.may(Action::Control { owner: &owner })?;
        let by = self.principal.to_string();
        let status = ExitStatus::Signal(signal.clamp(1, LAST_SIGNAL));
        self.tell(Message::Stop { job, by, status, force }).await
    }
}
