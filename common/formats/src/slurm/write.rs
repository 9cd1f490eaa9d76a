//! Writing a tree for Slurm. Slurm wants each node under one switch, so that it gets the tree of one plane.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::hostlist::collapse;
use crate::outline::Outline;

/// What is below each switch.
struct Below<'a> {
    nodes: BTreeMap<&'a str, BTreeSet<&'a str>>,
    switches: BTreeMap<&'a str, BTreeSet<&'a str>>,
    blocks: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

impl<'a> Below<'a> {
    fn of(outline: &'a Outline) -> Below<'a> {
        fn by_second(pairs: &BTreeSet<(String, String)>) -> BTreeMap<&str, BTreeSet<&str>> {
            let mut below: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
            for (lower, upper) in pairs {
                below.entry(upper).or_default().insert(lower);
            }
            below
        }
        // Slurm's blocks are what NVLink domains are where there are such.
        let blocks = if outline.domains.is_empty() { &outline.blocks } else { &outline.domains };
        Below {
            nodes: by_second(&outline.nodes),
            switches: by_second(&outline.under),
            blocks: by_second(blocks),
        }
    }

    /// Switches with something below, leaves first.
    fn in_order(&self) -> impl Iterator<Item = (&'a str, &'static str, String)> {
        let nodes = self.nodes.iter().map(|(name, below)| (*name, "nodes", collapse(below.iter().copied())));
        let switches =
            self.switches.iter().map(|(name, below)| (*name, "switches", collapse(below.iter().copied())));
        nodes.chain(switches)
    }
}

/// `topology.conf` for the plugin topology/tree; for topology/block where the outline has no switch.
pub fn write_conf(outline: &Outline) -> String {
    let below = Below::of(outline);
    let mut text = String::new();
    for (name, kind, members) in below.in_order() {
        let key = if kind == "nodes" { "Nodes" } else { "Switches" };
        let _ = writeln!(text, "SwitchName={name} {key}={members}");
    }
    if outline.nodes.is_empty() {
        for (name, nodes) in &below.blocks {
            let _ = writeln!(text, "BlockName={name} Nodes={}", collapse(nodes.iter().copied()));
        }
    }
    text
}

/// `topology.yaml` with the tree as the cluster's default, and the NVLink domains as blocks.
pub fn write_yaml(outline: &Outline) -> String {
    let below = Below::of(outline);
    let mut text = String::from("---\n");
    if !outline.nodes.is_empty() {
        text.push_str("- topology: tree\n  cluster_default: true\n  tree:\n    switches:\n");
        for (name, kind, members) in below.in_order() {
            let key = if kind == "nodes" { "nodes" } else { "children" };
            let _ = writeln!(text, "      - switch: {}\n        {key}: {}", quoted(name), quoted(&members));
        }
    }
    if !below.blocks.is_empty() {
        let least = below.blocks.values().map(BTreeSet::len).min().unwrap_or(1);
        let default = outline.nodes.is_empty();
        let _ = writeln!(
            text,
            "- topology: block\n  cluster_default: {default}\n  block:\n    block_sizes:\n      - {least}\n    blocks:"
        );
        for (name, nodes) in &below.blocks {
            let nodes = collapse(nodes.iter().copied());
            let _ = writeln!(text, "      - block: {}\n        nodes: {}", quoted(name), quoted(&nodes));
        }
    }
    text
}

/// In quotes, so that brackets and numbers stay text. Names have no quotes and no backslashes that would
/// have to be more.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
