//! Facts from evidence.

use std::collections::{BTreeMap, BTreeSet};

use super::attach::Cables;
use super::evidence::{Claim, End, Evidence, Member, Source, SwitchId};
use super::groups::{self, Ground, Tree};
use super::levels::{self, Levels};
use super::network::{Cut, Group, Link, Network, Row, row_of};
use super::nodes::{NodePorts, Nodes};
use super::places::{self, Path};
use super::stated::{self, Grown, Stated};
use super::switches::Switches;
use super::tier::Tier;
use super::{capacity, layer2, nvlink, owners, planes, rails, unseen};
use crate::time::Timestamp;

/// What a cluster may have at most. A worker's or a file's evidence beyond that is an error that names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub evidence: usize,
    pub nodes: usize,
    pub switches: usize,
    /// Bytes of a name; evidence with a longer one, or one with control characters, is refused and counted.
    pub name: usize,
}

/// Five times the largest cluster known, and ten ports a node.
pub const LIMITS: Limits = Limits { evidence: 2_000_000, nodes: 50_000, switches: 20_000, name: 256 };

/// Why no facts were derived.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(
        "the evidence speaks of {found} {what}, and at most {limit} are taken; look for a source that repeats itself"
    )]
    TooMany { what: &'static str, found: usize, limit: usize },
    #[error("two nodes told about their ports under the name {0}; let one join under another name")]
    SameName(String),
}

/// Derives what the networks of a cluster are. The same arguments in any order give the same facts.
///
/// `nodes` are those that told about their ports; other nodes are known by the evidence alone. Evidence
/// that has expired by `now` does not count.
///
/// # Errors
/// More than [`LIMITS`] allow, and two entries of `nodes` with one name.
pub fn derive(nodes: &[NodePorts], evidence: &[Evidence], now: Timestamp) -> Result<Network, Error> {
    within("pieces of evidence", evidence.len(), LIMITS.evidence)?;
    let mut told = BTreeSet::new();
    if let Some(twice) = nodes.iter().find(|node| !told.insert(&node.node)) {
        return Err(Error::SameName(twice.node.clone()));
    }
    let alive: BTreeSet<&Evidence> = evidence.iter().filter(|by| by.is_alive(now)).collect();
    let all = alive.len();
    let evidence: Vec<&Evidence> = alive.into_iter().filter(|by| is_plain(by)).collect();
    let refused = u32::try_from(all - evidence.len()).unwrap_or(u32::MAX);

    let mut ids = BTreeSet::new();
    let mut ends = BTreeSet::new();
    let mut names = BTreeSet::new();
    for by in &evidence {
        speaks_of(&by.claim, &mut ids, &mut ends, &mut names);
    }
    let mut switches = Switches::merge(ids.into_iter().cloned().collect());
    within("switches", switches.rows.len(), LIMITS.switches)?;
    let mut conflicts = Vec::new();
    let (owners, strays) = owners::find(&evidence, nodes, &mut conflicts);
    let mut nodes = Nodes::gather(nodes, &ends, &names, &owners);
    within("nodes", nodes.rows.len(), LIMITS.nodes)?;

    let cables = Cables::trace(&evidence, &mut nodes, &switches);
    conflicts.extend(cables.conflicts.iter().cloned());
    let known_rails =
        rails::Known { stated: rails::stated(&evidence, &nodes, &mut conflicts), called: &cables.called };
    let stated = Stated::of(&evidence, &nodes, &switches, &mut conflicts);
    let hosts = hosts(&nodes, &cables);
    let levels = Levels::of(&counts(&hosts, &cables, switches.rows.len()), &cables);
    let (mut planes, splits) =
        planes::find(&evidence, &nodes.rows, &mut switches, &cables, &hosts, &mut conflicts);
    for (switch, level) in switches.rows.iter_mut().zip(&levels.level) {
        switch.level = *level;
    }
    capacity::count(&mut switches.rows, &levels, &cables);

    let mut groups: Vec<Group> = Vec::new();
    let mut leaf_of: BTreeMap<Row, (Row, Row)> = BTreeMap::new();
    let hosts = places::hosts(hosts, &nodes.rows, &cables, &switches.rows);
    let of_planes = planes::members(planes.len(), &nodes.rows, &switches.rows, &hosts);
    for ((plane, row), members) in planes.iter_mut().zip(0..).zip(&of_planes) {
        let ground = Ground {
            plane: row,
            switches: &switches.rows,
            levels: &levels,
            leaves: &members.leaves,
            hosts: &hosts,
            stated: &stated.switches,
        };
        let tree = Tree::grow(&ground);
        let offset = row_of(groups.len());
        let units: Vec<Vec<Row>> = tree
            .groups
            .iter()
            .filter(|group| group.tier == Tier::Leaf)
            .map(|group| group.switches.clone())
            .collect();
        for (switch, group) in tree.leaf_of {
            switches.rows[switch as usize].group = Some(group + offset);
            leaf_of.insert(switch, (row, group + offset));
        }
        groups.extend(tree.groups.into_iter().map(|group| Group {
            parent: group.parent.map(|parent| parent + offset),
            uplinks: match group.tier {
                Tier::Leaf => capacity::sum(&group.switches, &switches.rows),
                _ => None,
            },
            ..group
        }));
        rails::find(
            (plane, row),
            &units,
            &mut switches.rows,
            (&members.nodes, &mut nodes.rows),
            &known_rails,
        );
    }

    let idle = groups::idle(&stated.switches, &groups, &levels, &hosts);
    let mut paths: BTreeMap<(Row, Row), Path> = BTreeMap::new();
    for (node, row) in nodes.rows.iter().zip(0..) {
        let claims = cables.of_nodes.get(&row).map_or(&[][..], Vec::as_slice);
        for (plane, group) in places::leaves(row, node, claims, &leaf_of, &mut conflicts) {
            paths.insert((plane, row), places::path(&groups, group));
        }
    }
    let main = planes::main(&planes, &nodes.rows, &paths, &switches);
    let mut grown = Grown { planes: &mut planes, groups: &mut groups, paths: &mut paths };
    stated::apply(&stated, main, &mut grown, (&nodes.rows, &switches.rows, &cables), &mut conflicts);
    stated::nest(&mut groups, &mut paths);
    let main = main.or_else(|| (!planes.is_empty()).then_some(0));
    let written = places::written(&groups, &cables.under, &stated);
    let (groups, new_rows) = places::settle(&mut planes, groups, &mut nodes.rows, &paths, &written);
    for switch in &mut switches.rows {
        switch.group = switch.group.and_then(|group| new_rows.get(&group).copied());
    }

    let cut = cut(&evidence, &switches, &cables);
    let (layer2, one_way) = layer2::domains(&evidence, &nodes);
    let prefixes = layer2::prefixes(&evidence, &nodes);
    let (nvlink, nvlink_clusters) = nvlink::domains(&evidence, &mut nodes, &mut conflicts);
    conflicts.sort();
    let unseen = unseen::find(&evidence, &nodes, &switches);
    Ok(Network {
        links: links(&cables, &levels),
        switches: switches.rows,
        nodes: nodes.rows,
        planes,
        groups,
        main,
        nvlink,
        nvlink_clusters,
        layer2,
        one_way,
        prefixes,
        conflicts,
        unjoined: cables.unjoined.into_iter().collect(),
        duplicates: nodes.duplicates,
        idle,
        unseen,
        strays,
        splits,
        cut,
        rings: levels::rings(&cables.under, &cables.under_itself),
        refused,
    })
}

