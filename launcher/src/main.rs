//! `phalanx`: launches distributed training on bare metal.

mod cli;
mod cluster;
mod driver;
mod exit;
#[cfg(feature = "local")]
mod local;
mod output;
mod remote;
mod run;
mod server;
mod ship;
mod simulate;
mod store;
mod taken;
mod topo;

use std::process::ExitCode;

fn main() -> ExitCode {
    // A shim is this program too: it must begin before anything here allocates, opens or spawns.
    #[cfg(feature = "local")]
    phalanx_worker::shim::maybe_run();
    cli::main().into()
}
