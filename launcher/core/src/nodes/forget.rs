//! Nodes that are gone for good.

use std::sync::Arc;

use phalanx_common::event::EventKind;
use phalanx_common::id::NodeId;

use super::standing::Standing;
use crate::coordinator::Coordinator;
use crate::durable::GenerationState;

impl Coordinator {
    /// Why this node cannot be forgotten, in words that follow its name; `None`: it can.
    pub fn keeps(&self, node: &NodeId) -> Option<String> {
        if self.reachable(node) {
            return Some("is connected: stop its worker first".to_owned());
        }
        let of = |holds: &dyn Fn(&GenerationState) -> bool| {
            let jobs = self.durable.jobs.iter().filter(|(_, job)| job.active().is_some_and(holds));
            jobs.map(|(id, _)| id.as_str()).collect::<Vec<_>>().join(", ")
        };
        let (run, spare) = (of(&|it| it.place_on(node).is_some()), of(&|it| it.spares.contains(node)));
        match (run.as_str(), spare.as_str()) {
            ("", "") => None,
            ("", jobs) => Some(format!(
                "is held back as a spare of {jobs}: it is free once they end or start anew, and `phalanx stop` ends them"
            )),
            (jobs, _) => Some(format!(
                "is held by {jobs}: `phalanx node drain` moves jobs away, `phalanx stop` ends them"
            )),
        }
    }

    pub(super) fn forget_node(&mut self, node: &NodeId, by: String) {
        if let Some(why) = self.keeps(node) {
            return self.ignore(None, format!("node {node} is not forgotten: it {why}"));
        }
        self.set_standing(node, Standing::default());
        self.nodes.remove(node);
        self.history.forget(node);
        Arc::make_mut(&mut self.stock).remake();
        self.learnt += 1;
        self.queue_moved = true;
        self.emit(None, None, EventKind::NodeForgotten { node: node.clone(), by });
    }
}
