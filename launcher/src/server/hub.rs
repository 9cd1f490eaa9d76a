//! Where output goes that workers send: to the printer of a local launch, or to the clients of a cluster.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use phalanx_common::id::NodeId;
use phalanx_common::wire::v1::LogFrame;
use tokio::sync::mpsc;

use crate::output::LogSink;

/// Frames (at most 64 KiB each) that may wait for one client's connection.
const FRAMES_QUEUED: usize = 8;

/// Log requests that are answered, by number.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogHub(Arc<Mutex<Requests>>);

#[derive(Debug, Default)]
struct Requests {
    last: u64,
    /// Who is asked, and where the answer goes.
    open: BTreeMap<u64, (NodeId, mpsc::Sender<Answer>)>,
}

/// What comes in answer to a log request.
#[derive(Debug)]
pub(crate) enum Answer {
    Frame(LogFrame),
    /// The worker has sent all it has. Answers that end without this broke off.
    Over,
}

/// A log request: its number, and what comes in answer. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Answers {
    pub(crate) id: u64,
    pub(crate) answers: mpsc::Receiver<Answer>,
    hub: LogHub,
}

impl LogHub {
    /// A new request to this node.
    pub(crate) fn open(&self, node: &NodeId) -> Answers {
        let (sink, answers) = mpsc::channel(FRAMES_QUEUED);
        let mut requests = self.requests();
        requests.last += 1;
        let id = requests.last;
        requests.open.insert(id, (node.clone(), sink));
        Answers { id, answers, hub: self.clone() }
    }

    /// Takes the request, so that its answers end when the one stream that answers it does. Nobody but the
    /// node that was asked answers: the numbers are easily guessed.
    pub(super) fn take(&self, id: u64, node: &NodeId) -> Option<mpsc::Sender<Answer>> {
        let mut requests = self.requests();
        if requests.open.get(&id)?.0 != *node {
            return None;
        }
        requests.open.remove(&id).map(|(_, sink)| sink)
    }

    fn requests(&self) -> std::sync::MutexGuard<'_, Requests> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answers {
    /// Nobody will take up the request any more: if nobody has, its answers end.
    pub(super) fn withdraw(&self) {
        self.hub.requests().open.remove(&self.id);
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.withdraw();
    }
}

/// Where log streams deliver.
#[derive(Clone, Debug)]
pub(crate) enum Logs {
    /// Everything to one printer.
    #[cfg_attr(not(feature = "local"), expect(dead_code, reason = "only a local launch prints by itself"))]
    Printer(LogSink),
    /// To whoever asked.
    Hub(LogHub),
}

/// One stream's way.
#[derive(Debug)]
pub(super) enum Sink {
    Printer(LogSink),
    Request(mpsc::Sender<Answer>),
}

impl Logs {
    /// The way of the stream on which this node answers request `id`; `None`: nobody waits for it. In local mode
    /// there is one worker, without a certificate.
    pub(super) fn sink(&self, id: u64, node: Option<&NodeId>) -> Option<Sink> {
        match self {
            Logs::Printer(printer) => Some(Sink::Printer(printer.clone())),
            Logs::Hub(hub) => hub.take(id, node?).map(Sink::Request),
        }
    }
}

impl Sink {
    /// Returns once there is room; false if nobody reads any more.
    pub(super) async fn send(&self, frame: LogFrame) -> bool {
        match self {
            Sink::Printer(printer) => printer.send(frame).await.is_ok(),
            Sink::Request(answers) => answers.send(Answer::Frame(frame)).await.is_ok(),
        }
    }

    /// Returns once nobody reads any more.
    pub(super) async fn closed(&self) {
        match self {
            // It lives as long as its launcher.
            Sink::Printer(_) => std::future::pending().await,
            Sink::Request(answers) => answers.closed().await,
        }
    }

    /// The worker has sent all it has.
    pub(super) async fn over(&self) {
        if let Sink::Request(answers) = self {
            // Whoever asked may be gone.
            let _ = answers.send(Answer::Over).await;
        }
    }
}
