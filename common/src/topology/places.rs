//! Where each node is in each plane's tree.

use std::collections::{BTreeMap, BTreeSet};

use super::attach::Cables;
use super::decide::{Claims, decide, strongest_first};
use super::evidence::{Evidence, Source};
use super::network::{
    Conflict, Group, Node, Place, Plane, Reason, Row, Said, Subject, Switch, Value, row_of,
};
use super::stated::Stated;
use super::tier::Tier;

/// The groups of a node in one plane, by tier of [`Tier::OF_SWITCHES`].
pub(super) type Path = [Option<Row>; 4];

/// The nodes of each switch without those that a stronger source puts elsewhere in the same plane: whoever is wrong
/// about a node unites no leaves.
pub(super) fn hosts(
    mut hosts: BTreeMap<Row, BTreeSet<Row>>,
    nodes: &[Node],
    cables: &Cables<'_>,
    switches: &[Switch],
) -> BTreeMap<Row, BTreeSet<Row>> {
    let plane_of = |switch: Row| switches[switch as usize].plane;
    for (node, claims) in &cables.of_nodes {
        let mut by_plane: BTreeMap<Row, Claims<'_, Row>> = BTreeMap::new();
        for (by, switch) in claims {
            if let Some(plane) = plane_of(*switch) {
                by_plane.entry(plane).or_default().push((by, *switch));
            }
        }
        for (plane, mut claims) in by_plane {
            let at = nodes[*node as usize].ports.iter().filter_map(|port| port.at.as_ref());
            let at: Vec<_> = at.filter(|at| plane_of(at.switch) == Some(plane)).collect();
            strongest_first(&mut claims);
            let Some((strongest, _)) = claims.first() else { continue };
            // One source may know several leaves of a node, and says all of them; a statement names one.
            let is_one = strongest.source == Source::Operator;
            let is_same = |by: &Evidence| (by.source, &by.origin) == (strongest.source, &strongest.origin);
            let stated = claims.iter().filter(|(by, _)| is_same(by)).map(|(_, switch)| *switch);
            let stated: BTreeSet<Row> = stated.take(if is_one { 1 } else { usize::MAX }).collect();
            let by_ports: BTreeSet<Row> = at.iter().map(|at| at.switch).collect();
            let source = at.iter().map(|at| at.source).min();
            let stands = match source {
                Some(source) if strongest.source.rank() >= source.rank() => by_ports,
                // It names one of the leaves that the ports are on: they are the rails, or the two of a pair.
                Some(_) if stated.is_subset(&by_ports) => by_ports,
                _ => stated,
            };
            let said = claims.iter().map(|(_, switch)| *switch).chain(at.iter().map(|at| at.switch));
            for switch in said.filter(|switch| !stands.contains(switch)) {
                if let Some(hosts) = hosts.get_mut(&switch) {
                    hosts.remove(node);
                }
            }
        }
    }
    hosts
}

