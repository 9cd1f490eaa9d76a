//! What the coordinator is told: all on a new link, and then whatever is new.

use std::time::Duration;

use phalanx_common::topology::machine::Machine;
use phalanx_common::wire::bytes::Bytes;
use phalanx_common::wire::topology_v1::{FromNode, Heard, Neighbour, PART};
use tokio::time::Instant;

use super::Surveyor;
use crate::link::{self, TopologyLink};

/// What is heard is told at most so often: a whole cluster may come up at once.
const TELL_EVERY: Duration = Duration::from_millis(500);
/// What a coordinator knows of this node's life before stays until every port had the time to hear: switches
/// send LLDP every 30 s, nodes their beacons.
pub(super) const HEARD_ALL_WITHIN: Duration = Duration::from_secs(40);

/// What the coordinator at the other end knows.
#[derive(Debug, Default)]
pub(super) struct Told {
    machine: Option<Machine>,
    neighbours: Option<Vec<Neighbour>>,
    /// With whether it was whole.
    heard: Option<(Vec<Heard>, bool)>,
    fabrics: Option<Vec<u64>>,
}

impl<L: TopologyLink> Surveyor<L> {
    pub(super) fn tell_soon(&mut self) {
        self.tell_at.get_or_insert(Instant::now() + TELL_EVERY);
    }

    pub(super) fn untold(&self) -> bool {
        self.told.machine.as_ref() != Some(&self.machine)
            || self.told.neighbours != Some(self.neighbours())
            || self.told.heard != Some((self.beacons.heard(&self.node), self.heard_all()))
            || self.told.fabrics.as_ref().is_none_or(|told| !told.iter().eq(self.gates.keys()))
    }

    /// Before the first look there is nothing to tell.
    pub(super) async fn tell(&mut self) {
        self.tell_at = None;
        if self.link.is_some() && self.machine != Machine::default() {
            let told = self.tell_what_is_new().await;
            self.ended(told);
        }
    }

    async fn tell_what_is_new(&mut self) -> Result<(), link::Error> {
        if self.told.machine.is_none() {
            self.say(FromNode::Policy(self.policy.clone())).await?;
        }
        if self.told.machine.as_ref() != Some(&self.machine) {
            let text = serde_json::to_vec(&self.machine).unwrap_or_default();
            self.tell_parts(&text, |part, last| FromNode::Machine { part, last }).await?;
            self.told.machine = Some(self.machine.clone());
        }
        let neighbours = self.neighbours();
        let complete = self.of_lldpd.is_some() || self.has_heard(neighbours.is_empty());
        if complete && self.told.neighbours.as_ref() != Some(&neighbours) {
            self.say(FromNode::Neighbours(neighbours.clone())).await?;
            self.told.neighbours = Some(neighbours);
        }
        let (beacons, whole) = (self.beacons.heard(&self.node), self.heard_all());
        let heard = Some((beacons.clone(), whole));
        if self.has_heard(beacons.is_empty()) && self.told.heard != heard {
            self.say(FromNode::Heard { beacons, whole }).await?;
            self.told.heard = heard;
        }
        let fabrics: Vec<u64> = self.gates.keys().copied().collect();
        if self.told.fabrics.as_ref() != Some(&fabrics) {
            self.say(FromNode::Fabrics(fabrics.clone())).await?;
            self.told.fabrics = Some(fabrics);
        }
        Ok(())
    }

    /// Whether a list is what there is, and not what was not heard yet.
    fn has_heard(&self, nothing: bool) -> bool {
        !nothing || self.heard_all()
    }

    fn heard_all(&self) -> bool {
        self.listens_since.elapsed() >= HEARD_ALL_WITHIN
    }

    pub(super) async fn tell_parts(
        &mut self,
        bytes: &[u8],
        message: impl Fn(Bytes, bool) -> FromNode,
    ) -> Result<(), link::Error> {
        let mut parts = bytes.chunks(PART).peekable();
        while let Some(part) = parts.next() {
            self.say(message(Bytes(part.to_vec()), parts.peek().is_none())).await?;
        }
        Ok(())
    }

    async fn say(&mut self, told: FromNode) -> Result<(), link::Error> {
        match &mut self.link {
            Some(link) => link.tell(told).await,
            None => Ok(()),
        }
    }

    /// All is told again on the next link.
    pub(super) fn ended(&mut self, told: Result<(), link::Error>) {
        if let Err(error) = told {
            tracing::debug!(error = &error as &dyn std::error::Error, "the topology stream ended");
            self.link = None;
        }
    }
}
