//! A gang: all pods of one generation of a job, as the coordinator sees them.
//!
//! ```text
//!            place             all Prepared,            all Started
//!                              all reachable           all ready
//!   Queued ---------> Preparing ---------> Starting ---------> Running
//!     ^                   |     (Released      |                  |
//!     |                   |      persisted     |                  | every rank
//!     |                   |      before Go)    |                  | ended with 0
//!     |                   v                    v                  v
//!     |  restart      +---------------------------+           Finishing
//!     +-------------- |         Stopping          |               |
//!   after the backoff |  Stop sent, cause named   |               |
//!                     +---------------------------+               |
//!                         | every pod ended       every pod ended |
//!                         | or given up           or given up     |
//!                         v                                       v
//!                       Ended <-----------------------------------+
//! ```
//!
//! The phase is not stored: it follows from the job's durable state and from what is known of its pods.

use std::collections::{BTreeMap, BTreeSet};

use phalanx_common::exit::ExitStatus;
use phalanx_common::health::RankHealth;
use phalanx_common::id::{NodeId, Rank};
use phalanx_common::time::Timestamp;

use crate::durable::{GenerationState, Job, JobState};

/// Where a job stands, see the module's diagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GangPhase {
    Queued,
    Preparing,
    Starting,
    Running,
    /// Every rank ended with 0; the pods have not all said that nothing is left of them.
    Finishing,
    Stopping,
    Ended,
}

impl GangPhase {
    /// The phase of `job`, whose live generation is `gang`.
    pub fn of(job: &Job, gang: Option<&Gang>) -> GangPhase {
        let generation = match (&job.state, &job.generation) {
            (JobState::Ended(_), _) => return GangPhase::Ended,
            (JobState::Queued { .. }, _) | (JobState::Active, None) => return GangPhase::Queued,
            (JobState::Active, Some(generation)) => generation,
        };
        if generation.stopping.is_some() {
            GangPhase::Stopping
        } else if gang.is_some_and(Gang::finished) {
            GangPhase::Finishing
        } else if generation.running_since.is_some() {
            GangPhase::Running
        } else if generation.released() {
            GangPhase::Starting
        } else {
            GangPhase::Preparing
        }
    }
}

/// What the coordinator learnt of a live generation from its nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gang {
    pods: BTreeMap<NodeId, Pod>,
    tally: Tally,
    /// When it became Running, on today's clock (a clock jump moves it; the record stays).
    pub(crate) running_since: Option<Timestamp>,
}

/// How many pods have come how far. Kept as pods change: what a report of one pod costs does not grow
/// with the gang.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    prepared: usize,
    ready: usize,
    finished: usize,
    over: usize,
}

/// What the coordinator learnt of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its place among the pods of the generation.
    pub(crate) node_rank: u32,
    pub(crate) first_rank: Rank,
    /// How many ranks it has.
    pub ranks: u32,
    pub view: PodView,
    pub exits: BTreeMap<Rank, RankEnd>,
    /// How its ranks stand, as far as they or their probes said anything.
    pub health: BTreeMap<Rank, RankHealth>,
    /// Ranks that are to start again, and have not said that they did.
    pub(crate) awaited: BTreeSet<Rank>,
    /// A rank that runs is ready only when a probe says so.
    gated: bool,
    /// Version of the Python it found, if it looked.
    pub(crate) interpreter: Option<String>,
    /// It said NotPrepared.
    pub(crate) refused: bool,
}

/// How a rank ended, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RankEnd {
    pub status: ExitStatus,
    pub at: Timestamp,
    /// A stop order had reached its pod.
    pub after_stop: bool,
}

impl RankEnd {
    /// When it ended with 0, by itself.
    pub fn well_at(&self) -> Option<Timestamp> {
        (self.status.success() && !self.after_stop).then_some(self.at)
    }
}

/// How far a pod is known to have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PodView {
    /// Prepare was sent, or this coordinator has not heard of the pod yet.
    Preparing,
    Prepared,
    Started,
    /// Nothing of it is left.
    Ended,
    /// Its node cannot be reached: it ends by its lease, nobody waits for it.
    Abandoned,
}

impl Gang {
    /// `gated`: the job has probes that say whether a rank is ready.
    pub(crate) fn new(generation: &GenerationState, gated: bool) -> Gang {
        let mut tally = Tally::default();
        let pods = (0..).zip(&generation.pods).map(|(node_rank, place)| {
            let pod = Pod {
                node_rank,
                first_rank: place.first_rank,
                ranks: place.ranks,
                view: PodView::Preparing,
                exits: BTreeMap::new(),
                health: BTreeMap::new(),
                awaited: BTreeSet::new(),
                gated,
                interpreter: None,
                refused: false,
            };
            tally.count(&pod, |count| *count += 1);
            (place.node.clone(), pod)
        });
        Gang { pods: pods.collect(), tally, running_since: generation.running_since }
    }

    /// Every pod, by node.
    pub fn pods(&self) -> impl Iterator<Item = (&NodeId, &Pod)> {
        self.pods.iter()
    }

    /// The pod on this node.
    pub fn pod(&self, node: &NodeId) -> Option<&Pod> {
        self.pods.get(node)
    }

    /// The one way in which a pod changes. `None`: this node has none.
    pub(crate) fn change<T>(&mut self, node: &NodeId, change: impl FnOnce(&mut Pod) -> T) -> Option<T> {
        let pod = self.pods.get_mut(node)?;
        self.tally.count(pod, |count| *count -= 1);
        let changed = change(pod);
        self.tally.count(pod, |count| *count += 1);
        Some(changed)
    }

    /// Every pod is prepared, and none has started.
    pub fn prepared(&self) -> bool {
        self.tally.prepared == self.pods.len()
    }

