//! What follows a failure, as it is stored.

use std::collections::BTreeSet;
use std::time::Duration;

use phalanx_common::spec::{
    Backoff, ExitCodes, FailureAction, FailureReason, FailureRule, InPlace, Recovery, RestartPolicy,
    RestartScope,
};
use serde::{Deserialize, Serialize};

/// What follows a failure, as stored; see [`Recovery`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryRecord {
    pub policy: RestartPolicy,
    pub rules: Vec<RuleRecord>,
    pub window: Option<Duration>,
    pub backoff_initial: Duration,
    pub backoff_max: Duration,
    pub replace_node: Option<u32>,
    pub no_progress: u32,
    pub scope: RestartScope,
    pub rank: StepRecord,
    pub pod: StepRecord,
}

/// The budget of a step below the gang, as stored; see [`InPlace`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    pub max: Option<u32>,
    pub window: Option<Duration>,
    pub backoff_initial: Duration,
    pub backoff_max: Duration,
}

/// A rule, as stored; see [`FailureRule`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleRecord {
    pub exit_codes: Option<ExitCodes>,
    pub signals: BTreeSet<u8>,
    pub reasons: BTreeSet<FailureReason>,
    pub action: FailureAction,
}

impl From<&Recovery> for RecoveryRecord {
    fn from(recovery: &Recovery) -> RecoveryRecord {
        RecoveryRecord {
            policy: recovery.policy,
            rules: recovery
                .rules
                .iter()
                .map(|rule| RuleRecord {
                    exit_codes: rule.exit_codes.clone(),
                    signals: rule.signals.clone(),
                    reasons: rule.reasons.clone(),
                    action: rule.action,
                })
                .collect(),
            window: recovery.window,
            backoff_initial: recovery.backoff.initial,
            backoff_max: recovery.backoff.max,
            replace_node: recovery.replace_node,
            no_progress: recovery.no_progress,
            scope: recovery.scope,
            rank: recovery.rank.into(),
            pod: recovery.pod.into(),
        }
    }
}

impl From<&RecoveryRecord> for Recovery {
    fn from(record: &RecoveryRecord) -> Recovery {
        Recovery {
            policy: record.policy,
            rules: record
                .rules
                .iter()
                .map(|rule| FailureRule {
                    exit_codes: rule.exit_codes.clone(),
                    signals: rule.signals.clone(),
                    reasons: rule.reasons.clone(),
                    action: rule.action,
                })
                .collect(),
            window: record.window,
            backoff: Backoff { initial: record.backoff_initial, max: record.backoff_max },
            replace_node: record.replace_node,
            no_progress: record.no_progress,
            scope: record.scope,
            rank: record.rank.into(),
            pod: record.pod.into(),
        }
    }
}

impl From<InPlace> for StepRecord {
    fn from(step: InPlace) -> StepRecord {
        let InPlace { max, window, backoff: Backoff { initial, max: longest } } = step;
        StepRecord { max, window, backoff_initial: initial, backoff_max: longest }
    }
}

impl From<StepRecord> for InPlace {
    fn from(record: StepRecord) -> InPlace {
        let backoff = Backoff { initial: record.backoff_initial, max: record.backoff_max };
        InPlace { max: record.max, window: record.window, backoff }
    }
}
