//! Leftovers of pods whose shim was killed: finding them, naming them, ending them.
//!
//! Every pod has a directory below one base directory per user. Its shim holds a lock in it for as
//! long as it lives, and so does its guardian. A directory whose lock is free belongs to nobody; its
//! `mark` names the value of `PHALANX_POD` that every process of the pod carries in its environment.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::geteuid;
use phalanx_common::id::JobId;

use crate::shim::pod_cgroup::{PodCgroup, PodCgroups};
use crate::shim::{CGROUPS, LOCK, MARK, kill_process, remove_cgroup, tree};

/// How long SIGKILL is repeated before what is left counts as unkillable.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two searches.
const ROUND: Duration = Duration::from_millis(10);
/// A directory without a lock file that is younger than this is just being made.
const NEWBORN: Duration = Duration::from_secs(10);

/// A pod that nobody owns any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stale {
    pub job: JobId,
    pub dir: PathBuf,
    /// `None` if the shim died before it wrote one: then no process was started.
    pub mark: Option<String>,
    /// What is alive of it: process id and name.
    pub processes: Vec<(u32, String)>,
}

/// Why leftovers could not be looked for or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot list {}", path.display())]
    List { path: PathBuf, source: io::Error },
    #[error("{} is in use again", dir.display())]
    InUse { dir: PathBuf },
    #[error("cannot lock {}", path.display())]
    Lock { path: PathBuf, source: io::Error },
    #[error("cannot remove {}", dir.display())]
    Remove { dir: PathBuf, source: io::Error },
    #[error("SIGKILL did not end {}", names(survivors))]
    Survivors { survivors: Vec<(u32, String)> },
}

fn names(processes: &[(u32, String)]) -> String {
    processes.iter().map(|(pid, name)| format!("{name} ({pid})")).collect::<Vec<_>>().join(", ")
}

/// Pods below `base` that nobody owns. Searches the host's processes only if there is one.
pub fn find_stale(base: &Path) -> Result<Vec<Stale>, Error> {
    let list = |source| Error::List { path: base.to_path_buf(), source };
    let entries = match fs::read_dir(base) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(list)?,
    };
    let mut stale = Vec::new();
    for entry in entries {
        let dir = entry.map_err(list)?.path();
        if is_own_directory(&dir) && is_abandoned(&dir) {
            stale.extend(read(dir));
        }
    }
    stale.sort_by(|a, b| a.dir.cmp(&b.dir));
    Ok(stale)
}

fn is_own_directory(dir: &Path) -> bool {
    fs::symlink_metadata(dir).is_ok_and(|meta| meta.is_dir() && meta.uid() == geteuid().as_raw())
}

fn is_abandoned(dir: &Path) -> bool {
    match open_lock(dir) {
        // Shared, so that two searches do not see each other.
        Ok(file) => Flock::lock(file, FlockArg::LockSharedNonblock).is_ok(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let born = fs::symlink_metadata(dir).and_then(|meta| meta.modified());
            // A kept directory has its lock file; one without any note is not a pod's.
            fs::exists(dir.join(MARK)).unwrap_or(false)
                && born
                    .is_ok_and(|born| SystemTime::now().duration_since(born).is_ok_and(|age| age > NEWBORN))
        }
        Err(_) => false,
    }
}

fn open_lock(dir: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(dir.join(LOCK))
}

/// Suffix of the file beside a pod's directory that holds its mark, where the directory is another user's.
const BESIDE: &str = ".mark";

/// Notes the mark of a pod whose directory belongs to another user, where that user cannot change it:
/// whoever could would have a later worker kill the processes of somebody else's pod.
pub(crate) fn note_mark(dir: &Path, mark: &str) -> io::Result<()> {
    fs::write(beside(dir), mark)
}

fn beside(dir: &Path) -> PathBuf {
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(BESIDE);
    dir.with_file_name(name)
}

/// Removes what a shim of another user cannot: its emptied directory, and the mark beside it.
pub(crate) fn remove_emptied(dir: &Path) {
    if fs::remove_dir(dir).is_ok() || !fs::exists(dir).unwrap_or(true) {
        let _ = fs::remove_file(beside(dir));
    }
}

