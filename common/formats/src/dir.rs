//! A folder on disk as a [`Tree`]: the live machine, or a `/sys` that somebody saved.

use std::fs;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use crate::text::visible;
use crate::tree::{MAX_NAMES, Tree};

/// Why a folder was not opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot open the folder {}: {source}", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error(
        "neither {} nor `sys` in it has what /sys has (`devices`, and `class` or `bus`); name the folder that \
         /sys was saved in",
        path.display()
    )]
    NoSys { path: PathBuf },
}

/// A folder on disk. No link is followed out of it.
#[derive(Clone, Debug)]
pub struct Dir {
    /// What the first name of a path stands for; an empty name is the root of all others.
    mounts: Vec<(&'static str, PathBuf)>,
}

impl Dir {
    /// This machine.
    pub fn live() -> Dir {
        Dir { mounts: vec![("", PathBuf::from("/"))] }
    }

    /// A saved machine: a folder that has `sys` and perhaps `proc` and `dev`, or a saved `/sys` itself: if
    /// it is called `sys`, with `proc` and `dev` beside it.
    ///
    /// # Errors
    /// A folder that cannot be opened, and one that is neither.
    pub fn open(path: &Path) -> Result<Dir, Error> {
        let open = |source| Error::Open { path: path.to_path_buf(), source };
        let root = fs::canonicalize(path).map_err(open)?;
        fs::read_dir(&root).map_err(open)?;
        // `/proc` has a folder `sys` too.
        let is_sys = |folder: &Path| {
            let has = |name: &str| folder.join(name).is_dir();
            has("devices") && (has("class") || has("bus"))
        };
        if is_sys(&root.join("sys")) {
            return Ok(Dir { mounts: vec![("", root)] });
        }
        if !is_sys(&root) {
            return Err(Error::NoSys { path: path.to_path_buf() });
        }
        // Only of a folder that is called `sys` the neighbours are the same machine's; a link may lead to another.
        let parent = root.parent().filter(|_| root.file_name().is_some_and(|name| name == "sys"));
        let beside = |name: &'static str| {
            let folder = parent?.join(name);
            fs::symlink_metadata(&folder).ok()?.is_dir().then_some((name, folder))
        };
        let mut mounts: Vec<(&'static str, PathBuf)> =
            ["proc", "dev"].into_iter().filter_map(beside).collect();
        mounts.push(("sys", root));
        Ok(Dir { mounts })
    }

    /// Where a path of the tree is on disk, with links, and the folder that it must not leave.
    fn locate(&self, path: &str) -> Option<(&(&'static str, PathBuf), PathBuf)> {
        let plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        let mount = self.mounts.iter().find(|(name, _)| name.is_empty() || *name == first)?;
        let below = if mount.0.is_empty() { path } else { rest };
        plain.then(|| (mount, mount.1.join(below)))
    }

    /// The same without links; `None` where one leads out.
    fn resolve(&self, path: &str) -> Option<(&(&'static str, PathBuf), PathBuf)> {
        let (mount, path) = self.locate(path)?;
        let real = fs::canonicalize(path).ok()?;
        real.starts_with(&mount.1).then_some((mount, real))
    }

    /// For reading: nothing leads out of the root of the live machine, which spares it a look at each part.
    fn inside(&self, path: &str) -> Option<PathBuf> {
        let of_all = self.mounts.iter().any(|(_, root)| root.as_os_str() == "/");
        let found = if of_all { self.locate(path)? } else { self.resolve(path)? };
        Some(found.1)
    }
}

impl Tree for Dir {
    #[expect(clippy::disallowed_methods, reason = "this file is the one that reads folders on disk")]
    fn read(&self, path: &str, limit: usize) -> Option<String> {
        let path = self.inside(path)?;
        // A saved folder may hold a pipe, whose opening waits for a writer.
        if !fs::metadata(&path).ok()?.is_file() {
            return None;
        }
        let mut bytes = Vec::new();
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        fs::File::open(path).ok()?.take(limit).read_to_end(&mut bytes).ok()?;
        Some(match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => visible(error.as_bytes()).into_owned(),
        })
    }

    fn list(&self, path: &str) -> Vec<String> {
        let entries = self.inside(path).and_then(|path| fs::read_dir(path).ok());
        let names = entries.into_iter().flatten().take(MAX_NAMES);
        let mut names: Vec<String> =
            names.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort_unstable();
        names
    }

    fn real_path(&self, path: &str) -> Option<String> {
        let ((name, root), real) = self.resolve(path)?;
        let below = real.strip_prefix(root).ok()?.to_str()?;
        Some(match *name {
            "" => below.to_string(),
            name => format!("{name}/{below}"),
        })
    }
}
