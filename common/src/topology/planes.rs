//! Which switches are one physical network.

use std::collections::{BTreeMap, BTreeSet};

use super::adrift;
use super::attach::Cables;
use super::decide::{Claims, decide};
use super::derive::speaks_of;
use super::evidence::{Claim, Evidence, Source};
use super::network::{Conflict, Node, Plane, PlaneKind, Row, Said, Subject, Switch, Value};
use super::places::Path;
use super::port::LinkLayer;
use super::sets::{Union, cluster};
use super::splits::{self, Split, Unwritten, Written};
use super::switches::Switches;

/// Slower Ethernet is taken for management. Megabits per second.
const MANAGEMENT_BELOW_MBPS: u32 = 25_000;

/// What decides which switches are in one plane, in the order in which planes are listed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Stated(String),
    /// Cables unite them; the smallest row.
    Fabric(PlaneKind, u32),
    /// Leaves of which nothing is known above, by the speed of their ports: nobody can tell more.
    Leaves(PlaneKind, Option<u32>),
    Declared,
}

/// What is known of switches before it is known which are one network.
struct Known<'a> {
    evidence: &'a [&'a Evidence],
    nodes: &'a [Node],
    switches: &'a Switches,
    cables: &'a Cables<'a>,
    hosts: &'a BTreeMap<Row, BTreeSet<Row>>,
    ends: &'a Ends,
}

/// Planes without names: the switches of each, and how many fabrics they are.
pub(super) type Sorted = BTreeMap<Key, (Vec<usize>, u16)>;

/// Planes, what statements split, and writes each switch's plane to its row. Switches without nodes and cables are in
/// none.
pub(super) fn find(
    evidence: &[&Evidence],
    nodes: &[Node],
    switches: &mut Switches,
    cables: &Cables<'_>,
    hosts: &BTreeMap<Row, BTreeSet<Row>>,
    conflicts: &mut Vec<Conflict>,
) -> (Vec<Plane>, Vec<Split>) {
    let ends = Ends::of(nodes, evidence, switches);
    let known = Known { evidence, nodes, switches, cables, hosts, ends: &ends };
    let mut union = known.united(cables.links.keys().chain(&cables.under));
    let stated = stated(evidence, switches, &mut union, conflicts);
    let (planes, networks) = known.sorted(&mut union, stated);
    let written = evidence.iter().filter(|by| matches!(by.claim, Claim::Plane { .. } | Claim::Under { .. }));
    let unwritten = written.map(|by| by.source).min().map(|first| {
        let (planes, _) = known.sorted(&mut known.united(cables.links.keys()), BTreeMap::new());
        let planes = planes.into_values().map(|(set, _)| set).collect();
        Unwritten { planes, by_operator: first == Source::Operator }
    });
    let of_stated = planes.iter().filter(|(key, _)| matches!(key, Key::Stated(_)));
    let named_by_somebody = of_stated.flat_map(|(_, (set, _))| set.iter().copied()).collect();
    let mut rows = Vec::new();
    for ((name, set, fabrics), row) in named(planes, &networks, switches, &ends).into_iter().zip(0..) {
        let kind = kind(&set, switches, &ends);
        rows.push(Plane { name, kind, tiers: Vec::new(), rails: 0, fabrics });
        for at in set {
            switches.rows[at].plane = Some(row);
        }
    }
    let (said, lowers) = said(evidence, switches);
    let written =
        Written { switches: &switches.rows, named: &named_by_somebody, said: &said, lowers: &lowers };
    let splits =
        unwritten.map_or_else(Vec::new, |unwritten| splits::find(&unwritten, &written, nodes, hosts));
    (rows, splits)
}

/// Who wrote of which switch what makes planes, and the switches that are under others.
fn said(evidence: &[&Evidence], switches: &Switches) -> (BTreeMap<Row, BTreeSet<Said>>, BTreeSet<Row>) {
    let (mut said, mut lowers) = (BTreeMap::<Row, BTreeSet<Said>>::new(), BTreeSet::new());
    for by in evidence {
        let (Claim::Plane { switch, .. } | Claim::Under { lower: switch, .. }) = &by.claim else { continue };
        let Some(row) = switches.row(switch) else { continue };
        said.entry(row).or_default().insert(Said::by(by, Value::Switch(row)));
        lowers.extend(matches!(by.claim, Claim::Under { .. }).then_some(row));
    }
    (said, lowers)
}

