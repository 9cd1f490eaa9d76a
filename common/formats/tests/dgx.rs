//! The dump of a real rail-optimised fabric: 40 switches, 582 adapters, one leaf missing, two cables swapped.
//! The figures were counted in the dump by other means.

#![allow(clippy::unwrap_used, reason = "in a test that is how it fails")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use phalanx_common::time::Timestamp;
use phalanx_common::topology::{
    Capacity, Claim, End, Evidence, Finding, Guid, LinkLayer, Network, NodePorts, Port, Problem, Severity,
    Source, SwitchId, Tier, TierInterval, derive, findings,
};
use phalanx_formats::ibnetdiscover::{self, Kind};
use support::capture;

const DUMP: &str = "ibnetdiscover/topograph-dgx-ndr-railopt-40sw-582ca.out";
const NOW: Timestamp = Timestamp(1);

fn evidence() -> Option<Vec<Evidence>> {
    let fabric = ibnetdiscover::read(&capture(DUMP)?).unwrap();
    Some(fabric.evidence("dgx.out", Timestamp(0)))
}

fn network() -> Option<Network> {
    Some(derive(&[], &evidence()?, NOW).unwrap())
}

fn found<T>(findings: &[Finding], take: impl Fn(&Problem) -> Option<T>) -> Vec<(String, T)> {
    findings.iter().filter_map(|found| Some((found.subject.clone(), take(&found.problem)?))).collect()
}

#[test]
fn every_switch_adapter_and_cable_is_read_once() {
    let Some(bytes) = capture(DUMP) else { return };
    let fabric = ibnetdiscover::read(&bytes).unwrap();
    let count = |kind| fabric.devices.iter().filter(|device| device.kind == kind).count();
    assert_eq!((count(Kind::Switch), count(Kind::Adapter)), (40, 582));
    // 2228 ends of cables stand in the dump.
    assert_eq!((fabric.links.len(), fabric.one_ended), (1114, 0));
    assert!(fabric.links.iter().all(|link| link.mbps == Some(400_000)));
    assert_eq!((fabric.unrecorded, fabric.strange), (0, 0));
}

#[test]
fn a_dump_that_was_cut_says_so_and_knows_adapters_by_what_their_switches_call_them() {
    let Some(bytes) = capture(DUMP) else { return };
    let fabric = ibnetdiscover::read(&bytes[..30_000]).unwrap();
    let named = fabric.devices.iter().filter(|device| device.kind == Kind::Adapter);
    let named = named.filter(|device| device.description.is_some()).count();
    assert!(fabric.unrecorded > 100 && named > 100, "{} without a record, {named} named", fabric.unrecorded);
    let network = derive(&[], &fabric.evidence("dump", NOW), NOW).unwrap();
    assert!(network.node("b08-p1-dgx-08-c01").is_some(), "{} nodes", network.nodes.len());
    let mut strange = bytes.clone();
    strange.extend_from_slice(b"Shall I compare thee to a summer's day?\n");
    assert_eq!(ibnetdiscover::read(&strange).unwrap().strange, 1);
}

#[test]
fn leaves_are_in_eight_units_with_four_rails_under_one_spine_layer() {
    let Some(network) = network() else { return };
    assert_eq!((network.nodes.len(), network.switches.len(), network.unjoined.len()), (122, 40, 69));
    let plane = &network.planes[network.main.unwrap() as usize];
    assert_eq!((network.planes.len(), plane.rails, &plane.tiers[..]), (1, 4, &[Tier::Leaf, Tier::Block][..]));

    let units: Vec<BTreeSet<&str>> = network
        .groups
        .iter()
        .filter(|group| group.tier == Tier::Leaf)
        .map(|group| group.switches.iter().map(|row| network.switches[*row as usize].name.as_str()).collect())
        .collect();
    assert_eq!(units.len(), 8);
    // Leaves are named IBLEAF-<rail>-<unit>, both from 1.
    for (unit, leaves) in units.iter().enumerate() {
        let ends: BTreeSet<String> =
            leaves.iter().map(|leaf| leaf.rsplit('-').next().unwrap().to_string()).collect();
        assert_eq!(ends.len(), 1, "unit {unit}: {leaves:?}");
        assert_eq!(leaves.len(), if ends.contains("01") { 3 } else { 4 });
    }
    for switch in network.switches.iter().filter(|switch| switch.name.contains("IBLEAF")) {
        let rail: u16 = switch.name.split('-').nth_back(1).unwrap().parse().unwrap();
        assert_eq!((switch.rail, switch.level), (Some(rail - 1), 1), "{}", switch.name);
    }
    let spines = network.switches.iter().filter(|switch| switch.level == 2).count();
    assert_eq!(spines, 9);
    let rails = network.nodes.iter().fold(BTreeMap::new(), |mut counts: BTreeMap<usize, usize>, node| {
        *counts.entry(node.ports.len()).or_default() += 1;
        counts
    });
    assert_eq!(rails, BTreeMap::from([(2, 2), (3, 11), (4, 109)]));
}

