//! Trees that other tools wrote, and those that are written for them.

#![allow(clippy::unwrap_used, reason = "in a test that is how it fails")]

mod support;

use std::collections::BTreeMap;

use phalanx_common::time::Timestamp;
use phalanx_common::topology::{Claim, Evidence, Network, Source, Tier, TierInterval, derive, findings};
use phalanx_formats::kind::{Kind, recognise};
use phalanx_formats::outline::Outline;
use phalanx_formats::{csv, hypernode, netq, slurm, statement, topograph};
use support::capture;

const AT: Timestamp = Timestamp(0);

fn network(outline: &Outline, source: Source) -> Network {
    derive(&[], &outline.evidence(source, "tree", AT), AT).unwrap()
}

fn between(network: &Network, a: &str, b: &str) -> TierInterval {
    network.distance(network.node(a).unwrap(), network.node(b).unwrap())
}

fn groups(network: &Network, tier: Tier) -> usize {
    network.groups.iter().filter(|group| group.tier == tier).count()
}

#[test]
fn a_real_three_layer_fabric_has_119_leaves_though_48_names() {
    let Some(bytes) = capture("clos-production/alibaba-lingjun-2023-topo.csv") else { return };
    assert_eq!(recognise(&bytes), Some(Kind::Csv));
    let outline = csv::read(&bytes).unwrap();
    let network = network(&outline, Source::Csv);
    assert_eq!(
        (network.nodes.len(), groups(&network, Tier::Leaf), groups(&network, Tier::Block)),
        (847, 119, 3)
    );
    // One switch above all three: it is the core, and there is nothing farther.
    assert_eq!((groups(&network, Tier::Core), groups(&network, Tier::Site)), (1, 0));
    assert_eq!(network.switches.len(), 119 + 3 + 1);
    let (a, b) = (&network.nodes[0].name, &network.nodes[846].name);
    assert!(between(&network, a, b).is_exact());
}

#[test]
fn models_of_topograph_are_trees_with_nvlink_domains() {
    let read = |name: &str| {
        let bytes = capture(&format!("topograph-models/{name}.yaml"))?;
        assert_eq!(recognise(&bytes), Some(Kind::TopographModel), "{name}");
        let outline = topograph::read_model(&bytes).unwrap();
        Some(network(&outline, Source::Topograph))
    };
    // Nodes, NVLink domains, leaves with nodes, counted in the files by hand.
    for (name, nodes, domains, leaves) in [
        ("small-tree", 6, 2, 2),
        ("medium", 8, 4, 4),
        ("large", 96, 12, 12),
        ("nvl72", 72, 4, 4),
        ("dual-xclr-regular", 96, 2, 12),
    ] {
        let Some(network) = read(name) else { return };
        let found = (network.nodes.len(), network.nvlink.len(), groups(&network, Tier::Leaf));
        assert_eq!(found, (nodes, domains, leaves), "{name}");
        assert_eq!(findings(&network), [], "{name}");
    }
    let Some(nvl72) = read("nvl72") else { return };
    assert_eq!(between(&nvl72, "node1101", "node1118"), TierInterval::exactly(Tier::Nvlink));
    assert_eq!(between(&nvl72, "node1101", "node1201"), TierInterval::exactly(Tier::Block));
    assert_eq!(between(&nvl72, "node1101", "node2101"), TierInterval::exactly(Tier::Core));
}

#[test]
fn instances_of_topograph_are_read_in_the_forms_that_it_had() {
    let uuid = "3fbfc98b-7f95-4749-ab11-bd351a2aab3e";
    let text = format!(
        r#"{{"instances": [
        {{"id": "new", "network_layers": ["leaf-1", "spine-1"], "labels": {{
            "accelerator.topograph.run/domain": "{uuid}", "nvidia.com/gpu.clique": "{uuid}.3"}}}},
        {{"id": "label", "network_layers": ["leaf-1", "", "spine-1"], "labels": {{
            "network.topology.nvidia.com/accelerator": "nvl-1", "nvidia.com/gpu.clique": ""}}}},
        {{"id": "field", "instance_type": "H100", "provider": "test", "region": "", "network_layers": null,
            "nvlink_domain": "nvl-2", "attributes": {{"gpu": {{"status": "", "collected_at": ""}}}}}},
        {{"id": "first", "type": "H100", "network_layers": ["leaf-2", "spine-1"], "attributes": {{"nvlink": "nvl-3"}}}},
        {{"id": "none", "network_layers": [], "nvlink_domain": "", "labels": null}}
        ]}}"#
    );
    assert_eq!(recognise(text.as_bytes()), Some(Kind::TopographJson));
    let outline = topograph::read_json(text.as_bytes()).unwrap();
    let domains: Vec<(&str, &str)> =
        outline.domains.iter().map(|(node, domain)| (node.as_str(), domain.as_str())).collect();
    let whole = format!("{uuid}.3");
    assert_eq!(
        domains,
        [("field", "nvl-2"), ("first", "nvl-3"), ("label", "nvl-1"), ("new", whole.as_str())]
    );
    assert_eq!((outline.nodes.len(), outline.under.len(), outline.switches.len()), (3, 2, 3));
    let written = topograph::write_json(&outline);
    assert!(written.contains("\"accelerator.topograph.run/domain\": \"nvl-1\""), "{written}");
    assert_eq!(topograph::read_json(written.as_bytes()).unwrap(), outline);
}

