//! What the invariants remember of a run: the truth as the harness saw it, and what was recorded and said.

use std::collections::{BTreeMap, BTreeSet};

use phalanx_common::event::{Event, EventKind};
use phalanx_common::id::{Epoch, Generation, JobId, NodeId, Rank};
use phalanx_common::spec::{JobSpec, RestartScope};
use phalanx_common::time::Timestamp;
use phalanx_launcher_core::Record;
use phalanx_launcher_core::restart::{self, Accounting, Charge};

pub(crate) type PodKey = (JobId, Generation, NodeId);

/// Facts collected along the way.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    pub(crate) epoch: Epoch,
    pub(crate) jobs: BTreeMap<JobId, JobFacts>,
    /// Ports of live generations, from the records alone.
    pub(crate) ports: BTreeMap<(NodeId, u16), (JobId, Generation)>,
    /// Pods whose ranks are held, as the shims did it.
    pub(crate) prepared: BTreeSet<PodKey>,
    pub(crate) released: BTreeSet<(JobId, Generation)>,
    /// Ranks that were ready or ended with 0, as the shims found it.
    pub(crate) ready: BTreeSet<(JobId, Generation, Rank)>,
    /// Nodes that are cordoned or quarantined, from the records alone.
    pub(crate) closed: BTreeSet<NodeId>,
    /// Pods of which the coordinator said that nothing is left.
    pub(crate) ended: BTreeSet<PodKey>,
    /// Pods that it gave up.
    pub(crate) abandoned: BTreeSet<PodKey>,
    /// Up to which generation the coordinator ordered the end, per node and job, on this connection.
    pub(crate) stopped: BTreeMap<(NodeId, JobId), Generation>,
    /// The newest generation each shim was told to prepare, per life of its worker.
    pub(crate) shim_generations: BTreeMap<(NodeId, u64, JobId), Generation>,
}

/// One job, from the records alone.
#[derive(Clone, Debug)]
pub(crate) struct JobFacts {
    pub(crate) spec: JobSpec,
    pub(crate) generation: Option<Generation>,
    pub(crate) nodes: Vec<NodeId>,
    pub(crate) world: u32,
    pub(crate) port: Option<(NodeId, u16)>,
    pub(crate) used: Accounting,
    /// When ranks and pods were started again in their generation, by the step that paid, as far as its window counts them.
    pub(crate) in_place: BTreeMap<RestartScope, Vec<Timestamp>>,
    /// The node that its next generation is to replace.
    pub(crate) leaving: Option<NodeId>,
    /// The last start of each rank of the last generation that was decided.
    pub(crate) attempts: BTreeMap<Rank, u32>,
    /// Nodes that cannot take a pod of it.
    pub(crate) refused: BTreeSet<NodeId>,
    pub(crate) stop_requested: bool,
    pub(crate) ended: bool,
    pub(crate) forgotten: bool,
}

