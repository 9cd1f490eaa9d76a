//! Ports of a generation: proved free, and reserved against every other Phalanx on this host.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};

use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, sockopt::PeerCredentials};
use nix::unistd::geteuid;

use super::refusal::Refusal;

/// Abstract sockets named after the ports. The kernel frees the names when the last holder is gone,
/// so a reservation never outlives the shim.
///
/// Anybody can hold any name. So one that another user holds, other than root, says nothing: whether that
/// user has the port itself, the test shows.
#[derive(Debug, Default)]
pub(super) struct Reserved {
    _sockets: Vec<UnixListener>,
}

/// Reserves every port and proves that a rank could listen on it.
pub(super) fn reserve(ports: &[u16]) -> Result<Reserved, Refusal> {
    let mut sockets = Vec::with_capacity(ports.len());
    for &port in ports {
        match reserve_one(port) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && !is_trusted(port) => {}
            reserved => sockets.push(reserved.map_err(|error| refused(port, error))?),
        }
        // One after the other: a dual-stack IPv6 socket takes the IPv4 port too.
        listen(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).map_err(|error| refused(port, error))?;
        match listen(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))) {
            Err(error) if is_without_ipv6(&error) => {}
            other => other.map_err(|error| refused(port, error))?,
        }
    }
    Ok(Reserved { _sockets: sockets })
}

fn reserve_one(port: u16) -> io::Result<UnixListener> {
    let name = UnixAddr::from_abstract_name(name(port))?;
    UnixListener::bind_addr(&name)
}

fn name(port: u16) -> String {
    format!("phalanx-port-{port}")
}

/// Whether this user or root holds the name.
fn is_trusted(port: u16) -> bool {
    let holder = holder(port);
    holder.is_ok_and(|uid| uid == 0 || uid == geteuid().as_raw())
}

/// The user who listens on the name, without waiting for an answer.
fn holder(port: u16) -> nix::Result<u32> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    socket::connect(socket.as_raw_fd(), &socket::UnixAddr::new_abstract(name(port).as_bytes())?)?;
    Ok(socket::getsockopt(&socket, PeerCredentials)?.uid())
}

fn listen(address: SocketAddr) -> io::Result<()> {
    TcpListener::bind(address).map(drop)
}

fn is_without_ipv6(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

fn refused(port: u16, error: io::Error) -> Refusal {
    if error.kind() == io::ErrorKind::AddrInUse {
        Refusal::PortTaken { port }
    } else {
        Refusal::Port { port, error }
    }
}
