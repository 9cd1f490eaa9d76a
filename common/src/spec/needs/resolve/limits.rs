//! Where the gang may run: what of it contradicts itself, the shape or the groups.

use std::collections::BTreeMap;

use super::value;
use crate::spec::error::Problem;
use crate::spec::file::JobFile;
use crate::spec::job::Shape;
use crate::spec::needs::keys::{Limit, TierKeys};
use crate::spec::needs::{NeedsProblem, Parallelism, PlacementSpec, TierLimits, read};
use crate::spec::place::{Given, Origin};
use crate::topology::Tier;

impl JobFile {
    /// `parallelism` is `None` if it could not be told.
    pub(super) fn resolve_placement(
        &self,
        shape: Shape,
        parallelism: Option<&Parallelism>,
        problems: &mut Vec<Problem>,
    ) -> PlacementSpec {
        let it = &self.placement;
        if let Some(parallelism) = parallelism {
            self.check_kinds("placement.require", &it.require, parallelism, problems);
            self.check_kinds("placement.prefer", &it.prefer, parallelism, problems);
            self.check_groups(shape, parallelism, problems);
        }
        self.check_all(shape, problems);
        self.check_preferred(problems);
        self.check_nodes(shape, problems);
        PlacementSpec {
            require: limits(&it.require),
            prefer: limits(&it.prefer),
            spares: value(&it.spares).unwrap_or(0),
            spread: value(&it.spread),
            node_selector: it
                .node_selector
                .iter()
                .map(|(name, given)| (name.clone(), given.value.0.clone()))
                .collect(),
            nodes: names(&it.nodes),
            avoid: names(&it.avoid),
            exclusive: value(&it.exclusive).unwrap_or_default(),
            uneven: value(&it.uneven).unwrap_or_default(),
            mixed: value(&it.mixed).unwrap_or_default(),
            device_view: value(&it.device_view).unwrap_or_default(),
            memory_binding: value(&it.memory_binding).unwrap_or_default(),
            cpu_binding: value(&it.cpu_binding).unwrap_or_default(),
            nccl_topology: value(&it.nccl_topology).unwrap_or_default(),
        }
    }

    /// What is limited is a group of the job.
    fn check_kinds(
        &self,
        key: &str,
        tiers: &TierKeys,
        parallelism: &Parallelism,
        problems: &mut Vec<Problem>,
    ) {
        for (kind, limit) in tiers.0.iter().filter(|(kind, _)| *kind != read::ALL) {
            if parallelism.group(kind).is_none() {
                let nearest = read::nearest_of(kind, &Parallelism::KINDS).filter(|near| near != kind);
                let problem = NeedsProblem::NoGroup { kind: kind.clone(), nearest };
                problems.push(self.problem(key, &limit.origin, problem.into()));
            }
        }
    }

    /// What has to be within a node fits into one, and what has to be spread is not held together.
    fn check_groups(&self, shape: Shape, parallelism: &Parallelism, problems: &mut Vec<Problem>) {
        let Shape::Nodes { ranks_per_node, .. } = shape else { return };
        let mut block = 1u64;
        let mut inside = Vec::new();
        for group in &parallelism.groups {
            // Ranks of a node are numbered without a gap, so a group is on one node if the block of ranks that
            // it is taken from is.
            let stride = block;
            block = block.saturating_mul(group.size.into());
            inside.push((group, stride, block));
        }
        let on_one_node = |block: u64| block > 0 && u64::from(ranks_per_node).is_multiple_of(block);
        for (group, stride, block) in inside {
            let Some(limit) = self.placement.require.0.get(&group.kind) else { continue };
            if group.size < 2 || on_one_node(block) {
                continue;
            }
            let tier = limit.tier.value;
            if tier <= Tier::Node {
                let fitting = (1..=ranks_per_node)
                    .rev()
                    .find(|size| on_one_node(stride.saturating_mul((*size).into())));
                let problem = NeedsProblem::GroupInNode {
                    kind: group.kind.clone(),
                    size: group.size,
                    block,
                    ranks_per_node,
                    fitting,
                };
                problems.push(self.problem("placement.require", &limit.tier.origin, problem.into()));
            } else {
                problems.extend(self.check_spread(limit));
            }
        }
    }

