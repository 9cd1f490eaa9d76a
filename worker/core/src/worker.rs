//! The worker: orders in, shim reports in, commands out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use phalanx_common::id::{Epoch, Generation, JobId, NodeId, Rank};
use phalanx_common::order::{Order, OrderKind};
use phalanx_common::plan::{PodBinding, PodPlan};
use phalanx_common::report::{
    NodeReport, Notice, PodEnd, PodPhase, PrepareFailure, PrepareFailureKind, Report,
};
use phalanx_common::time::Timestamp;

use crate::input::{Command, Confidential, Config, Facts, Input};
use crate::plan::{Unfit, kept_directory, mark, overridden, shim_plan};
use crate::pod::{Next, Pod, ShimState, told};
use crate::shim::{ShimOrder, ShimReport};

/// The deciding half of a worker.
#[derive(Debug)]
pub struct Worker {
    config: Config,
    facts: Facts,
    /// The highest epoch heard: lower ones are refused (invariant I3).
    epoch: Epoch,
    now: Timestamp,
    /// When a coordinator was heard last.
    heard: Timestamp,
    link: bool,
    pods: BTreeMap<JobId, Pod>,
    /// Jobs that are forgotten and whose shims were told to exit and have not.
    leaving: BTreeSet<JobId>,
    /// The newest of each job.
    confidential: BTreeMap<JobId, Confidential>,
    commands: VecDeque<Command>,
}

impl Worker {
    /// A worker without pods.
    pub fn new(config: Config, facts: Facts) -> Worker {
        Worker {
            config,
            facts,
            epoch: Epoch::default(),
            now: Timestamp::default(),
            heard: Timestamp::default(),
            link: false,
            pods: BTreeMap::new(),
            leaving: BTreeSet::new(),
            confidential: BTreeMap::new(),
            commands: VecDeque::new(),
        }
    }

    /// Takes an input. Never fails: what makes no sense is refused, and said so.
    pub fn handle(&mut self, now: Timestamp, input: Input) {
        self.now = now;
        match input {
            Input::Order(order) => self.on_order(order),
            Input::Confidential(confidential) => {
                self.confidential.insert(confidential.job.clone(), confidential);
            }
            Input::LinkUp => self.on_link_up(now),
            Input::LinkDown => self.link = false,
            Input::Facts(facts) => self.facts = facts,
            Input::ShimUp { job } => self.on_shim_up(&job),
            Input::ShimReport { job, report } => self.on_shim_report(&job, report),
            Input::ShimLost { job, why } => self.on_shim_lost(&job, why),
            Input::Swept { job, killed, survivors } => self.on_swept(&job, killed, survivors),
        }
    }

    /// The next thing to do.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// The highest epoch heard.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether a pod of this job is here, or is to be.
    pub fn holds(&self, job: &JobId) -> bool {
        self.pods.contains_key(job)
    }

    /// What the pod of this job gets of the node in this generation.
    pub fn binding(&self, job: &JobId, generation: Generation) -> Option<&PodBinding> {
        let pod = self.pods.get(job).filter(|pod| pod.generation() == generation)?;
        Some(&pod.plan.binding)
    }

    /// The whole truth of this node, as Hello tells it.
    pub fn report(&self, now: Timestamp) -> NodeReport {
        NodeReport {
            node: self.config.node.clone(),
            incarnation: self.config.incarnation,
            host_name: self.facts.host_name.clone(),
            cores: self.facts.cores,
            slots: self.facts.slots,
            user: self.facts.user.clone(),
            clock: now,
            version: self.facts.version.clone(),
            ports: self.facts.ports,
            address: self.facts.address,
            interface: self.facts.interface.clone(),
            networks: self.facts.networks.clone(),
            pods: told(self.pods.values()),
        }
    }

    fn on_link_up(&mut self, now: Timestamp) {
        self.link = true;
        let report = self.report(now);
        self.tell(Report::Hello(Box::new(report)));
    }

