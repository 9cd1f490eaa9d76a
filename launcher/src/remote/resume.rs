//! Output and events taken up again after a lost link, without showing anything twice.

use phalanx_common::id::Epoch;
use phalanx_common::time::Timestamp;
use phalanx_common::wire::v1::LogFrame;

use crate::taken::Taken;

/// What was seen so far.
#[derive(Debug, Default)]
pub(crate) struct Resume {
    output: Taken,
    /// Whose events were seen: the next reign tells none of the last one's, and its clock may be another.
    reign: Epoch,
    /// Within a reign time never goes back.
    last: Timestamp,
    /// Events of that very moment.
    at_last: Vec<String>,
}

impl Resume {
    /// A link to a coordinator of this epoch is up.
    pub(crate) fn begin(&mut self, reign: Epoch) {
        self.output.begin();
        if self.reign != reign {
            self.reign = reign;
            self.last = Timestamp::default();
            self.at_last.clear();
        }
    }

    /// What of a frame is new; `None`: nothing.
    pub(crate) fn frame(&mut self, frame: LogFrame) -> Option<LogFrame> {
        self.output.frame(frame)
    }

    /// Whether this event, which happened at `at`, is new.
    pub(crate) fn event(&mut self, at: Timestamp, text: &str) -> bool {
        if at < self.last || (at == self.last && self.at_last.iter().any(|seen| seen == text)) {
            return false;
        }
        if at > self.last {
            self.last = at;
            self.at_last.clear();
        }
        self.at_last.push(text.to_owned());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_the_history_are_told_once() {
        let mut resume = Resume::default();
        resume.begin(Epoch(1));
        let events = [(1, "a"), (2, "b"), (2, "c"), (3, "d")];
        assert!(events[..3].iter().all(|(at, text)| resume.event(Timestamp(*at), text)));
        resume.begin(Epoch(1));
        let again: Vec<bool> = events.iter().map(|(at, text)| resume.event(Timestamp(*at), text)).collect();
        assert_eq!(again, [false, false, false, true]);
    }

    #[test]
    fn events_of_the_next_reign_are_new_whatever_its_clock_says() {
        let mut resume = Resume::default();
        resume.begin(Epoch(1));
        assert!(resume.event(Timestamp(9), "job_submitted"));
        resume.begin(Epoch(2));
        assert!(resume.event(Timestamp(5), "gang_restarting"));
    }
}
