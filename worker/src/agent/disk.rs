//! Output of a job that this worker does not hold (any more), found in its directory of log files.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use phalanx_common::id::{Generation, Rank};
use phalanx_worker_core::shim::{Stream, log_file};

use super::logs::{Key, Source};

/// Names that are looked at for one answer: two hundred attempts of a hundred ranks, with their rotations. The
/// directories are the job's user's, who could put any number there.
const NAMES: usize = 1 << 18;

/// The same as `find`, not on this thread: the disk may be slow, and the user may have made much of it.
pub(super) async fn search(dir: PathBuf, max_file_bytes: u64, owner: Option<u32>) -> BTreeMap<Key, Source> {
    let found = tokio::task::spawn_blocking(move || find(&dir, max_file_bytes, owner)).await;
    // A search that panicked has said so.
    found.unwrap_or_default()
}

/// What the files of `<dir>/<generation>/<rank>/` hold. Names that are no numbers are nobody's.
fn find(dir: &Path, max_file_bytes: u64, owner: Option<u32>) -> BTreeMap<Key, Source> {
    let mut streams = BTreeMap::new();
    let mut look = Look { owner, left: NAMES };
    for generation in look.numbers(dir) {
        let attempt = dir.join(generation.to_string());
        for rank in look.numbers(&attempt) {
            let dir = attempt.join(rank.to_string());
            let names = look.names(&dir);
            for stream in [Stream::Stdout, Stream::Stderr] {
                if let Some(written) = written(&dir, &names, stream, max_file_bytes) {
                    let source = Source { dir: dir.clone(), max_file_bytes, written, owner };
                    streams.insert((Generation(generation), Rank(rank), stream), source);
                }
            }
        }
    }
    streams
}

/// A look into directories that may be of the job's user.
struct Look {
    owner: Option<u32>,
    /// Names that may still be looked at.
    left: usize,
}

impl Look {
    fn numbers(&mut self, dir: &Path) -> Vec<u32> {
        self.names(dir).iter().filter_map(|name| name.parse().ok()).collect()
    }

    /// What is in a directory. None behind a link, which may lead anywhere, or back.
    fn names(&mut self, dir: &Path) -> Vec<String> {
        if !fs::symlink_metadata(dir).is_ok_and(|meta| meta.is_dir() && self.is_trusted(meta.uid())) {
            return Vec::new();
        }
        let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
        let seen = entries.take(self.left).flatten().map(|entry| entry.file_name());
        let names: Vec<_> = seen.collect();
        self.left -= names.len();
        names.into_iter().filter_map(|name| name.into_string().ok()).collect()
    }

    fn is_trusted(&self, uid: u32) -> bool {
        self.owner.is_none_or(|owner| owner == uid) || nix::unistd::geteuid().as_raw() == uid
    }
}

/// Where the first file of a stream begins that is there behind the one that would hold byte `offset`.
pub(super) fn next_part(source: &Source, stream: Stream, offset: u64) -> Option<u64> {
    let mut look = Look { owner: source.owner, left: NAMES };
    let names = look.names(&source.dir);
    let begins = names.iter().filter_map(|name| begin(name, stream, source.max_file_bytes.max(1)));
    begins.filter(|begin| *begin > offset).min()
}

/// Bytes of a stream up to the end of its newest file; `None` if it has none.
fn written(dir: &Path, names: &[String], stream: Stream, max_file_bytes: u64) -> Option<u64> {
    let (begin, newest) =
        names.iter().filter_map(|name| Some((begin(name, stream, max_file_bytes)?, name))).max()?;
    Some(begin + fs::symlink_metadata(dir.join(newest)).ok()?.len().min(max_file_bytes))
}

/// Where in its stream the file of this name begins.
fn begin(name: &str, stream: Stream, max_file_bytes: u64) -> Option<u64> {
    let begin = part(name, stream)?.checked_mul(max_file_bytes)?;
    // A name that arithmetic would not give is no file of this stream.
    (log_file(stream, begin, max_file_bytes).0 == *name).then_some(begin)
}

/// Which file of its stream a name is: 0 for `stdout.log`, k for `stdout.k.log`.
fn part(name: &str, stream: Stream) -> Option<u64> {
    let prefix = if stream == Stream::Stdout { "stdout" } else { "stderr" };
    match name.strip_prefix(prefix)?.strip_suffix(".log")? {
        "" => Some(0),
        number => number.strip_prefix('.')?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_every_attempt_and_rank_are_found_with_their_rotations() {
        let dir = std::env::temp_dir().join(format!("phalanx-disk-{}", std::process::id()));
        let rank = dir.join("2/7");
        fs::create_dir_all(&rank).unwrap();
        fs::create_dir_all(dir.join("1/0")).unwrap();
        fs::create_dir_all(dir.join("x/0")).unwrap();
        fs::write(dir.join("1/0/stderr.log"), "abc").unwrap();
        fs::write(rank.join("stdout.3.log"), "ab").unwrap();
        fs::write(rank.join("stdout.2.log"), "0123456789").unwrap();
        fs::write(rank.join("stdout.03.log"), "no").unwrap();
        let found = find(&dir, 10, None);
        let found: Vec<_> = found
            .iter()
            .map(|((generation, rank, stream), source)| (generation.0, rank.0, *stream, source.written))
            .collect();
        assert_eq!(found, [(1, 0, Stream::Stderr, 3), (2, 7, Stream::Stdout, 32)]);
        assert!(find(&dir.join("none"), 10, None).is_empty());
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_link_is_not_followed_and_no_number_of_names_keeps_a_look_from_its_end() {
        let dir = std::env::temp_dir().join(format!("phalanx-disk-links-{}", std::process::id()));
        fs::create_dir_all(dir.join("1/0")).unwrap();
        fs::write(dir.join("1/0/stdout.log"), "abc").unwrap();
        for number in ["2", "1/1"] {
            std::os::unix::fs::symlink(".", dir.join(number)).unwrap();
        }
        std::os::unix::fs::symlink(dir.join("1"), dir.join("3")).unwrap();
        let streams = |found: BTreeMap<Key, Source>| found.into_keys().collect::<Vec<_>>();
        assert_eq!(streams(find(&dir, 10, None)), [(Generation(1), Rank(0), Stream::Stdout)]);
        std::os::unix::fs::symlink(&dir, dir.join("4")).unwrap();
        assert_eq!(streams(find(&dir.join("4"), 10, None)), []);
        let mut look = Look { owner: None, left: 5 };
        assert_eq!((look.names(&dir).len(), look.names(&dir).len(), look.left), (4, 1, 0));
        let stranger = nix::unistd::geteuid().as_raw() + 1;
        assert!(!Look { owner: Some(stranger), left: 1 }.is_trusted(stranger + 1));
        fs::remove_dir_all(&dir).unwrap();
    }
}
