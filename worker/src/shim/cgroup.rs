//! A cgroup (version 2) of our own for a generation's ranks, where the host allows one.
//!
//! It is a child of the shim's own cgroup, so that every limit set from outside goes on holding. It is
//! a help, not a need: without it the tree is found by descent and by mark.

use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// An existing cgroup that is ours to empty and remove.
#[derive(Debug)]
pub(super) struct Cgroup {
    path: PathBuf,
    dir: OwnedFd,
}

impl Cgroup {
    /// Makes a cgroup below our own; `None` where that is not possible.
    pub(super) fn create(name: &str) -> Option<Cgroup> {
        let path = own_directory()?.join(name);
        fs::create_dir(&path).ok()?;
        match fs::OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(&path) {
            Ok(dir) => Some(Cgroup { path, dir: dir.into() }),
            Err(_) => {
                let _ = fs::remove_dir(&path);
                None
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Processes in it and in what was made below it; zombies are not among them.
    pub(super) fn processes(&self) -> Vec<i32> {
        processes(&self.path)
    }

    /// SIGKILL to everything in it.
    pub(super) fn kill(&self) {
        kill(&self.path);
    }

    /// Removes it and what was made below it; fails while something lives in it.
    pub(super) fn remove(&self) -> io::Result<()> {
        remove(&self.path)
    }
}

/// SIGKILL to everything in the cgroup at `path`.
pub(super) fn kill(path: &Path) {
    // cgroup.kill came with Linux 5.14.
    if fs::write(path.join("cgroup.kill"), "1").is_err() {
        for found in processes(path).into_iter().filter_map(super::tree::process) {
            super::tree::signal_found(&found, nix::sys::signal::Signal::SIGKILL);
        }
    }
}

/// Kills what is in the cgroup at `path` and removes it; false while something in it is still dying.
pub(crate) fn end(path: &Path) -> bool {
    if !fs::exists(path.join("cgroup.procs")).unwrap_or(false) {
        return true;
    }
    kill(path);
    remove(path).is_ok()
}

pub(super) fn remove(path: &Path) -> io::Result<()> {
    for below in subdirectories(path) {
        remove(&below)?;
    }
    fs::remove_dir(path)
}

pub(super) fn processes(path: &Path) -> Vec<i32> {
    let mut found: Vec<i32> = fs::read_to_string(path.join("cgroup.procs"))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.parse().ok())
        .collect();
    for below in subdirectories(path) {
        found.extend(processes(&below));
    }
    found
}

pub(super) fn subdirectories(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|t| t.is_dir())).map(|entry| entry.path()).collect()
}

/// Where a process goes whose cgroup gets children with limits.
pub(super) const LEAF: &str = "phalanx-self";

/// The cgroup (version 2) of this process, below which there may be others.
pub(super) fn own_directory() -> Option<PathBuf> {
    let cgroup = read_proc("/proc/self/cgroup")?;
    let mounts = read_proc("/proc/self/mountinfo")?;
    let own = directory(&cgroup, &mounts)?;
    if own.file_name().is_some_and(|name| name == LEAF) {
        own.parent().map(Path::to_owned)
    } else {
        Some(own)
    }
}

/// Where this process is in the memory hierarchy of version 1, if the host has one.
pub(super) fn own_memory_directory() -> Option<PathBuf> {
    let cgroup = read_proc("/proc/self/cgroup")?;
    let mounts = read_proc("/proc/self/mountinfo")?;
    memory_directory(&cgroup, &mounts)
}

/// Files of /proc have no size to go by: without a first guess they are read in tiny steps.
fn read_proc(path: &str) -> Option<String> {
    let mut text = String::with_capacity(8 << 10);
    fs::File::open(path).ok()?.read_to_string(&mut text).ok()?;
    Some(text)
}

/// Where `/proc/self/cgroup` and `/proc/self/mountinfo` say our cgroup is.
fn directory(cgroup: &str, mounts: &str) -> Option<PathBuf> {
    let own = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    mounted(own, mounts, |filesystem| filesystem.starts_with("cgroup2 "))
}

/// The same in the hierarchy of version 1 that has the memory controller.
fn memory_directory(cgroup: &str, mounts: &str) -> Option<PathBuf> {
    let has = |controllers: &str| controllers.split(',').any(|name| name == "memory");
    let own = cgroup.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        has(controllers).then_some(path)
    })?;
    mounted(own, mounts, |filesystem| {
        filesystem.starts_with("cgroup ") && filesystem.rsplit(' ').next().is_some_and(has)
    })
}

/// Where the cgroup `own` is found, in the first file system that is meant.
fn mounted(own: &str, mounts: &str, is_meant: impl Fn(&str) -> bool) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        if !is_meant(filesystem) {
            return None;
        }
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        // Escaped characters in a mount point: not worth a decoder.
        if point.contains('\\') {
            return None;
        }
        Some(Path::new(point).join(Path::new(own).strip_prefix(root).ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_cgroup_is_found_on_unified_and_hybrid_hosts_and_in_a_namespace() {
        let unified = "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";
        let here = "0::/user.slice/user-7.slice/session.scope\n";
        assert_eq!(
            directory(here, unified),
            Some("/sys/fs/cgroup/user.slice/user-7.slice/session.scope".into())
        );
        let hybrid = "30 29 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      31 29 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        assert_eq!(directory("4:cpu:/x\n0::/\n", hybrid), Some("/sys/fs/cgroup/unified/".into()));
        let bind = "29 23 0:26 /pods/a /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n";
        assert_eq!(directory("0::/pods/a/b\n", bind), Some("/sys/fs/cgroup/b".into()));
        assert_eq!(directory("0::/elsewhere\n", bind), None);
        assert_eq!(directory("4:cpu:/x\n", unified), None, "version 1 alone");
        let memory = "33 29 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let both = format!("{hybrid}{memory}");
        assert_eq!(
            memory_directory("5:cpu:/x\n4:memory:/a/b\n0::/\n", &both),
            Some("/sys/fs/cgroup/memory/a/b".into())
        );
        assert_eq!(memory_directory(here, unified), None, "version 2 alone");
    }
}
