//! What follows a failure: whether a job starts again, how often, and what the failures of some kinds do instead.
//!
//! ```text
//! keys.rs      as it was written       <- decode.rs (file), the flags of the job
//! resolve.rs   from there to the types of this page, checked against each other
//! document.rs  from the types of this page to what a client sends, which is a job file again
//! ```

mod decode;
mod document;
mod keys;
mod problem;
mod read;
mod resolve;

use std::collections::BTreeSet;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use keys::{BackoffKeys, BudgetKeys, CodeKeys, ReplaceKeys, RuleKeys, StepKeys, TimeSpan};
pub use problem::RecoveryProblem;

pub(super) use document::Recovery as RecoveryDocument;
pub(super) use read::signal;

use super::job::Choice;
use crate::defaults;
use crate::exit::ExitStatus;

/// Most failure rules of a job, as for a Kubernetes job.
pub const MAX_RULES: usize = 20;
/// Restarts that a window can count: their times are kept.
pub const MAX_IN_WINDOW: u32 = 10_000;
/// A rank that ends with this code says that it must not be started again, unless a rule says otherwise. The
/// same number means the same to NVIDIA's resiliency extension.
pub const DO_NOT_RESTART: u8 = 93;

/// What follows a failure; how many restarts there are is [`JobSpec::max_restarts`](super::JobSpec).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    pub policy: RestartPolicy,
    /// The first that matches decides.
    pub rules: Vec<FailureRule>,
    /// Restarts of the gang are counted within this time; `None`: over the whole life of the job.
    pub window: Option<Duration>,
    pub backoff: Backoff,
    /// What starts again after a failure of a rank, as long as its step has budget.
    pub scope: RestartScope,
    /// Of one rank, where it was.
    pub rank: InPlace,
    /// Of all ranks of one node, where they were.
    pub pod: InPlace,
    /// How often a node may be replaced; `None`: as often as the gang may be started.
    pub replace_node: Option<u32>,
    /// So many generations in a row that came to nothing end the job; 0: none do.
    pub no_progress: u32,
}

impl Default for Recovery {
    fn default() -> Recovery {
        Recovery {
            policy: RestartPolicy::default(),
            rules: Vec::new(),
            window: None,
            backoff: Backoff::default(),
            scope: RestartScope::default(),
            rank: InPlace::default(),
            pod: InPlace::default(),
            replace_node: None,
            no_progress: defaults::NO_PROGRESS,
        }
    }
}

impl Recovery {
    /// Whether a rank may be started again while the rest of its gang goes on.
    pub fn in_place(&self) -> bool {
        let lower = |rule: &FailureRule| {
            matches!(rule.action, FailureAction::RestartRank | FailureAction::RestartPod)
        };
        self.scope != RestartScope::Gang || self.rules.iter().any(lower)
    }
}

/// How many ranks start again after one failed: the lowest step of the ladder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum RestartScope {
    /// That rank, in its generation.
    #[serde(rename = "rank")]
    Rank,
    /// All ranks on its node, in their generation.
    #[serde(rename = "pod")]
    Pod,
    /// All ranks, as a new generation.
    #[default]
    #[serde(rename = "gang")]
    Gang,
}

impl Choice for RestartScope {
    const CHOICES: &'static [(&'static str, RestartScope)] =
        &[("rank", RestartScope::Rank), ("pod", RestartScope::Pod), ("gang", RestartScope::Gang)];
}

/// The budget of a step below the gang.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InPlace {
    /// Restarts of this step in the whole job; `None`: as many as the gang has.
    pub max: Option<u32>,
    /// They are counted within this time; `None`: over the whole life of the job.
    pub window: Option<Duration>,
    pub backoff: Backoff,
}

/// After which ends ranks are started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RestartPolicy {
    /// After none.
    Never,
    /// After failures, while there is budget for them.
    #[default]
    OnFailure,
    /// After failures, while there is budget for them; a gang that ended well starts again as well, until it is
    /// stopped.
    Always,
}

impl Choice for RestartPolicy {
    const CHOICES: &'static [(&'static str, RestartPolicy)] = &[
        ("Never", RestartPolicy::Never),
        ("OnFailure", RestartPolicy::OnFailure),
        ("Always", RestartPolicy::Always),
    ];
}

