//! Output and events taken up again after a lost link, without showing anything twice.

use std::collections::BTreeMap;

use phalanx_common::time::Timestamp;
use phalanx_common::wire::v1::{LogFrame, Stream};

/// What was seen so far.
#[derive(Debug, Default)]
pub(crate) struct Resume {
    /// Bytes shown, by stream of a rank.
    shown: BTreeMap<(u32, u32, Stream), u64>,
    /// Bytes that came since the link is up: streams begin anew with it.
    come: BTreeMap<(u32, u32, Stream), u64>,
    last: Timestamp,
    /// Events of that very moment.
    at_last: Vec<String>,
}

impl Resume {
    /// The link is up again.
    pub(crate) fn begin(&mut self) {
        self.come.clear();
    }

    /// What of a frame is new; `None`: nothing.
    pub(crate) fn frame(&mut self, frame: LogFrame) -> Option<LogFrame> {
        match frame {
            LogFrame::Chunk { generation, rank, stream, mut bytes } => {
                let len = bytes.0.len() as u64;
                let new = self.advance((generation, rank, stream), len);
                bytes.0.drain(..(len - new) as usize);
                (new > 0).then_some(LogFrame::Chunk { generation, rank, stream, bytes })
            }
            LogFrame::Skipped { generation, rank, stream, bytes } => {
                let bytes = self.advance((generation, rank, stream), bytes);
                (bytes > 0).then_some(LogFrame::Skipped { generation, rank, stream, bytes })
            }
            other => Some(other),
        }
    }

    fn advance(&mut self, key: (u32, u32, Stream), bytes: u64) -> u64 {
        let come = self.come.entry(key).or_default();
        *come += bytes;
        let shown = self.shown.entry(key).or_default();
        let new = come.saturating_sub(*shown).min(bytes);
        *shown = (*shown).max(*come);
        new
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
    use phalanx_common::wire::bytes::Bytes;

    use super::*;

    fn chunk(text: &str) -> LogFrame {
        let bytes = Bytes(text.as_bytes().to_vec());
        LogFrame::Chunk { generation: 1, rank: 0, stream: Stream::Stdout, bytes }
    }

    #[test]
    fn output_that_was_shown_is_not_shown_again() {
        let mut resume = Resume::default();
        assert_eq!(resume.frame(chunk("abc")), Some(chunk("abc")));
        assert_eq!(resume.frame(chunk("de")), Some(chunk("de")));
        resume.begin();
        assert_eq!(resume.frame(chunk("abcd")), None);
        assert_eq!(resume.frame(chunk("efg")), Some(chunk("fg")));
        let end = LogFrame::End { generation: 1 };
        assert_eq!(resume.frame(end.clone()), Some(end));
    }

    #[test]
    fn events_of_the_history_are_told_once() {
        let mut resume = Resume::default();
        let events = [(1, "a"), (2, "b"), (2, "c"), (3, "d")];
        assert!(events[..3].iter().all(|(at, text)| resume.event(Timestamp(*at), text)));
        let again: Vec<bool> = events.iter().map(|(at, text)| resume.event(Timestamp(*at), text)).collect();
        assert_eq!(again, [false, false, false, true]);
    }
}
