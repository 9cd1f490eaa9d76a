//! Jobs that wait, and how the next generation of a job is planned.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use phalanx_common::event::EventKind;
use phalanx_common::id::{Generation, JobId, NodeId, Rank};
use phalanx_common::identity::Owner;
use phalanx_common::order::OrderKind;
use phalanx_common::plan::{PlanBody, PodPlan};
use phalanx_common::spec::JobSpec;

use crate::coordinator::Coordinator;
use crate::durable::{GenerationState, Job, JobState, PodPlace};
use crate::gang::Gang;
use crate::input::Why;
use crate::ledger::Ledger;
use crate::meeting::meet;
use crate::nodes::{LinkState, NodeFacts};
use crate::placement::explain::never_fits;
use crate::placement::order::Effort;
use crate::placement::refusal::NoFit;
use crate::placement::request::GangRequest;
use crate::placement::{PlacedPod, Placement, place};
use crate::records::{GenerationRecord, PodRecord, Record};
use crate::waits::Waits;

/// What was found of the first job of the queue.
#[derive(Debug)]
pub(crate) struct Stuck {
    /// The job, what was learnt so far, and how many nodes refused it.
    key: (JobId, u64, usize),
    never: bool,
}

impl Coordinator {
    pub(crate) fn on_submit(&mut self, job: JobId, spec: &JobSpec, owner: Owner, attached: bool) {
        if self.durable.jobs.contains_key(&job) {
            return self.ignore(Some(&job), format!("job {job} was submitted before"));
        }
        let ranks = spec.world_size();
        if ranks == 0 || ranks == u32::MAX {
            return self.ignore(Some(&job), format!("job {job} has no ranks, or too many to count"));
        }
        if spec.command.is_empty() {
            return self.ignore(Some(&job), format!("job {job} has no command"));
        }
        self.persist(Record::JobSubmitted {
            job: job.clone(),
            at: self.now,
            spec: Box::new(spec.into()),
            owner: owner.name,
            unix_user: owner.unix_user,
            attached,
        });
        if attached {
            self.waiting.insert(job.clone(), 1);
        }
        self.emit(Some(&job), None, EventKind::JobSubmitted { ranks });
        if spec.lifetime.suspend {
            self.on_suspend(&job);
        }
        self.queue_moved = true;
    }

    /// Gives nodes to the queued jobs in the order of their submission. The first that does not fit, or whose
    /// backoff has not passed, holds up all behind it: a large gang is not starved by small ones. Behind one whose backoff has
    /// not passed a gang that starts again gets back what it had, of which nothing was the other's.
    pub(crate) fn run_queue(&mut self) {
        if !std::mem::take(&mut self.queue_moved) {
            return;
        }
        let mut queued: Vec<(u64, JobId)> = self
            .durable
            .jobs
            .iter()
            .filter(|(_, job)| matches!(job.state, JobState::Queued { .. }) && !job.suspended)
            .map(|(id, job)| (job.order, id.clone()))
            .collect();
        queued.sort();
        // The first that waits for room, and whether it will ever have it.
        let mut head: Option<(JobId, bool)> = None;
        // It waits for nothing but time.
        let mut rests = false;
        for (_, id) in queued {
            let in_backoff = self.timers.is_set(&Why::Backoff { job: id.clone() });
            if let Some((head, never)) = &head {
                let placement = if rests && !in_backoff { self.what_it_had(&id) } else { None };
                match placement {
                    Some(placement) => {
                        self.queued_why.remove(&id);
                        self.plan_generation(&id, &placement);
                    }
                    None => self.queued_for(&id, Waits::Behind { head: head.clone(), never: *never }),
                }
            } else if in_backoff {
                (head, rests) = (Some((id, false)), true);
            } else {
                match self.try_place(&id) {
                    Some(Ok(placement)) if let Some(waits) = self.holds_back(&id, &placement) => {
                        self.queued_for(&id, waits);
                        head = Some((id, false));
                    }
                    Some(Ok(placement)) => {
                        self.queued_why.remove(&id);
                        self.plan_generation(&id, &placement);
                    }
                    Some(Err(no_fit)) => {
                        let never = self.config.cluster && self.is_stuck(&id);
                        self.queued_for(&id, Waits::Room { no_fit, never });
                        head = Some((id, never));
                    }
                    None => {}
                }
            }
        }
    }

