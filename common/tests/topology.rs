//! Facts from evidence: clusters made for one question each.

#![allow(clippy::unwrap_used, reason = "in a test that is how it fails")]

use std::collections::BTreeMap;
use std::time::Duration;

use phalanx_common::time::Timestamp;
use phalanx_common::topology::{
    Change, Claim, End, Evidence, Guid, LinkLayer, Mac, Member, Network, NodePorts, PlaneKind, Port, Problem,
    Reason, Snapshot, SnapshotError, Source, SwitchId, Tier, TierInterval, derive, findings,
};
use proptest::prelude::*;

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

fn heard(listener: &str, speaker: &str) -> Evidence {
    let (listener, speaker) = (End::of_port(listener, "eth0"), End::of_port(speaker, "eth0"));
    say(Claim::Heard { listener, speaker }, Source::Beacon)
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

#[test]
fn a_stated_link_above_the_leaves_leaves_the_cables_what_they_are() {
    let mut evidence = Vec::new();
    for (node, leaf) in [("n1", "l1"), ("n2", "l2"), ("n3", "l3")] {
        evidence.push(attached(node, "eth0", leaf, Source::Lldp));
        evidence.extend([linked(leaf, "s1", 2), linked(leaf, "s2", 2)]);
    }
    evidence.extend([linked("s1", "core", 1), linked("s2", "core", 1)]);
    let cables = derive(&[], &evidence, NOW).unwrap();
    let under = Claim::Under { lower: SwitchId::named("s1"), upper: SwitchId::named("core") };
    evidence.push(say(under, Source::Operator));
    let stated = derive(&[], &evidence, NOW).unwrap();
    let told = |network: &Network| {
        let of =
            |switch: &phalanx_common::topology::Switch| (switch.name.clone(), switch.level, switch.uplinks);
        network.switches.iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(told(&stated), told(&cables));
    assert!(told(&stated).iter().any(|(name, level, _)| name == "s1" && *level == 2));
}

#[test]
fn a_node_that_nobody_saw_on_a_leaf_is_not_known_to_be_on_another() {
    let member = |node: &str, tier, group: &str| {
        say(Claim::Member { member: Member::Node(node.into()), tier, group: group.into() }, Source::Operator)
    };
    let mut evidence = vec![member("n1", Tier::Leaf, "l1"), member("n2", Tier::Leaf, "l2")];
    for (node, block) in [("n1", "b"), ("n2", "b"), ("x", "b"), ("y", "c")] {
        evidence.push(member(node, Tier::Block, block));
    }
    let network = derive(&[], &evidence, NOW).unwrap();
    assert_eq!(between(&network, "x", "n1"), TierInterval { best: Tier::Leaf, worst: Tier::Block });
}

#[test]
fn a_bond_to_two_leaves_is_one_unit_without_rails() {
    let mut evidence = Vec::new();
    let mut nodes = Vec::new();
    for node in ["n1", "n2", "n3", "n4"] {
        let pair = if node < "n3" { "1" } else { "2" };
        nodes.push(told(node, &[("eth0", 100_000, Some("bond0")), ("eth1", 100_000, Some("bond0"))]));
        for (port, side) in [("eth0", "a"), ("eth1", "b")] {
            evidence.push(attached(node, port, &format!("leaf-{pair}{side}"), Source::Lldp));
        }
    }
    for leaf in ["leaf-1a", "leaf-1b", "leaf-2a", "leaf-2b"] {
        evidence.push(linked(leaf, "spine", 2));
    }
    let network = derive(&nodes, &evidence, NOW).unwrap();
    let plane = &network.planes[network.main.unwrap() as usize];
    assert_eq!(
        (plane.rails, plane.kind, &plane.tiers[..]),
        (0, PlaneKind::Ethernet, &[Tier::Leaf, Tier::Block][..])
    );
    assert_eq!(network.groups.iter().filter(|group| group.tier == Tier::Leaf).count(), 2);
    assert_eq!(between(&network, "n1", "n2"), TierInterval::exactly(Tier::Leaf));
    assert_eq!(between(&network, "n1", "n3"), TierInterval::exactly(Tier::Block));
    assert_eq!(findings(&network), []);

    // The same cables without the bond are two rails.
    let apart: Vec<NodePorts> =
        nodes.iter().map(|it| told(&it.node, &[("eth0", 100_000, None), ("eth1", 100_000, None)])).collect();
    let network = derive(&apart, &evidence, NOW).unwrap();
    assert_eq!(network.planes[network.main.unwrap() as usize].rails, 2);
    let rail = |name: &str| network.switches.iter().find(|switch| switch.name == name).unwrap().rail;
    assert_eq!((rail("leaf-1a"), rail("leaf-2b")), (Some(0), Some(1)));
}

#[test]
fn rails_whose_leaves_are_pairs_under_bonds_are_rails() {
    let ports = [
        ("eth0", "bond0", "r0a"),
        ("eth1", "bond0", "r0b"),
        ("eth2", "bond1", "r1a"),
        ("eth3", "bond1", "r1b"),
    ];
    let mut evidence = Vec::new();
    let mut nodes = Vec::new();
    for (unit, node) in [("1", "n1"), ("1", "n2"), ("1", "n3"), ("2", "n4"), ("2", "n5"), ("2", "n6")] {
        nodes.push(told(node, &ports.map(|(port, bond, _)| (port, 200_000, Some(bond)))));
        for (port, _, leaf) in ports {
            // n3 has a cable of each bond in the other's place.
            let leaf = match (node, leaf) {
                ("n3", "r0b") => "r1b",
                ("n3", "r1b") => "r0b",
                (_, leaf) => leaf,
            };
            evidence.push(attached(node, port, &format!("{leaf}-{unit}"), Source::Lldp));
        }
    }
    for leaf in ["r0a", "r0b", "r1a", "r1b"] {
        evidence.extend(["1", "2"].map(|unit| linked(&format!("{leaf}-{unit}"), "spine", 2)));
    }
    let network = derive(&nodes, &evidence, NOW).unwrap();
    assert_eq!(network.planes[network.main.unwrap() as usize].rails, 2);
    let rails: Vec<(&str, Option<u16>)> =
        network.switches.iter().map(|switch| (switch.name.as_str(), switch.rail)).collect();
    let of = |leaf: &'static str| rails.iter().find(|(name, _)| *name == leaf).unwrap().1;
    assert_eq!(["r0a-1", "r0b-1", "r1a-1", "r1b-1", "r0a-2", "r1b-2"].map(of), [0, 0, 1, 1, 0, 1].map(Some));
    assert_eq!(
        network.nodes[0].ports.iter().map(|port| port.rail).collect::<Vec<_>>(),
        [0, 0, 1, 1].map(Some)
    );
    let told: Vec<String> = findings(&network).iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "n3: rails 0 and 1 are swapped: eth1 (rail 0) is on r1b-1 (rail 1), eth3 (rail 1) is on r0b-1 (rail 0)"
        ]
    );
}