#[test]
fn an_irregular_model_keeps_its_short_and_empty_racks() {
    let Some(bytes) = capture("topograph-models/dual-xclr-irregular.yaml") else { return };
    let outline = topograph::read_model(&bytes).unwrap();
    let network = network(&outline, Source::Topograph);
    let mut per_leaf: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, leaf) in &outline.nodes {
        *per_leaf.entry(leaf).or_default() += 1;
    }
    // 14 and 15 racks in use; rack-2-15 has 5 nodes, rack-1-04 has 7.
    assert_eq!((per_leaf.len(), groups(&network, Tier::Leaf)), (29, 29));
    assert_eq!((per_leaf["rack-2-15"], per_leaf["rack-1-04"], network.nvlink.len()), (5, 7, 2));
    assert!(outline.switches.contains("rack-1-03"), "a rack without nodes is a rack");
    assert_eq!(between(&network, "node0001", "node0010"), TierInterval::exactly(Tier::Nvlink));
    assert_eq!(between(&network, "node0001", "node0288"), TierInterval::exactly(Tier::Core));
}

#[test]
fn a_graph_of_netq_counts_cables_and_its_compute_nodes_are_in_domains() {
    let Some(bytes) = capture("netq/topologyGraph.json") else { return };
    assert_eq!(recognise(&bytes), Some(Kind::NetqGraph));
    let evidence = netq::graph(&bytes, "netq", AT).unwrap();
    let attached = evidence.iter().filter(|it| matches!(it.claim, Claim::Attached { .. })).count();
    // Eight hosts with four cables each, 28 and 19 cables from the two leaves to the spine.
    assert_eq!((attached, evidence.len()), (32, 32 + 2));
    let network = derive(&[], &evidence, AT).unwrap();
    let live: Vec<(&str, Option<u32>)> = network
        .links
        .iter()
        .map(|link| (network.switches[link.lower as usize].name.as_str(), link.live))
        .collect();
    assert_eq!(live, [("net-unit-l1", Some(28)), ("net-unit-l2", Some(19))]);
    assert_eq!(between(&network, "dgx-01", "dgx-02"), TierInterval::exactly(Tier::Leaf));
    assert_eq!(between(&network, "dgx-01", "dgx-05"), TierInterval::exactly(Tier::Block));

    let Some(bytes) = capture("netq/computeNodes.json") else { return };
    assert_eq!(recognise(&bytes), Some(Kind::NetqComputeNodes));
    let cluster = "3fbfc98b-7f95-4749-ab11-bd351a2aab3e";
    let mut evidence = netq::compute_nodes(&bytes, "netq", AT).unwrap();
    let network = derive(&[], &evidence, AT).unwrap();
    assert_eq!((&network.nvlink[..], &network.nvlink_clusters[..]), (&[cluster.to_string()][..], &[0][..]));
    // Which clique they are in the list does not tell.
    let maybe = TierInterval { best: Tier::Nvlink, worst: Tier::Site };
    assert_eq!(between(&network, "node1", "node2"), maybe);
    assert_eq!(
        slurm::write_conf(&Outline::of(&network)),
        "# left out, as nothing is known of their place: node[1-2]\n"
    );

    // A driver that tells the clique of one says no other thing than NetQ, nor by another uuid.
    let driver = |node: &str, clique: u8| {
        let claim = Claim::Nvlink { node: node.to_string(), domain: format!("{cluster}.{clique}") };
        Evidence::new(claim, Source::NvlinkFabric, "driver", AT)
    };
    evidence.push(driver("node1", 2));
    let network = derive(&[], &evidence, AT).unwrap();
    assert_eq!((network.nvlink.len(), network.conflicts.len()), (2, 0));
    assert_eq!(between(&network, "node1", "node2"), maybe);
    let whole =
        |clique| derive(&[], &[evidence.clone(), vec![driver("node2", clique)]].concat(), AT).unwrap();
    assert_eq!(between(&whole(2), "node1", "node2"), TierInterval::exactly(Tier::Nvlink));
    assert_eq!(between(&whole(3), "node1", "node2"), TierInterval { best: Tier::Leaf, worst: Tier::Site });
    assert_eq!(whole(3).nvlink, [format!("{cluster}.2"), format!("{cluster}.3")]);
    let other = Claim::Nvlink { node: "node1".to_string(), domain: "another-uuid.2".to_string() };
    let other = Evidence::new(other, Source::NvlinkFabric, "driver", AT);
    let netq = netq::compute_nodes(&bytes, "netq", AT).unwrap();
    let network = derive(&[], &[netq, vec![other]].concat(), AT).unwrap();
    assert_eq!((network.conflicts.len(), network.nvlink.len()), (0, 2));

    evidence.push(driver("node1", 3));
    assert_eq!(derive(&[], &evidence, AT).unwrap().conflicts.len(), 1, "two cliques are a conflict");
}

