//! One pod on this node: the generation it has, the one that waits behind it, and its shim.
//!
//! ```text
//! generation:  Preparing -> Prepared -> Releasing -> Started -> Stopping -> Ended -> (Prepare of the next)
//! shim:        Absent -> Spawning -> Up -> Absent          Up or Spawning -> Sweeping -> Absent
//! ```
//!
//! A newer generation never begins before nothing is left of the older one.

use phalanx_common::id::Generation;
use phalanx_common::plan::PodPlan;
use phalanx_common::report::{PodEnd, PodPhase, PodStatus, PrepareFailure, RankExit};

/// A pod, remembered until Forget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) plan: Box<PodPlan>,
    pub(crate) phase: PodPhase,
    pub(crate) shim: ShimState,
    pub(crate) not_prepared: Option<PrepareFailure>,
    pub(crate) suspended: bool,
    pub(crate) exits: Vec<RankExit>,
    pub(crate) pids: Vec<u32>,
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
}

impl Pod {
    pub(crate) fn new(plan: Box<PodPlan>) -> Pod {
        Pod {
            plan,
            phase: PodPhase::Preparing,
            shim: ShimState::Absent,
            not_prepared: None,
            suspended: false,
            exits: Vec::new(),
            pids: Vec::new(),
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
        }
    }
}
