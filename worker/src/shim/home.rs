//! The pod's directory: TMPDIR and the error files of its ranks, and what lets a later command find
//! the pod if everything that owned it was killed (see `crate::sweep`).

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::geteuid;
use phalanx_common::spec::Keep;

use super::refusal::Refusal;

/// Locked by the shim, and by its guardian, while they live.
pub(crate) const LOCK: &str = "lock";
/// Holds the value of `PHALANX_POD`.
pub(crate) const MARK: &str = "mark";
/// Holds the paths of the cgroups that the pod made, one in a line.
pub(crate) const CGROUPS: &str = "cgroup";
const TMP: &str = "tmp";

/// The guardian of a shim that was just killed holds the lock while it cleans up, and a sweep looks
/// at a lock for microseconds: both are waited for this long.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_WAIT: Duration = Duration::from_millis(5);

/// The directory, ours and locked.
#[derive(Debug)]
pub(super) struct Home {
    path: PathBuf,
    keep: Keep,
    lock: Flock<File>,
}

impl Home {
    /// Makes the directory, or takes over one that a dead shim of the same user left.
    pub(super) fn open(path: &Path, mark: &str, keep: Keep) -> Result<Home, Refusal> {
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |error| Refusal::JobDir { path, error }
        };
        let base = path.parent().unwrap_or(Path::new("/"));
        check_base(base)?;
        let deadline = Instant::now() + LOCK_PATIENCE;
        let lock = loop {
            match DirBuilder::new().mode(0o700).create(path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => check_own(path)?,
                Err(error) => return Err(failed(path)(error)),
            }
            match try_lock(path)? {
                Some(lock) => break lock,
                None if Instant::now() < deadline => std::thread::sleep(LOCK_WAIT),
                None => {
                    let what = "another shim of this job is using it";
                    return Err(Refusal::UnsafeJobDir { path: path.to_path_buf(), what });
                }
            }
        };
        let home = Home { path: path.to_path_buf(), keep, lock };
        home.note(MARK, mark.as_bytes()).map_err(failed(&path.join(MARK)))?;
        Ok(home)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn keep(&self) -> Keep {
        self.keep
    }

    pub(super) fn lock(&self) -> &File {
        &self.lock
    }

    /// Writes one of the small files in it.
    pub(super) fn note(&self, name: &str, text: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(self.path.join(name))?;
        file.write_all(text)
    }

    /// A `tmp` for this generation: an empty one, and the one before is set aside if the user wants to keep it; or the same,
    /// where it has what init containers made that do not run again.
    pub(super) fn make_tmp(&self, generation: u32, same: bool) -> Result<(), Refusal> {
        let tmp = self.path.join(TMP);
        let fresh = || {
            if fs::exists(&tmp)? {
                match self.keep {
                    _ if same => return Ok(()),
                    Keep::Never => fs::remove_dir_all(&tmp)?,
                    _ => fs::rename(&tmp, self.path.join(format!("{TMP}.before-{generation}")))?,
                }
            }
            DirBuilder::new().mode(0o700).create(&tmp)
        };
        fresh().map_err(|error| Refusal::JobDir { path: tmp.clone(), error })
    }

    /// What a generation left in `tmp` goes, unless the user may want to see it.
    pub(super) fn drop_tmp(&self) {
        if self.keep == Keep::Never {
            let _ = fs::remove_dir_all(self.path.join(TMP));
        }
    }

    /// As if it had never been opened.
    pub(super) fn discard(self) {
        let _ = fs::remove_dir_all(&self.path);
    }

    /// The end of the job.
    pub(super) fn close(self, failed: bool) {
        tidy(&self.path, keeps(self.keep, failed));
    }
}

/// Removes the directory, or what would have a kept one taken for a leftover.
pub(super) fn tidy(path: &Path, keep: bool) {
    if !keep {
        let _ = fs::remove_dir_all(path);
        return;
    }
    for note in [MARK, CGROUPS, LOCK] {
        let _ = fs::remove_file(path.join(note));
    }
}

/// The directory outlives a job that ended this way.
pub(super) fn keeps(keep: Keep, failed: bool) -> bool {
    match keep {
        Keep::Never => false,
        Keep::OnFailure => failed,
        Keep::Always => true,
    }
}

/// Makes the directory above the pod's, and makes sure that nobody else can swap what is in it.
fn check_base(base: &Path) -> Result<(), Refusal> {
    let failed = |error| Refusal::JobDir { path: base.to_path_buf(), error };
    let refuse = |what| Err(Refusal::UnsafeJobDir { path: base.to_path_buf(), what });
    let meta = match fs::symlink_metadata(base) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Mode 0700 and made by mkdir, which follows no symlink at its last component.
            match DirBuilder::new().mode(0o700).recursive(true).create(base) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
                _ => fs::symlink_metadata(base).map_err(failed)?,
            }
        }
        other => other.map_err(failed)?,
    };
    let own = geteuid().as_raw();
    if !meta.is_dir() {
        return refuse("the directory above it is a symbolic link or no directory");
    }
    if meta.uid() != own && meta.uid() != 0 {
        return refuse("the directory above it belongs to another user");
    }
    let sticky = meta.mode() & 0o1000 != 0;
    if meta.mode() & 0o002 != 0 && !sticky {
        return refuse("everybody may write to the directory above it");
    }
    Ok(())
}

/// A directory that existed: a real one, of this user.
fn check_own(path: &Path) -> Result<(), Refusal> {
    let failed = |error| Refusal::JobDir { path: path.to_path_buf(), error };
    let refuse = |what| Err(Refusal::UnsafeJobDir { path: path.to_path_buf(), what });
    let meta = fs::symlink_metadata(path).map_err(failed)?;
    if meta.file_type().is_symlink() {
        return refuse("it is a symbolic link");
    }
    if !meta.is_dir() {
        return refuse("it is not a directory");
    }
    if meta.uid() != geteuid().as_raw() {
        return refuse("it belongs to another user");
    }
    if meta.mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(failed)?;
    }
    Ok(())
}

/// The lock; `None` if somebody has it, or removed the directory meanwhile.
fn try_lock(path: &Path) -> Result<Option<Flock<File>>, Refusal> {
    let lock = path.join(LOCK);
    let failed = |error| Refusal::JobDir { path: lock.clone(), error };
    let opened = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&lock);
    let file = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(failed)?,
    };
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        // A lock on a file that is gone excludes nobody.
        Ok(locked) => Ok((locked.metadata().map_err(failed)?.nlink() > 0).then_some(locked)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(failed(errno.into())),
    }
}