fn is_foreign(dir: &Path) -> bool {
    fs::symlink_metadata(dir).is_ok_and(|meta| meta.uid() != geteuid().as_raw())
}

fn read(dir: PathBuf) -> Option<Stale> {
    let job = JobId::from_existing(dir.file_name()?.to_str()?);
    let noted = if fs::exists(beside(&dir)).unwrap_or(false) || is_foreign(&dir) {
        beside(&dir)
    } else {
        dir.join(MARK)
    };
    let mark = fs::read_to_string(noted).ok().filter(|mark| !mark.is_empty());
    let processes = mark.as_deref().map(alive).unwrap_or_default();
    Some(Stale { job, dir, mark, processes })
}

fn alive(mark: &str) -> Vec<(u32, String)> {
    tree::marked(mark).into_iter().map(|process| (process.pid as u32, process.name)).collect()
}

/// A directory that a shim left for its user to look at has none of the files that make it a pod's.
fn is_kept(dir: &Path) -> bool {
    [LOCK, MARK].iter().all(|name| fs::symlink_metadata(dir.join(name)).is_err())
}

/// Ends what is left of a pod and removes its directory, unless it is kept.
pub fn end(stale: &Stale) -> Result<(), Error> {
    let lock = match open_lock(&stale.dir) {
        Ok(file) => Some(take_lock(file, &stale.dir)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => return Err(Error::Lock { path: stale.dir.join(LOCK), source }),
    };
    clear(stale)?;
    drop(lock);
    Ok(())
}

/// The same, whoever holds the lock.
fn clear(stale: &Stale) -> Result<(), Error> {
    // Another user's word for a cgroup is not acted on.
    let noted = if is_foreign(&stale.dir) {
        String::new()
    } else {
        fs::read_to_string(stale.dir.join(CGROUPS)).unwrap_or_default()
    };
    let cgroups: Vec<PathBuf> = noted.lines().map(PathBuf::from).collect();
    let survivors = match &stale.mark {
        Some(mark) => end_marked(mark, &cgroups),
        None => Vec::new(),
    };
    if !survivors.is_empty() {
        return Err(Error::Survivors { survivors });
    }
    let removed = if is_kept(&stale.dir) { Ok(()) } else { fs::remove_dir_all(&stale.dir) };
    remove_emptied(&stale.dir);
    let _ = fs::remove_file(beside(&stale.dir));
    match removed {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(Error::Remove { dir: stale.dir.clone(), source })
        }
        _ => Ok(()),
    }
}

fn take_lock(file: File, dir: &Path) -> Result<Flock<File>, Error> {
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        Errno::EWOULDBLOCK => Error::InUse { dir: dir.to_path_buf() },
        errno => Error::Lock { path: dir.join(LOCK), source: errno.into() },
    })
}

/// Ends every pod below `base`, whoever holds it: this worker has just begun, so none is its own. A
/// shim that outlived its worker sees its ranks die, tidies up and goes. `cgroups`: where that worker made
/// them, and what is in them goes last.
///
/// # Errors
/// Something of a pod cannot be ended, or removed from a directory of this worker's own user: the node is
/// not free.
pub fn end_all(base: &Path, cgroups: Option<&PodCgroups>) -> Result<Vec<Stale>, Error> {
    let list = |source| Error::List { path: base.to_path_buf(), source };
    let mut ended = Vec::new();
    let patience = Instant::now() + PATIENCE;
    for entry in fs::read_dir(base).map_err(list)? {
        let dir = entry.map_err(list)?.path();
        let Some(pod) =
            fs::symlink_metadata(&dir).is_ok_and(|meta| meta.is_dir()).then(|| read(dir)).flatten()
        else {
            continue;
        };
        if pod.mark.is_none() && is_kept(&pod.dir) {
            remove_emptied(&pod.dir);
            continue;
        }
        if is_foreign(&pod.dir) {
            end_foreign(&pod, cgroups, patience)?;
        } else {
            end_own(&pod, cgroups)?;
        }
        ended.push(pod);
    }
    end_cgroups(cgroups.map(PodCgroups::all))?;
    end_marks(base)?;
    Ok(ended)
}

