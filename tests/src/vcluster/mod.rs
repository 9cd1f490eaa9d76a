//! The virtual cluster: the real cores of coordinator and workers, on virtual time.
//!
//! ```text
//!  Coordinator (real) + stored records              reign.rs
//!      |  ordered streams, seeded delay and loss    net.rs
//!  Worker (real), one per machine                   machine.rs, fleet.rs
//!      |
//!  fake shims: processes that run, fail and hang    shim.rs, script.rs
//! ```
//!
//! Time jumps to the next thing that happens, so nothing sleeps. What happens is a function of the seed:
//! [`seeded::run`] of a failing seed fails the same way again, with its trace, and [`replay`] steps through it. After every step the functions
//! of [`invariants`] compare what is true (processes, connections) with what the coordinator believes, stored
//! and said. [`Sabotage`] breaks one thing on purpose, in the harness and never in production code, to prove
//! that they notice.

pub mod coverage;
mod faults;
mod fleet;
mod hardware;
pub mod invariants;
mod jobs;
mod loss;
mod machine;
mod net;
mod profile;
mod reign;
pub mod replay;
mod rng;
mod sabotage;
pub mod scenario;
mod script;
pub mod seeded;
mod shim;
mod tell;
mod trace;
mod witness;
mod world;

pub use faults::Fault;
pub use invariants::{Invariant, Violation};
pub use machine::Process;
pub use net::Way;
pub use profile::Profile;
pub use rng::Rng;
pub use sabotage::Sabotage;
pub use script::{HealthScript, HookScript, InitScript, PodScript, RankScript, Scripts};
pub use world::{Setup, World};
