//! Where the ranks of a gang meet: an address of the first node on a network that all its nodes share,
//! and each node's own interface there.

use std::net::IpAddr;

use phalanx_common::report::Network;

use crate::nodes::NodeFacts;

/// How the nodes of a gang reach each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meeting {
    pub(crate) master_addr: IpAddr,
    /// Of each node, in the order they were given.
    pub(crate) interfaces: Vec<Option<String>>,
}

/// Chooses among the first node's addresses, its own `address` first: the first whose network holds an
/// address of every other node. Without one (a routed network) each node's own `address` has to do.
pub(crate) fn meet(nodes: &[&NodeFacts]) -> Option<Meeting> {
    let (first, others) = nodes.split_first()?;
    let fallback = || Meeting {
        master_addr: first.address,
        interfaces: nodes.iter().map(|facts| facts.interface.clone()).collect(),
    };
    if others.is_empty() {
        return Some(fallback());
    }
    let shared = candidates(first, one_host(nodes)).find_map(|network| {
        let interface = |facts: &&NodeFacts| on(facts, network).map(|own| own.interface.clone());
        let interfaces: Vec<Option<String>> = others.iter().map(interface).collect();
        interfaces.iter().all(Option::is_some).then(|| Meeting {
            master_addr: network.address,
            interfaces: [vec![Some(network.interface.clone())], interfaces].concat(),
        })
    });
    Some(shared.unwrap_or_else(fallback))
}

/// The address under which `from` reaches `to`: one on a network that both are in, if there is one.
pub(crate) fn address_of(to: &NodeFacts, from: &NodeFacts) -> IpAddr {
    let same_host = one_host(&[to, from]);
    let shared = candidates(to, same_host).find(|network| on(from, network).is_some());
    shared.map_or(to.address, |network| network.address)
}

/// Loopback is in everybody's list and connects nobody, unless all workers are on the coordinator's host.
fn one_host(nodes: &[&NodeFacts]) -> bool {
    nodes.iter().all(|facts| facts.address.is_loopback())
}

fn candidates(facts: &NodeFacts, loopback: bool) -> impl Iterator<Item = &Network> {
    let own = facts.networks.iter().filter(|network| network.address == facts.address);
    let rest = facts.networks.iter().filter(|network| network.address != facts.address);
    own.chain(rest).filter(move |network| loopback || !network.address.is_loopback())
}

fn on<'a>(facts: &'a NodeFacts, network: &Network) -> Option<&'a Network> {
    let mut own = candidates(facts, network.address.is_loopback());
    own.find(|own| network.contains(own.address))
}

#[cfg(test)]
mod tests {
    use phalanx_common::id::Incarnation;

    use super::*;

    fn node(address: &str, networks: &[(&str, u8, &str)]) -> NodeFacts {
        NodeFacts {
            incarnation: Incarnation(1),
            host_name: "h".into(),
            cores: 1,
            slots: 1,
            user: None,
            version: "1".into(),
            ports: (1, 2),
            address: address.parse().unwrap(),
            interface: Some("own".into()),
            networks: networks
                .iter()
                .map(|(address, prefix, interface)| Network {
                    address: address.parse().unwrap(),
                    prefix: *prefix,
                    interface: (*interface).to_owned(),
                })
                .collect(),
        }
    }

    fn meeting(nodes: &[&NodeFacts]) -> (String, Vec<String>) {
        let met = meet(nodes).unwrap();
        (met.master_addr.to_string(), met.interfaces.into_iter().flatten().collect())
    }

    const LO: (&str, u8, &str) = ("127.0.0.1", 8, "lo");

    #[test]
    fn ranks_meet_on_the_first_network_that_all_nodes_share() {
        let a = node("10.0.0.1", &[LO, ("192.168.1.1", 24, "mgmt"), ("10.0.0.1", 24, "ib0")]);
        let b = node("10.0.0.2", &[LO, ("10.0.0.2", 24, "ib1"), ("192.168.1.2", 24, "eth0")]);
        assert_eq!(meeting(&[&a, &b]), ("10.0.0.1".into(), vec!["ib0".into(), "ib1".into()]));
        // The third is not on that one.
        let c = node("192.168.1.3", &[LO, ("192.168.1.3", 24, "eth7")]);
        assert_eq!(
            meeting(&[&a, &b, &c]),
            ("192.168.1.1".into(), vec!["mgmt".into(), "eth0".into(), "eth7".into()])
        );
        assert_eq!(address_of(&b, &a).to_string(), "10.0.0.2");
        assert_eq!(address_of(&b, &c).to_string(), "192.168.1.2");
    }

    #[test]
    fn a_routed_network_leaves_each_node_its_own_address_and_loopback_is_no_shared_network() {
        let a = node("10.1.0.1", &[LO, ("10.1.0.1", 24, "e")]);
        let b = node("10.2.0.1", &[LO, ("10.2.0.1", 24, "e")]);
        assert_eq!(meeting(&[&a, &b]), ("10.1.0.1".into(), vec!["own".into(), "own".into()]));
        let here = node("127.0.0.1", &[LO]);
        assert_eq!(meeting(&[&here, &here]), ("127.0.0.1".into(), vec!["lo".into(), "lo".into()]));
        assert_eq!(meet(&[]), None);
    }

    #[test]
    fn ipv6_networks_are_shared_like_others() {
        let a = node("fd00::1", &[("fd00::1", 64, "x0")]);
        let b = node("10.0.0.2", &[("10.0.0.2", 24, "e"), ("fd00::2", 64, "x1")]);
        assert_eq!(meeting(&[&a, &b]), ("fd00::1".into(), vec!["x0".into(), "x1".into()]));
    }
}
