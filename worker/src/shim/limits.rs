//! The limit of open files: the shim's own, which grows with its ranks, and theirs, which does not.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Two log files, two pipes (both ends for a moment), a notify socket and a probe of each kind.
const PER_RANK: u64 = 10;
/// Sockets, epoll, locks, the time index of each rank while it is written.
const BESIDE: u64 = 64;

/// The limit as it was inherited.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenFiles {
    soft: u64,
    hard: u64,
}

impl OpenFiles {
    /// Of this process, before it changed anything; without limit where it cannot be read.
    pub(super) fn inherited() -> OpenFiles {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((u64::MAX, u64::MAX));
        OpenFiles { soft, hard }
    }

    /// Raises the soft limit of this process for so many ranks, as far as the hard one lets it.
    pub(super) fn make_room(&self, ranks: usize) {
        let needed = (ranks as u64 * PER_RANK + BESIDE).min(self.hard);
        if needed > self.soft {
            // What is still missing afterwards is told by the file that cannot be opened.
            let _ = setrlimit(Resource::RLIMIT_NOFILE, needed, self.hard);
        }
    }

    /// What ranks go back to before their program runs.
    pub(super) fn of_ranks(&self) -> libc::rlimit {
        libc::rlimit { rlim_cur: self.soft, rlim_max: self.hard }
    }
}
