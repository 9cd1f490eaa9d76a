//! The keys of `successPolicy`: as they were written, every value optional.

use schemars::JsonSchema;

use super::MAX_SUCCESS_RULES;
use crate::spec::file::Text;
use crate::spec::place::{Given, Origin};
use crate::spec::schema::without_null;

/// The keys of `successPolicy`.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, transform = without_null)]
pub struct SuccessKeys {
    /// The job has succeeded once one of them is fulfilled.
    #[schemars(length(min = 1, max = MAX_SUCCESS_RULES))]
    pub rules: Option<Given<Vec<SuccessRuleKeys>>>,
    #[schemars(skip)]
    pub origin: Origin,
}

/// The keys of a rule in `successPolicy.rules`.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, transform = without_null)]
pub struct SuccessRuleKeys {
    /// The ranks that count, as `0,2-4`. Default: all.
    pub succeeded_indexes: Option<Given<Text>>,
    /// So many of them have to end with 0. Default: all.
    #[schemars(range(min = 1))]
    pub succeeded_count: Option<Given<u32>>,
    #[schemars(skip)]
    pub origin: Origin,
}
