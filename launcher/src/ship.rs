//! A directory that travels with a job: packed once, the same bytes for the same content.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use phalanx_common::defaults::SHIP_CAP;
use phalanx_common::hex;
use phalanx_common::spec::Ship;
use ring::digest::{Context, SHA256};

/// Files named where a directory is too large.
const LARGEST_NAMED: usize = 5;
/// Bytes of header and padding that an entry of an archive takes beside its content.
const PER_ENTRY: u64 = 1536;

/// Why a directory does not travel.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("ship {}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("ship {}: it is not a directory", .0.display())]
    NoDirectory(PathBuf),
    #[error("ship: the directory cannot be read: {0}")]
    Walk(#[from] ignore::Error),
    #[error("ship: the link {} leads outside of the directory, to {}", link.display(), target.display())]
    Outside { link: PathBuf, target: PathBuf },
    #[error("ship {}: the file changed while it was packed; submit again when nobody writes to it", .0.display())]
    Changed(PathBuf),
    #[error(
        "ship: more than {} MiB would travel{}; name in .gitignore what the job does not need",
        cap >> 20, the_largest(largest)
    )]
    TooLarge { cap: u64, largest: Vec<String> },
}

/// Many small files may be too much as well.
fn the_largest(largest: &[String]) -> String {
    match largest {
        [] => String::new(),
        [one] => format!("; the largest file is {one}"),
        several => format!("; the largest files are {}", several.join(", ")),
    }
}

/// An archive, in a file without a name.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) file: File,
    pub(crate) ship: Ship,
    /// Regular files in it.
    pub(crate) files: usize,
}

/// Packs what git would not ignore, `.git` itself left out. Times and owners are left out as well, so that
/// the archive depends on names, modes and content alone.
pub(crate) fn pack(dir: &Path) -> Result<Packed, Error> {
    pack_within(dir, SHIP_CAP)
}

fn pack_within(dir: &Path, cap: u64) -> Result<Packed, Error> {
    if !dir.is_dir() {
        return Err(Error::NoDirectory(dir.to_owned()));
    }
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| Error::Io { path, error }
    };
    let entries = entries(dir, cap)?;
    let file = tempfile::tempfile().map_err(failed(&std::env::temp_dir()))?;
    let mut archive = tar::Builder::new(Hashing { file, context: Context::new(&SHA256), bytes: 0 });
    archive.follow_symlinks(false);
    let mut files = 0;
    for (name, path) in &entries {
        let meta = fs::symlink_metadata(path).map_err(failed(path))?;
        let mut header = tar::Header::new_gnu();
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        let written = if meta.is_symlink() {
            let target = fs::read_link(path).map_err(failed(path))?;
            if leads_outside(name, &target) {
                return Err(Error::Outside { link: name.clone(), target });
            }
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            header.set_mode(0o777);
            archive.append_link(&mut header, name, &target)
        } else if meta.is_dir() {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_size(0);
            header.set_mode(0o755);
            archive.append_data(&mut header, name, io::empty())
        } else if meta.is_file() {
            files += 1;
            let executable = meta.permissions().mode() & 0o111 != 0;
            header.set_entry_type(tar::EntryType::Regular);
            header.set_size(meta.len());
            header.set_mode(if executable { 0o755 } else { 0o644 });
            let mut content = File::open(path).map_err(failed(path))?.take(meta.len());
            let written = archive.append_data(&mut header, name, &mut content);
            // The header has told its length: one that shrinks would garble all that follows.
            if written.is_ok() && content.limit() > 0 {
                return Err(Error::Changed(path.clone()));
            }
            written
        } else {
            // Sockets, pipes and devices are of this host.
            Ok(())
        };
        written.map_err(failed(path))?;
    }
    let hashing = archive.into_inner().map_err(failed(dir))?;
    let Hashing { mut file, context, bytes } = hashing;
    file.seek(SeekFrom::Start(0)).map_err(failed(dir))?;
    let digest = hex::encode(context.finish().as_ref());
    Ok(Packed { file, ship: Ship { digest, bytes }, files })
}

