//! What follows a failure as keys of a job file again.

use serde::Serialize;

use super::{ExitCodes, FailureAction, FailureReason, RestartPolicy};
use crate::exit::signal_name;
use crate::spec::document::seconds;
use crate::spec::job::JobSpec;

/// The keys that say what follows a failure.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::spec) struct Recovery {
    max_restarts: u32,
    restart_policy: RestartPolicy,
    restart_budget: Budget,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failure_rules: Vec<Rule>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Budget {
    gang: Step,
    #[serde(skip_serializing_if = "Option::is_none")]
    replace_node: Option<Replace>,
    no_progress: u32,
}

#[derive(Clone, Debug, Serialize)]
struct Step {
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

impl From<&JobSpec> for Recovery {
    fn from(spec: &JobSpec) -> Recovery {
        let recovery = &spec.recovery;
        Recovery {
            max_restarts: spec.max_restarts,
            restart_policy: recovery.policy,
            restart_budget: Budget {
                gang: Step {
                    window: recovery.window.map(seconds),
                    backoff: Backoff {
                        initial: seconds(recovery.backoff.initial),
                        max: seconds(recovery.backoff.max),
                    },
                },
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
