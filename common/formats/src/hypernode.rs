//! Volcano's HyperNodes (`topology.volcano.sh/v1alpha1`): each names its members, nodes or other HyperNodes.

use phalanx_common::yaml::{self, Bounds, Node};

use crate::MAX_YAML_BYTES;
use crate::outline::Outline;

const MAX_DOCUMENTS: usize = 20_000;

/// Why a file was not read. Lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Yaml(#[from] yaml::Error),
    #[error("the file has no resource of kind HyperNode")]
    Nothing,
    #[error("line {line}: a HyperNode has no metadata.name")]
    NoName { line: u32 },
}

/// Reads resources, one a document or as the items of a list (`kubectl get hypernodes -o yaml`). Members that
/// are chosen by pattern or label are counted as unknown: who they are only Kubernetes can tell.
///
/// # Errors
/// What is no YAML, and what has no HyperNode.
pub fn read(bytes: &[u8]) -> Result<Outline, Error> {
    let documents =
        yaml::read(bytes, &Bounds { bytes: MAX_YAML_BYTES, depth: 32, documents: MAX_DOCUMENTS })?;
    let is_hypernode = |node: &&Node| node.get("kind").and_then(Node::text) == Some("HyperNode");
    let items =
        |node: &'_ Node| node.get("items").and_then(Node::items).map(<[Node]>::to_vec).unwrap_or_default();
    let listed: Vec<Node> = documents.iter().flat_map(items).collect();
    let mut outline = Outline::default();
    let mut found = false;
    for resource in documents.iter().chain(&listed).filter(is_hypernode) {
        found = true;
        let name = resource.get("metadata").and_then(|it| it.get("name")).and_then(Node::text);
        let name = name.ok_or(Error::NoName { line: resource.span.line })?;
        outline.switches.insert(name.to_string());
        let members = resource.get("spec").and_then(|spec| spec.get("members")).and_then(Node::items);
        for member in members.unwrap_or_default() {
            let exact =
                member.get("selector").and_then(|it| it.get("exactMatch")).and_then(|it| it.get("name"));
            let of_hypernode = member.get("type").and_then(Node::text) == Some("HyperNode");
            match (exact.and_then(Node::text), of_hypernode) {
                (Some(lower), true) => {
                    outline.switches.insert(lower.to_string());
                    outline.under.insert((lower.to_string(), name.to_string()));
                }
                (Some(node), false) => {
                    outline.nodes.insert((node.to_string(), name.to_string()));
                }
                (None, _) => outline.unknown += 1,
            }
        }
    }
    if found { Ok(outline) } else { Err(Error::Nothing) }
}
