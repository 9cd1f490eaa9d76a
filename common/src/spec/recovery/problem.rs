//! What can be wrong with what a job says of failures, and how it is put into words.

use std::fmt;

use super::{DO_NOT_RESTART, FailureAction, FailureReason, MAX_IN_WINDOW};
use crate::spec::error::{At, Place};
use crate::spec::job::Choice;

/// What is wrong with a policy, a budget or a rule.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoveryProblem {
    #[error("restartPolicy is Never ({}), so there are no restarts to count", At(policy))]
    BudgetOfNever { policy: Place },
    #[error("maxRestarts is {other} ({}), and this says {max}; leave one of the two out", At(at))]
    TwoBudgets { max: u32, other: u32, at: Place },
    #[error("the window has nothing to count: give the restarts within it, as `max` beside it")]
    WindowOfNone,
    #[error("{max} restarts within a window; at most {MAX_IN_WINDOW} are counted")]
    WindowTooLarge { max: u32 },
    #[error("the first wait is longer than the longest one ({})", At(longest))]
    BackoffOrder { longest: Place },
    #[error("a rule needs what it matches: exitCodes, signals or reasons")]
    MatchesNothing,
    #[error("a rule needs an action: one of {}", Actions)]
    NoAction,
    #[error("all codes but these: none is left that it matches")]
    NoCodesLeft,
    #[error("this can never match: the rule at {} takes all of it", At(first))]
    Shadowed { first: Place },
    #[error("{} starts ranks again, and restartPolicy is Never ({})", word(*action), At(policy))]
    ActionOfNever { action: FailureAction, policy: Place },
    #[error("{} is a restart, and the job may have none: give it some with maxRestarts", word(*action))]
    ActionWithoutBudget { action: FailureAction },
    #[error("{} is for ranks that ended, and after {reason:?} none is left to be started again where it was; RestartGang is", word(*action))]
    NothingInPlace { action: FailureAction, reason: FailureReason },
    #[error("restartPolicy is Never ({}), so nothing starts again", At(policy))]
    ScopeOfNever { policy: Place },
    #[error(
        "no {step} can start again: give the job restarts with maxRestarts, or the step with restartBudget.{step}.max"
    )]
    ScopeWithoutBudget { step: &'static str },
    #[error(
        "no {step} starts again by itself: this counts with `restartScope: {step}`, or with a rule for it"
    )]
    UnusedStep { step: &'static str },
    #[error(
        "no rank is ended for a probe: the job has neither startupProbe nor livenessProbe, and no postStart hook"
    )]
    NoProbe,
    #[error("nothing fails so: the job has no initContainers")]
    NoInit,
    #[error("no rank is ended for want of memory: give each its limit, with resources.memoryLimit")]
    NoMemoryLimit,
    #[error("no device is the job's: ask for some with resources.devices")]
    NoDevices,
    #[error("after {reason:?} no node is blamed that another could replace; RestartGang is")]
    NoNodeToReplace { reason: FailureReason },
    #[error("no node is replaced in a job that never starts again: give it restarts with maxRestarts")]
    ReplacesNothing,
    #[error("{0} stands in the list a second time")]
    Twice(String),
    #[error("the operator is missing: write `{{operator: In, values: [{DO_NOT_RESTART}]}}` or a list alone")]
    NoOperator,
    #[error(
        "the values are missing: write `{{operator: NotIn, values: [{DO_NOT_RESTART}]}}` or a list alone"
    )]
    NoValues,
}

struct Actions;

impl fmt::Display for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = FailureAction::CHOICES.iter().map(|(word, _)| *word).collect();
        f.write_str(&words.join(", "))
    }
}

fn word(action: FailureAction) -> &'static str {
    FailureAction::CHOICES.iter().find(|(_, it)| *it == action).map_or("", |(word, _)| word)
}
