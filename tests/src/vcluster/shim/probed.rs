//! Probes of virtual ranks: the real prober, answered as scripts say.

use std::collections::BTreeSet;
use std::time::Duration;

use phalanx_common::health::{ProbeFailure, ProbeWord, Question, RankHealth};
use phalanx_common::id::Rank;
use phalanx_common::spec::{ProbeHandler, ProbeKind};
use phalanx_common::time::Timestamp;
use phalanx_worker_core::prober::{Act, Answer, Prober};
use phalanx_worker_core::shim::ShimReport;

use super::{Around, Shim, ShimPod, Timer};
use crate::vcluster::sabotage::Sabotage;

/// A rank that is asked.
#[derive(Debug)]
pub(super) struct Probed {
    pub(super) prober: Prober,
    begun: Timestamp,
    pub(super) failure: Option<ProbeFailure>,
    told: Option<RankHealth>,
    /// What the rank said by itself, and did not take back.
    said: BTreeSet<ProbeKind>,
}

/// How often a rank says by itself that it is alive.
const SPEAKS_EVERY: Duration = Duration::from_millis(500);
/// What a program takes that a probe runs.
const ANSWER_TAKES: Duration = Duration::from_millis(40);

impl Shim {
    pub(super) fn begin_probes(&mut self, rank: Rank, around: &mut Around<'_>) {
        let Some(pod) = self.pod.as_mut() else { return };
        let mut prober = Prober::new(&pod.plan.probes);
        prober.handle_begun(around.now);
        if pod.stop {
            prober.handle_stopping(around.now);
        }
        let begun = around.now;
        let told = pod.probed.remove(&rank).and_then(|probed| probed.told);
        pod.probed.insert(rank, Probed { prober, begun, failure: None, told, said: BTreeSet::new() });
        self.on_probe_due(rank, around);
    }

    /// What the rank says by itself, where a probe waits for that.
    fn speaks(&mut self, rank: Rank, around: &Around<'_>) -> bool {
        let script = self.script(rank, around);
        let Some(pod) = self.pod.as_mut() else { return false };
        let (hung, Some(probed)) = (pod.hung.contains(&rank), pod.probed.get_mut(&rank)) else {
            return false;
        };
        let told = pod.plan.probes.iter().filter(|(_, probe)| probe.handler.is_told());
        let told: Vec<_> = told.map(|(kind, probe)| (kind, probe.handler == ProbeHandler::Notify)).collect();
        // Readiness first: startup may be good by the same word.
        for (kind, takes_back) in told.iter().rev().copied() {
            let good = !hung && script.health.finds(kind, around.now.since(probed.begun));
            let known = probed.said.contains(&kind);
            match (kind, good) {
                (ProbeKind::Liveness, true) => {
                    probed.prober.handle_told(around.now, kind, true, "");
                }
                (ProbeKind::Startup | ProbeKind::Readiness, true) if !known => {
                    probed.said.insert(kind);
                    probed.prober.handle_told(around.now, kind, true, "");
                }
                (ProbeKind::Readiness, false) if known && takes_back => {
                    probed.said.remove(&kind);
                    probed.prober.handle_told(around.now, kind, false, "it said RELOADING=1");
                }
                _ => {}
            }
        }
        !told.is_empty()
    }

    /// The rank is ended for what a probe or a hook found.
    pub(super) fn end_for(&mut self, rank: Rank, failure: ProbeFailure, around: &mut Around<'_>) {
        let Some(pod) = self.pod.as_mut() else { return };
        let asked = failure.probe.probe().and_then(|kind| pod.plan.probes.get(kind));
        let grace = asked.and_then(|probe| probe.grace).unwrap_or(pod.plan.termination_grace);
        let Some(probed) = pod.probed.get_mut(&rank) else { return };
        probed.failure = Some(failure);
        pod.timers.insert(Timer::End(rank), around.now + grace);
        self.ask_to_end(rank, true, around);
    }

    /// Its postStart hook is not done.
    pub(super) fn hold_probes(&mut self, rank: Rank, around: &mut Around<'_>) {
        let Some(pod) = self.pod.as_mut() else { return };
        let (prober, begun) = (Prober::new(&pod.plan.probes), around.now);
        let waits = ProbeWord { probe: Question::PostStart, message: "not done yet".to_owned() };
        let health = RankHealth { rank, ready: false, waits: Some(waits), status: None };
        let told = Some(health.clone());
        pod.probed.insert(rank, Probed { prober, begun, failure: None, told, said: BTreeSet::new() });
        around.reports.push(ShimReport::Health { generation: pod.plan.generation, ranks: vec![health] });
    }

    /// Ticks of one rank, answered at once as its script says.
    pub(super) fn on_probe_due(&mut self, rank: Rank, around: &mut Around<'_>) {
        let speaks = self.speaks(rank, around);
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
                    let asked = pod.plan.probes.get(kind);
                    let bad =
                        || Answer::Bad(asked.map(|probe| bad_answer(&probe.handler)).unwrap_or_default());
                    let answer = if good { Answer::Good } else { bad() };
                    probed.prober.handle_answer(around.now, kind, number, answer);
                }
                Act::Ready(_) => {}
                Act::End { kind, message } => end = Some((kind, message)),
            }
        }
        let speaks = speaks.then(|| around.now + SPEAKS_EVERY);
        if let Some(next) = probed.prober.poll_timeout().into_iter().chain(speaks).min() {
            pod.timers.insert(Timer::Probe(rank), next);
        }
        if let Some((probe, message)) = end.filter(|_| !pod.stop) {
            let failure = ProbeFailure { probe: probe.into(), message, at: around.now };
            self.end_for(rank, failure, around);
        }
        self.tell_health(rank, around);
    }

    /// How it stands, if that is not what was told last.
    fn tell_health(&mut self, rank: Rank, around: &mut Around<'_>) {
        let gated = |pod: &ShimPod| pod.plan.probes.gate() || pod.plan.post_start.is_some();
        let Some(pod) = self.pod.as_mut().filter(|pod| gated(pod)) else { return };
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

/// What the real shim says of a bad answer.
fn bad_answer(handler: &ProbeHandler) -> String {
    match handler {
        ProbeHandler::HttpGet { .. } => "HTTP status 503".to_owned(),
        ProbeHandler::TcpSocket { at } => {
            format!("cannot connect to {}: Connection refused (os error 111)", at.address(0))
        }
        ProbeHandler::Exec { .. } | ProbeHandler::Notify | ProbeHandler::Log { .. } => {
            "exit code 1".to_owned()
        }
    }
}