#[test]
fn a_cable_on_the_wrong_rail_is_told_and_rails_can_be_stated() {
    let mut evidence = Vec::new();
    let mut nodes = Vec::new();
    for node in 1..=4 {
        let name = format!("n{node}");
        nodes.push(told(&name, &[("eth0", 400_000, None), ("eth1", 400_000, None), ("eth2", 400_000, None)]));
        for (port, leaf) in [("eth0", "r0"), ("eth1", "r1"), ("eth2", "r2")] {
            let leaf = if node == 4 && port == "eth2" { "r1" } else { leaf };
            evidence.push(attached(&name, port, leaf, Source::Lldp));
        }
    }
    let network = derive(&nodes, &evidence, NOW).unwrap();
    let wrong: Vec<String> = findings(&network).iter().map(ToString::to_string).collect();
    assert_eq!(wrong, ["n4: a cable is on the wrong rail: eth2 (rail 2) is on r1 (rail 1)"]);

    let rail = |rail| say(Claim::Rail { end: End::of_port("n4", "eth2"), rail }, Source::Operator);
    let stated = derive(&nodes, &[evidence.clone(), vec![rail(2)]].concat(), NOW).unwrap();
    let still: Vec<String> = findings(&stated).iter().map(ToString::to_string).collect();
    assert_eq!(still, wrong, "what is said of one port makes no leaf of it");
    evidence.push(rail(1));
    let network = derive(&nodes, &evidence, NOW).unwrap();
    assert!(!findings(&network).iter().any(|found| matches!(found.problem, Problem::WrongRail { .. })));
}

#[test]
fn only_mutual_hearing_is_a_layer_2_domain_and_never_a_leaf() {
    let nodes: Vec<NodePorts> =
        ["a", "b", "c", "d"].map(|node| told(node, &[("eth0", 1_000, None)])).to_vec();
    let mut evidence =
        vec![heard("a", "b"), heard("b", "a"), heard("b", "c"), heard("c", "b"), heard("d", "a")];
    evidence.push(attached("a", "eth0", "tor-1", Source::Lldp));
    evidence.push(attached("c", "eth0", "tor-2", Source::Lldp));
    let network = derive(&nodes, &evidence, NOW).unwrap();
    let domains: Vec<Vec<&str>> = network
        .layer2
        .iter()
        .map(|ports| ports.iter().map(|at| network.nodes[at.node as usize].name.as_str()).collect())
        .collect();
    assert_eq!(domains, [["a", "b", "c"]]);
    let told: Vec<String> = findings(&network).iter().map(ToString::to_string).collect();
    assert_eq!(told, ["d eth0 hears a eth0, and is not heard by it"]);
    // a and c hear each other's domain and hang on two leaves of which nothing is known above.
    assert_eq!(between(&network, "a", "c"), TierInterval { best: Tier::Block, worst: Tier::Site });
    assert_eq!(between(&network, "a", "b"), TierInterval { best: Tier::Leaf, worst: Tier::Site });
    assert_eq!(network.planes[0].name, "management");
}

#[test]
fn expired_evidence_counts_no_more() {
    let mut gone = attached("n1", "eth0", "old", Source::Lldp);
    gone.expires = Some(NOW);
    let mut alive = attached("n1", "eth0", "new", Source::Csv);
    alive.expires = Some(NOW + Duration::from_micros(1));
    let network = derive(&[], &[gone.clone(), alive], NOW).unwrap();
    let at = network.nodes[0].ports[0].at.as_ref().unwrap();
    assert_eq!((network.switches.len(), network.switches[at.switch as usize].name.as_str()), (1, "new"));
    assert_eq!(derive(&[], &[gone], NOW).unwrap().nodes.len(), 0);
}

