//! Matrices: distances of NUMA nodes, and bandwidths of links between GPUs.

use std::collections::BTreeMap;

use phalanx_common::topology::Bdf;
use phalanx_common::topology::machine::{Attachment, LinkKind, Machine, PciKind, Peer};
use roxmltree::Node;

use super::Error;
use super::attributes::{number, value};
use super::objects::End;
use crate::xml;

/// Objects of a matrix: more than a machine has NUMA nodes, or GPUs with their switches.
const MAX_OBJECTS: usize = 1 << 10;
/// hwloc's `HWLOC_DISTANCES_KIND_MEANS_LATENCY`.
const LATENCY: u64 = 1 << 2;

/// A matrix of version 2, row by row.
pub(super) struct Matrix {
    name: String,
    kind: u64,
    /// Whether objects are numbered by the operating system, else by `gp_index`.
    by_system: bool,
    objects: Vec<(String, u64)>,
    values: Vec<u64>,
}

/// All `<distances2>` and `<distances2hetero>` of a file.
pub(super) fn of_version_2(topology: Node<'_, '_>) -> Result<Vec<Matrix>, Error> {
    let is_matrix =
        |node: &Node<'_, '_>| node.has_tag_name("distances2") || node.has_tag_name("distances2hetero");
    topology.children().filter(is_matrix).map(Matrix::read).collect()
}

impl Matrix {
    fn read(element: Node<'_, '_>) -> Result<Matrix, Error> {
        let all = element.attribute("type").unwrap_or_default();
        let mut objects = Vec::new();
        for part in xml::children(element, "indexes") {
            for word in part.text().unwrap_or_default().split_whitespace().take(MAX_OBJECTS + 1) {
                // Where the objects differ, each has its type: `OSDev:802`.
                let (kind, index) = word.split_once(':').unwrap_or((all, word));
                objects.push((kind.to_string(), cell(part, "indexes", index)?));
            }
        }
        let mut values = Vec::new();
        for part in xml::children(element, "u64values") {
            for word in part.text().unwrap_or_default().split_whitespace() {
                values.push(cell(part, "u64values", word)?);
            }
        }
        let told: usize = number(element, "nbobjs")?.unwrap_or(0);
        if told > MAX_OBJECTS || objects.len() != told || values.len() != told * told {
            let (indexes, values) = (objects.len(), values.len());
            return Err(Error::Matrix { line: xml::line(element), objects: told, indexes, values });
        }
        Ok(Matrix {
            name: element.attribute("name").unwrap_or_default().to_string(),
            kind: number(element, "kind")?.unwrap_or(0),
            by_system: element.attribute("indexing") == Some("os"),
            objects,
            values,
        })
    }

    /// Adds what it says to the machine, whose objects are known: `gpus` are the rows of its accelerators.
    pub(super) fn apply(
        &self,
        machine: &mut Machine,
        ends: &BTreeMap<(String, u64), End>,
        gpus: &BTreeMap<Bdf, usize>,
    ) {
        match self.name.as_str() {
            "NVLinkBandwidth" => self.links(machine, ends, gpus, LinkKind::NvLink),
            "XGMIBandwidth" => self.links(machine, ends, gpus, LinkKind::Xgmi),
            _ if self.kind & LATENCY != 0 => {
                if let Some(nodes) = self.nodes(ends) {
                    set(machine, &nodes, &self.values);
                }
            }
            _ => {}
        }
    }

    /// The NUMA nodes that it is of; `None` if it is of something else.
    fn nodes(&self, ends: &BTreeMap<(String, u64), End>) -> Option<Vec<u32>> {
        let node = |object: &(String, u64)| match ends.get(object) {
            _ if object.0 != "NUMANode" => None,
            _ if self.by_system => u32::try_from(object.1).ok(),
            Some(End::Node(id)) => Some(*id),
            _ => None,
        };
        self.objects.iter().map(node).collect()
    }