const CONF: &str = "\
# a tree and blocks
SwitchName=s0 Nodes=n[01-04],login LinkSpeed=100
switchname=s1 nodes=n[05-08]   # keys in any case
SwitchName=top \\
    Switches=s[0-1]
BlockName=b1 Nodes=n[01-08]
BlockSizes=4,8
";

#[test]
fn topology_conf_is_read_and_written_again() {
    let outline = slurm::read_conf(CONF.as_bytes()).unwrap();
    assert_eq!((outline.nodes.len(), outline.under.len(), outline.blocks.len()), (9, 2, 8));
    let found = network(&outline, Source::Slurm);
    assert_eq!(between(&found, "n01", "login"), TierInterval::exactly(Tier::Leaf));
    assert_eq!(between(&found, "n01", "n08"), TierInterval::exactly(Tier::Block));

    let written = slurm::write_conf(&outline);
    assert_eq!(
        written,
        "SwitchName=s0 Nodes=login,n[01-04]\nSwitchName=s1 Nodes=n[05-08]\nSwitchName=top Switches=s[0-1]\n"
    );
    let again = slurm::read_conf(written.as_bytes()).unwrap();
    assert_eq!((again.nodes, again.under), (outline.nodes, outline.under));

    let error = slurm::read_conf(b"SwitchName=s0 Nodes=n[1-\n").unwrap_err();
    assert_eq!(error.to_string(), "line 1: n[1-: a bracket is not closed, or is inside of another");
    assert!(
        slurm::read_conf(b"SwitchNam=s0\n")
            .unwrap_err()
            .to_string()
            .starts_with("line 1: expected SwitchName=")
    );
    assert!(slurm::read_conf(b"# nothing\n").is_err());
}

#[test]
fn topology_yaml_is_read_and_written_again() {
    let text = b"---\n- topology: small\n  tree:\n    switches:\n    - {switch: x, nodes: 'q[1-2]'}\n\
        - topology: main\n  cluster_default: true\n  tree:\n    switches:\n    - switch: top\n      children: s[0-1]\n\
        \x20   - {switch: s0, nodes: 'n[01-04]'}\n    - {switch: s1, nodes: 'n[05-08]'}\n\
        - topology: nvl\n  block:\n    block_sizes: [4]\n    blocks:\n    - {block: b1, nodes: 'n[01-04]'}\n- topology: f\n  flat: true\n";
    assert_eq!(recognise(text), Some(Kind::SlurmYaml));
    let outline = slurm::read_yaml(text).unwrap();
    assert_eq!((outline.nodes.len(), outline.under.len(), outline.blocks.len()), (8, 2, 4));
    let written = slurm::write_yaml(&outline);
    assert_eq!(slurm::read_yaml(written.as_bytes()).unwrap(), outline, "{written}");
    assert!(slurm::read_yaml(b"a: 1\n").is_err());
}

