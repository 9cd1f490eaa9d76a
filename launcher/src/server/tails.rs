//! The newest output of ranks, kept on disk for the day their node is gone.
//!
//! One file per stream of a rank, `<dir>/<job>/<rank>.<out|err>`, of the newest generation that said something:
//! a job that is started again and again takes no more of the disk. It has the generation and how many bytes
//! the stream had, as decimal numbers with a space between and a newline after, then the last of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use phalanx_common::defaults::LOG_TAIL;
use phalanx_common::id::{JobId, NodeId};
use phalanx_common::wire::bytes::Bytes;
use phalanx_common::wire::v1::{LogFrame, Stream, TailFrame};
use phalanx_net::frames::Receiving;
use tokio::sync::mpsc;

use crate::driver::{Message, look};

/// Where tails are kept.
#[derive(Clone, Debug)]
pub(crate) struct Tails {
    dir: PathBuf,
}

impl Tails {
    pub(crate) fn new(dir: PathBuf) -> Tails {
        Tails { dir }
    }

    /// Keeps what this node sends, of ranks that it has.
    pub(super) async fn receive(self, node: NodeId, mut frames: Receiving, driver: mpsc::Sender<Message>) {
        let mut its_own: BTreeSet<(String, u32, u32)> = BTreeSet::new();
        while let Ok(frame) = frames.read::<TailFrame>().await {
            let key = (frame.job.clone(), frame.generation, frame.rank);
            if !its_own.contains(&key) {
                match whose(&driver, &node, &key).await {
                    Whose::Its => its_own.insert(key),
                    // On its way while the gang was started again: what is kept is of the newest attempt.
                    Whose::Past => continue,
                    Whose::NotIts => {
                        tracing::warn!(%node, job = key.0, rank = key.2, "a node sent output of a rank that it does not have");
                        continue;
                    }
                };
            }
            let tails = self.clone();
            let kept = tokio::task::spawn_blocking(move || tails.keep(&frame)).await;
            if let Ok(Err(error)) = kept {
                tracing::warn!(%error, dir = %self.dir.display(), "a tail cannot be kept");
            }
        }
    }

    pub(super) fn keep(&self, frame: &TailFrame) -> std::io::Result<()> {
        let dir = self.dir.join(&frame.job);
        fs::create_dir_all(&dir)?;
        let path = dir.join(name(frame.rank, frame.stream));
        let new = &frame.bytes.0;
        let mut bytes = match read(&path) {
            // What comes between the two was never sent: only what is whole is kept.
            Some(old)
                if old.generation == frame.generation && old.written + new.len() as u64 == frame.written =>
            {
                old.bytes
            }
            Some(old) if old.generation > frame.generation => return Ok(()),
            _ => Vec::new(),
        };
        bytes.extend_from_slice(new);
        bytes.drain(..bytes.len().saturating_sub(LOG_TAIL));
        let head = format!("{} {}\n", frame.generation, frame.written);
        fs::write(&path, [head.as_bytes(), &bytes].concat())
    }

    /// Jobs of which there are tails and that are not `known`.
    pub(crate) fn of_jobs_but(&self, known: impl Fn(&JobId) -> bool) -> Vec<JobId> {
        let Ok(entries) = fs::read_dir(&self.dir) else { return Vec::new() };
        let jobs = entries.flatten().map(|entry| JobId::from_existing(entry.file_name().to_string_lossy()));
        jobs.filter(|job| !known(job)).collect()
    }

    /// Removes the tails of jobs that are forgotten, off the serving thread.
    pub(crate) async fn remove(self, mut forgotten: mpsc::UnboundedReceiver<JobId>) {
        while let Some(job) = forgotten.recv().await {
            let dir = self.dir.join(job.as_str());
            let removed = tokio::task::spawn_blocking(move || fs::remove_dir_all(dir)).await;
            match removed {
                Ok(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!(%job, %error, dir = %self.dir.display(), "the tails of a forgotten job cannot be removed");
                }
                _ => {}
            }
        }
    }

    /// What is known of a rank's output: what is missing of it, and its end. Reads files.
    pub(super) fn last_words(&self, job: &JobId, rank: u32, generation: u32) -> Vec<LogFrame> {
        let dir = self.dir.join(job.as_str());
        let mut frames = Vec::new();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let kept = read(&dir.join(name(rank, stream)));
            let Some(Kept { written, bytes, .. }) = kept.filter(|kept| kept.generation == generation) else {
                continue;
            };
            let missing = written.saturating_sub(bytes.len() as u64);
            if missing > 0 {
                frames.push(LogFrame::Skipped { generation, rank, stream, bytes: missing });
            }
            frames.push(LogFrame::Chunk { generation, rank, stream, bytes: Bytes(bytes) });
        }
        frames
    }
}

/// What a file has.
struct Kept {
    generation: u32,
    written: u64,
    bytes: Vec<u8>,
}

