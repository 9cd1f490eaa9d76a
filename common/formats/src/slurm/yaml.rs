//! `topology.yaml` (Slurm 25.05): a list of topologies, each a tree, blocks, or flat.

use std::collections::BTreeMap;

use phalanx_common::text::shown;
use phalanx_common::yaml::{self, Bounds, Node};

use super::conf::MAX_PAIRS;
use crate::MAX_YAML_BYTES;
use crate::hostlist::{self, expand};
use crate::outline::Outline;

/// Why a file was not read. Lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum YamlError {
    #[error(transparent)]
    Yaml(#[from] yaml::Error),
    #[error("the file should be a list of topologies with the keys topology, and tree, block or flat")]
    Shape,
    #[error("line {line}: a {what} has no name")]
    NoName { line: u32, what: &'static str },
    #[error("line {line}: {source}")]
    Hostlist { line: u32, source: hostlist::Error },
    #[error("line {line}: expected names as a text such as n[01-10]")]
    NoExpression { line: u32 },
    #[error("line {line}: the switch {} is defined a second time; the first is in line {first}", shown(name))]
    Twice { line: u32, name: String, first: u32 },
    #[error(
        "line {line}: {} is below {}, and no item defines it with `switch`; it is misspelt, or the file was cut",
        shown(child),
        shown(name)
    )]
    Undefined { line: u32, name: String, child: String },
    #[error("line {line}: the file names more than {limit} members")]
    TooMany { line: u32, limit: usize },
}

/// Reads the tree and the blocks of all topologies; of several trees the one with `cluster_default`, or
/// the first, is taken.
///
/// # Errors
/// What is no YAML or of another shape, and expressions that are none.
pub fn read_yaml(bytes: &[u8]) -> Result<Outline, YamlError> {
    let bounds = Bounds { bytes: MAX_YAML_BYTES, depth: 16, documents: 1 };
    let roots = yaml::read(bytes, &bounds)?;
    let topologies = roots.first().and_then(Node::items).ok_or(YamlError::Shape)?;
    if !topologies.iter().any(|it| it.get("topology").is_some()) {
        return Err(YamlError::Shape);
    }
    let mut outline = Outline::default();
    let mut members = 0;
    let is_default = |it: &&Node| it.get("cluster_default").and_then(Node::text) == Some("true");
    let trees = || topologies.iter().filter(|it| it.get("tree").is_some());
    let tree = trees().find(is_default).or_else(|| trees().next()).and_then(|it| it.get("tree"));
    let (mut lines, mut lowers) = (BTreeMap::new(), Vec::new());
    for switch in items(tree, "switches") {
        let name = name(switch, "switch")?;
        let nodes = list(switch, "nodes", &mut members)?;
        let children = list(switch, "children", &mut members)?;
        let line = switch.span.line;
        if let Some(first) = lines.insert(name.to_string(), line) {
            return Err(YamlError::Twice { line, name: name.to_string(), first });
        }
        lowers.extend(children.iter().map(|child| (child.clone(), name.to_string(), line)));
        outline.switches.insert(name.to_string());
        outline.under.extend(children.into_iter().map(|lower| (lower, name.to_string())));
        outline.nodes.extend(nodes.into_iter().map(|node| (node, name.to_string())));
    }
    if let Some((child, name, line)) = lowers.into_iter().find(|(child, ..)| !lines.contains_key(child)) {
        return Err(YamlError::Undefined { line, name, child });
    }
    for topology in topologies {
        for block in items(topology.get("block"), "blocks") {
            let name = name(block, "block")?;
            let nodes = list(block, "nodes", &mut members)?;
            outline.blocks.extend(nodes.into_iter().map(|node| (node, name.to_string())));
        }
    }
    Ok(outline)
}

fn items<'a>(of: Option<&'a Node>, key: &str) -> &'a [Node] {
    of.and_then(|node| node.get(key)).and_then(Node::items).unwrap_or_default()
}

fn name<'a>(node: &'a Node, what: &'static str) -> Result<&'a str, YamlError> {
    let name = node.get(what).and_then(Node::text);
    name.ok_or(YamlError::NoName { line: node.span.line, what })
}

fn list(node: &Node, key: &str, members: &mut usize) -> Result<Vec<String>, YamlError> {
    let Some(value) = node.get(key) else { return Ok(Vec::new()) };
    let line = value.span.line;
    let expression = value.text().ok_or(YamlError::NoExpression { line })?;
    let names = expand(expression).map_err(|source| YamlError::Hostlist { line, source })?;
    *members += names.len();
    if *members > MAX_PAIRS {
        return Err(YamlError::TooMany { line, limit: MAX_PAIRS });
    }
    Ok(names)
}