#[test]
fn a_networks_tree_goes_to_slurm_and_topograph_and_comes_back_as_the_same_distances() {
    let Some(bytes) = capture("ibnetdiscover/topograph-dgx-ndr-railopt-40sw-582ca.out") else { return };
    let fabric = phalanx_formats::ibnetdiscover::read(&bytes).unwrap();
    let real = derive(&[], &fabric.evidence("dump", AT), AT).unwrap();
    let outline = Outline::of(&real);
    // Slurm and topograph know one switch above a node: the unit is it.
    let conf = slurm::write_conf(&outline);
    assert!(
        conf.contains("SwitchName=B09-P1-IBLEAF-01-08_3 Nodes=ubuntu,B11-P1-CUFM-02,b08-p1-dgx-08-c[01,"),
        "{conf}"
    );
    assert_eq!(conf.lines().count(), 8 + 1);
    let json = topograph::write_json(&outline);
    assert_eq!(recognise(json.as_bytes()), Some(Kind::TopographJson));
    for (tree, source) in [
        (slurm::read_conf(conf.as_bytes()).unwrap(), Source::Slurm),
        (slurm::read_yaml(slurm::write_yaml(&outline).as_bytes()).unwrap(), Source::Slurm),
        (topograph::read_json(json.as_bytes()).unwrap(), Source::Topograph),
    ] {
        let back = network(&tree, source);
        assert_eq!(back.nodes.len(), 122);
        for a in &real.nodes {
            let (x, y) = ((&a.name, "ubuntu"), (&a.name, "a05-p1-dgx-01-c01"));
            for (a, b) in [x, y] {
                assert_eq!(between(&back, a, b), between(&real, a, b), "{a} {b}");
            }
        }
    }
}

#[test]
fn hypernodes_with_exact_members_are_a_tree_and_others_are_counted() {
    let text = b"apiVersion: topology.volcano.sh/v1alpha1\nkind: HyperNode\nmetadata: {name: s0}\nspec:\n  tier: 1\n  members:\n\
        \x20 - {type: Node, selector: {exactMatch: {name: node-0}}}\n  - {type: Node, selector: {exactMatch: {name: node-1}}}\n\
        \x20 - {type: Node, selector: {regexMatch: {pattern: 'node-[01]'}}}\n---\nkind: HyperNode\nmetadata: {name: s6}\nspec:\n  tier: 2\n  members:\n\
        \x20 - {type: HyperNode, selector: {exactMatch: {name: s0}}}\n";
    assert_eq!(recognise(text), Some(Kind::HyperNode));
    let outline = hypernode::read(text).unwrap();
    assert_eq!((outline.nodes.len(), outline.under.len(), outline.unknown), (2, 1, 1));
    assert!(hypernode::read(b"kind: Pod\n").is_err());
}

#[test]
fn a_statement_says_where_it_is_wrong() {
    let text = b"nodes:\n  n1: {leaf: a}\n  n2: {leav: b}\n";
    assert_eq!(recognise(text), Some(Kind::Statement));
    let error = statement::read(text, "site.yaml", AT).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 3, column 8: \"leav\" is no key here (is leaf meant?); known are leaf, block, core, site, nvlink, ports"
    );
    for (wrong, what) in [
        ("nodes: 3\n", "expected a mapping"),
        ("switches:\n  s: {uplinks: many}\n", "expected a number"),
        ("adapters:\n  xyz: {node: a, port: b}\n", "expected a GUID"),
        ("adapters:\n  ab12: {node: a}\n", "expected a node and a port"),
        ("nodes:\n  'n[1-': {leaf: a}\n", "a bracket is not closed"),
        ("", "the file is empty"),
    ] {
        let error = statement::read(wrong.as_bytes(), "x", AT).unwrap_err().to_string();
        assert!(error.contains(what), "{wrong}: {error}");
    }
}

