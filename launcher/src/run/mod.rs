//! `phalanx run` in the foreground: shows a job, passes on Ctrl-C and Ctrl-Z, ends as the job ends.

mod signals;
mod summary;
mod timings;
mod view;

use std::time::Duration;

use phalanx_common::event::{Event, EventKind, Outcome};
use phalanx_common::id::JobId;
use phalanx_common::identity::Owner;
use phalanx_common::spec::JobSpec;
use tokio::sync::{mpsc, watch};

use crate::driver::Message;
use crate::output::{Printer, Shown};
use signals::Signalled;
pub(crate) use signals::Signals;
pub(crate) use view::{View, ViewOptions};

/// After the last generation's end its output is waited for as long as it keeps coming; this long
/// without any is a link that broke, and the log files have it all.
const OUTPUT_STALLED: Duration = Duration::from_secs(10);

/// A user who interrupts does not wait for a terminal or pipe that takes no more than this long.
const INTERRUPTED_STALLED: Duration = Duration::from_secs(1);
/// What is on its way to the screen when Ctrl-Z is pressed gets this long.
const SUSPEND_FLUSH: Duration = Duration::from_millis(200);

/// The foreground of one job.
pub(crate) struct Foreground {
    pub(crate) job: JobId,
    pub(crate) owner: Owner,
    pub(crate) driver: mpsc::Sender<Message>,
    pub(crate) events: mpsc::UnboundedReceiver<Event>,
    pub(crate) shown: watch::Receiver<Shown>,
    pub(crate) printer: Printer,
    pub(crate) signals: Signals,
    pub(crate) view: View,
    /// Process ids of the running generation's ranks, for Ctrl-Z.
    pub(crate) pids: Vec<u32>,
    pub(crate) interrupted: bool,
}

/// The driver is gone: a bug or a store that failed; its own error says which.
#[derive(Debug, thiserror::Error)]
#[error("the coordinator ended before the job did")]
pub(crate) struct DriverGone;

impl Foreground {
    /// Submits the job and shows it to its end.
    pub(crate) async fn run(mut self, spec: JobSpec) -> Result<Outcome, DriverGone> {
        self.view.on_submit(&spec);
        self.wait_for_worker().await?;
        self.tell(Message::Submit { job: self.job.clone(), spec: Box::new(spec), owner: self.owner.clone() })
            .await?;
        let outcome = loop {
            tokio::select! {
                event = self.events.recv() => {
                    if let Some(outcome) = self.on_event(event.ok_or(DriverGone)?).await {
                        break outcome;
                    }
                }
                signal = self.signals.next() => self.on_signal(signal).await?,
                seen = self.shown.changed(), if !self.view.output_seen() => self.on_shown(seen.is_ok()),
                () = self.view.tick() => self.view.on_tick(),
            }
        };
        self.last_words().await;
        Ok(outcome)
    }

    /// Waits until the end of the job is on the screen. Ctrl-C ends the wait for a pipe that nobody reads.
    async fn last_words(&mut self) {
        tokio::select! {
            _ = self.printer.flushed() => {}
            _ = self.signals.next() => {}
            () = tokio::time::sleep(INTERRUPTED_STALLED), if self.interrupted => {}
        }
    }

    /// A job submitted before any worker has said Hello would only wait, and say so.
    async fn wait_for_worker(&mut self) -> Result<(), DriverGone> {
        loop {
            let event = self.events.recv().await.ok_or(DriverGone)?;
            self.view.on_event(&event);
            if matches!(event.kind, EventKind::NodeJoined { .. }) {
                return Ok(());
            }
        }
    }

    async fn on_event(&mut self, event: Event) -> Option<Outcome> {
        if let EventKind::PodStarted { pids, .. } = &event.kind {
            self.pids.clone_from(pids);
        }
        let ended = match &event.kind {
            EventKind::JobEnded { outcome } => Some(outcome.clone()),
            _ => None,
        };
        if ended.is_some() {
            self.drain_output().await;
        }
        self.view.on_event(&event);
        ended
    }

    fn on_shown(&mut self, alive: bool) {
        if alive && self.shown.borrow_and_update().begun == self.view.generation() {
            self.view.on_first_output();
        }
    }

    /// Waits until all output of the last generation is on the screen, so that what is said about
    /// the job's end stands below it. Ctrl-C ends the wait.
    async fn drain_output(&mut self) {
        let generation = self.view.generation();
        if !self.view.started() {
            return;
        }
        loop {
            let seen = *self.shown.borrow_and_update();
            if seen.generation >= generation {
                return;
            }
            tokio::select! {
                changed = self.shown.changed() => if changed.is_err() { return },
                signal = self.signals.next() => match signal {
                    Signalled::Stop { .. } => return,
                    // No rank is left to stop: only this process.
                    Signalled::Suspend => signals::stop_this_process(),
                },
                () = tokio::time::sleep(if self.interrupted { INTERRUPTED_STALLED } else { OUTPUT_STALLED }) => {
                    if *self.shown.borrow() == seen && (self.interrupted || !self.printer.busy()) {
                        return;
                    }
                }
            }
        }
    }

    async fn on_signal(&mut self, signal: Signalled) -> Result<(), DriverGone> {
        match signal {
            Signalled::Stop { by, status, at_once } => {
                let force = at_once || self.interrupted;
                self.interrupted = true;
                self.view.on_interrupt(force);
                self.tell(Message::Stop { job: self.job.clone(), by: by.to_owned(), status, force }).await
            }
            Signalled::Suspend => self.suspend().await,
        }
    }

    /// Ctrl-Z: the ranks stop first, then this process, as a shell expects; `fg` wakes both.
    async fn suspend(&mut self) -> Result<(), DriverGone> {
        self.tell(Message::Suspend { job: self.job.clone() }).await?;
        signals::wait_until_stopped(&self.pids).await;
        let _ = tokio::time::timeout(SUSPEND_FLUSH, self.printer.flushed()).await;
        signals::stop_this_process();
        self.tell(Message::Resume { job: self.job.clone() }).await
    }

    async fn tell(&self, message: Message) -> Result<(), DriverGone> {
        self.driver.send(message).await.map_err(|_| DriverGone)
    }
}
