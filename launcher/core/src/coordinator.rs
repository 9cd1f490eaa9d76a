//! The coordinator: one state machine, and who does what with an input.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use phalanx_common::event::{Event, EventKind};
use phalanx_common::id::{Epoch, Generation, JobId, NodeId};
use phalanx_common::order::{Order, OrderKind};
use phalanx_common::time::Timestamp;

use crate::durable::{Durable, Job};
use crate::gang::{Gang, GangPhase, Pod};
use crate::input::{Command, Config, Input, Why};
use crate::nodes::Nodes;
use crate::nodes::breaker::Breaker;
use crate::nodes::history::History;
use crate::probes::Round;
use crate::queue::Stuck;
use crate::records::Record;
use crate::stock::{Stock, Topology};
use crate::timers::{Timers, shifted};
use crate::waits::Waits;

/// The deciding half of a coordinator: nodes, ledger, queue and gangs. See the crate's page.
#[derive(Debug)]
pub struct Coordinator {
    pub(crate) config: Config,
    pub(crate) now: Timestamp,
    pub(crate) durable: Durable,
    pub(crate) nodes: Nodes,
    /// The nodes as placement sees them, shared with questions that are answered elsewhere.
    pub(crate) stock: Arc<Stock>,
    /// Live generations, of jobs that are Active.
    pub(crate) gangs: BTreeMap<JobId, Gang>,
    pub(crate) timers: Timers,
    /// What the peers of pods that cannot be reached were asked.
    pub(crate) rounds: BTreeMap<(JobId, NodeId), Round>,
    /// Whether too many nodes were lost.
    pub(crate) breaker: Breaker,
    pub(crate) history: History,
    /// How many clients wait for each job, as far as they were heard of in this reign.
    pub(crate) waiting: BTreeMap<JobId, u32>,
    /// Something changed that may let a queued job begin.
    pub(crate) queue_moved: bool,
    /// Why each queued job waits, as told last.
    pub(crate) queued_why: BTreeMap<JobId, Waits>,
    /// Whether the first of the queue fits on an empty cluster, as found last.
    pub(crate) stuck: Option<Stuck>,
    /// Raised whenever something is learnt of nodes or their places.
    pub(crate) learnt: u64,
    commands: VecDeque<Command>,
    events: VecDeque<Event>,
}

/// A job as others may see it.
#[derive(Clone, Copy, Debug)]
pub struct JobView<'a> {
    pub id: &'a JobId,
    pub job: &'a Job,
    pub phase: GangPhase,
    /// What is known of the pods of the live generation.
    pub gang: Option<&'a Gang>,
}

impl Coordinator {
    /// A coordinator that begins its reign `epoch` over what `records` tell. The epoch is raised above
    /// that of the records if it is not already: two reigns never share one.
    pub fn new(config: Config, epoch: Epoch, records: &[Record]) -> Coordinator {
        let durable = Durable::replay(records);
        let epoch = epoch.max(durable.epoch.next());
        let gangs: BTreeMap<JobId, Gang> = durable
            .jobs
            .iter()
            .filter_map(|(id, job)| Some((id.clone(), Gang::new(job.active()?, job.spec.gate()))))
            .collect();
        let mut timers = Timers::default();
        if durable.jobs.values().any(|job| !job.ended()) || !durable.standings.is_empty() {
            timers.set(Why::Recover, Timestamp::default());
        }
        let mut coordinator = Coordinator {
            config,
            now: Timestamp::default(),
            durable,
            nodes: Nodes::new(),
            stock: Arc::default(),
            gangs,
            timers,
            rounds: BTreeMap::new(),
            breaker: Breaker::default(),
            history: History::default(),
            waiting: BTreeMap::new(),
            queue_moved: false,
            queued_why: BTreeMap::new(),
            stuck: None,
            learnt: 0,
            commands: VecDeque::new(),
            events: VecDeque::new(),
        };
        coordinator.persist(Record::EpochStarted { epoch });
        coordinator.wait_to_forget();
        coordinator
    }

