//! A gang: all pods of one generation of a job, as the coordinator sees them.
//!
//! ```text
//!            place             all Prepared,            all Started
//!                              all reachable
//!   Queued ---------> Preparing ---------> Starting ---------> Running
//!     ^                   |     (Released      |                  |
//!     |                   |      persisted     |                  | every rank
//!     |                   |      before Go)    |                  | ended with 0
//!     |                   v                    v                  v
//!     |  restart      +---------------------------+           Finishing
//!     +-------------- |         Stopping          |               |
//!   after the backoff |  Stop sent, cause named   |               |
//!                     +---------------------------+               |
//!                         | every pod ended       every pod ended |
//!                         | or given up           or given up     |
//!                         v                                       v
//!                       Ended <-----------------------------------+
//! ```
//!
//! The phase is not stored: it follows from the job's durable state and from what is known of its pods.

use std::collections::BTreeMap;

use phalanx_common::exit::ExitStatus;
use phalanx_common::id::{NodeId, Rank};
use phalanx_common::time::Timestamp;

use crate::durable::{GenerationState, Job, JobState};

/// Where a job stands, see the module's diagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GangPhase {
    Queued,
    Preparing,
    Starting,
    Running,
    /// Every rank ended with 0; the pods have not all said that nothing is left of them.
    Finishing,
    Stopping,
    Ended,
}

impl GangPhase {
    /// The phase of `job`, whose live generation is `gang`.
    pub fn of(job: &Job, gang: Option<&Gang>) -> GangPhase {
        let generation = match (&job.state, &job.generation) {
            (JobState::Ended(_), _) => return GangPhase::Ended,
            (JobState::Queued { .. }, _) | (JobState::Active, None) => return GangPhase::Queued,
            (JobState::Active, Some(generation)) => generation,
        };
        if generation.stopping.is_some() {
            GangPhase::Stopping
        } else if gang.is_some_and(Gang::finished) {
            GangPhase::Finishing
        } else if generation.running_since.is_some() {
            GangPhase::Running
        } else if generation.released {
            GangPhase::Starting
        } else {
            GangPhase::Preparing
        }
    }
}

/// What the coordinator learnt of a live generation from its nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gang {
    pub pods: BTreeMap<NodeId, Pod>,
    /// When it became Running, on today's clock (a clock jump moves it; the record stays).
    pub(crate) running_since: Option<Timestamp>,
}

/// What the coordinator learnt of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// How many ranks it has.
    pub ranks: u32,
    pub view: PodView,
    pub exits: BTreeMap<Rank, ExitStatus>,
    /// Version of the Python it found, if it looked.
    pub(crate) interpreter: Option<String>,
    /// It said NotPrepared.
    pub(crate) refused: bool,
}

/// How far a pod is known to have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PodView {
    /// Prepare was sent, or this coordinator has not heard of the pod yet.
    Preparing,
    Prepared,
    Started,
    /// Nothing of it is left.
    Ended,
    /// Its node cannot be reached: it ends by its lease, nobody waits for it.
    Abandoned,
}

impl Gang {
    pub(crate) fn new(generation: &GenerationState) -> Gang {
        let pods = generation
            .pods
            .iter()
            .map(|place| {
                let pod = Pod {
                    ranks: place.ranks,
                    view: PodView::Preparing,
                    exits: BTreeMap::new(),
                    interpreter: None,
                    refused: false,
                };
                (place.node.clone(), pod)
            })
            .collect();
        Gang { pods, running_since: generation.running_since }
    }

    /// Every rank ended with 0.
    pub fn finished(&self) -> bool {
        self.pods.values().all(Pod::finished)
    }

    /// Every pod ended or was given up.
    pub fn over(&self) -> bool {
        self.pods.values().all(Pod::over)
    }

    /// Every rank has executed its program.
    pub fn started(&self) -> bool {
        self.pods.values().all(|pod| pod.view == PodView::Started || pod.finished())
    }
}

impl Pod {
    /// Every rank ended with 0.
    pub fn finished(&self) -> bool {
        self.exits.len() == self.ranks as usize && self.exits.values().all(|status| status.success())
    }

    /// Nobody waits for it any more.
    pub fn over(&self) -> bool {
        self.view >= PodView::Ended
    }
}
