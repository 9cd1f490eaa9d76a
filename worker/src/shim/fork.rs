//! Fork, and what a rank does between fork and exec: async-signal-safe calls only.
//!
//! The shim has one thread, so nothing is locked at the moment of the fork, and PR_SET_PDEATHSIG
//! (which follows the parent's *thread*) holds for the shim's whole life.

use std::ffi::{CStr, c_char};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// Does not fit the type the libc crate gives it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
/// Since Linux 5.15, and not in the libc crate.
const MPOL_PREFERRED_MANY: i32 = 5;
/// The most NUMA nodes that a kernel is built for.
const MOST_NODES: usize = 1024;

/// How far a rank came before its program ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It could not execute its program.
    Exec,
    Chdir,
    /// It could not be bound to its CPUs.
    Cpus,
    /// It could not be given its memory policy. Without an error number: the kernel took it and keeps another.
    Memory,
    /// It is bound and held. With an error number: but for its preference of memory, which this host does not
    /// let it have.
    Bound,
}

/// One record on the error pipe. All but one of `Step::Bound` is a rank's last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// Index of the rank in its pod.
    pub(super) index: u32,
    pub(super) step: Step,
    pub(super) errno: i32,
}

impl Word {
    /// Bytes of a record; far below PIPE_BUF, so records never mix.
    pub(super) const LEN: usize = 8;
    /// An error number is below.
    const STEP: u32 = 16;

    pub(super) fn from_bytes(bytes: [u8; Word::LEN]) -> Word {
        let [a, b, c, d, e, f, g, h] = bytes;
        let number = i32::from_ne_bytes([e, f, g, h]);
        let steps = [Step::Chdir, Step::Cpus, Step::Memory, Step::Bound];
        let step = steps.into_iter().find(|step| *step as i32 == number >> Word::STEP).unwrap_or(Step::Exec);
        Word { index: u32::from_ne_bytes([a, b, c, d]), step, errno: number & ((1 << Word::STEP) - 1) }
    }

    fn to_bytes(self) -> [u8; Word::LEN] {
        let mut bytes = [0; Word::LEN];
        let number = ((self.step as i32) << Word::STEP) | self.errno;
        bytes[..4].copy_from_slice(&self.index.to_ne_bytes());
        bytes[4..].copy_from_slice(&number.to_ne_bytes());
        bytes
    }
}

/// What a rank is bound to. Sets are masks: bit `n % 64` of word `n / 64`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound<'a> {
    /// Empty: all CPUs.
    pub(super) cpus: &'a [u64],
    pub(super) memory: Option<Memory<'a>>,
}

/// A memory policy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory<'a> {
    /// From no other node; otherwise, from these first.
    pub(super) strict: bool,
    /// Not empty.
    pub(super) nodes: &'a [u64],
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
    /// `None`: to nothing, and it says nothing of it.
    pub(super) bound: Option<Bound<'a>>,
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
            fail(image, Step::Chdir, *libc::__errno_location());
        }
        if let Some(bound) = &image.bound {
            bind(image, bound);
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
        fail(image, Step::Exec, *libc::__errno_location())
    }
}

/// Binds this process, and says so.
///
/// # Safety
/// As `hold_then_exec`.
unsafe fn bind(image: &Image<'_>, bound: &Bound<'_>) {
    // SAFETY: as the caller's; the masks are as long as is said.
    unsafe {
        let (cpus, bytes) = (bound.cpus.as_ptr(), size_of_val(bound.cpus));
        if bytes > 0 && libc::syscall(libc::SYS_sched_setaffinity, 0, bytes, cpus) < 0 {
            fail(image, Step::Cpus, *libc::__errno_location());
        }
        let errno = bound.memory.as_ref().map_or(Ok(()), |memory| bind_memory(memory)).err();
        match (errno, &bound.memory) {
            // A filter of system calls, as Docker has it, or a kernel without NUMA.
            (Some(libc::EPERM | libc::ENOSYS), Some(Memory { strict: false, .. })) | (None, _) => {
                tell(image, Step::Bound, errno.unwrap_or(0));
            }
            (Some(errno), _) => fail(image, Step::Memory, errno),
        }
    }
}

/// Gives this process a memory policy and reads it back; the error's number, which is 0 if it is another.
///
/// # Safety
/// As `hold_then_exec`.
unsafe fn bind_memory(memory: &Memory<'_>) -> Result<(), i32> {
    let nodes = memory.nodes;
    let mut wanted = [0_u64; MOST_NODES / 64];
    if nodes.len() > wanted.len() {
        return Err(libc::EINVAL);
    }
    wanted.iter_mut().zip(nodes).for_each(|(wanted, node)| *wanted = *node);
    // SAFETY: as the caller's; the kernel reads one bit less than it is told there are (get_nodes in mm/mempolicy.c).
    let set = |mode: i32| unsafe {
        let bits = nodes.len() * 64 + 1;
        match libc::syscall(libc::SYS_set_mempolicy, mode, nodes.as_ptr(), bits) {
            0 => Ok(mode),
            _ => Err(*libc::__errno_location()),
        }
    };
    let set = match memory.strict {
        true => set(libc::MPOL_BIND),
        // Before Linux 5.15.
        false => set(MPOL_PREFERRED_MANY).or_else(|errno| match errno {
            libc::EINVAL => set(libc::MPOL_PREFERRED),
            _ => Err(errno),
        }),
    };
    let mode = match set {
        Ok(mode) => mode,
        // A kernel without NUMA has all memory in the node 0.
        Err(libc::ENOSYS) if nodes == [1] => return Ok(()),
        Err(errno) => return Err(errno),
    };
    if mode == libc::MPOL_PREFERRED {
        // Of several it takes the first.
        let mut found = false;
        for word in &mut wanted {
            *word &= if found { 0 } else { word.wrapping_neg() };
            found |= *word != 0;
        }
    }
    let (mut got_mode, mut got) = (0, [0_u64; MOST_NODES / 64]);
    // SAFETY: as the caller's; the kernel writes an int and as many bits as the buffer has.
    let read = unsafe {
        let no_address = std::ptr::null::<u8>();
        let (mode, nodes) = (&raw mut got_mode, got.as_mut_ptr());
        libc::syscall(libc::SYS_get_mempolicy, mode, nodes, MOST_NODES + 1, no_address, 0)
    };
    if read < 0 {
        // SAFETY: the number is this thread's.
        return Err(unsafe { *libc::__errno_location() });
    }
    if (got_mode, got) == (mode, wanted) { Ok(()) } else { Err(0) }
}

/// # Safety
/// As `hold_then_exec`.
unsafe fn tell(image: &Image<'_>, step: Step, errno: i32) {
    let record = Word { index: image.index, step, errno }.to_bytes();
    // SAFETY: as the caller's.
    unsafe { libc::write(image.errors, record.as_ptr().cast(), record.len()) };
}

/// # Safety
/// As `hold_then_exec`.
unsafe fn fail(image: &Image<'_>, step: Step, errno: i32) -> ! {
    // SAFETY: as the caller's.
    unsafe {
        tell(image, step, errno);
        libc::_exit(if errno == libc::ENOENT { 127 } else { 126 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_a_rank_comes_back_as_it_was() {
        for step in [Step::Exec, Step::Chdir, Step::Cpus, Step::Memory, Step::Bound] {
            for errno in [0, 2, 133] {
                let word = Word { index: 70_000, step, errno };
                assert_eq!(Word::from_bytes(word.to_bytes()), word);
            }
        }
    }
}
