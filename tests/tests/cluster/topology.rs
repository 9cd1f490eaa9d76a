//! What a cluster finds out about its own networks: real switches, real LLDP, real beacons.

use std::collections::BTreeSet;

use phalanx_common::topology::machine::{Machine, Nic, Rdma};
use phalanx_common::topology::{Guid, LinkLayer, Network, PortRef, Snapshot};
use phalanx_common::wire::bytes::Bytes;
use phalanx_common::wire::topology_v1::{FromNode, ToNode};
use phalanx_net::identity_file::Identity;
use phalanx_worker::link::{QuicLink, QuicTopology, TopologyLink};

use crate::lab::Lab;
use crate::peer;
use crate::support::{Running, wait_for};

/// The coordinator's facts; `None` before it has any.
fn network(lab: &Lab) -> Option<Network> {
    let told = lab.operate(&["topo", "--json"]);
    let text = told.status.success().then(|| told.out())?;
    let snapshot = Snapshot::<Machine>::from_json(text.trim().as_bytes()).expect("a snapshot");
    Some(snapshot.network().clone())
}

/// The switch that a node's port hangs on.
fn switch<'n>(network: &'n Network, node: &str) -> Option<&'n str> {
    let node = network.nodes.iter().find(|it| it.name == node)?;
    let at = node.ports.iter().find(|port| port.name == "fab0")?.at.as_ref()?;
    network.switches.get(at.switch as usize).map(|switch| switch.name.as_str())
}

/// Nodes whose ports of that name share a layer-2 domain with this node's.
fn domain(network: &Network, node: &str, port: &str) -> BTreeSet<String> {
    let name = |at: &PortRef| {
        let node = &network.nodes[at.node as usize];
        (node.name.clone(), node.ports[at.port as usize].name.clone())
    };
    let own = (node.to_owned(), port.to_owned());
    let domain = network.layer2.iter().find(|ports| ports.iter().any(|at| name(at) == own));
    domain.into_iter().flatten().map(|at| name(at).0).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Says what the cluster knew when a test fails.
struct Shown<'a>(&'a Lab);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- phalanx topo\n{}", self.0.operate(&["topo"]).out());
        }
    }
}

#[test]
fn nodes_find_their_switches_by_lldp_and_who_shares_their_layer_2_by_beacons() {
    let Some(mut lab) = Lab::new(3) else { return };
    if !lab.add_switch("sw1") || !lab.add_switch("sw2") {
        return;
    }
    for (node, switch) in [("node1", "sw1"), ("node2", "sw1"), ("node3", "sw2")] {
        lab.cable(node, switch);
    }
    lab.serve();
    lab.join_all();

    let _shown = Shown(&lab);
    let found = wait_for("three nodes at two switches", || {
        let network = network(&lab)?;
        let switches = ["node1", "node2", "node3"].map(|node| switch(&network, node).map(str::to_owned));
        let right = switches == ["sw1", "sw1", "sw2"].map(|name| Some(name.to_owned()));
        let domains = domain(&network, "node1", "fab0") == set(&["node1", "node2"]);
        (right && domains && domain(&network, "node1", "ctl0").len() == 3).then_some(network)
    });
    assert_eq!(domain(&found, "node3", "fab0"), set(&[]), "it is alone behind its switch");
    let row = |name: &str| found.node(name).expect("the node");
    let near = found.distance(row("node1"), row("node2"));
    let far = found.distance(row("node1"), row("node3"));
    assert!(near.worst < far.best, "{near:?} {far:?}");

    // One broadcast domain by now, and two switches all the same.
    lab.trunk("sw1", "sw2");
    let trunked = wait_for("one layer-2 domain", || {
        let network = network(&lab)?;
        (domain(&network, "node1", "fab0") == set(&["node1", "node2", "node3"])).then_some(network)
    });
    assert_eq!((switch(&trunked, "node1"), switch(&trunked, "node3")), (Some("sw1"), Some("sw2")));

    lab.move_cable("node2", "sw1", "sw2");
    wait_for("the moved cable", || (switch(&network(&lab)?, "node2") == Some("sw2")).then_some(()));
    let log = lab.log("coordinator");
    assert!(log.contains("port fab0 of node2 moved from sw1 to sw2"), "{log}");
}

