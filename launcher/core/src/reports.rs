//! What the workers report about live generations.

use std::collections::{BTreeMap, BTreeSet};

use phalanx_common::event::{Cause, EventKind};
use phalanx_common::health::ProbeFailure;
use phalanx_common::id::{Generation, JobId, NodeId};
use phalanx_common::order::OrderKind;
use phalanx_common::report::{Notice, PodEnd, PrepareFailure, PrepareFailureKind, RankExit, Report};
use phalanx_common::time::Timestamp;

use crate::coordinator::Coordinator;
use crate::durable::Job;
use crate::evidence::{self, Evidence};
use crate::gang::{GangPhase, Pod, PodView, RankEnd};
use crate::records::Record;

impl Coordinator {
    pub(crate) fn on_report(&mut self, node: &NodeId, report: Report) {
        if let Report::Hello(report) = report {
            return if report.node == *node {
                self.on_hello(&report);
            } else {
                self.ignore(None, format!("node {node} called itself {}", report.node));
            };
        }
        if !self.reachable(node) {
            return self.ignore(None, format!("node {node} reported before its Hello"));
        }
        match report {
            Report::Hello(_) => {}
            Report::Prepared { job, generation, interpreter } => {
                self.on_prepared(node, &job, generation, interpreter);
            }
            Report::Probed { job, generation, target, heard } => {
                self.on_probed(node, &job, generation, &target, heard);
            }
            Report::NotPrepared { job, generation, reason } => {
                self.on_not_prepared(node, &job, generation, reason);
            }
            Report::Health { job, generation, ranks } => self.on_health(node, &job, generation, ranks),
            Report::Started { job, generation, pids } => self.on_started(node, &job, generation, pids),
            Report::Exited { job, generation, exit } => self.on_exited(node, &job, generation, exit),
            Report::Restarted { job, generation, rank, attempt, pid } => {
                self.on_restarted(node, &job, generation, (rank, attempt, pid));
            }
            Report::PodEnded { job, generation, end } => self.on_pod_ended(node, &job, generation, end),
            Report::Notice { job, notice } => self.on_notice(node, job.as_ref(), notice),
        }
    }

    /// People read it: of a job only a node speaks that has a pod of it, or had one last.
    fn on_notice(&mut self, node: &NodeId, job: Option<&JobId>, notice: Notice) {
        let last = |job| self.durable.jobs.get(job).and_then(|job| job.generation.as_ref());
        if let Some(job) = job
            && self.pod(node, job).is_none()
            && last(job).is_none_or(|last| last.place_on(node).is_none())
        {
            return self.ignore(Some(job), format!("node {node} told of job {job}, of which it has no pod"));
        }
        self.emit(job, None, EventKind::Notice { notice });
    }

    pub(crate) fn on_prepared(
        &mut self,
        node: &NodeId,
        job: &JobId,
        generation: Generation,
        interpreter: Option<String>,
    ) {
        let Some(pod) = self.live_pod(node, job, generation) else { return };
        if pod.view != PodView::Preparing || pod.refused {
            return;
        }
        self.change_pod(node, job, |pod| {
            pod.view = PodView::Prepared;
            pod.interpreter = interpreter;
            // Its ranks wait for no init container any more.
            pod.health.clear();
        });
        self.emit_for(job, EventKind::PodPrepared { node: node.clone() });
        self.release_if_prepared(job);
    }

    /// Versions of the job's Python that differ between its nodes, or from the submitter's; the job starts
    /// all the same.
    fn compare_interpreters(&mut self, job: &JobId) {
        let Some(gang) = self.gangs.get(job) else { return };
        let mut versions: BTreeMap<String, Vec<NodeId>> = BTreeMap::new();
        for (node, pod) in gang.pods() {
            if let Some(version) = &pod.interpreter {
                versions.entry(version.clone()).or_default().push(node.clone());
            }
        }
        let environment = self.durable.jobs.get(job).and_then(|job| job.spec.virtual_env.as_ref());
        let submitter = environment.and_then(|environment| environment.version.clone());
        let all: BTreeSet<&String> = versions.keys().chain(&submitter).collect();
        if all.len() > 1 && !versions.is_empty() {
            self.emit_for(job, EventKind::InterpretersDiffer { submitter, versions });
        }
    }

