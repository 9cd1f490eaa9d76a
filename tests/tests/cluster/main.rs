//! A cluster of network namespaces: real processes, real QUIC, links that can be cut.
#![allow(clippy::print_stderr, reason = "what is skipped is said, and what daemons said when a test fails")]

mod again;
mod bad_input;
mod client;
mod lab;
mod life;
mod strangers;
#[path = "../support/mod.rs"]
mod support;
