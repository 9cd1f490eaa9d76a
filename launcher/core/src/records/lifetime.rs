//! How long a job lasts, as it is stored.

use std::time::Duration;

use phalanx_common::spec::{Lifetime, SuccessRule};
use serde::{Deserialize, Serialize};

/// How long a job lasts, as stored; see [`Lifetime`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifetimeRecord {
    pub active_deadline: Option<Duration>,
    pub ttl_after_finished: Option<Duration>,
    pub suspend: bool,
    pub success: Vec<SuccessRecord>,
}

/// Ranks whose good end is enough, as stored; see [`SuccessRule`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuccessRecord {
    pub ranks: Vec<(u32, u32)>,
    pub count: Option<u32>,
}

impl From<&Lifetime> for LifetimeRecord {
    fn from(lifetime: &Lifetime) -> LifetimeRecord {
        let success = lifetime.success.iter();
        LifetimeRecord {
            active_deadline: lifetime.active_deadline,
            ttl_after_finished: lifetime.ttl_after_finished,
            suspend: lifetime.suspend,
            success: success
                .map(|rule| SuccessRecord { ranks: rule.ranks.clone(), count: rule.count })
                .collect(),
        }
    }
}

impl From<&LifetimeRecord> for Lifetime {
    fn from(record: &LifetimeRecord) -> Lifetime {
        let success = record.success.iter();
        Lifetime {
            active_deadline: record.active_deadline,
            ttl_after_finished: record.ttl_after_finished,
            suspend: record.suspend,
            success: success
                .map(|rule| SuccessRule { ranks: rule.ranks.clone(), count: rule.count })
                .collect(),
        }
    }
}
