//! Ended jobs are kept for people who look, for a time and up to a number; then they are forgotten.
//!
//! A worker that was out of reach all that while may still have a pod of a forgotten job: its Hello meets the
//! same answer as for any job that is not there, Stop and then Forget.

use std::time::Duration;

use phalanx_common::event::EventKind;
use phalanx_common::id::JobId;
use phalanx_common::time::Timestamp;

use crate::coordinator::Coordinator;
use crate::input::Why;
use crate::records::Record;

/// Jobs forgotten by one deadline: what a store has to remove in one transaction is bounded.
const AT_ONCE: usize = 256;

impl Coordinator {
    /// Sets the deadline for the job that is forgotten first.
    pub(crate) fn wait_to_forget(&mut self) {
        match self.forgotten_next() {
            Some((at, _)) => self.timers.set(Why::Forget, at),
            None => self.timers.cancel(&Why::Forget),
        }
    }

    pub(crate) fn on_forget_deadline(&mut self) {
        for _ in 0..AT_ONCE {
            let due = self.forgotten_next().filter(|(at, _)| *at <= self.now);
            let Some((_, job)) = due else { return self.wait_to_forget() };
            self.persist(Record::JobForgotten { job: job.clone() });
            self.emit(Some(&job), None, EventKind::JobForgotten);
        }
        // The rest in a transaction of its own.
        self.timers.set(Why::Forget, self.now + Duration::from_micros(1));
    }

    /// The job that is forgotten first, and when: the one that ended first, or one that says so itself.
    fn forgotten_next(&self) -> Option<(Timestamp, JobId)> {
        let (ended, job) = self.durable.ended_first()?;
        let too_many = self.durable.ended_count() > self.config.ended_kept_most;
        let at = if too_many { self.now } else { *ended + self.config.ended_kept };
        let own = self.durable.kept_until().filter(|(until, _)| *until < at);
        Some(own.map_or_else(|| (at, job.clone()), |(until, job)| (*until, job.clone())))
    }
}
