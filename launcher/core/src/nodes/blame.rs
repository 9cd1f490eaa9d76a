//! Nodes that fail jobs too often get no more of them, until an operator has looked.
//!
//! | what counts | when it is too much |
//! |---|---|
//! | the node was unreachable, while another stayed connected | twice within five minutes, once it is back |
//! | the node or its worker was the first cause of a job's failure | for two jobs, or three times for one, within an hour |
//! | a job's ranks failed or its shim died there, it left the node for that, and then ran ten minutes or to a good end elsewhere | as above |
//!
//! The shim is a process of the job's user, who may end it. An exit code alone says nothing of a node: the same program
//! mostly fails the same way anywhere, and a program that is mended and submitted again is placed where the last one was.
//! So both count only once their job did well without the node. Neither does a lapsed lease count, which is the coordinator's absence, nor a node that refuses a job.
//! What happens within a minute is one incident, however many jobs it hits. Nothing counts of a node that is closed
//! already (whoever works on it knows), nor while the circuit breaker is open.

use std::collections::BTreeSet;
use std::time::Duration;

use phalanx_common::defaults::{
    BACK_WITHIN, BLAME_WITHIN, BLAMES_OF_JOBS, BLAMES_OF_ONE_JOB, FLAP_WITHIN, FLAPS, SAME_INCIDENT,
};
use phalanx_common::event::{Cause, EventKind};
use phalanx_common::id::{JobId, NodeId};
use phalanx_common::text::lasting;
use phalanx_common::time::Timestamp;

use super::standing::{Blame, Quarantine, Standing};
use crate::coordinator::Coordinator;
use crate::durable::Job;

impl Coordinator {
    /// A generation of the job ended for this cause, which arose at `at`.
    pub(crate) fn accuse(&mut self, job: &JobId, cause: &Cause, at: Timestamp) {
        if let Some(node) = accused(cause) {
            self.blame(node, job, cause.to_string(), at);
        }
    }

    /// The live generation of the job went well: if its ranks failed on a node that it left, that was the node's.
    pub(crate) fn contrast(&mut self, job: &JobId) {
        let Some(state) = self.durable.jobs.get(job) else { return };
        let Some(node) = state.suspect.clone() else { return };
        if state.active().is_some_and(|active| active.place_on(&node).is_none()) {
            let what = "its ranks failed there, and ran well elsewhere".to_owned();
            self.blame(&node, job, what, self.now);
        }
    }

    fn blame(&mut self, node: &NodeId, job: &JobId, what: String, at: Timestamp) {
        let mut standing = self.standing(node);
        if !self.may_quarantine(node, &standing) {
            return;
        }
        standing.blames.retain(|blame| self.now.since(blame.at) < BLAME_WITHIN);
        if standing.blames.last().is_some_and(|last| at.since(last.at) < SAME_INCIDENT) {
            return;
        }
        standing.blames.push(Blame { at, job: job.clone(), what });
        match too_much(&standing.blames) {
            Some(why) => {
                let led_to = standing.blames.iter().map(ToString::to_string).collect();
                self.quarantine(node, standing, why, led_to);
            }
            None => self.set_standing(node, standing),
        }
    }

    /// The node is back, and may have been away too often.
    pub(crate) fn count_flaps(&mut self, node: &NodeId) {
        let standing = self.standing(node);
        if !self.may_quarantine(node, &standing) {
            return;
        }
        let recent = self.breaker.losses_of(node).filter(|at| self.now.since(*at) < FLAP_WITHIN);
        let flaps: Vec<Timestamp> = recent.filter(|at| self.others_stayed(node, *at)).collect();
        if flaps.len() >= FLAPS {
            let why = format!("unreachable {} times within {}", flaps.len(), lasting(FLAP_WITHIN));
            let led_to = flaps.iter().map(|at| format!("{} unreachable", at.to_rfc3339())).collect();
            self.quarantine(node, standing, why, led_to);
        }
    }

    /// Whether a node that is connected was so around this time: else it may have been the coordinator's own link.
    fn others_stayed(&self, node: &NodeId, at: Timestamp) -> bool {
        let near = |other: Timestamp| at.since(other).max(other.since(at)) < BACK_WITHIN;
        self.nodes.iter().any(|(other, known)| {
            other != node && known.reachable() && !self.breaker.losses_of(other).any(near)
        })
    }

    fn may_quarantine(&self, node: &NodeId, standing: &Standing) -> bool {
        self.config.cluster
            && self.nodes.contains_key(node)
            && standing.closed().is_none()
            && !self.replacement_paused()
    }

    fn quarantine(&mut self, node: &NodeId, standing: Standing, why: String, led_to: Vec<String>) {
        let quarantine = Quarantine { why: why.clone(), at: self.now };
        self.set_standing(node, Standing { quarantine: Some(quarantine), ..standing });
        self.emit(None, None, EventKind::NodeQuarantined { node: node.clone(), why, led_to });
    }
}

/// The node that a failure says something of.
fn accused(cause: &Cause) -> Option<&NodeId> {
    match cause {
        Cause::NodeLost { node }
        | Cause::NodeRestarted { node }
        | Cause::PodLost { node }
        | Cause::DeviceFailed { node, .. } => Some(node),
        _ => None,
    }
}

/// Why that is too much, if it is.
fn too_much(blames: &[Blame]) -> Option<String> {
    let jobs: BTreeSet<&JobId> = blames.iter().map(|blame| &blame.job).collect();
    let within = lasting(BLAME_WITHIN);
    if jobs.len() >= BLAMES_OF_JOBS {
        let names: Vec<&str> = jobs.iter().map(|job| job.as_str()).collect();
        return Some(format!("blamed for failures of {} within {within}", names.join(" and ")));
    }
    let job = jobs.first()?;
    (blames.len() >= BLAMES_OF_ONE_JOB)
        .then(|| format!("blamed for {} failures of {job} within {within}", blames.len()))
}

/// Whether a generation that ran so long did well.
pub(crate) fn did_well(ran: Duration) -> bool {
    ran >= phalanx_common::defaults::BACKOFF_RESET
}

/// The node whose ranks failed, or whose shim died, and that the job's next generation is to leave: it is suspected.
pub(crate) fn suspected(job: &Job, shun: Option<&NodeId>) -> Option<NodeId> {
    let stopping = job.generation.as_ref()?.stopping.as_ref()?;
    match &stopping.cause {
        Cause::RankFailed { node, .. } | Cause::ShimLost { node } if shun == Some(node) => Some(node.clone()),
        _ => None,
    }
}
