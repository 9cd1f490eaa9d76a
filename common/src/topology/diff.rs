//! What changed between two snapshots, for people.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::change::Change;
use super::network::{Network, Node, NodePort, Plane, Row, Switch};
use super::snapshot::Snapshot;
use super::tier::Tier;

impl<B: Clone + PartialEq + Serialize + DeserializeOwned> Snapshot<B> {
    /// What is different from `old` in where things are attached, how much of them works, how fast they are and on
    /// which rail, sorted.
    pub fn diff(&self, old: &Snapshot<B>) -> Vec<Change> {
        let mut changes = BTreeSet::new();
        if self.hash() == old.hash() {
            return Vec::new();
        }
        let (new, was) = (self.network(), old.network());
        let switches = Twins::of(new, was);
        switches.changes(&mut changes);
        cables(&switches, &mut changes);
        let mut alike = Alike::default();
        for (node, row) in new.nodes.iter().zip(0..) {
            let Some(before) = was.node(&node.name) else {
                changes.insert(Change::NodeCame { node: node.name.clone() });
                continue;
            };
            if self.board(row) != old.board(before) {
                changes.insert(Change::BoardChanged { node: node.name.clone() });
            }
            let before = &was.nodes[before as usize];
            ports(&switches, node, before, &mut changes);
            places(&switches, &mut alike, node, before, &mut changes);
            let domain =
                |network: &Network, node: &Node| node.nvlink.map(|row| network.nvlink[row as usize].clone());
            let (from, to) = (domain(was, before), domain(new, node));
            if from != to {
                changes.insert(Change::NvlinkMoved { node: node.name.clone(), from, to });
            }
        }
        for node in was.nodes.iter().filter(|node| new.node(&node.name).is_none()) {
            changes.insert(Change::NodeWent { node: node.name.clone() });
        }
        changes.into_iter().collect()
    }
}

/// Switches of two networks that are the same, by what identifies them best.
struct Twins<'a> {
    new: &'a Network,
    old: &'a Network,
    /// New row to old row.
    old_of: BTreeMap<Row, Row>,
    /// Those of the newer network, by name.
    planes: BTreeMap<&'a str, &'a Plane>,
}

impl<'a> Twins<'a> {
    fn of(new: &'a Network, old: &'a Network) -> Twins<'a> {
        let mut rows: BTreeMap<String, Row> = BTreeMap::new();
        for (switch, row) in old.switches.iter().zip(0..) {
            for key in keys(switch) {
                rows.entry(key).or_insert(row);
            }
        }
        let mut taken = BTreeSet::new();
        let mut old_of = BTreeMap::new();
        for (switch, row) in new.switches.iter().zip(0..) {
            let twin = keys(switch).find_map(|key| rows.get(&key).copied());
            if let Some(twin) = twin.filter(|twin| taken.insert(*twin)) {
                old_of.insert(row, twin);
            }
        }
        let planes = new.planes.iter().map(|plane| (plane.name.as_str(), plane)).collect();
        Twins { new, old, old_of, planes }
    }

    /// Whether the two are one switch; `None` is no switch.
    fn same(&self, new: Option<Row>, old: Option<Row>) -> bool {
        match (new, old) {
            (Some(new), Some(old)) => self.old_of.get(&new) == Some(&old),
            (None, None) => true,
            _ => false,
        }
    }

    fn changes(&self, changes: &mut BTreeSet<Change>) {
        let kept: BTreeSet<Row> = self.old_of.values().copied().collect();
        for (switch, row) in self.old.switches.iter().zip(0..) {
            if !kept.contains(&row) {
                changes.insert(Change::SwitchWent { switch: switch.name.clone() });
            }
        }
        for (switch, row) in self.new.switches.iter().zip(0..) {
            let name = || switch.name.clone();
            match self.old_of.get(&row).map(|twin| &self.old.switches[*twin as usize]) {
                None => {
                    changes.insert(Change::SwitchCame { switch: name() });
                }
                Some(twin) => {
                    if twin.uplinks != switch.uplinks {
                        let (from, to) = (twin.uplinks, switch.uplinks);
                        changes.insert(Change::Uplinks { switch: name(), from, to });
                    }
                    if twin.rail != switch.rail {
                        changes.insert(Change::LeafRail { switch: name(), from: twin.rail, to: switch.rail });
                    }
                }
            }
        }
        for was in &self.old.planes {
            if let Some(plane) = self.planes.get(was.name.as_str()).filter(|plane| plane.rails != was.rails) {
                let (plane, from, to) = (was.name.clone(), was.rails, plane.rails);
                changes.insert(Change::Rails { plane, from, to });
            }
        }
    }
}

/// What a switch is known by, the best first.
fn keys(switch: &Switch) -> impl Iterator<Item = String> {
    let ids = &switch.ids;
    let guids = ids.iter().filter_map(|id| id.guid).map(|guid| format!("guid {guid}"));
    let chassis = ids.iter().filter_map(|id| id.chassis.clone());
    let names = ids.iter().filter_map(|id| id.name.as_ref()).map(|name| format!("name {name}"));
    guids.chain(chassis).chain(names)
}

/// What is known of a pair's cables: how many work, and the rate of one.
type Counted = Option<(Option<u32>, Option<u32>)>;

