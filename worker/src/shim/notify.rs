//! A rank's notify socket: sd_notify(3), heard by the shim.
//!
//! Its name is abstract and chosen by the kernel, so that nobody can take it before, and a long path of a job's
//! directory does not matter. Whoever may look sees it; what is said there counts only from a process of the pod.

use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, UnixCredentials, bind,
    getsockname, recvmsg, setsockopt, socket, sockopt,
};
use nix::unistd::geteuid;
use phalanx_common::health::MAX_STATUS;
use phalanx_worker_core::shim::ShimPlan;

use super::refusal::Refusal;
use super::tree;

/// What a rank finds it by.
const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";
/// Microseconds that a rank may be silent.
const WATCHDOG_USEC: &str = "WATCHDOG_USEC";
/// Longest message that is heard, bytes.
const LONGEST: usize = 4096;
/// Messages of one rank that are heard before others have their turn.
const AT_ONCE: usize = 16;

/// One thing that a rank said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Ready,
    /// It is not ready for now, or not any more; the line it said.
    NotReady(&'static str),
    Alive,
    Status(String),
}

/// The socket of one rank.
#[derive(Debug)]
pub(super) struct NotifySocket(OwnedFd);

/// Makes a socket for each rank, and tells each of its own.
pub(super) fn open(plan: &mut ShimPlan) -> Result<Vec<NotifySocket>, Refusal> {
    (0..plan.ranks.len()).filter_map(|index| open_one(plan, index).transpose()).collect()
}

/// Makes a socket for one rank, and tells it of it.
pub(super) fn open_one(plan: &mut ShimPlan, index: usize) -> Result<Option<NotifySocket>, Refusal> {
    let watchdog = plan.probes.watchdog().map(|time| time.as_micros().to_string());
    let taken = plan.env.iter().any(|(name, _)| name == NOTIFY_SOCKET);
    let Some(rank) = plan.ranks.get_mut(index) else { return Ok(None) };
    let number = rank.rank.0;
    let refuse = |errno: Errno| Refusal::Start { rank: number, what: "notify socket", error: errno.into() };
    let (socket, name) = NotifySocket::open().map_err(refuse)?;
    // The job's own one wins.
    if !taken && rank.env.iter().all(|(name, _)| name != NOTIFY_SOCKET) {
        rank.env.push((NOTIFY_SOCKET.to_owned(), name));
        rank.env.extend(watchdog.map(|time| (WATCHDOG_USEC.to_owned(), time)));
    }
    Ok(Some(socket))
}

impl NotifySocket {
    fn open() -> nix::Result<(NotifySocket, String)> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
        setsockopt(&fd, sockopt::PassCred, &true)?;
        bind(fd.as_raw_fd(), &UnixAddr::new_unnamed())?;
        let address: UnixAddr = getsockname(fd.as_raw_fd())?;
        let name = address.as_abstract().ok_or(Errno::EADDRNOTAVAIL)?;
        let name = format!("@{}", String::from_utf8_lossy(name));
        Ok((NotifySocket(fd), name))
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// What was said since the last time, as much as one turn takes.
    pub(super) fn hear(&self) -> Vec<Said> {
        let mut heard = Vec::new();
        let mut bytes = [0; LONGEST];
        let mut room = nix::cmsg_space!(UnixCredentials);
        for _ in 0..AT_ONCE {
            let mut parts = [IoSliceMut::new(&mut bytes)];
            let flags = MsgFlags::MSG_CMSG_CLOEXEC;
            let (len, whole, sender) =
                match recvmsg::<UnixAddr>(self.0.as_raw_fd(), &mut parts, Some(&mut room), flags) {
                    Ok(message) => {
                        let sender = message.cmsgs().ok().and_then(|mut all| {
                            all.find_map(|control| match control {
                                ControlMessageOwned::ScmCredentials(sender) => Some(sender),
                                _ => None,
                            })
                        });
                        (message.bytes, !message.flags.contains(MsgFlags::MSG_TRUNC), sender)
                    }
                    Err(Errno::EINTR) => continue,
                    Err(_) => break,
                };
            if whole && sender.is_some_and(|sender| is_ours(&sender)) {
                heard.extend(read(&bytes[..len]));
            }
        }
        heard
    }
}

