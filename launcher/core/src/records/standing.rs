//! What stands against a node, as it is stored: all of it each time, so that the last record of a node tells it.

use std::time::Duration;

use phalanx_common::id::{JobId, NodeId};
use phalanx_common::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::nodes::standing::{Blame, Cordon, Drain, Quarantine, Standing};

/// What stands against a node from here on; see [`Standing`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandingRecord {
    pub node: NodeId,
    pub cordon: Option<CordonRecord>,
    pub drain: Option<DrainRecord>,
    pub quarantine: Option<QuarantineRecord>,
    pub blames: Vec<BlameRecord>,
}

/// See [`Cordon`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CordonRecord {
    pub by: String,
    pub reason: String,
    pub at: Timestamp,
}

/// See [`Drain`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainRecord {
    pub grace: Option<Duration>,
}

/// See [`Quarantine`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineRecord {
    pub why: String,
    pub at: Timestamp,
}

/// See [`Blame`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlameRecord {
    pub at: Timestamp,
    pub job: JobId,
    pub what: String,
}

impl StandingRecord {
    pub(crate) fn new(node: &NodeId, standing: &Standing) -> StandingRecord {
        let cordon = |it: &Cordon| CordonRecord { by: it.by.clone(), reason: it.reason.clone(), at: it.at };
        let blame = |it: &Blame| BlameRecord { at: it.at, job: it.job.clone(), what: it.what.clone() };
        StandingRecord {
            node: node.clone(),
            cordon: standing.cordon.as_ref().map(cordon),
            drain: standing.drain.map(|it| DrainRecord { grace: it.grace }),
            quarantine: standing
                .quarantine
                .as_ref()
                .map(|it| QuarantineRecord { why: it.why.clone(), at: it.at }),
            blames: standing.blames.iter().map(blame).collect(),
        }
    }

    /// Nothing stands against the node: neither this record nor those before it say anything any more.
    pub fn clears(&self) -> bool {
        self.cordon.is_none() && self.drain.is_none() && self.quarantine.is_none() && self.blames.is_empty()
    }
}

impl From<&StandingRecord> for Standing {
    fn from(record: &StandingRecord) -> Standing {
        let cordon = |it: &CordonRecord| Cordon { by: it.by.clone(), reason: it.reason.clone(), at: it.at };
        let blame = |it: &BlameRecord| Blame { at: it.at, job: it.job.clone(), what: it.what.clone() };
        Standing {
            cordon: record.cordon.as_ref().map(cordon),
            drain: record.drain.as_ref().map(|it| Drain { grace: it.grace }),
            quarantine: record.quarantine.as_ref().map(|it| Quarantine { why: it.why.clone(), at: it.at }),
            blames: record.blames.iter().map(blame).collect(),
        }
    }
}
