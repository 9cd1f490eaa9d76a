//! What follows a failure as keys of a job file again.

use serde::Serialize;

use super::{ExitCodes, FailureAction, FailureReason, InPlace, RestartPolicy, RestartScope};
use crate::exit::signal_name;
use crate::spec::document::seconds;
use crate::spec::job::JobSpec;

/// The keys that say what follows a failure.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::spec) struct Recovery {
    max_restarts: u32,
    restart_policy: RestartPolicy,
    #[serde(skip_serializing_if = "Option::is_none")]
    restart_scope: Option<RestartScope>,
    restart_budget: Budget,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failure_rules: Vec<Rule>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Budget {
    gang: Step,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<Step>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rank: Option<Step>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replace_node: Option<Replace>,
    no_progress: u32,
}

#[derive(Clone, Debug, Serialize)]
struct Step {
    /// Of the gang `maxRestarts` says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<f64>,
    backoff: Backoff,
}

#[derive(Clone, Debug, Serialize)]
struct Replace {
    max: u32,
}

#[derive(Clone, Debug, Serialize)]
struct Backoff {
    initial: f64,
    max: f64,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_codes: Option<Codes>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    signals: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<FailureReason>,
    action: FailureAction,
}

#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
enum Codes {
    In(Vec<u8>),
    Of { operator: &'static str, values: Vec<u8> },
}

impl From<super::Backoff> for Backoff {
    fn from(backoff: super::Backoff) -> Backoff {
        Backoff { initial: seconds(backoff.initial), max: seconds(backoff.max) }
    }
}

impl Step {
    /// Nothing where all is as it is by default.
    fn of(step: InPlace) -> Option<Step> {
        let InPlace { max, window, backoff } = step;
        (step != InPlace::default()).then(|| Step {
            max,
            window: window.map(seconds),
            backoff: backoff.into(),
        })
    }
}

impl From<&JobSpec> for Recovery {
    fn from(spec: &JobSpec) -> Recovery {
        let recovery = &spec.recovery;
        Recovery {
            max_restarts: spec.max_restarts,
            restart_policy: recovery.policy,
            restart_scope: Some(recovery.scope).filter(|scope| *scope != RestartScope::Gang),
            restart_budget: Budget {
                gang: Step {
                    max: None,
                    window: recovery.window.map(seconds),
                    backoff: recovery.backoff.into(),
                },
                pod: Step::of(recovery.pod),
                rank: Step::of(recovery.rank),
                replace_node: recovery.replace_node.map(|max| Replace { max }),
                no_progress: recovery.no_progress,
            },
            failure_rules: recovery
                .rules
                .iter()
                .map(|rule| Rule {
                    exit_codes: rule.exit_codes.as_ref().map(|codes| match codes {
                        ExitCodes::In(codes) => Codes::In(codes.iter().copied().collect()),
                        ExitCodes::NotIn(codes) => {
                            Codes::Of { operator: "NotIn", values: codes.iter().copied().collect() }
                        }
                    }),
                    signals: rule.signals.iter().filter_map(|signal| signal_name(*signal)).collect(),
                    reasons: rule.reasons.iter().copied().collect(),
                    action: rule.action,
                })
                .collect(),
        }
    }
}