/// Two hosts at one switch, a third at another, two cables between the switches.
const FABRIC: &str = "\
Switch 8 \"leaf-a\"\n[1]\t\"host-1\"[1]\n[2]\t\"host-2\"[1]\n[3]\t\"leaf-b\"[3]\n[4]\t\"leaf-b\"[4]\n\n\
Switch 8 \"leaf-b\"\n[1]\t\"host-3\"[1]\n[3]\t\"leaf-a\"[3]\n[4]\t\"leaf-a\"[4]\n\n\
Hca 2 \"host-1\"\n[1]\t\"leaf-a\"[1]\n\nHca 2 \"host-2\"\n[1]\t\"leaf-a\"[2]\n\nHca 2 \"host-3\"\n[1]\t\"leaf-b\"[1]\n";

/// What the real `ibnetdiscover` writes about that fabric, which ibsim plays; `None`, with a line that says so,
/// where they are not installed.
fn dump(lab: &Lab) -> Option<String> {
    let net = lab.dir.join("fabric.net");
    std::fs::write(&net, FABRIC).expect("a file of the fabric");
    // Debian has one library per architecture.
    let script = r#"lib=$(ls /usr/lib/*/umad2sim/libumad2sim.so) && command -v ibsim ibnetdiscover >/dev/null || exit 77
        ibsim -s -n "$0" </dev/null >ibsim.log 2>&1 & sim=$!
        for _ in $(seq 200); do LD_PRELOAD=$lib ibnetdiscover 2>/dev/null && break; sleep 0.1; done
        kill $sim"#;
    let done = Running::start(lab.on("node1", "sh", &["-c", script, &net.to_string_lossy()])).finish();
    if done.status.code() == Some(77) {
        crate::support::skipped("ibsim and ibnetdiscover (ibsim-utils, infiniband-diags) are not installed");
        return None;
    }
    Some(done.out()).filter(|dump| dump.contains("Switch")).or_else(|| panic!("a dump"))
}

/// A machine with one InfiniBand port.
fn machine(host: &str, guid: &str) -> Machine {
    let mut nic = Nic::new("mlx5_0/1", LinkLayer::InfiniBand);
    nic.rdma = Some(Rdma {
        device: "mlx5_0".to_owned(),
        port: 1,
        guid: Some(guid.parse().expect("a GUID")),
        node_guid: None,
        subnet: Some(SUBNET.to_string().parse().expect("a prefix")),
        lid: Some(1),
        sm_lid: Some(1),
    });
    Machine { host: Some(host.to_owned()), nics: vec![nic], ..Machine::default() }
}

const SUBNET: Guid = Guid(0xfe80 << 48);

/// A worker's topology stream, spoken by hand, with what holds its connection.
async fn stream(identity: &Identity) -> (QuicTopology, QuicLink) {
    let connected = peer::connect(identity).await;
    let link = QuicLink::greet(connected.endpoint, connected.connection).await.expect("a Hello");
    (link.open_topology().await.expect("a stream"), link)
}

async fn tell(stream: &mut QuicTopology, machine: &Machine) {
    let bytes = serde_json::to_vec(machine).expect("JSON");
    let (first, second) = bytes.split_at(bytes.len() / 2);
    for (part, last) in [(first, false), (second, true)] {
        stream.tell(FromNode::Machine { part: Bytes(part.to_vec()), last }).await.expect("it is taken");
    }
}

