//! How far a hook of one rank is.

use phalanx_common::spec::Hook;
use phalanx_common::time::Timestamp;

/// The hooks of a job.
#[derive(Debug, Default)]
pub(super) struct Hooks {
    pub(super) post_start: Option<Hook>,
    pub(super) pre_stop: Option<Hook>,
}

/// What is being done of a hook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing: it is not its time, or it is over.
    #[default]
    None,
    Due,
    Asked,
    Sleeps {
        until: Timestamp,
    },
}

impl Turn {
    pub(super) fn is_on(self) -> bool {
        self != Turn::None
    }

    /// When something is due of it.
    pub(super) fn next(self) -> Option<Timestamp> {
        match self {
            Turn::Sleeps { until } => Some(until),
            Turn::None | Turn::Due | Turn::Asked => None,
        }
    }
}
