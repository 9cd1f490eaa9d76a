//! The directory under which this user's pods have theirs: `$TMPDIR/phalanx-<uid>`, for its owner alone.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot make the directory {path}: {error}; set TMPDIR to a directory you may write", path = path.display())]
    Make { path: PathBuf, error: io::Error },
    #[error("{path} belongs to somebody else or is no directory; remove it or set TMPDIR to another directory", path = path.display())]
    Foreign { path: PathBuf },
    #[error("{path} is open to other users (mode {mode:o}); run: chmod 700 {path}", path = path.display())]
    Open { path: PathBuf, mode: u32 },
}

/// Where it is, whether or not it is there yet.
pub(crate) fn path() -> PathBuf {
    let path = std::env::temp_dir().join(format!("phalanx-{}", nix::unistd::geteuid()));
    // Ranks may start elsewhere: what they are told has to hold there too.
    std::path::absolute(&path).unwrap_or(path)
}

/// Makes it if it is missing, and trusts it only if nobody else can have put something there:
/// /tmp is open to all.
pub(crate) fn prepare(path: &Path) -> Result<(), Error> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(Error::Make { path: path.to_owned(), error }),
    }
    let meta = fs::symlink_metadata(path).map_err(|error| Error::Make { path: path.to_owned(), error })?;
    if !meta.is_dir() || meta.uid() != nix::unistd::geteuid().as_raw() {
        return Err(Error::Foreign { path: path.to_owned() });
    }
    match meta.mode() & 0o777 {
        mode if mode & 0o077 != 0 => Err(Error::Open { path: path.to_owned(), mode }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_directory_that_others_may_write_or_a_link_is_not_trusted() {
        let top = std::env::temp_dir().join(format!("phalanx-base-test-{}", std::process::id()));
        fs::create_dir(&top).unwrap();
        let base = top.join("base");
        prepare(&base).unwrap();
        prepare(&base).unwrap();
        fs::set_permissions(&base, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(prepare(&base), Err(Error::Open { mode: 0o777, .. })));
        let link = top.join("link");
        symlink(&top, &link).unwrap();
        assert!(matches!(prepare(&link), Err(Error::Foreign { .. })));
        assert!(matches!(prepare(&top.join("no/such")), Err(Error::Make { .. })));
        fs::remove_dir_all(&top).unwrap();
    }
}
