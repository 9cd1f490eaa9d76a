//! The coordinator's state as people see it.

use std::collections::BTreeMap;

use phalanx_common::health::RankHealth;
use phalanx_common::id::JobId;
use phalanx_common::status::{
    EvidenceStatus, FailureStatus, JobStatus, NodeStatus, PodStatus, RestartStatus,
};
use phalanx_common::time::Timestamp;

use crate::coordinator::{Coordinator, JobView};
use crate::durable::{GenerationState, Job, JobState, Restarted};
use crate::evidence::{Evidence, Failed};
use crate::gang::{GangPhase, Pod, PodView};
use crate::input::Why;
use crate::nodes::LinkState;

/// Ranks of a job of which a status tells what they and their probes say.
const RANKS_TOLD: usize = 64;

impl Coordinator {
    /// Every job; those that ended only if `ended`. Oldest first.
    pub fn job_statuses(&self, ended: bool) -> Vec<JobStatus> {
        let mut jobs: Vec<_> = self.jobs().filter(|view| ended || !view.job.ended()).collect();
        jobs.sort_by_key(|view| view.job.order);
        jobs.iter().map(|view| self.job_status(view)).collect()
    }

    /// One job.
    pub fn job_status(&self, view: &JobView<'_>) -> JobStatus {
        let job = view.job;
        let generation = job.generation.as_ref();
        let outcome = match &job.state {
            JobState::Ended(outcome) => Some(outcome.clone()),
            _ => None,
        };
        let pods = generation.map_or(&[][..], |generation| &generation.pods);
        let mut words = RANKS_TOLD;
        let live =
            |node| view.gang.and_then(|gang| gang.pod(node)).filter(|pod| pod.view <= PodView::Started);
        // Before its program runs nobody asks whether a rank is ready.
        let runs = |node| live(node).filter(|pod| pod.view == PodView::Started);
        JobStatus {
            job: view.id.clone(),
            owner: job.owner.name.clone(),
            phase: word(view.phase).to_owned(),
            suspended: job.suspended,
            ranks: generation.map_or(job.spec.world_size(), GenerationState::world),
            generation: generation.map_or(0, |generation| generation.number.0),
            restarts: job.used.counted(job.spec.recovery.window, self.now),
            max_restarts: job.spec.max_restarts,
            rank_restarts: job.used.rank.restarts,
            pod_restarts: job.used.pod.restarts,
            restart: job.restarted.map(|restarted| restart(&restarted, job.active())),
            submitted_at: job.submitted_at,
            running_since: generation
                .filter(|_| !matches!(job.state, JobState::Queued { .. }))
                .and_then(|generation| generation.running_since),
            ended_at: job.ended_at,
            deadline_at: self.timers.at(&Why::Deadline { job: view.id.clone() }),
            waits_for: self.waits_for(view.id),
            outcome,
            pods: pods
                .iter()
                .map(|pod| PodStatus {
                    node: pod.node.clone(),
                    first_rank: pod.first_rank.0,
                    ranks: pod.ranks,
                    reachable: self.reachable(&pod.node),
                    given_up_at: self
                        .timers
                        .at(&Why::Unreachable { job: view.id.clone(), node: pod.node.clone() }),
                    ready: runs(&pod.node).map(|live| live.ranks - live.not_ready().count() as u32),
                    health: live(&pod.node).map(|live| worth_telling(live, &mut words)).unwrap_or_default(),
                })
                .collect(),
            command: job.spec.command.clone(),
            failed: failed(job),
        }
    }

    /// Why a queued job waits: for its turn, or for its backoff to pass.
    fn waits_for(&self, job: &JobId) -> Option<String> {
        let told = self.queued_why.get(job).map(ToString::to_string);
        told.or_else(|| {
            let left = self.timers.left(&Why::Backoff { job: job.clone() }, self.now)?;
            Some(format!("it starts again in {:.1} s", left.as_secs_f64()))
        })
    }

