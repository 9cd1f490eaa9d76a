//! Facts from evidence: clusters made for one question each.

#![allow(clippy::unwrap_used, reason = "in a test that is how it fails")]

mod names;
mod places;
mod properties;
mod rails;
mod snapshot;
mod sources;
mod splits;
mod stated;

use phalanx_common::time::Timestamp;
use phalanx_common::topology::{
    Claim, End, Evidence, Guid, LinkLayer, Network, NodePorts, Port, Source, SwitchId, TierInterval,
};

const NOW: Timestamp = Timestamp(10_000_000);

fn say(claim: Claim, source: Source) -> Evidence {
    Evidence::new(claim, source, "test", Timestamp(0))
}

fn attached(node: &str, port: &str, switch: &str, source: Source) -> Evidence {
    let claim = Claim::Attached {
        end: End::of_port(node, port),
        switch: SwitchId { chassis: Some(format!("local {switch}")), ..SwitchId::named(switch) },
        switch_port: None,
        speed_mbps: None,
    };
    say(claim, source)
}

fn linked(a: &str, b: &str, links: u32) -> Evidence {
    let (a, b) = (SwitchId::named(a), SwitchId::named(b));
    say(Claim::Linked { a, b, links, rate_mbps: None }, Source::NetQ)
}

/// What a dump says of an adapter.
fn dumped(guid: u64, node: &str, port: &str, switch: u64) -> Evidence {
    let claim = Claim::Attached {
        end: End { guid: Some(Guid(guid)), ..End::of_port(node, port) },
        switch: SwitchId::with_guid(Guid(switch), Some(&format!("leaf-{switch}"))),
        switch_port: Some(guid.to_string()),
        speed_mbps: None,
    };
    say(claim, Source::InfiniBand)
}

fn told(node: &str, ports: &[(&str, u32, Option<&str>)]) -> NodePorts {
    let port = |(order, (name, speed, bond)): (u16, &(&str, u32, Option<&str>))| Port {
        name: name.to_string(),
        order,
        layer: LinkLayer::Ethernet,
        mac: None,
        guid: None,
        node_guid: None,
        speed_mbps: Some(*speed),
        up: true,
        bond: bond.map(str::to_string),
    };
    NodePorts { node: node.to_string(), ports: (0..).zip(ports).map(port).collect() }
}

fn between(network: &Network, a: &str, b: &str) -> TierInterval {
    network.distance(network.node(a).unwrap(), network.node(b).unwrap())
}
