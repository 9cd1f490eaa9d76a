//! How a generation stops, what comes after it, and how a job ends.

use std::time::Duration;

use phalanx_common::event::{Cause, EventKind, NoRestart, Outcome};
use phalanx_common::exit::ExitStatus;
use phalanx_common::id::{JobId, NodeId, Rank};
use phalanx_common::order::OrderKind;
use phalanx_common::report::{PrepareFailure, PrepareFailureKind};
use phalanx_common::spec::RestartPolicy;

use crate::coordinator::Coordinator;
use crate::durable::{Job, JobState};
use crate::evidence::{Evidence, MAX_ALSO, first_of, is_fault};
use crate::gang::{GangPhase, PodView};
use crate::input::Why;
use crate::nodes::blame::did_well;
use crate::records::{EndedRecord, Record, StoppingRecord};
use crate::restart::{self, Came, Charge, Verdict};

impl Coordinator {
    pub(crate) fn on_stop(&mut self, job: &JobId, by: String, status: ExitStatus, force: bool) {
        let Some(state) = self.durable.jobs.get(job).filter(|state| !state.ended()) else {
            return self.ignore(Some(job), format!("stop of job {job}, which is not there to be stopped"));
        };
        if state.stop.as_ref().is_some_and(|stop| stop.force || !force) {
            return self.ignore(Some(job), format!("job {job} is being stopped already"));
        }
        if state.suspended {
            // A frozen process does not hear SIGTERM.
            self.lift(job);
        }
        let phase = self.phase(job);
        let goes_on =
            self.durable.jobs.get(job).is_some_and(|it| it.spec.recovery.policy == RestartPolicy::Always);
        self.emit_for(job, EventKind::StopRequested { by: by.clone(), force });
        if phase == Some(GangPhase::Finishing) && !goes_on {
            // Every rank ended with 0 before the wish came: only what they left behind is hurried.
            let grace = if force { Duration::ZERO } else { self.grace(job) };
            self.stop_pods(job, grace);
        } else {
            let requested = Cause::Requested { by: by.clone(), status };
            let record =
                Record::StopRequested { job: job.clone(), at: self.now, by: by.clone(), status, force };
            self.persist(record);
            if phase == Some(GangPhase::Queued) {
                return self.end_stopped(job, by, status);
            }
            let grace = self.grace(job);
            if phase != Some(GangPhase::Stopping) {
                self.begin_stopping(job, requested, grace);
            } else if force {
                self.stop_pods(job, grace);
            }
        }
        if force {
            self.abandon_unreachable(job);
        }
        self.conclude_if_over(job);
    }

    /// Takes evidence of a failure: the first stops the generation, one that precedes it renames the cause, and any other is
    /// kept beside it.
    pub(crate) fn fail(&mut self, job: &JobId, evidence: Evidence) {
        let Some(active) = self.durable.jobs.get(job).and_then(Job::active) else { return };
        let generation = active.number;
        let known = || active.stopping.iter().chain(&active.also);
        let leader = first_of(known().chain([&evidence]));
        // Another than before: this, or one that this shows in another light.
        let leads = leader != active.stopping.as_ref();
        let (first, leader) = (active.stopping.is_none(), leader.map(|leader| leader.cause.clone()));
        let mut known = known();
        let told = is_fault(&evidence.cause)
            && active.also.len() < MAX_ALSO
            && !known.any(|known| known.cause == evidence.cause);
        if leads || told {
            let cause = evidence.cause.clone();
            self.persist(Record::Stopping(Box::new(StoppingRecord {
                job: job.clone(),
                generation,
                cause: (&evidence.cause).into(),
                at: evidence.at,
                port_conflict: evidence.port_conflict,
                consequence: evidence.consequence,
            })));
            if first {
                let grace = self.grace(job);
                self.begin_stopping(job, cause, grace);
            } else if let Some(cause) = leader.filter(|_| leads) {
                self.emit_for(job, EventKind::CauseRevised { cause });
            }
        }
        self.conclude_if_over(job);
    }

