//! The tree of a plane: leaf groups, blocks, cores.

use std::collections::{BTreeMap, BTreeSet};

use super::levels::Levels;
use super::network::{Group, Idle, Row, Switch, row_of};
use super::places::path;
use super::sets::cluster;
use super::stated::Told;
use super::tier::Tier;

/// One plane's tree, before it is known which tiers tell anything.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// Rows count from 0 here.
    pub(super) groups: Vec<Group>,
    /// The leaf group of a switch that nodes are attached to.
    pub(super) leaf_of: BTreeMap<Row, Row>,
}

/// A cluster on the way up.
struct Climber {
    group: Row,
    /// The switches through which it climbs on.
    above: BTreeSet<Row>,
    /// Leaves below, by which a statement may name its group.
    leaves: BTreeSet<Row>,
}

/// What is to be made into a tree.
pub(super) struct Ground<'a> {
    pub(super) plane: Row,
    pub(super) switches: &'a [Switch],
    pub(super) levels: &'a Levels,
    /// The plane's switches that ends are attached to.
    pub(super) leaves: &'a [Row],
    /// The nodes of each switch that ends are attached to.
    pub(super) hosts: &'a BTreeMap<Row, BTreeSet<Row>>,
    /// Groups that leaves belong to by statement.
    pub(super) stated: &'a Told,
}

impl Tree {
    pub(super) fn grow(ground: &Ground<'_>) -> Tree {
        let mut tree = Tree::default();
        let mut climbers = tree.leaves(ground);
        for (tier, level) in [(Tier::Block, 2), (Tier::Core, 3), (Tier::Site, 4)] {
            climbers = tree.climb(ground, climbers, tier, level);
        }
        tree
    }

    /// Leaves that serve the same nodes are one group: the rails of a unit, or the two of a pair.
    fn leaves(&mut self, ground: &Ground<'_>) -> Vec<Climber> {
        let leaves = ground.leaves;
        let mut members: BTreeMap<Kin, BTreeSet<Row>> = BTreeMap::new();
        let by_level: BTreeSet<u8> = leaves.iter().map(|row| ground.levels.level[*row as usize]).collect();
        for level in by_level {
            let of_level = |row: &&Row| ground.levels.level[**row as usize] == level;
            let (named, others): (Vec<Row>, Vec<Row>) = leaves
                .iter()
                .filter(of_level)
                .partition(|row| ground.stated.contains_key(&(**row, Tier::Leaf)));
            for row in named {
                let (name, _) = ground.stated[&(row, Tier::Leaf)].clone();
                members.entry(Kin::Named(name)).or_default().insert(row);
            }
            let sets: Vec<BTreeSet<Row>> = others.iter().map(|row| ground.hosts[row].clone()).collect();
            let clusters = cluster(&sets);
            let first: BTreeMap<usize, Row> =
                clusters.iter().zip(&others).rev().map(|(cluster, row)| (*cluster, *row)).collect();
            for (row, cluster) in others.iter().zip(clusters) {
                members.entry(Kin::Like(first[&cluster])).or_default().insert(*row);
            }
        }
        members
            .into_iter()
            .map(|(kin, switches)| {
                let group = self.add(ground, Tier::Leaf, kin, &switches);
                self.leaf_of.extend(switches.iter().map(|row| (*row, group)));
                Climber { group, above: switches.clone(), leaves: switches }
            })
            .collect()
    }

