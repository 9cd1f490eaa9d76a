//! What a gang asks for, put into the terms of placement.

use std::collections::{BTreeMap, BTreeSet};

use phalanx_common::id::NodeId;
use phalanx_common::spec::{CpuBinding, Exclusive, GroupSpec, JobSpec, Pattern as SpecPattern, Shape};
use phalanx_common::time::Timestamp;
use phalanx_common::topology::Tier;

use super::fabric::Fabric;
use super::inside::{DeviceNeed, RankNeeds};
use super::order::{Group, GroupKind, Layout, LayoutError, Level, Pattern};
use super::worlds::Worlds;

/// A gang that left no node yet shuns none.
pub const NONE_SHUNNED: &BTreeSet<NodeId> = &BTreeSet::new();

/// What a gang needs.
#[derive(Clone, Debug)]
pub struct GangRequest<'a> {
    pub spec: &'a JobSpec,
    /// The Unix user it runs as; `None` in local mode.
    pub user: Option<&'a str>,
    /// Every pod gets a port for the probes of its peers.
    pub probes: bool,
    /// The nodes of the last generation in NODE_RANK order, with their ranks: the gang restarts in place where it can.
    pub last: &'a [(NodeId, u32)],
    /// Nodes that were held back for it.
    pub spares: &'a [NodeId],
    /// Taken only if nothing else is left: failures made it leave them.
    pub shun: &'a BTreeSet<NodeId>,
    /// Never taken, and why: they cannot take a pod of this job.
    pub refused: &'a BTreeMap<NodeId, String>,
    pub now: Timestamp,
    /// See [`Config`](crate::Config).
    pub port_salt: u64,
}

/// One way to cut the gang into pods: so many nodes with so many ranks each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    pub nodes: u32,
    pub ranks: u32,
}

impl Cut {
    pub fn world(self) -> u32 {
        self.nodes.saturating_mul(self.ranks)
    }
}

