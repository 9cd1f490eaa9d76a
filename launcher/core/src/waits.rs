//! Why a queued job waits, found when the queue was run last: what an event, `status` and `explain` say of it.

use std::fmt;

use phalanx_common::defaults::{BREAKER_QUIET, BREAKER_WITHIN};
use phalanx_common::id::JobId;
use phalanx_common::text::lasting;

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
    /// It would get other nodes than it had, and that is paused: more than `allowed` of `of` nodes were lost at once.
    Paused { allowed: usize, of: usize },
}

impl Waits {
    /// In one sentence, without single nodes.
    pub(crate) fn headline(&self) -> String {
        match self {
            Waits::Room { no_fit, never: false } => no_fit.headline(),
            Waits::Room { no_fit, never: true } => {
                format!("{}; {NEVER}, and jobs submitted after it wait for it", no_fit.headline())
            }
            Waits::Paused { allowed, of } => format!(
                "no job gets other nodes than it had: more than {allowed} of {of} nodes were lost within {}; it goes on after {} \
                 without another loss, or with `phalanx node resume-replacement`",
                lasting(BREAKER_WITHIN),
                lasting(BREAKER_QUIET)
            ),
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
            Waits::Behind { .. } | Waits::Paused { .. } => Ok(()),
        }
    }
}
