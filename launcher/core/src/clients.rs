//! Jobs somebody waits for: whoever ran one and went away without a word does not leave it behind.

use phalanx_common::defaults;
use phalanx_common::exit::ExitStatus;
use phalanx_common::id::JobId;

use crate::coordinator::Coordinator;
use crate::input::Why;
use crate::records::Record;

/// What a job ends with that is stopped because its client is gone: as if its terminal had hung up.
const HANGUP: ExitStatus = ExitStatus::Signal(1);

impl Coordinator {
    pub(crate) fn on_client_lost(&mut self, job: &JobId) {
        if let Some(waiting) = self.waiting.get_mut(job) {
            *waiting = waiting.saturating_sub(1);
        }
        self.stop_unless_awaited(job);
    }

    pub(crate) fn on_client_waits(&mut self, job: &JobId) {
        let Some(state) = self.durable.jobs.get(job).filter(|state| !state.ended()) else { return };
        if !state.attached {
            self.persist(Record::JobAttached { job: job.clone() });
        }
        *self.waiting.entry(job.clone()).or_default() += 1;
        self.timers.cancel(&Why::Client { job: job.clone() });
    }

    /// Gives a job that depends on its clients the time in which one has to come (back).
    pub(crate) fn stop_unless_awaited(&mut self, job: &JobId) {
        let Some(state) = self.durable.jobs.get(job).filter(|state| !state.ended()) else { return };
        let awaited = self.waiting.get(job).is_some_and(|waiting| *waiting > 0);
        let why = Why::Client { job: job.clone() };
        if state.attached && !awaited && !self.timers.is_set(&why) {
            self.timers.set(why, self.now + defaults::CLIENT_LOST);
        }
    }

    pub(crate) fn on_client_gone(&mut self, job: &JobId) {
        self.on_stop(job, "the loss of the client that ran it".to_owned(), HANGUP, false);
    }
}
