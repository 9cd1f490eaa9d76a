//! Captures from real machines and networks, which stay outside of the repository.

#![allow(clippy::disallowed_methods, reason = "a test is a shell: it reads files and the environment")]

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs};

use proptest::sample::Index;

/// The bytes of a capture, or `None` after saying that the test is skipped.
#[allow(dead_code, reason = "each test file uses its part of this")]
pub(crate) fn capture(path: &str) -> Option<Vec<u8>> {
    match fs::read(root().join("topology").join(path)) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            skipped(&format!("topology/{path} is not there ({error}); PHALANX_DATA names the folder"));
            None
        }
    }
}

/// Those of the captures that are there, for a test that has samples of its own beside them. What is missing is
/// said once: the test runs, on less.
#[allow(dead_code, reason = "each test file uses its part of this")]
pub(crate) fn captures(paths: &[&str]) -> Vec<Vec<u8>> {
    let found: Vec<Vec<u8>> =
        paths.iter().filter_map(|path| fs::read(root().join("topology").join(path)).ok()).collect();
    if found.len() < paths.len() {
        let missing = paths.len() - found.len();
        let all = paths.len();
        skipped(&format!(
            "{missing} of {all} captures are not there, so in part; PHALANX_DATA names the folder"
        ));
    }
    found
}

/// The files of a folder of captures in the order of their names; none after saying that the test is skipped.
#[allow(dead_code, reason = "each test file uses its part of this")]
pub(crate) fn in_folder(folder: &str) -> Vec<Vec<u8>> {
    let Ok(entries) = fs::read_dir(root().join("topology").join(folder)) else {
        skipped(&format!("topology/{folder} is not there; PHALANX_DATA names the folder"));
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().filter_map(|path| fs::read(path).ok()).collect()
}

fn root() -> PathBuf {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    env::var_os("PHALANX_DATA").map_or_else(beside, PathBuf::from)
}

/// Says that the test cannot run here, and writes it to the file named by PHALANX_TEST_SKIPS.
#[allow(dead_code, reason = "each test file uses its part of this")]
pub(crate) fn skipped(why: &str) {
    let line = format!("SKIPPED {}: {why}\n", std::thread::current().name().unwrap_or_default());
    std::io::stderr().write_all(line.as_bytes()).expect("standard error is there");
    if let Some(path) = env::var_os("PHALANX_TEST_SKIPS") {
        let file = fs::OpenOptions::new().create(true).append(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the file of what is skipped");
    }
}

/// A capture with these bytes changed, cut there.
#[allow(dead_code, reason = "each test file uses its part of this")]
pub(crate) fn mutated(mut bytes: Vec<u8>, edits: &[(Index, u8)], cut: Option<&Index>) -> Vec<u8> {
    for (at, byte) in edits {
        let at = at.index(bytes.len());
        bytes[at] = *byte;
    }
    if let Some(cut) = cut {
        bytes.truncate(cut.index(bytes.len()));
    }
    bytes
}

/// A file of an archive among the captures, or `None` after saying that the test is skipped.
#[allow(dead_code, reason = "each test file uses its part of this")]
pub(crate) fn archived(archive: &str, member: &str) -> Option<Vec<u8>> {
    let path = root().join("topology").join(archive);
    match std::process::Command::new("tar").arg("xJOf").arg(&path).arg(member).output() {
        Ok(done) if done.status.success() => Some(done.stdout),
        other => {
            let why = other.map_or_else(|error| error.to_string(), |done| done.status.to_string());
            skipped(&format!("tar cannot take {member} out of topology/{archive} ({why})"));
            None
        }
    }
}

/// A folder that is removed in the end.
#[allow(dead_code, reason = "each test file uses its part of this")]
pub(crate) struct Scratch {
    pub(crate) path: PathBuf,
}

impl Scratch {
    #[allow(dead_code, reason = "each test file uses its part of this")]
    pub(crate) fn new() -> Scratch {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // Thousands of small files, which some disks take seconds for.
        let memory = Some(PathBuf::from("/dev/shm")).filter(|dir| dir.is_dir());
        let dir = memory.unwrap_or_else(env::temp_dir);
        let path = dir.join(format!("phalanx-formats-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder for the test");
        Scratch { path }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What was unpacked may have folders that nobody may write to; they are in TMPDIR.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// An archive among the captures, unpacked, or `None` after saying that the test is skipped.
#[allow(dead_code, reason = "each test file uses its part of this")]
pub(crate) fn unpacked(archive: &str) -> Option<Scratch> {
    let path = root().join("topology").join(archive);
    let scratch = Scratch::new();
    // Nine of ten files are of these, and nobody reads them.
    let unread =
        ["memory[0-9]*", "power", "usb*", "ata*", "host[0-9]*", "block", "cpuidle", "counters", "torque"];
    let unread = unread.map(|name| format!("--exclude=*/{name}"));
    let mut tar = std::process::Command::new("tar");
    let tar = tar.arg("xf").arg(&path).arg("-C").arg(&scratch.path).args(unread).output();
    match tar {
        Ok(done) if done.status.success() => Some(scratch),
        other => {
            let why = other.map_or_else(|error| error.to_string(), |done| done.status.to_string());
            skipped(&format!("tar cannot unpack topology/{archive} ({why})"));
            None
        }
    }
}
