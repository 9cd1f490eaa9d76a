//! The topology, for whoever may look.

use std::sync::Arc;

use phalanx_launcher_core::access::Action;
use phalanx_net::frames::Sending;

use super::{Failed, Refusal, Session, bad, document, text};
use crate::cluster::surveys::Current;

impl Session {
    pub(super) async fn topology(&self, send: &mut Sending) -> Result<(), Failed> {
        self.may(Action::Look)?;
        let current = self.current()?;
        text(&String::from_utf8(current.snapshot.to_json()).map_err(bad)?, send).await
    }

    pub(super) async fn machine(&self, node: &str, send: &mut Sending) -> Result<(), Failed> {
        self.may(Action::Look)?;
        let current = self.current()?;
        let ids = &current.surveyed.ids;
        let unknown = |why: String| Failed::Refused(Refusal::Unknown, why);
        let name = match ids.iter().find(|(name, id)| *name == node || id.as_str() == node) {
            Some((name, _)) => name,
            None => {
                let begins = |(name, id): &(&String, &_)| {
                    name.starts_with(node) || phalanx_common::id::NodeId::as_str(id).starts_with(node)
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
        document(&current.surveyed.machines.get(name).map(|machine| &**machine), send).await
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
