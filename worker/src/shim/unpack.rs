//! Unpacks the directory that came with the job, as the job's user, once per job.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::refusal::Refusal;

/// Name of the unpacked directory below the pod's.
const CODE: &str = "code";
/// Entries of an archive; a guard against one made to use up a file system.
const MOST_ENTRIES: usize = 200_000;

/// The directory, unpacked by now.
pub(super) fn unpack(archive: &Path, home: &Path) -> Result<PathBuf, Refusal> {
    let code = home.join(CODE);
    if code.is_dir() {
        return Ok(code);
    }
    let beside = home.join(format!("{CODE}.part"));
    let unpacked = unpack_into(archive, &beside).and_then(|()| fs::rename(&beside, &code));
    match unpacked {
        Ok(()) => Ok(code),
        Err(error) => {
            let _ = fs::remove_dir_all(&beside);
            Err(Refusal::Unpack { path: code, error: systems_own(error) })
        }
    }
}

/// The `tar` crate keeps the system's error, such as that of a full disk, behind words of its own.
fn systems_own(error: io::Error) -> io::Error {
    let mut source = error.get_ref().and_then(|inner| inner.source());
    while let Some(inner) = source {
        if let Some(number) = inner.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return io::Error::from_raw_os_error(number);
        }
        source = inner.source();
    }
    error
}

fn unpack_into(archive: &Path, dir: &Path) -> io::Result<()> {
    fs::create_dir(dir)?;
    let mut archive = tar::Archive::new(File::open(archive)?);
    archive.set_preserve_mtime(false);
    for (number, entry) in archive.entries()?.enumerate() {
        let mut entry = entry?;
        let kind = entry.header().entry_type();
        if number >= MOST_ENTRIES || !(kind.is_file() || kind.is_dir() || kind.is_symlink()) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the archive holds what no directory would",
            ));
        }
        // Nothing is written outside: neither by `..` nor through a link that came before.
        if !entry.unpack_in(dir)? {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the archive names a place outside of it",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(path: &Path, entries: &[(&str, tar::EntryType, &str)]) {
        let mut builder = tar::Builder::new(File::create(path).unwrap());
        for (name, kind, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o755);
            let bytes = if kind.is_file() { content.as_bytes() } else { &[] };
            header.set_size(bytes.len() as u64);
            if kind.is_symlink() {
                header.set_link_name(content).unwrap();
            }
            // As somebody with bad intentions would write it: without the checks of the builder.
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            builder.append(&header, bytes).unwrap();
        }
        builder.finish().unwrap();
    }

    #[test]
    fn an_archive_is_unpacked_once_and_a_bad_one_leaves_nothing() {
        use tar::EntryType::{Directory, Fifo, Regular, Symlink};
        let home = std::env::temp_dir().join(format!("phalanx-unpack-{}", std::process::id()));
        fs::create_dir_all(&home).unwrap();
        let tar = home.join("a.tar");
        for bad in [
            &[("../escape", Regular, "x")][..],
            &[("link", Symlink, "/tmp"), ("link/phalanx-escaped", Regular, "x")],
            &[("fifo", Fifo, "")],
        ] {
            archive(&tar, bad);
            assert!(unpack(&tar, &home).is_err(), "{bad:?}");
            assert!(!home.join("code").exists() && !home.join("code.part").exists());
            assert!(!Path::new("/tmp/phalanx-escaped").exists());
        }
        archive(&tar, &[("sub", Directory, ""), ("sub/train.py", Regular, "print()")]);
        let code = unpack(&tar, &home).unwrap();
        assert_eq!(fs::read_to_string(code.join("sub/train.py")).unwrap(), "print()");
        fs::write(code.join("mine"), "kept").unwrap();
        assert_eq!(unpack(&tar, &home).unwrap(), code);
        assert!(code.join("mine").exists(), "what ranks wrote stays for the next generation");
        fs::remove_dir_all(&home).unwrap();
    }

    #[test]
    fn what_the_system_says_of_an_entry_is_the_reason() {
        use tar::EntryType::Regular;
        let home = std::env::temp_dir().join(format!("phalanx-unpack-why-{}", std::process::id()));
        fs::create_dir_all(&home).unwrap();
        let tar = home.join("a.tar");
        // A file where a directory is needed.
        archive(&tar, &[("name", Regular, "x"), ("name/below", Regular, "x")]);
        let why = unpack(&tar, &home).unwrap_err().to_string();
        assert!(why.ends_with(": Not a directory") || why.ends_with(": File exists"), "{why}");
        fs::remove_dir_all(&home).unwrap();
    }
}