#[test]
fn a_misspelt_key_is_told_what_was_meant_wherever_it_stands() {
    for (text, says) in [
        (
            "node:\n  n1: {leaf: l1}\n",
            "line 1, column 1: \"node\" is no key here (is nodes meant?); known are nodes, ",
        ),
        (
            "nodes:\n  n1: {leaf: l1}\nSwitch: {}\n",
            "line 3, column 1: \"Switch\" is no key here (is switches meant?)",
        ),
        ("nodes:\n  n1: {port: {eth0: {switch: l1}}}\n", "\"port\" is no key here (is ports meant?)"),
        ("nodes:\n  n1: {ports: {eth0: {swithc: l1}}}\n", "\"swithc\" is no key here (is switch meant?)"),
        ("switches:\n  l1: {uplink: 4}\n", "\"uplink\" is no key here (is uplinks meant?)"),
        ("adapters:\n  a1: {nod: n1, port: p}\n", "\"nod\" is no key here (is node meant?)"),
        ("nodes:\n  n1: {colour: red}\n", "\"colour\" is no key here; known are leaf, "),
    ] {
        let error = statement::read(text.as_bytes(), "x", AT).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
        assert_eq!(recognise(text.as_bytes()), Some(Kind::Statement), "{text}");
    }
    for text in ["node: {n1: {leaf: l1}}\n", "node:\n  n1:\n    leaf: l1\n", "switchs:\n  l1: {uplinks: 4}\n"]
    {
        assert_eq!(recognise(text.as_bytes()), Some(Kind::Statement), "{text}");
    }
    for key in ["nodes", "node", "Nodes", "ndoes", "noddes", "Node", "switch", "swtiches", "adapter"] {
        let text = format!("# ours\n{key}:\n  n1: {{leaf: l1}}\n");
        assert_eq!(recognise(text.as_bytes()), Some(Kind::Statement), "{key}");
    }
    for text in [
        "notes:\n  a: b\n",
        "modes: {a: b}\n",
        "node: n1\n",
        "metadata:\n  node:\n    a: b\n",
        "racks:\n  a: b\n",
        "node:\n  selector: {}\n  tolerations:\n  - key: gpu\n    operator: Exists\n",
        "node:\n  image: x\n  ports:\n    http: 80\n",
        "How to cable it.\n\nSwitch:\n  port 1 goes to the leaf: see below\n",
        "node: {image: x, leaf: y}\n",
        "Node:\nleaf: a\n",
    ] {
        assert_eq!(recognise(text.as_bytes()), None, "{text} is another file's");
    }
}

#[test]
fn what_a_text_in_utf_16_is_is_known_and_that_it_is_that() {
    let text = "node,leaf\nn1,l\u{1f600}\n";
    let words: Vec<u16> = std::iter::once(0xfeff).chain(text.encode_utf16()).collect();
    let little: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let big: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    for bytes in [&little, &big] {
        assert_eq!(recognise(bytes), Some(Kind::Csv));
        for end in 0..bytes.len() {
            let _ = recognise(&bytes[..end]);
        }
        let error = statement::read(bytes, "x", AT).unwrap_err().to_string();
        assert_eq!(error, "this is UTF-16 text; save it as UTF-8 (`iconv -f UTF-16 -t UTF-8` writes it so)");
    }
}

#[test]
fn a_statement_puts_nodes_into_blocks_and_says_what_uplinks_a_leaf_should_have() {
    let text = b"nodes:\n  'n[1-2]': {leaf: l1, block: b1}\n  n3: {block: b1}\n  n4: {block: b2}\nswitches:\n  l1: {uplinks: 4}\n";
    let evidence = statement::read(text, "site.yaml", AT).unwrap();
    let network = derive(&[], &evidence, AT).unwrap();
    assert_eq!(between(&network, "n1", "n2"), TierInterval::exactly(Tier::Leaf));
    let n3 = between(&network, "n1", "n3");
    assert_eq!(n3, TierInterval { best: Tier::Leaf, worst: Tier::Block }, "its leaf is not known");
    assert_eq!(between(&network, "n3", "n4"), TierInterval { best: Tier::Leaf, worst: Tier::Site });
    // Nobody counts cables here: how many of the four work is unknown, and nothing is short.
    assert_eq!((network.switches[0].uplinks, findings(&network)), (None, vec![]));
}

#[test]
fn names_that_are_no_text_and_a_line_that_goes_on_into_nothing_are_not_passed_over() {
    let yaml = b"- topology: tree\n  tree:\n    switches:\n      - switch: s1\n        nodes: [n1, n2]\n";
    assert!(slurm::read_yaml(yaml).unwrap_err().to_string().starts_with("line 5: "));
    let outline = slurm::read_conf(b"SwitchName=s1 Nodes=n1\nSwitchName=s2 Nodes=n2 \\").unwrap();
    assert_eq!(outline.nodes.len(), 2, "{outline:?}");
}

