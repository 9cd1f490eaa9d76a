//! Nodes that come and go. A Hello is the whole truth of a node: what is missing between it and what the
//! coordinator knew is derived, and what is due is ordered again.

use std::sync::Arc;
use std::time::Duration;

use phalanx_common::defaults;
use phalanx_common::event::{Cause, EventKind};
use phalanx_common::id::{JobId, NodeId, Rank};
use phalanx_common::order::OrderKind;
use phalanx_common::report::{NodeReport, PodEnd, PodPhase, PodStatus};
use phalanx_common::spec::Fencing;
use phalanx_common::time::Timestamp;

use crate::coordinator::Coordinator;
use crate::durable::{Job, JobState};
use crate::evidence::Evidence;
use crate::gang::{GangPhase, Pod, PodView};
use crate::input::Why;
use crate::nodes::{LinkState, NodeFacts};

/// Renewals within one lease: three may be lost.
pub(crate) const RENEWALS_PER_LEASE: u32 = 4;

/// From a lapsed lease to the last SIGKILL of the shim that ends its pod.
pub(crate) const LEASE_MARGIN: Duration = Duration::from_secs(5);
/// Clocks of hosts that are looked after agree better than this, message and all.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(5);

/// What is known of a node's absence when it speaks again.
struct Return {
    /// When it was heard last.
    since: Timestamp,
    restarted: bool,
}

/// What was ordered of a pod that it does not know of.
struct Due {
    go: bool,
    restart: Vec<Rank>,
}

impl Coordinator {
    /// Begins the deadlines of what the records told: nodes of live generations count as unreachable
    /// from here on, and every wait begins anew.
    pub(crate) fn recover(&mut self) {
        let jobs: Vec<(JobId, Job)> = self
            .durable
            .jobs
            .iter()
            .filter(|(_, job)| !job.ended())
            .map(|(id, job)| (id.clone(), job.clone()))
            .collect();
        for node in self.durable.standings.keys().cloned().collect::<Vec<_>>() {
            self.know(&node);
        }
        for (id, job) in jobs {
            if let (JobState::Queued { .. }, Some(stop)) = (&job.state, &job.stop) {
                // The last reign ended between the wish and what follows from it at once.
                self.end_stopped(&id, stop.by.clone(), stop.status);
                continue;
            }
            self.stop_unless_awaited(&id);
            if let JobState::Queued { not_before } = job.state {
                self.wait_backoff(&id, not_before.since(self.now));
            }
            self.wait_deadline(&id);
            let Some(active) = job.active() else { continue };
            for place in &active.pods {
                self.know(&place.node);
                let why = Why::Unreachable { job: id.clone(), node: place.node.clone() };
                self.timers.set(why, self.now + self.patience(&id));
            }
            if active.running_since.is_none() && active.stopping.is_none() {
                let why = Why::Start { job: id };
                self.timers.set_unless_frozen(why, self.now, job.spec.start_timeout, job.suspended);
            }
        }
    }

    pub(crate) fn on_hello(&mut self, report: &NodeReport) {
        let id = &report.node;
        let back = self.note_return(report);
        for job in self.gangs_on(id) {
            self.timers.cancel(&Why::Unreachable { job: job.clone(), node: id.clone() });
            self.stop_asking(&job, id);
        }
        self.check_clock(report);
        if self.config.cluster {
            if self.timers.is_set(&Why::RenewLeases) {
                self.send(id, OrderKind::Renew);
            } else {
                self.on_renew_leases();
            }
        }
        for status in &report.pods {
            if self.is_live(&status.job, status.generation) && self.keeps_shim(&status.job, id) {
                self.reconcile_pod(id, status);
            } else {
                self.reconcile_stray(id, status);
            }
        }
        for job in self.gangs_on(id) {
            let told =
                report.pods.iter().any(|status| status.job == job && self.is_live(&job, status.generation));
            if !told {
                self.reconcile_missing(id, &job, &back);
            }
        }
        self.count_flaps(id);
        self.move_jobs_away(id);
        self.queue_moved = true;
    }

    fn note_return(&mut self, report: &NodeReport) -> Return {
        let id = &report.node;
        Arc::make_mut(&mut self.stock).touch(id);
        self.learnt += 1;
        let node = self.know(id);
        let before = node.facts.replace(NodeFacts::of(report));
        let link = std::mem::replace(&mut node.link, LinkState::Reachable);
        let since = match link {
            LinkState::Unreachable { since } => since,
            LinkState::Reachable => self.now,
        };
        let joined = EventKind::NodeJoined {
            node: id.clone(),
            host_name: report.host_name.clone(),
            cores: report.cores,
        };
        let restarted = before.as_ref().is_some_and(|before| before.incarnation != report.incarnation);
        let kind = match before {
            None => joined,
            Some(_) if restarted => EventKind::NodeRestarted { node: id.clone() },
            Some(_) => EventKind::NodeReachable { node: id.clone() },
        };
        self.emit(None, None, kind);
        Return { since, restarted }
    }

