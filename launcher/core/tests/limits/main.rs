//! What a job requires holds for every gang, placed anew or kept, whatever is known of the cluster.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "helpers of tests end where something is wrong"
)]

mod anew;
mod cluster;
mod counting;
mod kept;
mod property;
#[path = "../recorded/mod.rs"]
mod recorded;
mod unknown;
