//! `times.tsv`: when which byte of a stream arrived, beside the files, so that these stay byte-exact.
//! A line is `microseconds since the Unix epoch`, `stdout` or `stderr`, `offset of the first byte`.
//! It is an aid: what cannot be written is left out.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use phalanx_common::time::Timestamp;
use phalanx_worker_core::shim::Stream;

const NAME: &str = "times.tsv";
/// At most one line per stream in this time,
const FINE: Duration = Duration::from_millis(10);
/// and in this once the file is long: a month of chatter stays below 100 MB.
const COARSE: Duration = Duration::from_secs(1);
const LONG: u64 = 4 << 20;

/// The sidecar file of one stream's arrivals; both streams of a rank append to the same file.
#[derive(Debug)]
pub(super) struct Times {
    path: PathBuf,
    stream: Stream,
    file: Option<File>,
    length: u64,
    last: Option<Instant>,
    broken: bool,
}

impl Times {
    pub(super) fn new(dir: &std::path::Path, stream: Stream) -> Times {
        Times { path: dir.join(NAME), stream, file: None, length: 0, last: None, broken: false }
    }

    /// Bytes from `offset` on arrived at `at`.
    pub(super) fn note(&mut self, now: Instant, at: Timestamp, offset: u64) {
        let spacing = if self.length < LONG { FINE } else { COARSE };
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < spacing) {
            return;
        }
        self.last = Some(now);
        let stream = match self.stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        };
        // A line that was written in part is closed by the next.
        let start = if self.broken { "\n" } else { "" };
        let line = format!("{start}{}\t{stream}\t{offset}\n", at.0);
        if self.file.is_none() {
            self.file = OpenOptions::new()
                .append(true)
                .create(true)
                .custom_flags(libc::O_NOFOLLOW)
                .open(&self.path)
                .ok();
        }
        let Some(file) = &mut self.file else { return };
        match file.write(line.as_bytes()) {
            Ok(wrote) => {
                self.length += wrote as u64;
                self.broken = wrote < line.len();
            }
            Err(_) => self.broken = true,
        }
    }
}