#[test]
fn the_node_that_is_asked_tells_an_infiniband_fabric_and_ports_are_joined_by_guid() {
    let Some(mut lab) = Lab::new(1) else { return };
    let Some(dump) = dump(&lab) else { return };
    lab.serve();
    let guids: Vec<&str> = dump
        .lines()
        .filter_map(|line| line.strip_prefix("[1](").filter(|line| line.contains("\"S-"))?.split(')').next())
        .collect();
    assert_eq!(guids.len(), 3, "three ports of hosts in {dump}");
    let workers = ["w1", "w2"].map(|state| {
        crate::strangers::join(&lab, &crate::strangers::token(&lab, &[]), state).assert_code(0);
        Identity::load(&lab.dir.join(state).join("identity.json")).expect("an identity")
    });
    lab.within("node1", async || {
        let (mut first, _link) = stream(&workers[0]).await;
        let (mut second, second_link) = stream(&workers[1]).await;
        tell(&mut first, &machine("h1", guids[0])).await;
        tell(&mut second, &machine("h2", guids[2])).await;
        second.tell(FromNode::Fabrics(vec![SUBNET.0])).await.expect("it is taken");
        let asked = async |stream: &mut QuicTopology| loop {
            if let ToNode::TellFabric { subnet } = stream.asked().await.expect("a question") {
                break subnet;
            }
        };
        assert_eq!(asked(&mut second).await, SUBNET.0);
        first.tell(FromNode::Fabrics(vec![SUBNET.0])).await.expect("it is taken");
        for chunk in dump.as_bytes().chunks(100) {
            let part = Bytes(chunk.to_vec());
            second.tell(FromNode::Fabric { subnet: SUBNET.0, part, last: false }).await.expect("it is taken");
        }
        let part = Bytes(Vec::new());
        second.tell(FromNode::Fabric { subnet: SUBNET.0, part, last: true }).await.expect("it is taken");
        let known = loop {
            match network(&lab).filter(|network| network.switches.len() == 2) {
                Some(network) => break network,
                None => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            }
        };
        let at = |node: &str| {
            let node = known.nodes.iter().find(|it| it.name == node).expect("the node");
            node.ports[0].at.as_ref().map(|at| known.switches[at.switch as usize].name.clone())
        };
        let found = (at("h1"), at("h2"));
        let both = [&found.0, &found.1].map(|name| name.clone().expect("a switch"));
        assert_eq!(BTreeSet::from(both), set(&["leaf-a", "leaf-b"]), "{found:?}");
        // The one that told goes: the other is asked.
        drop((second, second_link));
        assert_eq!(asked(&mut first).await, SUBNET.0);

        // What nobody asked for, and what is no machine, ends that stream and no other.
        for wrong in [
            FromNode::Fabric { subnet: 7, part: Bytes(vec![0]), last: true },
            FromNode::Machine { part: Bytes(b"{\"host\": 7}".to_vec()), last: true },
        ] {
            let (mut stream, _link) = stream(&workers[1]).await;
            stream.tell(wrong).await.expect("it is taken");
            while stream.asked().await.is_ok() {}
        }
    });
    assert_eq!(network(&lab).expect("the facts").switches.len(), 2);
}

/// What `phalanx topo` with these arguments prints; `check` ends with 1 where it has findings.
fn shown(lab: &Lab, args: &[&str]) -> String {
    let told = lab.operate(&[&["topo"], args].concat());
    assert!(matches!(told.status.code(), Some(0 | 1)), "{}", told.err());
    told.out()
}

fn json(lab: &Lab, args: &[&str]) -> serde_json::Value {
    serde_json::from_str(&shown(lab, args)).expect("JSON")
}

