//! The cgroup (version 2) of a whole pod, its shim included: the worker's side.
//!
//! ```text
//! the worker's own cgroup
//!   └─ phalanx-<node>@<job>@<number>     made by the worker, delegated to the job's user
//!        ├─ (the shim and its guardian)
//!        └─ phalanx-<job>-<pid>          one generation's ranks, made by the shim
//! ```
//! Delegated is what the kernel's document names (cgroup-v2, "Delegation Containment"): the directory,
//! `cgroup.procs`, `cgroup.threads` and `cgroup.subtree_control`. Whoever moves a process has to be able
//! to write the `cgroup.procs` of the closest common ancestor, and above the pod's that is the worker's:
//! the user's processes do not leave, and nobody else's get in. `cgroup.kill` stays the worker's.
//!
//! For memory limits of ranks (`memory`) the pod's cgroup has the memory controller where the worker may hand it on; on a
//! host whose memory controller is one of version 1, the pod has a directory of the same name there too, which is its user's.
//!
//! It is a help, not a need: without it what left the tree of a dead shim is found by mark alone.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use phalanx_common::id::{JobId, NodeId};

use super::account::Account;
use super::{cgroup, memory, tree};

/// Between node, job and number in a name: in none of them.
const SEPARATOR: char = '@';
/// Shims of one job whose cgroups are still there: the last one's may be emptying while the next starts.
const PER_JOB: u32 = 16;
/// What the user may write.
const DELEGATED: [&str; 3] = ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control"];
/// Cgroups of the user's own, deep and many enough for containers in a rank, and not for a tree that takes
/// long to remove.
const BOUNDS: [(&str, &str); 2] = [("cgroup.max.depth", "8"), ("cgroup.max.descendants", "1024")];
/// The guardian of a shim that was killed removes the pod's files in this time.
const GUARDIAN: Duration = Duration::from_secs(1);
/// How long SIGKILL is repeated before what is left counts as unkillable.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks.
const ROUND: Duration = Duration::from_millis(10);

/// Where the cgroups of a worker's pods are.
#[derive(Clone, Debug)]
pub struct PodCgroups {
    own: PathBuf,
    /// Begins the names of this worker's.
    prefix: String,
    /// Where this process is in the memory hierarchy of version 1.
    memory: Option<PathBuf>,
}

/// The cgroup of one pod.
#[derive(Debug)]
pub struct PodCgroup {
    path: PathBuf,
    /// The one in the memory hierarchy of version 1.
    memory: Option<PathBuf>,
}

impl PodCgroups {
    /// Below the cgroup of this process.
    ///
    /// # Errors
    /// The host has no cgroups of version 2, or lets this process make none.
    pub fn open(node: &NodeId) -> io::Result<PodCgroups> {
        let own = cgroup::own_directory().ok_or_else(|| {
            io::Error::new(io::ErrorKind::Unsupported, "no cgroup file system of version 2")
        })?;
        // Without the controller there are no limits, and ranks that want some are refused.
        let _ = memory::enable(&own);
        let memory = cgroup::own_memory_directory();
        let cgroups = PodCgroups { own, prefix: format!("phalanx-{node}{SEPARATOR}"), memory };
        let probe = cgroups.own.join(&cgroups.prefix);
        match fs::create_dir(&probe) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => fs::remove_dir(&probe)?,
        }
        Ok(cgroups)
    }

    /// Makes an empty one for a pod of this user's.
    pub(crate) fn make(&self, job: &JobId, account: &Account) -> io::Result<PodCgroup> {
        let mut number = 0;
        let path = loop {
            let path = self.own.join(format!("{}{job}{SEPARATOR}{number}", self.prefix));
            match fs::create_dir(&path) {
                Ok(()) => break path,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < PER_JOB => number += 1,
                Err(error) => return Err(error),
            }
        };
        let made = PodCgroup { memory: self.memory_of(&path), path };
        match made.delegate(account) {
            Ok(()) => Ok(made),
            Err(error) => {
                made.remove();
                Err(error)
            }
        }
    }

    /// The directory of the same name in the memory hierarchy of version 1.
    fn memory_of(&self, path: &Path) -> Option<PathBuf> {
        Some(self.memory.as_ref()?.join(path.file_name()?))
    }

    /// All there are: what an earlier life of this worker left, if this one has made none.
    pub(crate) fn all(&self) -> Vec<PodCgroup> {
        let below = cgroup::subdirectories(&self.own).into_iter();
        let is_ours = |path: &PathBuf| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(&self.prefix))
        };
        let pod = |path: PathBuf| PodCgroup { memory: self.memory_of(&path), path };
        below.filter(is_ours).map(pod).collect()
    }

    /// Those of this job.
    pub(crate) fn of(&self, job: &JobId) -> Vec<PodCgroup> {
        let prefix = format!("{}{job}{SEPARATOR}", self.prefix);
        let is_of = |cgroup: &PodCgroup| cgroup.name().is_some_and(|name| name.starts_with(&prefix));
        self.all().into_iter().filter(is_of).collect()
    }
}

