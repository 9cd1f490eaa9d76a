//! Rail-optimised planes: adapter i of every node goes to leaf i of its unit.

use std::collections::{BTreeMap, BTreeSet};

use super::decide::{Claims, decide};
use super::evidence::{Claim, Evidence};
use super::network::{Conflict, Node, NodePort, Plane, PortRef, Row, Subject, Switch, Value};
use super::nodes::{Found, Nodes};

/// How adapters of a node are numbered: by the node itself, or by what the fabric calls them. The numbers
/// differ where a node has adapters that are not on this fabric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Dialect {
    Own,
    Fabric,
}

type Key = (Dialect, u16);

/// What is known of ports beside their node's own numbers.
pub(super) struct Known<'a> {
    /// Rails, by statement.
    pub(super) stated: BTreeMap<PortRef, u16>,
    /// What the fabric calls the adapters of joined nodes.
    pub(super) called: &'a BTreeMap<PortRef, u16>,
}

/// Ports whose rail is stated, by statement.
pub(super) fn stated(
    evidence: &[&Evidence],
    nodes: &Nodes,
    conflicts: &mut Vec<Conflict>,
) -> BTreeMap<PortRef, u16> {
    let mut claims: BTreeMap<PortRef, Claims<'_, u16>> = BTreeMap::new();
    for by in evidence {
        if let Claim::Rail { end, rail } = &by.claim
            && let Found::Port(port) = nodes.find(end)
        {
            claims.entry(port).or_default().push((by, *rail));
        }
    }
    let mut rails = BTreeMap::new();
    for (port, claims) in claims {
        let said = |rail: &u16| Value::Number(u32::from(*rail));
        if let Some(decided) = decide(claims, || Subject::Rail(port), said, |a, b| a == b) {
            rails.insert(port, decided.value);
            conflicts.extend(decided.conflict);
        }
    }
    rails
}

/// Finds the rails of a plane and writes them to its leaves and to the ports on them. `units` are the leaf
/// groups' switches, `members` the plane's nodes.
pub(super) fn find(
    (plane, row): (&mut Plane, Row),
    units: &[Vec<Row>],
    switches: &mut [Switch],
    (members, nodes): (&[Row], &mut [Node]),
    known: &Known<'_>,
) {
    let mut votes: BTreeMap<Row, BTreeMap<Key, u32>> = BTreeMap::new();
    let mut unstated = votes.clone();
    let mut said: BTreeMap<Row, BTreeMap<u16, u32>> = BTreeMap::new();
    for at in members.iter().copied() {
        let node = &nodes[at as usize];
        for (port, on) in node.ports.iter().zip(0..) {
            let Some(switch) = port.at.as_ref().map(|at| at.switch) else { continue };
            if switches[switch as usize].plane != Some(row) {
                continue;
            }
            let port_ref = PortRef { node: at, port: on };
            let stated = known.stated.get(&port_ref);
            if let Some(rail) = stated {
                *said.entry(switch).or_default().entry(*rail).or_default() += 1;
            }
            for key in keys(node, port, known.called.get(&port_ref)) {
                // Stated or not: that this leaf's number is another tells the rails of the leaves beside it.
                *votes.entry(switch).or_default().entry(key).or_default() += 1;
                if stated.is_none() {
                    *unstated.entry(switch).or_default().entry(key).or_default() += 1;
                }
            }
        }
    }
    let units = &as_one(units, &pairs(members.iter().map(|at| &nodes[*at as usize]), switches, row));
    let numbers = number(units, &votes);
    let mut leaves: BTreeMap<Row, u16> = votes
        .keys()
        .chain(said.keys())
        .filter_map(|leaf| {
            // A port that is stated to be of another rail than the leaf's other ports is on the wrong leaf.
            let mut rails = said.get(leaf).cloned().unwrap_or_default();
            for (key, count) in unstated.get(leaf).into_iter().flatten() {
                if let Some(rail) = numbers.get(key) {
                    *rails.entry(*rail).or_default() += count;
                }
            }
            Some((*leaf, majority(&rails)?))
        })
        .collect();
    let count = leaves.values().max().map_or(0, |rail| rail.saturating_add(1));
    if count == 0 {
        return;
    }
    // A number of the other dialect means the rail of the leaves that most of its adapters are on.
    let mut learnt: BTreeMap<Key, BTreeMap<u16, u32>> = BTreeMap::new();
    for (leaf, rail) in &leaves {
        for (key, count) in votes.get(leaf).into_iter().flatten() {
            *learnt.entry(*key).or_default().entry(*rail).or_default() += count;
        }
    }
    let rail_of = |key: Key| numbers.get(&key).copied().or_else(|| majority(learnt.get(&key)?));
    for (leaf, votes) in &votes {
        if let (None, Some(rail)) = (leaves.get(leaf), voted(votes, &rail_of)) {
            leaves.insert(*leaf, rail);
        }
    }
    for unit in units {
        if unit.iter().flatten().all(|leaf| !leaves.contains_key(leaf)) {
            leaves.extend(in_order(unit, &votes, count));
        }
    }

    plane.rails = count;
    for (leaf, rail) in &leaves {
        switches[*leaf as usize].rail = Some(*rail);
    }
    for at in members.iter().copied() {
        let node = &mut nodes[at as usize];
        let rails: Vec<Option<u16>> = node
            .ports
            .iter()
            .zip(0..)
            .map(|(port, on)| {
                let switch = port.at.as_ref()?.switch;
                let port_ref = PortRef { node: at, port: on };
                let stated = known.stated.get(&port_ref).copied();
                let numbered = || keys(node, port, known.called.get(&port_ref)).into_iter().find_map(rail_of);
                let here = switches[switch as usize].plane == Some(row);
                here.then(|| stated.or_else(numbered)).flatten()
            })
            .collect();
        for (port, rail) in node.ports.iter_mut().zip(rails) {
            port.rail = port.rail.or(rail);
        }
    }
}