#[test]
fn of_sources_of_one_rank_the_surer_and_then_the_newer_counts() {
    let claims = |second: &dyn Fn(&mut Evidence)| {
        let first = attached("n1", "eth0", "a", Source::Slurm);
        let mut other = attached("n1", "eth0", "b", Source::Csv);
        second(&mut other);
        let network = derive(&[], &[first, other], NOW).unwrap();
        let at = network.nodes[0].ports[0].at.as_ref().unwrap();
        (network.switches[at.switch as usize].name.clone(), network.conflicts[0].reason)
    };
    assert_eq!(claims(&|other| other.confidence = 90), ("b".to_string(), Reason::Confidence));
    assert_eq!(claims(&|other| other.observed_at = Timestamp(1)), ("b".to_string(), Reason::Newest));
    assert_eq!(claims(&|_| ()), ("a".to_string(), Reason::Order));
    assert_eq!(claims(&|other| other.source = Source::Operator), ("b".to_string(), Reason::Rank));
}

#[test]
fn two_neighbours_that_are_both_alive_on_a_port_do_not_take_turns() {
    // Each says it again every 30 s, and lapses after 120 s.
    let second = |seconds: u64| Timestamp(seconds * 1_000_000);
    let heard = |switch: &str, at: u64| {
        let mut evidence = attached("n1", "eth0", switch, Source::Lldp);
        (evidence.observed_at, evidence.expires) = (second(at), Some(second(at + 120)));
        evidence
    };
    let look = |evidence: &[Evidence], now: u64| {
        let network = derive(&[], evidence, second(now)).unwrap();
        let at = network.nodes[0].ports[0].at.as_ref().unwrap();
        (network.switches[at.switch as usize].name.clone(), network.conflicts)
    };
    let (name, conflicts) = look(&[heard("sw-a", 1_000), heard("sw-b", 1_010)], 1_011);
    assert_eq!((name.as_str(), conflicts.len(), conflicts[0].reason), ("sw-a", 1, Reason::Order));
    let again = look(&[heard("sw-a", 1_030), heard("sw-b", 1_010)], 1_031);
    assert_eq!(again, (name.clone(), conflicts.clone()));
    assert_eq!(look(&[heard("sw-a", 1_030), heard("sw-b", 1_040)], 1_041), (name, conflicts));
    // A cable that moved: the old neighbour is missed, and later it lapses.
    let moved = [heard("sw-a", 1_030), heard("sw-b", 1_100)];
    let (name, conflicts) = look(&moved, 1_100);
    assert_eq!((name.as_str(), conflicts[0].reason), ("sw-b", Reason::Newest));
    assert_eq!(look(&moved, 1_150), ("sw-b".to_string(), vec![]));
}

#[test]
fn an_operator_who_names_a_nodes_leaf_stands_against_its_ports() {
    let mut evidence: Vec<Evidence> =
        ["n1", "n2"].into_iter().map(|node| attached(node, "eth0", "leaf-1", Source::Lldp)).collect();
    evidence.push(attached("n3", "eth0", "leaf-2", Source::Lldp));
    evidence.extend([linked("leaf-1", "spine", 1), linked("leaf-2", "spine", 1)]);
    let by_name = |source| {
        let switch = SwitchId::named("leaf-2");
        say(Claim::Attached { end: End::of_node("n1"), switch, switch_port: None, speed_mbps: None }, source)
    };
    let network = derive(&[], &[evidence.clone(), vec![by_name(Source::Slurm)]].concat(), NOW).unwrap();
    assert_eq!(between(&network, "n1", "n2"), TierInterval::exactly(Tier::Leaf), "an import does not");
    assert_eq!(network.conflicts.len(), 1);
    let network = derive(&[], &[evidence, vec![by_name(Source::Operator)]].concat(), NOW).unwrap();
    assert_eq!(between(&network, "n1", "n3"), TierInterval::exactly(Tier::Leaf));
    let told: Vec<String> = findings(&network).iter().map(ToString::to_string).collect();
    assert_eq!(
        told[0],
        "n1: sources disagree about its leaf in ethernet: the operator (test) says leaf-2, \
         LLDP (its port eth0) says leaf-1; the first counts, for its source ranks higher"
    );
}

#[test]
fn an_operator_who_names_one_of_the_leaves_of_a_unit_leaves_the_unit_whole() {
    let mut evidence = Vec::new();
    for node in ["n1", "n2", "n3"] {
        for rail in 0..4 {
            evidence.push(attached(node, &format!("eth{rail}"), &format!("r{rail}"), Source::Lldp));
            evidence.push(linked(&format!("r{rail}"), "spine", 2));
        }
        let (end, switch) = (End::of_node(node), SwitchId::named("r0"));
        let claim = Claim::Attached { end, switch, switch_port: None, speed_mbps: None };
        evidence.push(say(claim, Source::Operator));
    }
    let network = derive(&[], &evidence, NOW).unwrap();
    let leaves: Vec<usize> = network
        .groups
        .iter()
        .filter(|group| group.tier == Tier::Leaf)
        .map(|group| group.switches.len())
        .collect();
    assert_eq!((leaves, network.conflicts.len()), (vec![4], 0));
}

