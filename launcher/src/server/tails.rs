//! The newest output of ranks, kept on disk for the day their node is gone.
//!
//! One file per stream of a rank, `<dir>/<job>/<rank>.<out|err>`, of the newest generation that said something:
//! a job that is started again and again takes no more of the disk. It has the generation and how many bytes
//! the stream had, as decimal numbers with a space between and a newline after, then the last of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use phalanx_common::defaults::LOG_TAIL;
use phalanx_common::id::{JobId, NodeId};
use phalanx_common::wire::bytes::Bytes;
use phalanx_common::wire::v1::{LogFrame, Stream, TailFrame};
use phalanx_net::frames::Receiving;
use tokio::sync::mpsc;

use crate::driver::{Message, look};

/// Ranks of a node that are remembered as its own: those of the pods that a node may have, and of many before.
const REMEMBERED: usize = 1 << 13;

/// Where tails are kept.
#[derive(Clone, Debug)]
pub(crate) struct Tails {
    dir: PathBuf,
    /// How many jobs were forgotten so far.
    forgotten: Arc<AtomicU64>,
}

impl Tails {
    pub(crate) fn new(dir: PathBuf) -> Tails {
        Tails { dir, forgotten: Arc::default() }
    }

    /// Keeps what this node sends, of ranks that it has.
    pub(super) async fn receive(self, node: NodeId, mut frames: Receiving, driver: mpsc::Sender<Message>) {
        let mut its_own = ItsOwn::default();
        while let Ok(frame) = frames.read::<TailFrame>().await {
            if !its_own.has(&frame, self.forgotten.load(Ordering::Relaxed)) {
                match whose(&driver, &node, &frame).await {
                    Whose::Its => its_own.add(&frame),
                    // On its way while the gang was started again: what is kept is of the newest attempt.
                    Whose::Past => continue,
                    Whose::NotIts => {
                        tracing::warn!(%node, job = frame.job, rank = frame.rank, "a node sent output of a rank that it does not have");
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
        // Beside it first: what is read in between, or found after a crash, is one of the two and whole.
        let beside = path.with_extension(format!("{}.new", extension(frame.stream)));
        fs::write(&beside, [head.as_bytes(), &bytes].concat())?;
        fs::rename(&beside, &path)
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
            // Whoever keeps a tail from here on asks first whether the job is known.
            self.forgotten.fetch_add(1, Ordering::Relaxed);
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
    format!("{rank}.{}", extension(stream))
}

fn extension(stream: Stream) -> &'static str {
    match stream {
        Stream::Stdout => "out",
        Stream::Stderr => "err",
    }
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

/// What was found to be a node's, so that not every tail has to ask.
#[derive(Debug, Default)]
struct ItsOwn {
    /// The newest generation of each rank of each job.
    newest: BTreeMap<(String, u32), u32>,
    forgotten: u64,
}

impl ItsOwn {
    /// False too if a job was forgotten since, which may be this one.
    fn has(&mut self, tail: &TailFrame, forgotten: u64) -> bool {
        if std::mem::replace(&mut self.forgotten, forgotten) != forgotten {
            self.newest.clear();
        }
        self.newest.get(&(tail.job.clone(), tail.rank)) == Some(&tail.generation)
    }

    fn add(&mut self, tail: &TailFrame) {
        if self.newest.len() >= REMEMBERED {
            self.newest.clear();
        }
        self.newest.insert((tail.job.clone(), tail.rank), tail.generation);
    }
}

/// A node speaks for its own ranks alone.
async fn whose(driver: &mpsc::Sender<Message>, node: &NodeId, tail: &TailFrame) -> Whose {
    let (job, generation, rank) = (JobId::from_existing(tail.job.as_str()), tail.generation, tail.rank);
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

    fn tail(job: &str, generation: u32, rank: u32, text: &[u8]) -> TailFrame {
        let (stream, bytes, written) = (Stream::Stdout, Bytes(text.to_vec()), text.len() as u64);
        TailFrame { job: job.into(), generation, rank, stream, written, bytes }
    }

    #[test]
    fn a_tail_that_is_read_while_it_is_replaced_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let tails = Tails::new(dir.path().to_owned());
        let long = vec![b'z'; LOG_TAIL];
        tails.keep(&tail("j-1", 1, 0, &long)).unwrap();
        let writer = std::thread::spawn({
            let (tails, long) = (tails.clone(), long.clone());
            move || (2..500).for_each(|generation| tails.keep(&tail("j-1", generation, 0, &long)).unwrap())
        });
        while !writer.is_finished() {
            let kept = read(&dir.path().join("j-1/0.out")).expect("one of the two");
            assert_eq!(kept.bytes.len(), LOG_TAIL, "generation {}", kept.generation);
        }
        writer.join().unwrap();
    }

    #[test]
    fn what_is_remembered_of_a_node_s_ranks_is_the_newest_and_bounded_and_goes_when_a_job_is_forgotten() {
        let mut its_own = ItsOwn::default();
        let of = |generation| tail("j-1", generation, 0, b"x");
        its_own.add(&of(1));
        assert!(its_own.has(&of(1), 0));
        its_own.add(&of(2));
        assert!(!its_own.has(&of(1), 0) && its_own.has(&of(2), 0));
        assert!(!its_own.has(&of(2), 1), "this job may be the one");
        for rank in 0..2 * REMEMBERED as u32 {
            its_own.add(&tail("j-1", 1, rank, b"x"));
        }
        assert!(its_own.newest.len() <= REMEMBERED);
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
        assert_eq!(tails.forgotten.load(Ordering::Relaxed), 3);
        assert_eq!(tails.of_jobs_but(|_| false), [JobId::from_existing("kept-1")]);
    }
}
