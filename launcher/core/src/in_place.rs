//! Ranks that start again in their generation while the rest of their gang goes on.
//!
//! A rank that failed stays with its pod until it is told what follows: a restart, or the end of the generation. Each start
//! of a rank has a number, its attempt; what is told of an earlier one is old news.

use std::collections::BTreeMap;
use std::time::Duration;

use phalanx_common::event::EventKind;
use phalanx_common::id::{Generation, JobId, NodeId, Rank};
use phalanx_common::order::OrderKind;
use phalanx_common::report::PodStatus;
use phalanx_common::spec::RestartScope;

use crate::coordinator::Coordinator;
use crate::durable::Job;
use crate::evidence::Evidence;
use crate::gang::GangPhase;
use crate::records::{Record, RestartedRecord};
use crate::restart;

impl Coordinator {
    /// A rank of this pod failed: it, or all ranks of its pod, start again if the job wants that and may have it. False: what
    /// follows is the end of the generation.
    pub(crate) fn restart_in_place(
        &mut self,
        node: &NodeId,
        job: &JobId,
        rank: Rank,
        evidence: &Evidence,
    ) -> bool {
        if !matches!(self.phase(job), Some(GangPhase::Starting | GangPhase::Running))
            || evidence.port_conflict
        {
            return false;
        }
        let Some(state) = self.durable.jobs.get(job) else { return false };
        let Some(active) = state.active() else { return false };
        let Some(place) = active.place_on(node) else { return false };
        let decided = restart::decide_in_place(&state.spec, &state.used, &evidence.cause, self.now);
        let Some(restart::Again { step, delay }) = decided else { return false };
        let ranks = if step == RestartScope::Rank { vec![rank] } else { place.ranks().collect() };
        let generation = active.number;
        self.persist(Record::RanksRestarted(Box::new(RestartedRecord {
            job: job.clone(),
            generation,
            at: self.now,
            node: node.clone(),
            ranks: ranks.clone(),
            step,
            delay,
            cause: (&evidence.cause).into(),
        })));
        let Some(state) = self.durable.jobs.get(job) else { return false };
        let budget = restart::budget(&state.spec.recovery, step);
        let kind = EventKind::RanksRestarting {
            node: node.clone(),
            ranks: ranks.clone(),
            step,
            cause: evidence.cause.clone(),
            restart: state.used.step(step).counted(budget.window, self.now),
            max_restarts: budget.max.unwrap_or(state.spec.max_restarts),
            delay_ms: u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
        };
        self.emit_for(job, kind);
        self.order_restart(node, job, ranks, delay);
        true
    }

    /// Has these ranks started as the attempts that were decided.
    fn order_restart(&mut self, node: &NodeId, job: &JobId, ranks: Vec<Rank>, delay: Duration) {
        let grace = self.grace(job);
        let Some(active) = self.durable.jobs.get(job).and_then(Job::active) else { return };
        let generation = active.number;
        let attempts: Vec<(Rank, u32)> = ranks.into_iter().map(|rank| (rank, active.attempt(rank))).collect();
        self.change_pod(node, job, |pod| {
            for (rank, _) in &attempts {
                pod.exits.remove(rank);
                pod.health.remove(rank);
                pod.awaited.insert(*rank);
            }
        });
        let job = job.clone();
        self.send(node, OrderKind::Restart { job, generation, ranks: attempts, delay, grace });
    }

    /// Ranks whose order was lost with the connection, or is not carried out yet: the node tells of an earlier attempt than was
    /// decided.
    pub(crate) fn missed_restarts(&self, node: &NodeId, status: &PodStatus) -> Vec<Rank> {
        let active = self.durable.jobs.get(&status.job).and_then(Job::active);
        let Some((active, place)) = active.and_then(|active| Some((active, active.place_on(node)?))) else {
            return Vec::new();
        };
        let started = status.attempts.iter().copied();
        // One that could not be started again ended as that attempt.
        let told = started.chain(status.exits.iter().map(|exit| (exit.rank, exit.attempt)));
        let mut reached: BTreeMap<Rank, u32> = BTreeMap::new();
        for (rank, attempt) in told {
            let known = reached.entry(rank).or_default();
            *known = attempt.max(*known);
        }
        let missed = |rank: &Rank| active.attempt(*rank) > reached.get(rank).copied().unwrap_or(0);
        place.ranks().filter(missed).collect()
    }

    /// Gives that order again; the node does what is new of it.
    pub(crate) fn restart_again(&mut self, node: &NodeId, job: &JobId, ranks: Vec<Rank>) {
        self.order_restart(node, job, ranks, Duration::ZERO);
    }

    pub(crate) fn on_restarted(
        &mut self,
        node: &NodeId,
        job: &JobId,
        generation: Generation,
        (rank, attempt, pid): (Rank, u32, u32),
    ) {
        let Some(pod) = self.live_pod(node, job, generation) else { return };
        if !pod.holds(rank) {
            let what = format!("node {node} started rank {rank} again, which it does not have");
            return self.ignore(Some(job), what);
        }
        let Some(active) = self.durable.jobs.get(job).and_then(Job::active) else { return };
        if active.attempt(rank) != attempt {
            return;
        }
        let awaited = self.change_pod(node, job, |pod| pod.awaited.remove(&rank));
        if awaited == Some(true) {
            self.emit_for(job, EventKind::RankRestarted { node: node.clone(), rank, attempt, pid });
            self.run_if_ready(job);
        }
    }
}
