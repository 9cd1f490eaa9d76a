//! Files of a folder, within bounds.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use phalanx_formats::dir::Dir;
use phalanx_formats::kind::recognise_folder;

/// Of one file: what the largest reader takes, and a byte more so that it can say that it is too much.
const MAX_BYTES: u64 = (256 << 20) + 1;
/// Of a folder: a file for each of ten thousand nodes, and some more.
const MAX_FILES: usize = 50_000;
/// Entries looked at, hidden ones and folders with them.
const MAX_ENTRIES: usize = 4 * MAX_FILES;
const MAX_DEPTH: usize = 12;

/// What is below a folder.
#[derive(Debug, Default)]
pub(super) struct Below {
    /// Regular files in the order of their names, hidden ones left out.
    pub(super) files: Vec<PathBuf>,
    /// Folders that are a machine's saved /sys, the folder itself among them; what is in them is no file here.
    pub(super) machines: Vec<(PathBuf, Dir)>,
}

/// Looks below a folder. Links to folders are not followed.
pub(super) fn below(folder: &Path) -> anyhow::Result<Below> {
    let (mut found, mut machines) = (Vec::new(), Vec::new());
    let mut seen = 0;
    let mut open = vec![(folder.to_path_buf(), 0)];
    while let Some((at, depth)) = open.pop() {
        if let Some(tree) = Dir::open(&at).ok().filter(|tree| recognise_folder(tree).is_some()) {
            machines.push((at, tree));
            continue;
        }
        let cannot = || format!("cannot read the folder {}", at.display());
        let mut folders = Vec::new();
        for entry in fs::read_dir(&at).with_context(cannot)? {
            let entry = entry.with_context(cannot)?;
            seen += 1;
            if seen > MAX_ENTRIES || found.len() > MAX_FILES {
                bail!(
                    "{} has more than {MAX_FILES} files; name the files or folders in it that matter",
                    folder.display()
                );
            }
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let (path, kind) = (entry.path(), entry.file_type().with_context(cannot)?);
            if kind.is_dir() && depth < MAX_DEPTH {
                folders.push((path, depth + 1));
            } else if kind.is_file() || kind.is_symlink() && path.is_file() {
                found.push(path);
            }
        }
        open.append(&mut folders);
    }
    found.sort();
    machines.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(Below { files: found, machines })
}

/// The files that a path names: itself, and those below a folder. What cannot be looked at is no file yet.
pub(crate) fn listed(path: &Path) -> Vec<PathBuf> {
    if path.is_dir() {
        below(path).map(|below| below.files).unwrap_or_default()
    } else {
        vec![path.to_path_buf()]
    }
}

/// The content of a file, or as much as shows that it is too large.
pub(super) fn content(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The same of standard input.
pub(super) fn standard_input() -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_files_and_links_to_folders_are_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir_all(path("b/.git")).unwrap();
        for name in ["c", "b/a", ".hidden", "b/.git/x"] {
            fs::write(path(name), "").unwrap();
        }
        std::os::unix::fs::symlink(dir.path(), path("b/up")).unwrap();
        std::os::unix::fs::symlink(path("c"), path("d")).unwrap();
        assert_eq!(below(dir.path()).unwrap().files, [path("b/a"), path("c"), path("d")]);
    }
}
