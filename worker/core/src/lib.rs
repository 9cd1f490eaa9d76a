//! The deciding half of the worker: its pods as state machines, without a runtime.
//!
//! [`Worker`] takes orders of the coordinator and reports of shims and returns commands. It has no
//! deadlines of its own: grace periods and leases are the shim's, which may outlive the worker.

mod devices;
pub mod env;
mod input;
mod plan;
mod pod;
pub mod prober;
pub mod shim;
mod worker;

pub use input::{Command, Confidential, Config, Facts, Input, ProbeKey};
pub use plan::{Unfit, log_root, mark, shim_plan};
pub use worker::Worker;
