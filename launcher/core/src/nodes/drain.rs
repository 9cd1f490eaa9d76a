//! Nodes of which nothing is to be left: their jobs go elsewhere, at no cost.
//!
//! A job with `restartPolicy: Never` whose ranks may have run is left alone: its user said that they run once, and whoever
//! drains the node waits for its end, or ends it.

use phalanx_common::event::{Cause, EventKind};
use phalanx_common::id::{JobId, NodeId};
use phalanx_common::spec::RestartPolicy;

use super::standing::{Cordon, Drain, Standing};
use crate::coordinator::Coordinator;
use crate::evidence::Evidence;
use crate::gang::GangPhase;

impl Coordinator {
    pub(super) fn drain(&mut self, node: &NodeId, by: String, reason: String, drain: Drain) {
        let before = self.standing(node);
        let cordon = match before.cordon.clone() {
            // Who says nothing does not take back what was said.
            Some(known) if reason.is_empty() => known,
            _ => Cordon { by: by.clone(), reason: reason.clone(), at: self.now },
        };
        self.set_standing(node, Standing { cordon: Some(cordon), drain: Some(drain), ..before });
        let jobs = self.gangs_on(node);
        self.emit(None, None, EventKind::NodeDraining { node: node.clone(), by, reason, jobs });
        self.move_jobs_away(node);
    }

    /// Stops the gangs with a pod on a node that is drained. Asked again when the node is back: the coordinator may have
    /// died between its decisions.
    pub(crate) fn move_jobs_away(&mut self, node: &NodeId) {
        if self.durable.standings.get(node).is_none_or(|standing| standing.drain.is_none()) {
            return;
        }
        for job in self.gangs_on(node) {
            let may_leave = self.may_start_again(&job)
                && matches!(
                    self.phase(&job),
                    Some(GangPhase::Preparing | GangPhase::Starting | GangPhase::Running)
                );
            if may_leave {
                self.fail(&job, Evidence::new(Cause::Drained { node: node.clone() }, self.now));
            }
        }
    }

    fn may_start_again(&self, job: &JobId) -> bool {
        let policy = self.durable.jobs.get(job).map(|job| job.spec.recovery.policy);
        policy.is_some_and(|policy| policy != RestartPolicy::Never) || !self.is_released(job)
    }
}
