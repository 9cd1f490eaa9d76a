//! How long a job lasts, as keys of a job file again.

use serde::Serialize;

use super::SuccessRule;
use crate::spec::document::seconds;
use crate::spec::job::JobSpec;

/// The keys that say how long a job lasts; those of which it says nothing are left out.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::spec) struct Lifetime {
    #[serde(skip_serializing_if = "Option::is_none")]
    active_deadline_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_seconds_after_finished: Option<f64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    suspend: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    success_policy: Option<Success>,
}

#[derive(Clone, Debug, Serialize)]
struct Success {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(skip_serializing_if = "Option::is_none")]
    succeeded_indexes: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    succeeded_count: Option<u32>,
}

impl From<&JobSpec> for Lifetime {
    fn from(spec: &JobSpec) -> Lifetime {
        let lifetime = &spec.lifetime;
        let rules: Vec<Rule> = lifetime.success.iter().map(Into::into).collect();
        Lifetime {
            active_deadline_seconds: lifetime.active_deadline.map(seconds),
            ttl_seconds_after_finished: lifetime.ttl_after_finished.map(seconds),
            suspend: lifetime.suspend,
            success_policy: (!rules.is_empty()).then_some(Success { rules }),
        }
    }
}

impl From<&SuccessRule> for Rule {
    fn from(rule: &SuccessRule) -> Rule {
        let range = |(first, last): &(u32, u32)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        };
        let ranks: Vec<String> = rule.ranks.iter().map(range).collect();
        Rule { succeeded_indexes: (!ranks.is_empty()).then(|| ranks.join(",")), succeeded_count: rule.count }
    }
}
