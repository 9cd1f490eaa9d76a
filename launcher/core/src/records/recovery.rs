//! What follows a failure, as it is stored.

use std::collections::BTreeSet;
use std::time::Duration;

use phalanx_common::spec::{
    Backoff, ExitCodes, FailureAction, FailureReason, FailureRule, Recovery, RestartPolicy,
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
        }
    }
}