    /// Every node, by id. When its certificate expires only the shell knows.
    pub fn node_statuses(&self) -> Vec<NodeStatus> {
        let mut nodes: Vec<NodeStatus> = self
            .nodes
            .iter()
            .map(|(id, node)| {
                let facts = node.facts.as_ref();
                NodeStatus {
                    node: id.clone(),
                    reachable: node.reachable(),
                    unreachable_since: match node.link {
                        LinkState::Unreachable { since } => Some(since),
                        LinkState::Reachable => None,
                    },
                    host_name: facts.map(|facts| facts.host_name.clone()).unwrap_or_default(),
                    address: facts.map(|facts| facts.address),
                    cores: facts.map_or(0, |facts| facts.cores),
                    slots: facts.map_or(0, |facts| facts.slots),
                    slots_used: 0,
                    user: facts.and_then(|facts| facts.user.clone()),
                    version: facts.map(|facts| facts.version.clone()).unwrap_or_default(),
                    certificate_expires: None,
                    labels: BTreeMap::new(),
                    closed: node.closed.clone(),
                    draining: self.durable.standings.get(id).is_some_and(|standing| standing.drain.is_some()),
                    jobs: Vec::new(),
                }
            })
            .collect();
        for view in self.jobs() {
            for pod in view.job.active().map_or(&[][..], |generation| &generation.pods) {
                if let Ok(at) = nodes.binary_search_by(|node| node.node.cmp(&pod.node)) {
                    nodes[at].slots_used += pod.ranks;
                    nodes[at].jobs.push(view.id.clone());
                }
            }
        }
        nodes
    }
}

/// A restart by its phases, as far as it has come.
fn restart(restarted: &Restarted, next: Option<&GenerationState>) -> RestartStatus {
    let Restarted { failed_at, ended_at, delay } = *restarted;
    let ms = |from: Timestamp, to: Timestamp| u64::try_from(to.since(from).as_millis()).unwrap_or(u64::MAX);
    let planned = next.map(|next| next.planned_at);
    let released = next.and_then(|next| next.released_at);
    let running = next.and_then(|next| next.running_since);
    RestartStatus {
        at: failed_at.unwrap_or(ended_at),
        ending_ms: failed_at.map_or(0, |failed| ms(failed, ended_at)),
        backoff_ms: u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
        waited_ms: planned.map(|planned| ms(ended_at, planned)),
        prepared_ms: planned.zip(released).map(|(planned, released)| ms(planned, released)),
        ready_ms: released.zip(running).map(|(released, running)| ms(released, running)),
    }
}

/// What failed last: of the generation planned last, else of that before it.
fn failed(job: &Job) -> Option<FailureStatus> {
    let now = job.generation.as_ref().and_then(Failed::of);
    let Failed { generation, evidence, around } = now.or_else(|| job.failed.clone())?;
    let told = |it: Evidence| EvidenceStatus { at: it.at, cause: it.cause, consequence: it.consequence };
    Some(FailureStatus {
        generation: generation.0,
        evidence: evidence.into_iter().map(told).collect(),
        around,
    })
}

/// Ranks that are not ready, or say something of themselves.
fn worth_telling(pod: &Pod, left: &mut usize) -> Vec<RankHealth> {
    let said = pod.health.values().filter(|health| !pod.exits.contains_key(&health.rank));
    let told: Vec<RankHealth> =
        said.filter(|health| !health.ready || health.status.is_some()).take(*left).cloned().collect();
    *left -= told.len();
    told
}

fn word(phase: GangPhase) -> &'static str {
    match phase {
        GangPhase::Queued => "queued",
        GangPhase::Preparing => "preparing",
        GangPhase::Starting => "starting",
        GangPhase::Running => "running",
        GangPhase::Finishing => "finishing",
        GangPhase::Stopping => "stopping",
        GangPhase::Ended => "ended",
    }
}
