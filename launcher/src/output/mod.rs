//! The one printer: a thread that owns standard output and standard error, so that a terminal that
//! does not take more (Ctrl-S, a slow pager) holds up neither the coordinator nor a rank.

mod json;
mod label;
mod screen;
mod thread;

use std::sync::Arc;
use std::sync::mpsc;

use phalanx_common::spec::OutputMode;
use phalanx_common::wire::v1::LogFrame;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

pub(crate) use json::JSON_VERSION;
pub(crate) use screen::{ColorChoice, Screen, Target};

/// Log frames (at most 64 KiB each) that may wait for the screen.
const FRAMES_QUEUED: usize = 16;

/// The printer is gone: standard output and error were closed, or the program ends.
#[derive(Debug, thiserror::Error)]
#[error("the printer has ended")]
pub(crate) struct Gone;

/// One thing to print.
enum Item {
    /// The permit bounds the queue; it returns when the frame has been shown.
    Log(LogFrame, OwnedSemaphorePermit),
    /// A line about the job, on standard error.
    Line(String),
    /// A line for programs, on standard output.
    Json(String),
    /// The live line at the bottom of the terminal; `None` removes it.
    Status(Option<String>),
    /// Everything before this has been shown once the receiver hears of it.
    Flush(oneshot::Sender<()>),
}

/// How ranks' output is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    pub(crate) mode: OutputMode,
    /// Ranks' output as events, one JSON object per line.
    pub(crate) json: bool,
    /// Width of the widest rank number.
    pub(crate) rank_width: usize,
}

/// What has reached the screen, for whoever waits for the end of a generation's output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    /// The last generation of which everything was shown.
    pub(crate) generation: u32,
    /// The last generation of which something was shown.
    pub(crate) begun: u32,
    /// Pieces of output shown so far; not notified, for who asks.
    pub(crate) pieces: u64,
}

/// Gives lines to the printer.
#[derive(Clone, Debug)]
pub(crate) struct Printer {
    items: mpsc::Sender<Item>,
    room: Arc<Semaphore>,
}

impl Printer {
    /// Starts the thread.
    pub(crate) fn start(screen: Screen, style: Style) -> std::io::Result<(Printer, watch::Receiver<Shown>)> {
        let (items, queue) = mpsc::channel();
        let (shown, seen) = watch::channel(Shown::default());
        std::thread::Builder::new()
            .name("printer".to_owned())
            .stack_size(128 << 10)
            .spawn(move || thread::run(screen, style, &queue, &shown))?;
        Ok((Printer { items, room: Arc::new(Semaphore::new(FRAMES_QUEUED)) }, seen))
    }

    /// A line about the job.
    pub(crate) fn line(&self, line: impl Into<String>) {
        let _ = self.items.send(Item::Line(line.into()));
    }

    /// One JSON object.
    pub(crate) fn json(&self, line: String) {
        let _ = self.items.send(Item::Json(line));
    }

    pub(crate) fn status(&self, line: Option<String>) {
        let _ = self.items.send(Item::Status(line));
    }

    /// Output waits for the screen.
    pub(crate) fn busy(&self) -> bool {
        self.room.available_permits() < FRAMES_QUEUED
    }

    /// Where log streams deliver.
    pub(crate) fn log_sink(&self) -> LogSink {
        LogSink(self.clone())
    }

    /// Completes once everything given so far has been shown.
    pub(crate) fn flushed(&self) -> oneshot::Receiver<()> {
        let (done, wait) = oneshot::channel();
        // A printer that has ended drops `done`, which completes the wait.
        let _ = self.items.send(Item::Flush(done));
        wait
    }
}

/// Takes output of ranks, as fast as it can be shown.
#[derive(Clone, Debug)]
pub(crate) struct LogSink(Printer);

impl LogSink {
    /// Returns once there is room.
    pub(crate) async fn send(&self, frame: LogFrame) -> Result<(), Gone> {
        let permit = Arc::clone(&self.0.room).acquire_owned().await.map_err(|_| Gone)?;
        self.0.items.send(Item::Log(frame, permit)).map_err(|_| Gone)
    }
}
