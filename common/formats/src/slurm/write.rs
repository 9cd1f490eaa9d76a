//! Writing a tree for Slurm. Slurm wants each node under one switch, so that it gets the tree of one plane.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::hostlist::collapse;
use crate::outline::{Outline, plain};

/// What is below each switch, in names that are text in these files and nothing else.
struct Below {
    nodes: BTreeMap<String, BTreeSet<String>>,
    switches: BTreeMap<String, BTreeSet<String>>,
    blocks: BTreeMap<String, BTreeSet<String>>,
    /// Nodes that the tree has no leaf for. A switch of Slurm's has nodes below it or switches, never both.
    within: BTreeMap<String, BTreeSet<String>>,
    unplaced: BTreeSet<String>,
    /// Nodes of which a place is known in other planes alone, by these.
    elsewhere: BTreeMap<BTreeSet<String>, BTreeSet<String>>,
}

impl Below {
    fn of(outline: &Outline) -> Below {
        fn by_second(pairs: &BTreeSet<(String, String)>) -> BTreeMap<String, BTreeSet<String>> {
            let mut below: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
            for (lower, upper) in pairs {
                below.entry(plain(upper)).or_default().insert(plain(lower));
            }
            below
        }
        // Slurm's blocks are what NVLink domains are where there are such.
        let blocks = if outline.domains.is_empty() { &outline.blocks } else { &outline.domains };
        let within = within(outline);
        let nodes = by_second(&outline.nodes);
        Below {
            within: by_second(&within),
            elsewhere: elsewhere(outline),
            unplaced: outline.unplaced.iter().map(|node| plain(node)).collect(),
            switches: with_nodes(by_second(&outline.under), &nodes),
            nodes,
            blocks: by_second(blocks),
        }
    }

    /// Comments that name the nodes that are left out.
    fn left_out(&self) -> String {
        let line = |(switch, nodes): (&String, &BTreeSet<String>)| {
            format!("# left out, as their leaf below {switch} is not known: {}\n", expression(nodes))
        };
        let elsewhere = self.elsewhere.iter().map(|(planes, nodes)| {
            let planes: Vec<&str> = planes.iter().map(String::as_str).collect();
            let planes = match &planes[..] {
                [one] => format!("the plane {one}"),
                several => format!("the planes {}", several.join(" and ")),
            };
            format!("# left out, as their place is known in {planes} only: {}\n", expression(nodes))
        });
        let nowhere = (!self.unplaced.is_empty()).then(|| {
            format!("# left out, as nothing is known of their place: {}\n", expression(&self.unplaced))
        });
        self.within.iter().map(line).chain(elsewhere).chain(nowhere).collect()
    }

    /// Switches with something below, leaves first.
    fn in_order(&self) -> impl Iterator<Item = (&str, &'static str, String)> {
        let nodes = self.nodes.iter().map(|(name, below)| (name.as_str(), "nodes", expression(below)));
        let switches =
            self.switches.iter().map(|(name, below)| (name.as_str(), "switches", expression(below)));
        nodes.chain(switches)
    }
}

/// Switches with nodes somewhere below them: Slurm knows no other, and takes no name of one.
fn with_nodes(
    mut switches: BTreeMap<String, BTreeSet<String>>,
    nodes: &BTreeMap<String, BTreeSet<String>>,
) -> BTreeMap<String, BTreeSet<String>> {
    loop {
        let known: BTreeSet<String> = nodes.keys().chain(switches.keys()).cloned().collect();
        switches.values_mut().for_each(|below| below.retain(|name| known.contains(name)));
        switches.retain(|_, below| !below.is_empty());
        if nodes.keys().chain(switches.keys()).collect::<BTreeSet<_>>().len() == known.len() {
            return switches;
        }
    }
}

/// The closest known of each node that hangs nowhere.
fn within(outline: &Outline) -> BTreeSet<(String, String)> {
    let placed: BTreeSet<&String> = outline.nodes.iter().map(|(node, _)| node).collect();
    let mut closest: BTreeMap<&String, &String> = BTreeMap::new();
    for (node, _, switch) in outline.within.iter().filter(|(node, ..)| !placed.contains(node)) {
        closest.entry(node).or_insert(switch);
    }
    closest.into_iter().map(|(node, switch)| (node.clone(), switch.clone())).collect()
}

/// Nodes by all the planes in which they are.
fn elsewhere(outline: &Outline) -> BTreeMap<BTreeSet<String>, BTreeSet<String>> {
    let mut planes: BTreeMap<&String, BTreeSet<String>> = BTreeMap::new();
    for (node, plane) in &outline.elsewhere {
        planes.entry(node).or_default().insert(plain(plane));
    }
    let mut nodes: BTreeMap<BTreeSet<String>, BTreeSet<String>> = BTreeMap::new();
    for (node, planes) in planes {
        nodes.entry(planes).or_default().insert(plain(node));
    }
    nodes
}

fn expression(names: &BTreeSet<String>) -> String {
    collapse(names.iter().map(String::as_str))
}

/// `topology.conf` for the plugin topology/tree; for topology/block where the outline has no switch.
pub fn write_conf(outline: &Outline) -> String {
    let below = Below::of(outline);
    let mut text = below.left_out();
    for (name, kind, members) in below.in_order() {
        let key = if kind == "nodes" { "Nodes" } else { "Switches" };
        let _ = writeln!(text, "SwitchName={name} {key}={members}");
    }
    if outline.nodes.is_empty() {
        for (name, nodes) in &below.blocks {
            let _ = writeln!(text, "BlockName={name} Nodes={}", expression(nodes));
        }
    }
    text
}

/// `topology.yaml` with the tree as the cluster's default, and the NVLink domains as blocks.
pub fn write_yaml(outline: &Outline) -> String {
    let below = Below::of(outline);
    let mut text = below.left_out();
    text.push_str("---\n");
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
            let nodes = expression(nodes);
            let _ = writeln!(text, "      - block: {}\n        nodes: {}", quoted(name), quoted(&nodes));
        }
    }
    text
}

/// In quotes, so that brackets and numbers stay text.
fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}
