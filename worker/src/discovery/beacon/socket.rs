//! Sending and hearing by UDP multicast, IPv6 link-local and IPv4, never beyond the first hop. A beacon leaves by each
//! family that its port has: others may have one of them alone.
//!
//! The groups are those for experiments (RFC 3692): ff02::114, and 224.0.0.254, which a switch that looks
//! into IGMP floods like all of 224.0.0.0/24 (RFC 4541, 2.1.2).

use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrStorage, recvmsg,
    sendmsg, setsockopt, sockopt,
};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::packet::LONGEST;

const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 254);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x114);

/// A few thousand ports send within a second where a cluster is switched on: the kernel counts some 800 bytes
/// for each small datagram.
const QUEUE: usize = 4 << 20;

/// An interface that beacons can leave by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    pub name: String,
    pub index: u32,
    pub has_v4: bool,
    /// It has a link-local address, without which nothing leaves by IPv6.
    pub has_v6: bool,
}

/// Every interface that is up, runs and takes multicast, by name; loopback is none.
///
/// # Errors
/// The kernel does not list them.
pub fn interfaces() -> nix::Result<Vec<Interface>> {
    let mut found: BTreeMap<String, Interface> = BTreeMap::new();
    let fit = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING | InterfaceFlags::IFF_MULTICAST;
    for entry in getifaddrs()? {
        if !entry.flags.contains(fit) || entry.flags.contains(InterfaceFlags::IFF_LOOPBACK) {
            continue;
        }
        let name = entry.interface_name;
        let Ok(index) = if_nametoindex(name.as_str()) else { continue };
        let interface =
            found.entry(name.clone()).or_insert(Interface { name, index, has_v4: false, has_v6: false });
        if let Some(address) = entry.address {
            interface.has_v4 |= address.as_sockaddr_in().is_some();
            let v6 = address.as_sockaddr_in6().map(SockaddrIn6::ip);
            interface.has_v6 |= v6.is_some_and(|ip| ip.is_unicast_link_local());
        }
    }
    Ok(found.into_values().collect())
}

/// A datagram, and the interface that it came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    pub interface: u32,
    pub bytes: Vec<u8>,
}

/// The sockets of one node; a host without one of the families has the other.
#[derive(Debug)]
pub struct Sockets {
    v6: Option<UdpSocket>,
    v4: Option<UdpSocket>,
    port: u16,
    /// By the interface's index.
    joined: BTreeMap<u32, Joined>,
}

/// The groups that an interface listens to.
#[derive(Clone, Copy, Debug, Default)]
struct Joined {
    v6: bool,
    v4: bool,
    /// That one of them is refused.
    said: bool,
}

impl Sockets {
    /// Several workers of one host may listen at the same port.
    ///
    /// # Errors
    /// Neither family can be listened to.
    pub fn open(port: u16) -> io::Result<Sockets> {
        let v6 = open(Domain::IPV6, SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0).into());
        let v4 = open(Domain::IPV4, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port).into());
        match (v6, v4) {
            (Err(_), Err(error)) => Err(error),
            (v6, v4) => Ok(Sockets { v6: v6.ok(), v4: v4.ok(), port, joined: BTreeMap::new() }),
        }
    }

    /// Listens on these interfaces, and on no others. What is refused is tried again with the next call.
    pub fn listen_on(&mut self, interfaces: &[Interface]) {
        let gone = |index: &u32| interfaces.iter().all(|interface| interface.index != *index);
        for (index, joined) in self.joined.extract_if(.., |index, _| gone(index)) {
            // The kernel lets a socket be in 20 groups of IPv4, gone interfaces included.
            if let (Some(v6), true) = (&self.v6, joined.v6) {
                let _ = v6.leave_multicast_v6(&GROUP_V6, index);
            }
            if let (Some(v4), true) = (&self.v4, joined.v4) {
                let by = InterfaceIndexOrAddress::Index(index);
                let _ = SockRef::from(v4).leave_multicast_v4_n(&GROUP_V4, &by);
            }
        }
        for interface in interfaces {
            let joined = self.joined.entry(interface.index).or_default();
            let mut refused = None;
            if let (Some(v6), false) = (&self.v6, joined.v6) {
                let done = done(v6.join_multicast_v6(&GROUP_V6, interface.index));
                joined.v6 = done.is_ok();
                refused = done.err();
            }
            if let (Some(v4), false) = (&self.v4, joined.v4) {
                let by = InterfaceIndexOrAddress::Index(interface.index);
                let done = done(SockRef::from(v4).join_multicast_v4_n(&GROUP_V4, &by));
                joined.v4 = done.is_ok();
                refused = refused.or(done.err());
            }
            if let Some(error) = refused
                && !joined.said
            {
                tracing::info!(%error, interface = interface.name, "beacons of one family are not heard on this interface");
                joined.said = true;
            }
        }
    }

    /// Sends by one interface. False if nothing left.
    pub fn send(&self, interface: &Interface, bytes: &[u8]) -> bool {
        let data = [IoSlice::new(bytes)];
        let by_v6 = self.v6.as_ref().filter(|_| interface.has_v6).is_some_and(|v6| {
            let to = SockaddrIn6::from(SocketAddrV6::new(GROUP_V6, self.port, 0, interface.index));
            sendmsg(v6.as_raw_fd(), &data, &[], MsgFlags::MSG_DONTWAIT, Some(&to)).is_ok()
        });
        let by_v4 = self.v4.as_ref().filter(|_| interface.has_v4).is_some_and(|v4| {
            let to = SockaddrIn::from(SocketAddrV4::new(GROUP_V4, self.port));
            let by = nix::libc::in_pktinfo {
                ipi_ifindex: i32::try_from(interface.index).unwrap_or(0),
                ipi_spec_dst: nix::libc::in_addr { s_addr: 0 },
                ipi_addr: nix::libc::in_addr { s_addr: 0 },
            };
            let by = [ControlMessage::Ipv4PacketInfo(&by)];
            sendmsg(v4.as_raw_fd(), &data, &by, MsgFlags::MSG_DONTWAIT, Some(&to)).is_ok()
        });
        by_v6 || by_v4
    }

    /// The next datagram. Cancel-safe.
    ///
    /// # Errors
    /// A socket is broken.
    pub async fn recv(&self) -> io::Result<Arrived> {
        tokio::select! {
            arrived = recv(self.v6.as_ref()) => arrived,
            arrived = recv(self.v4.as_ref()) => arrived,
        }
    }
}

