//! The agent on one machine: prepares, starts, watches and stops ranks, and reports.

pub mod agent;
pub mod check;
pub mod discovery;
pub mod facts;
pub mod link;
pub mod shim;
pub mod survey;
pub mod sweep;
