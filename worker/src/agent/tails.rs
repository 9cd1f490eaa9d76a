//! The newest output of every rank, sent to the coordinator once a second at the lowest priority: what a
//! node said last is known when the node is gone.

use std::collections::{BTreeMap, VecDeque};
use std::future::pending;
use std::time::Duration;

use phalanx_common::defaults::LOG_TAIL;
use phalanx_common::id::JobId;
use phalanx_common::wire::bytes::Bytes;
use phalanx_common::wire::v1::TailFrame;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::logs::{Key, Source, Written, read_piece, wire_stream};
use crate::link::{Error, TailLink};

/// At most one tail per stream of a rank in this time.
pub(super) const EVERY: Duration = Duration::from_secs(1);
/// Bytes of tails in one round: output that is asked for has more use of the link.
const MOST_PER_ROUND: usize = 1 << 20;
/// Tails that may wait for the connection; one that finds no room comes first in the next round.
const QUEUED: usize = 64;
/// Last words that may wait: those of eight pods with as many ranks as a pod may have.
const LAST_WORDS: usize = 1 << 14;
/// A disk that does not answer in this time keeps its own job's tails waiting, and no other's.
const READ_WITHIN: Duration = Duration::from_secs(2);

/// What was sent of which stream, on this connection.
#[derive(Debug)]
pub(super) struct Tails {
    sent: BTreeMap<(JobId, Key), u64>,
    /// Where the last round found no room: the next begins there.
    next: Option<(JobId, Key)>,
    /// Of generations that have ended, whose jobs may be forgotten meanwhile.
    last_words: VecDeque<Due>,
    queue: mpsc::Sender<Due>,
}

/// A tail that is to be read and sent.
#[derive(Clone, Debug)]
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
        (Tails { sent: BTreeMap::new(), next: None, last_words: VecDeque::new(), queue }, due)
    }

    /// Queues what is new of all streams, as far as there is room, from where the last round stopped.
    pub(super) fn round(&mut self, written: &BTreeMap<JobId, watch::Sender<Written>>) {
        let mut room = MOST_PER_ROUND;
        let Some((job, key)) = self.next.take() else {
            return self.part(written.iter(), &mut room, |_, _| true);
        };
        let from = |of: &JobId, other: &Key| (of, other) >= (&job, &key);
        self.part(written.range(&job..), &mut room, from);
        if self.next.is_none() {
            self.part(written.range(..=&job), &mut room, |of, other| !from(of, other));
        }
    }

    fn part<'a>(
        &mut self,
        jobs: impl Iterator<Item = (&'a JobId, &'a watch::Sender<Written>)>,
        room: &mut usize,
        counts: impl Fn(&JobId, &Key) -> bool,
    ) {
        for (job, state) in jobs {
            for (key, source) in state.borrow().streams.iter().filter(|(key, _)| counts(job, key)) {
                let new = self.new_of(job, key, source);
                if new == 0 {
                    continue;
                }
                let permit = self.queue.try_reserve().ok().filter(|_| new as usize <= *room);
                let Some(permit) = permit else {
                    self.next = Some((job.clone(), *key));
                    return;
                };
                *room -= new as usize;
                permit.send(Due { job: job.clone(), key: *key, source: source.clone(), new });
                self.sent.insert((job.clone(), *key), source.written);
            }
        }
    }

    /// Bytes at the end of a stream that were not sent and are kept.
    fn new_of(&self, job: &JobId, key: &Key, source: &Source) -> u64 {
        let sent = self.sent.get(&(job.clone(), *key)).copied().unwrap_or(0);
        source.written.saturating_sub(sent).min(LOG_TAIL as u64)
    }

    /// What is new of a job's streams does not wait for a round: the job may be forgotten by then.
    pub(super) fn add_last_words(&mut self, job: &JobId, streams: &BTreeMap<Key, Source>) {
        for (key, source) in streams {
            let new = self.new_of(job, key, source);
            if new > 0 && self.last_words.len() < LAST_WORDS {
                self.last_words.push_back(Due { job: job.clone(), key: *key, source: source.clone(), new });
                self.sent.insert((job.clone(), *key), source.written);
            }
        }
    }

    /// Waits until one of the last words finds room, and queues it; for ever if there is none. Cancel-safe.
    pub(super) async fn say_last_words(&mut self) {
        if self.last_words.is_empty() {
            return pending().await;
        }
        match self.queue.reserve().await {
            Ok(permit) => {
                if let Some(due) = self.last_words.pop_front() {
                    permit.send(due);
                }
            }
            // The stream for them is gone, and the link soon.
            Err(_) => self.last_words.clear(),
        }
    }

    /// The job is forgotten here. What it said last goes on its way.
    pub(super) fn forget(&mut self, job: &JobId) {
        self.sent.retain(|(of, _), _| of != job);
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
pub(super) async fn send<L: TailLink>(link: L, due: mpsc::Receiver<Due>) -> Result<(), Error> {
    send_read(link, due, Due::read).await
}

async fn send_read<L: TailLink>(
    mut link: L,
    mut due: mpsc::Receiver<Due>,
    read: fn(Due) -> TailFrame,
) -> Result<(), Error> {
    // One thread of each job may hang: more would take those that everything else needs.
    let mut hung: BTreeMap<JobId, JoinHandle<TailFrame>> = BTreeMap::new();
    while let Some(due) = due.recv().await {
        let job = due.job.clone();
        hung.retain(|_, reading| !reading.is_finished());
        if hung.contains_key(&job) {
            continue;
        }
        let mut reading = tokio::task::spawn_blocking(move || read(due));
        match tokio::time::timeout(READ_WITHIN, &mut reading).await {
            Ok(Ok(frame)) => link.send(frame).await?,
            // One that panicked has said so.
            Ok(Err(_)) => {}
            Err(_) => {
                tracing::warn!(%job, "the disk with the job's logs does not answer");
                hung.insert(job, reading);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
