//! The files of one stream: file k holds the bytes from k * cap on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use phalanx_worker_core::shim::{Stream, log_file};

use super::backlog::Sink;

/// Where the files of a rank go, and how many there may be.
#[derive(Clone, Debug)]
pub(in crate::shim) struct LogPlace {
    pub(in crate::shim) dir: PathBuf,
    pub(in crate::shim) max_file_bytes: u64,
    pub(in crate::shim) keep_files: u32,
}

impl LogPlace {
    fn path(&self, stream: Stream, part: u64) -> PathBuf {
        let (name, _) = log_file(stream, part * self.cap(), self.max_file_bytes);
        self.dir.join(name)
    }

    fn cap(&self) -> u64 {
        self.max_file_bytes.max(1)
    }
}

/// The current file of a stream and how far it has come.
#[derive(Debug)]
pub(super) struct Files {
    place: LogPlace,
    stream: Stream,
    /// Which part `file` is.
    part: u64,
    file: Option<File>,
    written: u64,
    line_start: bool,
    rotated_out: u64,
}

impl Files {
    /// Makes the first file.
    pub(super) fn create(place: LogPlace, stream: Stream) -> io::Result<Files> {
        let file = create(&place.path(stream, 0))?;
        Ok(Files { place, stream, part: 0, file: Some(file), written: 0, line_start: true, rotated_out: 0 })
    }

    /// Bytes in the files, those of removed ones included.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Bytes removed by rotation since the last call.
    pub(super) fn take_rotated_out(&mut self) -> u64 {
        std::mem::take(&mut self.rotated_out)
    }

    /// The file that takes the next byte, and how many it takes.
    fn current(&mut self) -> io::Result<(&mut File, u64)> {
        let cap = self.place.cap();
        let part = self.written / cap;
        if part != self.part {
            self.file = None;
            self.part = part;
            let oldest = part.checked_sub(u64::from(self.place.keep_files) + 1);
            if let Some(oldest) = oldest
                && fs::remove_file(self.place.path(self.stream, oldest)).is_ok()
            {
                self.rotated_out += cap;
            }
        }
        let room = cap - self.written % cap;
        let file = match self.file.take() {
            Some(file) => file,
            None => create(&self.place.path(self.stream, part))?,
        };
        Ok((self.file.insert(file), room))
    }
}

impl Sink for Files {
    fn put(&mut self, bytes: &[u8]) -> (usize, Option<io::Error>) {
        let mut taken = 0;
        while taken < bytes.len() {
            let (file, room) = match self.current() {
                Ok(current) => current,
                Err(error) => return (taken, Some(error)),
            };
            let rest = &bytes[taken..];
            let chunk = &rest[..rest.len().min(usize::try_from(room).unwrap_or(usize::MAX))];
            match file.write(chunk) {
                Ok(0) => return (taken, Some(io::ErrorKind::WriteZero.into())),
                Ok(wrote) => {
                    self.line_start = chunk[wrote - 1] == b'\n';
                    self.written += wrote as u64;
                    taken += wrote;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (taken, Some(error)),
            }
        }
        (taken, None)
    }

    fn at_line_start(&self) -> bool {
        self.line_start
    }
}

/// Never through a symbolic link: a log directory may be shared.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).custom_flags(libc::O_NOFOLLOW).open(path)
}
