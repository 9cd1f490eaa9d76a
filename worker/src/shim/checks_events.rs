//! What the shim does about the probes of its ranks.

use std::time::Instant;

use phalanx_common::health::{ProbeFailure, Question};
use phalanx_common::report::Notice;
use phalanx_worker_core::shim::ShimReport;

use super::checks::{LATE_HOOK, Order};
use super::guardian::Guardian;
use super::pod_events::Shim;
use super::run::wall_clock;

impl Shim {
    pub(super) fn on_notify(&mut self, index: usize) {
        if let Some(pod) = &mut self.pod {
            pod.checks.hear(index, Instant::now());
        }
    }

    pub(super) fn on_check(&mut self, index: usize, question: Question) {
        let now = Instant::now();
        let Some(pod) = &mut self.pod else { return };
        match &mut pod.inits {
            Some(inits) if inits.has(index) => inits.on_question(index, now, &self.poll),
            _ => pod.checks.on_event(index, question, now, &self.poll),
        }
    }

    /// Asks what is due, and does what follows from answers.
    pub(super) fn turn_checks(&mut self, now: Instant) {
        let Some(pod) = &mut self.pod else { return };
        let guardian = self.kept.guardian.as_ref().map(Guardian::pid);
        let mut failed = Vec::new();
        for order in pod.turn_checks(now, &self.poll) {
            match order {
                // What ends with its pod needs no reason of its own.
                Order::End { .. } if pod.life.is_stopping() => {}
                Order::End { index, question, message } => {
                    let failure = ProbeFailure { probe: question, message, at: wall_clock() };
                    pod.end_rank(index, failure, guardian, now);
                }
                Order::Signal { index, failed: why } => {
                    pod.after_pre_stop(index, now);
                    failed.extend(pod.ranks().get(index).map(|rank| rank.rank).zip(why));
                }
                Order::Kill { index } => pod.kill_rank(index),
            }
        }
        for (rank, why) in failed {
            self.report(&ShimReport::Notice { notice: Notice::PreStopFailed { rank, why } });
        }
    }

    /// The grace is over, and some preStop hooks are not.
    pub(super) fn end_hooks(&mut self) {
        let now = Instant::now();
        let Some(pod) = &mut self.pod else { return };
        let mut late = Vec::new();
        for index in pod.checks.give_up_pre_stop(&self.poll) {
            pod.after_pre_stop(index, now);
            late.extend(pod.ranks().get(index).map(|rank| rank.rank));
        }
        for rank in late {
            let why = LATE_HOOK.to_owned();
            self.report(&ShimReport::Notice { notice: Notice::PreStopFailed { rank, why } });
        }
    }

    pub(super) fn report_health(&mut self, now: Instant) {
        if self.link.is_behind() {
            return;
        }
        let Some(pod) = &mut self.pod else { return };
        let generation = pod.generation;
        for ranks in pod.checks.report(now) {
            self.report(&ShimReport::Health { generation, ranks });
        }
    }
}
