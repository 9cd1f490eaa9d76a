//! `phalanx`: launches distributed training on bare metal.

mod cli;
#[cfg(feature = "local")]
mod driver;
mod exit;
#[cfg(feature = "local")]
mod local;
#[cfg(feature = "local")]
mod output;
#[cfg(feature = "local")]
mod run;
#[cfg(feature = "local")]
mod server;
#[cfg(feature = "local")]
mod store;

use std::process::ExitCode;

fn main() -> ExitCode {
    // A shim is this program too: it must begin before anything here allocates, opens or spawns.
    #[cfg(feature = "local")]
    phalanx_worker::shim::maybe_run();
    cli::main().into()
}
