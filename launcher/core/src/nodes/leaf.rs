//! Nodes that go together: what they share is blamed for a job's failure, and none of them.

use std::collections::BTreeSet;

use phalanx_common::defaults::BREAKER_WITHIN;
use phalanx_common::event::Cause;
use phalanx_common::id::NodeId;
use phalanx_common::time::Timestamp;
use phalanx_common::topology::Tier;

use crate::coordinator::Coordinator;
use crate::nodes::LinkState;

/// Fewer nodes that go are nodes that went.
const BURST: usize = 2;

impl Coordinator {
    /// The cause that a lost node has in its leaf, if that went: two of its nodes and at least half of all, within a minute, while a
    /// node elsewhere is connected.
    pub(crate) fn lost_leaf(&self, cause: &Cause) -> Option<Cause> {
        let Cause::NodeLost { node } = cause else { return None };
        let began = self.lost_at(node)?;
        let fabric = self.stock.fabric();
        let row = fabric.row(node)?;
        let level = (0..fabric.depth()).find(|level| fabric.tier(*level) == Tier::Leaf)?;
        let leaf = fabric.domain(fabric.domain_of(row, level));
        let near = |at: Timestamp| at.since(began).max(began.since(at)) < BREAKER_WITHIN;
        let all = leaf.nodes.clone().map(|row| &fabric.node(row).id);
        let lost: BTreeSet<NodeId> =
            all.filter(|node| self.lost_at(node).is_some_and(near)).cloned().collect();
        let elsewhere = |id: &NodeId| fabric.row(id).is_none_or(|row| !leaf.nodes.contains(&row));
        let others = self.nodes.iter().any(|(id, known)| known.reachable() && elsewhere(id));
        let burst = leaf.known && lost.len() >= BURST && lost.len() * 2 >= leaf.nodes.len() && others;
        burst.then(|| Cause::LeafLost { leaf: leaf.name.clone(), nodes: lost.into_iter().collect() })
    }

    /// Since when the node is unreachable, if it is.
    fn lost_at(&self, node: &NodeId) -> Option<Timestamp> {
        match self.nodes.get(node)?.link {
            LinkState::Unreachable { since } => Some(since),
            LinkState::Reachable => None,
        }
    }
}
