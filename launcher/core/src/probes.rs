//! Is a node that cannot be reached alive? Its peers of the same job ask it on the data plane.
//!
//! ```text
//! unreachable --ask peers--> heard by one --> asked again, nothing is restarted
//!                        \-> all silent ----> dead: given up at once, or by its lease if fencing is strict
//! ```
//!
//! Without peers that can be asked nothing is known, and the job's `unreachable` decides.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use phalanx_common::defaults::{IDLE_TIMEOUT, PROBE_WITHIN};
use phalanx_common::event::EventKind;
use phalanx_common::id::{Generation, JobId, NodeId};
use phalanx_common::order::OrderKind;
use phalanx_common::spec::Fencing;

use crate::coordinator::Coordinator;
use crate::durable::Job;
use crate::gang::PodView;
use crate::input::Why;
use crate::meeting::address_of;
use crate::nodes::LinkState;
use crate::reconcile::{LEASE_MARGIN, RENEWALS_PER_LEASE};

/// Peers that are asked: one that answers is enough, and one that has trouble of its own decides nothing.
const PEERS: usize = 4;
/// Answers that are later than this do not come.
const ANSWERED_WITHIN: Duration = PROBE_WITHIN;
/// A node that was heard is asked about again after this long.
const AGAIN: Duration = Duration::from_secs(3);

/// One question to the peers of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Round {
    generation: Generation,
    asked: BTreeSet<NodeId>,
    silent: BTreeSet<NodeId>,
    /// What was told of it last: heard.
    heard: bool,
}

impl Coordinator {
    /// Asks peers of this pod about it: these.
    pub(crate) fn ask_peers(&mut self, job: &JobId, target: &NodeId) -> Vec<NodeId> {
        let asked = self.peers_to_ask(job, target);
        let Some(generation) = self.durable.jobs.get(job).and_then(Job::active).map(|active| active.number)
        else {
            return Vec::new();
        };
        let key = (job.clone(), target.clone());
        let heard = self.rounds.get(&key).is_some_and(|round| round.generation == generation && round.heard);
        for (peer, address) in &asked {
            let (job, target) = (job.clone(), target.clone());
            self.send(peer, OrderKind::Probe { job, generation, target, address: *address });
        }
        let peers: Vec<NodeId> = asked.into_iter().map(|(peer, _)| peer).collect();
        let wait = if peers.is_empty() { AGAIN } else { ANSWERED_WITHIN };
        let asked = peers.iter().cloned().collect();
        self.rounds.insert(key, Round { generation, asked, silent: BTreeSet::new(), heard });
        self.timers.set(Why::Probe { job: job.clone(), node: target.clone() }, self.now + wait);
        peers
    }

    /// Nodes with a started pod of the job, and where they find the target's.
    fn peers_to_ask(&self, job: &JobId, target: &NodeId) -> Vec<(NodeId, SocketAddr)> {
        let pods = self.durable.jobs.get(job).and_then(Job::active).map(|active| &active.pods);
        let place = pods.and_then(|pods| pods.iter().find(|pod| pod.node == *target));
        let port = place.and_then(|place| place.probe_port);
        let to = self.nodes.get(target).and_then(|node| node.facts.as_ref());
        let (Some(gang), Some(port), Some(to)) = (self.gangs.get(job), port, to) else { return Vec::new() };
        let started = gang
            .pods()
            .filter(|(node, pod)| *node != target && pod.view == PodView::Started && self.reachable(node));
        started
            .filter_map(|(node, _)| {
                let from = self.nodes.get(node)?.facts.as_ref()?;
                Some((node.clone(), SocketAddr::new(address_of(to, from), port)))
            })
            .take(PEERS)
            .collect()
    }

    /// A peer's answer.
    pub(crate) fn on_probed(
        &mut self,
        peer: &NodeId,
        job: &JobId,
        generation: Generation,
        target: &NodeId,
        heard: bool,
    ) {
        let key = (job.clone(), target.clone());
        let Some(round) = self.rounds.get_mut(&key) else { return };
        if round.generation != generation || !round.asked.contains(peer) {
            return;
        }
        if !heard {
            round.silent.insert(peer.clone());
            if round.silent == round.asked {
                self.on_silent(job, target);
            }
            return;
        }
        round.asked.clear();
        round.silent.clear();
        if !std::mem::replace(&mut round.heard, true) {
            self.emit_for(job, EventKind::PodHeard { node: target.clone(), peer: peer.clone() });
        }
        self.timers.set(Why::Probe { job: job.clone(), node: target.clone() }, self.now + AGAIN);
    }

    /// The answers that came by now are all there are; or it is time to ask again.
    pub(crate) fn on_probe_deadline(&mut self, job: &JobId, target: &NodeId) {
        if !self.gangs_on(target).contains(job) || self.reachable(target) {
            return self.stop_asking(job, target);
        }
        let round = self.rounds.get(&(job.clone(), target.clone()));
        if round.is_some_and(|round| !round.silent.is_empty()) {
            self.on_silent(job, target);
        } else {
            self.ask_peers(job, target);
        }
    }

    /// Link and data plane are gone: the node is dead.
    fn on_silent(&mut self, job: &JobId, target: &NodeId) {
        let Some(round) = self.rounds.remove(&(job.clone(), target.clone())) else { return };
        self.timers.cancel(&Why::Probe { job: job.clone(), node: target.clone() });
        let Some(LinkState::Unreachable { since }) = self.nodes.get(target).map(|node| node.link) else {
            return;
        };
        let Some(spec) = self.durable.jobs.get(job).map(|job| &job.spec) else { return };
        let ended = since + spec.lease + LEASE_MARGIN;
        let strict = spec.fencing == Fencing::Strict && self.now < ended;
        // The lease there counts from the last renewal that came, which may be the one before the last that was sent.
        let renewed = spec.lease / RENEWALS_PER_LEASE;
        let lapsed = round.heard && self.now + IDLE_TIMEOUT + renewed >= since + spec.lease;
        let peers = round.silent.into_iter().collect();
        let (node, waits) = (target.clone(), strict.then(|| ended.since(self.now)));
        self.emit_for(job, EventKind::PodDead { node, peers, waits, lapsed });
        let why = Why::Unreachable { job: job.clone(), node: target.clone() };
        if strict {
            self.timers.set(why, ended);
        } else {
            self.timers.cancel(&why);
            self.on_unreachable(job, target);
        }
    }

    /// Nobody asks about this pod any more.
    pub(crate) fn stop_asking(&mut self, job: &JobId, target: &NodeId) {
        self.rounds.remove(&(job.clone(), target.clone()));
        self.timers.cancel(&Why::Probe { job: job.clone(), node: target.clone() });
    }
}