/// Whether this process is one of the pod. One that is gone already, as `systemd-notify` is, is taken for one if its
/// user is the pod's.
fn is_ours(sender: &UnixCredentials) -> bool {
    if sender.uid() != geteuid().as_raw() {
        return false;
    }
    let own = std::process::id() as i32;
    let mut pid = sender.pid();
    // Deeper trees than this do not come about by themselves.
    for _ in 0..256 {
        match tree::process(pid) {
            _ if pid == own => return true,
            // One that goes away while it is read has no parent any more: looked at again, it is gone.
            Some(process) if process.parent == 0 => return tree::process(pid).is_none(),
            Some(process) if process.parent > 1 => pid = process.parent,
            Some(_) => return false,
            None => return true,
        }
    }
    false
}

/// The lines of a message, `NAME=VALUE`; names that mean nothing here are left.
fn read(message: &[u8]) -> Vec<Said> {
    let text = String::from_utf8_lossy(message);
    let said = text.lines().filter_map(|line| match line.split_once('=')? {
        ("READY", "1") => Some(Said::Ready),
        ("RELOADING", "1") => Some(Said::NotReady("it said RELOADING=1")),
        ("STOPPING", "1") => Some(Said::NotReady("it said STOPPING=1")),
        ("WATCHDOG", "1") => Some(Said::Alive),
        ("STATUS", status) => {
            let end = status.floor_char_boundary(MAX_STATUS.min(status.len()));
            Some(Said::Status(status[..end].to_owned()))
        }
        _ => None,
    });
    said.collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    use super::*;

    fn send(to: &str, message: &[u8]) {
        use std::os::linux::net::SocketAddrExt;
        let address = SocketAddr::from_abstract_name(&to[1..]).unwrap();
        UnixDatagram::unbound().unwrap().send_to_addr(message, &address).unwrap();
    }

    #[test]
    fn what_a_process_below_this_one_says_is_heard_line_by_line() {
        let (socket, name) = NotifySocket::open().unwrap();
        assert_eq!(socket.hear(), []);
        send(&name, b"READY=1\nSTATUS=epoch 3\nMAINPID=7\nnonsense\nREADY=2");
        send(&name, b"WATCHDOG=1\nRELOADING=1\n");
        let heard = socket.hear();
        let wanted =
            [Said::Ready, Said::Status("epoch 3".into()), Said::Alive, Said::NotReady("it said RELOADING=1")];
        assert_eq!(heard, wanted);
    }

    #[test]
    fn a_message_that_is_too_long_is_dropped_and_a_status_is_cut() {
        let (socket, name) = NotifySocket::open().unwrap();
        send(&name, &[b"READY=1\nSTATUS=".as_slice(), &vec![b'x'; LONGEST]].concat());
        assert_eq!(socket.hear(), []);
        send(&name, &[b"STATUS=".as_slice(), "é".repeat(MAX_STATUS).as_bytes()].concat());
        let heard = socket.hear();
        let [Said::Status(status)] = heard.as_slice() else { panic!("{heard:?}") };
        assert_eq!(status.len(), MAX_STATUS);
    }

    #[test]
    fn a_flood_has_one_turn_at_a_time() {
        let (socket, name) = NotifySocket::open().unwrap();
        // The kernel keeps few datagrams for a socket that nobody reads (net.unix.max_dgram_qlen).
        for _ in 0..8 {
            send(&name, b"READY=1\nREADY=1");
        }
        assert_eq!(socket.hear().len(), 16);
    }

    #[test]
    fn a_process_that_is_not_of_the_pod_is_not_heard() {
        // What this process was started by is not below it.
        let parent = nix::unistd::getppid().as_raw();
        let of = |pid, uid| {
            let credentials = libc::ucred { pid, uid, gid: 0 };
            UnixCredentials::from(credentials)
        };
        let (own, user) = (std::process::id() as i32, geteuid().as_raw());
        assert!(is_ours(&of(own, user)));
        assert!(!is_ours(&of(parent, user)), "{parent}");
        assert!(!is_ours(&of(own, user + 1)));
        assert!(is_ours(&of(i32::MAX, user)), "gone already");
    }
}
