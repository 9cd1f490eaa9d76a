//! Memory limits: a cgroup for each rank, where the host lets the shim make some.
//!
//! ```text
//! version 1    <where the shim is in the memory hierarchy>/phalanx-<job>-<generation>-<pid>-limits/<rank>
//! version 2    <the pod's cgroup>/phalanx-<job>-<generation>-<pid>-limits/<rank>      the shim itself is in <the pod's cgroup>/phalanx-self
//! ```
//! In version 2 a cgroup whose children have limits holds no processes of its own (cgroup-v2, "No Internal Process
//! Constraint"), so whoever is in it makes way first.
//!
//! A rank without one of its processes is no rank. Version 2 ends all of them together (`memory.oom.group`); version 1 ends one, and
//! tells of it on an eventfd (cgroup-v1/memory, "OOM Control"), and the shim ends the others.
//!
//! The kernel says in the cgroup how often it killed for want of memory, and how much there was at most: `memory.oom_control`
//! and `memory.max_usage_in_bytes` (cgroup-v1/memory), `memory.events` and `memory.peak` (cgroup-v2).

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::Signal;
use phalanx_common::report::OutOfMemory;
use phalanx_worker_core::shim::ShimPlan;

use super::cgroup::{self, LEAF};
use super::refusal::Refusal;
use super::tree;

/// Which of the kernel's interfaces a directory has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// Where ranks get cgroups with limits.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    version: Version,
    path: PathBuf,
}

/// The limits of a generation's ranks. Dropped, it removes what it made.
#[derive(Debug)]
pub(super) struct Limits {
    limit: u64,
    version: Version,
    /// Holds those of the ranks.
    path: PathBuf,
    /// By index of the rank.
    ranks: Vec<Limited>,
}

#[derive(Debug)]
struct Limited {
    path: PathBuf,
    /// Kills in it before the rank began.
    kills: u64,
    /// Tells of want of memory in it; `None`: the kernel ends all that is in it by itself.
    alarm: Option<EventFd>,
    /// It told of that since the rank began. Who is ended here may be gone before the kernel ends, and counts, anybody.
    alarmed: bool,
}

