//! The event loop: one thread, one epoll, everything that happens to a pod.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::setsid;
use phalanx_common::health::Question;
use phalanx_common::time::Timestamp;

use super::link::{self, Link};
use super::pod_events::Shim;
use super::spawn::Orphans;
use super::{MODE, ORPHAN_GRACE, ORPHAN_LIMIT, sys};

/// Events taken from the kernel at once.
const EVENTS: usize = 64;

/// From here on numbers are those of notify sockets, of questions, and of memory limits.
const NOTIFY: u64 = 1 << 32;
const CHECK: u64 = 1 << 33;
const MEMORY: u64 = 1 << 50;
/// How many may be asked of one rank.
const QUESTIONS: u64 = Question::ALL.len() as u64;

/// What an event is about, as the number the kernel keeps for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Worker,
    Signals,
    ExecErrors,
    /// Peers that probe this pod, or answer its probes.
    Probes,
    /// Index of the rank in its pod, and of its stream.
    Output(usize, usize),
    /// What a rank says by itself.
    Notify(usize),
    /// A question to a rank that waits for its answer.
    Check(usize, Question),
    /// A rank wants memory that it may not have.
    Memory(usize),
}

impl Source {
    fn number(self) -> u64 {
        match self {
            Source::Worker => 0,
            Source::Signals => 1,
            Source::ExecErrors => 2,
            Source::Probes => 3,
            Source::Notify(rank) => NOTIFY + rank as u64,
            Source::Check(rank, question) => CHECK + QUESTIONS * rank as u64 + question as u64,
            Source::Memory(rank) => MEMORY + rank as u64,
            Source::Output(rank, stream) => 4 + 2 * rank as u64 + stream as u64,
        }
    }

    fn from_number(number: u64) -> Source {
        match number {
            0 => Source::Worker,
            1 => Source::Signals,
            2 => Source::ExecErrors,
            3 => Source::Probes,
            memory if memory >= MEMORY => Source::Memory((memory - MEMORY) as usize),
            check if check >= CHECK => {
                let (rank, question) = ((check - CHECK) / QUESTIONS, (check - CHECK) % QUESTIONS);
                Source::Check(rank as usize, Question::ALL[question as usize])
            }
            notify if notify >= NOTIFY => Source::Notify((notify - NOTIFY) as usize),
            output => Source::Output((output - 4) as usize / 2, (output - 4) as usize % 2),
        }
    }
}