#[test]
fn live_uplinks_are_counted_against_what_most_leaves_have() {
    let Some(network) = network() else { return };
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    for uplinks in network.switches.iter().filter_map(|switch| switch.uplinks) {
        assert_eq!(uplinks.expected, 18);
        *counts.entry(uplinks.live).or_default() += 1;
    }
    assert_eq!(counts, BTreeMap::from([(14, 1), (15, 2), (16, 7), (17, 2), (18, 19)]));
    let short = found(&findings(&network), |problem| match problem {
        Problem::LostUplinks { uplinks, thin } => Some((*uplinks, thin.clone())),
        _ => None,
    });
    assert_eq!(short.len(), 12);
    let (_, (uplinks, thin)) = short.iter().find(|(leaf, _)| leaf.ends_with("IBLEAF-01-02")).unwrap();
    assert_eq!(*uplinks, Capacity { live: 14, expected: 18 });
    let lost: Vec<(&str, u32, u32)> =
        thin.iter().map(|thin| (thin.to.as_str(), thin.live, thin.usual)).collect();
    assert_eq!(lost, [("A10-P1-IBSPINE-01", 0, 2), ("A10-P1-IBSPINE-04", 0, 2)]);
    let unit = network.groups.iter().find(|group| group.name.starts_with("A09-P1-IBLEAF-01-02")).unwrap();
    assert_eq!(unit.uplinks, Some(Capacity { live: 66, expected: 72 }));
}

#[test]
fn the_missing_leaf_the_swapped_cables_and_the_strangers_are_found_and_nothing_else() {
    let Some(network) = network() else { return };
    let findings = findings(&network);
    let missing = found(&findings, |problem| match problem {
        Problem::MissingLeaf { rail, nodes, units_with, units, .. } => {
            Some((*rail, *nodes, *units_with, *units))
        }
        _ => None,
    });
    assert_eq!(missing, [("A09-P1-IBLEAF-01-01+2".to_string(), (2, 11, 7, 8))]);

    let swapped: Vec<String> = findings
        .iter()
        .filter(|found| matches!(found.problem, Problem::SwappedRails { .. } | Problem::WrongRail { .. }))
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        swapped,
        ["b08-p1-dgx-08-c01: rails 2 and 3 are swapped: HCA-5 (rail 2) is on B09-P1-IBLEAF-04-08 (rail 3), \
          HCA-6 (rail 3) is on B09-P1-IBLEAF-03-08 (rail 2)"]
    );

    let strangers = found(&findings, |problem| match problem {
        Problem::Unjoined { adapters } => Some(adapters.len()),
        _ => None,
    });
    let counts: Vec<usize> = strangers.iter().map(|(_, count)| *count).collect();
    assert_eq!((counts.iter().sum::<usize>(), counts), (69, vec![21, 20, 12, 4, 12]));

    let unlike = found(&findings, |problem| matches!(problem, Problem::Unlike { .. }).then_some(()));
    assert_eq!(
        unlike.iter().map(|(node, ())| node.as_str()).collect::<Vec<_>>(),
        ["B11-P1-CUFM-02", "ubuntu"]
    );
    let warnings = findings.iter().filter(|found| found.severity == Severity::Warning).count();
    assert_eq!((warnings, findings.len()), (14, 14 + 5 + 2 + 2));
}