    /// A pod of a live generation: what it did while nobody listened, then what it should do.
    fn reconcile_pod(&mut self, node: &NodeId, status: &PodStatus) {
        let (job, generation) = (&status.job, status.generation);
        let due = Due {
            go: self.is_released(job) && status.phase == PodPhase::Prepared,
            restart: self.missed_restarts(node, status),
        };
        self.change_pod(node, job, |pod| {
            if pod.view == PodView::Abandoned {
                // It was given up too early; while the generation lasts, it counts again.
                pod.view = PodView::Preparing;
            }
        });
        if let Some(reason) = &status.not_prepared {
            self.on_not_prepared(node, job, generation, reason.clone());
        }
        // A pod that stops or ended holds nothing: it must not let its gang be released.
        if matches!(status.phase, PodPhase::Prepared | PodPhase::Releasing | PodPhase::Started) {
            self.on_prepared(node, job, generation, None);
        }
        if !status.pids.is_empty() {
            self.on_started(node, job, generation, status.pids.clone());
        }
        if !status.health.is_empty() {
            self.on_health(node, job, generation, status.health.clone());
        }
        for (rank, attempt) in &status.attempts {
            let place = self.pod(node, job).and_then(|pod| rank.0.checked_sub(pod.first_rank.0));
            let pid = place.and_then(|place| status.pids.get(place as usize)).copied().unwrap_or(0);
            self.on_restarted(node, job, generation, (*rank, *attempt, pid));
        }
        for exit in &status.exits {
            self.on_exited(node, job, generation, exit.clone());
        }
        if status.phase == PodPhase::Ended {
            let end = status.end.clone().unwrap_or_default();
            self.on_pod_ended(node, job, generation, end);
        }
        // Its absence alone may have held the others back.
        self.release_if_prepared(job);
        self.order_what_is_due(node, status, due);
    }

    pub(crate) fn is_released(&self, job: &JobId) -> bool {
        self.durable.jobs.get(job).and_then(Job::active).is_some_and(|active| active.released())
    }

    fn order_what_is_due(&mut self, node: &NodeId, status: &PodStatus, due: Due) {
        let (job, generation) = (status.job.clone(), status.generation);
        if !self.is_live(&job, generation) || status.phase == PodPhase::Ended {
            return;
        }
        let stopping = self.phase(&job) == Some(GangPhase::Stopping);
        // A stop lifts a suspension, so a stopping pod is not frozen again.
        let suspended = !stopping && self.durable.jobs.get(&job).is_some_and(|job| job.suspended);
        match (suspended, status.suspended) {
            (true, false) => self.send(node, OrderKind::Suspend { job: job.clone() }),
            (false, true) => self.send(node, OrderKind::Resume { job: job.clone() }),
            _ => {}
        }
        if stopping {
            let (grace, pre_stop) = (self.grace(&job), self.pre_stop(&job));
            self.send(node, OrderKind::Stop { job, generation, grace, pre_stop });
        } else if due.go {
            self.send(node, OrderKind::Go { job, generation });
        } else if !due.restart.is_empty() {
            self.restart_again(node, &job, due.restart);
        }
    }

    /// A pod that should not be there: of an older generation, an ended job or an unknown one.
    fn reconcile_stray(&mut self, node: &NodeId, status: &PodStatus) {
        let (job, generation) = (status.job.clone(), status.generation);
        if status.phase != PodPhase::Ended {
            self.send(node, OrderKind::Stop { job, generation, grace: Duration::ZERO, pre_stop: false });
        } else if !self.keeps_shim(&job, node) {
            self.send(node, OrderKind::Forget { job, failed: true });
        }
    }

    /// A pod that should be there and is not.
    fn reconcile_missing(&mut self, node: &NodeId, job: &JobId, back: &Return) {
        let Some(active) = self.durable.jobs.get(job).and_then(Job::active) else { return };
        let (generation, released) = (active.number, active.released());
        if self.pod(node, job).is_none_or(Pod::over) {
            return;
        }
        if !released && self.phase(job) == Some(GangPhase::Preparing) {
            // Prepare was lost with the connection, or what it made with the worker; nothing has run.
            self.change_pod(node, job, |pod| pod.view = PodView::Preparing);
            return self.send_prepare(job, node);
        }
        if self.phase(job) == Some(GangPhase::Stopping) {
            return self.on_pod_ended(node, job, generation, PodEnd::default());
        }
        let finished = self.pod(node, job).is_some_and(Pod::finished);
        self.change_pod(node, job, |pod| pod.view = PodView::Ended);
        self.emit_for(job, EventKind::PodEnded { node: node.clone(), end: PodEnd::default() });
        if finished {
            return self.conclude_if_over(job);
        }
        let node = node.clone();
        let cause = if back.restarted { Cause::NodeRestarted { node } } else { Cause::PodLost { node } };
        self.fail(job, Evidence::new(cause, back.since));
    }

