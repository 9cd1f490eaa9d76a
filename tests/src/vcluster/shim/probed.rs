//! Probes of virtual ranks: the real prober, answered as scripts say.

use std::time::Duration;

use phalanx_common::health::{ProbeFailure, ProbeWord, RankHealth};
use phalanx_common::id::Rank;
use phalanx_common::spec::ProbeKind;
use phalanx_common::time::Timestamp;
use phalanx_worker_core::prober::{Act, Answer, Prober};
use phalanx_worker_core::shim::ShimReport;

use super::{Around, Shim, Timer};
use crate::vcluster::sabotage::Sabotage;

/// A rank that is asked.
#[derive(Debug)]
pub(super) struct Probed {
    pub(super) prober: Prober,
    begun: Timestamp,
    pub(super) failure: Option<ProbeFailure>,
    told: Option<RankHealth>,
}

/// What a program takes that a probe runs.
const ANSWER_TAKES: Duration = Duration::from_millis(40);

impl Shim {
    pub(super) fn begin_probes(&mut self, rank: Rank, around: &mut Around<'_>) {
        let Some(pod) = self.pod.as_mut().filter(|pod| !pod.plan.probes.is_empty()) else { return };
        if !around.processes.live_ranks(&self.job, pod.plan.generation).contains(&rank) {
            return;
        }
        let mut prober = Prober::new(&pod.plan.probes);
        prober.handle_begun(around.now);
        if pod.stop {
            prober.handle_stopping(around.now);
        }
        pod.probed.insert(rank, Probed { prober, begun: around.now, failure: None, told: None });
        self.on_probe_due(rank, around);
    }

    /// Ticks of one rank, answered at once as its script says.
    pub(super) fn on_probe_due(&mut self, rank: Rank, around: &mut Around<'_>) {
        let script = self.script(rank, around);
        let Some(pod) = self.pod.as_mut() else { return };
        let Some(probed) = pod.probed.get_mut(&rank) else { return };
        let mut end = None;
        probed.prober.handle_timeout(around.now);
        while let Some(act) = probed.prober.poll_act() {
            match act {
                Act::Ask { kind, number } => {
                    let stuck = pod.hung.contains(&rank) && kind == ProbeKind::Liveness;
                    let late = pod
                        .plan
                        .probes
                        .get(kind)
                        .is_some_and(|probe| around.takes(ANSWER_TAKES) > probe.timeout);
                    if late {
                        around.met.push("a slow node answered a probe too late");
                    }
                    let found = script.health.finds(kind, around.now.since(probed.begun));
                    let good = found && !stuck && !late;
                    let answer = if good { Answer::Good } else { Answer::Bad("scripted".to_owned()) };
                    probed.prober.handle_answer(around.now, kind, number, answer);
                }
                Act::Ready(_) => {}
                Act::End { kind, message } => end = Some((kind, message)),
            }
        }
        if let Some(next) = probed.prober.poll_timeout() {
            pod.timers.insert(Timer::Probe(rank), next);
        }
        if let Some((probe, message)) = end.filter(|_| !pod.stop) {
            probed.failure = Some(ProbeFailure { probe: probe.into(), message, at: around.now });
            let grace = pod.plan.probes.get(probe).and_then(|probe| probe.grace);
            pod.timers.insert(Timer::End(rank), around.now + grace.unwrap_or(pod.plan.termination_grace));
            self.ask_to_end(rank, true, around);
        }
        self.tell_health(rank, around);
    }

    /// How it stands, if that is not what was told last.
    fn tell_health(&mut self, rank: Rank, around: &mut Around<'_>) {
        let Some(pod) = self.pod.as_mut().filter(|pod| pod.plan.probes.gate()) else { return };
        let Some(Probed { prober, told, .. }) = pod.probed.get_mut(&rank) else { return };
        let waits = prober.why_not_ready().filter(|_| !prober.is_ready());
        let waits = waits.map(|(probe, message)| ProbeWord { probe: probe.into(), message });
        if prober.is_ready() {
            around.ready.push((self.job.clone(), pod.plan.generation, rank));
        }
        let ready = prober.is_ready() || around.sabotage == Some(Sabotage::ForgeReady);
        let health = RankHealth { rank, ready, waits, status: None };
        if told.as_ref() == Some(&health) {
            return;
        }
        *told = Some(health.clone());
        around.reports.push(ShimReport::Health { generation: pod.plan.generation, ranks: vec![health] });
    }
}