    /// Says why a job waits, once for each reason.
    fn queued_for(&mut self, id: &JobId, waits: Waits) {
        let before = self.queued_why.get(id);
        if before == Some(&waits) {
            return;
        }
        let (why, told) = (waits.to_string(), before.map(ToString::to_string));
        self.queued_why.insert(id.clone(), waits);
        if told.as_ref() != Some(&why) {
            self.emit(Some(id), None, EventKind::JobQueued { why });
        }
    }

    /// Whether a job that does not fit would not fit on an empty cluster either. Looked at again when something was learnt of the
    /// nodes, not when jobs come and go.
    fn is_stuck(&mut self, id: &JobId) -> bool {
        let Some(job) = self.durable.jobs.get(id) else { return false };
        let key = (id.clone(), self.learnt, job.refused.len());
        if let Some(stuck) = self.stuck.as_ref().filter(|stuck| stuck.key == key) {
            return stuck.never;
        }
        let never = never_fits(&self.stock, &self.request(job, &[]));
        self.stuck = Some(Stuck { key, never });
        never
    }

    /// A placement on the nodes that the job's last generation had, as many ranks on each.
    fn what_it_had(&mut self, id: &JobId) -> Option<Placement> {
        let last: BTreeMap<NodeId, u32> = last_pods(self.durable.jobs.get(id)?).into_iter().collect();
        // There may be many that never had any.
        let placement = if last.is_empty() { None } else { self.try_place(id) }?.ok()?;
        let same = placement.pods.iter().all(|pod| last.get(&pod.node) == Some(&pod.ranks));
        (same && placement.pods.len() == last.len()).then_some(placement)
    }

    fn try_place(&mut self, id: &JobId) -> Option<Result<Placement, Box<NoFit>>> {
        if !self.stock.is_fresh() {
            Arc::make_mut(&mut self.stock).refresh(&self.nodes, &self.durable.ledger);
        }
        let job = self.durable.jobs.get(id)?;
        let last = last_pods(job);
        let request = self.request(job, &last);
        Some(place(&self.nodes, &self.durable.ledger, &self.stock, &request, &Effort::default()))
    }

    pub(crate) fn request<'a>(&self, job: &'a Job, last: &'a [(NodeId, u32)]) -> GangRequest<'a> {
        GangRequest {
            spec: &job.spec,
            user: job.owner.unix_user.as_deref(),
            probes: self.config.cluster,
            last,
            spares: job.generation.as_ref().map_or(&[], |generation| &generation.spares),
            shun: &job.shun,
            refused: &job.refused,
            now: self.now,
            port_salt: self.config.port_salt,
        }
    }

    /// Whether the nodes that did not refuse the job could hold it, if no other job were there. `away`: those
    /// that cannot be reached at the moment as well.
    pub(crate) fn elsewhere(&self, job: &Job, away: bool) -> bool {
        let nodes = self.nodes.iter().filter(|(id, _)| !job.refused.contains_key(*id)).map(|(id, node)| {
            let mut node = node.clone();
            if away {
                node.link = LinkState::Reachable;
            }
            (id.clone(), node)
        });
        let nodes = nodes.collect();
        let stock = self.stock.emptied(&nodes);
        // Whether it fits is asked, not how well.
        let effort = Effort { proposals: 0, search_nodes: 0, exact: false, ..Effort::default() };
        place(&nodes, &Ledger::default(), &stock, &self.request(job, &[]), &effort).is_ok()
    }

