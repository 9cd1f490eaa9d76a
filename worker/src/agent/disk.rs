//! Output of a job that this worker does not hold (any more), found in its directory of log files.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use phalanx_common::id::{Generation, Rank};
use phalanx_worker_core::shim::{Stream, log_file};

use super::logs::{Source, Written};

/// What the files of `<dir>/<generation>/<rank>/` hold. Names that are no numbers are nobody's.
pub(super) fn find(dir: &Path, max_file_bytes: u64, owner: Option<u32>) -> Written {
    let mut streams = BTreeMap::new();
    for generation in numbers(dir) {
        let attempt = dir.join(generation.to_string());
        for rank in numbers(&attempt) {
            let dir = attempt.join(rank.to_string());
            for stream in [Stream::Stdout, Stream::Stderr] {
                if let Some(written) = written(&dir, stream, max_file_bytes) {
                    let source = Source { dir: dir.clone(), max_file_bytes, written, owner };
                    streams.insert((Generation(generation), Rank(rank), stream), source);
                }
            }
        }
    }
    let ended = streams.keys().map(|(generation, ..)| *generation).max();
    Written { streams, ended, closed: true }
}

fn numbers(dir: &Path) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Bytes of a stream up to the end of its newest file; `None` if it has none.
fn written(dir: &Path, stream: Stream, max_file_bytes: u64) -> Option<u64> {
    let newest = fs::read_dir(dir)
        .ok()?
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let part = part(name.to_str()?, stream)?;
            // A name that arithmetic would not give is no file of this stream.
            let begin = part.checked_mul(max_file_bytes)?;
            (log_file(stream, begin, max_file_bytes).0 == name.to_str()?).then_some((begin, entry.path()))
        })
        .max()?;
    let (begin, path) = newest;
    Some(begin + fs::symlink_metadata(path).ok()?.len().min(max_file_bytes))
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
        let written = find(&dir, 10, None);
        let found: Vec<_> = written
            .streams
            .iter()
            .map(|((generation, rank, stream), source)| (generation.0, rank.0, *stream, source.written))
            .collect();
        assert_eq!(found, [(1, 0, Stream::Stderr, 3), (2, 7, Stream::Stdout, 32)]);
        assert_eq!((written.ended, written.closed), (Some(Generation(2)), true));
        assert!(find(&dir.join("none"), 10, None).streams.is_empty());
        fs::remove_dir_all(&dir).unwrap();
    }
}
