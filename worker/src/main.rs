//! The worker's binary. Its first act is to find out whether it was started as a shim.

use std::io::Write;
use std::process::ExitCode;

const HELP: &str = "\
The agent of one node of a Phalanx cluster: prepares, starts, watches and stops the ranks of jobs.

Usage: phalanx-worker [--help | --version]

This version of Phalanx runs jobs on one machine, where `phalanx run` carries the worker inside it:
nothing has to be started here. `phalanx run --help` says how.
";

fn main() -> ExitCode {
    phalanx_worker::shim::maybe_run();
    let text = match std::env::args().nth(1).as_deref() {
        Some("-V" | "--version") => concat!("phalanx-worker ", env!("CARGO_PKG_VERSION"), "\n"),
        Some("-h" | "--help") => HELP,
        _ => {
            // Nobody reads any more: the exit code says it too.
            let _ = std::io::stderr().write_all(HELP.as_bytes());
            return ExitCode::from(125);
        }
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(125),
    }
}
