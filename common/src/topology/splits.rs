//! Leaves of one network that are in several planes, because something is written of some of them alone: the two of a
//! pair under bonds (MLAG), or the rails of a unit.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::network::{Node, Row, Said, Switch, row_of};
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
    /// Who wrote it, the strongest first: of which of the leaves, or else of which other switch of the planes.
    pub said: Vec<Said>,
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
    /// The claims that made planes of them, by the switch that they are of.
    pub(super) said: &'a BTreeMap<Row, BTreeSet<Said>>,
    /// Switches that are stated to be under others.
    pub(super) lowers: &'a BTreeSet<Row>,
}

/// Who wrote something, as far as it is kept.
const MOST_SAID: usize = 16;

/// Leaves that serve the same nodes, but for those of which each is in a plane that is named: these are meant to be
/// apart. Then those of a tree with several tops, each above nodes of its own: nothing unites them, though nobody said
/// that they are networks of their own.
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
        let apart = written.without_top(plane, hosts);
        let planes = written.planes(&apart);
        if planes.len() > 1 && !splits.keys().any(|(split, _)| planes.is_subset(split)) {
            splits.entry((planes, false)).or_default().extend(apart);
        }
    }
    let split = |((planes, bonded), leaves): ((BTreeSet<Row>, bool), BTreeSet<Row>)| {
        let nodes: BTreeSet<Row> = leaves.iter().flat_map(|leaf| &hosts[leaf]).copied().collect();
        let said = written.of(&leaves, &planes);
        Split { leaves: leaves.into_iter().collect(), nodes: row_of(nodes.len()), bonded, said }
    };
    splits.into_iter().map(split).collect()
}

impl Written<'_> {
    /// Who wrote what of the leaves; of other switches of the planes where nobody wrote of these.
    fn of(&self, leaves: &BTreeSet<Row>, planes: &BTreeSet<Row>) -> Vec<Said> {
        let of_leaves: BTreeSet<&Said> =
            leaves.iter().filter_map(|leaf| self.said.get(leaf)).flatten().collect();
        let is_of_planes =
            |row: &Row| self.switches[*row as usize].plane.is_some_and(|plane| planes.contains(&plane));
        let others = self.said.iter().filter(|(row, _)| of_leaves.is_empty() && is_of_planes(row));
        let others: BTreeSet<&Said> = others.flat_map(|(_, said)| said).collect();
        of_leaves.into_iter().chain(others).take(MOST_SAID).cloned().collect()
    }

    /// Leaves that are under something, in planes of which each serves other nodes. Several that serve the same nodes are
    /// networks beside each other.
    fn without_top(&self, plane: &[usize], hosts: &BTreeMap<Row, BTreeSet<Row>>) -> BTreeSet<Row> {
        let mut of_planes: BTreeMap<Row, (BTreeSet<Row>, BTreeSet<Row>)> = BTreeMap::new();
        for at in plane.iter().filter(|at| !self.named.contains(at)) {
            let row = row_of(*at);
            if let (Some(nodes), Some(plane)) = (hosts.get(&row), self.switches[*at].plane)
                && self.lowers.contains(&row)
            {
                let (leaves, served) = of_planes.entry(plane).or_default();
                leaves.insert(row);
                served.extend(nodes);
            }
        }
        let (leaves, served): (Vec<_>, Vec<_>) = of_planes.into_values().unzip();
        let clusters: BTreeSet<usize> = cluster(&served).into_iter().collect();
        if clusters.len() < served.len() { BTreeSet::new() } else { leaves.into_iter().flatten().collect() }
    }

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
