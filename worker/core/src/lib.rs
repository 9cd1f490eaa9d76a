//! The deciding half of the worker: pods and ranks as state machines, without a runtime.

pub mod env;
pub mod shim;
