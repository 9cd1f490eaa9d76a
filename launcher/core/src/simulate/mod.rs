//! What a placement policy makes of a trace of jobs on a cluster: on virtual time, with the placement code that the coordinator runs.
//! What a job gets of its time under faults is another question: [`goodput`].
//!
//! ```text
//!  trace --> Workload (arrivals of a stated load) --+
//!  Fabric (empty cluster) --------------------------+--> simulate(.., &mut dyn Policy) --> Outcome --> Summary
//! ```
//!
//! Jobs are admitted strictly first in, first out under every policy: the head of the queue waits until it fits, and
//! nothing overtakes it. So policies differ in where gangs go, in what is left for the next, and in nothing else.

mod cluster;
mod cost;
pub mod goodput;
mod outcome;
mod policy;
mod random;
mod run;
mod summary;
mod workload;

pub use cluster::{Ask, Cluster};
pub use cost::{Pattern, cost, grid};
pub use outcome::{Gang, Outcome, Sample};
pub use policy::{ByName, BySwitch, Kueue, Ours, POLICIES, Policy, Random, Slurm, Volcano, policy};
pub use run::simulate;
pub use summary::{Delay, Level, Summary};
pub use workload::{Arrival, Demand, Error, Job, Workload};

#[cfg(test)]
mod tests;