impl Witness {
    /// Takes a record into account, once it was checked.
    pub(crate) fn note_record(&mut self, record: &Record) {
        match record {
            Record::EpochStarted { epoch } => self.epoch = *epoch,
            Record::JobSubmitted { job, spec, .. } => {
                let facts = JobFacts {
                    spec: spec.as_ref().into(),
                    generation: None,
                    nodes: Vec::new(),
                    world: 0,
                    port: None,
                    used: Accounting::default(),
                    in_place: BTreeMap::new(),
                    leaving: None,
                    attempts: BTreeMap::new(),
                    refused: BTreeSet::new(),
                    stop_requested: false,
                    ended: false,
                    forgotten: false,
                };
                self.jobs.insert(job.clone(), facts);
            }
            Record::GenerationPlanned(planned) => {
                let Some(facts) = self.jobs.get_mut(&planned.job) else { return };
                facts.generation = Some(planned.generation);
                facts.attempts.clear();
                if let Some(left) = facts.leaving.take() {
                    facts.used.replacements += u32::from(planned.pods.iter().all(|pod| pod.node != left));
                }
                facts.world = planned.pods.iter().map(|pod| pod.ranks).sum();
                facts.nodes = planned.pods.iter().map(|pod| pod.node.clone()).collect();
                if let Some(first) = facts.nodes.first() {
                    let key = (first.clone(), planned.master_port);
                    facts.port = Some(key.clone());
                    self.ports.insert(key, (planned.job.clone(), planned.generation));
                }
            }
            Record::Released { job, generation, .. } => {
                self.released.insert((job.clone(), *generation));
            }
            Record::GenerationEnded(ended) => {
                self.free_port(&ended.job);
                if let Some(facts) = self.jobs.get_mut(&ended.job) {
                    match ended.charge {
                        Charge::Budget | Charge::Replacement => {
                            facts.used.restarts += 1;
                            // What has left the window is out of it, wherever the clock jumps.
                            let window = facts.spec.recovery.window.unwrap_or_default();
                            facts.used.recent.retain(|at| ended.at.since(*at) < window);
                            facts.used.recent.push(ended.at);
                            facts.leaving =
                                ended.shun.clone().filter(|_| ended.charge == Charge::Replacement);
                            if !self.released.contains(&(ended.job.clone(), ended.generation)) {
                                facts.refused.clear();
                            }
                        }
                        Charge::PortConflict => facts.used.port_conflicts += 1,
                        Charge::PortRetry => facts.used.port_retries += 1,
                        Charge::NodeGone => facts.used.node_retries += 1,
                        Charge::NodeRefused | Charge::Ignored | Charge::Completed | Charge::Drained => {}
                    }
                }
            }
            Record::RanksRestarted(restarted) => {
                let Some(facts) = self.jobs.get_mut(&restarted.job) else { return };
                let recent = facts.in_place.entry(restarted.step).or_default();
                // What has left the window is out of it, wherever the clock jumps.
                let window = restart::budget(&facts.spec.recovery, restarted.step).window;
                recent.retain(|at| window.is_none_or(|window| restarted.at.since(*at) < window));
                recent.push(restarted.at);
                for rank in &restarted.ranks {
                    *facts.attempts.entry(*rank).or_default() += 1;
                }
            }
            Record::JobEnded { job, .. } => {
                self.free_port(job);
                if let Some(facts) = self.jobs.get_mut(job) {
                    facts.ended = true;
                }
            }
            Record::NodeRefused { job, node, .. } => {
                if let Some(facts) = self.jobs.get_mut(job) {
                    facts.refused.insert(node.clone());
                }
            }
            Record::StopRequested { job, .. } => {
                if let Some(facts) = self.jobs.get_mut(job) {
                    facts.stop_requested = true;
                }
            }
            Record::NodeStands(standing) => {
                if standing.cordon.is_some() || standing.quarantine.is_some() {
                    self.closed.insert(standing.node.clone());
                } else {
                    self.closed.remove(&standing.node);
                }
            }
            Record::JobForgotten { job } => {
                if let Some(facts) = self.jobs.get_mut(job) {
                    facts.forgotten = true;
                }
            }
            Record::Running { .. }
            | Record::Stopping(_)
            | Record::Suspended { .. }
            | Record::Resumed { .. }
            | Record::JobAttached { .. }
            | Record::DeadlineLeft { .. }
            | Record::NodesAround { .. }
            | Record::DeadlinePassed { .. } => {}
        }
    }

    fn free_port(&mut self, job: &JobId) {
        if let Some(key) = self.jobs.get_mut(job).and_then(|facts| facts.port.take()) {
            self.ports.remove(&key);
        }
    }

    pub(crate) fn note_event(&mut self, event: &Event) {
        let (Some(job), Some(generation)) = (&event.job, event.generation) else { return };
        match &event.kind {
            EventKind::PodEnded { node, .. } => {
                self.ended.insert((job.clone(), generation, node.clone()));
            }
            EventKind::PodAbandoned { node } => {
                self.abandoned.insert((job.clone(), generation, node.clone()));
            }
            _ => {}
        }
    }

    /// A new connection of this node: what was ordered on the last one says nothing any more.
    pub(crate) fn forget_orders(&mut self, node: &NodeId) {
        self.stopped.retain(|(on, _), _| on != node);
    }

    /// Another life of this node's worker: its held ranks are gone.
    pub(crate) fn forget_prepared(&mut self, node: &NodeId) {
        self.prepared.retain(|(_, _, on)| on != node);
    }
}