#[test]
fn distances_follow_units_and_a_node_nobody_saw_is_anywhere() {
    let Some(mut evidence) = evidence() else { return };
    evidence.push(Evidence::new(
        Claim::Nvlink { node: "new".to_string(), domain: "d".to_string() },
        Source::Operator,
        "site.yaml",
        NOW,
    ));
    let network = derive(&[], &evidence, NOW).unwrap();
    let row = |name| network.node(name).unwrap();
    let between = |a, b| network.distance(row(a), row(b));
    assert_eq!(between("a05-p1-dgx-01-c01", "a05-p1-dgx-01-c18"), TierInterval::exactly(Tier::Leaf));
    assert_eq!(between("a05-p1-dgx-01-c01", "b08-p1-dgx-08-c01"), TierInterval::exactly(Tier::Block));
    assert_eq!(between("a05-p1-dgx-01-c01", "a05-p1-dgx-01-c01"), TierInterval::exactly(Tier::Node));
    let unknown = TierInterval { best: Tier::Leaf, worst: Tier::Site };
    assert_eq!(between("a05-p1-dgx-01-c01", "new"), unknown);
}

#[test]
fn adapters_without_a_name_are_joined_by_the_guids_that_nodes_tell_and_operators_state() {
    let Some(mut evidence) = evidence() else { return };
    let network = derive(&[], &evidence, NOW).unwrap();
    let of_unit = |unit: &str| -> Vec<(Guid, String)> {
        network
            .unjoined
            .iter()
            .filter(|it| network.switches[it.switch as usize].name.ends_with(unit))
            .map(|it| (it.guid.unwrap(), network.switches[it.switch as usize].name.clone()))
            .collect()
    };
    // One node of unit 7 has the four adapters without a name there.
    let adapters = of_unit("-07");
    assert_eq!(adapters.len(), 4);
    let port = |(order, (guid, _)): (u16, &(Guid, String))| Port {
        name: format!("mlx5_{order}/1"),
        order,
        layer: LinkLayer::InfiniBand,
        mac: None,
        guid: Some(*guid),
        node_guid: None,
        speed_mbps: Some(400_000),
        up: true,
        bond: None,
    };
    let joined = NodePorts { node: "quiet".to_string(), ports: (0..).zip(&adapters).map(port).collect() };
    let (guid, leaf) = of_unit("-06")[0].clone();
    let (node, port) = ("stated".to_string(), "mlx5_0".to_string());
    evidence.push(Evidence::new(Claim::Owner { guid, node, port }, Source::Operator, "site.yaml", NOW));

    let network = derive(&[joined], &evidence, NOW).unwrap();
    assert_eq!(network.unjoined.len(), 69 - 5);
    let quiet = &network.nodes[network.node("quiet").unwrap() as usize];
    let on: Vec<String> = quiet
        .ports
        .iter()
        .map(|port| network.switches[port.at.as_ref().unwrap().switch as usize].name.clone())
        .collect();
    assert_eq!(on, adapters.into_iter().map(|(_, leaf)| leaf).collect::<Vec<_>>());
    let stated = &network.nodes[network.node("stated").unwrap() as usize];
    assert_eq!(network.switches[stated.ports[0].at.as_ref().unwrap().switch as usize].name, leaf);
}