    fn plan_generation(&mut self, id: &JobId, placement: &Placement) {
        let Some(job) = self.durable.jobs.get(id) else { return };
        let facts = |pod: &PlacedPod| self.nodes.get(&pod.node).and_then(|node| node.facts.as_ref());
        let facts: Vec<&NodeFacts> = placement.pods.iter().filter_map(facts).collect();
        let Some(meeting) = meet(&facts) else { return };
        let generation = job.generation.as_ref().map_or(Generation(1), |last| last.number.next());
        let mut first_rank = 0;
        let pods: Vec<PodRecord> = placement
            .pods
            .iter()
            .zip(meeting.interfaces)
            .map(|(pod, interface)| {
                let record = PodRecord {
                    node: pod.node.clone(),
                    first_rank: Rank(first_rank),
                    ranks: pod.ranks,
                    interface,
                    probe_port: pod.probe_port,
                    binding: (&pod.binding).into(),
                    held: pod.held.as_ref().map(Into::into),
                };
                first_rank += pod.ranks;
                record
            })
            .collect();
        let nodes: Vec<NodeId> = placement.pods.iter().map(|pod| pod.node.clone()).collect();
        let placed: BTreeSet<&NodeId> = nodes.iter().collect();
        let left: Vec<NodeId> =
            last_pods(job).into_iter().map(|(node, _)| node).filter(|node| !placed.contains(node)).collect();
        let (timeout, lease) = (job.spec.start_timeout, job.spec.lease);
        self.persist(Record::GenerationPlanned(Box::new(GenerationRecord {
            job: id.clone(),
            generation,
            at: self.now,
            pods,
            spares: placement.spares.clone(),
            master_addr: meeting.master_addr,
            master_port: placement.master_port,
        })));
        self.emit_for(
            id,
            EventKind::GangPlaced {
                nodes: nodes.clone(),
                ranks: placement.pods.iter().map(|pod| pod.ranks).collect(),
                master_port: placement.master_port,
            },
        );
        if let Some(job) = self.durable.jobs.get(id)
            && let Some(state) = job.active()
        {
            self.gangs.insert(id.clone(), Gang::new(state, job.spec.gate()));
        }
        self.timers.set(Why::Start { job: id.clone() }, self.now + timeout);
        self.wait_deadline(id);
        self.renew_by(lease);
        for node in &nodes {
            self.send_prepare(id, node);
        }
        for node in left {
            self.send(&node, OrderKind::Forget { job: id.clone(), failed: true });
        }
    }

    pub(crate) fn send_prepare(&mut self, id: &JobId, node: &NodeId) {
        let Some(job) = self.durable.jobs.get(id) else { return };
        let (Some(state), Some(pod)) = (job.active(), self.pod(node, id)) else { return };
        if let Some(plan) = pod_plan(id, job, state, pod.node_rank, self.config.cluster) {
            self.send(node, OrderKind::Prepare(Box::new(plan)));
        }
    }

    /// Begins the wait before the next generation; over at once if it is zero.
    pub(crate) fn wait_backoff(&mut self, id: &JobId, delay: Duration) {
        let Some(job) = self.durable.jobs.get(id) else { return };
        let suspended = job.suspended;
        // A record's time may be far off if the clock jumped while no coordinator was there.
        let delay = delay.min(job.spec.recovery.backoff.max);
        if delay.is_zero() {
            self.queue_moved = true;
        } else {
            self.timers.set_unless_frozen(Why::Backoff { job: id.clone() }, self.now, delay, suspended);
        }
    }
}

/// The nodes of the generation planned last, with their ranks, in NODE_RANK order.
fn last_pods(job: &Job) -> Vec<(NodeId, u32)> {
    let pods = job.generation.as_ref().map_or(&[][..], |generation| &generation.pods);
    pods.iter().map(|place| (place.node.clone(), place.ranks)).collect()
}

/// The plan of this pod of `state`: what was decided, put together the same way every time.
pub(crate) fn pod_plan(
    id: &JobId,
    job: &Job,
    state: &GenerationState,
    node_rank: u32,
    cluster: bool,
) -> Option<PodPlan> {
    let place: &PodPlace = state.pods.get(node_rank as usize)?;
    let spec = &job.spec;
    Some(PodPlan {
        job: id.clone(),
        generation: state.number,
        body: PlanBody {
            name: spec.name.clone(),
            user: job.owner.unix_user.clone(),
            world_size: state.world(),
            nodes: u32::try_from(state.pods.len()).unwrap_or(u32::MAX),
            command: spec.command.clone(),
            working_dir: spec.working_dir.clone(),
            env: spec.env.clone(),
            secrets: spec.secrets.iter().cloned().collect(),
            virtual_env: spec.virtual_env.clone(),
            ship: spec.ship.clone(),
            master_addr: state.master_addr,
            master_port: state.master_port,
            interface: place.interface.clone(),
            restart_count: job.used.starts(),
            max_restarts: spec.max_restarts,
            termination_grace: spec.termination_grace,
            stop_scope: spec.stop_scope,
            keep: spec.keep,
            log_dir: spec.output.log_dir.clone(),
            max_file_bytes: spec.output.max_file_bytes,
            keep_files: spec.output.keep_files,
            lease: cluster.then_some(spec.lease),
            probes: spec.probes.clone(),
            lifecycle: spec.lifecycle.clone(),
            in_place: spec.recovery.in_place(),
            memory_limit: spec.resources.memory_limit,
        },
        node_rank,
        first_rank: place.first_rank,
        local_ranks: place.ranks,
        probe_port: place.probe_port,
        binding: place.binding.clone(),
    })
}