/// Names in the archive and where they are, sorted.
fn entries(dir: &Path, cap: u64) -> Result<BTreeMap<PathBuf, PathBuf>, Error> {
    let mut walk = ignore::WalkBuilder::new(dir);
    walk.hidden(false).ignore(false).parents(false).require_git(false).git_global(false).git_exclude(false);
    walk.filter_entry(|entry| entry.file_name() != ".git");
    let mut entries = BTreeMap::new();
    let (mut total, mut sizes) = (0, Vec::new());
    for entry in walk.build() {
        let entry = entry?;
        let Ok(name) = entry.path().strip_prefix(dir) else { continue };
        if name.as_os_str().is_empty() {
            continue;
        }
        let size = entry.metadata().map(|meta| if meta.is_file() { meta.len() } else { 0 }).unwrap_or(0);
        total += size + PER_ENTRY;
        sizes.push((size, name.to_owned()));
        entries.insert(name.to_owned(), entry.path().to_owned());
    }
    if total > cap {
        sizes.sort();
        let largest = sizes.iter().rev().take(LARGEST_NAMED);
        let named = largest
            .filter(|(size, _)| *size >> 20 > 0)
            .map(|(size, name)| format!("{} ({} MiB)", name.display(), size >> 20));
        return Err(Error::TooLarge { cap, largest: named.collect() });
    }
    Ok(entries)
}

fn leads_outside(link: &Path, target: &Path) -> bool {
    let mut depth = link.components().count().saturating_sub(1);
    for part in target.components() {
        match part {
            Component::ParentDir if depth == 0 => return true,
            Component::ParentDir => depth -= 1,
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return true,
        }
    }
    false
}

struct Hashing {
    file: File,
    context: Context,
    bytes: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.context.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(packed: &mut Packed) -> Vec<String> {
        let mut archive = tar::Archive::new(&mut packed.file);
        let entries = archive.entries().unwrap();
        entries.map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect()
    }

    #[test]
    fn the_same_content_packs_to_the_same_bytes_and_what_git_ignores_stays() {
        let top = std::env::temp_dir().join(format!("phalanx-ship-test-{}", std::process::id()));
        let dir = top.join("code");
        fs::create_dir_all(dir.join("sub/.git")).unwrap();
        fs::create_dir_all(dir.join(".git")).unwrap();
        fs::write(dir.join(".git/HEAD"), "x").unwrap();
        fs::write(dir.join(".gitignore"), "*.ckpt\n").unwrap();
        fs::write(dir.join(".ignore"), "*.py\n").unwrap();
        fs::write(dir.join("big.ckpt"), "x").unwrap();
        fs::write(dir.join("train.py"), "print()").unwrap();
        fs::write(dir.join("sub/.hidden"), "y").unwrap();
        std::os::unix::fs::symlink("../train.py", dir.join("sub/link")).unwrap();
        let mut first = pack(&dir).unwrap();
        assert_eq!(
            names(&mut first),
            [".gitignore", ".ignore", "sub", "sub/.hidden", "sub/link", "train.py"]
        );
        assert_eq!(first.files, 4);
        let touched = std::time::SystemTime::UNIX_EPOCH;
        File::open(dir.join("train.py")).unwrap().set_modified(touched).unwrap();
        assert_eq!(pack(&dir).unwrap().ship, first.ship);
        fs::write(dir.join("train.py"), "print(1)").unwrap();
        assert_ne!(pack(&dir).unwrap().ship.digest, first.ship.digest);
        std::os::unix::fs::symlink("../../outside", dir.join("sub/escape")).unwrap();
        assert!(matches!(pack(&dir), Err(Error::Outside { .. })));
        assert!(matches!(pack(&dir.join("train.py")), Err(Error::NoDirectory(_))));
        fs::remove_dir_all(&top).unwrap();
    }

    #[test]
    fn a_directory_over_the_cap_is_refused_with_its_five_largest_files() {
        let dir = tempfile::tempdir().unwrap();
        for mib in 1..=6 {
            let file = File::create(dir.path().join(format!("{mib}.bin"))).unwrap();
            file.set_len(mib << 20).unwrap();
        }
        let Err(Error::TooLarge { cap, largest }) = pack_within(dir.path(), 8 << 20) else { panic!("taken") };
        assert_eq!(cap, 8 << 20);
        assert_eq!(
            largest,
            ["6.bin (6 MiB)", "5.bin (5 MiB)", "4.bin (4 MiB)", "3.bin (3 MiB)", "2.bin (2 MiB)"]
        );
        assert!(pack_within(dir.path(), 32 << 20).is_ok());
    }
}
