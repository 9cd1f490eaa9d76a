//! Where output goes that workers send: to the printer of a local launch, or to the clients of a cluster.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

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
    open: BTreeMap<u64, mpsc::Sender<LogFrame>>,
}

/// A log request: its number, and what comes in answer. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Answers {
    pub(crate) id: u64,
    pub(crate) frames: mpsc::Receiver<LogFrame>,
    hub: LogHub,
}

impl LogHub {
    /// A new request.
    pub(crate) fn open(&self) -> Answers {
        let (sink, frames) = mpsc::channel(FRAMES_QUEUED);
        let mut requests = self.requests();
        requests.last += 1;
        let id = requests.last;
        requests.open.insert(id, sink);
        Answers { id, frames, hub: self.clone() }
    }

    /// Takes the request, so that its answers end when the one stream that answers it does.
    fn take(&self, id: u64) -> Option<mpsc::Sender<LogFrame>> {
        self.requests().open.remove(&id)
    }

    fn requests(&self) -> std::sync::MutexGuard<'_, Requests> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.hub.requests().open.remove(&self.id);
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
    Request(mpsc::Sender<LogFrame>),
}

impl Logs {
    /// The way of the stream that answers request `id`; `None`: nobody waits for it.
    pub(super) fn sink(&self, id: u64) -> Option<Sink> {
        match self {
            Logs::Printer(printer) => Some(Sink::Printer(printer.clone())),
            Logs::Hub(hub) => hub.take(id).map(Sink::Request),
        }
    }
}

impl Sink {
    /// Returns once there is room; false if nobody reads any more.
    pub(super) async fn send(&self, frame: LogFrame) -> bool {
        match self {
            Sink::Printer(printer) => printer.send(frame).await.is_ok(),
            Sink::Request(frames) => frames.send(frame).await.is_ok(),
        }
    }
}
