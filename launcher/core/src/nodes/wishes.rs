//! What operators want of nodes.

use std::sync::Arc;
use std::time::Duration;

use phalanx_common::event::EventKind;
use phalanx_common::id::NodeId;

use super::Node;
use super::standing::{Cordon, Drain, Standing};
use crate::coordinator::Coordinator;
use crate::records::{Record, StandingRecord};

/// What an operator wants of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// It gets no new pods. The reason may be empty.
    Cordon { reason: String },
    /// It gets pods again, whatever stood against it.
    Uncordon,
    /// It gets no new pods, and its jobs go elsewhere. The grace is between the stop signal and SIGKILL; `None`: as each
    /// job says.
    Drain { reason: String, grace: Option<Duration> },
    /// It is gone for good.
    Forget,
}

impl Coordinator {
    pub(crate) fn on_wish(&mut self, node: &NodeId, by: String, wish: Wish) {
        if !self.nodes.contains_key(node) {
            return self.ignore(None, format!("{by} wants something of node {node}, which is not known"));
        }
        match wish {
            Wish::Cordon { reason } => self.cordon(node, by, reason),
            Wish::Uncordon => self.uncordon(node, by),
            Wish::Drain { reason, grace } => self.drain(node, by, reason, Drain { grace }),
            Wish::Forget => self.forget_node(node, by),
        }
    }

    fn cordon(&mut self, node: &NodeId, by: String, reason: String) {
        let cordon = Cordon { by: by.clone(), reason: reason.clone(), at: self.now };
        self.set_standing(node, Standing { cordon: Some(cordon), ..self.standing(node) });
        self.emit(None, None, EventKind::NodeCordoned { node: node.clone(), by, reason });
    }

    fn uncordon(&mut self, node: &NodeId, by: String) {
        if self.standing(node).is_empty() {
            return self.ignore(None, format!("uncordon of node {node}, against which nothing stands"));
        }
        self.set_standing(node, Standing::default());
        self.emit(None, None, EventKind::NodeUncordoned { node: node.clone(), by });
    }

    /// What stands against a node.
    pub fn standing(&self, node: &NodeId) -> Standing {
        self.durable.standings.get(node).cloned().unwrap_or_default()
    }

    /// Stores what stands against a node from here on, and lets placement know.
    pub(crate) fn set_standing(&mut self, node: &NodeId, standing: Standing) {
        if self.standing(node) == standing {
            return;
        }
        let closed = standing.closed();
        self.persist(Record::NodeStands(Box::new(StandingRecord::new(node, &standing))));
        if let Some(known) = self.nodes.get_mut(node) {
            known.closed = closed;
        }
        Arc::make_mut(&mut self.stock).touch(node);
        self.learnt += 1;
        self.queue_moved = true;
    }

    /// The node, as one that was not heard of if it is new.
    pub(crate) fn know(&mut self, node: &NodeId) -> &mut Node {
        let standing = self.durable.standings.get(node);
        self.nodes.entry(node.clone()).or_insert_with(|| Node {
            closed: standing.and_then(Standing::closed),
            ..Node::unheard(self.now)
        })
    }
}