    /// Takes an input. Never fails: what makes no sense becomes an `Ignored` event.
    pub fn handle(&mut self, now: Timestamp, input: Input) {
        self.now = now;
        if self.timers.is_set(&Why::Recover) {
            self.timers.cancel(&Why::Recover);
            self.recover();
        }
        match input {
            Input::Submit { job, spec, owner, attached } => self.on_submit(job, &spec, owner, attached),
            Input::ClientLost { job } => self.on_client_lost(&job),
            Input::ClientWaits { job } => self.on_client_waits(&job),
            Input::Report { node, report } => self.on_report(&node, report),
            Input::NodeDisconnected { node } => self.on_disconnected(&node, false),
            Input::NodeLeft { node } => self.on_disconnected(&node, true),
            Input::Stop { job, by, status, force } => self.on_stop(&job, by, status, force),
            Input::Suspend { job } => self.on_suspend(&job),
            Input::Resume { job } => self.on_resume(&job),
            Input::Node { node, by, wish } => self.on_wish(&node, by, wish),
            Input::ResumeReplacement { by } => self.resume_replacement(Some(by)),
            Input::Topology(topology) => self.on_topology(topology),
            Input::ClockJumped { by_micros } => self.on_clock_jumped(by_micros),
        }
        self.run_queue();
    }