impl PodCgroup {
    fn name(&self) -> Option<&str> {
        self.path.file_name()?.to_str()
    }

    fn delegate(&self, account: &Account) -> io::Result<()> {
        for (name, bound) in BOUNDS {
            fs::write(self.path.join(name), bound)?;
        }
        let to_user = |path: &Path| chown(path, Some(account.uid()), Some(account.gid()));
        DELEGATED.iter().try_for_each(|name| to_user(&self.path.join(name)))?;
        to_user(&self.path)?;
        let Some(memory) = &self.memory else { return Ok(()) };
        fs::create_dir(memory).or_else(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Ok(()),
            _ => Err(error),
        })?;
        to_user(memory)
    }

    /// Whoever writes 0 to each of these enters, with the rights of this process.
    pub(super) fn doors(&self) -> Vec<File> {
        let paths = [Some(&self.path), self.memory.as_ref()].into_iter().flatten();
        let open = |path: &PathBuf| OpenOptions::new().write(true).open(path.join("cgroup.procs")).ok();
        paths.filter_map(open).collect()
    }

    /// Itself, if its shim is inside. One that could not be entered, or whose shim never began, goes.
    pub(super) fn entered(self) -> Option<PodCgroup> {
        if self.is_populated() {
            return Some(self);
        }
        self.end();
        None
    }

    /// Something in it or below it is alive.
    fn is_populated(&self) -> bool {
        let events = fs::read_to_string(self.path.join("cgroup.events")).unwrap_or_default();
        events.lines().any(|line| line == "populated 1")
    }

    /// Ends and removes it once its shim is gone; a guardian may finish what it is at. Returns what would
    /// not die.
    pub(crate) fn end_after_shim(&self) -> Vec<(u32, String)> {
        let deadline = Instant::now() + GUARDIAN;
        while self.is_populated() && Instant::now() < deadline {
            std::thread::sleep(ROUND);
        }
        self.end()
    }

    /// SIGKILL to everything in it until nothing is left, then removes it. Returns what would not die.
    pub(crate) fn end(&self) -> Vec<(u32, String)> {
        let deadline = Instant::now() + PATIENCE;
        while self.is_populated() {
            if Instant::now() >= deadline {
                let inside = cgroup::processes(&self.path).into_iter().filter_map(tree::process);
                return inside.map(|process| (process.pid as u32, process.name)).collect();
            }
            cgroup::kill(&self.path);
            std::thread::sleep(ROUND);
        }
        self.remove();
        Vec::new()
    }

    /// Empty directories that stay behind harm nobody; the next worker tries again.
    fn remove(&self) {
        let paths = self.memory.iter().chain([&self.path]);
        paths.for_each(|path| drop(cgroup::remove(path)));
    }
}