impl GangRequest<'_> {
    /// Numbers of ranks that the job can run with. It gets the largest that fits.
    pub(super) fn worlds(&self) -> Worlds {
        let worlds = Worlds::of(self.spec.world_size(), self.spec.elastic);
        match self.spec.shape {
            Shape::Nodes { ranks_per_node, .. } => worlds.in_pods_of(ranks_per_node),
            Shape::Ranks(_) => worlds,
        }
    }

    /// Whether so many ranks can be cut into equal pods for which there are nodes, `nodes` of so many ranks.
    pub(super) fn may_be_cut(&self, world: u32, most: u32, nodes: impl Fn(u32) -> u32) -> bool {
        let is_held = |ranks: u32| world / ranks <= nodes(ranks);
        match self.spec.shape {
            Shape::Nodes { ranks_per_node: each, .. } => {
                each > 0 && world.is_multiple_of(each) && is_held(each)
            }
            Shape::Ranks(_) => {
                self.spec.placement.uneven || divisors(world).filter(|each| *each <= most).any(is_held)
            }
        }
    }

    /// Ways to cut `world` ranks into equal pods, those with the fewest nodes first, of which a node holds at most `most`. Pods of
    /// whole groups of the fastest kinds come before those that cut through one.
    pub(super) fn cuts(&self, world: u32, most: u32) -> Vec<Cut> {
        let cut = |ranks: u32| Cut { nodes: world / ranks, ranks };
        if let Shape::Nodes { ranks_per_node, .. } = self.spec.shape {
            let whole = ranks_per_node > 0 && world.is_multiple_of(ranks_per_node);
            return if whole { vec![cut(ranks_per_node)] } else { Vec::new() };
        }
        let mut cuts: Vec<Cut> = divisors(world).filter(|ranks| *ranks <= most).map(cut).collect();
        let mut fast: Vec<u64> = Vec::new();
        let mut block = 1u64;
        for group in &self.spec.parallelism.groups {
            block = block.saturating_mul(u64::from(group.size));
            // Those of whom the others wait within a step; replicas and stages may be cut anywhere.
            if ["tp", "cp", "ep"].contains(&group.kind.as_str()) {
                fast.push(block);
            }
        }
        // A pod is whole groups of a kind, or groups of that kind are whole pods.
        let is_aligned = |cut: &Cut| {
            let ranks = u64::from(cut.ranks);
            fast.iter().all(|group| ranks.is_multiple_of(*group) || group.is_multiple_of(ranks))
        };
        cuts.sort_by_key(|cut| (!is_aligned(cut), cut.nodes));
        cuts
    }

    /// What each of `ranks` ranks of a node needs, on a node with so many devices of which `implied` goes to each rank that asked
    /// for none.
    pub(crate) fn needs(&self, ranks: u32, implied: bool) -> RankNeeds {
        let resources = &self.spec.resources;
        let mut needs = RankNeeds::new(ranks, u32::from(implied));
        if let Some(devices) = &resources.devices {
            needs.devices = devices.count;
            needs.device = DeviceNeed {
                kind: Some(devices.kind),
                model: devices.model.clone(),
                memory: devices.memory_bytes,
                mig: devices.mig.as_ref().and_then(|profile| profile.parse().ok()),
            };
        }
        needs.cpus = resources.cpus;
        needs.memory = resources.memory_bytes.unwrap_or(0);
        needs.ports = resources.nics.unwrap_or(0);
        needs.alone = self.spec.placement.exclusive == Exclusive::Node;
        needs
    }

    /// Whether the job says anything of what is in a node, beside how many devices.
    pub(super) fn is_particular(&self) -> bool {
        let resources = &self.spec.resources;
        let devices = resources.devices.as_ref();
        let placement = &self.spec.placement;
        devices.is_some_and(|it| it.model.is_some() || it.memory_bytes.is_some() || it.mig.is_some())
            || resources.cpus.is_some()
            || resources.memory_bytes.is_some()
            || resources.nics.is_some()
            || !placement.node_selector.is_empty()
            || !placement.nodes.is_empty()
            || !placement.avoid.is_empty()
            || placement.exclusive != Exclusive::None
    }

    /// Whether cores are given to its ranks: those that ask for cores or devices.
    pub(crate) fn binds_cores(&self, needs: &RankNeeds) -> bool {
        self.spec.placement.cpu_binding == CpuBinding::Cores && (needs.devices > 0 || needs.cpus.is_some())
    }

    /// Its groups for so many ranks: where the number differs from what was asked, data-parallel replicas come or go.
    ///
    /// # Errors
    /// Groups that do not make so many ranks.
    pub fn layout(&self, world: u32, limits: &Limits) -> Result<Layout, LayoutError> {
        let groups = &self.spec.parallelism.groups;
        if groups.is_empty() {
            return Layout::ring(world);
        }
        let asked = self.spec.world_size();
        let group = |group: &GroupSpec| {
            let kind = kind_of(&group.kind);
            let scaled = u64::from(group.size) * u64::from(world) / u64::from(asked.max(1));
            let size =
                if kind == GroupKind::Dp { u32::try_from(scaled).unwrap_or(u32::MAX) } else { group.size };
            let usual = Group::of(kind, size);
            Group {
                pattern: group.pattern.map_or(usual.pattern, pattern_of),
                volume: group.volume_bytes.unwrap_or(usual.volume),
                within: limits.groups.get(&group.kind).copied(),
                ..usual
            }
        };
        Layout::new(groups.iter().map(group).collect(), world)
    }
}

/// Levels of a fabric that the gang and its groups must not exceed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub all: Option<Level>,
    pub groups: BTreeMap<String, Level>,
    /// Kinds that must stay within a node, and how close in it.
    pub inside: BTreeMap<String, Tier>,
    /// The gang must be on one node.
    pub one_node: bool,
}

