//! postStart hooks of virtual ranks, and what waits for them.

use phalanx_common::health::{ProbeFailure, Question};
use phalanx_common::id::Rank;
use phalanx_common::spec::Hook;

use super::{Around, Shim, Timer};

impl Shim {
    /// Its postStart hook if there is one, and then its probes.
    pub(super) fn begin_checks(&mut self, rank: Rank, around: &mut Around<'_>) {
        let script = self.script(rank, around).post_start;
        let Some(pod) = self.pod.as_mut() else { return };
        if !around.processes.live_ranks(&self.job, pod.plan.generation).contains(&rank) {
            return;
        }
        let takes = match &pod.plan.post_start {
            None if pod.plan.probes.is_empty() => return,
            None => return self.begin_probes(rank, around),
            Some(_) if pod.stop => return,
            Some(Hook::Sleep(time)) => Some(*time),
            Some(_) => script.takes.map(|takes| around.takes(takes)),
        };
        pod.beginning.insert(rank);
        if let Some(takes) = takes {
            pod.timers.insert(Timer::Begun(rank), around.now + takes);
        }
        self.hold_probes(rank, around);
    }

    pub(super) fn after_post_start(&mut self, rank: Rank, around: &mut Around<'_>) {
        let good = self.script(rank, around).post_start.good;
        let Some(pod) = self.pod.as_mut() else { return };
        if good || matches!(pod.plan.post_start, Some(Hook::Sleep(_))) {
            pod.beginning.remove(&rank);
            return self.begin_probes(rank, around);
        }
        // It has not begun, so there is no preStop hook.
        let (probe, message) = (Question::PostStart, "exit code 1".to_owned());
        self.end_for(rank, ProbeFailure { probe, message, at: around.now }, around);
    }

    /// The pod is to end: what has not begun does not begin.
    pub(super) fn give_up_post_start(&mut self) {
        let Some(pod) = self.pod.as_mut() else { return };
        pod.timers.retain(|timer, _| !matches!(timer, Timer::Begun(_)));
    }
}
