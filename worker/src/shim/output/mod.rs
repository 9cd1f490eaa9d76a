//! A rank's output: from its pipes to its log files, with the last bytes kept for its exit report.

mod backlog;
mod files;
mod stream;
mod times;
mod watch;

pub(super) use files::LogPlace;
pub(super) use stream::{Drained, OutputStream, TURN};
pub(super) use watch::Watch;