/// An interface that is in the group already is what is wanted.
fn done(joined: io::Result<()>) -> io::Result<()> {
    match joined {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(()),
        other => other,
    }
}

fn open(domain: Domain, address: std::net::SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // The first is for those who may have more than the host's limit; with less a beacon may be lost, and the
    // next one comes.
    if setsockopt(&socket, sockopt::RcvBufForce, &QUEUE).is_err() {
        let _ = socket.set_recv_buffer_size(QUEUE);
    }
    if domain == Domain::IPV6 {
        socket.set_only_v6(true)?;
        socket.set_multicast_hops_v6(1)?;
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
    } else {
        socket.set_multicast_ttl_v4(1)?;
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
    }
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

async fn recv(socket: Option<&UdpSocket>) -> io::Result<Arrived> {
    let Some(socket) = socket else { return std::future::pending().await };
    loop {
        socket.readable().await?;
        match socket.try_io(Interest::READABLE, || recv_now(socket)) {
            Ok(Some(arrived)) => return Ok(arrived),
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// `None`: it was longer than any beacon, or came to no group.
fn recv_now(socket: &UdpSocket) -> io::Result<Option<Arrived>> {
    let mut bytes = vec![0; LONGEST];
    let mut control = nix::cmsg_space!(nix::libc::in6_pktinfo, nix::libc::in_pktinfo);
    let (length, interface, whole) = {
        let mut data = [IoSliceMut::new(&mut bytes)];
        let message = recvmsg::<SockaddrStorage>(
            socket.as_raw_fd(),
            &mut data,
            Some(&mut control),
            MsgFlags::MSG_DONTWAIT,
        )?;
        let to_group = message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                let to = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                (to == GROUP_V6).then_some(info.ipi6_ifindex)
            }
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                let to = Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr));
                (to == GROUP_V4).then(|| u32::try_from(info.ipi_ifindex).ok()).flatten()
            }
            _ => None,
        });
        (message.bytes, to_group, !message.flags.contains(MsgFlags::MSG_TRUNC))
    };
    bytes.truncate(length);
    Ok(interface.filter(|_| whole).map(|interface| Arrived { interface, bytes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_no_interface_for_beacons() {
        let names: Vec<String> = interfaces().unwrap().into_iter().map(|interface| interface.name).collect();
        assert!(!names.contains(&"lo".to_owned()), "{names:?}");
    }

    #[tokio::test]
    async fn groups_of_interfaces_that_are_gone_are_left() {
        let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut sockets = Sockets::open(port).unwrap();
        let index = if_nametoindex("lo").unwrap();
        let lo = Interface { name: "lo".to_owned(), index, has_v4: true, has_v6: false };
        let by = InterfaceIndexOrAddress::Index(index);
        let join = |sockets: &Sockets| {
            SockRef::from(sockets.v4.as_ref().unwrap()).join_multicast_v4_n(&GROUP_V4, &by)
        };
        sockets.listen_on(std::slice::from_ref(&lo));
        sockets.listen_on(std::slice::from_ref(&lo));
        assert!(sockets.joined[&index].v4);
        assert_eq!(join(&sockets).unwrap_err().kind(), io::ErrorKind::AddrInUse, "it is in the group");
        sockets.listen_on(&[]);
        assert!(sockets.joined.is_empty());
        join(&sockets).unwrap();
    }

    #[tokio::test]
    async fn a_datagram_that_was_sent_to_this_host_alone_is_no_beacon() {
        let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let sockets = Sockets::open(port).unwrap();
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.send_to(b"beacon", ("127.0.0.1", port)).unwrap();
        let v4 = sockets.v4.as_ref().unwrap();
        v4.readable().await.unwrap();
        assert_eq!(v4.try_io(Interest::READABLE, || recv_now(v4)).unwrap(), None);
    }
}
