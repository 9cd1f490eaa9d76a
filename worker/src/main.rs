//! The worker's binary. Its first act is to find out whether it was started as a shim.

mod cli;
mod dial;
mod node;
mod serve;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use phalanx_common::text::chain;

/// Exit code of everything that is not a rank's.
const FAILED: u8 = 125;

fn main() -> ExitCode {
    phalanx_worker::shim::maybe_run();
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nobody reads any more: the exit code says it too.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(FAILED) } else { ExitCode::SUCCESS };
        }
    };
    match serve::main(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "phalanx-worker: {}", chain(error.as_ref()));
            ExitCode::from(FAILED)
        }
    }
}
