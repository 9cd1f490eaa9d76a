//! Which of several sources counts: by rank, by age, and against an operator's word.

use std::time::Duration;

use phalanx_common::time::Timestamp;
use phalanx_common::topology::{
    Claim, End, Evidence, Guid, Member, Reason, Source, SwitchId, Tier, TierInterval, derive, findings,
};

use crate::{NOW, attached, between, dumped, linked, say};

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
            "s-1: nothing follows from the statement that its block is hall-1",
            "test: no other source knows the switch s-1 (is s1 meant?)"
        ]
    );
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

/// A dump of two leaves below a spine, with that many cables from the first.
fn dump(origin: &str, at: u64, cables: u32, cut: bool) -> Vec<Evidence> {
    let switch = |number: u64| SwitchId::with_guid(Guid(number), Some(&format!("leaf-{number}")));
    let linked = |from: u64, links: u32| Claim::Linked {
        a: switch(from),
        b: switch(9),
        links,
        rate_mbps: Some(400_000),
    };
    let mut claims = vec![linked(1, cables), linked(2, 4), linked(3, 4)];
    claims.extend(cut.then_some(Claim::Cut { cables: 1, devices: 0 }));
    let claims =
        claims.into_iter().map(|claim| Evidence::new(claim, Source::InfiniBand, origin, Timestamp(at)));
    let nodes = (1..=3).map(|number| {
        let by = dumped(number, &format!("n{number}"), "mlx5_0", number);
        Evidence { origin: origin.to_string(), ..by }
    });
    claims.chain(nodes).collect()
}

#[test]
fn a_dump_that_was_cut_takes_no_cable_from_a_whole_one() {
    let uplinks = |evidence: &[Evidence]| {
        let network = derive(&[], evidence, NOW).unwrap();
        let leaf = network.switches.iter().find(|switch| switch.name == "leaf-1").unwrap();
        (leaf.uplinks.map(|of| of.to_string()), network.conflicts.len(), network.cut[0].planes.len())
    };
    let whole = dump("whole.out", 1, 4, false);
    let cut = |cables| dump("cut.out", 2, cables, true);
    assert_eq!(uplinks(&[whole.clone(), cut(3)].concat()), (Some("4 of 4".to_string()), 0, 0));
    assert_eq!(uplinks(&cut(3)), (None, 0, 1), "alone it counts nothing, and nothing is found in its plane");
    // What it has is there.
    assert_eq!(uplinks(&[whole, cut(5)].concat()).0, Some("5 of 5".to_string()));
}

#[test]
fn a_name_that_another_source_has_in_any_place_is_not_unseen() {
    let mut evidence = dump("cut.out", 1, 4, true);
    // What is at the other end of the cable has no record, and is taken for an adapter.
    let claim = Claim::Attached {
        end: End { guid: Some(Guid(0x77)), ..End::of_node("spine-2") },
        switch: SwitchId::with_guid(Guid(1), None),
        switch_port: None,
        speed_mbps: None,
    };
    evidence.push(Evidence::new(claim, Source::InfiniBand, "cut.out", Timestamp(1)));
    let expected = |switch: &str| {
        let switch = SwitchId::named(switch);
        say(Claim::ExpectedUplinks { switch, links: 4 }, Source::Operator)
    };
    let unseen = |switch: &str| {
        let network = derive(&[], &[evidence.clone(), vec![expected(switch)]].concat(), NOW).unwrap();
        network.unseen.len()
    };
    assert_eq!((unseen("spine-2"), unseen("spine-3")), (0, 1));
}

#[test]
fn uplinks_that_half_of_the_switches_have_are_expected_and_those_of_fewer_are_not() {
    let expected = |cables: &[u32]| {
        let leaves = cables.iter().zip(0..).flat_map(|(cables, at)| {
            let leaf = format!("leaf-{at}");
            [attached(&format!("n{at}"), "eth0", &leaf, Source::Lldp), linked(&leaf, "spine", *cables)]
        });
        let network = derive(&[], &leaves.collect::<Vec<_>>(), NOW).unwrap();
        let leaf = network.switches.iter().find(|switch| switch.name == "leaf-0").unwrap();
        leaf.uplinks.unwrap().expected
    };
    assert_eq!(expected(&[3, 3, 4, 4]), 4, "of two that are as common the larger");
    assert_eq!(expected(&[3, 4, 4, 2]), 4);
    assert_eq!(expected(&[3, 4, 2]), 0);
    assert_eq!(expected(&[3, 4]), 0, "two tell nothing");
}
