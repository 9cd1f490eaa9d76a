//! Dumps of InfiniBand subnets in their formats.

#![allow(clippy::unwrap_used, reason = "in a test that is how it fails")]

mod support;

use phalanx_common::time::Timestamp;
use phalanx_common::topology::{Capacity, Network, PlaneKind, Problem, Tier, TierInterval, derive, findings};
use phalanx_formats::ibnetdiscover::{self, Error};
use proptest::prelude::*;
use support::{archived, capture, captures};

fn network(path: &str) -> Option<Network> {
    let fabric = ibnetdiscover::read(&capture(&format!("ibnetdiscover/{path}"))?).unwrap();
    Some(derive(&[], &fabric.evidence(path, Timestamp(0)), Timestamp(1)).unwrap())
}

#[test]
fn a_report_of_ports_with_progress_before_it_is_a_whole_cluster() {
    let Some(network) = network("plafrim2-ports-format-with-DR.txt") else { return };
    assert_eq!((network.nodes.len(), network.switches.len(), network.unjoined.len()), (96, 7, 0));
    let nodes_on = |name: &str| {
        let at = network.switches.iter().position(|switch| switch.name == name).unwrap();
        let ports = network.nodes.iter().flat_map(|node| &node.ports);
        ports.filter(|port| port.at.as_ref().is_some_and(|it| it.switch as usize == at)).count()
    };
    assert_eq!(
        ["TS-i12k00066a00e3006b6f", "ibedge01", "TS-i12k00066a00e30076ab", "ibedge03", "ibedge02"]
            .map(nodes_on),
        [24, 24, 20, 19, 9]
    );
    let told: Vec<String> = findings(&network).iter().map(ToString::to_string).collect();
    assert_eq!(told, ["TS-i12k00066a00e30076ab: 11 of 12 uplinks work (5 of 6 to ibcore01)"]);
    let row = |name| network.node(name).unwrap();
    assert_eq!(network.distance(row("miriel045"), row("miriel067")), TierInterval::exactly(Tier::Leaf));
    assert_eq!(network.distance(row("miriel045"), row("miriel023")), TierInterval::exactly(Tier::Block));
}

#[test]
fn two_subnets_of_one_cluster_are_two_planes_and_a_node_may_be_in_both() {
    let mut evidence = Vec::new();
    for subnet in ["0000", "0001"] {
        let member = format!("plafrim2/ib-raw/ib-subnet-fe80:0000:0000:{subnet}.txt");
        let Some(bytes) = archived("netloc-clusters/plafrim2.txz", &member) else { return };
        evidence.extend(ibnetdiscover::read(&bytes).unwrap().evidence(subnet, Timestamp(0)));
    }
    let network = derive(&[], &evidence, Timestamp(1)).unwrap();
    let planes: Vec<&str> = network.planes.iter().map(|plane| plane.name.as_str()).collect();
    assert_eq!((planes, network.main), (vec!["infiniband", "infiniband-2"], Some(0)));
    // 96 hosts in the first, 2 of 23 adapters of the second have a name, and one of them is in both.
    assert_eq!((network.nodes.len(), network.unjoined.len()), (97, 21));
    let places = |name| network.nodes[network.node(name).unwrap() as usize].places.len();
    assert_eq!((places("bright"), places("sirocco06"), places("sirocco01")), (2, 1, 1));
    let row = |name| network.node(name).unwrap();
    let second = network.distance_in(1, row("bright"), row("sirocco06"));
    assert_eq!(second, TierInterval::exactly(Tier::Leaf));
    let main = network.distance(row("bright"), row("sirocco06"));
    assert_eq!(main, TierInterval { best: Tier::Leaf, worst: Tier::Site }, "nobody saw it in the main plane");
}

#[test]
fn adapters_that_are_called_by_their_model_have_no_node() {
    let Some(network) = network("ibtopotool-1.topo") else { return };
    // Five cables of four adapters; one has two ports.
    assert_eq!((network.nodes.len(), network.unjoined.len(), network.links.len()), (0, 5, 1));
    assert_eq!(network.links[0].live, Some(2));
    assert_eq!(network.links[0].rate_mbps, Some(2_500), "the slower of the two ends, and of the two cables");
    let strangers = findings(&network);
    assert!(strangers.iter().all(|found| matches!(found.problem, Problem::Unjoined { .. })), "{strangers:?}");
}

