//! Where start time went: of the first start, and of every restart.

use std::fmt::Write;

use phalanx_common::event::{Cause, Event, EventKind};
use phalanx_common::time::Timestamp;

/// Restarts remembered; those of a job that keeps failing look alike.
const STARTS_KEPT: usize = 8;

/// The starts of one job, the first first.
#[derive(Clone, Debug)]
pub(super) struct Timings {
    starts: Vec<Start>,
    /// Starts beyond `STARTS_KEPT`.
    more: usize,
}

/// When each phase of one start ended, for the slowest pod.
#[derive(Clone, Copy, Debug, Default)]
struct Start {
    begun: Timestamp,
    placed: Option<Timestamp>,
    prepared: Option<Timestamp>,
    released: Option<Timestamp>,
    running: Option<Timestamp>,
    first_output: Option<Timestamp>,
}

impl Timings {
    /// The first start begins at `at`, when this process did.
    pub(super) fn begin(at: Timestamp) -> Timings {
        Timings { starts: vec![Start { begun: at, ..Start::default() }], more: 0 }
    }

    pub(super) fn on_event(&mut self, event: &Event) {
        // Of a gang that ended well and is to run again nothing was stopped.
        if matches!(
            event.kind,
            EventKind::GangStopping { .. } | EventKind::GangRestarting { cause: Cause::Completed, .. }
        ) {
            return self.restart(event.at);
        }
        let Some(start) = self.starts.last_mut() else { return };
        let phase = match &event.kind {
            EventKind::GangPlaced { .. } => &mut start.placed,
            EventKind::PodPrepared { .. } => &mut start.prepared,
            EventKind::GangReleased => &mut start.released,
            EventKind::GangRunning => &mut start.running,
            _ => return,
        };
        *phase = Some(event.at);
    }

    /// The next start, if there is one, counts from the failure on, or from the good end.
    fn restart(&mut self, at: Timestamp) {
        if self.starts.len() == STARTS_KEPT {
            self.starts.pop();
            self.more += 1;
        }
        self.starts.push(Start { begun: at, ..Start::default() });
    }

    pub(super) fn on_first_output(&mut self, at: Timestamp) {
        if let Some(start) = self.starts.last_mut() {
            start.first_output.get_or_insert(at);
        }
    }

    /// From the begin of the latest start to every rank executing its program, milliseconds.
    pub(super) fn start_ms(&self) -> Option<f64> {
        let start = self.starts.last()?;
        Some(millis(start.begun, start.running?))
    }

    /// Tables for people.
    pub(super) fn tables(&self) -> String {
        let mut text = String::new();
        let starts = self.starts.iter().filter(|start| start.placed.is_some());
        for (number, start) in starts.enumerate() {
            let title = match number {
                0 => "phalanx: where start time went".to_owned(),
                number => format!("\nphalanx: where the time of restart {number} went"),
            };
            text.push_str(&title);
            start.rows(number == 0, &mut text);
        }
        if self.more > 0 {
            let _ = write!(text, "\nphalanx: and {} more restarts", self.more);
        }
        text
    }
}

impl Start {
    fn rows(&self, first: bool, text: &mut String) {
        let begin = if first {
            ("launch", "process, link, placement")
        } else {
            ("stop", "first failure to the end of the last rank, and placement")
        };
        let phases = [
            (begin.0, begin.1, Some(self.begun), self.placed),
            (
                "prepare",
                "directories, logs, ports, command; ranks forked and held",
                self.placed,
                self.prepared,
            ),
            ("release", "all pods prepared, decision recorded, Go", self.prepared, self.released),
            ("exec", "Go to every rank executing its program", self.released, self.running),
            ("program", "from there to the first output of any rank", self.running, self.first_output),
        ];
        for (name, what, from, to) in phases {
            if let (Some(from), Some(to)) = (from, to) {
                let _ = write!(text, "\n  {name:<8} {:>9.1} ms  {what}", millis(from, to));
            }
        }
    }
}

fn millis(from: Timestamp, to: Timestamp) -> f64 {
    to.since(from).as_secs_f64() * 1e3
}
