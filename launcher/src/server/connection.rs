//! One worker's connection.

use std::pin::pin;
use std::time::Duration;

use phalanx_common::id::{Epoch, NodeId};
use phalanx_common::report::Report;
use phalanx_common::time::Timestamp;
use phalanx_common::wire::v1::{FromWorker, ToWorker};
use phalanx_common::wire::{
    CONTROL_PRIORITY, ClientHello, ServerHello, StreamHeader, StreamKind, VERSIONS, agree,
};
use phalanx_net::frames::{self, Receiving, Sending, accept};
use phalanx_net::transport::{CLOSED_NORMALLY, CLOSED_PROTOCOL, CLOSED_REPLACED, MORE_STREAMS};
use quinn::{Connection, ConnectionError, RecvStream, SendStream, VarInt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::blobs::Blobs;
use super::hub::Logs;
use super::tails::Tails;
use super::{logs, topology};
use crate::cluster::surveys::Surveys;
use crate::driver::{Closing, Message, Peer};

/// Orders that may wait for one worker. A worker that takes none of these many is not reading:
/// its connection is dropped, and the orders still due are sent again after its next Hello.
pub(crate) const ORDERS_QUEUED: usize = 1024;

/// From the end of the handshake to the Hello, which takes a peer one round trip. One that says nothing would
/// hold its connection for as long as it keeps it alive.
const HELLO_WITHIN: Duration = Duration::from_secs(10);

/// Why a connection or one of its streams ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Stream(#[from] frames::Error),
    #[error("the connection was lost")]
    Lost(#[from] ConnectionError),
    #[error("the coordinator ends")]
    Ending,
    #[error("{}", .0.why())]
    Closed(Closing),
    #[error("{0}")]
    Protocol(&'static str),
}

impl Error {
    /// What a peer that broke the protocol is told; `None` where the connection ended for another reason.
    pub(super) fn breach(&self) -> Option<String> {
        match self {
            Error::Protocol(why) => Some((*why).to_owned()),
            Error::Stream(error @ (frames::Error::Header(_) | frames::Error::Frame(_))) => {
                let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
                Some(format!("{error}: {source}"))
            }
            Error::Stream(error @ frames::Error::TooLarge { .. }) => Some(error.to_string()),
            _ => None,
        }
    }
}

/// Who a worker is before it says a word.
#[derive(Clone, Debug)]
pub(super) struct Certified {
    pub(super) node: NodeId,
    pub(super) expires: Timestamp,
    pub(super) tails: Tails,
    pub(super) blobs: Blobs,
    pub(super) surveys: Surveys,
}

/// Serves one worker to its end and tells the driver. `certified` is `None` in local mode, where one
/// key was made for both ends.
pub(super) async fn serve(
    connection: Connection,
    certified: Option<Certified>,
    epoch: Epoch,
    inbox: mpsc::Sender<Message>,
    logs: Logs,
) {
    let (close, mut closing) = mpsc::channel(1);
    let mut session = Session { connection, certified, epoch, inbox, logs, close, node: None };
    let ended = tokio::select! {
        ended = session.run() => ended,
        Some(why) = closing.recv() => Err(Error::Closed(why)),
    };
    if let Err(error) = ended {
        if let Error::Closed(why) = &error {
            let code = match why {
                Closing::Replaced => CLOSED_REPLACED,
                Closing::Deaf => CLOSED_NORMALLY,
            };
            session.connection.close(code, why.why().as_bytes());
        }
        let node = session.node.as_ref().map_or("(before its Hello)", NodeId::as_str);
        match error.breach() {
            Some(why) => {
                let from = session.connection.remote_address();
                let certified = session.certified.as_ref().map_or("", |certified| certified.node.as_str());
                tracing::warn!(%from, node = certified, why, "a worker broke the protocol");
                session.connection.close(CLOSED_PROTOCOL, why.as_bytes());
            }
            None => tracing::debug!(node, error = &error as &dyn std::error::Error, "connection ended"),
        }
    }
    if let Some(node) = session.node {
        let connection = session.connection.stable_id();
        // The driver may be gone already: then nobody needs to know.
        let left = matches!(session.connection.close_reason(), Some(ConnectionError::ApplicationClosed(close)) if close.error_code == CLOSED_NORMALLY);
        let _ = session.inbox.send(Message::Disconnected { node, connection, left }).await;
    }
}

struct Session {
    connection: Connection,
    certified: Option<Certified>,
    epoch: Epoch,
    inbox: mpsc::Sender<Message>,
    logs: Logs,
    close: mpsc::Sender<Closing>,
    /// Known after the node's Hello.
    node: Option<NodeId>,
}

impl Session {
    async fn run(&mut self) -> Result<(), Error> {
        // In local mode both ends are one process, which may be stopped at any moment.
        let greeted = match self.certified {
            Some(_) => greet_in_time(&self.connection, self.epoch).await?,
            None => greet(&self.connection, self.epoch).await?,
        };
        let Some((send, frames)) = greeted else { return Ok(()) };
        let (orders_in, orders) = mpsc::channel(ORDERS_QUEUED);
        let mut tasks = JoinSet::new();
        tasks.spawn(write_orders(send, orders));
        self.read_reports(frames, orders_in, &mut tasks).await
    }

    async fn read_reports(
        &mut self,
        mut frames: Receiving,
        orders: mpsc::Sender<ToWorker>,
        tasks: &mut JoinSet<()>,
    ) -> Result<(), Error> {
        let connection = self.connection.clone();
        loop {
            // One wait for many reports: it is seldom that a stream comes.
            let mut stream = pin!(connection.accept_bi());
            loop {
                tokio::select! {
                    report = frames.read::<FromWorker>() => self.on_report(report?.into(), &orders).await?,
                    stream = &mut stream => {
                        self.on_stream(stream?, tasks);
                        break;
                    }
                }
            }
        }
    }

    async fn on_report(&mut self, report: Report, orders: &mpsc::Sender<ToWorker>) -> Result<(), Error> {
        if let Report::Hello(node) = &report {
            if self.certified.as_ref().is_some_and(|certified| certified.node != node.node) {
                return Err(Error::Protocol("the certificate is another node's"));
            }
            let connection = self.connection.stable_id();
            self.node = Some(node.node.clone());
            let expires = self.certified.as_ref().map(|certified| certified.expires);
            let peer = Peer { connection, orders: orders.clone(), close: self.close.clone(), expires };
            self.deliver(Message::Connected { node: node.node.clone(), peer }).await?;
        }
        let Some(node) = self.node.clone() else {
            return Err(Error::Protocol("a worker reports before its Hello"));
        };
        let connection = self.connection.stable_id();
        self.deliver(Message::Report { node, connection, report }).await
    }

    async fn deliver(&self, message: Message) -> Result<(), Error> {
        self.inbox.send(message).await.map_err(|_| Error::Ending)
    }

    fn on_stream(&self, stream: (SendStream, RecvStream), tasks: &mut JoinSet<()>) {
        let connection = self.connection.clone();
        let (logs, certified, inbox) = (self.logs.clone(), self.certified.clone(), self.inbox.clone());
        tasks.spawn(async move {
            match accept(stream).await {
                Ok((header, send, frames)) => {
                    if header.kind == StreamKind::Log {
                        // This worker serves output: it may have more than the few streams of an idle one.
                        connection.set_max_concurrent_bi_streams(VarInt::from_u32(MORE_STREAMS));
                    }
                    side_stream((header, send, frames), logs, certified, inbox).await;
                }
                Err(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "a stream did not begin");
                }
            }
        });
        while tasks.try_join_next().is_some() {}
    }
}

/// `greet` of a peer that may be anybody with a certificate.
pub(super) async fn greet_in_time(
    connection: &Connection,
    epoch: Epoch,
) -> Result<Option<(Sending, Receiving)>, Error> {
    let greeted = tokio::time::timeout(HELLO_WITHIN, greet(connection, epoch)).await;
    greeted.unwrap_or(Err(Error::Protocol("no Hello came in time")))
}

/// Takes the control stream and agrees on a version; `None` if there is none.
async fn greet(connection: &Connection, epoch: Epoch) -> Result<Option<(Sending, Receiving)>, Error> {
    let (header, mut send, mut frames) = accept(connection.accept_bi().await?).await?;
    if header.kind != StreamKind::Control {
        return Err(Error::Protocol("the first stream is the control stream"));
    }
    send.set_priority(CONTROL_PRIORITY);
    let hello: ClientHello = frames.read().await?;
    let Some(version) = agree(&hello) else {
        let refusal = ServerHello::NoCommonVersion { lowest: *VERSIONS.start(), highest: *VERSIONS.end() };
        send.write(&refusal).await?;
        send.finish().await;
        return Ok(None);
    };
    send.write(&ServerHello::Welcome { version, epoch: epoch.0 }).await?;
    Ok(Some((send, frames)))
}

/// Any stream of a worker but its first.
async fn side_stream(
    (header, send, frames): (StreamHeader, Sending, Receiving),
    logs: Logs,
    certified: Option<Certified>,
    inbox: mpsc::Sender<Message>,
) {
    match (header.kind, certified) {
        (StreamKind::Log, certified) => {
            logs::receive(send, frames, logs, certified.map(|certified| certified.node)).await;
        }
        (StreamKind::Tail, Some(certified)) => certified.tails.receive(certified.node, frames, inbox).await,
        (StreamKind::File, Some(certified)) => {
            certified.blobs.serve(certified.node, send, frames, inbox).await;
        }
        (StreamKind::Topology, Some(certified)) => {
            topology::serve(certified.surveys, certified.node, send, frames).await;
        }
        (kind, _) => tracing::debug!(?kind, "a worker opened a stream of this kind"),
    }
}

async fn write_orders(mut send: Sending, mut orders: mpsc::Receiver<ToWorker>) {
    while let Some(order) = orders.recv().await {
        if let Err(error) = send.write(&order).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "an order could not be written");
            return;
        }
    }
}
