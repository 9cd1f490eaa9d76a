//! The groups that switches and nodes are said to be in, and what becomes of the tree.

use std::collections::{BTreeMap, BTreeSet};

use super::attach::Cables;
use super::decide::{Claims, decide, strongest_first};
use super::evidence::{Claim, Evidence, Member, Source};
use super::network::{
    Conflict, Group, Node, Plane, PlaneKind, Reason, Row, Said, Subject, Switch, Value, row_of,
};
use super::nodes::Nodes;
use super::places::Path;
use super::switches::Switches;
use super::tier::Tier;

/// Groups that switches and nodes belong to by statement, each decided.
#[derive(Debug, Default)]
pub(super) struct Stated {
    pub(super) switches: Told,
    /// An operator stands against what cables say.
    pub(super) nodes: Told,
}

/// The group of a tier that a switch or a node is in, with who says so.
pub(super) type Told = BTreeMap<(Row, Tier), (String, Said)>;

impl Stated {
    pub(super) fn of(
        evidence: &[&Evidence],
        nodes: &Nodes,
        switches: &Switches,
        conflicts: &mut Vec<Conflict>,
    ) -> Stated {
        let mut of_switches: BTreeMap<(Row, Tier), Claims<'_, String>> = BTreeMap::new();
        let mut of_nodes = of_switches.clone();
        for by in evidence {
            let Claim::Member { member, tier, group } = &by.claim else { continue };
            let said = (*by, group.clone());
            match member {
                Member::Switch(id) => {
                    if let Some(row) = switches.row(id) {
                        of_switches.entry((row, *tier)).or_default().push(said);
                    }
                }
                Member::Node(name) => {
                    if let Some(row) = nodes.row(name) {
                        of_nodes.entry((row, *tier)).or_default().push(said);
                    }
                }
            }
        }
        let mut settle = |claims: BTreeMap<(Row, Tier), Claims<'_, String>>, name: &dyn Fn(Row) -> String| {
            let mut settled = BTreeMap::new();
            for ((row, tier), claims) in claims {
                let decided = decide(
                    claims,
                    || Subject::Member { of: name(row), tier },
                    |group| Value::Name(group.clone()),
                    |a, b| a == b,
                );
                if let Some(decided) = decided {
                    let said = Said::by(decided.by, Value::Name(decided.value.clone()));
                    settled.insert((row, tier), (decided.value, said));
                    conflicts.extend(decided.conflict);
                }
            }
            settled
        };
        Stated {
            switches: settle(of_switches, &|row| switches.rows[row as usize].name.clone()),
            nodes: settle(of_nodes, &|row| nodes.rows[row as usize].name.clone()),
        }
    }
}

/// The tree so far: what statements change.
pub(super) struct Grown<'a> {
    pub(super) planes: &'a mut Vec<Plane>,
    pub(super) groups: &'a mut Vec<Group>,
    pub(super) paths: &'a mut BTreeMap<(Row, Row), Path>,
}

/// A node that an operator takes out of the group that it was in.
struct Moved {
    node: Row,
    tier: Tier,
    from: Row,
    to: Row,
}

