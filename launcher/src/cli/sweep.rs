//! Leftovers of launches whose launcher and shim were both killed.

use std::path::Path;

use phalanx_common::text::chain;
use phalanx_worker::sweep::{Stale, end, find_stale};

use super::args::SweepArgs;
use super::{Exit, print};
use crate::local::base_dir;
use crate::output::Printer;

/// `phalanx sweep`.
pub(super) fn sweep(args: &SweepArgs) -> anyhow::Result<Exit> {
    let mut text = String::new();
    let mut left = false;
    for stale in find_stale(&base_dir::path())? {
        text += &describe(&stale);
        if !args.dry_run
            && let Err(error) = end(&stale)
        {
            left = true;
            text += &format!("  not ended: {}\n", chain(&error));
        }
    }
    if text.is_empty() {
        text = "nothing is left behind\n".to_owned();
    }
    print(&text)?;
    Ok(if left { Exit::Phalanx } else { Exit::Success })
}

/// Before a launch: what a killed launcher left is named and ended, so that it holds no port, no GPU
/// and no memory of the new one.
pub(super) fn sweep_before_run(base: &Path, printer: &Printer) {
    let found = match find_stale(base) {
        Ok(found) => found,
        Err(error) => {
            return printer
                .line(format!("phalanx: warning: leftovers were not looked for: {}", chain(&error)));
        }
    };
    for stale in found {
        let ended = end(&stale);
        if !stale.processes.is_empty() {
            printer.line(format!(
                "phalanx: ended what a killed launcher left behind: {}",
                describe(&stale).trim_end()
            ));
        }
        if let Err(error) = ended {
            printer.line(format!("phalanx: warning: not ended: {}", chain(&error)));
        }
    }
}

fn describe(stale: &Stale) -> String {
    let processes: Vec<String> =
        stale.processes.iter().map(|(pid, name)| format!("{name} (pid {pid})")).collect();
    let what = if processes.is_empty() { "no process".to_owned() } else { processes.join(", ") };
    format!("{}: {what}, {}\n", stale.job, stale.dir.display())
}
