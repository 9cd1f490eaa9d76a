//! The coordinator's UDP socket.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

/// Effective receive buffer asked for, bytes. Many workers speak before one core has answered the first, and a
/// lost first packet costs a second. Of 4,000 at once each says its first 1.2 kB twice if the core takes longer
/// than a second for all of them, and the kernel counts 2.3 kB for each: half as much lost thousands.
pub const RECEIVE_BUFFER: usize = 32 << 20;

/// No socket could be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "cannot listen on UDP {address}: {error}; is another coordinator running there? choose another address with --listen"
    )]
    Bind { address: SocketAddr, error: io::Error },
}

/// A listening socket, and how large its receive buffer became (as the kernel counts, twice what was
/// asked). `[::]` takes IPv4 as well. Where the kernel refuses the whole of [`RECEIVE_BUFFER`], the
/// caller warns: `net.core.rmem_max` has to be raised.
///
/// # Errors
/// The address is in use or not of this host.
pub fn listen(address: SocketAddr) -> Result<(UdpSocket, usize), Error> {
    let failed = |error| Error::Bind { address, error };
    let socket =
        Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP)).map_err(failed)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified()).map_err(failed)?;
    }
    // The kernel doubles what it is told. Without privileges only the plain call is allowed, up to a cap.
    let half = RECEIVE_BUFFER / 2;
    if setsockopt(&socket, sockopt::RcvBufForce, &half).is_err() {
        socket.set_recv_buffer_size(half).map_err(failed)?;
    }
    socket.bind(&address.into()).map_err(failed)?;
    let effective = socket.recv_buffer_size().map_err(failed)?;
    Ok((socket.into(), effective))
}