    fn links(
        &self,
        machine: &mut Machine,
        ends: &BTreeMap<(String, u64), End>,
        gpus: &BTreeMap<Bdf, usize>,
        kind: LinkKind,
    ) {
        let peer = |end: &End| match *end {
            End::Function(bdf) if gpus.contains_key(&bdf) => Some(Peer::Accelerator(bdf)),
            End::Function(bdf) => {
                let is_switch = machine.pci.get(&bdf)?.kind == Some(PciKind::NvSwitch);
                is_switch.then_some(Peer::Switch(Some(bdf)))
            }
            End::Package(node) => Some(Peer::Cpu(node)),
            End::Node(_) => None,
        };
        let peers: Vec<Option<Peer>> = self.objects.iter().map(|object| peer(ends.get(object)?)).collect();
        let rows = self.values.chunks(self.objects.len().max(1));
        for (from, row) in peers.iter().zip(rows) {
            let Some(Peer::Accelerator(bdf)) = *from else { continue };
            let to = peers.iter().zip(row).filter(|(to, mb_per_s)| **to != *from && **mb_per_s > 0);
            let mut links: Vec<Attachment> = to
                .filter_map(|(to, mb_per_s)| {
                    let lanes = lanes(kind, *mb_per_s);
                    Some(Attachment { peer: (*to)?, kind, lanes, mb_per_s: Some(*mb_per_s) })
                })
                .collect();
            links.sort();
            if let Some(gpu) = gpus.get(&bdf).and_then(|row| machine.accelerators.get_mut(*row)) {
                gpu.links = links;
            }
        }
    }
}

/// hwloc adds up 20,000 MB/s for each link of NVLink 1 and 25,000 for those of later versions.
fn lanes(kind: LinkKind, mb_per_s: u64) -> u32 {
    let of = |each: u64| mb_per_s.is_multiple_of(each).then(|| u32::try_from(mb_per_s / each).ok()).flatten();
    let lanes = (kind == LinkKind::NvLink).then(|| of(25_000).or_else(|| of(20_000))).flatten();
    lanes.unwrap_or(1)
}

fn cell(part: Node<'_, '_>, what: &'static str, word: &str) -> Result<u64, Error> {
    word.parse().map_err(|_| Error::Value {
        line: xml::line(part),
        attribute: what,
        value: word.chars().take(80).collect(),
        expected: "numbers",
    })
}

/// The matrix of an element `<distances>` of version 1, if it is of so many objects. Its numbers are
/// multiples of a base.
pub(super) fn of_version_1(element: Node<'_, '_>, objects: usize) -> Result<Option<Vec<u64>>, Error> {
    let told: usize = number(element, "nbobjs")?.unwrap_or(0);
    if told != objects || told == 0 || told > MAX_OBJECTS {
        return Ok(None);
    }
    let decimal = |text: &str| text.parse::<f64>().ok().filter(|number| (0.0..1e9).contains(number));
    let base = value(element, "latency_base", "a number", decimal)?.unwrap_or(1.0);
    let mut values = Vec::new();
    for latency in xml::children(element, "latency") {
        let times = value(latency, "value", "a number", decimal)?.unwrap_or(0.0);
        // Within 10^18: both are below 10^9.
        values.push((times * base).round() as u64);
    }
    if values.len() != told * told {
        let (line, values) = (xml::line(element), values.len());
        return Err(Error::Matrix { line, objects: told, indexes: told, values });
    }
    Ok(Some(values))
}

/// Sets the distances of nodes that have none yet.
pub(super) fn set(machine: &mut Machine, nodes: &[u32], values: &[u64]) {
    for (from, row) in nodes.iter().zip(values.chunks(nodes.len().max(1))) {
        let row = nodes.iter().zip(row);
        let row = row.filter_map(|(to, distance)| Some((*to, u32::try_from(*distance).ok()?)));
        if let Some(node) = machine.numa.get_mut(from).filter(|node| node.distances.is_empty()) {
            node.distances = row.collect();
        }
    }
}
