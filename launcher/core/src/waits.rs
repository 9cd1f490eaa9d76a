//! Why a queued job waits, found when the queue was run last: what an event, `status` and `explain` say of it.

use std::fmt;

use phalanx_common::id::JobId;

use crate::placement::refusal::NoFit;

/// What is said of a job that no end of another lets in.
pub(crate) const NEVER: &str = "it does not fit even when every other job has ended";

/// Why a queued job waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waits {
    /// It is the first, and does not fit.
    Room {
        no_fit: Box<NoFit>,
        /// It would not fit either if no other job were there, on all nodes that are known.
        never: bool,
    },
    /// Jobs begin in the order of their submission.
    Behind {
        head: JobId,
        /// That of the head.
        never: bool,
    },
}

impl Waits {
    /// In one sentence, without single nodes.
    pub(crate) fn headline(&self) -> String {
        match self {
            Waits::Room { no_fit, never: false } => no_fit.headline(),
            Waits::Room { no_fit, never: true } => {
                format!("{}; {NEVER}, and jobs submitted after it wait for it", no_fit.headline())
            }
            Waits::Behind { head, never } => {
                let never = if *never { format!("; {head}: {NEVER}") } else { String::new() };
                format!("waits behind job {head}, which was submitted before it{never}")
            }
        }
    }
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.headline())?;
        match self {
            Waits::Room { no_fit, .. } => no_fit.nodes(f),
            Waits::Behind { .. } => Ok(()),
        }
    }
}
