//! Ended jobs are kept for people who look, for a time and up to a number; then they are forgotten.
//!
//! A worker that was out of reach all that while may still have a pod of a forgotten job: its Hello meets the
//! same answer as for any job that is not there, Stop and then Forget.

use phalanx_common::event::EventKind;
use phalanx_common::time::Timestamp;

use crate::coordinator::Coordinator;
use crate::input::Why;
use crate::records::Record;

/// Jobs forgotten by one deadline: what a store has to remove in one transaction is bounded.
const AT_ONCE: usize = 256;

impl Coordinator {
    /// Sets the deadline for the job that ended first.
    pub(crate) fn wait_to_forget(&mut self) {
        let Some((at, _)) = self.durable.ended_first() else { return self.timers.cancel(&Why::Forget) };
        let due = if self.too_many_ended() { self.now } else { *at + self.config.ended_kept };
        self.timers.set(Why::Forget, due);
    }

    pub(crate) fn on_forget_deadline(&mut self) {
        for _ in 0..AT_ONCE {
            let first = self.durable.ended_first().filter(|(at, _)| self.has_lapsed(*at));
            let Some(job) = first.map(|(_, job)| job.clone()) else { break };
            self.persist(Record::JobForgotten { job: job.clone() });
            self.emit(Some(&job), None, EventKind::JobForgotten);
        }
        self.wait_to_forget();
    }

    fn has_lapsed(&self, ended_at: Timestamp) -> bool {
        self.too_many_ended() || self.now.since(ended_at) >= self.config.ended_kept
    }

    fn too_many_ended(&self) -> bool {
        self.durable.ended_count() > self.config.ended_kept_most
    }
}