    fn check_all(&self, shape: Shape, problems: &mut Vec<Problem>) {
        let Some(all) = self.placement.require.0.get(read::ALL) else { return };
        match (all.tier.value, shape) {
            (Tier::Node, Shape::Nodes { nodes, .. }) if nodes > 1 => {
                let problem = NeedsProblem::JobInNode { nodes };
                problems.push(self.problem("placement.require.all", &all.tier.origin, problem.into()));
            }
            _ => problems.extend(self.check_spread(all)),
        }
    }

    /// Nodes that share no leaf are within no leaf.
    fn check_spread(&self, within: &Limit) -> Option<Problem> {
        let spread = self.placement.spread.as_ref()?;
        if within.tier.value > spread.value {
            return None;
        }
        let problem = NeedsProblem::SpreadWithin {
            spread: spread.value,
            within: within.tier.value,
            other: self.place_of(&within.tier.origin),
        };
        Some(self.problem("placement.spread", &spread.origin, problem.into()))
    }

    /// What is preferred is closer than what is required anyway.
    fn check_preferred(&self, problems: &mut Vec<Problem>) {
        for (kind, prefer) in &self.placement.prefer.0 {
            let Some(require) = self.placement.require.0.get(kind) else { continue };
            if prefer.tier.value > require.tier.value {
                let problem = NeedsProblem::Farther {
                    prefer: prefer.tier.value,
                    require: require.tier.value,
                    other: self.place_of(&require.tier.origin),
                };
                let key = format!("placement.prefer.{kind}");
                problems.push(self.problem(&key, &prefer.tier.origin, problem.into()));
            }
        }
    }

    /// Nodes stand once, are not to be used and avoided, and are enough.
    fn check_nodes(&self, shape: Shape, problems: &mut Vec<Problem>) {
        let it = &self.placement;
        let used = self.once("placement.nodes", &it.nodes, problems);
        for (node, origin) in self.once("placement.avoid", &it.avoid, problems) {
            if let Some(other) = used.get(node) {
                let other = self.place_of(other);
                let problem = NeedsProblem::UsedAndAvoided { node: node.to_owned(), other };
                problems.push(self.problem("placement.avoid", origin, problem.into()));
            }
        }
        let (Some(given), Shape::Nodes { nodes, .. }) = (&it.nodes, shape) else { return };
        let spares = value(&it.spares).unwrap_or(0);
        if (used.len() as u64) < u64::from(nodes) + u64::from(spares) {
            let problem = NeedsProblem::TooFewNodes { named: used.len(), nodes, spares };
            problems.push(self.problem("placement.nodes", &given.origin, problem.into()));
        }
    }

    fn once<'a>(
        &self,
        key: &str,
        given: &'a Option<Given<Vec<Given<String>>>>,
        problems: &mut Vec<Problem>,
    ) -> BTreeMap<&'a str, &'a Origin> {
        let mut nodes = BTreeMap::new();
        for node in given.iter().flat_map(|given| &given.value) {
            if nodes.insert(node.value.as_str(), &node.origin).is_some() {
                let problem = NeedsProblem::NodeTwice(node.value.clone());
                problems.push(self.problem(key, &node.origin, problem.into()));
            }
        }
        nodes
    }
}

fn limits(tiers: &TierKeys) -> TierLimits {
    let tier = |(kind, limit): (&String, &Limit)| (kind.clone(), limit.tier.value);
    TierLimits {
        all: tiers.0.get(read::ALL).map(|limit| limit.tier.value),
        groups: tiers.0.iter().filter(|(kind, _)| *kind != read::ALL).map(tier).collect(),
    }
}

fn names(given: &Option<Given<Vec<Given<String>>>>) -> Vec<String> {
    given.iter().flat_map(|given| &given.value).map(|node| node.value.clone()).collect()
}