impl Limits {
    /// Makes the cgroups that the plan asks for; `None` if it asks for none.
    pub(super) fn make(plan: &ShimPlan) -> Result<Option<Limits>, Refusal> {
        let Some(limit) = plan.memory_limit else { return Ok(None) };
        let refuse = |path: &Path| {
            let path = path.to_owned();
            move |error| Refusal::MemoryLimit { path, error }
        };
        let Place { version, path } = Place::find().map_err(refuse(Path::new("/sys/fs/cgroup")))?;
        let path =
            path.join(format!("phalanx-{}-{}-{}-limits", plan.job, plan.generation, std::process::id()));
        fs::create_dir(&path).map_err(refuse(&path))?;
        let mut limits = Limits { limit, version, path, ranks: Vec::new() };
        if version == Version::Two {
            enable(&limits.path).map_err(refuse(&limits.path))?;
        }
        for rank in &plan.ranks {
            let path = limits.path.join(rank.rank.to_string());
            fs::create_dir(&path).map_err(refuse(&path))?;
            limits.ranks.push(Limited { path: path.clone(), kills: 0, alarm: None, alarmed: false });
            version.set_limit(&path, limit).map_err(refuse(&path))?;
            if let (Version::One, Some(limited)) = (version, limits.ranks.last_mut()) {
                limited.alarm = Some(alarm(&path).map_err(refuse(&path))?);
            }
        }
        Ok(Some(limits))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts a held rank into its cgroup.
    pub(super) fn take_in(&mut self, index: usize, pid: i32) -> Result<(), Refusal> {
        let version = self.version;
        let Some(limited) = self.ranks.get_mut(index) else { return Ok(()) };
        (limited.kills, limited.alarmed) = (version.kills(&limited.path), false);
        version.forget_peak(&limited.path);
        let door = limited.path.join("cgroup.procs");
        fs::write(&door, pid.to_string()).map_err(|error| Refusal::MemoryLimit { path: door, error })
    }

    /// What the kernel says if something of the rank was ended for want of memory since it began.
    pub(super) fn out_of_memory(&self, index: usize) -> Option<OutOfMemory> {
        let limited = self.ranks.get(index)?;
        let killed = limited.alarmed || self.version.kills(&limited.path) > limited.kills;
        killed.then(|| OutOfMemory { limit: Some(self.limit), peak: self.version.peak(&limited.path) })
    }

    /// What tells of want of memory, by index of the rank.
    pub(super) fn alarms(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        let alarms = self.ranks.iter().map(|limited| limited.alarm.as_ref()).enumerate();
        alarms.filter_map(|(index, alarm)| Some((index, alarm?.as_fd())))
    }

    /// The kernel ends a process of this rank for want of memory: so does this with the others.
    pub(super) fn on_alarm(&mut self, index: usize) {
        let Some(limited) = self.ranks.get_mut(index) else { return };
        limited.alarmed = true;
        // Read, it is silent until the next one.
        let _ = limited.alarm.as_ref().map(EventFd::read);
        let left = self.processes_of(index).into_iter().filter_map(tree::process);
        left.for_each(|process| tree::signal_found(&process, Signal::SIGKILL));
    }

    /// Processes of one rank, whatever they have become.
    pub(super) fn processes_of(&self, index: usize) -> Vec<i32> {
        self.ranks.get(index).map(|limited| cgroup::processes(&limited.path)).unwrap_or_default()
    }

    /// Those of all ranks.
    pub(super) fn processes(&self) -> Vec<i32> {
        cgroup::processes(&self.path)
    }
}

impl Drop for Limits {
    fn drop(&mut self) {
        // What is left in it stays, and so does it: whoever ends that removes it.
        let _ = cgroup::remove(&self.path);
    }
}

impl Place {
    fn find() -> io::Result<Place> {
        if let Some(path) = cgroup::own_memory_directory() {
            return Ok(Place { version: Version::One, path });
        }
        let path = cgroup::own_directory().ok_or_else(|| {
            io::Error::new(io::ErrorKind::Unsupported, "no cgroup of this process is to be found")
        })?;
        enable(&path)?;
        Ok(Place { version: Version::Two, path })
    }
}

/// Lets the children of a cgroup (version 2) have memory limits; who is in it makes way.
pub(super) fn enable(path: &Path) -> io::Result<()> {
    let says = |file: &str| fs::read_to_string(path.join(file)).unwrap_or_default();
    let has = |text: &str| text.split_ascii_whitespace().any(|word| word == "memory");
    if has(&says("cgroup.subtree_control")) {
        return Ok(());
    }
    if !has(&says("cgroup.controllers")) {
        let what = "the memory controller is not delegated to it";
        return Err(io::Error::new(io::ErrorKind::Unsupported, what));
    }
    let inside: Vec<i32> = says("cgroup.procs").lines().filter_map(|line| line.trim().parse().ok()).collect();
    if inside.iter().any(|pid| !is_own(*pid)) {
        let what = "other processes are in it, which a cgroup with limits below it cannot have";
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, what));
    }
    let leaf = path.join(LEAF);
    if !inside.is_empty() {
        fs::create_dir(&leaf).or_else(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Ok(()),
            _ => Err(error),
        })?;
    }
    inside.iter().try_for_each(|pid| fs::write(leaf.join("cgroup.procs"), pid.to_string()))?;
    fs::write(path.join("cgroup.subtree_control"), "+memory")
}

/// This process, or a child of it.
fn is_own(pid: i32) -> bool {
    let own = std::process::id() as i32;
    pid == own || tree::process(pid).is_some_and(|process| process.parent == own)
}

/// An eventfd that the kernel writes to when this cgroup (version 1) wants memory that it may not have.
fn alarm(path: &Path) -> io::Result<EventFd> {
    let alarm = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
    let control = fs::File::open(path.join("memory.oom_control"))?;
    let registers = format!("{} {}", alarm.as_fd().as_raw_fd(), control.as_raw_fd());
    fs::write(path.join("cgroup.event_control"), registers)?;
    Ok(alarm)
}