    fn on_order(&mut self, order: Order) {
        if order.epoch < self.epoch {
            return self
                .refuse(None, format!("an order of epoch {}: epoch {} reigns", order.epoch, self.epoch));
        }
        self.epoch = order.epoch;
        self.heard = self.now;
        match order.kind {
            OrderKind::Prepare(plan) => self.on_prepare(plan),
            OrderKind::Go { job, generation } => self.on_go(&job, generation),
            OrderKind::Stop { job, generation, grace, pre_stop } => {
                self.on_stop(&job, generation, grace, pre_stop);
            }
            OrderKind::Forget { job, failed } => self.on_forget(&job, failed),
            OrderKind::Renew => {
                let jobs: Vec<JobId> = self.pods.keys().cloned().collect();
                for job in jobs {
                    self.renew_lease(&job);
                }
            }
            OrderKind::Suspend { job } => self.on_suspend(&job, true),
            OrderKind::Resume { job } => self.on_suspend(&job, false),
            OrderKind::Probe { job, generation, target, address } => {
                self.on_probe(&job, generation, target, address);
            }
            OrderKind::Restart { job, generation, ranks, delay, grace } => {
                self.on_restart(&job, generation, ranks, (delay, grace));
            }
        }
    }

    /// Ranks of a generation that runs start again. One that stops or has ended says so itself.
    fn on_restart(
        &mut self,
        job: &JobId,
        generation: Generation,
        mut ranks: Vec<(Rank, u32)>,
        (delay, grace): (Duration, Duration),
    ) {
        let Some(pod) = self.pods.get_mut(job).filter(|pod| pod.generation() == generation) else {
            let what = format!("a restart of ranks of generation {generation}, which is not here");
            return self.refuse(Some(job), what);
        };
        if pod.shim != ShimState::Up || !matches!(pod.phase, PodPhase::Releasing | PodPhase::Started) {
            return;
        }
        ranks.retain(|(rank, attempt)| pod.holds(*rank) && pod.attempts.get(rank) < Some(attempt));
        pod.attempts.extend(ranks.iter().copied());
        if !ranks.is_empty() {
            self.order_shim(job, ShimOrder::Restart { generation, ranks, delay, grace });
        }
    }

    /// The shim asks, because it has the key and may outlive this worker; what is not here hears nobody.
    fn on_probe(&mut self, job: &JobId, generation: Generation, target: NodeId, address: SocketAddr) {
        let here = self
            .pods
            .get(job)
            .is_some_and(|pod| pod.generation() == generation && pod.shim == ShimState::Up && !pod.ended());
        if here {
            self.order_shim(job, ShimOrder::Probe { generation, target, address });
        } else {
            self.tell(Report::Probed { job: job.clone(), generation, target, heard: false });
        }
    }

    fn on_prepare(&mut self, plan: Box<PodPlan>) {
        let job = plan.job.clone();
        let Some(pod) = self.pods.get_mut(&job) else {
            let mut pod = Pod::new(plan);
            if self.leaving.contains(&job) {
                pod.shim = ShimState::Leaving;
            }
            self.pods.insert(job.clone(), pod);
            return self.prepare(&job);
        };
        let newest = pod.newest();
        if plan.generation < newest {
            let what = format!("Prepare of generation {}: generation {newest} is here", plan.generation);
            return self.refuse(Some(&job), what);
        }
        if plan.generation == pod.generation() {
            self.renew_lease(&job);
            return self.answer_again(&job);
        }
        if pod.ended() {
            pod.renew(plan);
            return self.prepare(&job);
        }
        // Prepare after Stop does not revive a generation.
        if pod.next.as_ref().is_none_or(|next| next.plan.generation < plan.generation) {
            pod.next = Some(Next { plan, stopped: false });
        }
        pod.forget = None;
        let generation = pod.generation();
        self.stop(&job, generation, Duration::ZERO, false);
    }

    /// Repeats what the coordinator may have missed.
    fn answer_again(&mut self, job: &JobId) {
        let Some(pod) = self.pods.get(job) else { return };
        let (job, generation) = (job.clone(), pod.generation());
        let report = match (pod.phase, &pod.not_prepared) {
            (PodPhase::Ended, _) => {
                Report::PodEnded { job, generation, end: pod.end.clone().unwrap_or_default() }
            }
            (_, Some(reason)) => Report::NotPrepared { job, generation, reason: reason.clone() },
            (PodPhase::Prepared, None) => {
                Report::Prepared { job, generation, interpreter: pod.interpreter.clone() }
            }
            (PodPhase::Started, None) => Report::Started { job, generation, pids: pod.pids.clone() },
            (PodPhase::Preparing | PodPhase::Releasing | PodPhase::Stopping, None) => return,
        };
        self.tell(report);
    }

