//! A tree from the paths of its nodes.

use std::collections::BTreeMap;

use phalanx_common::id::NodeId;
use phalanx_common::text::natural;
use phalanx_common::topology::{Capacity, Tier};

use super::{Blemish, Domain, Fabric, FabricNode, ROOT, degraded, row, uplink_of};

/// A node and where it hangs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub id: NodeId,
    pub name: String,
    /// One for each tier, the lowest first; `None` where it is unknown. Missing ones are unknown.
    pub places: Vec<Option<Place>>,
    pub blemishes: Vec<Blemish>,
}

/// A group of a tier, known by its name and those above it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub name: String,
    pub cables: Option<Capacity>,
}

/// A fabric, and nodes that were given twice: they count once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    pub fabric: Fabric,
    pub twice: Vec<NodeId>,
}

/// Groups before nodes without one, names as people order them.
type Key = (bool, Vec<(String, u64)>, String);

impl Fabric {
    /// `tiers` are of the levels, the lowest first. The order of `members` does not matter, but that of two with one id the first
    /// counts.
    pub fn build(tiers: &[Tier], members: impl IntoIterator<Item = Member>) -> Built {
        let mut known: BTreeMap<NodeId, Member> = BTreeMap::new();
        let mut twice = Vec::new();
        for member in members {
            match known.contains_key(&member.id) {
                true => twice.push(member.id),
                false => drop(known.insert(member.id.clone(), member)),
            }
        }
        let mut members: Vec<(Vec<Key>, Member)> =
            known.into_values().map(|member| (keys(tiers.len(), &member), member)).collect();
        members.sort_by(|(a, one), (b, other)| a.cmp(b).then_with(|| one.id.cmp(&other.id)));
        Built { fabric: assemble(tiers, members), twice }
    }
}

/// What orders a node: its groups from the top, then its name. Where a group is unknown, it is that of the nearest group below which is
/// known: nodes that share that one share all above it, whatever these are.
fn keys(depth: usize, member: &Member) -> Vec<Key> {
    let own = || (true, natural(&member.name), member.id.to_string());
    let place = |level: usize| member.places.get(level).and_then(Option::as_ref);
    let group = |level: usize| match (place(level), below(member, level)) {
        (Some(place), _) => (false, natural(&place.name), place.name.clone()),
        (None, Some(below)) => (true, natural(&below.name), below.name.clone()),
        (None, None) => own(),
    };
    (0..depth).rev().map(group).chain([own()]).collect()
}

/// The nearest known group below a level.
fn below(member: &Member, level: usize) -> Option<&Place> {
    member.places.iter().take(level).rev().flatten().next()
}

fn assemble(tiers: &[Tier], members: Vec<(Vec<Key>, Member)>) -> Fabric {
    let depth = tiers.len();
    let mut domains = vec![Domain {
        name: String::new(),
        level: level_of(depth),
        parent: ROOT,
        children: 1..1,
        nodes: 0..row(members.len()),
        uplink: 0,
        cables: None,
        blemished: row(members.iter().filter(|(_, member)| !member.blemishes.is_empty()).count()),
        known: true,
    }];
    let mut paths = vec![ROOT; members.len() * depth];
    for level in (0..depth).rev() {
        // Of the keys, those from the top down to this level: nodes that agree in them are together.
        let shared = depth - level;
        for at in 0..members.len() {
            let (keys, member) = &members[at];
            let before = at.checked_sub(1).map(|before| &members[before].0[..shared]);
            if before != Some(&keys[..shared]) {
                let parent = if level + 1 < depth { paths[at * depth + level + 1] } else { ROOT };
                let new = row(domains.len());
                let above = &mut domains[parent as usize];
                if above.children.is_empty() {
                    above.children = new..new;
                }
                above.children.end = new + 1;
                let place = member.places.get(level).and_then(Option::as_ref);
                let cables = place.and_then(|place| place.cables);
                domains.push(Domain {
                    name: match place.or_else(|| below(member, level)) {
                        Some(place) => place.name.clone(),
                        None => member.name.clone(),
                    },
                    level: level_of(level),
                    parent,
                    children: 0..0,
                    nodes: row(at)..row(at),
                    uplink: degraded(uplink_of(tiers[level]), cables),
                    cables,
                    blemished: 0,
                    known: place.is_some(),
                });
            }
            let domain = row(domains.len() - 1);
            domains[domain as usize].nodes.end = row(at + 1);
            domains[domain as usize].blemished += u32::from(!member.blemishes.is_empty());
            paths[at * depth + level] = domain;
        }
    }
    let rows = members.iter().zip(0..).map(|((_, member), row)| (member.id.clone(), row)).collect();
    let names = members.iter().map(|(_, member)| member.name.clone()).collect();
    let nodes = members
        .into_iter()
        .map(|(_, member)| FabricNode { id: member.id, name: member.name, blemishes: member.blemishes })
        .collect();
    Fabric { tiers: tiers.to_vec(), domains, nodes, paths, rows, names }
}

/// There are fewer tiers than fingers.
fn level_of(level: usize) -> u8 {
    u8::try_from(level).unwrap_or(u8::MAX)
}