#[test]
fn small_and_simulated_nets_are_read() {
    let Some(two) = network("ibtopotool-2.topo") else { return };
    let names: Vec<&str> = two.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!((names, two.switches.len()), (vec!["compute-00-00", "compute-00-01"], 1));
    assert_eq!(two.distance(0, 1), TierInterval::exactly(Tier::Leaf));

    let Some(four) = network("ibsim-net.2sw2path4hca") else { return };
    assert_eq!((four.nodes.len(), four.switches.len(), four.links[0].live), (4, 2, Some(2)));
    let row = |name| four.node(name).unwrap();
    assert_eq!(four.distance(row("Hca1"), row("Hca3")), TierInterval::exactly(Tier::Leaf));
    assert_eq!(
        four.distance(row("Hca1"), row("Hca2")),
        TierInterval::exactly(Tier::Block),
        "beside each other"
    );

    let Some(one) = network("ibsim-net") else { return };
    let uplinks: Vec<Option<Capacity>> = one.switches.iter().map(|switch| switch.uplinks).collect();
    assert_eq!(uplinks, [Some(Capacity { live: 2, expected: 0 }), None]);
}

#[test]
fn bytes_of_a_name_that_are_no_text_stay_visible_and_tell_names_apart() {
    let dump = |name: &[u8]| [b"Switch 8 \"S-1\" # \"", name, b"\" enhanced port 0 lid 1 lmc 0\n"].concat();
    let name = |bytes: &[u8]| {
        let fabric = ibnetdiscover::read(&dump(bytes)).unwrap();
        fabric.devices[0].description.clone().unwrap()
    };
    assert_eq!(name(b"r\xe9seau"), "r\\xe9seau");
    assert_eq!(name("réseau".as_bytes()), "réseau");
    assert_ne!(name(b"r\xe8seau"), name(b"r\xe9seau"));
}

#[test]
fn a_dump_without_guids_is_of_infiniband_too() {
    let Some(net) = network("ibsim-net") else { return };
    let planes: Vec<_> = net.planes.iter().map(|plane| (plane.name.as_str(), plane.kind)).collect();
    assert_eq!(planes, [("infiniband", PlaneKind::InfiniBand)]);
}

#[test]
fn a_cut_dump_is_read_as_far_as_it_goes_and_other_text_is_refused() {
    assert_eq!(ibnetdiscover::read(b"SwitchName=s1 Nodes=n[1-2]\n"), Err(Error::NoRecord { lines: 2 }));
    assert!(ibnetdiscover::read(b"").is_err());
    let Some(bytes) = capture("ibnetdiscover/topograph-example-bad.out") else { return };
    let fabric = ibnetdiscover::read(&bytes).unwrap();
    assert_eq!((fabric.devices.len(), fabric.links.len()), (1, 0));
}

#[test]
fn a_cable_from_a_switch_to_itself_and_one_seen_from_one_end_do_no_harm() {
    let dump = b"switchguid=0x1(1)\nSwitch 8 \"S-0000000000000001\" # \"loop\" base port 0 lid 1 lmc 0\n\
        [1] \"S-0000000000000001\"[2] # \"loop\" lid 1 4xQDR\n[2] \"S-0000000000000001\"[1] # \"loop\" lid 1 4xQDR\n\
        [3] \"H-0000000000000002\"[1](2) # \"n1 HCA-1\" lid 2 4xQDR\n\
        caguid=0x2\nCa 1 \"H-0000000000000002\" # \"n1 HCA-1\"\n";
    let fabric = ibnetdiscover::read(dump).unwrap();
    assert_eq!((fabric.devices.len(), fabric.links.len(), fabric.one_ended), (2, 2, 1));
    let network = derive(&[], &fabric.evidence("x", Timestamp(0)), Timestamp(1)).unwrap();
    assert_eq!((network.nodes.len(), network.links.len()), (1, 0));
}

