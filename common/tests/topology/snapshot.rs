//! What is written down of a network, and what has changed since.

use std::collections::BTreeMap;

use phalanx_common::time::Timestamp;
use phalanx_common::topology::{
    Change, Claim, End, Evidence, Guid, NodePorts, Snapshot, SnapshotError, Source, SwitchId, Tier, derive,
    findings,
};

use crate::{NOW, attached, linked, say, told};

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

#[test]
fn where_a_statement_stands_in_its_file_is_no_fact() {
    let stated = |claim: Claim, line: u32| Evidence { line: Some(line), ..say(claim, Source::Operator) };
    let leaf = |leaf: &str, line| {
        let (end, switch) = (End::of_node("n1"), SwitchId::named(leaf));
        stated(Claim::Attached { end, switch, switch_port: None, speed_mbps: None }, line)
    };
    let owner = |guid: u64, line| {
        stated(Claim::Owner { guid: Guid(guid), node: "n1".into(), port: "ib0".into() }, line)
    };
    let hash = |lines: [u32; 4]| {
        let plane = Claim::Plane { switch: SwitchId::named("l3"), plane: "compute".to_string() };
        let evidence = [
            attached("n2", "eth0", "l3", Source::Lldp),
            attached("n2", "eth1", "l4", Source::Lldp),
            crate::dumped(0xa1, "n3", "ib0", 9),
            leaf("l1", lines[0]),
            leaf("l2", lines[1]),
            owner(0xb1, lines[2]),
            owner(0xb2, lines[3]),
            stated(plane, lines[0]),
        ];
        let network = derive(&[], &evidence, NOW).unwrap();
        let counts = (network.conflicts.len(), network.strays.len(), network.splits.len());
        assert_eq!(counts, (1, 2, 1), "{network:?}");
        let lines: Vec<_> = network.conflicts[0].claims.iter().map(|said| said.line).collect();
        let snapshot = Snapshot::<String>::new(network, &BTreeMap::new()).unwrap();
        let again: Snapshot<String> = Snapshot::from_json(&snapshot.to_json()).unwrap();
        assert_eq!(again.network(), snapshot.network(), "the lines are written and read");
        (snapshot.hash(), lines)
    };
    let (first, lines) = hash([3, 4, 7, 8]);
    assert_eq!(lines, [Some(3), Some(4)]);
    assert_eq!(hash([4, 5, 12, 11]).0, first);
}