    pub(crate) fn on_not_prepared(
        &mut self,
        node: &NodeId,
        job: &JobId,
        generation: Generation,
        reason: PrepareFailure,
    ) {
        let Some(pod) = self.live_pod(node, job, generation) else { return };
        if pod.view != PodView::Preparing || pod.refused {
            return;
        }
        self.change_pod(node, job, |pod| pod.refused = true);
        if let PrepareFailureKind::PortTaken(port) = reason.kind
            && let Some(state) = self.nodes.get_mut(node)
        {
            state.skip_port(port, self.now);
        }
        // An earlier reign may have heard it.
        let known = self.durable.jobs.get(job).is_some_and(|job| job.refused.contains_key(node));
        if reason.kind == PrepareFailureKind::Node && !known {
            self.persist(Record::NodeRefused {
                job: job.clone(),
                generation,
                node: node.clone(),
                why: reason.message.clone(),
            });
        }
        self.emit_for(job, EventKind::PodNotPrepared { node: node.clone(), reason: reason.clone() });
        self.fail(job, Evidence::new(Cause::NotPrepared { node: node.clone(), reason }, self.now));
    }

    pub(crate) fn on_started(&mut self, node: &NodeId, job: &JobId, generation: Generation, pids: Vec<u32>) {
        let Some(pod) = self.live_pod(node, job, generation) else { return };
        if pod.view >= PodView::Started {
            return;
        }
        self.change_pod(node, job, |pod| pod.view = PodView::Started);
        self.emit_for(job, EventKind::PodStarted { node: node.clone(), pids });
        self.run_if_ready(job);
    }

    pub(crate) fn on_exited(&mut self, node: &NodeId, job: &JobId, generation: Generation, exit: RankExit) {
        let Some(pod) = self.live_pod(node, job, generation) else { return };
        if pod.view == PodView::Ended || pod.exits.contains_key(&exit.rank) {
            return;
        }
        if !pod.holds(exit.rank) {
            let what = format!("node {node} reported the end of rank {}, which it does not have", exit.rank);
            return self.ignore(Some(job), what);
        }
        let known = self.durable.jobs.get(job).and_then(Job::active);
        if known.is_some_and(|active| exit.attempt != active.attempt(exit.rank)) {
            // Old news: it was started again since.
            return;
        }
        let end = RankEnd { status: exit.status, at: exit.at, after_stop: exit.after_stop };
        self.change_pod(node, job, |pod| {
            pod.awaited.remove(&exit.rank);
            pod.exits.insert(exit.rank, end)
        });
        let (rank, status) = (exit.rank, exit.status);
        let found = match &exit.probe {
            // It was bad before its rank was ended, and may have been before the gang was.
            Some(ProbeFailure { probe, message, at }) => {
                let (node, probe, message) = (node.clone(), *probe, message.clone());
                Some(Evidence::new(Cause::ProbeFailed { rank, node, probe, message, status }, *at))
            }
            None => evidence::failed(&exit).then(|| Evidence {
                cause: evidence::cause_of(node, &exit),
                at: exit.at,
                port_conflict: exit.port_conflict,
                consequence: evidence::is_consequence(&exit),
            }),
        };
        self.emit_for(job, EventKind::RankExited { node: node.clone(), exit });
        match found {
            Some(evidence) => {
                if !self.restart_in_place(node, job, rank, &evidence) {
                    self.fail(job, evidence);
                }
            }
            None => self.run_if_ready(job),
        }
        if end.well_at().is_some() {
            self.end_if_enough(job);
        }
    }