impl Known<'_> {
    /// Switches by the cables between them.
    fn united<'c>(&self, cables: impl Iterator<Item = &'c (Row, Row)>) -> Union {
        let mut union = Union::new(self.switches.rows.len());
        for (a, b) in cables {
            union.unite(*a as usize, *b as usize);
        }
        union
    }

    /// Planes, and the stated names of those that have cables or ports.
    fn sorted(&self, union: &mut Union, mut stated: BTreeMap<usize, String>) -> (Sorted, BTreeSet<String>) {
        let Known { evidence, nodes, switches, cables, hosts, ends } = self;
        let mut planes: BTreeMap<Key, Vec<usize>> = BTreeMap::new();
        let mut adrift = adrift::find(evidence, switches, cables, ends);
        let mut without: Vec<usize> = Vec::new();
        let mut networks: BTreeSet<String> = BTreeSet::new();
        for set in union.sets() {
            let in_use = |at: &usize| Row::try_from(*at).is_ok_and(|row| hosts.contains_key(&row));
            let has_cables = set.len() > 1;
            if !has_cables && !set.iter().any(in_use) {
                continue;
            }
            let kind = kind(&set, switches, ends);
            let speed = set.iter().filter_map(|at| ends.speed[*at]).max();
            let first = u32::try_from(set[0]).unwrap_or(u32::MAX);
            let key = match stated.remove(&set[0]) {
                Some(name) => {
                    if has_cables || set.iter().any(|at| ends.count[*at] > 0) {
                        networks.insert(name.clone());
                    }
                    Key::Stated(name)
                }
                None if !has_cables && adrift.remove(&first) => {
                    without.push(set[0]);
                    continue;
                }
                None if kind == PlaneKind::Declared => Key::Declared,
                None if has_cables || kind == PlaneKind::InfiniBand => Key::Fabric(kind, first),
                None => Key::Leaves(kind, speed),
            };
            planes.entry(key).or_default().extend(set);
        }
        let mut planes = unite_rails(planes, ends, hosts);
        adrift::moor(without, &mut planes, nodes, (switches, ends), hosts);
        (planes, networks)
    }
}

/// Planes with their names, the largest first. Switches of which nothing but a plane's name is stated are in the one that is found and
/// called so; `networks`, with cables or ports of their own, keep the names that are stated of them.
fn named(
    planes: Sorted,
    networks: &BTreeSet<String>,
    switches: &Switches,
    ends: &Ends,
) -> Vec<(String, Vec<usize>, u16)> {
    // Larger fabrics first, so that the numbers in their names stay when a small one comes.
    let mut planes: Vec<(Key, (Vec<usize>, u16))> = planes.into_iter().collect();
    planes.sort_by_key(|(key, (set, _))| (std::cmp::Reverse(set.len()), key.clone()));
    let (stated, found): (Vec<_>, Vec<_>) =
        planes.into_iter().partition(|(key, _)| matches!(key, Key::Stated(_)));
    let mut counts: BTreeMap<String, u32> = networks.iter().map(|name| (name.clone(), 1)).collect();
    let mut named: Vec<(Key, String, Vec<usize>, u16)> = Vec::new();
    for (key, (set, fabrics)) in found {
        let name = name(&key, kind(&set, switches, ends));
        let count = counts.entry(name.clone()).or_default();
        *count += 1;
        let name = if *count == 1 { name } else { format!("{name}-{count}") };
        named.push((key, name, set, fabrics));
    }
    let mut at: BTreeMap<String, usize> =
        named.iter().enumerate().rev().map(|(at, (_, name, ..))| (name.clone(), at)).collect();
    for (key, (set, fabrics)) in stated {
        let name = name(&key, PlaneKind::Declared);
        match at.get(&name) {
            Some(at) => named[*at].2.extend(set),
            None => {
                at.insert(name.clone(), named.len());
                named.push((key, name, set, fabrics));
            }
        }
    }
    named.sort_by(|a, b| (b.2.len(), &a.0).cmp(&(a.2.len(), &b.0)));
    named.into_iter().map(|(_, name, set, fabrics)| (name, set, fabrics)).collect()
}