    /// `left`: the worker said that it goes.
    pub(crate) fn on_disconnected(&mut self, id: &NodeId, left: bool) {
        let Some(node) = self.nodes.get_mut(id).filter(|node| node.reachable()) else {
            return self.ignore(None, format!("node {id} was not connected"));
        };
        node.link = LinkState::Unreachable { since: self.now };
        Arc::make_mut(&mut self.stock).touch(id);
        // Why a job waits is told of the nodes as they are.
        self.queue_moved |= !self.queued_why.is_empty();
        self.emit(None, None, EventKind::NodeUnreachable { node: id.clone() });
        if !left {
            self.note_loss(id);
        }
        let jobs = self.gangs_on(id);
        if jobs.is_empty() {
            return;
        }
        for job in jobs {
            if self.config.cluster && !self.is_released(&job) {
                self.give_up(&job, id, self.now);
                continue;
            }
            let why = Why::Unreachable { job: job.clone(), node: id.clone() };
            self.timers.set(why, self.now + self.patience(&job));
            if self.config.cluster {
                let peers = self.ask_peers(&job, id);
                self.emit_for(&job, EventKind::PodUnreachable { node: id.clone(), peers });
            }
            let forced = self.durable.jobs.get(&job).and_then(|job| job.stop.as_ref());
            if forced.is_some_and(|stop| stop.force) {
                self.abandon(&job, id);
                self.conclude_if_over(&job);
            }
        }
    }

    /// How long a pod of this job is waited for. Under strict fencing its lease has lapsed by then, and
    /// its shim has ended it.
    fn patience(&self, id: &JobId) -> Duration {
        let Some(job) = self.durable.jobs.get(id) else { return Duration::ZERO };
        match job.spec.fencing {
            _ if self.config.cluster && !self.is_released(id) => defaults::BACK_WITHIN,
            Fencing::Strict if self.config.cluster => job.spec.unreachable.max(job.spec.lease + LEASE_MARGIN),
            _ => job.spec.unreachable,
        }
    }

    /// Nobody heard of the node for too long, or its peers do not hear it either: the pod is given up.
    pub(crate) fn on_unreachable(&mut self, job: &JobId, id: &NodeId) {
        self.stop_asking(job, id);
        let Some(LinkState::Unreachable { since }) = self.nodes.get(id).map(|node| node.link) else { return };
        if self.gangs_on(id).contains(job) {
            self.give_up(job, id, since);
        }
    }

    /// The generation goes on without this pod if it stops or the pod is done, and fails if not. One of which
    /// no rank was released holds processes there that run nothing, and never will: nobody sends them Go.
    fn give_up(&mut self, job: &JobId, id: &NodeId, since: Timestamp) {
        let finished = self.pod(id, job).is_some_and(Pod::finished);
        self.abandon(job, id);
        if !finished && self.phase(job) != Some(GangPhase::Stopping) {
            self.fail(job, Evidence::new(Cause::NodeLost { node: id.clone() }, since));
        } else {
            self.conclude_if_over(job);
        }
    }

    /// A clock that is off makes timestamps lie and certificates fail.
    fn check_clock(&mut self, report: &NodeReport) {
        let (ahead, behind) = (report.clock.since(self.now), self.now.since(report.clock));
        if self.config.cluster && ahead.max(behind) > CLOCK_TOLERANCE {
            let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
            let ahead_ms = millis(ahead) - millis(behind);
            self.emit(None, None, EventKind::NodeClockOff { node: report.node.clone(), ahead_ms });
        }
    }

    pub(crate) fn on_renew_leases(&mut self) {
        let leases =
            self.durable.jobs.values().filter(|job| job.active().is_some()).map(|job| job.spec.lease);
        let (true, Some(lease)) = (self.config.cluster, leases.min()) else { return };
        let reachable: Vec<NodeId> =
            self.nodes.iter().filter(|(_, node)| node.reachable()).map(|(id, _)| id.clone()).collect();
        if reachable.is_empty() {
            return;
        }
        for node in &reachable {
            self.send(node, OrderKind::Renew);
        }
        self.timers.set(Why::RenewLeases, self.now + lease / RENEWALS_PER_LEASE);
    }

    /// A lease that is shorter than those so far is renewed in time.
    pub(crate) fn renew_by(&mut self, lease: Duration) {
        if !self.config.cluster {
            return;
        }
        let at = self.now + lease / RENEWALS_PER_LEASE;
        if self.timers.at(&Why::RenewLeases).is_none_or(|set| at < set) {
            self.timers.set(Why::RenewLeases, at);
        }
    }

    /// Jobs with a live pod on this node that somebody waits for.
    pub(crate) fn gangs_on(&self, node: &NodeId) -> Vec<JobId> {
        self.gangs
            .iter()
            .filter(|(_, gang)| gang.pod(node).is_some_and(|pod| !pod.over()))
            .map(|(id, _)| id.clone())
            .collect()
    }
}