/// A leaf, or the leaves that are one to bonds.
type Pair = Vec<Row>;

/// For each leaf the smallest of those that it is one with: where most bonds on it and most on the other have
/// a port on both (a pair under MLAG). One bond with a swapped cable does not make two pairs one.
fn pairs<'a>(nodes: impl Iterator<Item = &'a Node>, switches: &[Switch], plane: Row) -> BTreeMap<Row, Row> {
    let mut bonds: BTreeMap<Row, u32> = BTreeMap::new();
    let mut together: BTreeMap<(Row, Row), u32> = BTreeMap::new();
    for node in nodes {
        let mut on: BTreeMap<&str, BTreeSet<Row>> = BTreeMap::new();
        for port in &node.ports {
            if let (Some(bond), Some(at)) = (&port.bond, &port.at)
                && switches[at.switch as usize].plane == Some(plane)
            {
                on.entry(bond).or_default().insert(at.switch);
            }
        }
        for leaves in on.values() {
            for (leaf, at) in leaves.iter().zip(1..) {
                *bonds.entry(*leaf).or_default() += 1;
                for other in leaves.iter().skip(at) {
                    *together.entry((*leaf, *other)).or_default() += 1;
                }
            }
        }
    }
    let mut first: BTreeMap<Row, Row> = BTreeMap::new();
    for ((leaf, other), both) in together {
        if 2 * both > bonds[&leaf] && 2 * both > bonds[&other] {
            let known = first.get(&leaf).copied().unwrap_or(leaf);
            first.entry(other).or_insert(known);
        }
    }
    first
}

/// Units by pairs of leaves.
fn as_one(units: &[Vec<Row>], first: &BTreeMap<Row, Row>) -> Vec<Vec<Pair>> {
    let unit = |unit: &Vec<Row>| {
        let mut pairs: BTreeMap<Row, Pair> = BTreeMap::new();
        for leaf in unit {
            pairs.entry(first.get(leaf).copied().unwrap_or(*leaf)).or_default().push(*leaf);
        }
        pairs.into_values().collect()
    };
    units.iter().map(unit).collect()
}

/// What the adapters on a pair's leaves are numbered.
fn votes_of<'a>(
    pair: &'a Pair,
    votes: &'a BTreeMap<Row, BTreeMap<Key, u32>>,
) -> impl Iterator<Item = (Key, u32)> + 'a {
    pair.iter().filter_map(|leaf| votes.get(leaf)).flatten().map(|(key, count)| (*key, *count))
}

