//! The agent on one machine: prepares, starts, watches and stops ranks, and reports.

pub mod discovery;
pub mod facts;
pub mod link;