/// A shim of root removes its directory whole, with no worker there that would remove the mark beside it.
fn end_marks(base: &Path) -> Result<(), Error> {
    let list = |source| Error::List { path: base.to_path_buf(), source };
    for entry in fs::read_dir(base).map_err(list)? {
        let path = entry.map_err(list)?.path();
        let of = path.file_name().and_then(|name| name.to_str()?.strip_suffix(BESIDE));
        let Some(dir) = of.map(|job| base.join(job)) else { continue };
        if fs::symlink_metadata(&dir).is_ok() || !fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_file())
        {
            continue;
        }
        let mark = fs::read_to_string(&path).ok().filter(|mark| !mark.is_empty());
        let survivors = mark.as_deref().map(|mark| end_marked(mark, &[])).unwrap_or_default();
        if !survivors.is_empty() {
            return Err(Error::Survivors { survivors });
        }
        let _ = fs::remove_file(&path);
    }
    Ok(())
}

fn end_own(pod: &Stale, cgroups: Option<&PodCgroups>) -> Result<(), Error> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        end_processes(pod)?;
        match end(pod) {
            Err(Error::InUse { .. }) if Instant::now() < deadline => std::thread::sleep(ROUND),
            // A shim that hangs, or is stopped.
            Err(Error::InUse { .. }) if has_cgroup(cgroups, &pod.job) => {
                end_cgroups(cgroups.map(|cgroups| cgroups.of(&pod.job)))?;
                return clear(pod);
            }
            other => return other,
        }
    }
}

/// Its directory is another user's, who may put anything in the place of the lock, hold it for ever, or
/// change the directory while it is removed: none of that keeps the node from being free. A shim that tidies
/// up gets until `patience`, which all such pods share.
fn end_foreign(pod: &Stale, cgroups: Option<&PodCgroups>, patience: Instant) -> Result<(), Error> {
    end_processes(pod)?;
    while is_held(&pod.dir) && Instant::now() < patience {
        std::thread::sleep(ROUND);
    }
    end_cgroups(cgroups.map(|cgroups| cgroups.of(&pod.job)))?;
    match clear(pod) {
        Err(Error::Remove { dir, source }) => {
            tracing::warn!(dir = %dir.display(), error = %source, "a directory of an ended pod cannot be removed");
            Ok(())
        }
        other => other,
    }
}

fn end_processes(pod: &Stale) -> Result<(), Error> {
    let survivors = pod.mark.as_deref().map(|mark| end_marked(mark, &[])).unwrap_or_default();
    if survivors.is_empty() { Ok(()) } else { Err(Error::Survivors { survivors }) }
}

fn is_held(dir: &Path) -> bool {
    open_lock(dir).is_ok_and(|file| Flock::lock(file, FlockArg::LockSharedNonblock).is_err())
}

fn has_cgroup(cgroups: Option<&PodCgroups>, job: &JobId) -> bool {
    cgroups.is_some_and(|cgroups| !cgroups.of(job).is_empty())
}

fn end_cgroups(cgroups: Option<Vec<PodCgroup>>) -> Result<(), Error> {
    let survivors: Vec<_> = cgroups.into_iter().flatten().flat_map(|cgroup| cgroup.end()).collect();
    if survivors.is_empty() { Ok(()) } else { Err(Error::Survivors { survivors }) }
}

/// How many live processes carry the mark.
pub(crate) fn count_marked(mark: &str) -> u32 {
    u32::try_from(tree::marked(mark).len()).unwrap_or(u32::MAX)
}

/// SIGKILL to everything that carries the mark, until a search finds nothing twice. Returns what
/// would not die.
pub(crate) fn end_marked(mark: &str, cgroups: &[PathBuf]) -> Vec<(u32, String)> {
    let deadline = Instant::now() + PATIENCE;
    let mut clean = 0;
    while clean < 2 {
        // Every one of them is tried each time.
        let emptied = cgroups.iter().filter(|path| !remove_cgroup(path)).count() == 0;
        let found = tree::marked(mark);
        if found.is_empty() && emptied {
            clean += 1;
            continue;
        }
        clean = 0;
        if Instant::now() >= deadline {
            return found.into_iter().map(|process| (process.pid as u32, process.name)).collect();
        }
        found.iter().for_each(|process| kill_process(process, mark));
        std::thread::sleep(ROUND);
    }
    Vec::new()
}
