//! One worker's connection.

use phalanx_common::id::{Epoch, NodeId};
use phalanx_common::report::Report;
use phalanx_common::wire::v1::{FromWorker, ToWorker};
use phalanx_common::wire::{CONTROL_PRIORITY, ClientHello, ServerHello, StreamKind, VERSIONS, agree};
use phalanx_net::frames::{self, Receiving, Sending, accept};
use quinn::{Connection, ConnectionError, Incoming, RecvStream, SendStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::logs;
use crate::driver::Message;
use crate::output::LogSink;

/// Orders that may wait for one worker. A worker that takes none of these many is not reading:
/// its connection is dropped, and the orders still due are sent again after its next Hello.
pub(crate) const ORDERS_QUEUED: usize = 1024;

/// Why a connection or one of its streams ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Stream(#[from] frames::Error),
    #[error("the connection was lost")]
    Lost(#[from] ConnectionError),
    #[error("the coordinator ends")]
    Ending,
    #[error("{0}")]
    Protocol(&'static str),
}

/// Serves one connection to its end and tells the driver.
pub(super) async fn serve(incoming: Incoming, epoch: Epoch, inbox: mpsc::Sender<Message>, logs: LogSink) {
    let connection = match incoming.await {
        Ok(connection) => connection,
        Err(error) => {
            tracing::warn!(%error, "a connection was refused");
            return;
        }
    };
    let mut session = Session { connection, epoch, inbox, logs, node: None };
    let ended = session.run().await;
    if let (Err(error), Some(node)) = (ended, &session.node) {
        tracing::debug!(%node, error = &error as &dyn std::error::Error, "connection ended");
    }
    if let Some(node) = session.node {
        let connection = session.connection.stable_id();
        // The driver may be gone already: then nobody needs to know.
        let _ = session.inbox.send(Message::Disconnected { node, connection }).await;
    }
}

struct Session {
    connection: Connection,
    epoch: Epoch,
    inbox: mpsc::Sender<Message>,
    logs: LogSink,
    /// Known after the node's Hello.
    node: Option<NodeId>,
}

impl Session {
    async fn run(&mut self) -> Result<(), Error> {
        let (header, send, frames) = accept(self.connection.accept_bi().await?).await?;
        if header.kind != StreamKind::Control {
            return Err(Error::Protocol("the first stream of a worker is its control stream"));
        }
        let (orders_in, orders) = mpsc::channel(ORDERS_QUEUED);
        let mut tasks = JoinSet::new();
        let Some((send, frames)) = self.hello(send, frames).await? else { return Ok(()) };
        tasks.spawn(write_orders(send, orders));
        self.read_reports(frames, orders_in, &mut tasks).await
    }

    /// Agrees on a version; `None` if there is none.
    async fn hello(
        &self,
        mut send: Sending,
        mut frames: Receiving,
    ) -> Result<Option<(Sending, Receiving)>, Error> {
        send.set_priority(CONTROL_PRIORITY);
        let hello: ClientHello = frames.read().await?;
        let Some(version) = agree(&hello) else {
            let refusal =
                ServerHello::NoCommonVersion { lowest: *VERSIONS.start(), highest: *VERSIONS.end() };
            send.write(&refusal).await?;
            return Ok(None);
        };
        send.write(&ServerHello::Welcome { version, epoch: self.epoch.0 }).await?;
        Ok(Some((send, frames)))
    }

    async fn read_reports(
        &mut self,
        mut frames: Receiving,
        orders: mpsc::Sender<ToWorker>,
        tasks: &mut JoinSet<()>,
    ) -> Result<(), Error> {
        loop {
            tokio::select! {
                report = frames.read::<FromWorker>() => self.on_report(report?.into(), &orders).await?,
                stream = self.connection.accept_bi() => self.on_stream(stream?, tasks),
            }
        }
    }

    async fn on_report(&mut self, report: Report, orders: &mpsc::Sender<ToWorker>) -> Result<(), Error> {
        if let Report::Hello(node) = &report {
            let connection = self.connection.stable_id();
            self.node = Some(node.node.clone());
            let connected =
                Message::Connected { node: node.node.clone(), connection, orders: orders.clone() };
            self.deliver(connected).await?;
        }
        let Some(node) = self.node.clone() else {
            return Err(Error::Protocol("a worker reports before its Hello"));
        };
        self.deliver(Message::Report { node, report }).await
    }

    async fn deliver(&self, message: Message) -> Result<(), Error> {
        self.inbox.send(message).await.map_err(|_| Error::Ending)
    }

    fn on_stream(&self, stream: (SendStream, RecvStream), tasks: &mut JoinSet<()>) {
        tasks.spawn(logs::receive(stream, self.logs.clone()));
        while tasks.try_join_next().is_some() {}
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
