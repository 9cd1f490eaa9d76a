//! What holds for any evidence.

use std::collections::BTreeMap;

use phalanx_common::time::Timestamp;
use phalanx_common::topology::{
    Claim, End, Evidence, Guid, LinkLayer, Mac, Member, NodePorts, Port, Snapshot, Source, SwitchId, Tier,
    derive, findings,
};
use proptest::prelude::*;

use crate::NOW;

/// Claims of a few nodes and switches that agree and disagree.
fn any_evidence() -> impl Strategy<Value = Evidence> {
    let source = prop::sample::select(vec![
        Source::Operator,
        Source::InfiniBand,
        Source::Lldp,
        Source::Slurm,
        Source::Csv,
    ]);
    let node = || (0..6u8).prop_map(|n| format!("n{n}"));
    let switch = || {
        (0..5u8, 0..4u8).prop_map(|(n, kind)| SwitchId {
            guid: (kind == 0).then(|| Guid(u64::from(n))),
            chassis: (kind == 1).then(|| format!("mac {n}")),
            address: (kind == 2).then(|| format!("10.0.0.{}", n / 2)),
            name: (kind != 1).then(|| format!("s{n}")),
        })
    };
    let end = || {
        (node(), 0..3u16, prop::option::of(0..8u64)).prop_map(|(node, port, guid)| End {
            guid: guid.map(Guid),
            index: Some(port),
            ..End::of_port(&node, &format!("p{port}"))
        })
    };
    let claim = prop_oneof![
        4 => (end(), switch()).prop_map(|(end, switch)| Claim::Attached { end, switch, switch_port: None, speed_mbps: None }),
        1 => (node(), switch()).prop_map(|(node, switch)| Claim::Attached { end: End::of_node(&node), switch, switch_port: None, speed_mbps: None }),
        3 => (switch(), switch(), 1..4u32).prop_map(|(a, b, links)| Claim::Linked { a, b, links, rate_mbps: None }),
        2 => (switch(), switch()).prop_map(|(lower, upper)| Claim::Under { lower, upper }),
        1 => (node(), 0..2u8).prop_map(|(node, n)| Claim::Nvlink { node, domain: format!("d{n}") }),
        1 => (node(), 0..3u8).prop_map(|(node, n)| Claim::Member { member: Member::Node(node), tier: Tier::Block, group: format!("s{n}") }),
        2 => (switch(), prop::sample::select(Tier::OF_SWITCHES.to_vec()), 0..2u8).prop_map(|(s, tier, n)| Claim::Member { member: Member::Switch(s), tier, group: format!("g{n}") }),
        1 => (switch(), 0..2u8).prop_map(|(switch, n)| Claim::Plane { switch, plane: format!("plane{n}") }),
        1 => (node(), 0..2u8).prop_map(|(node, n)| Claim::NvlinkCluster { node, cluster: format!("d{n}") }),
        1 => (switch(), 0..3u32).prop_map(|(switch, links)| Claim::ExpectedUplinks { switch, links }),
        2 => (end(), end()).prop_map(|(listener, speaker)| Claim::Heard { listener, speaker }),
        1 => (end(), 0..3u16).prop_map(|(end, rail)| Claim::Rail { end, rail }),
        1 => node().prop_map(|node| Claim::Node { node }),
        1 => (0..8u64, node(), 0..3u8).prop_map(|(guid, node, port)| Claim::Owner { guid: Guid(guid), node, port: format!("p{port}") }),
    ];
    (claim, source, 0..3u64).prop_map(|(claim, source, at)| Evidence::new(claim, source, "x", Timestamp(at)))
}

/// Joined nodes, some of which tell the same GUID, the same address, or a port twice.
fn any_nodes() -> impl Strategy<Value = Vec<NodePorts>> {
    let port = (0..3u8, 0..3u16, prop::option::of(0..8u64), prop::option::of(0..3u8), any::<bool>())
        .prop_map(|(name, order, guid, mac, bonded)| Port {
            name: format!("p{name}"),
            order,
            layer: if guid.is_some() { LinkLayer::InfiniBand } else { LinkLayer::Ethernet },
            mac: mac.map(|last| Mac([2, 0, 0, 0, 0, last])),
            guid: guid.map(Guid),
            node_guid: guid.map(|guid| Guid(guid / 2)),
            speed_mbps: Some(100_000),
            up: order != 2,
            bond: bonded.then(|| "bond0".to_string()),
        });
    let names = prop::sample::subsequence(vec!["n0", "n1", "n2", "n3"], 0..=4);
    (names, prop::collection::vec(prop::collection::vec(port, 0..4), 4)).prop_map(|(names, ports)| {
        let node = |(name, ports): (&str, Vec<Port>)| NodePorts { node: name.to_string(), ports };
        names.into_iter().zip(ports).map(node).collect()
    })
}

/// The nodes in another order, each with its ports in another order.
fn shuffled(nodes: Vec<NodePorts>) -> impl Strategy<Value = Vec<NodePorts>> {
    let node = |node: NodePorts| {
        let name = node.node;
        Just(node.ports).prop_shuffle().prop_map(move |ports| NodePorts { node: name.clone(), ports })
    };
    nodes.into_iter().map(node).collect::<Vec<_>>().prop_shuffle()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn facts_do_not_depend_on_the_order_of_nodes_and_evidence_and_hold_together(
        (evidence, other_evidence) in prop::collection::vec(any_evidence(), 0..40)
            .prop_flat_map(|evidence| (Just(evidence.clone()), Just(evidence).prop_shuffle())),
        (nodes, other_nodes) in any_nodes().prop_flat_map(|nodes| (Just(nodes.clone()), shuffled(nodes))),
    ) {
        let network = derive(&nodes, &evidence, NOW).unwrap();
        prop_assert_eq!(&network, &derive(&other_nodes, &other_evidence, NOW).unwrap());
        // What is written is read again: every row is there, every way up ends.
        let snapshot: Snapshot<()> = Snapshot::new(network.clone(), &BTreeMap::new()).unwrap();
        let again: Snapshot<()> = Snapshot::from_json(&snapshot.to_json()).unwrap();
        prop_assert_eq!(again.network(), &network);
        let rows = u32::try_from(network.nodes.len()).unwrap();
        for a in 0..rows {
            for b in 0..rows {
                let distance = network.distance(a, b);
                prop_assert!(distance.best <= distance.worst);
                prop_assert_eq!(distance, network.distance(b, a));
                prop_assert_eq!(a == b, distance.worst == Tier::Node);
            }
        }
        for found in findings(&network) {
            prop_assert!(!found.to_string().is_empty() && !found.advice().is_empty());
        }
        let less = derive(&nodes[..nodes.len() / 2], &evidence[..evidence.len() / 2], NOW).unwrap();
        let less: Snapshot<()> = Snapshot::new(less, &BTreeMap::new()).unwrap();
        prop_assert!(snapshot.diff(&snapshot).is_empty());
        prop_assert!(snapshot.diff(&less).iter().chain(&less.diff(&snapshot)).all(|it| !it.to_string().is_empty()));
    }
}