impl Version {
    fn set_limit(self, path: &Path, limit: u64) -> io::Result<()> {
        let write = |file: &str, value: &str| fs::write(path.join(file), value);
        match self {
            Version::One => {
                write("memory.limit_in_bytes", &limit.to_string())?;
                // Where swap is not accounted for there is no such file, and what is swapped out does not count.
                let swap = write("memory.memsw.limit_in_bytes", &limit.to_string());
                swap.or_else(
                    |error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) },
                )
            }
            Version::Two => {
                write("memory.max", &limit.to_string())?;
                // Neither file is on every kernel.
                let _ = write("memory.oom.group", "1");
                let _ = write("memory.swap.max", "0");
                Ok(())
            }
        }
    }

    /// Kills for want of memory since the cgroup was made.
    fn kills(self, path: &Path) -> u64 {
        let file = match self {
            Version::One => "memory.oom_control",
            Version::Two => "memory.events",
        };
        let text = fs::read_to_string(path.join(file)).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
    }

    fn peak(self, path: &Path) -> Option<u64> {
        let file = match self {
            Version::One => "memory.max_usage_in_bytes",
            Version::Two => "memory.peak",
        };
        fs::read_to_string(path.join(file)).ok()?.trim().parse().ok()
    }

    /// What an earlier start of the rank had does not count. Kernels before 6.12 cannot forget it in version 2.
    fn forget_peak(self, path: &Path) {
        if self == Version::One {
            let _ = fs::write(path.join("memory.max_usage_in_bytes"), "0");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake(PathBuf);

    impl Fake {
        fn new(name: &str, files: &[(&str, &str)]) -> Fake {
            let path = std::env::temp_dir().join(format!("phalanx-memory-{name}-{}", std::process::id()));
            fs::create_dir(&path).unwrap();
            files.iter().for_each(|(file, text)| fs::write(path.join(file), text).unwrap());
            Fake(path)
        }

        fn read(&self, file: &str) -> String {
            fs::read_to_string(self.0.join(file)).unwrap()
        }
    }

    impl Drop for Fake {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn of_a_cgroup_of_version_2_the_limit_and_what_the_kernel_says_are_found() {
        let events = "low 0\nhigh 0\nmax 7\noom 2\noom_kill 3\n";
        let fake = Fake::new("two", &[("memory.events", events), ("memory.peak", "4194304\n")]);
        Version::Two.set_limit(&fake.0, 8 << 20).unwrap();
        assert_eq!(
            (fake.read("memory.max").as_str(), fake.read("memory.oom.group").as_str()),
            ("8388608", "1")
        );
        assert_eq!((Version::Two.kills(&fake.0), Version::Two.peak(&fake.0)), (3, Some(4 << 20)));
    }

    #[test]
    fn who_is_in_a_cgroup_of_version_2_makes_way_for_limits_below_it() {
        let own = std::process::id().to_string();
        let fake = Fake::new(
            "enable",
            &[
                ("cgroup.controllers", "cpu memory pids\n"),
                ("cgroup.subtree_control", "cpu\n"),
                ("cgroup.procs", &own),
            ],
        );
        enable(&fake.0).unwrap();
        assert_eq!(fake.read(&format!("{LEAF}/cgroup.procs")), own);
        assert_eq!(fake.read("cgroup.subtree_control"), "+memory");
    }

    #[test]
    fn a_cgroup_with_others_in_it_or_without_the_controller_is_left_as_it_is() {
        let others = Fake::new("others", &[("cgroup.controllers", "memory\n"), ("cgroup.procs", "1\n")]);
        assert_eq!(enable(&others.0).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        let without = Fake::new("without", &[("cgroup.controllers", "cpu\n"), ("cgroup.procs", "")]);
        assert_eq!(enable(&without.0).unwrap_err().kind(), io::ErrorKind::Unsupported);
        assert!(!others.0.join(LEAF).exists() && !without.0.join(LEAF).exists());
    }
}