#[test]
fn a_node_of_which_only_the_block_is_known_is_within_it() {
    let mut evidence = Vec::new();
    for (node, leaf, spine) in
        [("n1", "l1", "s1"), ("n2", "l2", "s1"), ("n3", "l3", "s2"), ("n4", "l3", "s2")]
    {
        evidence.push(attached(node, "eth0", leaf, Source::Lldp));
        evidence.push(linked(leaf, spine, 1));
        evidence.push(linked(spine, "core", 1));
    }
    let member = Member::Node("x".to_string());
    evidence
        .push(say(Claim::Member { member, tier: Tier::Block, group: "s1".to_string() }, Source::Operator));
    let network = derive(&[], &evidence, NOW).unwrap();
    assert_eq!(between(&network, "x", "n1"), TierInterval { best: Tier::Leaf, worst: Tier::Block });
    assert_eq!(between(&network, "x", "n3"), TierInterval { best: Tier::Leaf, worst: Tier::Core });
    assert_eq!(between(&network, "n1", "n3"), TierInterval::exactly(Tier::Core));
}

#[test]
fn a_node_that_an_operator_puts_into_another_block_is_under_that_blocks_core() {
    let mut evidence = Vec::new();
    for (node, leaf, spine, core) in [
        ("n1", "l1", "s1", "c1"),
        ("n2", "l2", "s1", "c1"),
        ("n3", "l3", "s2", "c2"),
        ("n4", "l4", "s2", "c2"),
        ("n5", "l5", "s3", "c2"),
        ("n6", "l5", "s3", "c2"),
    ] {
        evidence.push(attached(node, "eth0", leaf, Source::Lldp));
        evidence.extend([linked(leaf, spine, 1), linked(spine, core, 1), linked(core, "site", 1)]);
    }
    let block = |group: &str| {
        let (member, group) = (Member::Node("n1".to_string()), group.to_string());
        say(Claim::Member { member, tier: Tier::Block, group }, Source::Operator)
    };
    let cables = derive(&[], &evidence, NOW).unwrap();
    assert_eq!(between(&cables, "n1", "n2"), TierInterval::exactly(Tier::Block));
    let moved = derive(&[], &[evidence.clone(), vec![block("s2")]].concat(), NOW).unwrap();
    assert_eq!(between(&moved, "n1", "n3"), TierInterval::exactly(Tier::Block));
    assert_eq!(between(&moved, "n1", "n5"), TierInterval::exactly(Tier::Core), "not the core of its cables");
    assert_eq!(between(&moved, "n1", "n2"), TierInterval::exactly(Tier::Site));
    // Of a block that nothing else is known of, the core is not known either.
    let away = derive(&[], &[evidence, vec![block("elsewhere")]].concat(), NOW).unwrap();
    assert_eq!(between(&away, "n1", "n2"), TierInterval { best: Tier::Core, worst: Tier::Site });
}

#[test]
fn what_is_stated_of_a_switch_above_the_leaves_names_its_group_and_what_has_no_effect_is_told() {
    let mut evidence = Vec::new();
    for (node, leaf, spine) in [
        ("n1", "l1", "s1"),
        ("n2", "l2", "s1"),
        ("n3", "l3", "s2"),
        ("n4", "l4", "s2"),
        ("n5", "l5", "s3"),
        ("n6", "l6", "s3"),
    ] {
        evidence.push(attached(node, "eth0", leaf, Source::Lldp));
        evidence.extend([linked(leaf, spine, 1), linked(spine, "c1", 1)]);
    }
    let mut state = |switch: &str, tier, group: &str| {
        let (member, group) = (Member::Switch(SwitchId::named(switch)), group.to_string());
        evidence.push(say(Claim::Member { member, tier, group }, Source::Operator));
    };
    state("s1", Tier::Block, "hall-1");
    state("s2", Tier::Core, "east");
    state("s3", Tier::Core, "east");
    state("c1", Tier::Site, "here");
    state("c1", Tier::Block, "no block");
    state("s-1", Tier::Block, "hall-1");
    let network = derive(&[], &evidence, NOW).unwrap();
    let above = |node: &str| -> Vec<&str> {
        let place = &network.nodes[network.node(node).unwrap() as usize].places[0];
        place.groups.iter().map(|row| network.groups[*row as usize].name.as_str()).collect()
    };
    assert_eq!(
        [above("n1"), above("n3"), above("n5")],
        [["l1", "hall-1", "c1", "here"], ["l3", "s2", "east", "here"], ["l5", "s3", "east", "here"]]
    );
    let told: Vec<String> = findings(&network).iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "c1: nothing follows from the statement that its block is no block",
            "s-1: nothing follows from the statement that its block is hall-1"
        ]
    );
}

