//! Which node an adapter belongs to.

use phalanx_common::time::Timestamp;
use phalanx_common::topology::{
    Claim, End, Evidence, Guid, LinkLayer, Member, NodePorts, Problem, Severity, Source, SwitchId, Tier,
    derive, findings,
};

use crate::{NOW, attached, dumped, say, told};

#[test]
fn evidence_with_endless_names_is_refused_and_counted() {
    let long = "x".repeat(300);
    let network = derive(&[], &[attached(&long, "eth0", "leaf", Source::Lldp)], NOW).unwrap();
    assert_eq!((network.nodes.len(), network.refused), (0, 1));
    let found = &findings(&network)[0];
    assert!(matches!(found.problem, Problem::Refused { pieces: 1 }));
    let says = "1 piece of evidence has a name of more than 256 bytes, or one with control characters";
    assert!(found.to_string().starts_with(says), "{found}");
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

#[test]
fn what_a_statement_alone_names_is_found_with_the_name_that_was_meant() {
    let nodes = [told("gpu-07", &[("eth0", 100_000, None)]), told("gpu-08.example", &[])];
    let member = |node: &str| {
        let (member, group) = (Member::Node(node.to_string()), "b1".to_string());
        say(Claim::Member { member, tier: Tier::Block, group }, Source::Operator)
    };
    let uplinks = |switch: &str| {
        say(Claim::ExpectedUplinks { switch: SwitchId::named(switch), links: 2 }, Source::Operator)
    };
    let under = |lower: &str, upper: &str| {
        let (lower, upper) = (SwitchId::named(lower), SwitchId::named(upper));
        say(Claim::Under { lower, upper }, Source::Operator)
    };
    let evidence = [
        attached("gpu-07", "eth0", "leaf-1", Source::Lldp),
        // `gpu-08` is the one that joined under its whole name.
        member("gpu-08"),
        member("gpu-7"),
        member("rack-9"),
        uplinks("leaf-1"),
        uplinks("laef-1"),
        // Nothing sees what is above leaves, so that nothing is compared with it.
        under("leaf-1", "spine-1"),
    ];
    let network = derive(&nodes, &evidence, NOW).unwrap();
    let found: Vec<String> = findings(&network)
        .iter()
        .filter(|found| matches!(found.problem, Problem::Unseen { .. }))
        .map(|found| format!("{:?} {found}", found.severity))
        .collect();
    assert_eq!(
        found,
        [
            "Warning test: no other source knows the nodes gpu-7 (is gpu-07 meant?), rack-9",
            "Warning test: no other source knows the switch laef-1 (is leaf-1 meant?)",
        ]
    );
}

#[test]
fn a_cluster_that_is_stated_as_a_whole_is_no_slip() {
    let on = |node: &str, leaf: &str| attached(node, "eth0", leaf, Source::Operator);
    let stated = [on("n1", "leaf-1"), on("n2", "leaf-2")];
    assert_eq!(derive(&[], &stated, NOW).unwrap().unseen, []);
    // Nodes that tell of themselves, at switches that do not.
    let nodes = ["n1", "n2"].map(|node| told(node, &[("eth0", 1_000, None)]));
    assert_eq!(derive(&nodes, &stated, NOW).unwrap().unseen, []);
    let network = derive(&nodes[..1], &stated, NOW).unwrap();
    let [found] = &findings(&network)[..] else { panic!("{:?}", findings(&network)) };
    assert_eq!(found.severity, Severity::Notice);
    assert_eq!(found.to_string(), "test: no other source knows the node n2");
}

#[test]
fn a_stated_guid_is_that_of_a_port_or_of_an_adapter_with_one_and_any_other_is_told() {
    let of_adapter = |guid: u64, adapter: u64| {
        let mut by = dumped(guid, "somebody", &format!("p{guid:x}"), 1);
        if let Claim::Attached { end, .. } = &mut by.claim {
            (end.node, end.port, end.node_guid) = (None, None, Some(Guid(adapter)));
        }
        by
    };
    let owner = |guid: u64, node: &str| {
        let (node, port) = (node.to_string(), "mlx5_0".to_string());
        Evidence::new(Claim::Owner { guid: Guid(guid), node, port }, Source::Operator, "site.yaml", NOW)
    };
    let fabric = [of_adapter(0x11, 0x10), of_adapter(0x921, 0x920), of_adapter(0x922, 0x920)];
    let stated = [owner(0x10, "n1"), owner(0x920, "n2"), owner(0x923_0000, "n3"), owner(0x0111, "n4")];
    let network = derive(&[], &[&fabric[..], &stated[..]].concat(), NOW).unwrap();
    let ports = |node: &str| network.nodes[network.node(node).unwrap() as usize].ports.clone();
    assert!(ports("n1")[0].at.is_some(), "the adapter has one port, which is meant");
    assert_eq!([ports("n2"), ports("n3"), ports("n4")], [vec![], vec![], vec![]], "nobody sees such ports");
    let found = findings(&network);
    let stray = found.iter().find(|it| matches!(it.problem, Problem::StrayGuids { .. })).unwrap();
    assert_eq!(
        stray.to_string(),
        "site.yaml: no port has the GUIDs 0000000000000111, stated of n4 mlx5_0 (is 0000000000000011 meant?), \
         0000000000000920, stated of n2 mlx5_0 (it is an adapter's, which has the ports 0000000000000921 and \
         0000000000000922), 0000000009230000, stated of n3 mlx5_0"
    );
    assert_eq!(stray.severity, Severity::Warning);
    let alone = derive(&[], &stated, NOW).unwrap();
    assert!(
        alone.strays.is_empty() && alone.nodes.iter().all(|node| node.ports.len() == 1),
        "nobody has GUIDs"
    );
}

#[test]
fn hosts_that_hear_each_other_as_switches_are_told() {
    let back_to_back =
        [attached("n1", "eth0", "n2", Source::Lldp), attached("n2", "eth0", "n1", Source::Lldp)];
    let network = derive(&[], &back_to_back, NOW).unwrap();
    let told: Vec<String> = findings(&network).iter().map(ToString::to_string).collect();
    let says = "a node and a switch go by this name";
    assert_eq!(told, [format!("n1: {says}"), format!("n2: {says}")]);
}
