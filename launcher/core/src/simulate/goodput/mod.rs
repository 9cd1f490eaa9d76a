//! What a job gets of its time: useful training, and what faults, restarts and checkpoints take, with what would change that.
//!
//! ```text
//!  Profile (rates, times, spares) --> Run (one job, one stretch of days; a seed) --> Forecast (many runs, and what-ifs)
//!                                       `-- restart::decide: the ladder, budgets and backoff of the coordinator
//! ```
//!
//! Faults are Poisson processes, repairs take exponential times. What is left out: where nodes are, quarantine, and faults of
//! nodes that wait.

mod forecast;
mod profile;
mod read;
mod run;

pub use forecast::{Forecast, RUNS, WhatIf, forecast};
pub use profile::{Class, Effect, Profile};
pub use read::{MAX_BYTES, ProfileError};
pub use run::{Lost, Run, run};

#[cfg(test)]
mod tests;
