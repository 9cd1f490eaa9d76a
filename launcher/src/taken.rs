//! Output taken up again after a lost link, without taking anything twice.

use std::collections::BTreeMap;

use phalanx_common::wire::v1::{LogFrame, Stream};

/// Generation, rank and stream.
type Key = (u32, u32, Stream);

/// How much of each stream of each rank was taken so far.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    ever: BTreeMap<Key, u64>,
    /// Since the link is up: streams begin anew with it.
    on_this_link: BTreeMap<Key, u64>,
}

impl Taken {
    /// The link is up again.
    pub(crate) fn begin(&mut self) {
        self.on_this_link.clear();
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

    /// Counts what came, and says how many bytes at its end are new.
    fn advance(&mut self, key: Key, bytes: u64) -> u64 {
        let come = self.on_this_link.entry(key).or_default();
        // A worker may say any number.
        *come = come.saturating_add(bytes);
        let ever = self.ever.entry(key).or_default();
        let new = come.saturating_sub(*ever).min(bytes);
        *ever = (*ever).max(*come);
        new
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
    fn output_that_was_taken_is_not_taken_again() {
        let mut taken = Taken::default();
        assert_eq!(taken.frame(chunk("abc")), Some(chunk("abc")));
        assert_eq!(taken.frame(chunk("de")), Some(chunk("de")));
        taken.begin();
        assert_eq!(taken.frame(chunk("abcd")), None);
        assert_eq!(taken.frame(chunk("efg")), Some(chunk("fg")));
        let end = LogFrame::End { generation: 1 };
        assert_eq!(taken.frame(end.clone()), Some(end));
    }
}