    /// Groups whose switches of the next level are mostly the same are one group of the next tier.
    fn climb(&mut self, ground: &Ground<'_>, from: Vec<Climber>, tier: Tier, level: u8) -> Vec<Climber> {
        let lifted: Vec<(Climber, BTreeSet<Row>)> = from
            .into_iter()
            .map(|climber| {
                let above = lift(ground.levels, &climber.above, level);
                (climber, above)
            })
            .collect();
        // Stated of a leaf, of a switch between, or of the switches that make the group; the closest counts.
        let named = |climber: &Climber, above: &BTreeSet<Row>| {
            let mut through = climber.leaves.iter().chain(&climber.above).chain(above);
            through.find_map(|row| ground.stated.get(&(*row, tier))).map(|(name, _)| name.clone())
        };
        // A group that is itself on that level is in the cluster of those that are below it.
        let (inside, below): (Vec<_>, Vec<_>) = lifted
            .into_iter()
            .partition(|(climber, above)| *above == climber.above && climber.leaves == *above);
        let sets: Vec<BTreeSet<Row>> = below.iter().map(|(_, above)| above.clone()).collect();
        let clusters = cluster(&sets);
        let mut members: BTreeMap<Kin, Vec<(Climber, BTreeSet<Row>)>> = BTreeMap::new();
        let mut cluster_of: BTreeMap<Row, usize> = BTreeMap::new();
        for ((climber, above), cluster) in below.into_iter().zip(clusters) {
            let kin = match named(&climber, &above) {
                Some(name) => Kin::Named(name),
                None if above.is_empty() => continue,
                None => Kin::Like(row_of(cluster)),
            };
            cluster_of.extend(above.iter().map(|row| (*row, cluster)));
            members.entry(kin).or_default().push((climber, above));
        }
        for (climber, above) in inside {
            let cluster = above.iter().find_map(|row| cluster_of.get(row).copied());
            let kin = match (named(&climber, &above), cluster) {
                (Some(name), _) => Kin::Named(name),
                (None, Some(cluster)) if members.contains_key(&Kin::Like(row_of(cluster))) => {
                    Kin::Like(row_of(cluster))
                }
                // Above everything: it makes a group of its own, apart from those that rows number.
                (None, _) => Kin::Own(climber.group),
            };
            members.entry(kin).or_default().push((climber, above));
        }
        members
            .into_iter()
            .map(|(kin, members)| {
                let above: BTreeSet<Row> = members.iter().flat_map(|(_, above)| above).copied().collect();
                let leaves = members.iter().flat_map(|(climber, _)| &climber.leaves).copied().collect();
                let group = self.add(ground, tier, kin, &above);
                for (climber, _) in &members {
                    self.groups[climber.group as usize].parent = Some(group);
                }
                Climber { group, above, leaves }
            })
            .collect()
    }

    fn add(&mut self, ground: &Ground<'_>, tier: Tier, kin: Kin, switches: &BTreeSet<Row>) -> Row {
        let names = || switches.iter().map(|row| ground.switches[*row as usize].name.as_str());
        let name = match kin {
            Kin::Named(name) => name,
            Kin::Like(_) | Kin::Own(_) => match (names().min(), switches.len()) {
                (Some(first), 1) => first.to_string(),
                (Some(first), more) => format!("{first}+{}", more - 1),
                (None, _) => String::new(),
            },
        };
        let switches = switches.iter().copied().collect();
        self.groups.push(Group { tier, name, plane: ground.plane, parent: None, switches, uplinks: None });
        row_of(self.groups.len() - 1)
    }
}

/// Statements of switches that no group comes from: of a switch that makes no group of that tier and is below
/// none, or of which a closer switch says otherwise. Leaves without nodes wait for their nodes.
pub(super) fn idle(
    stated: &Told,
    groups: &[Group],
    levels: &Levels,
    hosts: &BTreeMap<Row, BTreeSet<Row>>,
) -> Vec<Idle> {
    let mut follows: BTreeSet<(Row, Tier, &str)> = BTreeSet::new();
    for (group, at) in groups.iter().zip(0..) {
        for row in path(groups, at).into_iter().flatten() {
            let above = &groups[row as usize];
            follows.extend(group.switches.iter().map(|switch| (*switch, above.tier, above.name.as_str())));
        }
    }
    let waits = |row: &Row| levels.level[*row as usize] == 1 && !hosts.contains_key(row);
    stated
        .iter()
        .filter(|((row, tier), (name, _))| !waits(row) && !follows.contains(&(*row, *tier, name.as_str())))
        .map(|((switch, tier), (group, _))| Idle { switch: *switch, tier: *tier, group: group.clone() })
        .collect()
}

/// What makes groups one: a name that somebody gave, or likeness.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Kin {
    Like(Row),
    Own(Row),
    Named(String),
}

/// Switches of at least that level, or what is above those that are lower.
fn lift(levels: &Levels, from: &BTreeSet<Row>, level: u8) -> BTreeSet<Row> {
    from.iter()
        .flat_map(|row| match levels.level[*row as usize] >= level {
            true => BTreeSet::from([*row]),
            false => levels.uppers[*row as usize].clone(),
        })
        .collect()
}
