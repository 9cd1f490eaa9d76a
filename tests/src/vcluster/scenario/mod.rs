//! Scenarios that operators can read: `tests/scenarios/NAME.txt`.
//!
//! ```text
//! What it shows, in a sentence or two.
//!
//! nodes: a b c              may be followed by `leaves: a b | c`, which nodes share an access switch
//! job:
//!   command: [train]          a job file, read as `phalanx run -f` reads it
//!   nodes: 2
//! ranks:
//!   rank 1: exits with 7 after 2 s
//! happens:
//!   at 5 s: drain node b
//! ---
//!    0.0 s  what is told of it, with virtual times
//! ```
//!
//! What ranks and init containers can do is in `deeds`, what can happen in `happen`. Whoever is not named runs for half
//! a minute, and ends well. What stands behind a name counts for the first generation, unless it says another.

mod deeds;
mod happen;
mod read;
mod run;

use std::time::Duration;

use phalanx_common::id::NodeId;
use phalanx_common::spec::JobSpec;

use super::faults::Fault;
use super::script::Scripts;

pub use run::NotPlayed;

/// A scenario file.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// All that stands before the line `---`.
    pub setting: String,
    /// What stands behind it.
    pub told: String,
    pub job: JobSpec,
    nodes: Vec<NodeId>,
    /// The nodes under each access switch, if that is known.
    leaves: Vec<Vec<NodeId>>,
    gpus: u32,
    scripts: Scripts,
    happens: Vec<Happens>,
}

/// Something that happens so long after the job was submitted.
#[derive(Clone, Debug)]
struct Happens {
    after: Duration,
    /// As it was written.
    text: String,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Fault(Fault),
    /// A device of the node falls off its bus.
    LoseDevice {
        node: NodeId,
        device: u32,
    },
    /// An operator lets gangs get other nodes again.
    ResumeReplacement,
}

/// A line that makes no sense.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{file}:{line}: {what}")]
pub struct Unreadable {
    pub file: String,
    pub line: usize,
    pub what: String,
}