    /// Has the shim prepare the pod's generation, and spawns it first where there is none.
    fn prepare(&mut self, job: &JobId) {
        let Some(pod) = self.pods.get_mut(job) else { return };
        match pod.shim {
            ShimState::Absent => {
                pod.shim = ShimState::Spawning;
                let user = pod.plan.body.user.clone();
                self.commands.push_back(Command::SpawnShim { job: job.clone(), user });
            }
            // This worker did not run for long: the order is as old as the lease that came with it.
            ShimState::Up if pod.plan.body.lease.is_some_and(|lease| self.now.since(self.heard) >= lease) => {
                self.generation_ended(job, PodEnd { lease_lapsed: true, ..PodEnd::default() });
            }
            ShimState::Up => {
                let generation = pod.generation();
                let confidential =
                    self.confidential.get(job).filter(|confidential| confidential.generation == generation);
                let plan = match shim_plan(&self.config, &self.facts, &pod.plan, confidential) {
                    Ok(plan) => plan,
                    Err(unfit) => return self.on_unfit(job, &unfit),
                };
                let first = pod.generation() == Generation(1);
                let told = overridden(&self.config, &self.facts, &pod.plan).filter(|_| first);
                if let Some(notice) = told {
                    self.tell(Report::Notice { job: Some(job.clone()), notice });
                }
                self.order_shim(job, ShimOrder::Prepare(Box::new(plan)));
                self.renew_lease(job);
            }
            // Goes on when the shim is up, or swept away, or that of the pod before is gone.
            ShimState::Spawning | ShimState::Sweeping | ShimState::Leaving => {}
        }
    }

    /// Nothing of the generation is made; a Stop ends it.
    fn on_unfit(&mut self, job: &JobId, unfit: &Unfit) {
        let Some(pod) = self.pods.get_mut(job) else { return };
        let message = unfit.to_string();
        let reason = PrepareFailure { kind: PrepareFailureKind::Job, message };
        pod.not_prepared = Some(reason.clone());
        let generation = pod.generation();
        self.tell(Report::NotPrepared { job: job.clone(), generation, reason });
    }

    fn on_go(&mut self, job: &JobId, generation: Generation) {
        let Some(pod) = self.pods.get_mut(job).filter(|pod| pod.generation() == generation) else {
            return self.refuse(Some(job), format!("Go for generation {generation}, which is not here"));
        };
        match pod.phase {
            PodPhase::Prepared => {
                pod.phase = PodPhase::Releasing;
                self.order_shim(job, ShimOrder::Go { generation });
                self.renew_lease(job);
            }
            PodPhase::Preparing => {
                self.refuse(Some(job), format!("Go for generation {generation}, which is not prepared"));
            }
            // Released before, or stopped meanwhile.
            PodPhase::Releasing | PodPhase::Started | PodPhase::Stopping | PodPhase::Ended => {
                self.answer_again(job);
            }
        }
    }

    fn on_stop(&mut self, job: &JobId, generation: Generation, grace: Duration, pre_stop: bool) {
        let Some(pod) = self.pods.get_mut(job) else {
            // What does not exist has ended.
            return self.tell(Report::PodEnded { job: job.clone(), generation, end: PodEnd::default() });
        };
        if let Some(next) = &mut pod.next
            && next.plan.generation == generation
        {
            next.stopped = true;
            return;
        }
        if generation < pod.generation() {
            let what = format!("Stop of generation {generation}: generation {} is here", pod.generation());
            return self.refuse(Some(job), what);
        }
        if generation > pod.generation() {
            let what = format!("Stop of generation {generation}, which was never prepared here");
            return self.refuse(Some(job), what);
        }
        self.stop(job, generation, grace, pre_stop);
    }

    /// Stops the generation the pod has; answered at its end.
    fn stop(&mut self, job: &JobId, generation: Generation, grace: Duration, pre_stop: bool) {
        let Some(pod) = self.pods.get_mut(job) else { return };
        match (pod.phase, pod.shim) {
            (PodPhase::Ended, _) => self.answer_again(job),
            // Nothing of it exists yet.
            (_, ShimState::Absent | ShimState::Spawning | ShimState::Leaving) => {
                self.generation_ended(job, PodEnd::default())
            }
            (_, ShimState::Up) => {
                pod.phase = PodPhase::Stopping;
                // The shim lifts a suspension to stop.
                pod.suspended = false;
                self.order_shim(job, ShimOrder::Stop { generation, grace, pre_stop });
            }
            (_, ShimState::Sweeping) => pod.phase = PodPhase::Stopping,
        }
    }

