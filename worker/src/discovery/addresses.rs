//! Addresses of interfaces, which the kernel shows in no file; and the interfaces of a machine that has no
//! hardware of its own (a container, a network namespace).

use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::{AddressFamily, SockaddrLike, SockaddrStorage};
use phalanx_common::topology::machine::{Machine, Nic};
use phalanx_common::topology::{LinkLayer, Mac};

/// Adds what the kernel lists.
///
/// # Errors
/// It lists nothing.
pub fn add(machine: &mut Machine) -> nix::Result<()> {
    let has_hardware = machine.nics.iter().any(|nic| nic.bdf.is_some());
    let entries: Vec<_> = getifaddrs()?.collect();
    for entry in &entries {
        let outside = !entry.flags.contains(InterfaceFlags::IFF_LOOPBACK)
            && !entry.flags.contains(InterfaceFlags::IFF_POINTOPOINT);
        let known = machine.nics.iter().any(|nic| nic.name == entry.interface_name);
        if !has_hardware && outside && !known {
            let up = Some(entry.flags.contains(InterfaceFlags::IFF_RUNNING));
            machine.nics.push(Nic { up, ..Nic::new(&entry.interface_name, LinkLayer::Ethernet) });
        }
    }
    for entry in entries {
        let Some(nic) = machine.nics.iter_mut().find(|nic| nic.name == entry.interface_name) else {
            continue;
        };
        let Some(address) = &entry.address else { continue };
        if let Some(link) = address.as_link_addr().and_then(nix::sys::socket::LinkAddr::addr) {
            nic.mac = nic.mac.or(Some(Mac(link)));
        }
        if let Some(ip) = ip(address) {
            let prefix = entry.netmask.as_ref().and_then(self::ip).map_or(0, prefix);
            nic.addresses.push(format!("{ip}/{prefix}"));
        }
    }
    let table = |name: &str| std::fs::read_to_string(format!("/proc/net/{name}")).unwrap_or_default();
    for (interface, gateway) in
        gateways_v4(&table("route")).into_iter().chain(gateways_v6(&table("ipv6_route")))
    {
        if let Some(nic) = machine.nics.iter_mut().find(|nic| nic.name == interface) {
            nic.gateways.push(gateway.to_string());
        }
    }
    machine.nics.sort_by(|a, b| (a.bdf.is_none(), a.bdf, &a.name).cmp(&(b.bdf.is_none(), b.bdf, &b.name)));
    for nic in &mut machine.nics {
        nic.addresses.sort();
        nic.addresses.dedup();
    }
    Ok(())
}

/// Interfaces and gateways of the default routes in /proc/net/route (fib_trie.c): interface, destination, gateway
/// in hexadecimal digits of the machine's own byte order, and more.
fn gateways_v4(table: &str) -> Vec<(String, IpAddr)> {
    let route = |line: &str| {
        let mut words = line.split_whitespace();
        let (interface, to, via) = (words.next()?, words.next()?, words.next()?);
        let via = u32::from_str_radix(via, 16).ok()?.to_ne_bytes();
        (to == "00000000" && via != [0; 4]).then(|| (interface.to_owned(), IpAddr::from(via)))
    };
    first_of_each(table.lines().filter_map(route))
}

/// The same of /proc/net/ipv6_route (net/ipv6/route.c): destination and its length, source and its length, gateway,
/// four numbers, interface. One of a link alone is no gateway of a network.
fn gateways_v6(table: &str) -> Vec<(String, IpAddr)> {
    let route = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (length, via, interface) = (words.get(1)?, words.get(4)?, words.get(9)?);
        let via = std::net::Ipv6Addr::from(u128::from_str_radix(via, 16).ok()?);
        let is_one = *length == "00" && !via.is_unspecified() && !via.is_unicast_link_local();
        is_one.then(|| ((*interface).to_owned(), IpAddr::from(via)))
    };
    first_of_each(table.lines().filter_map(route))
}

fn first_of_each(routes: impl Iterator<Item = (String, IpAddr)>) -> Vec<(String, IpAddr)> {
    let mut first: Vec<(String, IpAddr)> = Vec::new();
    for (interface, gateway) in routes {
        if first.iter().all(|(known, _)| *known != interface) {
            first.push((interface, gateway));
        }
    }
    first
}

/// Those of a link alone lead nowhere else and say nothing of networks.
fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let ip: IpAddr = match address.family()? {
        AddressFamily::Inet => address.as_sockaddr_in()?.ip().into(),
        AddressFamily::Inet6 => address.as_sockaddr_in6()?.ip().into(),
        _ => return None,
    };
    match ip {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => None,
        ip => Some(ip),
    }
}

fn prefix(mask: IpAddr) -> u32 {
    match mask {
        IpAddr::V4(mask) => mask.to_bits().leading_ones(),
        IpAddr::V6(mask) => mask.to_bits().leading_ones(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_are_those_of_default_routes() {
        let v4 = "Iface\tDestination\tGateway\tFlags\n\
            eth0\t00000000\t0100000A\t0003\neth0\t00000000\t0200000A\t0003\n\
            eth0\t0000000A\t00000000\t0001\neth1\t00000000\tnonsense\t0003\n";
        let found = gateways_v4(v4);
        let own = if cfg!(target_endian = "little") { [10, 0, 0, 1] } else { [1, 0, 0, 10] };
        assert_eq!(found, [("eth0".to_owned(), IpAddr::from(own))]);
        let (zero, via) = ("0".repeat(32), "fd000000000000000000000000000001");
        let local = "fe800000000000000000000000000001";
        let v6 = [(local, "eth0"), (via, "eth1"), (zero.as_str(), "lo")]
            .map(|(via, name)| format!("{zero} 00 {zero} 00 {via} 00000400 1 0 00000003 {name}"));
        assert_eq!(gateways_v6(&v6.join("\n")), [("eth1".to_owned(), "fd00::1".parse().unwrap())]);
        assert_eq!(gateways_v6("cut 00"), []);
    }

    #[test]
    fn interfaces_count_without_hardware_where_there_is_no_hardware_at_all() {
        let mut bare = Machine::default();
        add(&mut bare).unwrap();
        assert!(bare.nics.iter().all(|nic| nic.name != "lo"), "{:?}", bare.nics);
        let card = Nic { bdf: Some("01:00.0".parse().unwrap()), ..Nic::new("nope0", LinkLayer::Ethernet) };
        let mut machine = Machine { nics: vec![card.clone()], ..Machine::default() };
        add(&mut machine).unwrap();
        assert_eq!(machine.nics, [card]);
    }
}
