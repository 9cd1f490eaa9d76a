//! The newest output of every rank, sent to the coordinator once a second at the lowest priority: what a
//! node said last is known when the node is gone.

use std::collections::BTreeMap;
use std::time::Duration;

use phalanx_common::defaults::LOG_TAIL;
use phalanx_common::id::JobId;
use phalanx_common::wire::bytes::Bytes;
use phalanx_common::wire::v1::TailFrame;
use tokio::sync::mpsc;

use super::logs::{Key, Source, read_piece, wire_stream};
use crate::link::{Error, TailLink};

/// At most one tail per stream of a rank in this time.
pub(super) const EVERY: Duration = Duration::from_secs(1);
/// Bytes of tails in one round: output that is asked for has more use of the link.
const MOST_PER_ROUND: usize = 1 << 20;
/// Tails that may wait for the connection; one that finds no room is newer in the next round.
const QUEUED: usize = 64;

/// What was sent of which stream, on this connection.
#[derive(Debug)]
pub(super) struct Tails {
    sent: BTreeMap<(JobId, Key), u64>,
    queue: mpsc::Sender<Due>,
}

/// A tail that is to be read and sent.
#[derive(Debug)]
pub(super) struct Due {
    job: JobId,
    key: Key,
    source: Source,
    /// Bytes at the end of what is written.
    new: u64,
}

impl Tails {
    /// Nothing sent yet, and the queue that a link is fed from.
    pub(super) fn new() -> (Tails, mpsc::Receiver<Due>) {
        let (queue, due) = mpsc::channel(QUEUED);
        (Tails { sent: BTreeMap::new(), queue }, due)
    }

    /// Queues what is new of a job's streams, as far as there is room. Returns how many bytes that were.
    pub(super) fn queue(&mut self, job: &JobId, streams: &BTreeMap<Key, Source>, mut room: usize) -> usize {
        let before = room;
        for (key, source) in streams {
            let sent = self.sent.entry((job.clone(), *key)).or_default();
            let new = source.written.saturating_sub(*sent).min(LOG_TAIL as u64);
            if new == 0 || new as usize > room {
                continue;
            }
            let Ok(permit) = self.queue.try_reserve() else { break };
            *sent = source.written;
            room -= new as usize;
            permit.send(Due { job: job.clone(), key: *key, source: source.clone(), new });
        }
        before - room
    }

    /// The job is forgotten here.
    pub(super) fn forget(&mut self, job: &JobId) {
        self.sent.retain(|(of, _), _| of != job);
    }

    pub(super) fn room() -> usize {
        MOST_PER_ROUND
    }
}

/// The last `len` bytes of a stream, across a rotation; fewer where they cannot be read.
fn tail(source: &Source, stream: phalanx_worker_core::shim::Stream, len: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len as usize);
    let mut offset = source.written - len;
    let cap = source.max_file_bytes.max(1);
    while offset < source.written {
        let wanted = (source.written - offset).min(cap - offset % cap);
        match read_piece(source, stream, offset, wanted) {
            Ok(piece) if !piece.is_empty() => {
                offset += piece.len() as u64;
                bytes.extend_from_slice(&piece);
            }
            // Rotated away, or not a file of the job's user: what follows is the tail.
            _ => {
                offset += wanted;
                bytes.clear();
            }
        }
    }
    bytes
}

impl Due {
    fn read(self) -> TailFrame {
        let (generation, rank, stream) = self.key;
        TailFrame {
            job: self.job.to_string(),
            generation: generation.0,
            rank: rank.0,
            stream: wire_stream(stream),
            written: self.source.written,
            bytes: Bytes(tail(&self.source, stream, self.new)),
        }
    }
}

/// Reads tails, elsewhere, and sends them until the link is gone.
pub(super) async fn send<L: TailLink>(mut link: L, mut due: mpsc::Receiver<Due>) -> Result<(), Error> {
    while let Some(due) = due.recv().await {
        // One that panicked has said so.
        if let Ok(frame) = tokio::task::spawn_blocking(move || due.read()).await {
            link.send(frame).await?;
        }
    }
    Ok(())
}
