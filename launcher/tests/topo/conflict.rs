//! A dump of InfiniBand, a list of LLDP neighbours and the operator disagree.

use tempfile::TempDir;

use crate::support::{files, topo};

const DUMP: &str = "\
switchguid=0xb001(b001)
Switch\t4 \"S-000000000000b001\"\t\t# \"leaf-a\" base port 0 lid 1 lmc 0
[1]\t\"H-000000000000a001\"[1](a0011) \t\t# \"gpu-1 mlx5_0\" lid 2 4xNDR
[2]\t\"H-000000000000a002\"[1](a0021) \t\t# \"gpu-2 mlx5_0\" lid 3 4xNDR
caguid=0xa001
Ca\t1 \"H-000000000000a001\"\t\t# \"gpu-1 mlx5_0\"
[1](a0011) \t\"S-000000000000b001\"[1]\t\t# lid 2 lmc 0 \"leaf-a\" lid 1 4xNDR
caguid=0xa002
Ca\t1 \"H-000000000000a002\"\t\t# \"gpu-2 mlx5_0\"
[1](a0021) \t\"S-000000000000b001\"[2]\t\t# lid 3 lmc 0 \"leaf-a\" lid 1 4xNDR
";

const HEARD: &str = r#"{"lldp": [{"interface": [{"name": "mlx5_0", "via": "LLDP",
  "chassis": [{"id": [{"type": "mac", "value": "3e:cc:04:9c:17:ad"}], "name": [{"value": "leaf-b"}]}],
  "port": [{"id": [{"type": "ifname", "value": "swp7"}], "ttl": [{"value": "120"}]}]}]}]}"#;

const STATED: &str = "nodes:\n  gpu-1:\n    ports:\n      mlx5_0: {switch: leaf-c, port: \"3\"}\n";

fn cluster() -> TempDir {
    // What the last one says of the node nobody disputes.
    let rack = "nodes:\n  gpu-1: {nvlink: rack1}\n";
    files(&[("fabric.out", DUMP), ("gpu-1.json", HEARD), ("site.yaml", STATED), ("rack.yaml", rack)])
}

#[test]
fn all_three_sides_are_shown_with_the_decision_and_its_reason() {
    let dir = cluster();
    let expected = "\
1 conflict between sources

WARNING  gpu-1 mlx5_0: sources disagree about the switch it is attached to
         counts    leaf-c, says the operator: ./site.yaml, line 2, 2024-07-03T09:46:40Z
         against   leaf-a, says InfiniBand: ./fabric.out, 2024-07-03T09:46:40Z
         against   leaf-b, says LLDP: ./gpu-1.json, 2024-07-03T09:46:40Z
         because   the first counts for its source ranks higher
         to do     find out which is right, and correct the other or state it
";
    assert_eq!(topo(dir.path(), &["--conflicts", "--from", "."]).clean(), expected);
    let check = topo(dir.path(), &["check", "--from", "."]);
    assert_eq!(check.code, 1);
    assert!(check.out.contains(&expected[expected.find("WARNING").unwrap()..]), "{}", check.out);
    let json = topo(dir.path(), &["check", "--json", "--from", "."]).json();
    let conflict =
        json["findings"].as_array().unwrap().iter().find(|found| !found["problem"]["conflict"].is_null());
    let conflict = conflict.unwrap();
    assert_eq!(conflict["problem"]["conflict"]["claims"].as_array().unwrap().len(), 3);
    assert_eq!(conflict["problem"]["conflict"]["reason"], "rank");
    assert_eq!(conflict["evidence"].as_array().unwrap().len(), 3);
}

#[test]
fn the_tree_follows_the_decision_and_counts_the_conflict() {
    let dir = cluster();
    let out = topo(dir.path(), &["--from", "fabric.out", "gpu-1.json", "site.yaml"]).clean();
    let expected = "\
2 nodes · 3 switches · 2 planes
known by    InfiniBand: fabric.out (2 claims, newest 2024-07-03T09:46:40Z)
known by    LLDP: gpu-1.json (1 claim, newest 2024-07-03T09:46:40Z)
known by    the operator: site.yaml (1 claim, newest 2024-07-03T09:46:40Z)
conflicts   1 conflict between sources (--conflicts)
findings    2 warnings

infiniband  InfiniBand, 1 node, 1 switch, jobs' traffic
└─ leaf-a  1 node  gpu-2

declared  written down by somebody, 1 node, 1 switch
└─ leaf-c  1 node  gpu-1

`phalanx topo check --from fabric.out gpu-1.json site.yaml` says what is wrong (2 findings); `phalanx topo gpu-1 --from fabric.out gpu-1.json site.yaml` shows a node
";
    assert_eq!(out, expected);
    let ascii = topo(dir.path(), &["--color", "always", "--from", "fabric.out"]).clean();
    assert!(ascii.contains("\x1b[1minfiniband\x1b[0m"), "{ascii:?}");
}

