//! Jobs somebody waits for: whoever ran one and went away without a word does not leave it behind.

use phalanx_common::defaults;
use phalanx_common::exit::ExitStatus;
use phalanx_common::id::JobId;

use crate::coordinator::Coordinator;
use crate::input::Why;

/// What a job ends with that is stopped because its client is gone: as if its terminal had hung up.
const HANGUP: ExitStatus = ExitStatus::Signal(1);

impl Coordinator {
    pub(crate) fn on_client_lost(&mut self, job: &JobId) {
        let Some(state) = self.durable.jobs.get(job).filter(|state| !state.ended()) else { return };
        if state.attached {
            let why = Why::Client { job: job.clone() };
            if !self.timers.is_set(&why) {
                self.timers.set(why, self.now + defaults::CLIENT_LOST);
            }
        }
    }

    pub(crate) fn on_client_back(&mut self, job: &JobId) {
        self.timers.cancel(&Why::Client { job: job.clone() });
    }

    pub(crate) fn on_client_gone(&mut self, job: &JobId) {
        self.on_stop(job, "the loss of the client that ran it".to_owned(), HANGUP, false);
    }
}
