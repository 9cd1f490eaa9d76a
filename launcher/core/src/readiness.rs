//! Ranks that are ready, and ranks that are not: what keeps a gang from Running, and what is shown after that.

use phalanx_common::event::EventKind;
use phalanx_common::health::{Culprit, RankHealth};
use phalanx_common::id::{Generation, JobId, NodeId, Rank};

use crate::coordinator::Coordinator;
use crate::durable::Job;
use crate::gang::{GangPhase, PodView};
use crate::input::Why;
use crate::records::Record;

/// Culprits of a start deadline of which is told where they are and what kept them; the ranks of all are.
const CULPRITS: usize = 8;

impl Coordinator {
    /// How ranks of a pod stand.
    pub(crate) fn on_health(
        &mut self,
        node: &NodeId,
        job: &JobId,
        generation: Generation,
        ranks: Vec<RankHealth>,
    ) {
        let Some(pod) = self.live_pod(node, job, generation) else { return };
        if pod.view == PodView::Ended {
            return;
        }
        if let Some(stranger) = ranks.iter().find(|health| !pod.holds(health.rank)) {
            let what =
                format!("node {node} told of the health of rank {}, which it does not have", stranger.rank);
            return self.ignore(Some(job), what);
        }
        let was_ready = |rank| pod.health.get(&rank).is_some_and(|health| health.ready);
        let (ready, lost): (Vec<RankHealth>, Vec<RankHealth>) = ranks
            .iter()
            .filter(|health| health.ready != was_ready(health.rank))
            .cloned()
            .partition(|health| health.ready);
        self.change_pod(node, job, |pod| {
            pod.health.extend(ranks.into_iter().map(|health| (health.rank, health)));
        });
        let goes_on = matches!(self.phase(job), Some(GangPhase::Starting | GangPhase::Running));
        if !ready.is_empty() && goes_on {
            let ranks = ready.iter().map(|health| health.rank).collect();
            self.emit_for(job, EventKind::RanksReady { node: node.clone(), ranks });
        }
        for RankHealth { rank, waits, .. } in lost.into_iter().filter(|_| goes_on) {
            self.emit_for(job, EventKind::RankNotReady { node: node.clone(), rank, waits });
        }
        self.run_if_ready(job);
    }

    /// All ranks ready: Running. All ranks done as well: the pods' ends conclude it.
    pub(crate) fn run_if_ready(&mut self, job: &JobId) {
        let Some(state) = self.durable.jobs.get(job).and_then(Job::active) else { return };
        let Some(gang) = self.gangs.get_mut(job) else { return };
        if state.stopping.is_none() && state.released() && state.running_since.is_none() && gang.ready() {
            gang.running_since = Some(self.now);
            let generation = state.number;
            self.timers.cancel(&Why::Start { job: job.clone() });
            self.persist(Record::Running { job: job.clone(), generation, at: self.now });
            self.emit_for(job, EventKind::GangRunning);
        }
    }

    /// The ranks that keep a gang whose programs all run from Running.
    pub(crate) fn not_ready(&self, job: &JobId) -> Vec<Rank> {
        let Some(gang) = self.gangs.get(job) else { return Vec::new() };
        let mut ranks: Vec<Rank> = gang.pods().flat_map(|(_, pod)| pod.not_ready()).collect();
        ranks.sort();
        ranks
    }

    /// What is known of the first of these ranks.
    pub(crate) fn culprits(&self, job: &JobId, missing: &[Rank]) -> Vec<Culprit> {
        let Some(gang) = self.gangs.get(job) else { return Vec::new() };
        let culprit = |rank: &Rank| {
            let (node, pod) = gang.pods().find(|(_, pod)| pod.holds(*rank))?;
            let waits = pod.health.get(rank).and_then(|health| health.waits.clone());
            Some(Culprit { rank: *rank, node: node.clone(), waits })
        };
        missing.iter().take(CULPRITS).filter_map(culprit).collect()
    }
}
