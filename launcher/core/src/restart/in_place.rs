//! The steps of the ladder below the gang: whether ranks start again while the others go on.
//!
//! ```text
//! a rule of the job that matches, or else its restartScope
//!   RestartRank, rank -> that rank, where it was
//!                           | no budget
//!   RestartPod, pod   -> all ranks of its node, where they were
//!                           | no budget
//!   anything else     -> the generation ends
//! ```

use std::time::Duration;

use phalanx_common::defaults;
use phalanx_common::event::Cause;
use phalanx_common::exit::ExitStatus;
use phalanx_common::spec::{
    DO_NOT_RESTART, FailureAction, InPlace, JobSpec, Recovery, RestartPolicy, RestartScope,
};
use phalanx_common::time::Timestamp;

use super::{Accounting, counted, note, rule_of};

/// What one step has used up. Changed by records alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Restarts of this step.
    pub restarts: u32,
    /// When those were that its window counts; empty without a window.
    pub recent: Vec<Timestamp>,
    /// Restarts since the last time that there was none for long enough.
    pub backoff_step: u32,
    pub last: Option<Timestamp>,
}

impl Used {
    /// Restarts that count at this time.
    pub fn counted(&self, window: Option<Duration>, now: Timestamp) -> u32 {
        counted(self.restarts, &self.recent, window, now)
    }

    pub(crate) fn count(&mut self, window: Option<Duration>, at: Timestamp) {
        self.backoff_step = self.waits_before(at) + 1;
        self.restarts += 1;
        self.last = Some(at);
        note(&mut self.recent, window, at);
    }

    /// Restarts that the wait of one at this time follows.
    fn waits_before(&self, now: Timestamp) -> u32 {
        match self.last {
            Some(last) if now.since(last) < defaults::BACKOFF_RESET => self.backoff_step,
            _ => 0,
        }
    }
}

/// A restart while the rest of the gang goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Again {
    /// A rank, or a pod.
    pub step: RestartScope,
    pub delay: Duration,
}

/// Decides after a rank failed for `cause`. `None`: nothing goes on, and the ladder of the gang decides.
pub fn decide_in_place(spec: &JobSpec, used: &Accounting, cause: &Cause, now: Timestamp) -> Option<Again> {
    let lowest = lowest(&spec.recovery, cause)?;
    let steps = [RestartScope::Rank, RestartScope::Pod].into_iter().filter(|step| *step >= lowest);
    let mut left = steps.filter(|step| {
        let (budget, used) = (budget(&spec.recovery, *step), used.step(*step));
        used.counted(budget.window, now) < budget.max.unwrap_or(spec.max_restarts)
    });
    let step = left.next()?;
    let delay = budget(&spec.recovery, step).backoff.wait(used.step(step).waits_before(now));
    Some(Again { step, delay })
}

/// The lowest step that may follow; `None`: none below the gang.
fn lowest(recovery: &Recovery, cause: &Cause) -> Option<RestartScope> {
    let status = match cause {
        Cause::RankFailed { status, .. }
        | Cause::ProbeFailed { status, .. }
        | Cause::OutOfMemory { status, .. } => *status,
        _ => return None,
    };
    let scope = match rule_of(recovery, cause).map(|rule| recovery.rules[rule].action) {
        Some(FailureAction::RestartRank) => RestartScope::Rank,
        Some(FailureAction::RestartPod) => RestartScope::Pod,
        Some(_) => return None,
        None if status == ExitStatus::Code(DO_NOT_RESTART) => return None,
        None => recovery.scope,
    };
    (scope != RestartScope::Gang && recovery.policy != RestartPolicy::Never).then_some(scope)
}

/// What a step below the gang may use.
pub fn budget(recovery: &Recovery, step: RestartScope) -> InPlace {
    if step == RestartScope::Rank { recovery.rank } else { recovery.pod }
}