/// The planes that are stated, each decided among the statements of all switches that cables unite.
fn stated(
    evidence: &[&Evidence],
    switches: &Switches,
    union: &mut Union,
    conflicts: &mut Vec<Conflict>,
) -> BTreeMap<usize, String> {
    let mut claims: BTreeMap<usize, (Row, Claims<'_, String>)> = BTreeMap::new();
    for by in evidence {
        if let Claim::Plane { switch, plane } = &by.claim
            && let Some(row) = switches.row(switch)
        {
            let (first, claims) = claims.entry(union.find(row as usize)).or_insert_with(|| (row, Vec::new()));
            *first = row.min(*first);
            claims.push((by, plane.clone()));
        }
    }
    let mut stated = BTreeMap::new();
    for (set, (switch, claims)) in claims {
        let said = |plane: &String| Value::Name(plane.clone());
        if let Some(decided) = decide(claims, || Subject::Plane { switch }, said, |a, b| a == b) {
            stated.insert(set, decided.value);
            conflicts.extend(decided.conflict);
        }
    }
    stated
}

/// What makes it a plane, its switches, the nodes that it serves.
type Fabric = (Key, Vec<usize>, BTreeSet<Row>);

/// Fabrics without a cable between them that serve the same nodes at the same speed, with one port of each
/// node, are the rails of one plane. Gives with each plane how many fabrics it has.
fn unite_rails(
    planes: BTreeMap<Key, Vec<usize>>,
    ends: &Ends,
    hosts: &BTreeMap<Row, BTreeSet<Row>>,
) -> Sorted {
    let mut united = Sorted::new();
    let mut alike: BTreeMap<(PlaneKind, Option<u32>), Vec<Fabric>> = BTreeMap::new();
    for (key, set) in planes {
        let served: BTreeSet<Row> =
            set.iter().filter_map(|at| hosts.get(&Row::try_from(*at).ok()?)).flatten().copied().collect();
        let ports: usize = set.iter().map(|at| ends.count[*at]).sum();
        let speed = set.iter().filter_map(|at| ends.speed[*at]).max();
        match key {
            // One port, but for a few nodes with two.
            Key::Fabric(kind, _) if 4 * ports <= 5 * served.len() => {
                alike.entry((kind, speed)).or_default().push((key, set, served));
            }
            key => {
                united.insert(key, (set, 1));
            }
        }
    }
    for fabrics in alike.into_values() {
        let served: Vec<BTreeSet<Row>> = fabrics.iter().map(|(.., served)| served.clone()).collect();
        let mut first: BTreeMap<usize, Key> = BTreeMap::new();
        for ((key, set, _), cluster) in fabrics.into_iter().zip(cluster(&served)) {
            let key = first.entry(cluster).or_insert(key);
            let plane = united.entry(key.clone()).or_default();
            plane.0.extend(set);
            plane.1 = plane.1.saturating_add(1);
        }
    }
    united
}

/// Who is in a plane, so that a thousand planes do not each ask everybody.
#[derive(Debug, Clone, Default)]
pub(super) struct Members {
    /// Nodes with a port on one of its switches.
    pub(super) nodes: Vec<Row>,
    /// Switches that ends are attached to.
    pub(super) leaves: Vec<Row>,
}

/// The members of every plane.
pub(super) fn members(
    planes: usize,
    nodes: &[Node],
    switches: &[Switch],
    hosts: &BTreeMap<Row, BTreeSet<Row>>,
) -> Vec<Members> {
    let mut members = vec![Members::default(); planes];
    for (node, row) in nodes.iter().zip(0..) {
        let on = node.ports.iter().filter_map(|port| switches[port.at.as_ref()?.switch as usize].plane);
        for plane in on.collect::<BTreeSet<Row>>() {
            members[plane as usize].nodes.push(row);
        }
    }
    for leaf in hosts.keys() {
        if let Some(plane) = switches[*leaf as usize].plane {
            members[plane as usize].leaves.push(*leaf);
        }
    }
    members
}

fn name(key: &Key, kind: PlaneKind) -> String {
    match (key, kind) {
        (Key::Stated(name), _) => name.clone(),
        (Key::Leaves(_, Some(speed)), _) if *speed < MANAGEMENT_BELOW_MBPS => "management".to_string(),
        (Key::Leaves(_, Some(speed)), _) => format!("ethernet-{}G", speed / 1000),
        (_, PlaneKind::InfiniBand) => "infiniband".to_string(),
        (_, PlaneKind::Ethernet) => "ethernet".to_string(),
        (_, PlaneKind::Declared) => "declared".to_string(),
    }
}

/// What nodes' ports tell of the switches they are on.
pub(super) struct Ends {
    pub(super) count: Vec<usize>,
    /// Of the most ports; of equally many, the highest.
    speed: Vec<Option<u32>>,
    layer: Vec<Option<LinkLayer>>,
}

impl Ends {
    fn of(nodes: &[Node], evidence: &[&Evidence], known: &Switches) -> Ends {
        let switches = known.rows.len();
        let mut speeds: Vec<BTreeMap<u32, usize>> = vec![BTreeMap::new(); switches];
        let mut ends = Ends { count: vec![0; switches], speed: vec![], layer: vec![None; switches] };
        for port in nodes.iter().flat_map(|node| &node.ports) {
            let Some(at) = &port.at else { continue };
            let switch = at.switch as usize;
            ends.count[switch] += 1;
            if let Some(speed) = port.speed_mbps {
                *speeds[switch].entry(speed).or_default() += 1;
            }
            ends.layer[switch] = ends.layer[switch].max(port.layer);
        }
        // Dumps of simulators have no GUIDs.
        for by in evidence.iter().filter(|by| by.source == Source::InfiniBand) {
            let (mut ids, mut of, mut names) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
            speaks_of(&by.claim, &mut ids, &mut of, &mut names);
            for row in ids.into_iter().filter_map(|id| known.row(id)) {
                ends.layer[row as usize].get_or_insert(LinkLayer::InfiniBand);
            }
        }
        ends.speed = speeds
            .into_iter()
            .map(|speeds| {
                speeds.into_iter().max_by_key(|(speed, count)| (*count, *speed)).map(|(speed, _)| speed)
            })
            .collect();
        ends
    }
}

pub(super) fn kind(set: &[usize], switches: &Switches, ends: &Ends) -> PlaneKind {
    let ids = || set.iter().flat_map(|at| &switches.rows[*at].ids);
    let layer = set.iter().filter_map(|at| ends.layer[*at]).max();
    if layer == Some(LinkLayer::InfiniBand) || ids().any(|id| id.guid.is_some()) {
        PlaneKind::InfiniBand
    } else if layer == Some(LinkLayer::Ethernet) || ids().any(|id| id.chassis.is_some()) {
        PlaneKind::Ethernet
    } else {
        PlaneKind::Declared
    }
}

/// What a plane is for: 2 jobs' traffic, 1 who knows, 0 management. `fastest`: of its nodes' ports, in megabits a second; 0: unknown.
pub(super) fn class(kind: PlaneKind, fastest: u32) -> u8 {
    match (kind, fastest) {
        (PlaneKind::InfiniBand, _) => 2,
        (PlaneKind::Ethernet, fastest) if fastest >= MANAGEMENT_BELOW_MBPS => 2,
        (PlaneKind::Declared, _) | (PlaneKind::Ethernet, 0) => 1,
        (PlaneKind::Ethernet, _) => 0,
    }
}

/// The plane that jobs' traffic takes: not management if there is another, known by its cables rather than
/// written down, then the fastest in sum, then the one with the most nodes.
pub(super) fn main(
    planes: &[Plane],
    nodes: &[Node],
    paths: &BTreeMap<(Row, Row), Path>,
    switches: &Switches,
) -> Option<Row> {
    let mut speed = vec![0u64; planes.len()];
    let mut fastest = vec![0u32; planes.len()];
    for port in nodes.iter().flat_map(|node| &node.ports) {
        let plane = port.at.as_ref().and_then(|at| switches.rows[at.switch as usize].plane);
        if let (Some(plane), Some(mbps)) = (plane, port.speed_mbps) {
            speed[plane as usize] += u64::from(mbps);
            fastest[plane as usize] = fastest[plane as usize].max(mbps);
        }
    }
    let mut members = vec![0usize; planes.len()];
    for (plane, _) in paths.keys() {
        members[*plane as usize] += 1;
    }
    let class = |at: usize| class(planes[at].kind, fastest[at]);
    (0..planes.len())
        .max_by_key(|at| (class(*at), speed[*at], members[*at], std::cmp::Reverse(*at)))
        .and_then(|at| Row::try_from(at).ok())
}
