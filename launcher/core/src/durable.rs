//! What survives the coordinator: made by records, and by records alone (invariant I8).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use phalanx_common::event::{Cause, NodeNote, Outcome};
use phalanx_common::exit::ExitStatus;
use phalanx_common::id::{Epoch, Generation, JobId, NodeId, Rank};
use phalanx_common::identity::Owner;
use phalanx_common::plan::PodBinding;
use phalanx_common::spec::JobSpec;
use phalanx_common::time::Timestamp;

use crate::evidence::{Evidence, Failed, MAX_ALSO, first_of};
use crate::ledger::{Ledger, PodShare};
use crate::nodes::blame::suspected;
use crate::nodes::standing::Standing;
use crate::placement::inside::Held;
use crate::records::{EndedRecord, GenerationRecord, Record, RestartedRecord, StoppingRecord};
use crate::restart::{self, Accounting, Charge, Progress};

/// The durable state of a coordinator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Durable {
    /// The last reign that began.
    pub epoch: Epoch,
    pub jobs: BTreeMap<JobId, Job>,
    pub ledger: Ledger,
    /// What stands against nodes; those against which nothing does are not there.
    pub standings: BTreeMap<NodeId, Standing>,
    /// Jobs submitted so far, as far as the records tell.
    submitted: u64,
    /// Ended jobs by their end.
    ended: BTreeSet<(Timestamp, JobId)>,
    /// Those that say themselves how long they are kept, by when that is over.
    ended_until: BTreeSet<(Timestamp, JobId)>,
}

/// One job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub spec: JobSpec,
    pub owner: Owner,
    /// A client has to wait for it: see [`Input::Submit`](crate::Input::Submit).
    pub attached: bool,
    pub submitted_at: Timestamp,
    /// Place in the order of submission. Records of jobs that were forgotten may be gone at the next
    /// replay: then the numbers differ, and their order does not.
    pub order: u64,
    pub used: Accounting,
    pub suspended: bool,
    /// What was left of its deadline, and when that was told; `None`: all of it, when it began.
    pub deadline_left: Option<(Timestamp, Duration)>,
    /// It was active for as long as it may be: what runs is ended, and nothing follows.
    pub deadline_passed: bool,
    pub stop: Option<StopRequest>,
    /// The restart that led to the generation planned last, or will lead to the next.
    pub restarted: Option<Restarted>,
    /// Why it was, if something failed.
    pub failed: Option<Failed>,
    /// The generation planned last; over unless the state is Active.
    pub generation: Option<GenerationState>,
    /// Ranks of it ran, in whichever generation.
    pub ran: bool,
    /// Where the next generation goes only if nothing else is left: nodes that failures made it leave, until it did well.
    pub shun: BTreeSet<NodeId>,
    /// The node that its next generation is to replace: that counts once it does.
    pub replacing: Option<NodeId>,
    /// It left this node because its ranks failed there.
    pub suspect: Option<NodeId>,
    /// Nodes that cannot take a pod of it, and why: no generation goes there, until a restart is paid for
    /// because none was left.
    pub refused: BTreeMap<NodeId, String>,
    pub state: JobState,
    /// When it got nodes for the first time.
    pub began_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
}

/// Where a job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobState {
    /// Waits for nodes, or for the backoff to pass.
    Queued {
        not_before: Timestamp,
    },
    /// A generation has nodes and ports.
    Active,
    Ended(Outcome),
}

/// The user's wish to end a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopRequest {
    pub by: String,
    pub status: ExitStatus,
    pub force: bool,
    pub at: Timestamp,
}

/// How one generation made way for the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restarted {
    /// When its first cause arose; `None`: it ended well.
    pub failed_at: Option<Timestamp>,
    /// Nothing of it was left.
    pub ended_at: Timestamp,
    /// The next one waits for so long at least.
    pub delay: Duration,
}

