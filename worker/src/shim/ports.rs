//! Ports of a generation: proved free, and reserved against every other Phalanx on this host.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};

use super::refusal::Refusal;

/// Abstract sockets named after the ports. The kernel frees the names when the last holder is gone,
/// so a reservation never outlives the shim.
#[derive(Debug, Default)]
pub(super) struct Reserved {
    _sockets: Vec<UnixListener>,
}

/// Reserves every port and proves that a rank could listen on it.
pub(super) fn reserve(ports: &[u16]) -> Result<Reserved, Refusal> {
    let mut sockets = Vec::with_capacity(ports.len());
    for &port in ports {
        sockets.push(reserve_one(port).map_err(|error| refused(port, error))?);
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
    UnixListener::bind_addr(&UnixAddr::from_abstract_name(format!("phalanx-port-{port}"))?)
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
