//! Leaves of one network that are in several planes, because something is written of some of them alone: the two of a
//! pair under bonds (MLAG), or the rails of a unit.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::network::{Node, Row, Switch, row_of};
use super::sets::cluster;

/// Leaves that serve the same nodes, each in the plane of its row, and that would be in one if nothing was written of
/// some of them alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    pub leaves: Vec<Row>,
    /// How many nodes they serve.
    pub nodes: u32,
    /// A bond has ports on leaves of several of the planes.
    pub bonded: bool,
}

/// What planes would be by cables and ports alone.
pub(super) struct Unwritten {
    /// The switches of each.
    pub(super) planes: Vec<Vec<usize>>,
    /// An operator wrote something: an import may know one network of several, and splits bonds alone.
    pub(super) by_operator: bool,
}

/// What they are.
pub(super) struct Written<'a> {
    pub(super) switches: &'a [Switch],
    /// Switches of planes that somebody gave a name.
    pub(super) named: &'a BTreeSet<usize>,
}

/// Only leaves that serve the same nodes are looked at, and not those of which each is in a plane that is named: these
/// are meant to be apart.
pub(super) fn find(
    unwritten: &Unwritten,
    written: &Written<'_>,
    nodes: &[Node],
    hosts: &BTreeMap<Row, BTreeSet<Row>>,
) -> Vec<Split> {
    let bonds = bonds(nodes);
    let mut splits: BTreeMap<(BTreeSet<Row>, bool), BTreeSet<Row>> = BTreeMap::new();
    for plane in &unwritten.planes {
        let leaves: Vec<Row> =
            plane.iter().map(|at| row_of(*at)).filter(|row| hosts.contains_key(row)).collect();
        if !written.is_split(&leaves) {
            continue;
        }
        let served: Vec<BTreeSet<Row>> = leaves.iter().map(|leaf| hosts[leaf].clone()).collect();
        let mut alike: BTreeMap<usize, BTreeSet<Row>> = BTreeMap::new();
        for (leaf, cluster) in leaves.into_iter().zip(cluster(&served)) {
            alike.entry(cluster).or_default().insert(leaf);
        }
        for leaves in alike.into_values().filter(|leaves| written.is_split(leaves)) {
            let bonded = bonds.iter().any(|bond| written.planes(bond.intersection(&leaves)).len() > 1);
            if bonded || unwritten.by_operator {
                splits.entry((written.planes(&leaves), bonded)).or_default().extend(leaves);
            }
        }
    }
    let split = |((_, bonded), leaves): ((BTreeSet<Row>, bool), BTreeSet<Row>)| {
        let nodes: BTreeSet<Row> = leaves.iter().flat_map(|leaf| &hosts[leaf]).copied().collect();
        Split { leaves: leaves.into_iter().collect(), nodes: row_of(nodes.len()), bonded }
    };
    splits.into_iter().map(split).collect()
}

impl Written<'_> {
    fn planes<'r>(&self, switches: impl IntoIterator<Item = &'r Row>) -> BTreeSet<Row> {
        switches.into_iter().filter_map(|row| self.switches[*row as usize].plane).collect()
    }

    fn is_split<'r>(&self, leaves: impl IntoIterator<Item = &'r Row> + Copy) -> bool {
        let is_named = |row: &Row| self.named.contains(&(*row as usize));
        self.planes(leaves).len() > 1 && !leaves.into_iter().all(is_named)
    }
}

/// The switches that the ports of each bond are on, where they are several.
fn bonds(nodes: &[Node]) -> Vec<BTreeSet<Row>> {
    let mut bonds: BTreeMap<(usize, &str), BTreeSet<Row>> = BTreeMap::new();
    for (node, row) in nodes.iter().zip(0..) {
        for port in &node.ports {
            if let (Some(bond), Some(at)) = (&port.bond, &port.at) {
                bonds.entry((row, bond)).or_default().insert(at.switch);
            }
        }
    }
    bonds.into_values().filter(|switches| switches.len() > 1).collect()
}