/// Why a shim cannot start.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("usage: {MODE} {ORPHAN_LIMIT} MILLISECONDS [{ORPHAN_GRACE} MILLISECONDS]")]
    Usage,
    #[error("standard input is not the worker's socket: {0}")]
    Stdin(#[source] io::Error),
    #[error("cannot {what}: {errno}")]
    Setup { what: &'static str, errno: Errno },
    #[error(transparent)]
    Link(#[from] link::Error),
}

/// Runs the shim and never returns, if that is what this process was started for. Has to be the first
/// thing in `main`: before threads, and before anything opens a descriptor.
pub fn maybe_run() {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_none_or(|mode| mode != MODE) {
        return;
    }
    let code = match orphans(arguments).and_then(run) {
        Ok(()) => 0,
        Err(error) => {
            let _ = writeln!(io::stderr(), "phalanx shim: {error}");
            125
        }
    };
    std::process::exit(code);
}

fn orphans(mut arguments: impl Iterator<Item = OsString>) -> Result<Orphans, Error> {
    let mut read = |wanted| match arguments.next() {
        Some(option) if option == wanted => {
            let millis = arguments.next().and_then(|millis| millis.to_str()?.parse().ok());
            millis.map(Duration::from_millis).map(Some).ok_or(Error::Usage)
        }
        Some(_) => Err(Error::Usage),
        None => Ok(None),
    };
    Ok(Orphans { limit: read(ORPHAN_LIMIT)?.ok_or(Error::Usage)?, grace: read(ORPHAN_GRACE)? })
}

fn run(orphans: Orphans) -> Result<(), Error> {
    let setup = |what| move |errno| Error::Setup { what, errno };
    let socket = become_shim()?;
    let signals = [Signal::SIGCHLD, Signal::SIGTERM].into_iter().collect::<SigSet>();
    let signals = SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
        .map_err(setup("make a signalfd"))?;
    let poll = Poll::new().map_err(setup("make an epoll"))?;
    let link = Link::new(socket)?;
    poll.add(link.as_fd(), Source::Worker).map_err(setup("watch the worker's socket"))?;
    poll.add(std::os::fd::AsFd::as_fd(&signals), Source::Signals).map_err(setup("watch signals"))?;
    let mut shim = Shim::new(link, poll, signals, orphans);
    let mut events = [EpollEvent::empty(); EVENTS];
    while !shim.is_done() {
        shim.turn();
        if shim.is_done() {
            break;
        }
        let ready = shim.wait(&mut events).map_err(setup("wait for events"))?;
        for event in ready {
            shim.on_event(Source::from_number(event.data()));
        }
    }
    Ok(())
}

/// Cuts the ties to the terminal and to whatever was inherited; returns the worker's socket.
fn become_shim() -> Result<OwnedFd, Error> {
    let setup = |what| move |errno| Error::Setup { what, errno };
    // Nothing is opened yet: what is above stderr came from our parent's parents.
    sys::close_from(3);
    let socket = sys::take_stdin().map_err(Error::Stdin)?;
    // Fails only where we lead a group already.
    let _ = setsid();
    for signal in [libc::SIGPIPE, libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTSTP, libc::SIGTTOU] {
        sys::ignore(signal);
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None).map_err(setup("block signals"))?;
    prctl::set_child_subreaper(true).map_err(setup("become the subreaper of the pod"))?;
    let _ = prctl::set_name(c"phalanx-shim");
    Ok(socket)
}

/// What the loop waits for.
pub(super) struct Poll(Epoll);

impl Poll {
    fn new() -> nix::Result<Poll> {
        Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map(Poll)
    }

    pub(super) fn add(&self, fd: BorrowedFd<'_>, source: Source) -> nix::Result<()> {
        self.add_for(fd, source, EpollFlags::EPOLLIN)
    }

    pub(super) fn add_for(&self, fd: BorrowedFd<'_>, source: Source, flags: EpollFlags) -> nix::Result<()> {
        self.0.add(fd, EpollEvent::new(flags, source.number()))
    }

    /// Asks to be woken for this instead.
    pub(super) fn want(&self, fd: BorrowedFd<'_>, source: Source, flags: EpollFlags) {
        let _ = self.0.modify(fd, &mut EpollEvent::new(flags, source.number()));
    }

    pub(super) fn remove(&self, fd: BorrowedFd<'_>) {
        let _ = self.0.delete(fd);
    }

    /// Asks to be woken when `fd` takes more bytes, or no longer.
    pub(super) fn want_room(&self, fd: BorrowedFd<'_>, source: Source, wanted: bool) {
        let room = if wanted { EpollFlags::EPOLLOUT } else { EpollFlags::empty() };
        let _ = self.0.modify(fd, &mut EpollEvent::new(EpollFlags::EPOLLIN | room, source.number()));
    }

    /// Waits until `deadline` at most.
    pub(super) fn wait<'e>(
        &self,
        events: &'e mut [EpollEvent],
        deadline: Option<Instant>,
    ) -> nix::Result<&'e [EpollEvent]> {
        let timeout = match deadline {
            None => EpollTimeout::NONE,
            // Rounded up: waking early would spin.
            Some(at) => {
                let wait = at.saturating_duration_since(Instant::now()) + Duration::from_micros(999);
                EpollTimeout::try_from(wait).unwrap_or(EpollTimeout::MAX)
            }
        };
        match self.0.wait(events, timeout) {
            Ok(ready) => Ok(&events[..ready]),
            Err(Errno::EINTR) => Ok(&[]),
            Err(errno) => Err(errno),
        }
    }
}

/// The wall clock, for people.
pub(crate) fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}
