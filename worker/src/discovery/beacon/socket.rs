//! Sending and hearing by UDP multicast: IPv6 link-local, else IPv4, never beyond the first hop.
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
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::packet::LONGEST;

const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 254);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x114);

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
    joined: BTreeMap<String, Interface>,
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

    /// Listens on these interfaces from now on.
    pub fn listen_on(&mut self, interfaces: &[Interface]) {
        self.joined.retain(|_, known| interfaces.contains(known));
        for interface in interfaces {
            if self.joined.contains_key(&interface.name) {
                continue;
            }
            // Refused for an interface that was joined before it went and came back, which is what is wanted,
            // and for one that is gone again.
            if let Some(v6) = &self.v6 {
                let _ = v6.join_multicast_v6(&GROUP_V6, interface.index);
            }
            if let Some(v4) = &self.v4 {
                let by = InterfaceIndexOrAddress::Index(interface.index);
                let _ = socket2::SockRef::from(v4).join_multicast_v4_n(&GROUP_V4, &by);
            }
            self.joined.insert(interface.name.clone(), interface.clone());
        }
    }

    /// Sends by one interface. False if nothing left.
    pub fn send(&self, interface: &Interface, bytes: &[u8]) -> bool {
        let data = [IoSlice::new(bytes)];
        if let (Some(v6), true) = (&self.v6, interface.has_v6) {
            let to = SockaddrIn6::from(SocketAddrV6::new(GROUP_V6, self.port, 0, interface.index));
            return sendmsg(v6.as_raw_fd(), &data, &[], MsgFlags::MSG_DONTWAIT, Some(&to)).is_ok();
        }
        let Some(v4) = &self.v4 else { return false };
        let to = SockaddrIn::from(SocketAddrV4::new(GROUP_V4, self.port));
        let by = nix::libc::in_pktinfo {
            ipi_ifindex: i32::try_from(interface.index).unwrap_or(0),
            ipi_spec_dst: nix::libc::in_addr { s_addr: 0 },
            ipi_addr: nix::libc::in_addr { s_addr: 0 },
        };
        let by = [ControlMessage::Ipv4PacketInfo(&by)];
        interface.has_v4 && sendmsg(v4.as_raw_fd(), &data, &by, MsgFlags::MSG_DONTWAIT, Some(&to)).is_ok()
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

fn open(domain: Domain, address: std::net::SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
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