fn within(what: &'static str, found: usize, limit: usize) -> Result<(), Error> {
    if found > limit { Err(Error::TooMany { what, found, limit }) } else { Ok(()) }
}

/// Collects the switches, ends and node names that a claim speaks of.
pub(super) fn speaks_of<'a>(
    claim: &'a Claim,
    ids: &mut BTreeSet<&'a SwitchId>,
    ends: &mut BTreeSet<&'a End>,
    names: &mut BTreeSet<&'a str>,
) {
    match claim {
        Claim::Attached { end, switch, .. } => {
            ends.insert(end);
            ids.insert(switch);
        }
        Claim::Linked { a, b, .. } | Claim::Under { lower: a, upper: b } => ids.extend([a, b]),
        Claim::ExpectedUplinks { switch, .. } | Claim::Plane { switch, .. } => {
            ids.insert(switch);
        }
        Claim::Nvlink { node, .. }
        | Claim::NvlinkCluster { node, .. }
        | Claim::Owner { node, .. }
        | Claim::Node { node }
        | Claim::Member { member: Member::Node(node), .. } => {
            names.insert(node);
        }
        Claim::Member { member: Member::Switch(switch), .. } => {
            ids.insert(switch);
        }
        Claim::Heard { listener, speaker } => ends.extend([listener, speaker]),
        Claim::Prefix { end, .. } | Claim::Rail { end, .. } => {
            ends.insert(end);
        }
        Claim::NoNode { .. } | Claim::Cut { .. } => {}
    }
}