    /// Acts on every deadline that is due.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.now = now;
        while let Some(why) = self.timers.pop_due(now) {
            match why {
                Why::Recover => self.recover(),
                Why::Start { job } => self.on_start_deadline(&job),
                Why::Backoff { .. } => self.queue_moved = true,
                Why::Deadline { job } => self.on_active_deadline(&job),
                Why::Client { job } => self.on_client_gone(&job),
                Why::Unreachable { job, node } => self.on_unreachable(&job, &node),
                Why::Probe { job, node } => self.on_probe_deadline(&job, &node),
                Why::RenewLeases => self.on_renew_leases(),
                Why::Forget => self.on_forget_deadline(),
                Why::Quiet => self.resume_replacement(None),
            }
        }
        self.run_queue();
    }

    /// The next deadline, and what it waits for.
    pub fn poll_timeout(&self) -> Option<(Timestamp, Why)> {
        self.timers.next().cloned()
    }

    /// The next thing to do. Persist precedes what depends on it.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// The next thing to tell people.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub fn epoch(&self) -> Epoch {
        self.durable.epoch
    }

    /// What the records written so far lead to (invariant I8).
    pub fn durable(&self) -> &Durable {
        &self.durable
    }

    pub fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    pub fn job<'a>(&'a self, id: &'a JobId) -> Option<JobView<'a>> {
        let job = self.durable.jobs.get(id)?;
        let gang = self.gangs.get(id);
        Some(JobView { id, job, phase: GangPhase::of(job, gang), gang })
    }

    /// Every job, by id.
    pub fn jobs(&self) -> impl Iterator<Item = JobView<'_>> {
        self.durable.jobs.keys().filter_map(|id| self.job(id))
    }

    pub(crate) fn phase(&self, job: &JobId) -> Option<GangPhase> {
        self.job(job).map(|view| view.phase)
    }

    /// What is known of the pod of `job` on this node.
    pub(crate) fn pod(&self, node: &NodeId, job: &JobId) -> Option<&Pod> {
        self.gangs.get(job)?.pod(node)
    }

    /// Something was learnt of a pod; `None`: there is no such pod.
    pub(crate) fn change_pod<T>(
        &mut self,
        node: &NodeId,
        job: &JobId,
        change: impl FnOnce(&mut Pod) -> T,
    ) -> Option<T> {
        self.gangs.get_mut(job)?.change(node, change)
    }

    /// Stores a decision and makes it true. The only caller of `Durable::apply` outside of replay.
    pub(crate) fn persist(&mut self, record: Record) {
        let touches = matches!(
            record,
            Record::GenerationPlanned(_) | Record::GenerationEnded(_) | Record::JobEnded { .. }
        );
        let job = record.job().filter(|_| touches).cloned();
        self.touch(job.as_ref());
        self.durable.apply(&record);
        self.touch(job.as_ref());
        self.commands.push_back(Command::Persist(record));
    }

    /// What the job's live generation holds of its nodes is about to change, or did.
    fn touch(&mut self, job: Option<&JobId>) {
        let active = job.and_then(|job| self.durable.jobs.get(job)?.active());
        for node in
            active.iter().flat_map(|active| active.pods.iter().map(|pod| &pod.node).chain(&active.spares))
        {
            Arc::make_mut(&mut self.stock).touch(node);
        }
    }

    fn on_topology(&mut self, topology: Arc<Topology>) {
        let before = Arc::make_mut(&mut self.stock).set_topology(topology);
        self.learnt += 1;
        self.queue_moved = true;
        self.remember_machines(&before);
        self.end_with_devices(&before);
    }

    /// Sends an order if the node can be reached; if not, its next Hello brings the order again.
    pub(crate) fn send(&mut self, node: &NodeId, kind: OrderKind) {
        if self.reachable(node) {
            let order = Order { epoch: self.durable.epoch, kind };
            self.commands.push_back(Command::Send { node: node.clone(), order });
        }
    }

    pub(crate) fn reachable(&self, node: &NodeId) -> bool {
        self.nodes.get(node).is_some_and(crate::nodes::Node::reachable)
    }

    pub(crate) fn emit(&mut self, job: Option<&JobId>, generation: Option<Generation>, kind: EventKind) {
        self.remember(&kind);
        self.events.push_back(Event { at: self.now, job: job.cloned(), generation, kind });
    }

    /// An event about the generation of `job` planned last.
    pub(crate) fn emit_for(&mut self, job: &JobId, kind: EventKind) {
        let generation = self.durable.jobs.get(job).and_then(|job| job.generation.as_ref());
        let number = generation.map(|generation| generation.number);
        self.emit(Some(job), number, kind);
    }

    pub(crate) fn ignore(&mut self, job: Option<&JobId>, what: String) {
        self.emit(job, None, EventKind::Ignored { what });
    }

    pub(crate) fn on_suspend(&mut self, job: &JobId) {
        let Some(state) = self.durable.jobs.get(job).filter(|state| !state.ended() && !state.suspended)
        else {
            return self
                .ignore(Some(job), format!("suspend of job {job}, which is not there to be suspended"));
        };
        if state.stop.is_some() {
            return self.ignore(Some(job), format!("suspend of job {job}, which is being stopped"));
        }
        // What stops would never hear SIGTERM, nor reach the end of its grace.
        let stops = state.active().is_some_and(|active| active.stopping.is_some());
        let nodes = if stops { Vec::new() } else { places(state) };
        self.persist(Record::Suspended { job: job.clone() });
        self.timers.freeze(job, self.now);
        self.note_deadline(job);
        self.emit_for(job, EventKind::JobSuspended);
        // Others do not wait behind it any more.
        self.queued_why.remove(job);
        self.queue_moved = true;
        for node in nodes {
            self.send(&node, OrderKind::Suspend { job: job.clone() });
        }
    }

    pub(crate) fn on_resume(&mut self, job: &JobId) {
        self.lift(job);
        self.release_if_prepared(job);
    }

    /// The job is not suspended any more; whether its ranks may begin is another question.
    pub(crate) fn lift(&mut self, job: &JobId) {
        let Some(state) = self.durable.jobs.get(job).filter(|state| !state.ended() && state.suspended) else {
            return self.ignore(Some(job), format!("resume of job {job}, which is not suspended"));
        };
        let nodes = places(state);
        self.persist(Record::Resumed { job: job.clone() });
        self.timers.thaw(job, self.now);
        self.note_deadline(job);
        self.emit_for(job, EventKind::JobResumed);
        for node in nodes {
            self.send(&node, OrderKind::Resume { job: job.clone() });
        }
        self.queue_moved = true;
    }

    fn on_clock_jumped(&mut self, by_micros: i64) {
        self.timers.shift(by_micros);
        for job in self.durable.jobs.keys().cloned().collect::<Vec<_>>() {
            self.note_deadline(&job);
        }
        self.breaker.shift(by_micros);
        self.history.shift(by_micros);
        for node in self.nodes.values_mut() {
            node.shift(by_micros);
        }
        for gang in self.gangs.values_mut() {
            gang.running_since = gang.running_since.map(|since| shifted(since, by_micros));
        }
        self.emit(None, None, EventKind::ClockJumped { by_ms: by_micros / 1000 });
    }
}

/// The nodes of a job's live generation.
fn places(job: &Job) -> Vec<NodeId> {
    let pods = job.active().map_or(&[][..], |generation| &generation.pods);
    pods.iter().map(|place| place.node.clone()).collect()
}
