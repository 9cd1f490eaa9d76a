//! What holds for every reader of files about networks: files that are too large, and files that were mutated.
//! Dumps of InfiniBand and LLDP are mutated beside their own tests.

#![allow(clippy::unwrap_used, reason = "in a test that is how it fails")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use phalanx_common::time::Timestamp;
use phalanx_common::topology::{Evidence, Network, Snapshot, Source, derive, findings};
use phalanx_formats::kind::{Kind, recognise};
use phalanx_formats::outline::Outline;
use phalanx_formats::{csv, hypernode, ibnetdiscover, lldp, netq, slurm, statement, topograph};
use proptest::prelude::*;
use support::captures;

const AT: Timestamp = Timestamp(0);
const CONF: &str = "SwitchName=s0 Nodes=n[01-04],login LinkSpeed=100\nSwitchName=top \\\n  Switches=s0\nBlockName=b1 Nodes=n[01-08]\n";

/// A sample for each reader that gives a whole network.
fn samples() -> Vec<(Kind, Vec<u8>)> {
    let snapshot = || -> Vec<u8> {
        let network = read_as(Kind::SlurmConf, CONF.as_bytes()).unwrap();
        let snapshot: Snapshot<()> = Snapshot::new(network, &BTreeMap::new()).unwrap();
        snapshot.to_json()
    };
    let text = |kind, text: &str| (kind, text.as_bytes().to_vec());
    vec![
        text(Kind::SlurmConf, CONF),
        text(
            Kind::SlurmYaml,
            "- topology: t\n  tree:\n    switches:\n    - {switch: top, children: 's[0-1]'}\n    - {switch: s0, nodes: 'n[1-2]'}\n    - {switch: s1, nodes: n3}\n\
             - topology: b\n  block:\n    block_sizes: [2]\n    blocks:\n    - {block: b1, nodes: 'n[1-2]'}\n",
        ),
        text(
            Kind::TopographModel,
            "switches:\n  top:\n    switches: ['s[1-2]']\nblocks:\n- {switch: s1, nodes: ['n[1-2]'], annotations: {x/domain: d1}}\n",
        ),
        text(
            Kind::TopographJson,
            r#"{"instances": [{"id": "n1", "network_layers": ["s1", "top"], "labels": {"nvidia.com/gpu.clique": "d.1"}}]}"#,
        ),
        text(
            Kind::HyperNode,
            "kind: HyperNode\nmetadata: {name: s0}\nspec:\n  members:\n  - {type: Node, selector: {exactMatch: {name: n1}}}\n",
        ),
        text(
            Kind::NetqGraph,
            r#"[{"links": [{"compounded_links": [{"interfaces": [{"interface": "swp1", "node": "1"}, {"node": "2"}]}]}],
            "nodes": [{"compounded_nodes": [{"id": "1", "name": "leaf", "device_type": "switch"}, {"id": "2", "name": "n1", "device_type": "host"}]}]}]"#,
        ),
        text(
            Kind::NetqComputeNodes,
            r#"[{"Name": "n1", "DomainUUID": "3fbfc98b-7f95-4749-ab11-bd351a2aab3e"}]"#,
        ),
        text(Kind::Csv, "node,leaf,spine,nvlink\nn1,l1,s1,d1\nn2,l2,s1,\n"),
        text(
            Kind::Statement,
            "nodes:\n  'n[1-2]': {leaf: l1, block: b1}\nswitches:\n  l1: {uplinks: 4, under: [s]}\n",
        ),
        (Kind::Snapshot, snapshot()),
    ]
}

