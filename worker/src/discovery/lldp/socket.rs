//! Hearing LLDP frames on a packet socket (packet(7)).

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::libc;
use nix::sys::socket::{LinkAddr, recvfrom};
use phalanx_formats::lldp::ETHERTYPE;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;

/// Where LLDP frames go (IEEE 802.1AB, table 7-1): nearest bridge, nearest bridge that is no two-port relay,
/// nearest customer bridge.
const GROUPS: [[u8; 6]; 3] = [
    [0x01, 0x80, 0xc2, 0x00, 0x00, 0x0e],
    [0x01, 0x80, 0xc2, 0x00, 0x00, 0x03],
    [0x01, 0x80, 0xc2, 0x00, 0x00, 0x00],
];
/// A frame of Ethernet's own length; LLDP has no longer ones.
const LONGEST: usize = 1600;

/// A frame, and the interface that it came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    pub interface: u32,
    pub frame: Vec<u8>,
}

/// Hears the LLDP frames of all interfaces.
#[derive(Debug)]
pub struct Listener {
    socket: AsyncFd<OwnedFd>,
}

impl Listener {
    /// # Errors
    /// This process lacks CAP_NET_RAW.
    pub fn open() -> io::Result<Listener> {
        let kind = Protocol::from(i32::from(ETHERTYPE.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(kind))?;
        socket.set_nonblocking(true)?;
        // SAFETY: the descriptor is owned by what is registered, and closed after it is deregistered.
        let socket = unsafe { AsyncFd::register(OwnedFd::from(socket)) }?;
        Ok(Listener { socket })
    }

    /// Has the interface's card take frames to the groups of LLDP. Once is enough; the kernel forgets it with
    /// the interface.
    ///
    /// # Errors
    /// The interface is gone.
    pub fn listen_on(&self, interface: u32) -> io::Result<()> {
        for group in GROUPS {
            let mut address = [0; 8];
            address[..group.len()].copy_from_slice(&group);
            let request = libc::packet_mreq {
                mr_ifindex: i32::try_from(interface).unwrap_or(0),
                mr_type: libc::PACKET_MR_MULTICAST as u16,
                mr_alen: group.len() as u16,
                mr_address: address,
            };
            // SAFETY: the pointer and the length are those of `request`, which lives through the call.
            let done = unsafe {
                libc::setsockopt(
                    self.socket.as_raw_fd(),
                    libc::SOL_PACKET,
                    libc::PACKET_ADD_MEMBERSHIP,
                    (&raw const request).cast(),
                    size_of::<libc::packet_mreq>() as libc::socklen_t,
                )
            };
            if done != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    }

    /// The next frame. Cancel-safe.
    ///
    /// # Errors
    /// The socket is broken.
    pub async fn recv(&self) -> io::Result<Arrived> {
        loop {
            let mut ready = self.socket.readable().await?;
            match ready.try_io(|socket| recv_now(socket.get_ref())) {
                Ok(Ok(Some(arrived))) => return Ok(arrived),
                // An interface that went down says so here, and the others go on.
                Ok(Err(error)) if error.raw_os_error() != Some(libc::ENETDOWN) => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
    }
}

/// `None` for what this host sent itself.
fn recv_now(socket: &OwnedFd) -> io::Result<Option<Arrived>> {
    let mut frame = vec![0; LONGEST];
    let (length, from) = recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut frame)?;
    frame.truncate(length);
    let from = from.filter(|from| from.pkttype() != libc::PACKET_OUTGOING);
    let interface = from.and_then(|from| u32::try_from(from.ifindex()).ok());
    Ok(interface.map(|interface| Arrived { interface, frame }))
}
