//! System calls that no safe wrapper covers, made safe to call.

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use nix::unistd::{Gid, Uid};
use phalanx_common::exit::ExitStatus;
use phalanx_common::topology::machine::CpuSet;

/// What became of the children of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reaped {
    /// This child has ended and is gone from the process table.
    Child(i32, ExitStatus),
    /// There are children, and none has ended.
    NoneYet,
    NoChildren,
}

/// Collects one ended child without waiting. The guardian is never among them: it was cloned without
/// an exit signal, so this wait does not see it.
pub(super) fn reap() -> Reaped {
    loop {
        let mut status = 0;
        // SAFETY: waitpid writes one int through the pointer, which is valid for the call.
        match unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) } {
            0 => return Reaped::NoneYet,
            -1 if errno() == libc::EINTR => {}
            -1 => return Reaped::NoChildren,
            pid => return Reaped::Child(pid, exit_status(status)),
        }
    }
}

/// Waits for a child that is about to end; `reap` does not see the guardian, this does.
pub(super) fn wait_for(pid: i32) {
    let mut status = 0;
    // SAFETY: waitpid writes one int through the pointer, which is valid for the call.
    while unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) } == -1 && errno() == libc::EINTR {}
}

fn exit_status(status: i32) -> ExitStatus {
    if libc::WIFSIGNALED(status) {
        ExitStatus::Signal(libc::WTERMSIG(status) as u8)
    } else {
        ExitStatus::Code(libc::WEXITSTATUS(status) as u8)
    }
}

pub(super) fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// Has the child that `command` starts become this user, for good, before it executes anything.
pub(super) fn become_user(command: &mut std::process::Command, uid: Uid, gid: Gid, groups: &[Gid]) {
    use std::os::unix::process::CommandExt;
    let groups: Vec<libc::gid_t> = groups.iter().map(|group| group.as_raw()).collect();
    let (uid, gid) = (uid.as_raw(), gid.as_raw());
    let switch = move || {
        let done = |result: libc::c_int| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
        // SAFETY: three system calls on plain numbers and on a list made before the fork; they allocate
        // nothing and are async-signal-safe (signal-safety(7)). The child has one thread.
        unsafe {
            done(libc::setgroups(groups.len(), groups.as_ptr()))?;
            done(libc::setresgid(gid, gid, gid))?;
            done(libc::setresuid(uid, uid, uid))?;
            // Nobody gets here who could go back.
            if uid != 0 && libc::setuid(0) == 0 {
                return Err(io::Error::from_raw_os_error(libc::EPERM));
            }
        }
        Ok(())
    };
    // SAFETY: see the closure: it calls nothing but async-signal-safe functions.
    unsafe { command.pre_exec(switch) };
}

/// Has the child that `command` starts enter a cgroup through its open `cgroup.procs`, if it can: the
/// rights are those with which `door` was opened, so it comes before the child becomes somebody else.
pub(super) fn enter_cgroup(command: &mut std::process::Command, door: i32) {
    use std::os::unix::process::CommandExt;
    let enter = move || {
        // SAFETY: write is async-signal-safe; the caller keeps `door` open until the child has executed.
        unsafe { libc::write(door, c"0".as_ptr().cast(), 1) };
        Ok(())
    };
    // SAFETY: see the closure: it calls nothing but an async-signal-safe function.
    unsafe { command.pre_exec(enter) };
}

/// The kernel's own word for how gladly a process is killed when memory runs out.
pub(super) const OOM_SCORE: &std::ffi::CStr = c"/proc/self/oom_score_adj";

/// Has the child that `command` starts give up a protection from the OOM killer that this process has:
/// what comes of it is a job's. Before the child becomes somebody else, because what root gives up nobody
/// below takes back. `score` is `OOM_SCORE`; a value that is not negative stays.
pub(super) fn give_up_oom_protection(command: &mut std::process::Command, score: &'static std::ffi::CStr) {
    use std::os::unix::process::CommandExt;
    let give_up = move || {
        // SAFETY: open, read, write and close are async-signal-safe; the one byte read is on the stack.
        unsafe {
            let fd = libc::open(score.as_ptr(), libc::O_RDWR | libc::O_CLOEXEC);
            let mut first = 0_u8;
            if libc::pread(fd, (&raw mut first).cast(), 1, 0) == 1 && first == b'-' {
                libc::pwrite(fd, c"0\n".as_ptr().cast(), 2, 0);
            }
            libc::close(fd);
        }
        Ok(())
    };
    // SAFETY: see the closure: it calls nothing but async-signal-safe functions.
    unsafe { command.pre_exec(give_up) };
}