#[test]
fn a_small_statement_does_not_stand_for_billions_of_names() {
    let names = ["a", "b", "c", "d", "e"].map(|name| format!("  '{name}[0-49999]': {{}}\n"));
    let many = format!("nodes:\n{}", names.concat());
    let error = statement::read(many.as_bytes(), "x", AT).unwrap_err().to_string();
    assert!(error.starts_with("line 6") && error.contains("more than"), "{error}");
}

#[test]
fn a_name_is_no_second_line_in_what_is_written_and_no_order_to_a_terminal() {
    let bad = r#"{"instances": [{"id": "n1\nSwitchName=x Nodes=y", "network_layers": ["l,1"]}]}"#;
    let outline = topograph::read_json(bad.as_bytes()).unwrap();
    assert_eq!(slurm::write_conf(&outline), "SwitchName=l_1 Nodes=n1_SwitchName_x_Nodes_y\n");
    let network = derive(&[], &outline.evidence(Source::Topograph, "x", AT), AT).unwrap();
    assert_eq!((network.nodes.len(), network.refused), (0, 1));
}

#[test]
fn kinds_are_told_apart() {
    for (text, kind) in [
        (CONF, Kind::SlurmConf),
        ("{\"lldp\": {}}", Kind::Lldpctl),
        ("{\"version\":1,\"hash\":\"\",\"network\":{}}", Kind::Snapshot),
        ("Hca 2 \"Hca1\"\n", Kind::Ibnetdiscover),
        ("switches:\n  s1: {uplinks: 3}\n", Kind::Statement),
        ("switches:\n  s1:\n    labels:\n      zone: a\n", Kind::TopographModel),
    ] {
        assert_eq!(recognise(text.as_bytes()), Some(kind), "{text}");
    }
    assert_eq!(recognise(b"hello"), None);
    assert_eq!(recognise(b""), None);
    for (path, kind) in [
        ("ibnetdiscover/plafrim2-ports-format-with-DR.txt", Kind::Ibnetdiscover),
        ("ibnetdiscover/ibsim-net.1", Kind::Ibnetdiscover),
        ("lldp/generated/sw1.json", Kind::Lldpctl),
        ("lldp/lldpd-frames/sg200.pcap", Kind::Pcap),
    ] {
        let Some(bytes) = capture(path) else { return };
        assert_eq!(recognise(&bytes), Some(kind), "{path}");
    }
}

#[test]
fn a_number_that_is_too_large_in_a_statement_is_told_the_limit() {
    for (text, limit) in [
        ("nodes:\n  n1: {ports: {eth0: {rail: 70000}}}\n", "a number from 0 to 65535"),
        ("switches:\n  s1: {uplinks: 5000000000}\n", "a number from 0 to 4294967295"),
    ] {
        let error = statement::read(text.as_bytes(), "x", AT).unwrap_err().to_string();
        assert!(error.contains(limit), "{error}");
    }
}

#[test]
fn a_node_whose_place_is_in_other_planes_is_left_out_for_that_with_all_of_them() {
    let text = "nodes:\n  n1: {leaf: a}\n  n2: {leaf: a}\n  n3: {leaf: b}\n\
                \x20 n4: {ports: {eth0: {switch: b}, eth1: {switch: c}}}\n\
                switches:\n  a: {plane: one}\n  b: {plane: two}\n  c: {plane: three}\n";
    let evidence = statement::read(text.as_bytes(), "x", AT).unwrap();
    let outline = Outline::of(&derive(&[], &evidence, AT).unwrap());
    let expected = "# left out, as their place is known in the planes three and two only: n4\n\
                    # left out, as their place is known in the plane two only: n3\nSwitchName=a Nodes=n[1-2]\n";
    assert_eq!(slurm::write_conf(&outline), expected);
}

#[test]
fn a_switch_with_no_node_below_it_is_no_child_in_what_is_written_for_slurm() {
    let mut outline = Outline::default();
    let pair = |a: &str, b: &str| (a.to_string(), b.to_string());
    outline.under = [pair("leaf", "s2"), pair("empty", "s1"), pair("s1", "core"), pair("s2", "core")].into();
    outline.nodes = [pair("n1", "leaf")].into();
    let written = slurm::write_conf(&outline);
    assert_eq!(
        written,
        "SwitchName=leaf Nodes=n1\nSwitchName=core Switches=s2\nSwitchName=s2 Switches=leaf\n"
    );
    assert!(!slurm::write_yaml(&outline).contains("s1"));
}
