//! Fork, and what a rank does between fork and exec: async-signal-safe calls only.
//!
//! The shim has one thread, so nothing is locked at the moment of the fork, and PR_SET_PDEATHSIG
//! (which follows the parent's *thread*) holds for the shim's whole life.

use std::ffi::{CStr, c_char};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// Does not fit the type the libc crate gives it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Which step failed in a rank before its program ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Chdir,
    Exec,
}

/// One record on the error pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// Index of the rank in its pod.
    pub(super) index: u32,
    pub(super) step: Step,
    pub(super) errno: i32,
}

impl Failure {
    /// Bytes of a record; far below PIPE_BUF, so records never mix.
    pub(super) const LEN: usize = 8;
    const CHDIR: i32 = 1 << 16;

    pub(super) fn from_bytes(bytes: [u8; Failure::LEN]) -> Failure {
        let [a, b, c, d, e, f, g, h] = bytes;
        let number = i32::from_ne_bytes([e, f, g, h]);
        let step = if number & Failure::CHDIR == 0 { Step::Exec } else { Step::Chdir };
        Failure { index: u32::from_ne_bytes([a, b, c, d]), step, errno: number & !Failure::CHDIR }
    }
}

/// Everything a rank needs, made before the fork.
pub(super) struct Image<'a> {
    pub(super) index: u32,
    pub(super) path: &'a CStr,
    /// Null-terminated, and so is `envp`; what they point to outlives the fork.
    pub(super) argv: &'a [*const c_char],
    pub(super) envp: &'a [*const c_char],
    pub(super) working_dir: Option<&'a CStr>,
    pub(super) stdout: RawFd,
    pub(super) stderr: RawFd,
    pub(super) hold_read: RawFd,
    pub(super) hold_write: RawFd,
    pub(super) errors: RawFd,
    /// Limit of open files to go back to: the shim may have raised its own.
    pub(super) open_files: libc::rlimit,
}

/// Forks one held rank, inside `cgroup` if there is one.
///
/// A cgroup is entered at birth (`CLONE_INTO_CGROUP`): moving a live process costs up to 15 ms.
pub(super) fn rank(image: &Image<'_>, cgroup: Option<BorrowedFd<'_>>) -> io::Result<i32> {
    debug_assert!(image.argv.last().is_some_and(|p| p.is_null()));
    debug_assert!(image.envp.last().is_some_and(|p| p.is_null()));
    // SAFETY: getpid has no preconditions.
    let parent = unsafe { libc::getpid() };
    // SAFETY: this process has one thread; the child calls only `hold_then_exec`, which never returns
    // and makes async-signal-safe calls only.
    let pid = unsafe {
        let pid = match cgroup {
            None => libc::fork(),
            Some(dir) => clone_into(dir),
        };
        if pid == 0 {
            hold_then_exec(image, parent);
        }
        pid
    };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a plain system call. Both sides set the group, so neither has to wait for the other;
    // it fails only if the child is gone already.
    unsafe { libc::setpgid(pid, pid) };
    Ok(pid)
}

/// # Safety
/// As fork; the child must not use what caches its thread id (raw clone bypasses the C library).
unsafe fn clone_into(cgroup: BorrowedFd<'_>) -> i32 {
    // SAFETY: all zeros is a valid clone_args: no flags, no pointers.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = CLONE_INTO_CGROUP;
    args.exit_signal = libc::SIGCHLD as u64;
    args.cgroup = cgroup.as_raw_fd() as u64;
    // SAFETY: args is valid for its size; without CLONE_VM the child has its own copy of everything.
    unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) as i32 }
}

/// A copy of this process that sends no signal when it ends, so that waiting for any child does not
/// see it. Returns 0 in the child.
pub(super) fn unseen() -> io::Result<i32> {
    // SAFETY: a raw clone with no flags is a fork with exit signal 0; this process has one thread.
    // x86-64 and aarch64 differ in the order of the last arguments, which are all zero.
    let pid = unsafe { libc::syscall(libc::SYS_clone, 0, 0, 0, 0, 0) };
    if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(pid as i32) }
}

/// # Safety
/// Only in a child fresh from fork. Nothing here may allocate, lock or unwind.
unsafe fn hold_then_exec(image: &Image<'_>, parent: libc::pid_t) -> ! {
    // SAFETY: system calls on descriptors and buffers that are valid in the child, as `Image` says.
    unsafe {
        libc::setpgid(0, 0);
        // All zeros is SIG_DFL. The C library's call refuses two signals it keeps for itself, which may
        // be ignored all the same: ignored signals survive exec.
        let default = [0u64; 4];
        for signal in 1..=64 {
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), std::ptr::null::<u64>(), 8);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        if libc::getppid() != parent {
            libc::_exit(125);
        }
        libc::dup2(image.stdout, 1);
        libc::dup2(image.stderr, 2);
        // Or the end-of-file that aborts never comes.
        libc::close(image.hold_write);
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const image.open_files);
        if let Some(dir) = image.working_dir
            && libc::chdir(dir.as_ptr()) != 0
        {
            fail(image, Failure::CHDIR | *libc::__errno_location());
        }
        let mut byte = 0u8;
        let mut got = -1;
        while got < 0 {
            got = libc::read(image.hold_read, (&raw mut byte).cast(), 1);
            if got < 0 && *libc::__errno_location() != libc::EINTR {
                break;
            }
        }
        if got != 1 {
            // Aborted. Dying by a signal, a held rank can never be taken for one that succeeded.
            libc::kill(libc::getpid(), libc::SIGKILL);
            libc::_exit(125);
        }
        libc::execve(image.path.as_ptr(), image.argv.as_ptr(), image.envp.as_ptr());
        fail(image, *libc::__errno_location())
    }
}

/// # Safety
/// As `hold_then_exec`.
unsafe fn fail(image: &Image<'_>, number: i32) -> ! {
    let mut record = [0u8; Failure::LEN];
    record[..4].copy_from_slice(&image.index.to_ne_bytes());
    record[4..].copy_from_slice(&number.to_ne_bytes());
    // SAFETY: as the caller's.
    unsafe {
        libc::write(image.errors, record.as_ptr().cast(), record.len());
        libc::_exit(if number & !Failure::CHDIR == libc::ENOENT { 127 } else { 126 })
    }
}
