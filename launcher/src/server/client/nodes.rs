//! Nodes: which are there, which is meant, and what operators want of them.

use std::collections::BTreeMap;
use std::time::Duration;

use phalanx_common::id::NodeId;
use phalanx_common::status::NodeStatus;
use phalanx_common::wire::client_v1::NodeWish;
use phalanx_launcher_core::Wish;
use phalanx_net::frames::Sending;

use super::topology::{several, unknown};
use super::{Failed, Session, bad, document, ending};
use crate::driver::{Message, look};
use crate::topo::{Unresolved, resolve};

/// Longest reason that is kept, bytes: it stands in every refusal.
const REASON_MAX: usize = 200;

impl Session {
    /// Every node, by id.
    pub(super) async fn node_statuses(&self) -> Result<Vec<NodeStatus>, Failed> {
        let found = look(&self.service.inbox, |coordinator, peers| {
            let mut nodes = coordinator.node_statuses();
            for node in &mut nodes {
                node.certificate_expires = peers.get(&node.node).and_then(|peer| peer.expires);
            }
            nodes
        });
        let mut nodes = found.await.ok_or_else(ending)?;
        for node in &mut nodes {
            node.labels = self.labels(&node.node).await;
        }
        Ok(nodes)
    }

    /// The node of this name or id, or the one node that begins so.
    pub(super) async fn find_node(&self, node: &str) -> Result<NodeId, Failed> {
        let found = look(&self.service.inbox, |coordinator, _| {
            coordinator.nodes().keys().cloned().collect::<Vec<NodeId>>()
        });
        let nodes = found.await.ok_or_else(ending)?;
        let current = self.cluster.surveys.current();
        // Nodes that have not told of their machines have no name but the id.
        let mut names: BTreeMap<&NodeId, &str> = nodes.iter().map(|id| (id, id.as_str())).collect();
        for (name, id) in current.iter().flat_map(|current| &current.facts.ids) {
            names.entry(id).and_modify(|known| *known = name);
        }
        let name =
            resolve(names.iter().map(|(id, name)| (*name, Some(*id))), node).map_err(|why| match why {
                Unresolved::Nobody => unknown(format!("there is no node {node}; `phalanx nodes` lists them")),
                Unresolved::Several(first, second) => several(node, first, second),
            })?;
        let id = names.iter().find(|(_, known)| **known == name).map(|(id, _)| (*id).clone());
        id.ok_or_else(ending)
    }

    pub(super) async fn wish(&self, node: &str, wish: NodeWish, send: &mut Sending) -> Result<(), Failed> {
        let node = self.find_node(node).await?;
        let wish = match wish {
            NodeWish::Cordon { reason } => Wish::Cordon { reason: checked(reason)? },
            NodeWish::Uncordon => Wish::Uncordon,
            NodeWish::Drain { reason, grace_ms } => {
                Wish::Drain { reason: checked(reason)?, grace: grace_ms.map(Duration::from_millis) }
            }
            NodeWish::Forget => return self.forget(node).await,
        };
        let by = self.principal.name().to_owned();
        self.tell(Message::Node { node: node.clone(), by, wish }).await?;
        // It has been heard by then: what reaches the driver keeps its order.
        let mut nodes = self.node_statuses().await?;
        nodes.retain(|status| status.node == node);
        document(&nodes.pop(), send).await
    }

    /// Its certificate counts no more before anything of it is gone: it cannot come back in between.
    async fn forget(&self, node: NodeId) -> Result<(), Failed> {
        let asked = node.clone();
        let keeps = look(&self.service.inbox, move |coordinator, _| coordinator.keeps(&asked));
        if let Some(why) = keeps.await.ok_or_else(ending)? {
            return Err(bad(format!("{node} is not forgotten: it {why}")));
        }
        self.cluster.registry.forget_node(&node).await?;
        let by = self.principal.name().to_owned();
        self.tell(Message::Node { node, by, wish: Wish::Forget }).await
    }

    pub(super) async fn resume_replacement(&self) -> Result<(), Failed> {
        let paused = look(&self.service.inbox, |coordinator, _| coordinator.replacement_paused());
        if !paused.await.ok_or_else(ending)? {
            return Err(bad("replacement of nodes is not paused"));
        }
        self.tell(Message::ResumeReplacement { by: self.principal.name().to_owned() }).await
    }
}

/// A reason as it may stand in a line of text.
fn checked(reason: String) -> Result<String, Failed> {
    if reason.len() > REASON_MAX || reason.chars().any(char::is_control) {
        return Err(bad(format!("a reason is one line of at most {REASON_MAX} bytes")));
    }
    Ok(reason)
}