    fn begin_stopping(&mut self, job: &JobId, cause: Cause, grace: Duration) {
        self.timers.cancel(&Why::Start { job: job.clone() });
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        self.emit_for(job, EventKind::GangStopping { cause, grace_ms });
        self.stop_pods(job, grace);
    }

    /// How long the processes of a stopping generation have; none if nothing of it has run: init containers run before
    /// the ranks do.
    pub(crate) fn grace(&self, job: &JobId) -> Duration {
        let Some(state) = self.durable.jobs.get(job) else { return Duration::ZERO };
        let forced = state.stop.as_ref().is_some_and(|stop| stop.force);
        let released = state.active().is_some_and(|active| active.released());
        let held = !released && state.spec.lifecycle.init.is_empty();
        if forced || held { Duration::ZERO } else { self.wanted_grace(state) }
    }

    /// That of who drains a node, if the generation stops for that, else the job's own.
    fn wanted_grace(&self, state: &Job) -> Duration {
        let cause = state.active().and_then(|active| Some(&active.stopping.as_ref()?.cause));
        let drain = match cause {
            Some(Cause::Drained { node }) => self.durable.standings.get(node).and_then(|it| it.drain),
            _ => None,
        };
        drain.and_then(|drain| drain.grace).unwrap_or(state.spec.termination_grace)
    }

    /// Whether ranks do their preStop hook: their end is somebody's wish, and they are as well as they were. After a failure
    /// they wait for peers that are gone.
    pub(crate) fn pre_stop(&self, job: &JobId) -> bool {
        let active = self.durable.jobs.get(job).and_then(Job::active);
        match active.and_then(|active| Some(&active.stopping.as_ref()?.cause)) {
            None => true,
            Some(cause) => matches!(
                cause,
                Cause::Requested { .. }
                    | Cause::Drained { .. }
                    | Cause::DeadlineExceeded { .. }
                    | Cause::Enough { .. }
            ),
        }
    }

    fn stop_pods(&mut self, job: &JobId, grace: Duration) {
        let Some(generation) = self.durable.jobs.get(job).and_then(Job::active).map(|active| active.number)
        else {
            return;
        };
        let pre_stop = self.pre_stop(job);
        for node in self.pods_left(job) {
            self.send(&node, OrderKind::Stop { job: job.clone(), generation, grace, pre_stop });
        }
    }

    /// Nodes whose pod of the live generation is not over.
    fn pods_left(&self, job: &JobId) -> Vec<NodeId> {
        let Some(gang) = self.gangs.get(job) else { return Vec::new() };
        gang.pods().filter(|(_, pod)| !pod.over()).map(|(node, _)| node.clone()).collect()
    }

    fn abandon_unreachable(&mut self, job: &JobId) {
        for node in self.pods_left(job) {
            if !self.reachable(&node) {
                self.abandon(job, &node);
            }
        }
    }

    /// Gives a pod up: its node cannot be reached, it ends by its lease.
    pub(crate) fn abandon(&mut self, job: &JobId, node: &NodeId) {
        if self.change_pod(node, job, |pod| pod.view = PodView::Abandoned).is_some() {
            self.emit_for(job, EventKind::PodAbandoned { node: node.clone() });
        }
    }

    /// Sets the deadline of a job that has one and has begun.
    pub(crate) fn wait_deadline(&mut self, job: &JobId) {
        let why = Why::Deadline { job: job.clone() };
        let Some(state) = self.durable.jobs.get(job).filter(|_| !self.timers.is_set(&why)) else { return };
        let Some(limit) = state.spec.lifetime.active_deadline else { return };
        let Some((at, left)) = state.deadline_left.or_else(|| Some((state.began_at?, limit))) else { return };
        let suspended = state.suspended;
        // A record's time may be far off if the clock jumped while no coordinator was there.
        let left = if suspended { left } else { (at + left).since(self.now).min(left) };
        self.timers.set_unless_frozen(why, self.now, left, suspended);
    }

