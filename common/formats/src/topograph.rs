//! NVIDIA topograph: the model that its simulator reads (YAML), and the instances that it exports (JSON).

use std::collections::BTreeMap;

use phalanx_common::yaml::{self, Bounds, Node};
use serde::{Deserialize, Serialize};

use crate::MAX_YAML_BYTES;
use crate::hostlist::{self, expand};
use crate::outline::Outline;
use crate::size::{TooLarge, within};

/// A file of fifty thousand instances has some ten megabytes.
pub const MAX_BYTES: usize = 64 << 20;
const MAX_PAIRS: usize = 200_000;
/// Labels under which an instance's NVLink domain is told, the most precise first: the GPU operator's, which has
/// the clique; topograph's own; the one that it had before.
const DOMAIN_LABELS: [&str; 3] =
    ["nvidia.com/gpu.clique", "accelerator.topograph.run/domain", "network.topology.nvidia.com/accelerator"];
/// The one that is written.
const WRITTEN_LABEL: &str = DOMAIN_LABELS[1];

/// Why a file was not read. Lines count from 1.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Yaml(#[from] yaml::Error),
    #[error("the model should have the key `switches`, with a mapping, or `blocks`, with a list")]
    Shape,
    #[error("line {line}: {source}")]
    Hostlist { line: u32, source: hostlist::Error },
    #[error("line {line}: expected names as a text such as n[01-10]")]
    NoExpression { line: u32 },
    #[error("line {line}: the file names more than {limit} members")]
    TooMany { line: u32, limit: usize },
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    #[error("this is no list of instances as topograph exports them: {0}")]
    Json(#[source] serde_json::Error),
}

/// Reads a model: switches and what is below them, nodes and their accelerator's domain.
///
/// # Errors
/// What is no YAML or of another shape, and expressions that are none.
pub fn read_model(bytes: &[u8]) -> Result<Outline, Error> {
    let roots = yaml::read(bytes, &Bounds { bytes: MAX_YAML_BYTES, depth: 16, documents: 1 })?;
    let root = roots.first().ok_or(Error::Shape)?;
    let switches = root.get("switches").and_then(Node::entries).unwrap_or_default();
    let blocks = root.get("blocks").and_then(Node::items).unwrap_or_default();
    if switches.is_empty() && blocks.is_empty() {
        return Err(Error::Shape);
    }
    let mut outline = Outline::default();
    let mut members = 0;
    for (name, switch) in switches {
        outline.switches.insert(name.text.clone());
        for lower in list(switch, "switches", &mut members)? {
            outline.switches.insert(lower.clone());
            outline.under.insert((lower, name.text.clone()));
        }
    }
    for block in blocks {
        let on = block.get("switch").and_then(Node::text);
        outline.switches.extend(on.map(str::to_string));
        let annotations = block.get("annotations").and_then(Node::entries).unwrap_or_default();
        let domain = annotations.iter().find(|(key, _)| key.text.ends_with("/domain"));
        let domain = domain.and_then(|(_, value)| value.text());
        for node in list(block, "nodes", &mut members)? {
            outline.domains.extend(domain.map(|domain| (node.clone(), domain.to_string())));
            outline.nodes.extend(on.map(|on| (node, on.to_string())));
        }
    }
    Ok(outline)
}

/// A list of expressions, or one.
fn list(of: &Node, key: &str, members: &mut usize) -> Result<Vec<String>, Error> {
    let Some(value) = of.get(key) else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    for item in value.items().unwrap_or(std::slice::from_ref(value)) {
        let line = item.span.line;
        let expression = item.text().ok_or(Error::NoExpression { line })?;
        let more = expand(expression).map_err(|source| Error::Hostlist { line, source })?;
        *members += more.len();
        if *members > MAX_PAIRS {
            return Err(Error::TooMany { line, limit: MAX_PAIRS });
        }
        names.extend(more);
    }
    Ok(names)
}

/// `pkg/topology/instances.go` of the project, as its engine `graph` writes it.
#[derive(Serialize, Deserialize)]
struct Instances {
    instances: Vec<Instance>,
}

#[derive(Serialize, Deserialize)]
struct Instance {
    id: String,
    /// The closest switch first. `null` where none is known.
    #[serde(default)]
    network_layers: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    labels: Option<BTreeMap<String, String>>,
    /// Where the domain stood before there were labels, and before that.
    #[serde(default, skip_serializing)]
    nvlink_domain: Option<String>,
    #[serde(default, skip_serializing)]
    attributes: Option<Attributes>,
}

#[derive(Default, Deserialize)]
struct Attributes {
    #[serde(default)]
    nvlink: Option<String>,
}

impl Instance {
    /// Empty texts are none.
    fn domain(&self) -> Option<&String> {
        let labels = DOMAIN_LABELS.iter().filter_map(|label| self.labels.as_ref()?.get(*label));
        let before = self.attributes.iter().filter_map(|attributes| attributes.nvlink.as_ref());
        labels.chain(&self.nvlink_domain).chain(before).find(|domain| !domain.is_empty())
    }
}

/// Reads exported instances.
///
/// # Errors
/// More than [`MAX_BYTES`], and what is no such list.
pub fn read_json(bytes: &[u8]) -> Result<Outline, Error> {
    let bytes = within(bytes, MAX_BYTES)?;
    let read: Instances = serde_json::from_slice(bytes).map_err(Error::Json)?;
    let mut outline = Outline::default();
    for instance in read.instances {
        outline.domains.extend(instance.domain().map(|domain| (instance.id.clone(), domain.clone())));
        let mut layers = instance.network_layers.unwrap_or_default();
        layers.retain(|layer| !layer.is_empty());
        outline.switches.extend(layers.iter().cloned());
        outline.under.extend(layers.windows(2).map(|pair| (pair[0].clone(), pair[1].clone())));
        outline.nodes.extend(layers.first().map(|on| (instance.id.clone(), on.clone())));
    }
    Ok(outline)
}

/// Writes the tree as instances, by node.
pub fn write_json(outline: &Outline) -> String {
    let domains: BTreeMap<&String, &String> =
        outline.domains.iter().map(|(node, domain)| (node, domain)).collect();
    let on: BTreeMap<&String, &String> = outline.nodes.iter().rev().map(|(node, on)| (node, on)).collect();
    let mut above: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let nodes: std::collections::BTreeSet<&String> = on.keys().chain(domains.keys()).copied().collect();
    let instances = nodes
        .into_iter()
        .map(|node| Instance {
            id: node.clone(),
            network_layers: Some(on.get(node).map_or_else(Vec::new, |leaf| {
                let above = above.entry(leaf.as_str()).or_insert_with(|| outline.above(leaf));
                std::iter::once(leaf.as_str()).chain(above.iter().copied()).map(str::to_string).collect()
            })),
            labels: domains
                .get(node)
                .map(|domain| BTreeMap::from([(WRITTEN_LABEL.to_string(), domain.to_string())])),
            nvlink_domain: None,
            attributes: None,
        })
        .collect();
    serde_json::to_string_pretty(&Instances { instances }).expect("text and lists of text") + "\n"
}
