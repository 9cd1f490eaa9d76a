//! Nodes that are gone for good.

use std::sync::Arc;

use phalanx_common::event::EventKind;
use phalanx_common::id::{JobId, NodeId};

use super::standing::Standing;
use crate::coordinator::Coordinator;

impl Coordinator {
    /// Why this node cannot be forgotten, in words that follow its name; `None`: it can.
    pub fn keeps(&self, node: &NodeId) -> Option<String> {
        if self.reachable(node) {
            return Some("is connected: stop its worker first".to_owned());
        }
        let holds = |job: &JobId| {
            let active = self.durable.jobs.get(job).and_then(|job| job.active());
            active.is_some_and(|active| active.place_on(node).is_some() || active.spares.contains(node))
        };
        let jobs: Vec<&str> =
            self.durable.jobs.keys().filter(|job| holds(job)).map(|job| job.as_str()).collect();
        (!jobs.is_empty()).then(|| {
            format!(
                "is held by {}: `phalanx node drain` moves jobs away, `phalanx stop` ends them",
                jobs.join(", ")
            )
        })
    }

    pub(super) fn forget_node(&mut self, node: &NodeId, by: String) {
        if let Some(why) = self.keeps(node) {
            return self.ignore(None, format!("node {node} is not forgotten: it {why}"));
        }
        self.set_standing(node, Standing::default());
        self.nodes.remove(node);
        Arc::make_mut(&mut self.stock).remake();
        self.learnt += 1;
        self.queue_moved = true;
        self.emit(None, None, EventKind::NodeForgotten { node: node.clone(), by });
    }
}