    /// Stores what is left of a job's deadline, as it stands still or the clock is another from here on.
    pub(crate) fn note_deadline(&mut self, job: &JobId) {
        if let Some(left) = self.timers.left(&Why::Deadline { job: job.clone() }, self.now) {
            self.persist(Record::DeadlineLeft { job: job.clone(), at: self.now, left });
        }
    }

    pub(crate) fn on_active_deadline(&mut self, job: &JobId) {
        let Some(state) = self.durable.jobs.get(job).filter(|state| !state.ended()) else { return };
        let Some(after) = state.spec.lifetime.active_deadline else { return };
        let cause = Cause::DeadlineExceeded { after };
        match self.phase(job) {
            Some(GangPhase::Queued) => self.carry_out(job, Verdict::Fail(None), cause),
            // Every rank has ended with 0: it was in time, unless that is to go on.
            Some(GangPhase::Finishing) if state.spec.recovery.policy != RestartPolicy::Always => {}
            Some(GangPhase::Finishing) => self.persist(Record::DeadlinePassed { job: job.clone() }),
            None => {}
            Some(_) => {
                self.persist(Record::DeadlinePassed { job: job.clone() });
                self.fail(job, Evidence::new(cause, self.now));
            }
        }
    }

    pub(crate) fn on_start_deadline(&mut self, job: &JobId) {
        let Some((missing, phase)) = self.missing(job) else { return };
        let missing = if missing.is_empty() { self.not_ready(job) } else { missing };
        let culprits = self.culprits(job, &missing);
        self.fail(job, Evidence::new(Cause::StartTimeout { missing, phase, culprits }, self.now));
    }

    /// The ranks that kept the gang from Running, and what they had not done; none of them if they are not ready.
    fn missing(&self, job: &JobId) -> Option<(Vec<Rank>, String)> {
        let active = self.durable.jobs.get(job)?.active()?;
        let gang = self.gangs.get(job)?;
        let ranks_where = |is_culprit: &dyn Fn(&NodeId, PodView) -> bool| -> Vec<Rank> {
            let culprits = active
                .pods
                .iter()
                .filter(|place| gang.pod(&place.node).is_some_and(|pod| is_culprit(&place.node, pod.view)));
            culprits.flat_map(|place| place.ranks()).collect()
        };
        if active.released() {
            let missing = ranks_where(&|_, view| view < PodView::Started);
            let phase = if missing.is_empty() { "started, not ready" } else { "released, not started" };
            return Some((missing, phase.to_owned()));
        }
        let missing = ranks_where(&|_, view| view < PodView::Prepared);
        if missing.is_empty() {
            let missing = ranks_where(&|node, _| !self.reachable(node));
            return Some((missing, "prepared, but their nodes are unreachable".to_owned()));
        }
        Some((missing, "not prepared".to_owned()))
    }

