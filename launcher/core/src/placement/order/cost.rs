//! What an assignment costs, term by term.

use super::{Level, SlotGraph, Tree};

/// Terms of an assignment of slots to leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Sum over domains of uplink cost times volume that leaves the domain.
    pub weighted: u128,
    /// The largest single term of that sum.
    pub bottleneck: u128,
    /// Volume by kind of group and by level of the lowest domain that holds both ends. Only what is not zero,
    /// and only between slots; ordered by kind, then level.
    pub volumes: Vec<Volume>,
    /// For each kind the farthest level that a line of it spans; `None` if every line stays within its slot.
    pub worst: Vec<Option<Level>>,
}

/// Volume of a kind that meets at a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Index into [`SlotGraph::kinds`].
    pub kind: u8,
    pub level: Level,
    pub volume: u128,
}

impl Cost {
    /// Counts everything anew. `leaves` has the leaf of every slot; `None` if it has not one leaf of the tree
    /// for each slot, whatever room the leaves have.
    pub fn of(graph: &SlotGraph, tree: &Tree, leaves: &[u32]) -> Option<Self> {
        if leaves.len() != graph.len() as usize || leaves.iter().any(|leaf| *leaf >= tree.leaf_count()) {
            return None;
        }
        let domains = tree.domains();
        let kinds = graph.kinds().len();
        let levels = domains.iter().map(|domain| usize::from(domain.level) + 1).max().unwrap_or(0);
        let mut volumes = vec![0u128; kinds * levels];
        let mut worst = vec![None; kinds];
        let mut cuts = vec![0u128; domains.len()];
        for slot in 0..graph.len() {
            let own = leaves[slot as usize];
            for edge in graph.edges(slot).iter().filter(|edge| edge.to > slot) {
                let other = leaves[edge.to as usize];
                let meeting = tree.meeting(own, other);
                let level = domains[meeting as usize].level;
                let kind = usize::from(edge.kind);
                volumes[kind * levels + usize::from(level)] += u128::from(edge.weight);
                worst[kind] = worst[kind].max(Some(level));
                if own != other {
                    for leaf in [own, other] {
                        let mut at = tree.leaves()[leaf as usize];
                        while at != meeting {
                            cuts[at as usize] += u128::from(edge.weight);
                            at = domains[at as usize].parent.unwrap_or(meeting);
                        }
                    }
                }
            }
        }
        let mut cost = Cost { worst, ..Cost::default() };
        for (domain, cut) in domains.iter().zip(cuts) {
            let term = cut.saturating_mul(u128::from(domain.uplink));
            cost.weighted = cost.weighted.saturating_add(term);
            cost.bottleneck = cost.bottleneck.max(term);
        }
        for (at, volume) in volumes.into_iter().enumerate().filter(|(_, volume)| *volume > 0) {
            let kind = u8::try_from(at / levels).unwrap_or(u8::MAX);
            let level = Level::try_from(at % levels).unwrap_or(Level::MAX);
            cost.volumes.push(Volume { kind, level, volume });
        }
        Some(cost)
    }

    /// Volume of all kinds that meets at `level`.
    pub fn volume_at(&self, level: Level) -> u128 {
        self.volumes.iter().filter(|volume| volume.level == level).map(|volume| volume.volume).sum()
    }
}
