//! What changed between two snapshots, for people.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::network::{Capacity, Network, Node, Plane, Row, Switch};
use super::snapshot::Snapshot;
use super::tier::Tier;

/// One change. Names are those of the newer snapshot where both have one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    NodeCame {
        node: String,
    },
    NodeWent {
        node: String,
    },
    /// The closest tier of a plane in which the node is elsewhere; `None` is unknown.
    NodeMoved {
        node: String,
        plane: String,
        tier: Tier,
        from: Option<String>,
        to: Option<String>,
    },
    /// A port is attached to another switch, or to none that is known.
    PortMoved {
        node: String,
        port: String,
        from: Option<String>,
        to: Option<String>,
    },
    NvlinkMoved {
        node: String,
        from: Option<String>,
        to: Option<String>,
    },
    BoardChanged {
        node: String,
    },
    SwitchCame {
        switch: String,
    },
    SwitchWent {
        switch: String,
    },
    /// The number of working cables between two switches.
    Cables {
        lower: String,
        upper: String,
        from: u32,
        to: u32,
    },
    Uplinks {
        switch: String,
        from: Option<Capacity>,
        to: Option<Capacity>,
    },
}

impl<B: Clone + PartialEq + Serialize + DeserializeOwned> Snapshot<B> {
    /// What is different from `old` in where things are attached and how much of them works, sorted. Speeds and
    /// rails of ports are not compared.
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
                Some(twin) if twin.uplinks != switch.uplinks => {
                    let (from, to) = (twin.uplinks, switch.uplinks);
                    changes.insert(Change::Uplinks { switch: name(), from, to });
                }
                Some(_) => {}
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

fn cables(twins: &Twins<'_>, changes: &mut BTreeSet<Change>) {
    let name = |row: Row| twins.new.switches[row as usize].name.clone();
    let pair = |a: Row, b: Row| (a.min(b), a.max(b));
    let new_of: BTreeMap<Row, Row> = twins.old_of.iter().map(|(new, old)| (*old, *new)).collect();
    let mut counts: BTreeMap<(Row, Row), (u32, u32)> = BTreeMap::new();
    for link in &twins.new.links {
        counts.entry(pair(link.lower, link.upper)).or_default().1 = link.live.unwrap_or_default();
    }
    for link in &twins.old.links {
        if let (Some(lower), Some(upper)) = (new_of.get(&link.lower), new_of.get(&link.upper)) {
            counts.entry(pair(*lower, *upper)).or_default().0 = link.live.unwrap_or_default();
        }
    }
    for ((a, b), (from, to)) in counts.into_iter().filter(|(_, (from, to))| from != to) {
        // Cables of a switch that came are no news beside it.
        if twins.old_of.contains_key(&a) && twins.old_of.contains_key(&b) {
            let level = |row: Row| twins.new.switches[row as usize].level;
            let (lower, upper) = if level(b) < level(a) { (b, a) } else { (a, b) };
            changes.insert(Change::Cables { lower: name(lower), upper: name(upper), from, to });
        }
    }
}

fn ports(twins: &Twins<'_>, node: &Node, before: &Node, changes: &mut BTreeSet<Change>) {
    let at = |node: &Node, name: &str| {
        node.ports.iter().find(|port| port.name == name)?.at.as_ref().map(|at| at.switch)
    };
    let names: BTreeSet<&String> = node.ports.iter().chain(&before.ports).map(|port| &port.name).collect();
    for port in names {
        let (to, from) = (at(node, port), at(before, port));
        if !twins.same(to, from) {
            changes.insert(Change::PortMoved {
                node: node.name.clone(),
                port: port.clone(),
                from: from.map(|row| twins.old.switches[row as usize].name.clone()),
                to: to.map(|row| twins.new.switches[row as usize].name.clone()),
            });
        }
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

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn or_unknown(name: &Option<String>) -> &str {
            name.as_deref().unwrap_or("nothing known")
        }
        fn counted(capacity: &Option<Capacity>) -> String {
            capacity.map_or("not counted".to_string(), |capacity| capacity.to_string())
        }
        match self {
            Change::NodeCame { node } => write!(f, "node {node} came"),
            Change::NodeWent { node } => write!(f, "node {node} went"),
            Change::NodeMoved { node, plane, tier, from, to } => {
                write!(
                    f,
                    "node {node} moved in {plane} from {tier} {} to {}",
                    or_unknown(from),
                    or_unknown(to)
                )
            }
            Change::PortMoved { node, port, from, to } => {
                write!(f, "port {port} of {node} moved from {} to {}", or_unknown(from), or_unknown(to))
            }
            Change::NvlinkMoved { node, from, to } => {
                write!(f, "node {node} moved from NVLink domain {} to {}", or_unknown(from), or_unknown(to))
            }
            Change::BoardChanged { node } => write!(f, "what is on the board of {node} changed"),
            Change::SwitchCame { switch } => write!(f, "switch {switch} came"),
            Change::SwitchWent { switch } => write!(f, "switch {switch} went"),
            Change::Cables { lower, upper, from, to } => {
                write!(f, "{to} cables between {lower} and {upper}, where there were {from}")
            }
            Change::Uplinks { switch, from, to } => {
                write!(f, "uplinks of {switch}: {}, before {}", counted(to), counted(from))
            }
        }
    }
}
