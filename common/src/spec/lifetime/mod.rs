//! How long a job lasts, and when it has succeeded.

mod decode;
mod document;
mod keys;
mod problem;
mod resolve;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use keys::{SuccessKeys, SuccessRuleKeys};
pub use problem::LifetimeProblem;

pub(super) use document::Lifetime as LifetimeDocument;

use crate::id::Rank;

/// Most rules of a success policy, as for a Kubernetes job.
pub const MAX_SUCCESS_RULES: usize = 20;
/// Most ranges of ranks in one rule.
pub const MAX_RANGES: usize = 1024;

/// How long a job lasts, and when it has succeeded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifetime {
    /// From its first placement; the time in which it is suspended does not count. `None`: as long as it takes.
    pub active_deadline: Option<Duration>,
    /// An ended job is forgotten after this; `None`: as all are.
    pub ttl_after_finished: Option<Duration>,
    /// It begins suspended.
    pub suspend: bool,
    /// It has succeeded once one of these is fulfilled; empty: once every rank has ended with 0.
    pub success: Vec<SuccessRule>,
}

/// Ranks whose good end is enough.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuccessRule {
    /// First and last of each range, rising and apart; empty: all ranks of the job.
    pub ranks: Vec<(u32, u32)>,
    /// So many of them have to end with 0; `None`: all.
    pub count: Option<u32>,
}

impl SuccessRule {
    /// Whether a rank is one of those that count.
    pub fn counts(&self, rank: Rank) -> bool {
        self.ranks.is_empty() || self.ranks.iter().any(|(first, last)| (*first..=*last).contains(&rank.0))
    }

    /// How many have to end with 0, of a job with `world` ranks.
    pub fn needed(&self, world: u32) -> u32 {
        let all = match self.ranks.as_slice() {
            [] => world,
            ranges => ranges.iter().map(|(first, last)| last - first + 1).sum(),
        };
        self.count.unwrap_or(all)
    }
}