    /// A rank ended well: the rest of the gang stops if that was all the job waited for. When that was so counts, not when it was
    /// heard: what failed after it is no failure.
    fn end_if_enough(&mut self, job: &JobId) {
        let (Some(state), Some(gang)) = (self.durable.jobs.get(job), self.gangs.get(job)) else { return };
        let Some(active) = state.active().filter(|active| active.stopping.is_some() || !gang.finished())
        else {
            return;
        };
        let world = active.world();
        let fulfilled = (0..).zip(&state.spec.lifetime.success).filter_map(|(number, rule)| {
            let ended = gang.pods().flat_map(|(_, pod)| &pod.exits).filter(|(rank, _)| rule.counts(**rank));
            let mut well: Vec<Timestamp> = ended.filter_map(|(_, end)| end.well_at()).collect();
            well.sort_unstable();
            let last = usize::try_from(rule.needed(world)).ok()?.checked_sub(1)?;
            Some((*well.get(last)?, number))
        });
        if let Some((at, rule)) = fulfilled.min() {
            self.fail(job, Evidence::new(Cause::Enough { rule }, at));
        }
    }

    pub(crate) fn on_pod_ended(&mut self, node: &NodeId, job: &JobId, generation: Generation, end: PodEnd) {
        if !self.is_live(job, generation) {
            // The end of what an earlier generation left behind.
            if !self.keeps_shim(job, node) {
                self.send(node, OrderKind::Forget { job: job.clone(), failed: true });
            }
            return;
        }
        let Some(pod) = self.live_pod(node, job, generation) else { return };
        if pod.view == PodView::Ended {
            return;
        }
        let finished = pod.finished();
        self.change_pod(node, job, |pod| pod.view = PodView::Ended);
        let cause = if end.shim_lost {
            Cause::ShimLost { node: node.clone() }
        } else if end.lease_lapsed {
            Cause::LeaseLapsed { node: node.clone() }
        } else {
            Cause::PodLost { node: node.clone() }
        };
        self.emit_for(job, EventKind::PodEnded { node: node.clone(), end });
        if !finished && self.phase(job) != Some(GangPhase::Stopping) {
            self.fail(job, Evidence::new(cause, self.now));
        } else {
            self.conclude_if_over(job);
        }
    }

    /// Whether a node of this job may get another generation of it: then its shim stays.
    pub(crate) fn keeps_shim(&self, job: &JobId, node: &NodeId) -> bool {
        self.durable.jobs.get(job).is_some_and(|job| {
            !job.ended() && job.generation.as_ref().is_some_and(|last| last.place_on(node).is_some())
        })
    }

    /// All pods prepared and within reach: from here on ranks may run.
    pub(crate) fn release_if_prepared(&mut self, job: &JobId) {
        if self.phase(job) != Some(GangPhase::Preparing) {
            return;
        }
        let Some(state) = self.durable.jobs.get(job).filter(|state| !state.suspended) else { return };
        let Some((number, gang)) = state.active().map(|active| active.number).zip(self.gangs.get(job)) else {
            return;
        };
        if !gang.prepared() || !gang.pods().all(|(node, _)| self.reachable(node)) {
            return;
        }
        let nodes: Vec<NodeId> = gang.pods().map(|(node, _)| node.clone()).collect();
        self.compare_interpreters(job);
        self.persist(Record::Released { job: job.clone(), generation: number, at: self.now });
        self.emit_for(job, EventKind::GangReleased);
        for node in nodes {
            self.send(&node, OrderKind::Go { job: job.clone(), generation: number });
        }
    }

    pub(crate) fn is_live(&self, job: &JobId, generation: Generation) -> bool {
        let active = self.durable.jobs.get(job).and_then(Job::active);
        active.is_some_and(|active| active.number == generation)
    }

    /// The pod a report is about, if it is one of a live generation. Old news are dropped silently:
    /// they are expected after every restart.
    pub(crate) fn live_pod(&mut self, node: &NodeId, job: &JobId, generation: Generation) -> Option<&Pod> {
        if !self.is_live(job, generation) {
            let last = self.durable.jobs.get(job).and_then(|job| job.generation.as_ref());
            if last.is_none_or(|last| last.number < generation) {
                let what = format!(
                    "node {node} reported generation {generation} of job {job}, which was never planned"
                );
                self.ignore(Some(job), what);
            }
            return None;
        }
        if self.pod(node, job).is_none() {
            self.ignore(Some(job), format!("node {node} reported a pod of job {job} that it does not have"));
            return None;
        }
        self.pod(node, job)
    }
}
