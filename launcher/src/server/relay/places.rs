//! Where a job's output is, as the coordinator has placed it.

use std::collections::BTreeMap;
use std::ops::Range;

use phalanx_common::id::{JobId, NodeId};
use phalanx_common::wire::v1::LogRequest;
use tokio::sync::mpsc;

use crate::driver::{Message, look};

/// Which output is wanted.
pub(in crate::server) struct Wanted {
    pub(in crate::server) job: JobId,
    pub(in crate::server) generation: Option<u32>,
    pub(in crate::server) rank: Option<u32>,
    pub(in crate::server) follow: bool,
}

/// The ranks of each node in one generation.
pub(super) type Ranks = BTreeMap<NodeId, Range<u32>>;

/// What the coordinator knows of the job's output.
pub(super) struct Places {
    pub(super) request: LogRequest,
    /// The newest, and the ranks of those generations that were released and whose placement is known.
    pub(super) generation: u32,
    pub(super) placed: BTreeMap<u32, Ranks>,
    /// The generation that was placed last, until its ranks are released: there is nothing to ask for.
    pub(super) held: Option<(u32, Ranks)>,
    pub(super) ended: bool,
}

impl Places {
    /// As they are in this moment; `None` if the job is forgotten, or the coordinator ends.
    pub(super) async fn of(wanted: &Wanted, driver: &mpsc::Sender<Message>) -> Option<Places> {
        let Wanted { job, generation, rank, follow } = wanted;
        let (job, generation, rank, follow) = (job.clone(), *generation, *rank, *follow);
        look(driver, move |coordinator, _| {
            let view = coordinator.job(&job)?;
            let output = &view.job.spec.output;
            let request = LogRequest {
                job: job.to_string(),
                user: view.job.owner.unix_user.clone(),
                log_dir: output.log_dir.clone(),
                max_file_bytes: output.max_file_bytes,
                generation,
                rank,
                follow,
            };
            let current = view.job.generation.as_ref();
            let pods = current.map_or(&[][..], |current| &current.pods);
            let ranks = |first: u32, ranks: u32| first..first.saturating_add(ranks);
            let pods = pods.iter().map(|pod| (pod.node.clone(), ranks(pod.first_rank.0, pod.ranks)));
            let generation = current.map_or(0, |current| current.number.0);
            // Of a generation before it there is output where this one is, or nowhere that is known.
            let ran = view.job.ran;
            let held = Some((generation, pods.collect()));
            let placed = BTreeMap::new();
            let mut places = Places { request, generation, placed, held, ended: view.job.ended() };
            if ran {
                places.release();
            }
            Some(places)
        })
        .await?
    }

    /// The gang was placed: these nodes, with so many ranks each, in their order.
    pub(super) fn place(&mut self, generation: u32, nodes: Vec<NodeId>, ranks: &[u32]) {
        let mut first = 0u32;
        let mut next = |ranks: u32| {
            let begin = first;
            first = first.saturating_add(ranks);
            begin..first
        };
        let placed = nodes.into_iter().zip(ranks).map(|(node, ranks)| (node, next(*ranks))).collect();
        self.held = Some((generation, placed));
    }

    /// The ranks of the generation that was placed last run from here on; which that is, unless they did before.
    pub(super) fn release(&mut self) -> Option<u32> {
        let (generation, placed) = self.held.take()?;
        self.placed.insert(generation, placed);
        self.generation = self.generation.max(generation);
        Some(generation)
    }

    /// The nodes of a generation that have the wanted rank, or any, in the order of their ranks.
    pub(super) fn holders(&self, generation: u32, wanted: Option<u32>) -> Vec<NodeId> {
        let holds = |ranks: &Range<u32>| wanted.is_none_or(|rank| ranks.contains(&rank));
        let placed = self.placed.get(&generation).into_iter().flatten();
        let mut holders: Vec<(u32, &NodeId)> =
            placed.filter(|(_, ranks)| holds(ranks)).map(|(node, ranks)| (ranks.start, node)).collect();
        holders.sort_unstable();
        holders.into_iter().map(|(_, node)| node.clone()).collect()
    }

    /// Whether a rank is, or was, the node's, where that is known.
    pub(super) fn may_have(&self, node: &NodeId, generation: u32, rank: u32) -> bool {
        let placed = self.placed.get(&generation);
        placed.is_none_or(|placed| placed.get(node).is_some_and(|ranks| ranks.contains(&rank)))
    }
}