/// Puts nodes into the groups that they belong to by statement: in the plane that they are in and that has the
/// group, else in the main plane. Makes a plane where there is none. What stands against the cables is a conflict.
pub(super) fn apply(
    stated: &Stated,
    main: Option<Row>,
    grown: &mut Grown<'_>,
    (nodes, switches, cables): (&[Node], &[Switch], &Cables<'_>),
    conflicts: &mut Vec<Conflict>,
) {
    if stated.nodes.is_empty() {
        return;
    }
    let Grown { planes, groups, paths } = grown;
    let main = main.unwrap_or_else(|| {
        let name = "declared".to_string();
        planes.push(Plane { name, kind: PlaneKind::Declared, tiers: Vec::new(), rails: 0, fabrics: 0 });
        row_of(planes.len() - 1)
    });
    let mut named = Named::of(groups, switches);
    let mut at_home: BTreeMap<Row, BTreeSet<Row>> = BTreeMap::new();
    for (plane, node) in paths.keys() {
        at_home.entry(*node).or_default().insert(*plane);
    }
    let before = paths.clone();
    let mut moved = Vec::new();
    for ((node, tier), (name, said)) in &stated.nodes {
        let Some(at) = Tier::OF_SWITCHES.iter().position(|of| of == tier) else { continue };
        let own = at_home.get(node);
        let is_own = |plane: &Row| own.is_some_and(|own| own.contains(plane));
        let home = own.and_then(|own| own.first().copied()).filter(|_| !is_own(&main)).unwrap_or(main);
        let found = named.find(*tier, name, |plane| (!is_own(&plane), plane != main));
        let group = found.unwrap_or_else(|| {
            let (name, switches) = (name.clone(), Vec::new());
            groups.push(Group { tier: *tier, name, plane: home, parent: None, switches, uplinks: None });
            let row = row_of(groups.len() - 1);
            named.add(row, &groups[row as usize], &[]);
            row
        });
        let plane = groups[group as usize].plane;
        let path = paths.entry((plane, *node)).or_default();
        if path[at].is_some() && said.source != Source::Operator {
            continue;
        }
        if path[at] != Some(group) {
            let from = before.get(&(plane, *node)).and_then(|path| path[at]);
            let from = from.filter(|from| *from != group);
            moved.extend(from.map(|from| Moved { node: *node, tier: *tier, from, to: group }));
            // What was above the group that it was in says nothing of the one that it is in.
            path[at..].fill(None);
        }
        path[at] = Some(group);
        fill_above(path, group, groups);
    }
    let renamed = renamed(&moved, &before, paths);
    for (from, to) in &renamed {
        // Another name moves nothing: what was above it is still.
        let parent = groups[*from as usize].parent;
        groups[*to as usize].parent = groups[*to as usize].parent.or(parent);
        for path in paths.values_mut().filter(|path| path.contains(&Some(*to))) {
            fill_above(path, *to, groups);
        }
    }
    let mut known: BTreeMap<Subject, usize> =
        conflicts.iter().zip(0..).map(|(conflict, at)| (conflict.subject.clone(), at)).collect();
    for Moved { node, tier, from, .. } in moved.iter().filter(|it| !renamed.contains(&(it.from, it.to))) {
        let (group, about) = (&groups[*from as usize], &nodes[*node as usize]);
        let through = before.get(&(group.plane, *node)).into_iter().flatten().flatten();
        let through = through.flat_map(|row| &groups[*row as usize].switches).copied();
        let against = of_switch(stated, group, through).unwrap_or_else(|| {
            let (source, origin) = seen(about, group.plane, switches, cables.of_nodes.get(node));
            Said { source, origin, line: None, value: Value::Name(group.name.clone()) }
        });
        let subject = Subject::Member { of: about.name.clone(), tier: *tier };
        match known.get(&subject) {
            Some(at) => conflicts[*at].claims.push(against),
            None => {
                known.insert(subject.clone(), conflicts.len());
                let counts = stated.nodes[&(*node, *tier)].1.clone();
                let is_same_rank = counts.source.rank() == against.source.rank();
                let reason = if is_same_rank { Reason::Itself } else { Reason::Rank };
                conflicts.push(Conflict { subject, claims: vec![counts, against], reason });
            }
        }
    }
}

/// What is above a group, where a path does not say otherwise.
fn fill_above(path: &mut Path, group: Row, groups: &[Group]) {
    let mut above = groups[group as usize].parent;
    while let Some(parent) = above {
        if let Some(at) = level(&groups[parent as usize]) {
            path[at] = path[at].or(Some(parent));
        }
        above = groups[parent as usize].parent;
    }
}

/// Groups that statements give another name: all their nodes are put into one, and nobody else is in it.
fn renamed(
    moved: &[Moved],
    before: &BTreeMap<(Row, Row), Path>,
    after: &BTreeMap<(Row, Row), Path>,
) -> BTreeSet<(Row, Row)> {
    let count = |paths: &BTreeMap<(Row, Row), Path>| {
        let mut sizes: BTreeMap<Row, usize> = BTreeMap::new();
        for group in paths.values().flatten().flatten() {
            *sizes.entry(*group).or_default() += 1;
        }
        sizes
    };
    let mut pairs: BTreeMap<(Row, Row), usize> = BTreeMap::new();
    for Moved { from, to, .. } in moved {
        *pairs.entry((*from, *to)).or_default() += 1;
    }
    let (before, after) = (count(before), count(after));
    let is_whole = |(from, to): &(Row, Row), count: usize| {
        before.get(from) == Some(&count) && after.get(to) == Some(&count) && !before.contains_key(to)
    };
    pairs.into_iter().filter(|(pair, count)| is_whole(pair, *count)).map(|(pair, _)| pair).collect()
}

/// The statement that a group comes from, of one of the switches that a node is below.
fn of_switch(stated: &Stated, group: &Group, mut through: impl Iterator<Item = Row>) -> Option<Said> {
    through.find_map(|switch| {
        let (name, said) = stated.switches.get(&(switch, group.tier))?;
        (*name == group.name).then(|| said.clone())
    })
}

/// Who knows where a node hangs in a plane.
fn seen(node: &Node, plane: Row, switches: &[Switch], claims: Option<&Claims<'_, Row>>) -> (Source, String) {
    let is_of_plane = |switch: Row| switches[switch as usize].plane == Some(plane);
    let mut ports: Vec<(Source, String)> = node
        .ports
        .iter()
        .filter_map(|port| Some((port.at.as_ref().filter(|at| is_of_plane(at.switch))?, &port.name)))
        .map(|(at, port)| (at.source, format!("its port {port}")))
        .collect();
    ports.sort();
    let mut claims: Claims<'_, Row> =
        claims.into_iter().flatten().filter(|(_, switch)| is_of_plane(*switch)).cloned().collect();
    strongest_first(&mut claims);
    let by_claims = claims.first().map(|(by, _)| (by.source, by.origin.clone()));
    ports.into_iter().next().or(by_claims).unwrap_or((Source::Probe, "the cables of its leaf".to_string()))
}

/// Groups by what a statement may call them: their names, or else the names of their switches.
#[derive(Default)]
struct Named {
    groups: BTreeMap<(Tier, String), BTreeSet<(Row, Row)>>,
    switches: BTreeMap<(Tier, String), BTreeSet<(Row, Row)>>,
}

impl Named {
    fn of(groups: &[Group], switches: &[Switch]) -> Named {
        let mut named = Named::default();
        for (group, row) in groups.iter().zip(0..) {
            named.add(row, group, switches);
        }
        named
    }

    fn add(&mut self, row: Row, group: &Group, switches: &[Switch]) {
        let at = (group.plane, row);
        self.groups.entry((group.tier, group.name.clone())).or_default().insert(at);
        for name in group.switches.iter().filter_map(|row| switches.get(*row as usize)).map(|it| &it.name) {
            self.switches.entry((group.tier, name.clone())).or_default().insert(at);
        }
    }

    /// The group in the plane that comes first in that order.
    fn find<K: Ord>(&self, tier: Tier, name: &str, order: impl Fn(Row) -> K) -> Option<Row> {
        let key = (tier, name.to_string());
        let of = |rows: &BTreeSet<(Row, Row)>| {
            rows.iter().min_by_key(|(plane, row)| (order(*plane), *row)).map(|(_, row)| *row)
        };
        self.groups.get(&key).and_then(of).or_else(|| self.switches.get(&key).and_then(of))
    }
}

/// Makes groups agree with the paths of their nodes, from the top down. One of which all nodes are said to be in one
/// group is below that, and so is one of which some are and nothing else is known. Nodes that are said to be elsewhere
/// than the others are a part of their own below what they are in: nodes of two blocks are never under one leaf.
pub(super) fn nest(groups: &mut Vec<Group>, paths: &mut BTreeMap<(Row, Row), Path>) {
    for at in (0..Tier::OF_SWITCHES.len()).rev() {
        let mut above: BTreeMap<Row, Above> = BTreeMap::new();
        for (key, path) in paths.iter() {
            if let Some(group) = path[at] {
                let next = path[at + 1..].iter().flatten().next().copied();
                above.entry(group).or_default().entry(next).or_default().push(*key);
            }
        }
        for (group, above) in above {
            let parent = groups[group as usize].parent;
            let mut others = above.keys().flatten().copied().filter(|next| Some(*next) != parent);
            match (others.next(), others.next()) {
                (None, _) => {}
                (Some(only), None) if parent.is_none() || above.len() == 1 => {
                    groups[group as usize].parent = Some(only);
                    for key in above.get(&None).into_iter().flatten() {
                        paths.entry(*key).and_modify(|path| fill_above(path, group, groups));
                    }
                }
                (Some(_), other) => divide((group, at), above, other.is_some(), groups, paths),
            }
        }
    }
}

/// Makes parts of a group of the nodes that are apart from the others: the cables put the group elsewhere, or
/// `several` groups are above it and none of them is known to be its own. Of nobody but such nodes, most are the group.
fn divide(
    (group, at): (Row, usize),
    above: Above,
    several: bool,
    groups: &mut Vec<Group>,
    paths: &mut BTreeMap<(Row, Row), Path>,
) {
    let parent = groups[group as usize].parent;
    let level = parent.and_then(|parent| level(&groups[parent as usize]));
    let elsewhere = |key: &(Row, Row)| {
        level.and_then(|level| paths[key][level]).is_some_and(|above| Some(above) != parent)
    };
    let is_apart = |(next, nodes): &(Option<Row>, Vec<(Row, Row)>)| {
        next.is_some() && *next != parent && (several || nodes.first().is_some_and(elsewhere))
    };
    let (mut apart, stay): (Vec<_>, Vec<_>) = above.into_iter().partition(is_apart);
    if stay.is_empty() {
        let most = (0..apart.len()).max_by_key(|at| (apart[*at].1.len(), std::cmp::Reverse(*at)));
        groups[group as usize].parent = most.and_then(|most| apart.remove(most).0);
    }
    for (next, nodes) in apart {
        let whole = &groups[group as usize];
        let part = Group { parent: next, switches: Vec::new(), uplinks: None, ..whole.clone() };
        groups.push(part);
        let row = row_of(groups.len() - 1);
        for key in nodes {
            paths.entry(key).and_modify(|path| path[at] = Some(row));
        }
    }
}

/// The nodes of a group, each with its plane, by what is above them.
type Above = BTreeMap<Option<Row>, Vec<(Row, Row)>>;

/// Where a group's tier stands in a path.
fn level(group: &Group) -> Option<usize> {
    Tier::OF_SWITCHES.iter().position(|tier| *tier == group.tier)
}