fn summed(votes: impl Iterator<Item = (Key, u32)>) -> BTreeMap<Key, u32> {
    votes.fold(BTreeMap::new(), |mut sums, (key, count)| {
        *sums.entry(key).or_default() += count;
        sums
    })
}

/// The numbers of an adapter, in the dialects that are spoken of it. Members of a bond are one adapter: a
/// pair of leaves under a bond is no pair of rails.
fn keys(node: &Node, port: &NodePort, called: Option<&u16>) -> Vec<Key> {
    let dialect = if node.joined { Dialect::Own } else { Dialect::Fabric };
    let of_bond = |bond: &String| {
        let same = node.ports.iter().filter(|other| other.bond.as_ref() == Some(bond));
        same.filter_map(|other| other.index).min()
    };
    let first = port.bond.as_ref().and_then(of_bond);
    let called = called.filter(|_| port.bond.is_none()).map(|index| (Dialect::Fabric, *index));
    called.into_iter().chain(first.or(port.index).map(|index| (dialect, index))).collect()
}

/// The leaves of a unit that has one, or a pair, for every rail, where nothing but the order of its numbers
/// tells them apart.
fn in_order(unit: &[Pair], votes: &BTreeMap<Row, BTreeMap<Key, u32>>, rails: u16) -> BTreeMap<Row, u16> {
    let keys: BTreeMap<Key, &Pair> =
        unit.iter().filter_map(|pair| Some((majority(&summed(votes_of(pair, votes)))?, pair))).collect();
    if keys.len() != unit.len() || unit.len() != usize::from(rails) {
        return BTreeMap::new();
    }
    keys.into_values().zip(0..).flat_map(|(pair, rail)| pair.iter().map(move |leaf| (*leaf, rail))).collect()
}

/// Rail numbers of adapter numbers, in the dialect that most ports speak: where the leaves (or pairs) of a unit
/// each have their own adapter number, in most units that have several. A number that less than half of such
/// units have is no rail.
fn number(units: &[Vec<Pair>], votes: &BTreeMap<Row, BTreeMap<Key, u32>>) -> BTreeMap<Key, u16> {
    let mut speakers: BTreeMap<Dialect, u32> = BTreeMap::new();
    for ((dialect, _), count) in votes.values().flatten() {
        *speakers.entry(*dialect).or_default() += count;
    }
    let Some(dialect) = majority(&speakers) else { return BTreeMap::new() };
    let of_pair =
        |pair: &Pair| majority(&summed(votes_of(pair, votes).filter(|((of, _), _)| *of == dialect)));
    let (mut several, mut railed) = (0usize, 0usize);
    let mut units_with: BTreeMap<Key, usize> = BTreeMap::new();
    for unit in units.iter().filter(|unit| unit.len() > 1) {
        let keys: Vec<Key> = unit.iter().filter_map(of_pair).collect();
        if keys.is_empty() {
            continue;
        }
        several += 1;
        let distinct: BTreeSet<&Key> = keys.iter().collect();
        if distinct.len() == keys.len() && keys.len() > 1 {
            railed += 1;
            for key in keys {
                *units_with.entry(key).or_default() += 1;
            }
        }
    }
    if railed == 0 || 2 * railed <= several {
        return BTreeMap::new();
    }
    units_with.into_iter().filter(|(_, units)| 2 * units >= railed).map(|(key, _)| key).zip(0..).collect()
}

/// The rail that most adapters of a leaf are numbered for.
fn voted(votes: &BTreeMap<Key, u32>, rail_of: &dyn Fn(Key) -> Option<u16>) -> Option<u16> {
    let mut rails: BTreeMap<u16, u32> = BTreeMap::new();
    for (key, count) in votes {
        if let Some(rail) = rail_of(*key) {
            *rails.entry(rail).or_default() += count;
        }
    }
    majority(&rails)
}

/// The one that most voted for; of equally many, the first.
fn majority<K: Copy + Ord>(votes: &BTreeMap<K, u32>) -> Option<K> {
    votes.iter().max_by_key(|(key, count)| (**count, std::cmp::Reverse(**key))).map(|(key, _)| *key)
}
