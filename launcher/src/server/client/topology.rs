//! The topology, for whoever may look.

use std::collections::BTreeMap;
use std::sync::Arc;

use phalanx_common::id::NodeId;
use phalanx_launcher_core::access::Action;
use phalanx_net::frames::Sending;

use super::{Failed, Refusal, Session, document, text};
use crate::cluster::surveys::Current;
use crate::topo::{Unresolved, resolve};

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
        let name =
            resolve(ids.iter().map(|(name, id)| (name.as_str(), Some(id))), node).map_err(
                |why| match why {
                    Unresolved::Nobody => unknown(format!(
                        "no node {node} has told of its machine; `phalanx nodes` lists those there are"
                    )),
                    Unresolved::Several(first, second) => several(node, first, second),
                },
            )?;
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
        let id = self.find_node(node).await?;
        self.cluster.registry.label(&id, changes.into_iter().collect()).await?;
        self.cluster.relabelled.notify_one();
        document(&self.labels(&id).await, send).await
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

pub(super) fn unknown(why: String) -> Failed {
    Failed::Refused(Refusal::Unknown, why)
}

pub(super) fn several(node: &str, first: &str, second: &str) -> Failed {
    unknown(format!("{node} may be {first} or {second}: write more of its name"))
}
