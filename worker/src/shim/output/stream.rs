//! One stream of one rank: its pipe, its files, its last bytes.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;
use phalanx_common::defaults::LOG_TAIL;
use phalanx_common::id::Rank;
use phalanx_common::report::Notice;
use phalanx_common::spec::ProbeKind;
use phalanx_common::time::Timestamp;
use phalanx_worker_core::shim::Stream;

use super::backlog::{Backlog, Dropped};
use super::files::{Files, LogPlace};
use super::times::Times;
use super::watch::Watch;

/// Bytes taken from one pipe before the others have their turn.
pub(in crate::shim) const TURN: usize = 64 << 10;
/// Asked of the kernel; a rank writes this much without waiting for the shim.
const PIPE_BYTES: i32 = 256 << 10;
/// How often a file that could not be written is tried again without new output.
const RETRY: Duration = Duration::from_secs(1);

/// What one turn of reading found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shim) enum Drained {
    Bytes(usize),
    /// Nothing at the moment.
    Empty,
    /// Nobody holds the other end.
    End,
}

/// A stream of a rank.
#[derive(Debug)]
pub(in crate::shim) struct OutputStream {
    rank: Rank,
    pub(in crate::shim) stream: Stream,
    pipe: Option<File>,
    at_end: bool,
    files: Files,
    backlog: Backlog,
    retry_at: Option<Instant>,
    times: Times,
    tail: VecDeque<u8>,
    watch: Watch,
    reported: u64,
    notices: Vec<Notice>,
}

impl OutputStream {
    /// Makes the stream's file.
    pub(in crate::shim) fn create(
        rank: Rank,
        stream: Stream,
        place: LogPlace,
        watch: Watch,
    ) -> io::Result<OutputStream> {
        let times = Times::new(&place.dir, stream);
        let files = Files::create(place, stream)?;
        Ok(OutputStream {
            rank,
            stream,
            pipe: None,
            at_end: false,
            files,
            backlog: Backlog::default(),
            retry_at: None,
            times,
            tail: VecDeque::new(),
            watch,
            reported: 0,
            notices: Vec::new(),
        })
    }

    /// The rank is to start again: what it writes from here on stands behind what it wrote before, and patterns are looked
    /// for anew.
    pub(in crate::shim) fn begin_again(&mut self, watch: Watch) {
        (self.pipe, self.at_end) = (None, false);
        self.tail.clear();
        self.watch = watch;
    }

    /// Makes the stream's pipe and returns the rank's end.
    pub(in crate::shim) fn open_pipe(&mut self) -> nix::Result<OwnedFd> {
        let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
        fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        // Refused where the user's pipes are large enough already.
        let _ = fcntl(&read, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
        self.pipe = Some(File::from(read));
        Ok(write)
    }

    /// The open pipe.
    pub(in crate::shim) fn pipe(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// The pipe is at its end and may be closed.
    pub(in crate::shim) fn is_at_end(&self) -> bool {
        self.at_end && self.pipe.is_some()
    }

    /// Reads at most one buffer of output and files it.
    pub(in crate::shim) fn read_turn(&mut self, buffer: &mut [u8], now: Instant, at: Timestamp) -> Drained {
        let Some(pipe) = &mut self.pipe else { return Drained::End };
        match pipe.read(buffer) {
            Ok(0) => {
                self.at_end = true;
                Drained::End
            }
            Ok(got) => {
                self.file(&buffer[..got], now, at);
                Drained::Bytes(got)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Drained::Empty,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Drained::Bytes(0),
            Err(_) => {
                self.at_end = true;
                Drained::End
            }
        }
    }

    /// Reads what the pipe holds, which is bounded although someone may go on writing.
    pub(in crate::shim) fn drain(&mut self, buffer: &mut [u8], now: Instant, at: Timestamp) {
        let mut left = PIPE_BYTES as usize;
        while left > 0 {
            match self.read_turn(buffer, now, at) {
                Drained::Bytes(got) => left = left.saturating_sub(got),
                Drained::Empty | Drained::End => return,
            }
        }
    }

    /// Patterns that were seen since the last time.
    pub(in crate::shim) fn take_seen(&mut self) -> Vec<ProbeKind> {
        self.watch.take_seen()
    }

    /// Stops reading.
    pub(in crate::shim) fn close_pipe(&mut self) {
        self.pipe = None;
    }

    /// Files bytes as if they had come through the pipe.
    pub(in crate::shim) fn file(&mut self, bytes: &[u8], now: Instant, at: Timestamp) {
        self.keep_tail(bytes);
        self.watch.feed(bytes);
        let offset = self.files.written();
        let dropped = self.backlog.write(&mut self.files, bytes);
        self.after_write(dropped, now);
        if self.files.written() > offset {
            self.times.note(now, at, offset);
        }
    }

    fn keep_tail(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(LOG_TAIL)..];
        let over = (self.tail.len() + bytes.len()).saturating_sub(LOG_TAIL);
        self.tail.drain(..over);
        self.tail.extend(bytes);
    }

    fn after_write(&mut self, dropped: Option<Dropped>, now: Instant) {
        self.retry_at = (!self.backlog.is_empty()).then_some(now + RETRY);
        self.tell_dropped(dropped);
        let bytes = self.files.take_rotated_out();
        if bytes > 0 {
            self.notices.push(Notice::OutputRotatedOut { rank: self.rank, bytes });
        }
    }

    fn tell_dropped(&mut self, dropped: Option<Dropped>) {
        if let Some(Dropped { bytes, why }) = dropped {
            self.notices.push(Notice::OutputDropped { rank: self.rank, bytes, why });
        }
    }

    /// When a file that could not be written is to be tried again.
    pub(in crate::shim) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Tries again if it is time.
    pub(in crate::shim) fn retry(&mut self, now: Instant) {
        if self.retry_at.is_some_and(|at| now >= at) {
            let dropped = self.backlog.retry(&mut self.files);
            self.after_write(dropped, now);
        }
    }

    /// The last try; what still cannot be written is lost and told.
    pub(in crate::shim) fn finish(&mut self, now: Instant) {
        if !self.backlog.is_empty() {
            let dropped = self.backlog.retry(&mut self.files);
            self.after_write(dropped, now);
            let lost = self.backlog.give_up();
            self.tell_dropped(lost);
            self.retry_at = None;
        }
    }

    /// Bytes in the files, if that was not reported yet.
    pub(in crate::shim) fn unreported(&mut self) -> Option<u64> {
        let written = self.files.written();
        (written != self.reported).then(|| {
            self.reported = written;
            written
        })
    }

    pub(in crate::shim) fn is_unreported(&self) -> bool {
        self.files.written() != self.reported
    }

    pub(in crate::shim) fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// The last bytes, at most `LOG_TAIL`.
    pub(in crate::shim) fn tail(&self) -> Vec<u8> {
        self.tail.iter().copied().collect()
    }
}
