//! `phalanx run` in the foreground: shows a job, passes on Ctrl-C and Ctrl-Z, ends as the job ends.

mod signals;
mod summary;
mod timings;
mod view;

use std::time::Duration;

use phalanx_common::event::{Event, EventKind, Outcome};
use phalanx_common::exit::ExitStatus;
use tokio::sync::{mpsc, watch};

use crate::output::{Printer, Shown};
use signals::Signalled;
pub(crate) use signals::Signals;
pub(crate) use view::{View, ViewOptions};

/// After the last generation's end its output is waited for as long as it keeps coming; this long
/// without any is a link that broke, and the log files have it all.
const OUTPUT_STALLED: Duration = Duration::from_secs(10);

/// A user who interrupts does not wait for a terminal or pipe that takes no more than this long.
const INTERRUPTED_STALLED: Duration = Duration::from_secs(1);
/// The coordinator answers a Ctrl-Z within milliseconds.
const SUSPEND_TOLD: Duration = Duration::from_millis(500);
/// What is on its way to the screen when Ctrl-Z is pressed gets this long.
const SUSPEND_FLUSH: Duration = Duration::from_millis(200);

/// What the user wants of the job while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    Stop { by: &'static str, status: ExitStatus, force: bool },
    Suspend,
    Resume,
}

/// The foreground of one job, wherever it runs.
pub(crate) struct Foreground {
    pub(crate) control: mpsc::Sender<Control>,
    pub(crate) events: mpsc::UnboundedReceiver<Event>,
    pub(crate) shown: watch::Receiver<Shown>,
    pub(crate) printer: Printer,
    pub(crate) signals: Signals,
    pub(crate) view: View,
    /// Whether the coordinator is heard.
    pub(crate) heard: watch::Receiver<bool>,
    /// Whether Ctrl-Z stops the ranks: they run on this machine.
    pub(crate) suspends: bool,
    /// End instead of waiting for room.
    pub(crate) no_wait: bool,
    /// Output comes here, and not into files alone.
    pub(crate) output: bool,
    pub(crate) progress: Progress,
}

/// What the foreground has seen so far.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Process ids of the running generation's ranks, for Ctrl-Z.
    pids: Vec<u32>,
    interrupted: bool,
    placed: bool,
    /// The job was given up because it would have had to wait, and for what.
    unwaited: Option<String>,
    ended: Option<Outcome>,
}

/// Why the foreground ended, if not as its job did.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Left {
    /// A bug, or a store that failed; its own error says which. Or a coordinator that was not heard for long.
    #[error("the coordinator ended before the job did")]
    DriverGone,
    #[error("there is no room for it now, and it does not wait: {why}")]
    NoRoom { why: String },
    /// The coordinator does not answer, and the user does not wait for it.
    #[error("nobody waits for the coordinator any more")]
    ByUser { status: ExitStatus },
}

impl Foreground {
    /// Shows a job that was submitted, to its end.
    ///
    /// # Errors
    /// Why the job's end was not shown.
    pub(crate) async fn run(mut self) -> Result<Outcome, Left> {
        let outcome = loop {
            if let Some(outcome) = self.progress.ended.take() {
                break outcome;
            }
            tokio::select! {
                event = self.events.recv() => self.on_event(event.ok_or(Left::DriverGone)?).await,
                signal = self.signals.next() => self.on_signal(signal).await?,
                seen = self.shown.changed(), if !self.view.output_seen() => self.on_shown(seen.is_ok()),
                Ok(()) = self.heard.changed() => self.on_heard(),
                () = self.view.tick() => self.view.on_tick(),
            }
        };
        self.last_words().await;
        match self.progress.unwaited {
            Some(why) => Err(Left::NoRoom { why }),
            None => Ok(outcome),
        }
    }

    /// Waits until the end of the job is on the screen. Ctrl-C ends the wait for a pipe that nobody reads.
    async fn last_words(&mut self) {
        tokio::select! {
            _ = self.printer.flushed() => {}
            _ = self.signals.next() => {}
            () = tokio::time::sleep(INTERRUPTED_STALLED), if self.progress.interrupted => {}
        }
    }

    async fn on_event(&mut self, event: Event) {
        if let EventKind::PodStarted { pids, .. } = &event.kind {
            self.progress.pids.clone_from(pids);
        }
        match &event.kind {
            EventKind::GangPlaced { .. } => self.progress.placed = true,
            EventKind::JobQueued { why } if self.no_wait && !self.progress.placed => {
                self.give_up(why).await;
            }
            _ => {}
        }
        let ended = match &event.kind {
            EventKind::JobEnded { outcome } => Some(outcome.clone()),
            _ => None,
        };
        if ended.is_some() {
            self.drain_output().await;
        }
        self.view.on_event(&event);
        self.progress.ended = ended;
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
        if !self.output || !self.view.started() {
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
                () = tokio::time::sleep(if self.progress.interrupted { INTERRUPTED_STALLED } else { OUTPUT_STALLED }) => {
                    if *self.shown.borrow() == seen && (self.progress.interrupted || !self.printer.busy()) {
                        return;
                    }
                }
            }
        }
    }

    async fn on_signal(&mut self, signal: Signalled) -> Result<(), Left> {
        match signal {
            Signalled::Stop { by, status, at_once } => {
                let heard = *self.heard.borrow_and_update();
                if self.progress.interrupted && !heard {
                    return Err(Left::ByUser { status });
                }
                let force = at_once || self.progress.interrupted;
                self.progress.interrupted = true;
                if heard {
                    self.view.on_interrupt(force);
                } else {
                    self.view.on_interrupt_unheard();
                }
                self.tell(Control::Stop { by, status, force }).await
            }
            Signalled::Suspend => self.suspend().await,
        }
    }

    /// A wish that nobody heard yet may wait for long.
    fn on_heard(&mut self) {
        if self.progress.interrupted && !*self.heard.borrow_and_update() {
            self.view.on_interrupt_unheard();
        }
    }

    async fn until_suspended(&mut self) {
        while self.progress.ended.is_none()
            && let Some(event) = self.events.recv().await
        {
            let suspended = matches!(event.kind, EventKind::JobSuspended);
            self.on_event(event).await;
            if suspended {
                return;
            }
        }
    }

    async fn give_up(&mut self, why: &str) {
        if self.progress.unwaited.is_none() {
            self.progress.unwaited = Some(why.to_owned());
            self.view.on_unwaited();
            let by = "--no-wait";
            // A coordinator that is gone is noticed by the end of its events.
            let _ = self.tell(Control::Stop { by, status: ExitStatus::Signal(15), force: true }).await;
        }
    }

    /// Ctrl-Z: the ranks stop first, then this process, as a shell expects; `fg` wakes both.
    async fn suspend(&mut self) -> Result<(), Left> {
        if !self.suspends {
            self.view.on_no_suspend();
            return Ok(());
        }
        self.tell(Control::Suspend).await?;
        // Events on their way may name ranks that were just released.
        let _ = tokio::time::timeout(SUSPEND_TOLD, self.until_suspended()).await;
        signals::wait_until_stopped(&self.progress.pids).await;
        let _ = tokio::time::timeout(SUSPEND_FLUSH, self.printer.flushed()).await;
        signals::stop_this_process();
        self.tell(Control::Resume).await
    }

    async fn tell(&self, control: Control) -> Result<(), Left> {
        self.control.send(control).await.map_err(|_| Left::DriverGone)
    }
}