#[test]
fn uplinks_that_nobody_counts_are_unknown_and_those_that_a_dump_does_not_have_are_lost() {
    let expected = |switch: &str| {
        let switch = SwitchId::named(switch);
        say(Claim::ExpectedUplinks { switch, links: 4 }, Source::Operator)
    };
    let netq = |node: &str, switch: &str| attached(node, "eth0", switch, Source::NetQ);
    // l1 and l2 by LLDP, with l2 below a spine in somebody's tree; l3 and l4 by a graph that counts cables.
    let under = Claim::Under { lower: SwitchId::named("l2"), upper: SwitchId::named("s1") };
    let evidence = [
        vec![attached("n1", "eth0", "l1", Source::Lldp), attached("n2", "eth0", "l2", Source::Lldp)],
        vec![say(under, Source::Slurm), netq("n3", "l3"), netq("n4", "l4"), linked("l3", "s1", 3)],
        ["l1", "l2", "l3", "l4"].map(expected).to_vec(),
    ]
    .concat();
    let network = derive(&[], &evidence, NOW).unwrap();
    let uplinks: Vec<(&str, Option<(u32, u32)>)> = network
        .switches
        .iter()
        .map(|it| (it.name.as_str(), it.uplinks.map(|uplinks| (uplinks.live, uplinks.expected))))
        .collect();
    assert_eq!(
        uplinks,
        [("l1", None), ("l2", None), ("l3", Some((3, 4))), ("l4", Some((0, 4))), ("s1", None)]
    );
    let told: Vec<String> = findings(&network).iter().map(ToString::to_string).collect();
    assert_eq!(told, ["l3: 3 of 4 uplinks work", "l4: 0 of 4 uplinks work"]);
}

#[test]
fn statements_of_owners_and_planes_that_disagree_are_shown_as_other_conflicts_are() {
    let owner = |node: &str, source| {
        let (node, port) = (node.to_string(), "mlx5_0".to_string());
        say(Claim::Owner { guid: Guid(0x99), node, port }, source)
    };
    let plane = |switch: &str, plane: &str, at| {
        let (switch, plane) = (SwitchId::named(switch), plane.to_string());
        Evidence::new(Claim::Plane { switch, plane }, Source::Operator, "site.yaml", Timestamp(at))
    };
    let evidence = [
        dumped(0x99, "HCA", "x", 1),
        owner("a", Source::Csv),
        owner("b", Source::Operator),
        attached("n1", "eth0", "l1", Source::Lldp),
        linked("l1", "l2", 1),
        plane("l1", "compute", 2),
        plane("l2", "storage", 1),
    ];
    let network = derive(&[], &evidence, NOW).unwrap();
    let told: Vec<String> = findings(&network).iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "adapter 0000000000000099: sources disagree about the port that it is: the operator (test) says b mlx5_0, \
             a CSV file (test) says a mlx5_0; the first counts, for its source ranks higher",
            "l1: sources disagree about the plane of its fabric: the operator (site.yaml) says compute, \
             the operator (site.yaml) says storage; the first counts, for it is newer",
        ]
    );
    let of = |plane: &str| network.planes.iter().any(|it| it.name == plane);
    assert_eq!((of("compute"), of("storage")), (true, false));
    assert!(network.nodes[network.node("b").unwrap() as usize].ports[0].at.is_some());
}

#[test]
fn a_pair_is_thin_beside_the_pairs_of_its_own_plane() {
    let mut evidence = Vec::new();
    for (plane, leaves, usual) in [("a", 6, 4), ("b", 3, 2)] {
        for leaf in 0..leaves {
            let name = format!("{plane}-leaf-{leaf}");
            evidence.push(attached(&format!("{plane}-n{leaf}"), "eth0", &name, Source::Lldp));
            evidence.push(linked(&name, &format!("{plane}-s1"), usual));
            let short = plane == "b" && leaf == 0;
            evidence.push(linked(&name, &format!("{plane}-s2"), if short { 1 } else { usual }));
        }
    }
    let network = derive(&[], &evidence, NOW).unwrap();
    assert_eq!(network.planes.len(), 2);
    let told: Vec<String> = findings(&network).iter().map(ToString::to_string).collect();
    assert_eq!(told, ["b-leaf-0: 3 of 4 uplinks work (1 of 2 to b-s2)"]);
}

#[test]
fn an_nvlink_domain_is_closer_than_a_leaf_and_no_domain_is_none() {
    let mut evidence = Vec::new();
    for (node, domain) in
        [("n1", Some("d.1")), ("n2", Some("d.1")), ("n3", Some("d.2")), ("n4", None), ("n5", None)]
    {
        evidence.push(attached(node, "eth0", "leaf", Source::Lldp));
        evidence.extend(domain.map(|domain| {
            let (node, domain) = (node.to_string(), domain.to_string());
            say(Claim::Nvlink { node, domain }, Source::NvlinkFabric)
        }));
    }
    let network = derive(&[], &evidence, NOW).unwrap();
    assert_eq!(between(&network, "n1", "n2"), TierInterval::exactly(Tier::Nvlink));
    assert_eq!(between(&network, "n2", "n3"), TierInterval::exactly(Tier::Leaf));
    assert_eq!(between(&network, "n4", "n5"), TierInterval::exactly(Tier::Leaf));
}

#[test]
fn evidence_with_endless_names_is_refused_and_counted() {
    let long = "x".repeat(300);
    let network = derive(&[], &[attached(&long, "eth0", "leaf", Source::Lldp)], NOW).unwrap();
    assert_eq!((network.nodes.len(), network.refused), (0, 1));
    assert!(matches!(findings(&network)[0].problem, Problem::Refused { pieces: 1 }));
}