    /// When nothing is left of the generation: another one, or the end of the job.
    pub(crate) fn conclude_if_over(&mut self, job: &JobId) {
        let Some(gang) = self.gangs.get(job).filter(|gang| gang.over()) else { return };
        let ran = gang.running_since.map_or(Duration::ZERO, |since| self.now.since(since));
        let Some(state) = self.durable.jobs.get(job) else { return };
        let Some(active) = state.active() else { return };
        // A gang that had done all it was to do before it had a cause to stop: that was heard too late, and is no less true.
        let goes_on = state.spec.recovery.policy == RestartPolicy::Always && state.stop.is_some();
        let stopping = active.stopping.clone().filter(|it| goes_on || !gang.finished_by(it.at));
        let Some(Evidence { mut cause, at, port_conflict, .. }) = stopping else {
            self.contrast(job);
            let Some(state) = self.durable.jobs.get(job) else { return };
            return match restart::decide_completed(&state.spec, &state.used, ran) {
                Some(_) if state.deadline_passed => {
                    let after = state.spec.lifetime.active_deadline.unwrap_or_default();
                    self.carry_out(job, Verdict::Fail(None), Cause::DeadlineExceeded { after });
                }
                Some(verdict) if state.stop.is_none() => self.carry_out(job, verdict, Cause::Completed),
                _ => self.end_job(job, Outcome::Succeeded),
            };
        };
        if let (Some(stop), Cause::Drained { .. }) = (&state.stop, &cause) {
            // It was only to move: its end is its user's wish.
            cause = Cause::Requested { by: stop.by.clone(), status: stop.status };
        } else if let (Cause::Drained { .. }, true, Some(after)) =
            (&cause, state.deadline_passed, state.spec.lifetime.active_deadline)
        {
            cause = Cause::DeadlineExceeded { after };
        }
        let came = if active.released() {
            if let Some(leaf) = self.lost_leaf(&cause) {
                cause = leaf;
            }
            Came::Released { conflict: port_conflict, ran }
        } else {
            // A node that went may come back: with it there may be enough.
            let elsewhere = self.elsewhere(state, matches!(cause, Cause::NodeLost { .. }));
            if let (false, Some(refused)) = (elsewhere, nobody_takes(state, &cause)) {
                cause = refused;
            }
            Came::Held { elsewhere }
        };
        if matches!(cause, Cause::Enough { .. }) {
            // All that was needed came first, whatever its user or a deadline wished after that.
            self.contrast(job);
            return self.end_job(job, Outcome::Succeeded);
        }
        let verdict = match &state.stop {
            Some(_) => Verdict::Fail(None),
            None if state.deadline_passed => {
                let said = matches!(cause, Cause::DeadlineExceeded { .. });
                Verdict::Fail((!said).then_some(NoRestart::Deadline))
            }
            None => restart::decide(&state.spec, &state.used, &cause, came, self.now),
        };
        self.tell_of_nodes(job, &cause, at);
        self.accuse(job, &cause, at);
        if did_well(ran) {
            self.contrast(job);
        }
        self.carry_out(job, verdict, cause);
    }

    /// Another generation, or the end of the job.
    fn carry_out(&mut self, job: &JobId, verdict: Verdict, cause: Cause) {
        let exit_code = cause.exit_code();
        match verdict {
            Verdict::Restart { charge, delay, progress, shun } => {
                let Some(active) = self.durable.jobs.get(job).and_then(Job::active) else { return };
                let (generation, blamed) = (active.number, restart::blames(&cause).cloned());
                let (job_id, at) = (job.clone(), self.now);
                let record =
                    EndedRecord { job: job_id, generation, at, charge, progress, delay, blamed, shun };
                self.restart(job, record, cause);
            }
            Verdict::Fail(_) if matches!(cause, Cause::Requested { .. }) => {
                self.end_job(job, Outcome::Stopped { first_cause: cause, exit_code });
            }
            Verdict::Fail(no_restart) => {
                self.end_job(job, Outcome::Failed { first_cause: cause, exit_code, no_restart });
            }
        }
    }

    fn restart(&mut self, job: &JobId, record: EndedRecord, cause: Cause) {
        let (delay, free, drained) = (record.delay, record.charge.free(), record.charge == Charge::Drained);
        self.drop_generation(job);
        self.persist(Record::GenerationEnded(Box::new(record)));
        if drained {
            self.leave_drained(job);
        }
        let Some(state) = self.durable.jobs.get(job) else { return };
        let kind = EventKind::GangRestarting {
            cause,
            restart: state.used.counted(state.spec.recovery.window, self.now),
            max_restarts: state.spec.max_restarts,
            delay_ms: u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
            free,
        };
        self.emit_for(job, kind);
        self.wait_backoff(job, delay);
    }

