//! What can be typed.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, Parser, Subcommand};
use phalanx_common::label;
use phalanx_common::topology::machine::CpuSet;

/// The agent of one node of a Phalanx cluster: prepares, starts, watches and stops the ranks of jobs.
///
/// `phalanx serve` on the coordinator's host prints the line that joins a node. As root a worker runs
/// each job as the user who submitted it; any other user's worker runs that user's jobs alone.
#[derive(Debug, Parser)]
#[command(name = "phalanx-worker", version, max_term_width = 100, after_help = EXAMPLES, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// What to log, to standard error; `debug` or any filter of tracing-subscriber.
    #[arg(long, global = true, env = "PHALANX_LOG", default_value = "info", value_name = "FILTER")]
    pub(crate) log: String,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  phalanx-worker join head.lab --token phx1...   join, then work until stopped
  PHALANX_TOKEN=phx1... phalanx-worker join head.lab,10.0.0.2:7429
  phalanx-worker run                             again after a restart, with the saved identity

Exit codes: 0 when it was told to stop, 125 for anything that keeps it from working.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Join a cluster with a token, then work.
    Join(JoinArgs),
    /// Work, as the node that joined before.
    Run(NodeArgs),
}

#[derive(Debug, Args)]
pub(crate) struct JoinArgs {
    /// Where the coordinator may be: HOST, HOST:PORT or [IPV6]:PORT, several with commas between.
    #[arg(value_name = "ADDRESS", value_delimiter = ',', required = true, env = "PHALANX_COORDINATOR")]
    pub(crate) coordinator: Vec<String>,
    /// The join token. Others see it in the list of processes: PHALANX_TOKEN or --token-file keep it from them.
    #[arg(long, env = "PHALANX_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
    /// A file with the join token; `-` reads it from standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    pub(crate) token_file: Option<PathBuf>,
    /// Only join: write the identity and end.
    #[arg(long)]
    pub(crate) no_run: bool,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct NodeArgs {
    /// Directory of the identity, the pods' directories and the log files; by default
    /// /var/lib/phalanx/worker for root, else phalanx/worker in XDG_STATE_HOME or ~/.local/state.
    #[arg(long, value_name = "DIR", env = "PHALANX_WORKER_STATE_DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Address of the data plane, where ranks of other nodes reach this one; by default the source
    /// address of the route to the coordinator.
    #[arg(long, value_name = "IP", conflicts_with = "interface", env = "PHALANX_ADDRESS")]
    pub(crate) address: Option<IpAddr>,
    /// Network interface of the data plane: its first address is used.
    #[arg(long, value_name = "NAME", env = "PHALANX_INTERFACE")]
    pub(crate) interface: Option<String>,
    /// Ports given out to jobs, `20000-29999`; by default those outside the ephemeral range.
    #[arg(long, value_name = "A-B", env = "PHALANX_PORTS", value_parser = ports)]
    pub(crate) ports: Option<(u16, u16)>,
    /// Ranks this node takes at a time; by default one per GPU, or per core where there is none. GPUs that
    /// processes of others compute on, and those that do not answer, do not count; they are counted whenever
    /// the worker connects. More slots than GPUs: ranks that ask for no devices are given none, and share them.
    #[arg(long, value_name = "N", env = "PHALANX_SLOTS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) slots: Option<u32>,
    /// A label of this node, `pool=a`; again for more. `phalanx node label` changes them later.
    #[arg(long = "label", value_name = "NAME=VALUE", env = "PHALANX_LABELS", value_delimiter = ',', value_parser = label::parse)]
    pub(crate) labels: Vec<(String, String)>,
    /// CPUs that are kept for the system, as a list: `0-1,64`. They are no cores of ranks when these are counted
    /// and share them, and no rank is bound to them.
    #[arg(long, value_name = "CPUS", env = "PHALANX_RESERVED_CPUS")]
    pub(crate) reserved_cpus: Option<CpuSet>,
    /// Memory that is kept for the system: `8Gi`. It is no memory that jobs ask for; nothing is limited by it.
    #[arg(long, value_name = "SIZE", env = "PHALANX_RESERVED_MEMORY", value_parser = size)]
    pub(crate) reserved_memory: Option<u64>,
    /// Count GPUs that processes of others compute on as slots, too. Processes that only draw never matter.
    #[arg(long, env = "PHALANX_SHARE", value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    pub(crate) share: bool,
    /// Run jobs of root, too. Without it the coordinator's root has no way to be root on this node.
    #[arg(long, env = "PHALANX_ALLOW_ROOT_JOBS", value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    pub(crate) allow_root_jobs: bool,
}

/// Fewer would not do for a handful of jobs: each takes a port for its ranks and one per pod.
const FEWEST_PORTS: u16 = 16;

fn ports(text: &str) -> Result<(u16, u16), String> {
    let parsed =
        text.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    match parsed {
        Some((first, last)) if first >= 1024 && last >= first && last - first + 1 >= FEWEST_PORTS => {
            Ok((first, last))
        }
        Some(_) => Err(format!("at least {FEWEST_PORTS} ports from 1024 on, the lower number first")),
        None => Err("expected two port numbers, for example 20000-29999".to_owned()),
    }
}

fn size(text: &str) -> Result<u64, String> {
    let units = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("", 0)];
    let found = units.iter().find_map(|(unit, shift)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(1 << shift)
    });
    found.ok_or_else(|| "expected bytes with Ki, Mi, Gi or Ti: 8Gi".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_or_said_back() {
        assert_eq!((size("8Gi"), size("7")), (Ok(8 << 30), Ok(7)));
        for wrong in ["", "8G", "-1", "99999999Ti"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_range_of_ports_is_two_numbers_that_leave_room() {
        assert_eq!(ports("20000-29999"), Ok((20_000, 29_999)));
        for wrong in ["20000", "20000-", "a-b", "300-400", "20010-20000", "20000-20003", "1-70000"] {
            assert!(ports(wrong).is_err(), "{wrong}");
        }
    }
}
