//! The keys of a job file that say what follows a failure: as they were written, every value optional.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{FailureAction, FailureReason};
use crate::spec::place::{Given, Origin};
use crate::spec::schema::without_null;

/// The keys of `restartBudget`.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, transform = without_null)]
pub struct BudgetKeys {
    /// Restarts of the whole gang.
    #[schemars(default)]
    pub gang: StepKeys,
    /// Restarts of one rank in its generation, in the whole job.
    #[schemars(default)]
    pub rank: StepKeys,
    /// Restarts of all ranks of a node in their generation, in the whole job.
    #[schemars(default)]
    pub pod: StepKeys,
    /// Restarts that leave the node where the failure was. They are restarts of the gang too.
    #[schemars(default)]
    pub replace_node: ReplaceKeys,
    /// So many generations in a row that came to nothing end the job; 0: none do. Default: 3.
    pub no_progress: Option<Given<u32>>,
}

/// The keys of `restartBudget.gang`, `restartBudget.pod` and `restartBudget.rank`.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, transform = without_null)]
pub struct StepKeys {
    /// How many there may be. Of the gang `maxRestarts` says the same, and the default is 0; of a pod or a rank it is
    /// what the gang has.
    pub max: Option<Given<u32>>,
    /// The time within which they are counted. Default: the whole life of the job.
    pub window: Option<Given<TimeSpan>>,
    #[schemars(default)]
    pub backoff: BackoffKeys,
}

/// The keys of `restartBudget.replaceNode`.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, transform = without_null)]
pub struct ReplaceKeys {
    /// How many there may be. Default: as many as the gang may be started.
    pub max: Option<Given<u32>>,
}

/// The keys of a step's `backoff`.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, transform = without_null)]
pub struct BackoffKeys {
    /// The wait before the second restart; the first comes at once. Default: 1s.
    pub initial: Option<Given<TimeSpan>>,
    /// The longest wait. Default: 60s.
    pub max: Option<Given<TimeSpan>>,
}

/// The keys of a rule in `failureRules`.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, transform = without_null)]
pub struct RuleKeys {
    /// Exit codes of a rank: a list, or `{operator: NotIn, values: […]}`.
    pub exit_codes: Option<CodeKeys>,
    /// Signals that ended a rank, by name.
    #[schemars(with = "Option<Vec<String>>")]
    pub signals: Option<Vec<Given<u8>>>,
    /// Kinds of failures that no exit code tells.
    #[schemars(with = "Option<Vec<FailureReason>>")]
    pub reasons: Option<Vec<Given<FailureReason>>>,
    /// What is done.
    pub action: Option<Given<FailureAction>>,
    #[schemars(skip)]
    pub origin: Origin,
}

/// The codes of a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct CodeKeys {
    /// Those that are not named are meant.
    pub not_in: bool,
    pub codes: Vec<Given<u8>>,
}

impl JsonSchema for CodeKeys {
    fn schema_name() -> Cow<'static, str> {
        "ExitCodes".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let codes = json_schema!({
            "type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 255}, "minItems": 1,
        });
        json_schema!({"anyOf": [codes, {
            "type": "object",
            "properties": {"operator": {"enum": ["In", "NotIn"]}, "values": codes},
            "required": ["operator", "values"],
            "additionalProperties": false,
        }]})
    }
}

/// A time above zero: a number of seconds, or a number with `ms`, `s`, `m`, `h` or `d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeSpan(pub std::time::Duration);

impl JsonSchema for TimeSpan {
    fn schema_name() -> Cow<'static, str> {
        "TimeSpan".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [
            {"type": "number", "exclusiveMinimum": 0},
            {"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?(ms|s|m|h|d)$"},
        ]})
    }
}