#[test]
fn a_misspelt_node_of_a_statement_is_named_with_its_file_and_the_name_that_was_meant() {
    let tree = "node,leaf\ngpu-01,leaf-1\ngpu-02,leaf-1\ngpu-03,leaf-2\n";
    let site =
        "nodes:\n  gup-02: {nvlink: rack1}\nswitches:\n  leaf-2: {uplinks: 4}\n  laef-1: {uplinks: 4}\n";
    let dir = files(&[("tree.csv", tree), ("site.yaml", site)]);
    let check = topo(dir.path(), &["check", "--from", "."]);
    let expected = "
WARNING  ./site.yaml: no other source knows the node gup-02 (is gpu-02 meant?)
         known by  the operator: ./site.yaml, 2024-07-03T09:46:40Z
         to do     correct the names that are misspelt; nodes that have not joined are known once they do

WARNING  ./site.yaml: no other source knows the switch laef-1 (is leaf-1 meant?)
         known by  the operator: ./site.yaml, 2024-07-03T09:46:40Z
";
    assert!(check.code == 1 && check.out.contains(expected), "{}", check.out);
    let json = topo(dir.path(), &["check", "--json", "--from", "."]).json();
    let of = |found: &&serde_json::Value| found["problem"]["unseen"]["names"][0]["nearest"] == "gpu-02";
    assert_eq!(json["findings"].as_array().unwrap().iter().filter(of).count(), 1, "{json:#}");
}

#[test]
fn a_guid_that_no_port_has_is_told_with_its_file_and_makes_no_port() {
    let dump = "switchguid=0xb001(b001)\nSwitch\t4 \"S-000000000000b001\"\t\t# \"leaf-a\" base port 0 lid 1 lmc 0\n\
        [3]\t\"H-000000000000a001\"[1](a0011) \t\t# \"HCA\" lid 2 4xNDR\n\ncaguid=0xa001\n\
        Ca\t1 \"H-000000000000a001\"\t\t# \"HCA\"\n[1](a0011) \t\"S-000000000000b001\"[3]\t\t# lid 2 lmc 0 \"leaf-a\" lid 1 4xNDR\n";
    let site = |guid: &str| format!("# of rack 1\nadapters:\n  {guid}: {{node: gpu-07, port: mlx5_0}}\n");
    let dir = files(&[("fabric.out", dump), ("wrong.yaml", &site("a0012")), ("adapter.yaml", &site("a001"))]);
    let wrong = topo(dir.path(), &["check", "--from", "fabric.out", "wrong.yaml"]);
    let says = "WARNING  wrong.yaml: no port has the GUID 00000000000a0012, stated of gpu-07 mlx5_0 in line 3 \
        (is 00000000000a0011 meant?)";
    assert!(wrong.code == 1 && wrong.out.contains(says), "{}{}", wrong.out, wrong.err);
    assert!(wrong.out.contains("known by  the operator: wrong.yaml"), "{}", wrong.out);
    let adapter = topo(dir.path(), &["gpu-07", "--from", "fabric.out", "adapter.yaml"]).clean();
    assert!(adapter.contains("mlx5_0  400G   leaf-a  3"), "{adapter}");
}

#[test]
fn hosts_on_two_leaves_of_which_one_is_spoken_of_are_told_by_check() {
    let port = |name: &str, switch: &str| {
        format!(
            r#"{{"name": "{name}", "via": "LLDP", "chassis": [{{"id": [{{"type": "local", "value": "{switch}"}}],
            "name": [{{"value": "{switch}"}}]}}], "port": [{{"id": [{{"type": "ifname", "value": "swp1"}}], "ttl": [{{"value": "120"}}]}}]}}"#
        )
    };
    let heard =
        format!(r#"{{"lldp": [{{"interface": [{}, {}]}}]}}"#, port("eth0", "leaf-a"), port("eth1", "leaf-b"));
    let site = |of: &str| format!("switches:\n  {of}: {{under: spine}}\n");
    let dir = files(&[
        ("n1.json", &heard),
        ("n2.json", &heard),
        ("one.yaml", &site("leaf-a")),
        ("both.yaml", &site("leaf-a,leaf-b")),
    ]);
    let found = |site: &str| topo(dir.path(), &["check", "--from", "n1.json", "n2.json", site]);
    let one = found("one.yaml");
    let says = "
NOTICE   leaf-a: 2 nodes hang on leaves of one network, and what is written of some of them puts these into several planes: leaf-a in ethernet, leaf-b in ethernet-2; the operator (one.yaml, line 2) wrote of leaf-a
";
    assert!(
        one.code == 1 && one.out.contains(says) && one.out.contains("known by  the operator: one.yaml"),
        "{}",
        one.out
    );
    let both = found("both.yaml");
    assert!(!both.out.contains("several planes"), "{}", both.out);
}