fn name(rank: u32, stream: Stream) -> String {
    let stream = match stream {
        Stream::Stdout => "out",
        Stream::Stderr => "err",
    };
    format!("{rank}.{stream}")
}

fn read(path: &std::path::Path) -> Option<Kept> {
    let mut content = fs::read(path).ok()?;
    let end = content.iter().position(|byte| *byte == b'\n')?;
    let (generation, written) = std::str::from_utf8(&content[..end]).ok()?.split_once(' ')?;
    let (generation, written) = (generation.parse().ok()?, written.parse().ok()?);
    content.drain(..=end);
    Some(Kept { generation, written, bytes: content })
}

/// What a node has to do with a rank of a generation.
enum Whose {
    /// It has the rank, or had it last.
    Its,
    /// The job has a newer generation.
    Past,
    NotIts,
}

/// A node speaks for its own ranks alone.
async fn whose(driver: &mpsc::Sender<Message>, node: &NodeId, key: &(String, u32, u32)) -> Whose {
    let (job, generation, rank) = (JobId::from_existing(key.0.as_str()), key.1, key.2);
    let node = node.clone();
    let found = look(driver, move |coordinator, _| {
        let last = coordinator.job(&job).and_then(|view| view.job.generation.as_ref());
        let Some(last) = last else { return Whose::NotIts };
        if last.number.0 > generation {
            return Whose::Past;
        }
        let mut ranks = last.place_on(&node).into_iter().flat_map(|place| place.ranks());
        let has_it = last.number.0 == generation && ranks.any(|of| of.0 == rank);
        if has_it { Whose::Its } else { Whose::NotIts }
    });
    // The coordinator ends.
    found.await.unwrap_or(Whose::Past)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_grow_up_to_their_cap_and_begin_anew_after_a_gap() {
        let dir = std::env::temp_dir().join(format!("phalanx-tails-{}", std::process::id()));
        let tails = Tails::new(dir.clone());
        let keep = |written: u64, bytes: &[u8]| {
            let bytes = Bytes(bytes.to_vec());
            let frame = TailFrame {
                job: "j-1".into(),
                generation: 1,
                rank: 0,
                stream: Stream::Stdout,
                written,
                bytes,
            };
            tails.keep(&frame).unwrap();
            tails.last_words(&JobId::from_existing("j-1"), 0, 1)
        };
        let chunk = |text: &[u8]| LogFrame::Chunk {
            generation: 1,
            rank: 0,
            stream: Stream::Stdout,
            bytes: Bytes(text.to_vec()),
        };
        let skipped = |bytes| LogFrame::Skipped { generation: 1, rank: 0, stream: Stream::Stdout, bytes };
        assert_eq!(keep(3, b"abc"), [chunk(b"abc")]);
        assert_eq!(keep(5, b"de"), [chunk(b"abcde")]);
        assert_eq!(keep(10, b"xy"), [skipped(8), chunk(b"xy")]);
        let long = vec![b'z'; LOG_TAIL];
        assert_eq!(keep(10 + LOG_TAIL as u64, &long), [skipped(10), chunk(&long)]);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn of_a_rank_that_is_started_again_the_newest_generation_alone_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let tails = Tails::new(dir.path().to_owned());
        for (generation, text) in [(1, "one"), (2, "two"), (1, "late")] {
            let (stream, bytes) = (Stream::Stdout, Bytes(text.as_bytes().to_vec()));
            let written = text.len() as u64;
            let frame = TailFrame { job: "j-1".into(), generation, rank: 0, stream, written, bytes };
            tails.keep(&frame).unwrap();
        }
        let of = |generation| tails.last_words(&JobId::from_existing("j-1"), 0, generation);
        assert_eq!(of(1), []);
        let (rank, stream, bytes) = (0, Stream::Stdout, Bytes(b"two".to_vec()));
        assert_eq!(of(2), [LogFrame::Chunk { generation: 2, rank, stream, bytes }]);
        assert_eq!(fs::read_dir(dir.path().join("j-1")).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn tails_of_forgotten_and_of_unknown_jobs_are_removed_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let tails = Tails::new(dir.path().join("tails"));
        let known = |job: &JobId| job.as_str() != "gone-1";
        assert_eq!(tails.of_jobs_but(known), [], "before there is any");
        for job in ["gone-1", "ended-1", "kept-1"] {
            let bytes = Bytes(b"x".to_vec());
            let job = job.to_owned();
            let frame = TailFrame { job, generation: 1, rank: 0, stream: Stream::Stdout, written: 1, bytes };
            tails.keep(&frame).unwrap();
        }
        let (forgotten, to_remove) = mpsc::unbounded_channel();
        for job in tails.of_jobs_but(known) {
            forgotten.send(job).unwrap();
        }
        for job in ["without-tails", "ended-1"] {
            forgotten.send(JobId::from_existing(job)).unwrap();
        }
        drop(forgotten);
        tails.clone().remove(to_remove).await;
        assert_eq!(tails.of_jobs_but(|_| false), [JobId::from_existing("kept-1")]);
    }
}
