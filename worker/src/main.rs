//! The worker's binary. Its first act is to find out whether it was started as a shim.

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    phalanx_worker::shim::maybe_run();
    let text = match std::env::args().nth(1).as_deref() {
        Some("--version") => concat!("phalanx-worker ", env!("CARGO_PKG_VERSION"), "\n"),
        Some("--help") => {
            "phalanx-worker: the agent of one node\n\nUsage: phalanx-worker [--help | --version]\n"
        }
        _ => {
            let _ = writeln!(std::io::stderr(), "phalanx-worker: nothing to do; see phalanx-worker --help");
            return ExitCode::from(125);
        }
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(125),
    }
}