    /// Of a job that waits for nodes nothing stays on those that are drained, not even its shim.
    fn leave_drained(&mut self, job: &JobId) {
        let last = self.durable.jobs.get(job).and_then(|job| job.generation.as_ref());
        let pods = last.map_or(&[][..], |last| &last.pods);
        let is_drained = |node: &&NodeId| {
            self.durable.standings.get(*node).is_some_and(|standing| standing.drain.is_some())
        };
        let nodes: Vec<NodeId> = pods.iter().map(|pod| &pod.node).filter(is_drained).cloned().collect();
        for node in nodes {
            self.send(&node, OrderKind::Forget { job: job.clone(), failed: true });
        }
    }

    /// The end of a job that has nothing left to stop, by somebody's wish.
    pub(crate) fn end_stopped(&mut self, job: &JobId, by: String, status: ExitStatus) {
        let first_cause = Cause::Requested { by, status };
        let exit_code = first_cause.exit_code();
        self.end_job(job, Outcome::Stopped { first_cause, exit_code });
    }

    fn end_job(&mut self, job: &JobId, outcome: Outcome) {
        let Some(state) = self.durable.jobs.get(job) else { return };
        debug_assert!(!matches!(state.state, JobState::Ended(_)), "job {job} ends once");
        let failed = outcome != Outcome::Succeeded;
        let pods = state.generation.as_ref().map_or(&[][..], |generation| &generation.pods);
        let nodes: Vec<NodeId> = pods.iter().map(|place| place.node.clone()).collect();
        self.drop_generation(job);
        self.queued_why.remove(job);
        self.timers.cancel(&Why::Client { job: job.clone() });
        self.timers.cancel(&Why::Deadline { job: job.clone() });
        self.waiting.remove(job);
        self.persist(Record::JobEnded { job: job.clone(), at: self.now, outcome: (&outcome).into() });
        self.wait_to_forget();
        self.emit_for(job, EventKind::JobEnded { outcome });
        for node in nodes {
            self.send(&node, OrderKind::Forget { job: job.clone(), failed });
        }
        self.queue_moved = true;
    }

    fn drop_generation(&mut self, job: &JobId) {
        self.gangs.remove(job);
        self.timers.cancel(&Why::Start { job: job.clone() });
        self.timers.cancel(&Why::Backoff { job: job.clone() });
    }
}

/// Most nodes named beside the first in one message.
const OTHERS_NAMED: usize = 8;

/// The cause that counts once no node is left that could take the job, with every node's reason; `None` if
/// none refused it, or if its end has another.
fn nobody_takes(job: &Job, cause: &Cause) -> Option<Cause> {
    let first = match cause {
        Cause::NotPrepared { node, reason } if reason.kind == PrepareFailureKind::Node => node,
        Cause::NotPrepared { reason, .. } if matches!(reason.kind, PrepareFailureKind::PortTaken(_)) => {
            job.refused.keys().next()?
        }
        Cause::NodeLost { .. } => job.refused.keys().next()?,
        _ => return None,
    };
    let mut message = job.refused.get(first)?.clone();
    let others: Vec<(&NodeId, &String)> = job.refused.iter().filter(|(node, _)| *node != first).collect();
    let same: Vec<&str> =
        others.iter().filter(|(_, why)| **why == message).map(|(node, _)| node.as_str()).collect();
    let different: Vec<String> = others
        .iter()
        .filter(|(_, why)| **why != message)
        .map(|(node, why)| format!("{node}: {why}"))
        .collect();
    let more = others.len().saturating_sub(OTHERS_NAMED);
    let same_named = same.len().min(OTHERS_NAMED);
    if same_named > 0 {
        message += &format!("; the same on {}", same[..same_named].join(", "));
    }
    for why in different.iter().take(OTHERS_NAMED - same_named) {
        message += &format!("; {why}");
    }
    if more > 0 {
        message += &format!("; and {more} more nodes");
    }
    let reason = PrepareFailure { kind: PrepareFailureKind::Node, message };
    Some(Cause::NotPrepared { node: first.clone(), reason })
}
