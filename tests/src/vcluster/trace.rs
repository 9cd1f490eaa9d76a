//! The log of a run, kept only when somebody will read it.

use phalanx_common::time::Timestamp;

#[derive(Debug, Default)]
pub(crate) struct Trace {
    pub(crate) enabled: bool,
    lines: Vec<String>,
}

impl Trace {
    pub(crate) fn new(enabled: bool) -> Trace {
        Trace { enabled, lines: Vec::new() }
    }

    /// Adds a line; `line` is only made if it is kept.
    pub(crate) fn add(&mut self, at: Timestamp, line: impl FnOnce() -> String) {
        if self.enabled {
            self.lines.push(format!("{at} {}", line()));
        }
    }

    pub(crate) fn lines(&self) -> &[String] {
        &self.lines
    }
}