    /// Every rank is ready, or has ended with 0.
    pub fn ready(&self) -> bool {
        self.tally.ready == self.pods.len()
    }

    /// Every rank ended with 0.
    pub fn finished(&self) -> bool {
        self.tally.finished == self.pods.len()
    }

    /// Every rank had ended with 0 by then, by itself.
    pub(crate) fn finished_by(&self, at: Timestamp) -> bool {
        let well = |end: &RankEnd| end.well_at().is_some_and(|ended| ended <= at);
        self.finished() && self.pods.values().flat_map(|pod| pod.exits.values()).all(well)
    }

    /// Every pod ended or was given up.
    pub fn over(&self) -> bool {
        self.tally.over == self.pods.len()
    }
}

impl Tally {
    /// Changes every count that this pod is a part of.
    fn count(&mut self, pod: &Pod, change: impl Fn(&mut usize)) {
        let finished = pod.finished();
        let parts = [
            (pod.view == PodView::Prepared, &mut self.prepared),
            (pod.ready() || finished, &mut self.ready),
            (finished, &mut self.finished),
            (pod.over(), &mut self.over),
        ];
        parts.into_iter().filter(|(counts, _)| *counts).for_each(|(_, count)| change(count));
    }
}

impl Pod {
    /// Whether this rank is one of the pod's.
    pub(crate) fn holds(&self, rank: Rank) -> bool {
        (self.first_rank.0..self.first_rank.0 + self.ranks).contains(&rank.0)
    }

    /// Its programs run, and each of its ranks is ready or has ended with 0.
    pub fn ready(&self) -> bool {
        self.view == PodView::Started && self.not_ready().next().is_none()
    }

    /// Ranks that their probes do not find ready, or that are to start again, and that did not end with 0.
    pub fn not_ready(&self) -> impl Iterator<Item = Rank> {
        let ranks = (self.first_rank.0..self.first_rank.0 + self.ranks).map(Rank);
        let done = |rank: &Rank| self.exits.get(rank).is_some_and(|end| end.status.success());
        let ready = |rank: &Rank| self.health.get(rank).is_some_and(|health| health.ready);
        ranks.filter(move |rank| self.awaited.contains(rank) || (self.gated && !ready(rank) && !done(rank)))
    }

    /// Every rank ended with 0.
    pub fn finished(&self) -> bool {
        self.exits.len() == self.ranks as usize && self.exits.values().all(|end| end.status.success())
    }

    /// Nobody waits for it any more.
    pub fn over(&self) -> bool {
        self.view >= PodView::Ended
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use phalanx_common::id::Generation;

    use super::*;
    use crate::durable::PodPlace;

    const VIEWS: [PodView; 5] =
        [PodView::Preparing, PodView::Prepared, PodView::Started, PodView::Ended, PodView::Abandoned];

    fn gang(nodes: u32, gated: bool) -> Gang {
        let place = |node: u32| PodPlace {
            node: NodeId::new(format!("n{node}")),
            first_rank: Rank(node),
            ranks: 1,
            interface: None,
            probe_port: None,
            binding: Default::default(),
            held: None,
        };
        let generation = GenerationState {
            number: Generation(1),
            planned_at: Timestamp(0),
            pods: (0..nodes).map(place).collect(),
            spares: Vec::new(),
            master_addr: Ipv4Addr::LOCALHOST.into(),
            master_port: 1,
            released_at: None,
            running_since: None,
            stopping: None,
            also: Vec::new(),
            around: Vec::new(),
            attempts: BTreeMap::new(),
        };
        Gang::new(&generation, gated)
    }

    #[test]
    fn the_counts_say_what_the_pods_say_whatever_they_were_before() {
        let exits = [None, Some(ExitStatus::Code(0)), Some(ExitStatus::Code(1))];
        let healths = [None, Some(false), Some(true)];
        let states: Vec<_> = VIEWS
            .iter()
            .flat_map(|view| exits.map(|exit| healths.map(|ready| (*view, exit, ready))))
            .flatten()
            .collect();
        for gated in [false, true] {
            let mut gang = gang(2, gated);
            for first in &states {
                for second in &states {
                    for (node, (view, exit, ready)) in [("n0", first), ("n1", second)] {
                        let change = |pod: &mut Pod| {
                            pod.view = *view;
                            let ended = |status: &ExitStatus| RankEnd {
                                status: *status,
                                at: Timestamp(0),
                                after_stop: false,
                            };
                            pod.exits = exit.iter().map(|exit| (pod.first_rank, ended(exit))).collect();
                            pod.health = health(pod.first_rank, *ready);
                        };
                        gang.change(&NodeId::new(node), change).unwrap();
                    }
                    let all = |holds: fn(&Pod) -> bool| gang.pods().all(|(_, pod)| holds(pod));
                    assert_eq!(gang.prepared(), all(|pod| pod.view == PodView::Prepared));
                    let ready = |pod: &Pod| {
                        let said = pod.health.values().all(|health| health.ready) && !pod.health.is_empty();
                        let done = pod.exits.values().any(|end| end.status.success());
                        (pod.view == PodView::Started && (!pod.gated || said || done)) || pod.finished()
                    };
                    assert_eq!(gang.ready(), gang.pods().all(|(_, pod)| ready(pod)));
                    assert_eq!(gang.finished(), all(Pod::finished));
                    assert_eq!(gang.over(), all(Pod::over));
                }
            }
        }
        assert_eq!(gang(2, false).change(&NodeId::new("n2"), |_| ()), None);
    }

    fn health(rank: Rank, ready: Option<bool>) -> BTreeMap<Rank, RankHealth> {
        let health = ready.map(|ready| (rank, RankHealth { rank, ready, waits: None, status: None }));
        health.into_iter().collect()
    }
}
