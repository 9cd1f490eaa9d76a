//! The shim with real processes. Every test starts a shim of its own, waits for what it hears with a
//! bound, and leaves nothing behind.

#![allow(clippy::unwrap_used, reason = "tests, and helpers that run in tests alone")]

mod again;
mod bound;
mod cost;
mod ending;
mod hooks;
mod init;
mod isolation;
mod memory;
mod orphans;
mod output;
mod probes;
mod refusals;
mod start;
mod support;
mod sweeping;