    fn on_forget(&mut self, job: &JobId, failed: bool) {
        let Some(pod) = self.pods.get_mut(job) else { return };
        pod.forget = Some(failed);
        pod.next = None;
        if pod.ended() {
            self.forget(job);
        } else {
            let generation = pod.generation();
            self.stop(job, generation, Duration::ZERO, false);
        }
    }

    /// Lets go of an ended pod, as Forget asked.
    fn forget(&mut self, job: &JobId) {
        let Some((failed, shim)) = self.pods.get(job).and_then(|pod| Some((pod.forget?, pod.shim))) else {
            return;
        };
        match shim {
            ShimState::Up => {
                self.order_shim(job, ShimOrder::Exit { failed });
                self.leaving.insert(job.clone());
                self.remove(job);
            }
            ShimState::Absent | ShimState::Leaving => self.remove(job),
            // The pod goes with its shim: a new one for the same job would meet the old.
            ShimState::Spawning | ShimState::Sweeping => {}
        }
    }

    fn remove(&mut self, job: &JobId) {
        self.pods.remove(job);
        self.confidential.remove(job);
        self.commands.push_back(Command::CloseShim { job: job.clone() });
    }

    fn on_suspend(&mut self, job: &JobId, suspend: bool) {
        let Some(pod) = self.pods.get_mut(job).filter(|pod| !pod.ended()) else { return };
        pod.suspended = suspend;
        if pod.shim == ShimState::Up {
            self.order_shim(job, if suspend { ShimOrder::Suspend } else { ShimOrder::Resume });
            self.renew_lease(job);
        }
    }

    fn on_shim_up(&mut self, job: &JobId) {
        let Some(pod) = self.pods.get_mut(job).filter(|pod| pod.shim == ShimState::Spawning) else { return };
        pod.shim = ShimState::Up;
        if pod.ended() {
            return self.forget(job);
        }
        let suspended = pod.suspended;
        self.prepare(job);
        if suspended {
            self.order_shim(job, ShimOrder::Suspend);
        }
    }

    fn on_shim_report(&mut self, job: &JobId, report: ShimReport) {
        // What a shim says that was told to exit is nothing of the pod that came after it.
        let Some(pod) = self.pods.get_mut(job).filter(|pod| pod.shim == ShimState::Up) else { return };
        let generation = pod.generation();
        let told = match &report {
            ShimReport::Prepared { generation, .. }
            | ShimReport::NotPrepared { generation, .. }
            | ShimReport::Started { generation, .. }
            | ShimReport::Exited { generation, .. }
            | ShimReport::Health { generation, .. }
            | ShimReport::Restarted { generation, .. }
            | ShimReport::Ended { generation, .. } => *generation,
            ShimReport::Output { .. } => return,
            ShimReport::Probed { generation, target, heard } => {
                let report = Report::Probed {
                    job: job.clone(),
                    generation: *generation,
                    target: target.clone(),
                    heard: *heard,
                };
                return self.tell(report);
            }
            ShimReport::Notice { notice } => {
                let report = Report::Notice { job: Some(job.clone()), notice: notice.clone() };
                return self.tell(report);
            }
        };
        if told != generation || pod.ended() {
            return;
        }
        let job_id = job.clone();
        match report {
            ShimReport::Prepared { interpreter, .. } if pod.phase == PodPhase::Preparing => {
                pod.phase = PodPhase::Prepared;
                pod.health.clear();
                pod.interpreter.clone_from(&interpreter);
                let directory = kept_directory(&self.config, &pod.plan);
                self.tell(Report::Prepared { job: job_id.clone(), generation, interpreter });
                if let Some(notice) = directory {
                    self.tell(Report::Notice { job: Some(job_id), notice });
                }
            }
            ShimReport::NotPrepared { reason, .. } if pod.phase == PodPhase::Preparing => {
                pod.not_prepared = Some(reason.clone());
                self.tell(Report::NotPrepared { job: job_id, generation, reason });
            }
            ShimReport::Started { pids, .. } => {
                if pod.phase == PodPhase::Releasing {
                    pod.phase = PodPhase::Started;
                }
                pod.pids.clone_from(&pids);
                self.tell(Report::Started { job: job_id, generation, pids });
            }
            // A shim is its user's own process, and may be made to say anything.
            ShimReport::Exited { exit, .. } if pod.exited(&exit) => {
                self.tell(Report::Exited { job: job_id, generation, exit });
            }
            ShimReport::Health { ranks, .. } => {
                let ranks: Vec<_> = ranks.into_iter().filter(|health| pod.holds(health.rank)).collect();
                pod.health.extend(ranks.iter().map(|health| (health.rank, health.clone())));
                self.tell(Report::Health { job: job_id, generation, ranks });
            }
            ShimReport::Restarted { rank, attempt, pid, .. } if pod.restarted(rank, attempt, pid) => {
                self.tell(Report::Restarted { job: job_id, generation, rank, attempt, pid });
            }
            ShimReport::Ended { end, .. } => self.generation_ended(job, end),
            // Prepared or NotPrepared after a stop: the end follows.
            _ => {}
        }
    }

