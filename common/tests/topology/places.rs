//! How far two nodes are apart: what is known of it, and what is not.

use phalanx_common::topology::{
    Claim, End, Evidence, Member, Network, NodePorts, Source, SwitchId, Tier, TierInterval, derive, findings,
};

use crate::{NOW, attached, between, linked, say, told};

fn heard(listener: &str, speaker: &str) -> Evidence {
    let (listener, speaker) = (End::of_port(listener, "eth0"), End::of_port(speaker, "eth0"));
    say(Claim::Heard { listener, speaker }, Source::Beacon)
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
fn a_node_whose_ports_are_not_known_is_not_compared_with_its_neighbours() {
    let mut evidence: Vec<Evidence> =
        ["n1", "n2", "n3"].map(|node| attached(node, "eth0", "l1", Source::Lldp)).to_vec();
    let (end, switch) = (End::of_node("n4"), SwitchId::named("l1"));
    let claim = Claim::Attached { end, switch, switch_port: None, speed_mbps: None };
    evidence.push(say(claim, Source::Csv));
    let told = |evidence: &[Evidence]| -> Vec<String> {
        findings(&derive(&[], evidence, NOW).unwrap()).iter().map(ToString::to_string).collect()
    };
    assert_eq!(told(&evidence), [""; 0]);
    evidence.push(attached("n3", "eth1", "l1", Source::Lldp));
    evidence.push(attached("n5", "eth0", "l1", Source::Lldp));
    let said = told(&evidence);
    assert!(said.len() == 1 && said[0].starts_with("n3: has 2 ports in ethernet, where 3 of"), "{said:?}");
}
