//! Where start time went.

use std::fmt::Write;

use phalanx_common::event::{Event, EventKind};
use phalanx_common::time::Timestamp;

/// When each phase of one start ended, for the slowest pod.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timings {
    submitted: Option<Timestamp>,
    placed: Option<Timestamp>,
    prepared: Option<Timestamp>,
    released: Option<Timestamp>,
    running: Option<Timestamp>,
    first_output: Option<Timestamp>,
}

impl Timings {
    /// Begins at `at`, for the first start the moment this process began.
    pub(super) fn begin(at: Timestamp) -> Timings {
        Timings { submitted: Some(at), ..Timings::default() }
    }

    pub(super) fn on_event(&mut self, event: &Event) {
        let phase = match &event.kind {
            EventKind::GangPlaced { .. } => &mut self.placed,
            EventKind::PodPrepared { .. } => &mut self.prepared,
            EventKind::GangReleased => &mut self.released,
            EventKind::GangRunning => &mut self.running,
            _ => return,
        };
        *phase = Some(event.at);
    }

    pub(super) fn on_first_output(&mut self, at: Timestamp) {
        self.first_output.get_or_insert(at);
    }

    /// From the begin to every rank executing its program, milliseconds.
    pub(super) fn start_ms(&self) -> Option<f64> {
        Some(millis(self.submitted?, self.running?))
    }

    /// A table for people.
    pub(super) fn table(&self) -> String {
        let phases = [
            ("launch", "process, links and checks of the launcher", self.submitted, self.placed),
            (
                "prepare",
                "directories, logs, ports, command; ranks forked and held",
                self.placed,
                self.prepared,
            ),
            ("release", "all pods prepared, decision recorded, Go", self.prepared, self.released),
            ("exec", "Go to every rank executing its program", self.released, self.running),
            ("program", "to the first output of any rank", self.running, self.first_output),
        ];
        let mut table = String::from("phalanx: where start time went");
        for (name, what, from, to) in phases {
            if let (Some(from), Some(to)) = (from, to) {
                let _ = write!(table, "\n  {name:<8} {:>9.1} ms  {what}", millis(from, to));
            }
        }
        table
    }
}

fn millis(from: Timestamp, to: Timestamp) -> f64 {
    to.since(from).as_secs_f64() * 1e3
}