#[test]
fn two_nodes_that_join_under_one_name_are_an_error_that_names_it() {
    let twice = [told("n1", &[("eth0", 1_000, None)]), told("n1", &[])];
    let error = derive(&twice, &[], NOW).unwrap_err();
    assert_eq!(
        error.to_string(),
        "two nodes told about their ports under the name n1; let one join under another name"
    );
}

/// A joined node with InfiniBand ports of these GUIDs.
fn told_guids(node: &str, guids: &[u64]) -> NodePorts {
    let names: Vec<String> = (0..guids.len()).map(|at| format!("mlx5_{at}/1")).collect();
    let ports: Vec<(&str, u32, Option<&str>)> =
        names.iter().map(|name| (name.as_str(), 400_000, None)).collect();
    let mut node = told(node, &ports);
    for (port, guid) in node.ports.iter_mut().zip(guids) {
        (port.layer, port.guid) = (LinkLayer::InfiniBand, Some(Guid(*guid)));
    }
    node
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

#[test]
fn a_strangers_adapter_that_bears_a_joined_nodes_name_is_not_that_nodes() {
    let nodes = [told_guids("n1", &[0x11, 0x12]), told_guids("n2", &[0x21])];
    let evidence = [
        dumped(0x11, "n1", "HCA-1", 1),
        dumped(0x12, "n1", "HCA-2", 1),
        dumped(0x21, "n2", "mlx5_0", 1),
        // Another machine that was called n1, of the same and of another port name.
        dumped(0x99, "n1", "mlx5_0", 2),
        dumped(0x98, "n1", "HCA-7", 2),
    ];
    let network = derive(&nodes, &evidence, NOW).unwrap();
    let names: Vec<&str> = network.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["n1", "n2"]);
    let on: Vec<&str> = network.nodes[0]
        .ports
        .iter()
        .map(|port| network.switches[port.at.as_ref().unwrap().switch as usize].name.as_str())
        .collect();
    assert_eq!((on, network.conflicts.len()), (vec!["leaf-1", "leaf-1"], 0));
    let strangers: Vec<(Option<Guid>, Option<&str>)> =
        network.unjoined.iter().map(|it| (it.guid, it.called.as_deref())).collect();
    assert_eq!(strangers, [(Some(Guid(0x98)), Some("n1")), (Some(Guid(0x99)), Some("n1"))]);
}

#[test]
fn an_adapter_without_a_node_that_two_dumps_show_is_one() {
    let dump = |origin: &str, at: u64, claims: Vec<(u64, Option<&str>, &str, u64)>| -> Vec<Evidence> {
        let say = |(guid, node, port, switch): (u64, Option<&str>, &str, u64)| {
            let claim = Claim::Attached {
                end: End { guid: Some(Guid(guid)), node: node.map(str::to_string), ..End::default() },
                switch: SwitchId::with_guid(Guid(switch), None),
                switch_port: Some(port.to_string()),
                speed_mbps: None,
            };
            Evidence::new(claim, Source::InfiniBand, origin, Timestamp(at))
        };
        claims.into_iter().map(say).collect()
    };
    let evidence = [
        // 7 has two ports under one GUID, 8 moves, 9 has a name in one dump.
        dump("old", 1, vec![(7, None, "1", 1), (7, None, "2", 1), (8, None, "3", 1), (9, Some("x"), "4", 1)]),
        dump("new", 2, vec![(7, None, "1", 1), (7, None, "2", 1), (8, None, "3", 2), (9, None, "5", 1)]),
        dump("new", 2, vec![(0x55, Some("x"), "6", 1), (0x56, Some("x"), "7", 1)]),
    ]
    .concat();
    // They are called as a joined node is that has none of these GUIDs.
    let nodes = [told_guids("x", &[0x1])];
    let network = derive(&nodes, &evidence, NOW).unwrap();
    let unjoined: Vec<(u64, u32, &str, Option<&str>)> = network
        .unjoined
        .iter()
        .map(|it| (it.guid.unwrap().0, it.switch, it.switch_port.as_deref().unwrap(), it.called.as_deref()))
        .collect();
    assert_eq!(
        unjoined,
        [
            (7, 0, "1", None),
            (7, 0, "2", None),
            (9, 0, "5", Some("x")),
            (0x55, 0, "6", Some("x")),
            (0x56, 0, "7", Some("x")),
            (8, 1, "3", None)
        ]
    );
}

#[test]
fn two_strangers_of_a_joined_nodes_name_do_not_keep_others_from_naming_it() {
    let nodes = [told_guids("n1", &[0x11]), told("n2", &[("eth0", 100_000, None)])];
    let mut evidence = vec![
        dumped(0x98, "n1", "HCA-1", 2),
        dumped(0x99, "n1", "HCA-1", 2),
        dumped(0x88, "n2", "HCA-1", 2),
        dumped(0x89, "n2", "HCA-1", 2),
    ];
    for node in ["n1", "n2"] {
        evidence.push(attached(node, "eth0", "tor", Source::Lldp));
        let (node, domain) = (node.to_string(), "d.1".to_string());
        evidence.push(say(Claim::Nvlink { node, domain }, Source::NvlinkFabric));
    }
    let network = derive(&nodes, &evidence, NOW).unwrap();
    assert_eq!((network.duplicates.len(), network.unjoined.len()), (2, 4));
    for node in &network.nodes {
        let port = node.ports.iter().find(|port| port.name == "eth0").unwrap();
        let at = port.at.as_ref().map(|at| network.switches[at.switch as usize].name.as_str());
        assert_eq!((at, node.nvlink), (Some("tor"), Some(0)), "{}", node.name);
    }
}

