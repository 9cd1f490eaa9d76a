//! Rails, planes and uplinks, and what is wrong with their cables.

use phalanx_common::topology::{
    Claim, End, NodePorts, PlaneKind, Problem, Source, SwitchId, Tier, TierInterval, derive, findings,
};

use crate::{NOW, attached, between, linked, say, told};

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