#[test]
fn two_machines_of_one_name_are_told_and_not_made_one() {
    let dump = b"switchguid=0x1(1)\nSwitch 8 \"S-0000000000000001\" # \"leaf\" base port 0 lid 1 lmc 0\n\
        [1] \"H-0000000000000002\"[1](2) # \"localhost HCA-1\" lid 2 4xQDR\n\
        [2] \"H-0000000000000003\"[1](3) # \"localhost HCA-1\" lid 3 4xQDR\n\
        caguid=0x2\nCa 1 \"H-0000000000000002\" # \"localhost HCA-1\"\n[1](2) \"S-0000000000000001\"[1] # x\n\
        caguid=0x3\nCa 1 \"H-0000000000000003\" # \"localhost HCA-1\"\n[1](3) \"S-0000000000000001\"[2] # x\n";
    let fabric = ibnetdiscover::read(dump).unwrap();
    let network = derive(&[], &fabric.evidence("x", Timestamp(0)), Timestamp(1)).unwrap();
    assert_eq!((network.nodes.len(), network.unjoined.len()), (0, 2));
    assert_eq!((network.duplicates[0].name.as_str(), network.duplicates[0].guids.len()), ("localhost", 2));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_mutated_dump_breaks_the_reader_or_the_facts(
        which in any::<prop::sample::Index>(),
        swaps in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..6),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..40),
        cut in any::<prop::sample::Index>(),
    ) {
        thread_local! { static CORPUS: Vec<Vec<u8>> = corpus(); }
        let mut lines: Vec<Vec<u8>> = CORPUS.with(|corpus| {
            which.get(corpus).split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
        });
        for (a, b) in swaps {
            let (a, b) = (a.index(lines.len()), b.index(lines.len()));
            lines.swap(a, b);
        }
        let mut bytes = lines.join(&b'\n');
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(bytes.len() - cut.index(bytes.len()) / 8);
        if let Ok(fabric) = ibnetdiscover::read(&bytes) {
            prop_assert!(fabric.links.len() <= bytes.len());
            let network = derive(&[], &fabric.evidence("x", Timestamp(0)), Timestamp(1)).unwrap();
            for found in findings(&network) {
                prop_assert!(!found.to_string().is_empty());
            }
        }
    }
}

/// Captures, the large one in part so that a case stays short.
fn corpus() -> Vec<Vec<u8>> {
    let own = b"switchguid=0x1(1)\nSwitch 8 \"S-01\" # \"leaf\" base port 0 lid 1 lmc 0\n[1] \"H-02\"[1](2) # \"n HCA-1\" lid 2 4xQDR\n";
    let captures = captures(&[
        "ibnetdiscover/plafrim2-ports-format-with-DR.txt",
        "ibnetdiscover/ibtopotool-1.topo",
        "ibnetdiscover/ibtopotool-2.topo",
        "ibnetdiscover/ibsim-net",
        "ibnetdiscover/ibsim-net.2sw2path",
        "ibnetdiscover/topograph-dgx-ndr-railopt-40sw-582ca.out",
    ]);
    std::iter::once(own.to_vec())
        .chain(captures.into_iter().map(|mut bytes| {
            bytes.truncate(64 << 10);
            bytes
        }))
        .collect()
}

#[test]
fn a_dump_that_was_cut_is_a_finding_and_what_it_lacks_is_none() {
    for (path, bytes) in [
        ("ibnetdiscover/plafrim2-ports-format-with-DR.txt", 30_000),
        ("ibnetdiscover/topograph-dgx-ndr-railopt-40sw-582ca.out", 60_000),
    ] {
        let Some(mut dump) = capture(path) else { return };
        dump.truncate(bytes);
        let evidence = ibnetdiscover::read(&dump).unwrap().evidence("cut.out", Timestamp(0));
        let network = derive(&[], &evidence, Timestamp(1)).unwrap();
        let found = findings(&network);
        let cut = found.iter().find(|found| matches!(found.problem, Problem::Cut { .. })).unwrap();
        assert_eq!((cut.subject.as_str(), network.cut[0].planes.is_empty()), ("cut.out", false));
        let lacking = |problem: &Problem| {
            matches!(
                problem,
                Problem::MissingLeaf { .. } | Problem::LostUplinks { .. } | Problem::Unlike { .. }
            )
        };
        assert!(!found.iter().any(|found| lacking(&found.problem)), "{path}: {found:?}");
    }
}

#[test]
fn a_switch_without_a_record_is_no_node_by_the_number_of_its_port() {
    let text = "Switch\t8 \"Switch1\"\n[1]\t\"Hca1\"[1]\n[3]\t\"Switch2\"[3]\n[5]\t\"Switch2\"[2]\n\n\
                Hca\t2 \"Hca1\"\n[1]\t\"Switch1\"[1]\n";
    let evidence = ibnetdiscover::read(text.as_bytes()).unwrap().evidence("cut.out", Timestamp(0));
    let network = derive(&[], &evidence, Timestamp(1)).unwrap();
    let nodes: Vec<&str> = network.nodes.iter().map(|node| node.name.as_str()).collect();
    let switches: Vec<&str> = network.switches.iter().map(|switch| switch.name.as_str()).collect();
    assert_eq!((nodes, switches), (vec!["Hca1"], vec!["Switch1", "Switch2"]));
    assert_eq!((network.links[0].live, network.cut[0].devices), (Some(2), 1));
}
