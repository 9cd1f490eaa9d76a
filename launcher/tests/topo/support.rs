//! Runs the real `phalanx`, with files of the test's own and captures that stay outside of the repository.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};
use std::{env, fs};

use tempfile::TempDir;

/// What a run left.
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    /// The output of a run that succeeded and had nothing to say besides.
    pub(crate) fn clean(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "{}", self.out);
        self.out
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err))
    }

    /// How many lines have that in them.
    pub(crate) fn lines_with(&self, text: &str) -> usize {
        self.out.lines().filter(|line| line.contains(text)).count()
    }
}

/// Runs `phalanx topo` with these arguments in a directory.
pub(crate) fn topo(dir: &Path, args: &[&str]) -> Done {
    topo_of(dir, args, b"")
}

/// The same with something on standard input.
pub(crate) fn topo_of(dir: &Path, args: &[&str], input: &[u8]) -> Done {
    let mut child = Command::new(env!("CARGO_BIN_EXE_phalanx"))
        .arg("topo")
        .args(args)
        .current_dir(dir)
        .env_clear()
        .env("LANG", "C.UTF-8")
        .env("PHALANX_CONFIG", "/dev/null")
        .env("PHALANX_STATE_DIR", dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that reads nothing may have ended.
    let _ = child.stdin.take().unwrap().write_all(input);
    let done = child.wait_with_output().unwrap();
    Done {
        code: done.status.code().unwrap(),
        out: String::from_utf8(done.stdout).unwrap(),
        err: String::from_utf8(done.stderr).unwrap(),
    }
}

/// A directory with these files, all of one time: 2024-07-03T09:46:40Z.
pub(crate) fn files(contents: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in contents {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        let time = UNIX_EPOCH + Duration::from_secs(1_720_000_000);
        fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    }
    dir
}

/// The folder of captures, or `None` after saying that the test is skipped.
pub(crate) fn captures() -> Option<PathBuf> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let root = env::var_os("PHALANX_DATA").map_or_else(beside, PathBuf::from).join("topology");
    if root.is_dir() {
        return Some(root);
    }
    skipped(&format!("{} is not there; PHALANX_DATA names the folder above it", root.display()));
    None
}

/// An archive of the captures, unpacked.
pub(crate) fn unpacked(archive: &str) -> Option<TempDir> {
    let path = captures()?.join(archive);
    let dir = tempfile::tempdir().unwrap();
    match Command::new("tar").arg("xf").arg(&path).arg("-C").arg(dir.path()).status() {
        Ok(status) if status.success() => Some(dir),
        other => {
            skipped(&format!("tar cannot unpack {archive}: {other:?}"));
            None
        }
    }
}

/// Says that the test cannot run here, and writes it to the file named by PHALANX_TEST_SKIPS.
pub(crate) fn skipped(why: &str) {
    let line = format!("SKIPPED {}: {why}\n", std::thread::current().name().unwrap_or_default());
    std::io::stderr().write_all(line.as_bytes()).expect("standard error is there");
    if let Some(path) = env::var_os("PHALANX_TEST_SKIPS") {
        let file = fs::OpenOptions::new().create(true).append(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the file of what is skipped");
    }
}
