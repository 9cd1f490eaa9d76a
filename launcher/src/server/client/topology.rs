//! The topology, for whoever may look.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use phalanx_common::id::NodeId;
use phalanx_launcher_core::access::Action;
use phalanx_net::frames::Sending;

use super::{Failed, Refusal, Session, document, ending, text};
use crate::cluster::surveys::Current;
use crate::driver::look;

impl Session {
    pub(super) async fn topology(&self, send: &mut Sending) -> Result<(), Failed> {
        self.may(Action::Look)?;
        let current = self.current()?;
        text(&current.facts.json, send).await
    }

    pub(super) async fn witnesses(&self, send: &mut Sending) -> Result<(), Failed> {
        self.may(Action::Look)?;
        let current = self.current()?;
        text(&current.witnesses, send).await
    }

    pub(super) async fn machine(&self, node: &str, send: &mut Sending) -> Result<(), Failed> {
        self.may(Action::Look)?;
        let current = self.current()?;
        let ids = &current.facts.ids;
        let name = match ids.iter().find(|(name, id)| *name == node || id.as_str() == node) {
            Some((name, _)) => name,
            None => {
                let begins = |(name, id): &(&String, &_)| {
                    name.starts_with(node) || NodeId::as_str(id).starts_with(node)
                };
                let mut like = ids.iter().filter(begins);
                let first = like.next().ok_or_else(|| {
                    unknown(format!(
                        "no node {node} has told of its machine; `phalanx nodes` lists those there are"
                    ))
                })?;
                if let Some((other, _)) = like.next() {
                    return Err(unknown(format!(
                        "{node} may be {} or {other}: write more of its name",
                        first.0
                    )));
                }
                first.0
            }
        };
        document(&current.machines.get(name).map(|machine| &**machine), send).await
    }

    /// The labels that a node came with, as operators changed them since.
    pub(super) async fn labels(&self, node: &NodeId) -> BTreeMap<String, String> {
        self.cluster.registry.labels(node, &self.cluster.surveys.labels(node)).await
    }

    pub(super) async fn label(
        &self,
        node: &str,
        changes: Vec<(String, Option<String>)>,
        send: &mut Sending,
    ) -> Result<(), Failed> {
        let found = look(&self.service.inbox, |coordinator, _| coordinator.node_statuses());
        let nodes: Vec<NodeId> =
            found.await.ok_or_else(ending)?.into_iter().map(|status| status.node).collect();
        let begins: Vec<&NodeId> = nodes.iter().filter(|id| id.as_str().starts_with(node)).collect();
        let id = match (nodes.iter().find(|id| id.as_str() == node), &begins[..]) {
            (Some(id), _) => id,
            (None, [id]) => *id,
            (None, []) => {
                return Err(unknown(format!("there is no node {node}; `phalanx nodes` lists them")));
            }
            (None, [first, second, ..]) => return Err(several(node, first, second)),
        };
        self.cluster.registry.label(id, changes.into_iter().collect()).await?;
        document(&self.labels(id).await, send).await
    }

    fn current(&self) -> Result<Arc<Current>, Failed> {
        let current = self.cluster.surveys.current();
        current.ok_or_else(|| {
            Failed::Refused(
                Refusal::Unknown,
                "no node has told of its machine yet: see `phalanx nodes`".to_owned(),
            )
        })
    }
}

fn unknown(why: String) -> Failed {
    Failed::Refused(Refusal::Unknown, why)
}

fn several(node: &str, first: impl Display, second: impl Display) -> Failed {
    unknown(format!("{node} may be {first} or {second}: write more of its name"))
}
