//! What stands against a node: the wish of an operator, or failures that it was blamed for.
//!
//! ```text
//!             cordon, drain                    blamed too often
//!   open ----------------------> cordoned   open ---------------> quarantined
//!     ^                              |         ^                       |
//!     +---------- uncordon ----------+         +------ uncordon -------+
//! ```
//!
//! Either keeps new pods away; what runs there goes on, unless the node is drained. Durable: an operator's word
//! outlives the coordinator, and so does what led to a quarantine.

use std::fmt;
use std::time::Duration;

use phalanx_common::id::JobId;
use phalanx_common::time::Timestamp;

/// What stands against one node; nothing, by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub cordon: Option<Cordon>,
    /// Jobs are moved away.
    pub drain: Option<Drain>,
    pub quarantine: Option<Quarantine>,
    /// Failures of jobs that count against it, oldest first.
    pub blames: Vec<Blame>,
}

/// An operator wants no new pods there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cordon {
    pub by: String,
    /// Empty: none was given.
    pub reason: String,
    pub at: Timestamp,
}

/// An operator wants nothing to be left there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// Between the stop signal and SIGKILL; `None`: as each job says.
    pub grace: Option<Duration>,
}

/// It failed jobs too often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantine {
    pub why: String,
    pub at: Timestamp,
}

/// A failure of a job whose first cause was the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blame {
    pub at: Timestamp,
    pub job: JobId,
    pub what: String,
}

impl Standing {
    pub fn is_empty(&self) -> bool {
        *self == Standing::default()
    }

    /// Why it gets no new pods, in words that follow "is".
    pub fn closed(&self) -> Option<String> {
        match (&self.cordon, &self.quarantine) {
            (Some(cordon), Some(quarantine)) => Some(format!("{cordon}; {quarantine}")),
            (Some(cordon), None) => Some(cordon.to_string()),
            (None, Some(quarantine)) => Some(quarantine.to_string()),
            (None, None) => None,
        }
    }
}

impl fmt::Display for Cordon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cordoned by {}", self.by)?;
        if self.reason.is_empty() { Ok(()) } else { write!(f, ": {}", self.reason) }
    }
}

impl fmt::Display for Quarantine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "quarantined: {}", self.why)
    }
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.at.to_rfc3339(), self.job, self.what)
    }
}
