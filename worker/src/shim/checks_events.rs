//! What the shim does about the probes of its ranks.

use std::time::Instant;

use phalanx_common::health::ProbeFailure;
use phalanx_common::spec::ProbeKind;
use phalanx_worker_core::shim::ShimReport;

use super::checks::Order;
use super::guardian::Guardian;
use super::pod_events::Shim;
use super::run::wall_clock;

impl Shim {
    pub(super) fn on_notify(&mut self, index: usize) {
        if let Some(pod) = &mut self.pod {
            pod.checks.hear(index, Instant::now());
        }
    }

    pub(super) fn on_check(&mut self, index: usize, kind: ProbeKind) {
        if let Some(pod) = &mut self.pod {
            pod.checks.on_event(index, kind, Instant::now(), &self.poll);
        }
    }

    /// Asks what is due, and does what follows from answers.
    pub(super) fn turn_checks(&mut self, now: Instant) {
        let Some(pod) = &mut self.pod else { return };
        let guardian = self.guardian.as_ref().map(Guardian::pid);
        for order in pod.turn_checks(now, &self.poll) {
            match order {
                // What ends with its pod needs no reason of its own.
                Order::End { .. } if pod.life.is_stopping() => {}
                Order::End { index, kind, message } => {
                    let failure = ProbeFailure { probe: kind, message, at: wall_clock() };
                    pod.end_rank(index, failure, guardian, now);
                }
                Order::Kill { index } => pod.kill_rank(index),
            }
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