/// The leaf group of a node in each plane: of most of its ports, unless a higher rank puts the node
/// elsewhere. Leaf groups are found by switch.
pub(super) fn leaves(
    row: Row,
    node: &Node,
    claims: &[(&Evidence, Row)],
    leaf_of: &BTreeMap<Row, (Row, Row)>,
    conflicts: &mut Vec<Conflict>,
) -> BTreeMap<Row, Row> {
    let mut by_ports: BTreeMap<Row, BTreeMap<Row, Vec<&super::network::NodePort>>> = BTreeMap::new();
    for port in &node.ports {
        if let Some((plane, group)) = port.at.as_ref().and_then(|at| leaf_of.get(&at.switch)) {
            by_ports.entry(*plane).or_default().entry(*group).or_default().push(port);
        }
    }
    let mut by_claims: BTreeMap<Row, Claims<'_, (Row, Row)>> = BTreeMap::new();
    for (by, switch) in claims {
        if let Some((plane, group)) = leaf_of.get(switch) {
            by_claims.entry(*plane).or_default().push((by, (*switch, *group)));
        }
    }
    let planes: BTreeSet<Row> = by_ports.keys().chain(by_claims.keys()).copied().collect();
    let mut found = BTreeMap::new();
    for plane in planes {
        let most = by_ports.get(&plane).and_then(|groups| {
            groups.iter().max_by_key(|(group, ports)| (ports.len(), std::cmp::Reverse(**group)))
        });
        let stated = by_claims.remove(&plane).and_then(|claims| {
            decide(
                claims,
                || Subject::Leaf { node: row, plane },
                |(switch, _)| Value::Switch(*switch),
                |(_, a), (_, b)| a == b,
            )
        });
        let group = match (most, stated) {
            (None, None) => continue,
            (Some((group, _)), None) => *group,
            (None, Some(stated)) => {
                conflicts.extend(stated.conflict);
                stated.value.1
            }
            (Some((group, _)), Some(stated)) if *group == stated.value.1 => {
                conflicts.extend(stated.conflict);
                *group
            }
            (Some((group, ports)), Some(stated)) => {
                let source = ports.iter().filter_map(|port| Some(port.at.as_ref()?.source)).min();
                let source = source.unwrap_or(Source::Probe);
                let wins = stated.by.source.rank() < source.rank();
                let mut said = match stated.conflict {
                    Some(conflict) => conflict.claims,
                    None => vec![Said::by(stated.by, Value::Switch(stated.value.0))],
                };
                let by_port = ports.iter().filter_map(|port| {
                    let at = port.at.as_ref()?;
                    let origin = format!("its port {}", port.name);
                    Some(Said { source: at.source, origin, line: None, value: Value::Switch(at.switch) })
                });
                let at = if wins { said.len() } else { 0 };
                said.splice(at..at, by_port);
                let same_rank = stated.by.source.rank() == source.rank();
                let reason = if same_rank { Reason::Order } else { Reason::Rank };
                conflicts.push(Conflict {
                    subject: Subject::Leaf { node: row, plane },
                    claims: said,
                    reason,
                });
                if wins { stated.value.1 } else { *group }
            }
        };
        found.insert(plane, group);
    }
    found
}

/// The groups from a leaf group upwards.
pub(super) fn path(groups: &[Group], leaf: Row) -> Path {
    let mut path = Path::default();
    let mut at = Some(leaf);
    while let Some(row) = at {
        let group = &groups[row as usize];
        if let Some(at) = Tier::OF_SWITCHES.iter().position(|tier| *tier == group.tier) {
            path[at] = Some(row);
        }
        at = group.parent;
    }
    path
}

/// The tiers of a plane that carry information: a tier that puts nodes together just as the one below does
/// tells nothing, unless somebody wrote it down or groups of the one below are called alike. One in which every node is
/// alone does: a leaf with one node is a leaf.
fn telling_tiers(
    paths: &[Path],
    is_written: impl Fn(usize) -> bool,
    are_called_alike: impl Fn(usize) -> bool,
) -> Vec<usize> {
    let used = |at: &usize| paths.iter().any(|path| path[*at].is_some());
    let mut kept: Vec<usize> = Vec::new();
    for at in (0..4).filter(used) {
        let same = kept.last().filter(|below| !is_written(at) && !are_called_alike(**below));
        let same = same.is_some_and(|below| same_partition(paths, *below, at));
        if !same {
            kept.push(at);
        }
    }
    kept
}

fn same_partition(paths: &[Path], below: usize, above: usize) -> bool {
    let mut pairs: BTreeSet<(Row, Row)> = BTreeSet::new();
    for path in paths {
        match (path[below], path[above]) {
            (Some(below), Some(above)) => {
                pairs.insert((below, above));
            }
            (None, None) => {}
            _ => return false,
        }
    }
    let lower: BTreeSet<Row> = pairs.iter().map(|(lower, _)| *lower).collect();
    let upper: BTreeSet<Row> = pairs.iter().map(|(_, upper)| *upper).collect();
    lower.len() == pairs.len() && upper.len() == pairs.len()
}

