//! A cluster of network namespaces: real processes, real QUIC, links that can be cut.
#![allow(clippy::print_stderr, reason = "what is skipped is said, and what daemons said when a test fails")]

mod again;
mod bad_input;
mod begin;
mod client;
mod frames;
mod ipv6;
mod kills;
mod lab;
mod left;
mod life;
mod logs;
mod nodes;
mod peer;
mod placing;
mod probes;
#[allow(dead_code, clippy::unwrap_used, reason = "as the tests beside it use it")]
#[path = "../../../common/net/tests/support/mod.rs"]
mod quic;
mod strangers;
#[path = "../support/mod.rs"]
mod support;
mod topology;
mod users;
mod versions;