/// A cluster of units of 32 nodes with `rails` rails, eight units to a spine group, all under one core.
fn fabric(nodes: u64, rails: u64) -> Vec<Evidence> {
    let switch =
        |kind: u64, number: u64, name: String| SwitchId::with_guid(Guid(kind << 40 | number), Some(&name));
    let leaf = |unit: u64, rail: u64| switch(2, unit << 8 | rail, format!("leaf-{unit:03}-{rail}"));
    let spine = |pod: u64, at: u64| switch(3, pod << 8 | at, format!("spine-{pod:02}-{at}"));
    let mut evidence = Vec::new();
    for node in 0..nodes {
        for rail in 0..rails {
            let end = End {
                guid: Some(Guid(1 << 40 | node << 8 | rail)),
                index: u16::try_from(rail).ok(),
                ..End::of_port(&format!("gpu-{node:05}"), &format!("mlx5_{rail}"))
            };
            let (switch, switch_port) = (leaf(node / 32, rail), Some((node % 32 + 1).to_string()));
            let claim = Claim::Attached { end, switch, switch_port, speed_mbps: Some(400_000) };
            evidence.push(say(claim, Source::InfiniBand));
        }
    }
    let cable = |a, b| say(Claim::Linked { a, b, links: 4, rate_mbps: Some(400_000) }, Source::InfiniBand);
    for unit in 0..nodes.div_ceil(32) {
        for rail in 0..rails {
            evidence.extend((0..8).map(|at| cable(leaf(unit, rail), spine(unit / 8, at))));
        }
    }
    for pod in 0..nodes.div_ceil(256) {
        for at in 0..8 {
            evidence.push(cable(spine(pod, at), switch(4, at, format!("core-{at}"))));
        }
    }
    evidence
}

#[test]
fn ten_thousand_nodes_with_eight_rails_stay_small() {
    let network = derive(&[], &fabric(10_000, 8), NOW).unwrap();
    let plane = &network.planes[network.main.unwrap() as usize];
    assert_eq!((network.nodes.len(), plane.rails), (10_000, 8));
    assert_eq!(plane.tiers, [Tier::Leaf, Tier::Block, Tier::Core]);
    assert_eq!(findings(&network), []);
    let boards = network.nodes.iter().map(|node| (node.name.clone(), "hgx".to_string())).collect();
    let snapshot = Snapshot::new(network, &boards).unwrap();
    let text = snapshot.to_json();
    // 80,000 ports and 20,000 pairs of switches: some 150 bytes for each.
    assert!(text.len() < 16 << 20, "{} bytes", text.len());
    let again: Snapshot<String> = Snapshot::from_json(&text).unwrap();
    assert_eq!((again.hash(), again.network()), (snapshot.hash(), snapshot.network()));
    assert_eq!(again.board(9_999).map(String::as_str), Some("hgx"));
    assert_eq!(again.members(0).len(), 32);
}

#[test]
fn a_snapshot_that_was_edited_is_refused_with_what_is_wrong() {
    let network = derive(&[], &fabric(64, 2), NOW).unwrap();
    let snapshot: Snapshot<u8> =
        Snapshot::new(network, &BTreeMap::from([("gpu-00001".to_string(), 7)])).unwrap();
    let text = String::from_utf8(snapshot.to_json()).unwrap();
    let read = |text: &str| Snapshot::<u8>::from_json(text.as_bytes()).map(|it| it.hash());
    assert_eq!(read(&text).unwrap(), snapshot.hash());
    let error = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        read(&text.replacen(from, to, 1)).unwrap_err()
    };
    assert!(matches!(error("gpu-00000", "gpu-0000"), SnapshotError::Hash { .. }));
    assert!(matches!(error("\"version\":1", "\"version\":9"), SnapshotError::Version { found: 9 }));
    assert!(matches!(error("\"switch\":", "\"switch\":9"), SnapshotError::Row { what: "switches" }));
    assert!(matches!(error("\"groups\":[0", "\"groups\":[77"), SnapshotError::Row { what: "groups" }));
    assert!(matches!(error("gpu-00000", "zzz"), SnapshotError::Order));
    assert!(matches!(error("\"boards\":[7]", "\"boards\":[]"), SnapshotError::Row { what: "boards" }));
    for cut in [0, 1, text.len() / 2, text.len() - 1] {
        assert!(matches!(read(&text[..cut]), Err(SnapshotError::Json(_))));
    }
}

