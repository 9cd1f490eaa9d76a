//! Leaves that somebody names, and of whose network nothing is known but their nodes.

use std::collections::{BTreeMap, BTreeSet};

use super::attach::Cables;
use super::evidence::{Claim, Evidence, Source};
use super::network::{Node, PlaneKind, Row};
use super::planes::{Ends, Key, Sorted, class, kind};
use super::switches::Switches;

/// Leaves that an operator alone speaks of, and says of nodes as a whole, not of a port: which network they are in
/// is said by their nodes.
pub(super) fn find(
    evidence: &[&Evidence],
    switches: &Switches,
    cables: &Cables<'_>,
    ends: &Ends,
) -> BTreeSet<u32> {
    let said = cables.of_nodes.values().flatten();
    let mut found: BTreeSet<Row> = said
        .filter(|(by, switch)| by.source == Source::Operator && ends.count[*switch as usize] == 0)
        .map(|(_, switch)| *switch)
        .collect();
    if !found.is_empty() {
        for by in evidence.iter().filter(|by| by.source != Source::Operator) {
            if let Claim::Attached { switch, .. } = &by.claim
                && let Some(row) = switches.row(switch)
            {
                found.remove(&row);
            }
        }
    }
    found
}

/// Puts leaves into the plane that jobs' traffic takes among those that their nodes are in.
pub(super) fn moor(
    leaves: Vec<usize>,
    planes: &mut Sorted,
    nodes: &[Node],
    (switches, ends): (&Switches, &Ends),
    hosts: &BTreeMap<Row, BTreeSet<Row>>,
) {
    if leaves.is_empty() {
        return;
    }
    let keys: Vec<Key> = planes.keys().cloned().collect();
    let kinds: Vec<PlaneKind> = planes.values().map(|(set, _)| kind(set, switches, ends)).collect();
    let mut fastest: Vec<u32> = vec![0; kinds.len()];
    let mut plane_of: Vec<Option<usize>> = vec![None; switches.rows.len()];
    for ((set, _), plane) in planes.values().zip(0..) {
        for at in set {
            plane_of[*at] = Some(plane);
        }
    }
    let mut planes_of: BTreeMap<Row, BTreeMap<usize, u64>> = BTreeMap::new();
    for (switch, hosts) in hosts {
        for (node, plane) in hosts.iter().filter_map(|node| Some((node, plane_of[*switch as usize]?))) {
            planes_of.entry(*node).or_default().entry(plane).or_default();
        }
    }
    for (node, planes) in &mut planes_of {
        for port in &nodes[*node as usize].ports {
            let plane = port.at.as_ref().and_then(|at| plane_of[at.switch as usize]);
            let Some((plane, speed)) = plane.and_then(|plane| Some((plane, planes.get_mut(&plane)?))) else {
                continue;
            };
            let mbps = port.speed_mbps.unwrap_or_default();
            *speed += u64::from(mbps);
            fastest[plane] = fastest[plane].max(mbps);
        }
    }
    for leaf in leaves {
        let mut votes: BTreeMap<usize, (u64, usize)> = BTreeMap::new();
        let members = Row::try_from(leaf).ok().and_then(|leaf| hosts.get(&leaf));
        for (plane, speed) in members.into_iter().flatten().filter_map(|node| planes_of.get(node)).flatten() {
            let vote = votes.entry(*plane).or_default();
            *vote = (vote.0 + speed, vote.1 + 1);
        }
        let class = |plane: &usize| class(kinds[*plane], fastest[*plane]);
        let most =
            votes.iter().max_by_key(|(plane, vote)| (class(plane), **vote, std::cmp::Reverse(**plane)));
        let key = most.map_or(Key::Declared, |(plane, _)| keys[*plane].clone());
        planes.entry(key).or_insert((Vec::new(), 1)).0.push(leaf);
    }
}