/// The waits before restarts: the first comes at once, the second after `initial`, each further one after twice
/// the last, at most `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    pub initial: Duration,
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff { initial: defaults::BACKOFF_INITIAL, max: defaults::BACKOFF_MAX }
    }
}

impl Backoff {
    /// The wait before the restart that follows `step` others.
    pub fn wait(&self, step: u32) -> Duration {
        match step.checked_sub(1) {
            None => Duration::ZERO,
            Some(doublings) => {
                let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
                self.initial.saturating_mul(factor).min(self.max)
            }
        }
    }
}

/// What a failure of some kinds does. It matches if one of its lists does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureRule {
    pub exit_codes: Option<ExitCodes>,
    /// Numbers of signals that ended a rank.
    pub signals: BTreeSet<u8>,
    pub reasons: BTreeSet<FailureReason>,
    pub action: FailureAction,
}

impl FailureRule {
    /// Whether a rank that ended so is meant.
    pub fn matches_exit(&self, status: ExitStatus) -> bool {
        match status {
            ExitStatus::Code(code) => self.exit_codes.as_ref().is_some_and(|codes| codes.contain(code)),
            ExitStatus::Signal(signal) => self.signals.contains(&signal),
        }
    }
}

/// Exit codes of ranks that failed, 1 to 255.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitCodes {
    In(BTreeSet<u8>),
    NotIn(BTreeSet<u8>),
}

impl ExitCodes {
    /// Whether this code is meant. 0 is no failure, and never is.
    pub fn contain(&self, code: u8) -> bool {
        match self {
            ExitCodes::In(codes) => codes.contains(&code),
            ExitCodes::NotIn(codes) => code != 0 && !codes.contains(&code),
        }
    }
}

/// A kind of failure that no exit code tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum FailureReason {
    /// The node, or all of the job that ran on it, is gone.
    NodeLost,
    /// Not all ranks were ready within `startTimeoutSeconds`.
    StartTimeout,
    /// A rank was ended because its startup or liveness probe was bad, or its postStart hook failed, with whatever exit
    /// code.
    ProbeFailed,
    /// An init container failed.
    InitFailed,
    /// The kernel ended a rank for want of memory, with whatever signal.
    #[serde(rename = "OOMKilled")]
    OomKilled,
    /// A device of the job's failed, or is not there any more.
    DeviceError,
}

impl Choice for FailureReason {
    const CHOICES: &'static [(&'static str, FailureReason)] = &[
        ("NodeLost", FailureReason::NodeLost),
        ("StartTimeout", FailureReason::StartTimeout),
        ("ProbeFailed", FailureReason::ProbeFailed),
        ("InitFailed", FailureReason::InitFailed),
        ("OOMKilled", FailureReason::OomKilled),
        ("DeviceError", FailureReason::DeviceError),
    ];
}

/// What is done about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FailureAction {
    /// All ranks start anew, on the same nodes where they still can.
    RestartGang,
    /// The same without the node where it happened.
    ReplaceNode,
    /// The job ends.
    FailJob,
    /// All ranks start anew, and the failure is not counted.
    Ignore,
    /// The rank starts anew, and the others go on.
    RestartRank,
    /// All ranks on its node start anew, and the others go on.
    RestartPod,
}

impl Choice for FailureAction {
    const CHOICES: &'static [(&'static str, FailureAction)] = &[
        ("RestartGang", FailureAction::RestartGang),
        ("ReplaceNode", FailureAction::ReplaceNode),
        ("FailJob", FailureAction::FailJob),
        ("Ignore", FailureAction::Ignore),
        ("RestartRank", FailureAction::RestartRank),
        ("RestartPod", FailureAction::RestartPod),
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_comes_at_once_and_the_wait_doubles_to_its_cap() {
        let backoff = Backoff::default();
        let waits: Vec<u64> = (0..9).map(|step| backoff.wait(step).as_secs()).collect();
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff.wait(u32::MAX), defaults::BACKOFF_MAX);
        let short = Backoff { initial: Duration::from_millis(5), max: Duration::from_millis(7) };
        assert_eq!(short.wait(2), Duration::from_millis(7));
    }

    #[test]
    fn an_end_without_failure_matches_no_codes() {
        let not_in = ExitCodes::NotIn([1].into());
        assert_eq!([0, 1, 2].map(|code| not_in.contain(code)), [false, false, true]);
    }
}
