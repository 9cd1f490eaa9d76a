//! What can be wrong with how long a job lasts, and how it is put into words.

use super::MAX_RANGES;
use crate::text::shown;

/// What is wrong with a success policy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LifetimeProblem {
    #[error("a success policy needs rules: `rules: [{{succeededIndexes: \"0\"}}]`")]
    NoRules,
    #[error("a rule needs succeededIndexes, succeededCount or both")]
    EmptyRule,
    #[error("{} is no list of ranks such as 0,2-4, rising and at most {MAX_RANGES} ranges", shown(.0))]
    Ranks(String),
    #[error("rank {rank} is none of the job's, which are 0 to {last}")]
    NoSuchRank { rank: u32, last: u32 },
    #[error("{count} of {of} ranks cannot end well")]
    CountTooLarge { count: u32, of: u32 },
    #[error("a job with `elastic` has ranks that come and go: give a succeededCount alone, of {min} at most")]
    Elastic { min: u32 },
    #[error("restartPolicy is Always: the job goes on until it is stopped, and does not succeed")]
    Always,
}
