//! Output and events taken up again after a lost link, without showing anything twice.

use phalanx_common::time::Timestamp;
use phalanx_common::wire::v1::LogFrame;

use crate::taken::Taken;

/// What was seen so far.
#[derive(Debug, Default)]
pub(crate) struct Resume {
    output: Taken,
    last: Timestamp,
    /// Events of that very moment.
    at_last: Vec<String>,
}

impl Resume {
    /// The link is up again.
    pub(crate) fn begin(&mut self) {
        self.output.begin();
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
        let events = [(1, "a"), (2, "b"), (2, "c"), (3, "d")];
        assert!(events[..3].iter().all(|(at, text)| resume.event(Timestamp(*at), text)));
        let again: Vec<bool> = events.iter().map(|(at, text)| resume.event(Timestamp(*at), text)).collect();
        assert_eq!(again, [false, false, false, true]);
    }
}