#[test]
fn a_statement_that_is_wrong_is_named_wherever_people_look_until_it_is_right() {
    let Some(mut lab) = Lab::new(1) else { return };
    let site = lab.dir.join("site.yaml");
    let state = |text: &str| std::fs::write(&site, text).expect("a statement");
    state("nodes:\n  node1: {leaf: leaf-1}\n");
    lab.serve_with(&["--topology", &site.to_string_lossy()]);
    lab.join_all();
    let _shown = Shown(&lab);
    let leaf = |name: &str| network(&lab).is_some_and(|it| it.switches.iter().any(|it| it.name == name));
    wait_for("the statement", || leaf("leaf-1").then_some(()));
    assert!(!shown(&lab, &["check"]).contains("not in force"));

    state("nodes:\n  node1: {laef: leaf-22}\n");
    let says = format!("{}: it is not in force, and what all files of --topology said", site.display());
    let found = wait_for("the wrong statement", || {
        Some(shown(&lab, &["check"])).filter(|found| found.contains(&says))
    });
    assert!(
        found.contains("line 2, column 11: \"laef\" is no key here") && found.contains("to do"),
        "{found}"
    );
    let tree = shown(&lab, &[]);
    let line =
        format!("not taken   {}: it looks like an operator's statement: line 2, column 11", site.display());
    assert!(tree.contains(&line), "{tree}");
    let of_check = json(&lab, &["check", "--json"]);
    let file = site.to_string_lossy();
    let is_it = |found: &&serde_json::Value| {
        found["subject"] == *file && found["problem"]["not-taken"]["why"].is_string()
    };
    assert_eq!(
        of_check["findings"].as_array().expect("findings").iter().filter(is_it).count(),
        1,
        "{of_check:#}"
    );
    let of_topo = json(&lab, &["--json"]);
    assert!(
        of_topo["beside"]["others"].as_array().expect("findings").iter().any(|found| is_it(&found)),
        "{of_topo:#}"
    );
    assert!(leaf("leaf-1"), "what it said before counts");

    state("nodes:\n  node1: {leaf: leaf-22}\n");
    wait_for("the statement that is right", || leaf("leaf-22").then_some(()));
    assert!(!shown(&lab, &["check"]).contains("not in force") && !shown(&lab, &[]).contains("not taken"));
}

#[test]
fn a_node_without_a_link_is_shown_as_such_and_a_file_of_it_says_the_same() {
    let Some(mut lab) = Lab::new(2) else { return };
    lab.serve();
    lab.join_all();
    wait_for("two nodes", || (network(&lab)?.nodes.len() == 2).then_some(()));
    assert!(!shown(&lab, &[]).contains("unreachable"));
    lab.kill("node2");
    let _shown = Shown(&lab);
    let tree = wait_for("the lost link", || {
        Some(shown(&lab, &[])).filter(|tree| tree.contains("unreachable node2, shown as they told last\n"))
    });
    assert!(tree.contains("1 node unreachable  node2\n"), "{tree}");
    assert!(shown(&lab, &["node2"]).starts_with("node2\nunreachable, shown as it told last\n"));
    assert!(!shown(&lab, &["node1"]).contains("unreachable"));
    let picture = lab.dir.join("picture.svg");
    shown(&lab, &["--svg", &picture.to_string_lossy()]);
    let picture = std::fs::read_to_string(picture).expect("a picture");
    assert!(
        picture.contains("<title>node2, unreachable</title>") && picture.contains("<title>node1</title>")
    );

    let saved = lab.dir.join("cluster.json");
    let text = shown(&lab, &["--json"]);
    let beside: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(beside["beside"]["unreachable"], serde_json::json!(["node2"]));
    std::fs::write(&saved, text).expect("a file");
    let of_file = shown(&lab, &["--from", &saved.to_string_lossy()]);
    assert!(of_file.contains("1 node unreachable  node2\n"), "{of_file}");
    let texts = |of: serde_json::Value| -> Vec<String> {
        let found = of["findings"].as_array().expect("findings").clone();
        found.iter().map(|found| found["text"].to_string()).collect()
    };
    let of_file = texts(json(&lab, &["check", "--json", "--from", &saved.to_string_lossy()]));
    let of_cluster = texts(json(&lab, &["check", "--json"]));
    // Two hosts of one name, as the lab has them: what is found in machines.
    assert_eq!(of_file, of_cluster);
}
