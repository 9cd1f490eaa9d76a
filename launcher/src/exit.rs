//! How this program ends.

use std::process::ExitCode;

/// Exit status of `phalanx`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Success,
    /// The job's own code.
    Job(u8),
    /// What was looked at is not as it should be.
    Findings,
    /// Phalanx could not do what was asked: bad input, or an error of its own.
    Phalanx,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Success => 0,
            Exit::Job(code) => code,
            Exit::Findings => 1,
            Exit::Phalanx => 125,
        })
    }
}