/// One attempt to run the gang.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerationState {
    pub number: Generation,
    pub planned_at: Timestamp,
    /// In NODE_RANK order.
    pub pods: Vec<PodPlace>,
    /// Nodes that are held back for the job.
    pub spares: Vec<NodeId>,
    pub master_addr: IpAddr,
    pub master_port: u16,
    /// When Go may have been sent for the first time; `None`: it was not.
    pub released_at: Option<Timestamp>,
    pub running_since: Option<Timestamp>,
    /// Why it stops, if it does.
    pub stopping: Option<Evidence>,
    /// What else failed, as it was heard; at most [`MAX_ALSO`].
    pub also: Vec<Evidence>,
    /// What happened to its nodes around that.
    pub around: Vec<NodeNote>,
    /// Ranks that were started again in this generation, and how often.
    pub attempts: BTreeMap<Rank, u32>,
}

/// The ranks of a generation on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodPlace {
    pub node: NodeId,
    pub first_rank: Rank,
    pub ranks: u32,
    pub interface: Option<String>,
    pub probe_port: Option<u16>,
    pub binding: PodBinding,
    /// What it holds of the node beside devices; `None`: nobody had told what is in the node.
    pub held: Option<Held>,
}

impl PodPlace {
    /// The pod's ranks.
    pub fn ranks(&self) -> impl Iterator<Item = Rank> + use<> {
        (self.first_rank.0..self.first_rank.0 + self.ranks).map(Rank)
    }
}

impl Job {
    /// The generation that has nodes and ports, if one has.
    pub fn active(&self) -> Option<&GenerationState> {
        if self.state == JobState::Active { self.generation.as_ref() } else { None }
    }

    pub fn ended(&self) -> bool {
        matches!(self.state, JobState::Ended(_))
    }
}

impl GenerationState {
    /// Ranks of the whole gang.
    pub fn world(&self) -> u32 {
        self.pods.iter().fold(0, |sum, pod| sum.saturating_add(pod.ranks))
    }

    /// Its ranks may run.
    pub fn released(&self) -> bool {
        self.released_at.is_some()
    }

    /// How often this rank was started again in this generation.
    pub fn attempt(&self, rank: Rank) -> u32 {
        self.attempts.get(&rank).copied().unwrap_or(0)
    }

    pub fn place_on(&self, node: &NodeId) -> Option<&PodPlace> {
        self.pods.iter().find(|pod| pod.node == *node)
    }
}