    /// Nothing is left of the pod's generation: what waited for that comes now.
    fn generation_ended(&mut self, job: &JobId, end: PodEnd) {
        let Some(pod) = self.pods.get_mut(job) else { return };
        pod.phase = PodPhase::Ended;
        pod.suspended = false;
        pod.end = Some(end.clone());
        let generation = pod.generation();
        let next = pod.next.take();
        self.tell(Report::PodEnded { job: job.clone(), generation, end });
        let Some(Next { plan, stopped }) = next else { return self.forget(job) };
        if let Some(pod) = self.pods.get_mut(job) {
            pod.renew(plan);
        }
        if stopped {
            self.generation_ended(job, PodEnd::default());
        } else {
            self.prepare(job);
        }
    }

    fn on_shim_lost(&mut self, job: &JobId, why: String) {
        if self.leaving.remove(job) {
            return self.on_shim_left(job);
        }
        let Some(pod) = self.pods.get_mut(job) else { return };
        let generation = pod.generation();
        if pod.ended() {
            pod.shim = ShimState::Absent;
            return self.forget(job);
        }
        pod.shim = ShimState::Sweeping;
        if pod.phase == PodPhase::Preparing && pod.not_prepared.is_none() {
            let message = format!("the shim did not prepare the pod: {why}");
            let reason = PrepareFailure { kind: PrepareFailureKind::Node, message };
            pod.not_prepared = Some(reason.clone());
            self.tell(Report::NotPrepared { job: job.clone(), generation, reason });
        } else {
            pod.phase = PodPhase::Stopping;
        }
        let mark = mark(&self.config, job);
        self.commands.push_back(Command::Sweep { job: job.clone(), mark });
    }

    /// The shim of a forgotten pod is gone: what was ordered of the job meanwhile can begin.
    fn on_shim_left(&mut self, job: &JobId) {
        let Some(pod) = self.pods.get_mut(job) else { return };
        pod.shim = ShimState::Absent;
        if !pod.ended() {
            self.prepare(job);
        }
    }

    fn on_swept(&mut self, job: &JobId, killed: u32, survivors: Vec<(u32, String)>) {
        let Some(pod) = self.pods.get_mut(job).filter(|pod| pod.shim == ShimState::Sweeping) else { return };
        pod.shim = ShimState::Absent;
        let end = PodEnd { swept: killed, shim_lost: true, lease_lapsed: false, survivors };
        self.generation_ended(job, end);
    }

    /// The coordinator lives: the shim may go on for another lease.
    fn renew_lease(&mut self, job: &JobId) {
        let Some(pod) = self.pods.get(job) else { return };
        if let (Some(remaining), ShimState::Up, false) = (pod.plan.body.lease, pod.shim, pod.ended()) {
            self.order_shim(job, ShimOrder::Lease { remaining });
        }
    }

    fn order_shim(&mut self, job: &JobId, order: ShimOrder) {
        self.commands.push_back(Command::ToShim { job: job.clone(), order });
    }

    fn tell(&mut self, report: Report) {
        if self.link {
            self.commands.push_back(Command::ToCoordinator(report));
        }
    }

    fn refuse(&mut self, job: Option<&JobId>, what: String) {
        self.tell(Report::Notice { job: job.cloned(), notice: Notice::Refused { what } });
    }
}