fn cables(twins: &Twins<'_>, changes: &mut BTreeSet<Change>) {
    let name = |row: Row| twins.new.switches[row as usize].name.clone();
    let pair = |a: Row, b: Row| (a.min(b), a.max(b));
    let new_of: BTreeMap<Row, Row> = twins.old_of.iter().map(|(new, old)| (*old, *new)).collect();
    let mut counts: BTreeMap<(Row, Row), (Counted, Counted)> = BTreeMap::new();
    for link in &twins.new.links {
        counts.entry(pair(link.lower, link.upper)).or_default().1 = Some((link.live, link.rate_mbps));
    }
    for link in &twins.old.links {
        if let (Some(lower), Some(upper)) = (new_of.get(&link.lower), new_of.get(&link.upper)) {
            counts.entry(pair(*lower, *upper)).or_default().0 = Some((link.live, link.rate_mbps));
        }
    }
    for ((a, b), (was, is)) in counts.into_iter().filter(|(_, (was, is))| was != is) {
        // Cables of a switch that came are no news beside it.
        if !twins.old_of.contains_key(&a) || !twins.old_of.contains_key(&b) {
            continue;
        }
        let level = |row: Row| twins.new.switches[row as usize].level;
        let (lower, upper) = if level(b) < level(a) { (b, a) } else { (a, b) };
        let live = |counted: Counted| counted.map_or(Some(0), |(live, _)| live);
        if live(was) != live(is) || was.is_none() || is.is_none() {
            let (from, to) = (live(was), live(is));
            changes.insert(Change::Cables { lower: name(lower), upper: name(upper), from, to });
        }
        if let (Some((_, from)), Some((_, to))) = (was, is)
            && from != to
        {
            changes.insert(Change::CableRate { lower: name(lower), upper: name(upper), from, to });
        }
    }
}

fn ports(twins: &Twins<'_>, node: &Node, before: &Node, changes: &mut BTreeSet<Change>) {
    let by_name = |of: &'_ Node| -> BTreeMap<String, usize> {
        of.ports.iter().enumerate().map(|(at, port)| (port.name.clone(), at)).collect()
    };
    let (new, old) = (by_name(node), by_name(before));
    let at = |port: &NodePort| port.at.as_ref().map(|at| at.switch);
    for (name, was) in &old {
        let (node_name, port) = (|| node.name.clone(), || name.clone());
        let was = &before.ports[*was];
        let Some(is) = new.get(name).map(|at| &node.ports[*at]) else {
            changes.insert(Change::PortWent { node: node_name(), port: port() });
            continue;
        };
        if !twins.same(at(is), at(was)) {
            let from = at(was).map(|row| twins.old.switches[row as usize].name.clone());
            let to = at(is).map(|row| twins.new.switches[row as usize].name.clone());
            changes.insert(Change::PortMoved { node: node_name(), port: port(), from, to });
        }
        match (was.down, is.down) {
            (false, true) => changes.insert(Change::PortDown { node: node_name(), port: port() }),
            (true, false) => changes.insert(Change::PortUp { node: node_name(), port: port() }),
            _ => false,
        };
        if was.speed_mbps != is.speed_mbps {
            let (from, to) = (was.speed_mbps, is.speed_mbps);
            changes.insert(Change::PortSpeed { node: node_name(), port: port(), from, to });
        }
        if was.rail != is.rail {
            let (from, to) = (was.rail, is.rail);
            changes.insert(Change::PortRail { node: node_name(), port: port(), from, to });
        }
    }
    for (name, is) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
        let at = at(&node.ports[*is]).map(|row| twins.new.switches[row as usize].name.clone());
        changes.insert(Change::PortCame { node: node.name.clone(), port: name.clone(), at });
    }
}

/// Whether two groups, of the new and of the old network, are the same: thousands of nodes ask about few.
#[derive(Default)]
struct Alike(BTreeMap<(Row, Row), bool>);

impl Alike {
    /// Groups are told apart by their switches: a unit whose first leaf went has another name and is the
    /// same.
    fn are(&mut self, twins: &Twins<'_>, new: Row, old: Row) -> bool {
        *self.0.entry((new, old)).or_insert_with(|| {
            let (new, old) = (&twins.new.groups[new as usize], &twins.old.groups[old as usize]);
            if new.switches.is_empty() || old.switches.is_empty() {
                return new.name == old.name;
            }
            let before: BTreeSet<&Row> = old.switches.iter().collect();
            new.switches.iter().filter_map(|row| twins.old_of.get(row)).any(|twin| before.contains(twin))
        })
    }
}

fn places(twins: &Twins<'_>, alike: &mut Alike, node: &Node, before: &Node, changes: &mut BTreeSet<Change>) {
    let group = |network: &Network, node: &Node, plane: &str, tier: Tier| -> Option<Row> {
        let place = node.places.iter().find(|place| network.planes[place.plane as usize].name == plane)?;
        place.groups.iter().copied().find(|row| network.groups[*row as usize].tier == tier)
    };
    let name = |network: &Network, row: Row| network.groups[row as usize].name.clone();
    // In the planes that it has or had a place in.
    let named = |network: &Network, node: &Node| -> Vec<String> {
        node.places.iter().map(|place| network.planes[place.plane as usize].name.clone()).collect()
    };
    let planes: BTreeSet<String> =
        named(twins.new, node).into_iter().chain(named(twins.old, before)).collect();
    for plane in planes.iter().filter_map(|name| twins.planes.get(name.as_str()).copied()) {
        for tier in &plane.tiers {
            let to = group(twins.new, node, &plane.name, *tier);
            let from = group(twins.old, before, &plane.name, *tier);
            let same = match (to, from) {
                (Some(to), Some(from)) => alike.are(twins, to, from),
                (None, None) => true,
                _ => false,
            };
            if !same {
                changes.insert(Change::NodeMoved {
                    node: node.name.clone(),
                    plane: plane.name.clone(),
                    tier: *tier,
                    from: from.map(|row| name(twins.old, row)),
                    to: to.map(|row| name(twins.new, row)),
                });
                break;
            }
        }
    }
}