/// A tier that nothing is known of in this cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnknownTier {
    /// `all`, the kind of a group, or `spread`.
    pub of: String,
    pub tier: Tier,
    /// The closer tier that is known.
    pub known: Option<Tier>,
}

impl UnknownTier {
    pub(super) fn new(of: &str, tier: Tier, known: Option<Tier>) -> UnknownTier {
        UnknownTier { of: of.to_owned(), tier, known }
    }
}

impl Limits {
    /// What is required, and what is preferred as well if `prefer`.
    pub(super) fn of(spec: &JobSpec, fabric: &Fabric, prefer: bool) -> Limits {
        let mut limits = Limits::default();
        let preferred = prefer.then_some(&spec.placement.prefer);
        for tiers in std::iter::once(&spec.placement.require).chain(preferred) {
            match tiers.all {
                Some(tier) if tier <= Tier::Node => limits.one_node = true,
                // Of two nodes nobody can say that they are so close.
                Some(tier) => match level(fabric, tier) {
                    Some(level) => limits.all = Some(limits.all.map_or(level, |known| known.min(level))),
                    None => limits.one_node = true,
                },
                None => {}
            }
            for (kind, tier) in &tiers.groups {
                match level(fabric, *tier) {
                    Some(level) if *tier > Tier::Node => {
                        let known = limits.groups.entry(kind.clone()).or_insert(level);
                        *known = level.min(*known);
                    }
                    _ => {
                        let known = limits.inside.entry(kind.clone()).or_insert(*tier);
                        *known = (*tier).min(*known);
                    }
                }
            }
        }
        limits
    }

    /// Whether groups have to be closer than a node.
    pub(super) fn look_inside(&self) -> bool {
        self.inside.values().any(|tier| *tier < Tier::Node)
    }

    /// Whether pods of so many ranks hold whole groups of the kinds that must stay within a node.
    pub(super) fn allow(&self, spec: &JobSpec, cut: Cut) -> bool {
        if self.one_node && cut.nodes > 1 {
            return false;
        }
        let mut fast = 1u64;
        spec.parallelism.groups.iter().all(|group| {
            fast = fast.saturating_mul(u64::from(group.size));
            group.size == 1
                || !self.inside.contains_key(&group.kind)
                || u64::from(cut.ranks).is_multiple_of(fast)
        })
    }
}

/// The highest level of a fabric at which nodes are this close.
fn level(fabric: &Fabric, tier: Tier) -> Option<Level> {
    let level = fabric.level_within(tier)?;
    Level::try_from(level).ok()
}

pub(super) fn kind_of(word: &str) -> GroupKind {
    match word {
        "tp" => GroupKind::Tp,
        "cp" => GroupKind::Cp,
        "ep" => GroupKind::Ep,
        "dp" => GroupKind::Dp,
        "pp" => GroupKind::Pp,
        other => GroupKind::Custom(other.to_owned()),
    }
}

fn pattern_of(pattern: SpecPattern) -> Pattern {
    match pattern {
        SpecPattern::Ring => Pattern::Ring,
        SpecPattern::AllToAll => Pattern::AllToAll,
        SpecPattern::Chain => Pattern::Chain,
        SpecPattern::Tree => Pattern::Tree,
    }
}

/// In descending order.
fn divisors(of: u32) -> impl Iterator<Item = u32> {
    let root = of.isqrt();
    let small: Vec<u32> = (1..=root).filter(|by| of.is_multiple_of(*by)).collect();
    let large = small.clone().into_iter().map(move |by| of / by);
    let small = small.into_iter().rev().filter(move |by| *by != of / by);
    large.chain(small)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divisors_are_in_descending_order_each_once() {
        assert_eq!(divisors(36).collect::<Vec<_>>(), [36, 18, 12, 9, 6, 4, 3, 2, 1]);
        assert_eq!(divisors(7).collect::<Vec<_>>(), [7, 1]);
        assert_eq!(divisors(1).collect::<Vec<_>>(), [1]);
    }
}
