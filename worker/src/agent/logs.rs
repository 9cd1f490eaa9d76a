//! Serves a job's output from its log files: reads what the shim has written and sends it on a log
//! stream, as far as the coordinator's credit goes. The shim and its ranks never wait for this.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use phalanx_common::id::{Generation, Rank};
use phalanx_common::wire::LOG_WINDOW;
use phalanx_common::wire::bytes::Bytes;
use phalanx_common::wire::v1::{self, LogFrame, LogRequest};
use phalanx_worker_core::shim::{Stream, log_file};
use tokio::sync::watch;

use super::disk;
use crate::link::{Error, LogLink};

/// Largest piece of output in one frame, bytes: large enough for throughput, small enough that
/// control frames, which have priority, wait for little.
const CHUNK: u64 = 64 << 10;

/// One output stream of one attempt of one rank. Ordered, so that output is served in turns.
pub(super) type Key = (Generation, Rank, Stream);

/// How far the shim has written, as it said last. A watch channel carries it: a slow reader sees
/// the newest state and no queue can grow.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) streams: BTreeMap<Key, Source>,
    /// The last generation of which all output is in the files.
    pub(super) ended: Option<Generation>,
    /// The job is on this node.
    pub(super) held: bool,
    pub(super) earlier: Earlier,
    /// No more output will come, unless the job comes again.
    pub(super) closed: bool,
}

/// What is known of the job's generations before this life of the worker, which files alone tell of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Earlier {
    #[default]
    NotSought,
    Sought,
    Known,
}

impl Written {
    /// The job is on this node, whether or not it was here before.
    pub(super) fn arrive(&mut self) {
        (self.held, self.closed) = (true, false);
    }

    /// Adds what files tell of generations before those that are known.
    pub(super) fn add_earlier(&mut self, found: BTreeMap<Key, Source>) {
        let known = self.streams.keys().map(|key| key.0).min();
        let is_earlier = |generation: &Generation| known.is_none_or(|known| *generation < known);
        let earlier: Vec<_> = found.into_iter().filter(|(key, _)| is_earlier(&key.0)).collect();
        let last = earlier.iter().map(|(key, _)| key.0).max();
        self.streams.extend(earlier);
        self.ended = self.ended.max(last);
        self.earlier = Earlier::Known;
    }
}

/// Where a stream's bytes are.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) dir: PathBuf,
    pub(super) max_file_bytes: u64,
    pub(super) written: u64,
    /// Whose files alone are read; `None` in local mode, where all are the launcher's.
    pub(super) owner: Option<u32>,
}

/// Sends output until the job is forgotten, nobody reads any more, or the link is gone.
pub(super) async fn serve<L: LogLink>(
    mut link: L,
    id: u64,
    request: LogRequest,
    mut written: watch::Receiver<Written>,
) -> Result<(), Error> {
    link.send(LogFrame::Open { id }).await?;
    // Generations are served in their order. Nobody forgets the job before its search is over.
    let _ = written.wait_for(|state| state.earlier == Earlier::Known).await;
    let mut cursors: BTreeMap<Key, u64> = BTreeMap::new();
    let mut credit = LOG_WINDOW;
    let mut announced = None;
    loop {
        let (due, ended, closed) = {
            let state = written.borrow_and_update();
            let due: Vec<(Key, Source)> = state
                .streams
                .iter()
                .filter(|(key, _)| Some(key.0) > announced && wanted(&request, key))
                .filter(|(key, source)| cursors.get(key).copied().unwrap_or(0) < source.written)
                .map(|(key, source)| (*key, source.clone()))
                .collect();
            (due, state.ended, state.closed)
        };
        if due.is_empty() {
            if let Some(generation) = ended.filter(|_| ended > announced) {
                link.send(LogFrame::End { generation: generation.0 }).await?;
                announced = ended;
                cursors.retain(|key, _| key.0 > generation);
                continue;
            }
            if closed || !request.follow {
                return Ok(());
            }
            tokio::select! {
                changed = written.changed() => if changed.is_err() { return Ok(()) },
                // It ends where nobody reads any more, who may never have had anything to read.
                granted = link.credit() => credit = credit.saturating_add(granted?.bytes),
            }
            continue;
        }
        for (key, source) in due {
            while credit < CHUNK {
                credit = credit.saturating_add(link.credit().await?.bytes);
            }
            let cursor = cursors.entry(key).or_default();
            let frame;
            (frame, *cursor) = next_frame(key, source, *cursor).await;
            if let LogFrame::Chunk { bytes, .. } = &frame {
                credit -= bytes.0.len() as u64;
            }
            link.send(frame).await?;
        }
    }
}