/// What the reader of a kind finds, as facts.
fn read_as(kind: Kind, bytes: &[u8]) -> Result<Network, String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let outline = |read: Result<Outline, String>| -> Result<Vec<Evidence>, String> {
        let outline = read?;
        let _ = (slurm::write_conf(&outline), slurm::write_yaml(&outline), topograph::write_json(&outline));
        Ok(outline.evidence(Source::Slurm, "x", AT))
    };
    let evidence: Vec<Evidence> = match kind {
        Kind::SlurmConf => outline(slurm::read_conf(bytes).map_err(|it| said(&it)))?,
        Kind::SlurmYaml => outline(slurm::read_yaml(bytes).map_err(|it| said(&it)))?,
        Kind::TopographModel => outline(topograph::read_model(bytes).map_err(|it| said(&it)))?,
        Kind::TopographJson => outline(topograph::read_json(bytes).map_err(|it| said(&it)))?,
        Kind::HyperNode => outline(hypernode::read(bytes).map_err(|it| said(&it)))?,
        Kind::Csv => outline(csv::read(bytes).map_err(|it| said(&it)))?,
        Kind::NetqGraph => netq::graph(bytes, "x", AT).map_err(|it| said(&it))?,
        Kind::NetqComputeNodes => netq::compute_nodes(bytes, "x", AT).map_err(|it| said(&it))?,
        Kind::Statement => statement::read(bytes, "x", AT).map_err(|it| said(&it))?,
        Kind::Snapshot => {
            return Snapshot::<()>::from_json(bytes).map(|it| it.network().clone()).map_err(|it| said(&it));
        }
        other => return Err(format!("{other} is read elsewhere")),
    };
    derive(&[], &evidence, AT).map_err(|it| said(&it))
}

#[test]
fn every_reader_has_a_sample_that_is_told_from_the_others_and_read() {
    for (kind, text) in samples() {
        assert_eq!(recognise(&text), Some(kind), "{kind}");
        assert!(!read_as(kind, &text).unwrap().nodes.is_empty(), "{kind}");
    }
}

#[test]
fn files_that_are_too_large_are_refused_by_every_reader_before_they_are_read() {
    let huge = vec![0; (256 << 20) + 1];
    for (kind, _) in samples() {
        let error = read_as(kind, &huge).unwrap_err();
        assert!(error.contains("at most"), "{kind}: {error}");
    }
    let errors = [
        ibnetdiscover::read(&huge).unwrap_err().to_string(),
        lldp::pcap(&huge).unwrap_err().to_string(),
        lldp::lldpctl(&huge).unwrap_err().to_string(),
    ];
    assert!(errors.iter().all(|error| error.contains("at most")), "{errors:?}");
}

/// What is mutated: the samples, and the captures that are there.
fn texts() -> Vec<Vec<u8>> {
    let mut texts = captures(&[
        "netq/topologyGraph.json",
        "netq/computeNodes.json",
        "topograph-models/small-tree.yaml",
        "topograph-models/dual-xclr-irregular.yaml",
        "clos-production/alibaba-lingjun-2023-topo.csv",
    ]);
    for text in &mut texts {
        text.truncate(20_000);
    }
    texts.extend(samples().into_iter().map(|(_, text)| text));
    texts
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_mutated_tree_breaks_a_reader(
        which in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(b"[]{}:-,=\"\n #0919abz/\xff".to_vec())), 0..20),
        cut in any::<prop::sample::Index>(),
    ) {
        thread_local! { static TEXTS: Vec<Vec<u8>> = texts(); }
        let mut bytes = TEXTS.with(|texts| which.get(texts).clone());
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(bytes.len() - cut.index(bytes.len()) / 4);
        let _ = recognise(&bytes);
        thread_local! { static KINDS: Vec<Kind> = samples().into_iter().map(|(kind, _)| kind).collect(); }
        let kinds = KINDS.with(Clone::clone);
        for kind in kinds {
            let Ok(network) = read_as(kind, &bytes) else { continue };
            let names: BTreeSet<&String> = network.nodes.iter().map(|node| &node.name).collect();
            prop_assert_eq!(names.len(), network.nodes.len());
            let _ = (findings(&network), Outline::of(&network));
        }
    }
}
