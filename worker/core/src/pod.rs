//! One pod on this node: the generation it has, the one that waits behind it, and its shim.
//!
//! ```text
//! generation:  Preparing -> Prepared -> Releasing -> Started -> Stopping -> Ended -> (Prepare of the next)
//! shim:        Absent -> Spawning -> Up -> Absent          Up or Spawning -> Sweeping -> Absent
//!              Leaving -> Absent (of a job that was here before, whose shim is not gone yet)
//! ```
//!
//! A newer generation never begins before nothing is left of the older one.

use std::collections::BTreeMap;

use phalanx_common::defaults;
use phalanx_common::health::{self, RankHealth};
use phalanx_common::id::{Generation, Rank};
use phalanx_common::plan::PodPlan;
use phalanx_common::report::{PodEnd, PodPhase, PodStatus, PrepareFailure, RankExit};

/// Bytes of output that a Hello repeats for all exits together: half a frame, the rest is for what else it tells.
const HELLO_TAILS: usize = defaults::FRAME_CAP / 2;
/// Bytes of what ranks and their probes said that a Hello repeats.
const HELLO_HEALTH: usize = defaults::FRAME_CAP / 8;
/// What its probe said, and what it says of itself.
const WORDS_PER_RANK: usize = 2;
/// Standard error, standard output and the error file.
const TAILS_PER_EXIT: usize = 3;

/// How the pods of a node stand. Their exits are told again with as much of their tails as fits one frame
/// together.
pub(crate) fn told<'a>(pods: impl Iterator<Item = &'a Pod>) -> Vec<PodStatus> {
    let mut told: Vec<PodStatus> = pods.map(Pod::status).collect();
    let exits = told.iter().map(|pod| pod.exits.len()).sum::<usize>();
    let share = HELLO_TAILS / exits.max(1) / TAILS_PER_EXIT;
    for exit in told.iter_mut().flat_map(|pod| &mut pod.exits) {
        keep_last(&mut exit.stderr_tail, share);
        keep_last(&mut exit.stdout_tail, share);
        // Half a JSON document says nothing.
        exit.error_file = exit.error_file.take().filter(|file| file.len() <= share);
    }
    let healths = told.iter().map(|pod| pod.health.len()).sum::<usize>();
    let share = HELLO_HEALTH / healths.max(1) / WORDS_PER_RANK;
    for health in told.iter_mut().flat_map(|pod| &mut pod.health) {
        let words = [health.waits.as_mut().map(|waits| &mut waits.message), health.status.as_mut()];
        words.into_iter().flatten().for_each(|word| *word = health::last_of(word, share).to_owned());
    }
    told
}

fn keep_last(bytes: &mut Vec<u8>, most: usize) {
    bytes.drain(..bytes.len().saturating_sub(most));
}

/// A pod, remembered until Forget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) plan: Box<PodPlan>,
    pub(crate) phase: PodPhase,
    pub(crate) shim: ShimState,
    pub(crate) not_prepared: Option<PrepareFailure>,
    pub(crate) interpreter: Option<String>,
    pub(crate) suspended: bool,
    pub(crate) exits: Vec<RankExit>,
    pub(crate) pids: Vec<u32>,
    /// Ranks that were to start again, and the attempt that was ordered last.
    pub(crate) attempts: BTreeMap<Rank, u32>,
    /// Ranks that did, and the attempt that was started last.
    pub(crate) reached: BTreeMap<Rank, u32>,
    /// How its ranks stand, as far as the shim said.
    pub(crate) health: BTreeMap<Rank, RankHealth>,
    pub(crate) end: Option<PodEnd>,
    /// What comes once nothing is left of this generation.
    pub(crate) next: Option<Next>,
    /// The job is over here: goes away with the end of this generation. Says whether the job failed.
    pub(crate) forget: Option<bool>,
}

/// A generation that waits for the end of the one before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Next {
    pub(crate) plan: Box<PodPlan>,
    /// It was stopped before it began: it ends with the one before it.
    pub(crate) stopped: bool,
}

/// How the shim stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShimState {
    Absent,
    Spawning,
    Up,
    /// It died; the shell kills what is left of its tree.
    Sweeping,
    /// That of the job's pod before this one was told to exit: two shims would meet in one directory.
    Leaving,
}

impl Pod {
    /// Whether this rank is one of the pod's.
    pub(crate) fn holds(&self, rank: Rank) -> bool {
        self.plan.ranks().any(|own| own == rank)
    }

    /// A rank ended; false if it is none of the pod's, had ended before, or was not to start as often as it says. One that could
    /// not be started again ends as the attempt that it did not get to.
    pub(crate) fn exited(&mut self, exit: &RankExit) -> bool {
        let ordered = self.attempts.get(&exit.rank).copied().unwrap_or(0);
        let known = self.exits.iter().any(|known| known.rank == exit.rank && known.attempt >= exit.attempt);
        let new = self.holds(exit.rank) && exit.attempt <= ordered && !known;
        if new {
            self.exits.retain(|known| known.rank != exit.rank);
            self.exits.push(exit.clone());
        }
        new
    }

    /// A rank was started again, as it was ordered; false if it was not.
    pub(crate) fn restarted(&mut self, rank: Rank, attempt: u32, pid: u32) -> bool {
        let ordered = self.attempts.get(&rank) == Some(&attempt);
        if ordered {
            self.exits.retain(|exit| exit.rank != rank || exit.attempt >= attempt);
            self.health.remove(&rank);
            self.reached.insert(rank, attempt);
            let index = rank.0.checked_sub(self.plan.first_rank.0);
            let place = index.and_then(|index| self.pids.get_mut(index as usize));
            place.into_iter().for_each(|place| *place = pid);
        }
        ordered
    }

    pub(crate) fn new(plan: Box<PodPlan>) -> Pod {
        Pod {
            plan,
            phase: PodPhase::Preparing,
            shim: ShimState::Absent,
            not_prepared: None,
            interpreter: None,
            suspended: false,
            exits: Vec::new(),
            pids: Vec::new(),
            attempts: BTreeMap::new(),
            reached: BTreeMap::new(),
            health: BTreeMap::new(),
            end: None,
            next: None,
            forget: None,
        }
    }

    pub(crate) fn generation(&self) -> Generation {
        self.plan.generation
    }

    /// The newest generation this pod was ordered to prepare.
    pub(crate) fn newest(&self) -> Generation {
        self.next.as_ref().map_or(self.plan.generation, |next| next.plan.generation)
    }

    pub(crate) fn ended(&self) -> bool {
        self.phase == PodPhase::Ended
    }

    /// Begins another generation; the shim stays.
    pub(crate) fn renew(&mut self, plan: Box<PodPlan>) {
        *self = Pod { shim: self.shim, ..Pod::new(plan) };
    }

    pub(crate) fn status(&self) -> PodStatus {
        PodStatus {
            job: self.plan.job.clone(),
            generation: self.plan.generation,
            phase: self.phase,
            not_prepared: self.not_prepared.clone(),
            suspended: self.suspended,
            exits: self.exits.clone(),
            end: self.end.clone(),
            pids: self.pids.clone(),
            health: self.health.values().cloned().collect(),
            attempts: self.reached.iter().map(|(rank, attempt)| (*rank, *attempt)).collect(),
        }
    }
}