/// Answers that there is nothing to be had, and why.
pub(super) async fn refuse<L: LogLink>(mut link: L, id: u64, why: String) -> Result<(), Error> {
    link.send(LogFrame::Open { id }).await?;
    link.send(LogFrame::Refused { why }).await
}

fn wanted(request: &LogRequest, (generation, rank, _): &Key) -> bool {
    request.generation.is_none_or(|wanted| wanted == generation.0)
        && request.rank.is_none_or(|wanted| wanted == rank.0)
}

pub(super) fn wire_stream(stream: Stream) -> v1::Stream {
    match stream {
        Stream::Stdout => v1::Stream::Stdout,
        Stream::Stderr => v1::Stream::Stderr,
    }
}

/// The next piece of a stream from `offset` on, or what is missing of it; and the offset behind it.
async fn next_frame(key: Key, source: Source, offset: u64) -> (LogFrame, u64) {
    let (generation, rank, stream) = key;
    let wire_stream = wire_stream(stream);
    let (generation, rank) = (generation.0, rank.0);
    let cap = source.max_file_bytes.max(1);
    let left_in_part = cap - offset % cap;
    let left = source.written - offset;
    let wanted = CHUNK.min(left).min(left_in_part);
    let (written, part_ends) = (source.written, offset + left_in_part.min(left));
    // Elsewhere: the file may be on a network's disk that hangs.
    let read = tokio::task::spawn_blocking(move || match read_piece(&source, stream, offset, wanted) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Ok(Piece::Gone { to: disk::next_part(&source, stream, offset).unwrap_or(written) })
        }
        Ok(bytes) if bytes.is_empty() => Ok(Piece::Gone { to: part_ends }),
        read => read.map(Piece::Bytes),
    });
    let to = match read.await.unwrap_or_else(|panicked| Err(panicked.into())) {
        Ok(Piece::Bytes(bytes)) => {
            let offset = offset + bytes.len() as u64;
            let bytes = Bytes(bytes);
            return (LogFrame::Chunk { generation, rank, stream: wire_stream, bytes }, offset);
        }
        Ok(Piece::Gone { to }) => to.clamp(part_ends, written),
        Err(error) => {
            tracing::warn!(rank, %error, "a part of a log cannot be read");
            part_ends
        }
    };
    (LogFrame::Skipped { generation, rank, stream: wire_stream, bytes: to - offset }, to)
}

/// What is found where a stream goes on.
enum Piece {
    Bytes(Vec<u8>),
    /// Rotated away, or taken by somebody: it goes on here. Of many parts that are gone there may be any number: how
    /// far it is written, the shim alone says, which is its user's.
    Gone {
        to: u64,
    },
}

/// Reads up to `wanted` bytes. The file is not kept open: hundreds of ranks have more streams than a
/// process may have files.
///
/// The directories may be of the job's user, who could put anything there: a link is not followed, and
/// what is opened has to be a plain file of that user.
pub(super) fn read_piece(source: &Source, stream: Stream, offset: u64, wanted: u64) -> io::Result<Vec<u8>> {
    let (name, position) = log_file(stream, offset, source.max_file_bytes);
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(source.dir.join(name))?;
    let meta = file.metadata()?;
    if !meta.is_file() || source.owner.is_some_and(|owner| meta.uid() != owner) {
        return Err(io::Error::new(ErrorKind::PermissionDenied, "it is not a file of the job's user"));
    }
    let mut bytes = vec![0; wanted as usize];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], position + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

#[cfg(test)]
mod tests;