#[test]
fn an_operator_a_dump_and_lldp_that_disagree_are_all_shown_with_the_decision() {
    let Some(mut evidence) = evidence() else { return };
    let end = End::of_port("a05-p1-dgx-01-c01", "HCA-1");
    let say = |on: &str, source, origin: &str| {
        let switch = SwitchId::named(on);
        let claim = Claim::Attached { end: end.clone(), switch, switch_port: None, speed_mbps: None };
        Evidence::new(claim, source, origin, NOW)
    };
    evidence.push(say("A09-P1-IBLEAF-01-02", Source::Operator, "site.yaml"));
    evidence.push(say("tor-17", Source::Lldp, "worker c01"));
    let network = derive(&[], &evidence, NOW).unwrap();
    let told: Vec<String> = findings(&network)
        .iter()
        .filter(|found| matches!(found.problem, Problem::Conflict { .. }))
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        told,
        ["a05-p1-dgx-01-c01 HCA-1: sources disagree about the switch it is attached to: \
          the operator (site.yaml) says A09-P1-IBLEAF-01-02, InfiniBand (dgx.out) says A09-P1-IBLEAF-01-01, \
          LLDP (worker c01) says tor-17; the first counts, for its source ranks higher"]
    );
    let node = &network.nodes[network.node("a05-p1-dgx-01-c01").unwrap() as usize];
    let at = node.ports[0].at.as_ref().unwrap();
    assert_eq!(network.switches[at.switch as usize].name, "A09-P1-IBLEAF-01-02");
}

/// What the hosts of these units would tell of themselves: their adapters numbered without gaps.
fn told(network: &Network, evidence: &[Evidence], units: &[&str]) -> Vec<NodePorts> {
    let mut ports: BTreeMap<&str, Vec<Port>> = BTreeMap::new();
    for it in evidence {
        let Claim::Attached { end, .. } = &it.claim else { continue };
        let (Some(node), Some(index)) = (end.node.as_deref(), end.index) else { continue };
        let row = network.node(node).unwrap();
        let unit = network.group_of(row, 0, Tier::Leaf).unwrap();
        if !units.iter().any(|name| network.groups[unit as usize].name.contains(name)) {
            continue;
        }
        let order = [0, 1, 4, 5].iter().position(|known| *known == index).unwrap();
        ports.entry(node).or_default().push(Port {
            name: format!("mlx5_{index}/1"),
            order: u16::try_from(order).unwrap(),
            layer: LinkLayer::InfiniBand,
            mac: None,
            guid: end.guid,
            node_guid: end.node_guid,
            speed_mbps: Some(400_000),
            up: true,
            bond: None,
        });
    }
    ports.into_iter().map(|(node, ports)| NodePorts { node: node.to_string(), ports }).collect()
}

#[test]
fn rails_are_the_same_whether_nodes_number_their_adapters_or_the_fabric_does() {
    let Some(evidence) = evidence() else { return };
    let silent = derive(&[], &evidence, NOW).unwrap();
    let rails = |network: &Network| -> Vec<(String, Option<u16>)> {
        network.switches.iter().map(|switch| (switch.name.clone(), switch.rail)).collect()
    };
    let swapped = |network: &Network| -> Vec<Vec<(u16, u16)>> {
        let off = |problem: &Problem| match problem {
            Problem::SwappedRails { ports } => Some(ports.iter().map(|port| (port.rail, port.on)).collect()),
            Problem::WrongRail { port } => Some(vec![(port.rail, port.on)]),
            _ => None,
        };
        findings(network).iter().filter_map(|found| off(&found.problem)).collect()
    };
    for units in [&["-02"][..], &["-01-08"], &["-01-01", "-01-03"], &["IBLEAF"]] {
        let nodes = told(&silent, &evidence, units);
        assert!(!nodes.is_empty());
        let network = derive(&nodes, &evidence, NOW).unwrap();
        assert_eq!(network.nodes.len(), 122, "{units:?}: joined by GUID, not by name");
        assert_eq!(rails(&network), rails(&silent), "{units:?}");
        assert_eq!(swapped(&network), [[(2, 3), (3, 2)]], "{units:?}");
    }
    // A unit whose adapters have no names in the dump: only its nodes number them.
    let nodes = told(&silent, &evidence, &["-01-02"]);
    let mut nameless = evidence.clone();
    for it in &mut nameless {
        if let Claim::Attached { end, switch, .. } = &mut it.claim
            && switch.name.as_ref().is_some_and(|name| name.ends_with("-02"))
        {
            (end.node, end.port, end.index) = (None, None, None);
        }
    }
    let network = derive(&nodes, &nameless, NOW).unwrap();
    assert_eq!(rails(&network), rails(&silent));
    assert_eq!(swapped(&network), [[(2, 3), (3, 2)]]);
}
