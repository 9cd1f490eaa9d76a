//! Devices, groups and placement of a job.

mod any;
mod flags;
mod meaning;
mod wrong;

pub(crate) use any::{needing, seed};

use phalanx_common::spec::{Flags, JobSpec};

use crate::run_in_cluster;

/// A job of a cluster with these keys beside its command.
fn job(text: &str) -> JobSpec {
    told(text).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

fn told(text: &str) -> Result<JobSpec, String> {
    run_in_cluster(&format!("command: [a]\n{text}\n"), &Flags::default())
}
