//! A folder on disk as a tree: `/` for the machine itself, or a recording.
#![expect(clippy::disallowed_methods, reason = "the one place where files are opened")]

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::tree::{MAX_ENTRIES, MAX_FILE, Tree};

/// A folder, and everything below it.
#[derive(Clone, Debug)]
pub struct Dir {
    root: PathBuf,
    /// The machine itself: no link leads out of it.
    whole: bool,
}

impl Dir {
    /// # Errors
    /// There is no such folder.
    pub fn new(root: &Path) -> io::Result<Dir> {
        let root = root.canonicalize()?;
        if !root.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let whole = root == Path::new("/");
        Ok(Dir { root, whole })
    }

    /// Where a path of the tree is; `None` if that is not below the root.
    fn place(&self, path: &str) -> Option<PathBuf> {
        let joined = self.root.join(path);
        if self.whole {
            return Some(joined);
        }
        joined.canonicalize().ok().filter(|place| place.starts_with(&self.root))
    }
}

impl Tree for Dir {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        let place = self.place(path)?;
        // A pipe or a device would keep a reader waiting.
        if !fs::metadata(&place).ok()?.is_file() {
            return None;
        }
        let mut bytes = Vec::new();
        let read = File::open(&place).ok()?.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes);
        (read.is_ok() && bytes.len() <= MAX_FILE).then_some(bytes)
    }

    fn list(&self, path: &str) -> Vec<String> {
        let Some(entries) = self.place(path).and_then(|place| fs::read_dir(place).ok()) else {
            return Vec::new();
        };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.take(MAX_ENTRIES).collect();
        names.sort_unstable();
        names
    }

    fn resolve(&self, path: &str) -> Option<String> {
        let place = self.root.join(path).canonicalize().ok()?;
        place.strip_prefix(&self.root).ok()?.to_str().map(str::to_owned)
    }
}
