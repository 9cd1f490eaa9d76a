//! Output that its file could not take: a bounded ring, and a line in the file for what fell out.

use std::collections::VecDeque;
use std::io;

use phalanx_common::defaults::LOG_RING;

use crate::shim::refusal::why;

/// Where bytes go. Returns how many it took, and why not all.
pub(super) trait Sink {
    fn put(&mut self, bytes: &[u8]) -> (usize, Option<io::Error>);
    /// The next byte begins a line.
    fn at_line_start(&self) -> bool;
}

/// What waits for a file that cannot be written. Order in the file: `head`, a line about what was
/// dropped, `ring`.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// The rest of a marker line that was written in part.
    head: Vec<u8>,
    ring: VecDeque<u8>,
    dropped: u64,
    why: String,
}

/// Bytes that reached no file, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dropped {
    pub(super) bytes: u64,
    pub(super) why: String,
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.head.is_empty() && self.ring.is_empty() && self.dropped == 0
    }

    /// Writes `bytes` behind what is waiting, or keeps them. Returns what is lost for good once the
    /// file says so.
    pub(super) fn write(&mut self, sink: &mut impl Sink, bytes: &[u8]) -> Option<Dropped> {
        let mut told = None;
        let rest = if self.is_empty() {
            let (taken, error) = sink.put(bytes);
            match error {
                None => return None,
                Some(error) => self.why = why(&error),
            }
            &bytes[taken..]
        } else {
            told = self.retry(sink);
            if self.is_empty() && !bytes.is_empty() {
                let (taken, error) = sink.put(bytes);
                if let Some(error) = error {
                    self.why = why(&error);
                }
                &bytes[taken..]
            } else {
                bytes
            }
        };
        self.keep(rest);
        told
    }

    /// Tries to write what is waiting.
    pub(super) fn retry(&mut self, sink: &mut impl Sink) -> Option<Dropped> {
        if !self.flush_head(sink) {
            return None;
        }
        let mut told = None;
        if self.dropped > 0 {
            let newline = if sink.at_line_start() { "" } else { "\n" };
            let line =
                format!("{newline}[phalanx: {} bytes of output dropped: {}]\n", self.dropped, self.why);
            let (taken, error) = sink.put(line.as_bytes());
            if let Some(error) = error {
                self.why = why(&error);
                if taken == 0 {
                    return None;
                }
            }
            told = Some(Dropped { bytes: self.dropped, why: self.why.clone() });
            self.dropped = 0;
            self.head = line.as_bytes()[taken..].to_vec();
            if !self.flush_head(sink) {
                return told;
            }
        }
        loop {
            let (front, _) = self.ring.as_slices();
            if front.is_empty() {
                self.ring = VecDeque::new();
                return told;
            }
            let (taken, error) = sink.put(front);
            self.ring.drain(..taken);
            if let Some(error) = error {
                self.why = why(&error);
                return told;
            }
        }
    }

    /// The end: what could not be written is lost.
    pub(super) fn give_up(&mut self) -> Option<Dropped> {
        let bytes = self.dropped + self.ring.len() as u64;
        let why = std::mem::take(&mut self.why);
        *self = Backlog::default();
        (bytes > 0).then_some(Dropped { bytes, why })
    }

    fn flush_head(&mut self, sink: &mut impl Sink) -> bool {
        if self.head.is_empty() {
            return true;
        }
        let (taken, error) = sink.put(&self.head);
        self.head.drain(..taken);
        if let Some(error) = error {
            self.why = why(&error);
        }
        self.head.is_empty()
    }

    fn keep(&mut self, bytes: &[u8]) {
        let over = (self.ring.len() + bytes.len()).saturating_sub(LOG_RING);
        let from_ring = over.min(self.ring.len());
        self.ring.drain(..from_ring);
        self.ring.extend(&bytes[over - from_ring..]);
        self.dropped += over as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file on a disk with this much room.
    struct Disk {
        file: Vec<u8>,
        room: usize,
    }

    impl Sink for Disk {
        fn put(&mut self, bytes: &[u8]) -> (usize, Option<io::Error>) {
            let taken = bytes.len().min(self.room);
            self.room -= taken;
            self.file.extend_from_slice(&bytes[..taken]);
            let full = taken < bytes.len();
            (taken, full.then(|| io::Error::from_raw_os_error(libc::ENOSPC)))
        }

        fn at_line_start(&self) -> bool {
            self.file.last().is_none_or(|byte| *byte == b'\n')
        }
    }

    #[test]
    fn a_short_outage_loses_nothing() {
        let mut disk = Disk { file: Vec::new(), room: 3 };
        let mut backlog = Backlog::default();
        assert_eq!(backlog.write(&mut disk, b"abcdef"), None);
        assert_eq!(disk.file, b"abc");
        assert_eq!(backlog.write(&mut disk, b"ghi"), None);
        disk.room = 100;
        assert_eq!(backlog.write(&mut disk, b"jkl"), None);
        assert_eq!(disk.file, b"abcdefghijkl");
        assert!(backlog.is_empty());
    }

    #[test]
    fn what_falls_out_of_the_ring_is_named_in_the_file_at_its_place() {
        let mut disk = Disk { file: Vec::new(), room: 2 };
        let mut backlog = Backlog::default();
        backlog.write(&mut disk, b"ab");
        backlog.write(&mut disk, b"lost!");
        backlog.write(&mut disk, &vec![b'x'; LOG_RING]);
        disk.room = usize::MAX;
        let told = backlog.write(&mut disk, b"y").unwrap();
        assert_eq!(told, Dropped { bytes: 5, why: "No space left on device".into() });
        let mut expected = b"ab\n[phalanx: 5 bytes of output dropped: No space left on device]\n".to_vec();
        expected.extend(vec![b'x'; LOG_RING]);
        expected.push(b'y');
        assert!(disk.file == expected);
    }

    #[test]
    fn a_line_written_in_part_is_finished_before_anything_else() {
        let mut disk = Disk { file: Vec::new(), room: 0 };
        let mut backlog = Backlog::default();
        backlog.write(&mut disk, &vec![b'x'; LOG_RING + 7]);
        disk.room = 10;
        assert_eq!(backlog.retry(&mut disk).unwrap().bytes, 7);
        assert_eq!(disk.file, b"[phalanx: ");
        backlog.write(&mut disk, b"more");
        disk.room = usize::MAX;
        let told = backlog.retry(&mut disk).unwrap();
        assert_eq!(told.bytes, 4, "the second loss is told apart from the first");
        let text = String::from_utf8(disk.file).unwrap();
        assert!(text.starts_with(
            "[phalanx: 7 bytes of output dropped: No space left on device]\n\
             [phalanx: 4 bytes of output dropped: No space left on device]\nxxx"
        ));
        assert!(text.ends_with("xmore"));
    }

    #[test]
    fn a_disk_that_stays_full_loses_everything_that_was_waiting() {
        let mut disk = Disk { file: Vec::new(), room: 1 };
        let mut backlog = Backlog::default();
        backlog.write(&mut disk, b"abc");
        assert_eq!(backlog.give_up().unwrap().bytes, 2);
        assert_eq!(backlog.give_up(), None);
    }
}