/// The tiers of each plane that somebody wrote down: by a tree that names switches above others, or by a group's name.
/// They are levels of that network even where each of their groups has one of the groups below.
pub(super) fn written(
    groups: &[Group],
    under: &BTreeSet<(Row, Row)>,
    stated: &Stated,
) -> BTreeSet<(Row, Tier)> {
    let uppers: BTreeSet<Row> = under.iter().map(|(_, upper)| *upper).collect();
    let told = stated.switches.iter().chain(&stated.nodes);
    let names: BTreeSet<(Tier, &str)> = told.map(|((_, tier), (name, _))| (*tier, name.as_str())).collect();
    // A node right below a switch of a high level has that switch on all levels below it: it is a level once.
    let is_again = |group: &Group| {
        let parent = group.parent.filter(|parent| groups[*parent as usize].switches == group.switches);
        parent.filter(|_| !group.switches.is_empty())
    };
    let again: BTreeSet<Row> = groups.iter().filter_map(is_again).collect();
    let is_written = |(group, row): &(&Group, Row)| {
        let by_tree = !again.contains(row) && group.switches.iter().any(|switch| uppers.contains(switch));
        by_tree || names.contains(&(group.tier, group.name.as_str()))
    };
    let rows = groups.iter().zip(0..).filter(is_written);
    rows.map(|(group, _)| (group.plane, group.tier)).collect()
}

/// Writes the paths to the nodes, with the tiers that are kept, and drops the groups of the others.
pub(super) fn settle(
    planes: &mut [Plane],
    groups: Vec<Group>,
    nodes: &mut [Node],
    paths: &BTreeMap<(Row, Row), Path>,
    written: &BTreeSet<(Row, Tier)>,
) -> (Vec<Group>, BTreeMap<Row, Row>) {
    let mut of_tier: BTreeMap<(Row, Tier), Vec<usize>> = BTreeMap::new();
    for (group, at) in groups.iter().zip(0..) {
        of_tier.entry((group.plane, group.tier)).or_default().push(at);
    }
    let mut kept: Vec<(usize, Group)> = Vec::new();
    for (plane, row) in planes.iter_mut().zip(0..) {
        let of_plane: Vec<Path> = paths.range((row, 0)..=(row, Row::MAX)).map(|(_, path)| *path).collect();
        let are_called_alike = |at: usize| {
            let mut rows = of_tier.get(&(row, Tier::OF_SWITCHES[at])).into_iter().flatten();
            let mut names = BTreeSet::new();
            rows.any(|at| !names.insert(&groups[*at].name))
        };
        let is_written = |at: usize| written.contains(&(row, Tier::OF_SWITCHES[at]));
        let telling = telling_tiers(&of_plane, is_written, are_called_alike);
        let mut tiers: Vec<Tier> = telling.into_iter().map(|at| Tier::OF_SWITCHES[at]).collect();
        if tiers.is_empty() {
            tiers.push(Tier::Leaf);
        }
        for tier in &tiers {
            let rows = of_tier.get(&(row, *tier)).into_iter().flatten();
            kept.extend(rows.map(|at| (*at, groups[*at].clone())));
        }
        plane.tiers = tiers;
    }
    let new: BTreeMap<Row, Row> =
        kept.iter().enumerate().map(|(new, (old, _))| (row_of(*old), row_of(new))).collect();
    let settled: Vec<Group> = kept
        .into_iter()
        .map(|(_, mut group)| {
            let mut parent = group.parent;
            while let Some(row) = parent.filter(|row| !new.contains_key(row)) {
                parent = groups[row as usize].parent;
            }
            group.parent = parent.and_then(|row| new.get(&row).copied());
            group
        })
        .collect();
    for ((plane, node), path) in paths {
        let groups: Vec<Row> = path.iter().flatten().filter_map(|row| new.get(row).copied()).collect();
        nodes[*node as usize].places.push(Place { plane: *plane, groups });
    }
    (settled, new)
}
