//! What a cluster finds out about its own networks: real switches, real LLDP, real beacons.

use std::collections::BTreeSet;

use phalanx_common::topology::machine::Machine;
use phalanx_common::topology::{Network, PortRef, Snapshot};

use crate::lab::Lab;
use crate::support::wait_for;

/// The coordinator's facts; `None` before it has any.
fn network(lab: &Lab) -> Option<Network> {
    let told = lab.operate(&["topo", "--json"]);
    let text = told.status.success().then(|| told.out())?;
    let snapshot = Snapshot::<Machine>::from_json(text.trim().as_bytes()).expect("a snapshot");
    Some(snapshot.network().clone())
}

/// The switch that a node's port hangs on.
fn switch<'n>(network: &'n Network, node: &str) -> Option<&'n str> {
    let node = network.nodes.iter().find(|it| it.name == node)?;
    let at = node.ports.iter().find(|port| port.name == "fab0")?.at.as_ref()?;
    network.switches.get(at.switch as usize).map(|switch| switch.name.as_str())
}

/// Nodes whose ports of that name share a layer-2 domain with this node's.
fn domain(network: &Network, node: &str, port: &str) -> BTreeSet<String> {
    let name = |at: &PortRef| {
        let node = &network.nodes[at.node as usize];
        (node.name.clone(), node.ports[at.port as usize].name.clone())
    };
    let own = (node.to_owned(), port.to_owned());
    let domain = network.layer2.iter().find(|ports| ports.iter().any(|at| name(at) == own));
    domain.into_iter().flatten().map(|at| name(at).0).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn nodes_find_their_switches_by_lldp_and_who_shares_their_layer_2_by_beacons() {
    let Some(mut lab) = Lab::new(3) else { return };
    if !lab.add_switch("sw1") || !lab.add_switch("sw2") {
        return;
    }
    for (node, switch) in [("node1", "sw1"), ("node2", "sw1"), ("node3", "sw2")] {
        lab.cable(node, switch);
    }
    lab.serve();
    for node in ["node1", "node2", "node3"] {
        lab.join(node);
    }

    let found = wait_for("three nodes at two switches", || {
        let network = network(&lab)?;
        let switches = ["node1", "node2", "node3"].map(|node| switch(&network, node).map(str::to_owned));
        let right = switches == ["sw1", "sw1", "sw2"].map(|name| Some(name.to_owned()));
        let domains = domain(&network, "node1", "fab0") == set(&["node1", "node2"]);
        (right && domains && domain(&network, "node1", "ctl0").len() == 3).then_some(network)
    });
    assert_eq!(domain(&found, "node3", "fab0"), set(&[]), "it is alone behind its switch");
    let row = |name: &str| found.node(name).expect("the node");
    let near = found.distance(row("node1"), row("node2"));
    let far = found.distance(row("node1"), row("node3"));
    assert!(near.worst < far.best, "{near:?} {far:?}");

    // One broadcast domain by now, and two switches all the same.
    lab.trunk("sw1", "sw2");
    let trunked = wait_for("one layer-2 domain", || {
        let network = network(&lab)?;
        (domain(&network, "node1", "fab0") == set(&["node1", "node2", "node3"])).then_some(network)
    });
    assert_eq!((switch(&trunked, "node1"), switch(&trunked, "node3")), (Some("sw1"), Some("sw2")));

    lab.move_cable("node2", "sw1", "sw2");
    wait_for("the moved cable", || (switch(&network(&lab)?, "node2") == Some("sw2")).then_some(()));
    let log = lab.log("coordinator");
    assert!(log.contains("port fab0 of node2 moved from sw1 to sw2"), "{log}");
}