/// Closes every descriptor from `first` on.
pub(super) fn close_from(first: u32) {
    // SAFETY: called before this process owns any descriptor from `first` on (see the callers), so no
    // owner is left with a closed one.
    if unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) } == 0 {
        return;
    }
    // Before Linux 5.9.
    let open: Vec<i32> = std::fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| u32::try_from(*fd).is_ok_and(|fd| fd >= first))
        .collect();
    for fd in open {
        // SAFETY: as above.
        unsafe { libc::close(fd) };
    }
}

/// Takes descriptor 0 as an owned descriptor above 2 and leaves `/dev/null` in its place.
pub(super) fn take_stdin() -> io::Result<OwnedFd> {
    // SAFETY: descriptor 0 is open (std opens /dev/null there if it was not), and a duplicate from
    // fcntl belongs to nobody else.
    let socket = unsafe {
        let fd = libc::fcntl(0, libc::F_DUPFD_CLOEXEC, 3);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(fd)
    };
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    // SAFETY: both descriptors are open; dup2 onto 0 replaces the socket, which lives on in `socket`.
    if unsafe { libc::dup2(std::os::fd::AsRawFd::as_raw_fd(&null), 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(socket)
}

/// In the guardian: everything but the standard three, a pipe and a lock is closed, and stdout and
/// stderr go nowhere. Whoever owned the other descriptors never runs again in this process.
pub(super) fn keep_only(pipe: i32, lock: i32) -> io::Result<std::fs::File> {
    // SAFETY: dup2 takes any numbers. Copies above every open descriptor come first, so that neither
    // source is overwritten before it is copied; 3 and 4 are then ours alone.
    unsafe {
        let (pipe, lock) = (libc::fcntl(pipe, libc::F_DUPFD, 10), libc::fcntl(lock, libc::F_DUPFD, 10));
        if libc::dup2(0, 1) < 0 || libc::dup2(0, 2) < 0 || libc::dup2(pipe, 3) < 0 || libc::dup2(lock, 4) < 0
        {
            return Err(io::Error::last_os_error());
        }
        close_from(5);
        Ok(std::fs::File::from_raw_fd(3))
    }
}

/// Ends this process without running anything of its parent's.
pub(super) fn exit_now() -> ! {
    // SAFETY: _exit runs no handlers and never returns.
    unsafe { libc::_exit(0) }
}

/// Ignores a signal in this process.
pub(super) fn ignore(signal: i32) {
    // SAFETY: SIG_IGN installs no code of ours.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// A descriptor that becomes readable when the process ends; `None` before Linux 5.3.
pub(super) fn pidfd_open(pid: u32) -> Option<OwnedFd> {
    // SAFETY: takes two integers; a returned descriptor is new, CLOEXEC and ours.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0);
        (fd >= 0).then(|| OwnedFd::from_raw_fd(fd as i32))
    }
}

/// Sends a signal through a pidfd, so that it can only reach the process the pidfd was opened for.
pub(super) fn pidfd_kill(pidfd: &OwnedFd, signal: i32) -> io::Result<()> {
    let fd = std::os::fd::AsRawFd::as_raw_fd(pidfd);
    // SAFETY: an open pidfd, a number, a null siginfo and no flags.
    let rc = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, std::ptr::null::<libc::siginfo_t>(), 0)
    };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The CPUs that a process may run on and that are there.
pub(super) fn cpus_of(pid: i32) -> io::Result<CpuSet> {
    let mut words = [0_u64; CpuSet::LIMIT as usize / 64];
    // SAFETY: the kernel writes at most as many bytes as it is told that there are.
    let written =
        unsafe { libc::syscall(libc::SYS_sched_getaffinity, pid, size_of_val(&words), words.as_mut_ptr()) };
    if written < 0 { Err(io::Error::last_os_error()) } else { Ok(CpuSet::from_words(&words)) }
}

/// Waits until `fd` can be read, or until `within` is over; says which.
pub(super) fn readable(fd: BorrowedFd<'_>, within: Duration) -> nix::Result<bool> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let timeout = PollTimeout::try_from(within).unwrap_or(PollTimeout::MAX);
    match poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], timeout) {
        Ok(ready) => Ok(ready > 0),
        Err(nix::errno::Errno::EINTR) => Ok(true),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_gives_up_a_protection_from_the_oom_killer_and_keeps_what_exposes_it() {
        let path = std::env::temp_dir().join(format!("phalanx-oom-{}", std::process::id()));
        let score: &'static std::ffi::CStr =
            Box::leak(std::ffi::CString::new(path.to_str().unwrap()).unwrap().into_boxed_c_str());
        for (before, after) in [("-900\n", "0"), ("300\n", "300")] {
            std::fs::write(&path, before).unwrap();
            let mut command = std::process::Command::new("true");
            give_up_oom_protection(&mut command, score);
            assert!(command.status().unwrap().success());
            assert_eq!(std::fs::read_to_string(&path).unwrap().lines().next(), Some(after));
        }
        std::fs::remove_file(&path).unwrap();
    }
}
