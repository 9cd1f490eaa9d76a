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
    machine.nics.sort_by(|a, b| (a.bdf.is_none(), a.bdf, &a.name).cmp(&(b.bdf.is_none(), b.bdf, &b.name)));
    for nic in &mut machine.nics {
        nic.addresses.sort();
        nic.addresses.dedup();
    }
    Ok(())
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