/// Sources that have less than there is, and the planes that they speak of, but where a whole one speaks of the same.
fn cut(evidence: &[&Evidence], switches: &Switches, cables: &Cables<'_>) -> Vec<Cut> {
    let mut cut: BTreeMap<(Source, &str), Cut> = BTreeMap::new();
    for by in evidence {
        if let Claim::Cut { cables, devices } = by.claim {
            let of = cut.entry((by.source, &by.origin)).or_default();
            (of.cables, of.devices) = (of.cables.max(cables), of.devices.max(devices));
            of.origin.clone_from(&by.origin);
        }
    }
    if cut.is_empty() {
        return Vec::new();
    }
    for by in evidence {
        let (mut ids, mut ends, mut names) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        if let Some(cut) = cut.get_mut(&(by.source, by.origin.as_str())) {
            speaks_of(&by.claim, &mut ids, &mut ends, &mut names);
            let rows = ids.into_iter().filter_map(|id| switches.row(id));
            let rows = rows.filter(|row| !cables.counted.contains(row));
            cut.planes.extend(rows.filter_map(|row| switches.rows[row as usize].plane));
        }
    }
    cut.into_values().collect()
}

/// Whether every text of it is within the limit.
fn is_plain(by: &Evidence) -> bool {
    // What is printed and written to files is no order to a terminal, and no second line.
    let plain = |text: &str| text.len() <= LIMITS.name && !text.chars().any(char::is_control);
    let switch =
        |id: &SwitchId| [&id.chassis, &id.address, &id.name].into_iter().flatten().all(|text| plain(text));
    let mut ids = BTreeSet::new();
    let mut ends = BTreeSet::new();
    let mut names = BTreeSet::new();
    speaks_of(&by.claim, &mut ids, &mut ends, &mut names);
    let end = |end: &&End| [&end.node, &end.port].into_iter().flatten().all(|text| plain(text));
    let other = match &by.claim {
        Claim::Attached { switch_port, .. } => switch_port.as_deref(),
        Claim::Nvlink { domain, .. } => Some(domain.as_str()),
        Claim::NvlinkCluster { cluster, .. } => Some(cluster.as_str()),
        Claim::Member { group, .. } => Some(group.as_str()),
        Claim::Plane { plane, .. } => Some(plane.as_str()),
        Claim::Owner { port, .. } => Some(port.as_str()),
        Claim::Prefix { prefix, gateway, .. } if gateway.as_ref().is_none_or(|it| plain(it)) => {
            Some(prefix.as_str())
        }
        Claim::Prefix { gateway, .. } => gateway.as_deref(),
        _ => None,
    };
    plain(&by.origin)
        && ids.into_iter().all(switch)
        && ends.iter().all(end)
        && names.iter().all(|name| plain(name))
        && other.is_none_or(plain)
}

/// The nodes of each switch that something is attached to.
fn hosts(nodes: &Nodes, cables: &Cables<'_>) -> BTreeMap<Row, BTreeSet<Row>> {
    let mut hosts: BTreeMap<Row, BTreeSet<Row>> = BTreeMap::new();
    for (node, row) in nodes.rows.iter().zip(0..) {
        for at in node.ports.iter().filter_map(|port| port.at.as_ref()) {
            hosts.entry(at.switch).or_default().insert(row);
        }
    }
    for (node, claims) in &cables.of_nodes {
        for (_, switch) in claims {
            hosts.entry(*switch).or_default().insert(*node);
        }
    }
    for unjoined in &cables.unjoined {
        hosts.entry(unjoined.switch).or_default();
    }
    hosts
}

/// Nodes and strange adapters of each switch.
fn counts(hosts: &BTreeMap<Row, BTreeSet<Row>>, cables: &Cables<'_>, switches: usize) -> Vec<usize> {
    let mut counts = vec![0; switches];
    for (switch, nodes) in hosts {
        counts[*switch as usize] += nodes.len();
    }
    for unjoined in &cables.unjoined {
        counts[unjoined.switch as usize] += 1;
    }
    counts
}

fn links(cables: &Cables<'_>, levels: &Levels) -> Vec<Link> {
    let mut links: BTreeMap<(Row, Row), Link> = BTreeMap::new();
    for ((a, b), (live, rate_mbps)) in &cables.links {
        let above = levels.uppers[*b as usize].contains(a);
        let (lower, upper) = if above { (*b, *a) } else { (*a, *b) };
        links.insert((lower, upper), Link { lower, upper, live: Some(*live), rate_mbps: *rate_mbps });
    }
    for (lower, upper) in &cables.under {
        let link = Link { lower: *lower, upper: *upper, live: None, rate_mbps: None };
        links.entry((*lower, *upper)).or_insert(link);
    }
    links.into_values().collect()
}