#[test]
fn people_are_told_what_changed() {
    let snapshot = |evidence: &[Evidence]| -> Snapshot<()> {
        Snapshot::new(derive(&[], evidence, NOW).unwrap(), &BTreeMap::new()).unwrap()
    };
    let before = fabric(96, 2);
    let mut after = before.clone();
    for evidence in &mut after {
        match &mut evidence.claim {
            // gpu-00095 goes to unit 0, with both rails.
            Claim::Attached { end, switch, .. } if end.node.as_deref() == Some("gpu-00095") => {
                let rail = u64::from(end.index.unwrap());
                *switch = SwitchId::with_guid(Guid(2 << 40 | rail), Some(&format!("leaf-000-{rail}")));
            }
            Claim::Linked { a, links, .. } if a.name.as_deref() == Some("leaf-001-0") && *links == 4 => {
                *links = 3
            }
            _ => {}
        }
    }
    after.retain(
        |it| !matches!(&it.claim, Claim::Attached { end, .. } if end.node.as_deref() == Some("gpu-00033")),
    );
    let (old, new) = (snapshot(&before), snapshot(&after));
    let changes: Vec<String> = new.diff(&old).iter().map(ToString::to_string).collect();
    assert_eq!(changes.len(), 1 + 1 + 2 + 8 + 1, "{changes:#?}");
    for told in [
        "node gpu-00033 went",
        "node gpu-00095 moved in infiniband from leaf leaf-002-0+1 to leaf-000-0+1",
        "port mlx5_1 of gpu-00095 moved from leaf-002-1 to leaf-000-1",
        "3 cables between leaf-001-0 and spine-00-7, where there were 4",
        "uplinks of leaf-001-0: 24 of 32, before 32 of 32",
    ] {
        assert!(changes.iter().any(|change| change == told), "{told}: {changes:#?}");
    }
    assert_eq!(old.diff(&old), []);
    assert!(old.diff(&new).contains(&Change::NodeCame { node: "gpu-00033".to_string() }));
}

#[test]
fn ports_that_go_down_slow_down_come_and_go_and_rails_are_told_as_changes() {
    let look = |nodes: &[NodePorts], evidence: &[Evidence]| -> Snapshot<()> {
        Snapshot::new(derive(nodes, evidence, NOW).unwrap(), &BTreeMap::new()).unwrap()
    };
    let node =
        |name: &str| told(name, &[("eth0", 400_000, None), ("eth1", 400_000, None), ("eth2", 1_000, None)]);
    let nodes = ["n1", "n2", "n3"].map(node);
    let mut evidence = Vec::new();
    for node in ["n1", "n2", "n3"] {
        evidence
            .extend([attached(node, "eth0", "r0", Source::Lldp), attached(node, "eth1", "r1", Source::Lldp)]);
    }
    evidence.push(linked("r0", "spine", 2));
    evidence.push(linked("r1", "spine", 2));
    let before = look(&nodes, &evidence);

    let mut after = nodes.clone();
    after[0].ports[0].up = false;
    after[1].ports[1].speed_mbps = Some(200_000);
    after[2].ports[2].name = "eth9".to_string();
    let told = |new: &Snapshot<()>, old: &Snapshot<()>| -> Vec<String> {
        new.diff(old).iter().map(ToString::to_string).collect()
    };
    let changed = look(&after, &evidence);
    assert_eq!(
        told(&changed, &before),
        [
            "port eth9 of n3 came",
            "port eth2 of n3 went",
            "port eth0 of n1 is down",
            "speed of port eth1 of n2: 200G, before 400G",
        ]
    );
    assert_eq!(told(&before, &changed)[2], "port eth0 of n1 is up");

    // Somebody states a third rail, and a cable is exchanged for a slower one.
    let mut stated = evidence.clone();
    for node in ["n1", "n2", "n3"] {
        stated.push(say(Claim::Rail { end: End::of_port(node, "eth1"), rail: 2 }, Source::Operator));
    }
    let Claim::Linked { rate_mbps, .. } = &mut stated[6].claim else { panic!() };
    *rate_mbps = Some(100_000);
    assert_eq!(
        told(&look(&nodes, &stated), &before),
        [
            "rail of port eth1 of n1: 2, before 1",
            "rail of port eth1 of n2: 2, before 1",
            "rail of port eth1 of n3: 2, before 1",
            "rail of leaf r1: 2, before 1",
            "rails of ethernet: 3, before 2",
            "rate of cables between r0 and spine: 100G, before unknown",
        ]
    );
    // Cables that nobody counts any more are not lost.
    let under = Claim::Under { lower: SwitchId::named("r1"), upper: SwitchId::named("spine") };
    let mut uncounted = evidence.clone();
    uncounted[7] = say(under, Source::Slurm);
    let change = told(&look(&nodes, &uncounted), &before);
    assert!(change.contains(&"cables between r1 and spine: not counted, before 2".to_string()), "{change:?}");
}

#[test]
fn looking_again_at_the_same_cluster_gives_the_same_hash() {
    let hash = |evidence: &[Evidence]| {
        Snapshot::<()>::new(derive(&[], evidence, NOW).unwrap(), &BTreeMap::new()).unwrap().hash()
    };
    let evidence = fabric(64, 2);
    let mut later = evidence.clone();
    for it in &mut later {
        it.observed_at = Timestamp(5_000_000);
    }
    assert_eq!(hash(&evidence), hash(&later));
    assert_ne!(hash(&evidence), hash(&evidence[1..]));
}

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