impl Durable {
    /// The state these records lead to.
    pub fn replay<'a>(records: impl IntoIterator<Item = &'a Record>) -> Durable {
        let mut durable = Durable::default();
        for record in records {
            durable.apply(record);
        }
        durable
    }

    /// The one way in which durable state changes. Decides nothing; a record about a job or generation that
    /// does not exist changes nothing.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::EpochStarted { epoch } => self.epoch = *epoch,
            Record::JobSubmitted { job, at, spec, owner, unix_user, attached } => {
                let state = JobState::Queued { not_before: *at };
                let new = Job {
                    spec: spec.as_ref().into(),
                    owner: Owner { name: owner.clone(), unix_user: unix_user.clone() },
                    attached: *attached,
                    submitted_at: *at,
                    order: self.submitted,
                    used: Accounting::default(),
                    suspended: false,
                    deadline_left: None,
                    deadline_passed: false,
                    stop: None,
                    restarted: None,
                    failed: None,
                    generation: None,
                    ran: false,
                    shun: BTreeSet::new(),
                    replacing: None,
                    suspect: None,
                    refused: BTreeMap::new(),
                    state,
                    began_at: None,
                    ended_at: None,
                };
                self.submitted += 1;
                self.jobs.entry(job.clone()).or_insert(new);
            }
            Record::GenerationPlanned(record) => self.apply_planned(record),
            Record::Released { job, generation, at } => {
                self.on_generation(job, *generation, |state| state.released_at = Some(*at));
                if let Some(job) = self.jobs.get_mut(job) {
                    job.ran = true;
                }
            }
            Record::Running { job, generation, at } => {
                self.on_generation(job, *generation, |state| state.running_since = Some(*at));
            }
            Record::Stopping(record) => self.apply_stopping(record),
            Record::StopRequested { job, at, by, status, force } => {
                let Some(job) = self.jobs.get_mut(job) else { return };
                let first = job.stop.take();
                let request = StopRequest { by: by.clone(), status: *status, force: *force, at: *at };
                // The first wish names the job's end; a later one can only hasten it.
                let request =
                    first.map_or(request, |first| StopRequest { force: first.force || *force, ..first });
                let requested = Cause::Requested { by: request.by.clone(), status: request.status };
                let at = request.at;
                job.stop = Some(request);
                if let (JobState::Active, Some(state)) = (&job.state, &mut job.generation) {
                    state.stopping.get_or_insert_with(|| Evidence::new(requested, at));
                }
            }
            Record::Suspended { job } => self.set_suspended(job, true),
            Record::Resumed { job } => self.set_suspended(job, false),
            Record::GenerationEnded(record) => self.apply_ended(record),
            Record::RanksRestarted(record) => self.apply_restarted(record),
            Record::NodesAround { job, generation, notes } => {
                self.on_generation(job, *generation, |state| {
                    state.around = notes.iter().map(NodeNote::from).collect();
                });
            }
            Record::JobEnded { job: id, at, outcome } => {
                self.free_generation(id);
                if let Some(job) = self.jobs.get_mut(id) {
                    job.state = JobState::Ended(outcome.into());
                    job.suspended = false;
                    let kept = job.spec.lifetime.ttl_after_finished;
                    if let Some(before) = job.ended_at.replace(*at) {
                        self.ended.remove(&(before, id.clone()));
                        kept.map(|kept| self.ended_until.remove(&(before + kept, id.clone())));
                    }
                    self.ended.insert((*at, id.clone()));
                    kept.map(|kept| self.ended_until.insert((*at + kept, id.clone())));
                }
            }
            Record::JobAttached { job } => {
                if let Some(job) = self.jobs.get_mut(job) {
                    job.attached = true;
                }
            }
            Record::NodeRefused { job, node, why, .. } => {
                if let Some(job) = self.jobs.get_mut(job) {
                    job.refused.insert(node.clone(), why.clone());
                }
            }
            Record::DeadlineLeft { job, at, left } => {
                if let Some(job) = self.jobs.get_mut(job) {
                    job.deadline_left = Some((*at, *left));
                }
            }
            Record::DeadlinePassed { job } => {
                if let Some(job) = self.jobs.get_mut(job) {
                    job.deadline_passed = true;
                }
            }
            Record::NodeStands(record) if record.clears() => {
                self.standings.remove(&record.node);
            }
            Record::NodeStands(record) => {
                self.standings.insert(record.node.clone(), record.as_ref().into());
            }
            Record::JobForgotten { job: id } => {
                self.free_generation(id);
                let Some(job) = self.jobs.remove(id) else { return };
                if let Some(at) = job.ended_at {
                    self.ended.remove(&(at, id.clone()));
                    let kept = job.spec.lifetime.ttl_after_finished;
                    kept.map(|kept| self.ended_until.remove(&(at + kept, id.clone())));
                }
            }
        }
    }

    /// When the job ended that ended first, and which it is.
    pub fn ended_first(&self) -> Option<&(Timestamp, JobId)> {
        self.ended.first()
    }

    /// The first time at which a job is to be forgotten that says so itself, and which it is.
    pub fn kept_until(&self) -> Option<&(Timestamp, JobId)> {
        self.ended_until.first()
    }

    /// How many jobs have ended, and are not forgotten.
    pub fn ended_count(&self) -> usize {
        self.ended.len()
    }

    fn on_generation(
        &mut self,
        job: &JobId,
        generation: Generation,
        change: impl FnOnce(&mut GenerationState),
    ) {
        let state = self.jobs.get_mut(job).and_then(|job| job.generation.as_mut());
        if let Some(state) = state.filter(|state| state.number == generation) {
            change(state);
        }
    }

    fn set_suspended(&mut self, job: &JobId, suspended: bool) {
        if let Some(job) = self.jobs.get_mut(job) {
            job.suspended = suspended;
        }
    }

    fn apply_planned(&mut self, record: &GenerationRecord) {
        let Some(job) = self.jobs.get_mut(&record.job) else { return };
        if let Some(left) = job.replacing.take() {
            job.used.replacements += u32::from(record.pods.iter().all(|pod| pod.node != left));
        }
        let pods: Vec<PodPlace> = record
            .pods
            .iter()
            .map(|pod| PodPlace {
                node: pod.node.clone(),
                first_rank: pod.first_rank,
                ranks: pod.ranks,
                interface: pod.interface.clone(),
                probe_port: pod.probe_port,
                binding: (&pod.binding).into(),
                held: pod.held.as_ref().map(Held::from),
            })
            .collect();
        for pod in &pods {
            let share = PodShare {
                ranks: pod.ranks,
                binding: pod.binding.clone(),
                held: pod.held.clone(),
                exclusive: job.spec.placement.exclusive,
            };
            self.ledger.add_pod(&pod.node, &record.job, share);
            if let Some(port) = pod.probe_port {
                self.ledger.give_port(&pod.node, port, &record.job, record.generation);
            }
        }
        if let Some(first) = pods.first() {
            self.ledger.give_port(&first.node, record.master_port, &record.job, record.generation);
        }
        for node in &record.spares {
            self.ledger.add_pod(node, &record.job, PodShare::spare());
        }
        job.state = JobState::Active;
        job.began_at.get_or_insert(record.at);
        job.generation = Some(GenerationState {
            number: record.generation,
            planned_at: record.at,
            pods,
            spares: record.spares.clone(),
            master_addr: record.master_addr,
            master_port: record.master_port,
            released_at: None,
            running_since: None,
            stopping: None,
            also: Vec::new(),
            around: Vec::new(),
            attempts: BTreeMap::new(),
        });
    }

    fn apply_stopping(&mut self, record: &StoppingRecord) {
        let StoppingRecord { cause, at, port_conflict, consequence, .. } = record;
        let (at, port_conflict, consequence) = (*at, *port_conflict, *consequence);
        let evidence = Evidence { cause: cause.into(), at, port_conflict, consequence };
        self.on_generation(&record.job, record.generation, |state| {
            let mut all: Vec<Evidence> =
                state.stopping.take().into_iter().chain(state.also.drain(..)).collect();
            all.push(evidence);
            let first = first_of(&all).cloned();
            all.retain(|it| Some(it) != first.as_ref());
            all.truncate(MAX_ALSO);
            (state.stopping, state.also) = (first, all);
        });
    }

    fn apply_restarted(&mut self, record: &RestartedRecord) {
        self.on_generation(&record.job, record.generation, |state| {
            for rank in &record.ranks {
                *state.attempts.entry(*rank).or_default() += 1;
            }
        });
        let Some(job) = self.jobs.get_mut(&record.job) else { return };
        let window = restart::budget(&job.spec.recovery, record.step).window;
        job.used.count_in_place(record.step, window, record.at);
    }

    fn apply_ended(&mut self, record: &EndedRecord) {
        self.free_generation(&record.job);
        let Some(job) = self.jobs.get_mut(&record.job) else { return };
        job.used.count(record, job.spec.recovery.window);
        let stopping = job.generation.as_ref().and_then(|last| last.stopping.as_ref());
        job.restarted = Some(Restarted {
            failed_at: stopping.map(|evidence| evidence.at),
            ended_at: record.at,
            delay: record.delay,
        });
        job.failed = job.generation.as_ref().and_then(Failed::of);
        // Paid for: what a node could not do it may be able to by now.
        if !record.charge.free() && job.generation.as_ref().is_some_and(|last| !last.released()) {
            job.refused.clear();
        }
        // What is to be left stays so over generations that say nothing of the job.
        if record.charge.waits() || record.charge == Charge::Drained {
            job.suspect = suspected(job, record.shun.as_ref());
        }
        if record.progress == Progress::Long {
            job.shun.clear();
        }
        job.shun.extend(record.shun.clone());
        job.replacing = record.shun.clone().filter(|_| record.charge == Charge::Replacement);
        job.state = JobState::Queued { not_before: record.at + record.delay };
    }

    /// Gives back what the active generation of `job` holds.
    fn free_generation(&mut self, job: &JobId) {
        let Some(active) = self.jobs.get(job).and_then(Job::active) else { return };
        for pod in &active.pods {
            self.ledger.remove_pod(&pod.node, job);
            if let Some(port) = pod.probe_port {
                self.ledger.take_back_port(&pod.node, port);
            }
        }
        for node in &active.spares {
            self.ledger.remove_pod(node, job);
        }
        if let Some(first) = active.pods.first() {
            self.ledger.take_back_port(&first.node, active.master_port);
        }
    }
}
