//! `phalanx simulate`: what placement makes of a trace of jobs, or what faults leave of a job's time.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;
use phalanx_launcher_core::placement::fabric::Fabric;
use phalanx_launcher_core::placement::free::MOST;

use super::topo::{of_files, paint, write};
use super::{Exit, pretty, print};
use crate::output::ColorChoice;
use crate::simulate::{self, GoodputAsk, Plan};

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SimulateArgs {
    /// Files and folders that the cluster is read from: everything that `phalanx topo --from` reads.
    #[arg(long, value_name = "PATH", num_args = 1.., required_unless_present = "faults")]
    pub(crate) topology: Vec<PathBuf>,
    /// Traces of jobs, each replayed by itself: CSV with a header, `job,submitted_at,duration,gpus`, times in seconds.
    #[arg(long, value_name = "FILE", num_args = 1.., required_unless_present = "faults")]
    pub(crate) trace: Vec<PathBuf>,
    /// What of its time a job trains under faults, and which setting would change that: a profile of faults, or
    /// `default`.
    #[arg(long, value_name = "FILE", requires = "nodes",
          conflicts_with_all = ["topology", "trace", "policy", "load", "gpus_per_node", "jobs", "svg"])]
    pub(crate) faults: Option<PathBuf>,
    /// With --faults: nodes of the job.
    #[arg(long, value_name = "N", requires = "faults")]
    pub(crate) nodes: Option<u32>,
    /// Who places: `all`, or some of phalanx, random, first-fit, slurm, volcano, kueue, asw.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', default_value = "all")]
    pub(crate) policy: Vec<String>,
    /// GPU-hours that arrive per hour, in percent of the cluster's GPUs.
    #[arg(long, value_name = "PERCENT,…", value_delimiter = ',', default_value = "50,80,95")]
    pub(crate) load: Vec<u32>,
    /// GPUs of every node. A job of no more goes to one node, a larger one to whole nodes.
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub(crate) gpus_per_node: u32,
    /// Of the shifts of the trace's copies and of what a policy draws, or of faults; the same seed is the same outcome.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Days that are measured, after the warm-up [default: 14, with --faults 30].
    #[arg(long, value_name = "N")]
    pub(crate) days: Option<u32>,
    /// The most jobs of one run, warm-up included.
    #[arg(long, value_name = "N", default_value_t = 2_000_000)]
    pub(crate) jobs: usize,
    /// Print JSON, with everything over time.
    #[arg(long)]
    pub(crate) json: bool,
    /// Draw costs, fragmentation and delay into this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  phalanx simulate --topology fabric.out --trace june.csv
  phalanx simulate --topology hosts.csv --trace june.csv --policy phalanx,slurm --load 90 --days 60
  phalanx simulate --topology dumps/ --trace june.csv july.csv --svg june.svg
  phalanx simulate --faults default --nodes 2048
  phalanx simulate --faults ours.yaml --nodes 512 --days 90

The trace is laid over itself, each copy shifted by a random time, until as many GPU-hours arrive per hour as the load says. The
cluster fills for twice the longest job before anything is measured. Jobs start strictly in the order of their
submission under every policy, so that policies differ in where gangs go and in what that leaves for the next.

Policies beside phalanx follow their published descriptions: random nodes; the first by name; Slurm's topology/tree;
Volcano's HyperNodes; Kueue's BestFit; nodes sorted by the names of their switches (asw, as DLRover sorts ranks).
docs/placement.md says what the columns mean; docs/faults.md what a profile of faults has in it, and where the default
one comes from.";

/// Days where nobody says how many: of a trace, and of faults.
const DAYS: (u32, u32) = (14, 30);
/// Most nodes of a job under faults.
const MOST_NODES: u32 = 1_000_000;

pub(super) fn simulate(args: &SimulateArgs, color: ColorChoice) -> anyhow::Result<Exit> {
    match (&args.faults, args.nodes) {
        (Some(faults), Some(nodes)) => under_faults(args, faults, nodes, color),
        _ => of_trace(args, color),
    }
}

fn check_days(days: u32) -> anyhow::Result<()> {
    if !(1..=36_500).contains(&days) {
        bail!("--days {days}: from 1 to 36500 days are measured");
    }
    Ok(())
}

fn under_faults(args: &SimulateArgs, faults: &Path, nodes: u32, color: ColorChoice) -> anyhow::Result<Exit> {
    let days = args.days.unwrap_or(DAYS.1);
    check_days(days)?;
    if !(1..=MOST_NODES).contains(&nodes) {
        bail!("--nodes {nodes}: a job has from 1 to {MOST_NODES}");
    }
    let told = simulate::goodput(&GoodputAsk { faults, nodes, days, seed: args.seed })?;
    print(&match args.json {
        true => pretty(&simulate::forecast_json(&told)),
        false => simulate::forecast_table(&told, paint(color)),
    })
}

fn of_trace(args: &SimulateArgs, color: ColorChoice) -> anyhow::Result<Exit> {
    if !(1..=MOST).contains(&args.gpus_per_node) {
        bail!("--gpus-per-node {}: a node has from 1 to {MOST}", args.gpus_per_node);
    }
    let days = args.days.unwrap_or(DAYS.0);
    check_days(days)?;
    if let Some(load) = args.load.iter().find(|load| !(1..=100).contains(*load)) {
        bail!("--load {load}: a load is from 1 to 100 percent of the cluster");
    }
    let view = of_files(&args.topology, false)?;
    let fabric = Fabric::recorded(view.network());
    let named = || args.topology.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    if fabric.nodes().is_empty() {
        bail!("{}: it tells of switches, and of no node", named());
    }
    if fabric.tiers().is_empty() {
        bail!(
            "{}: nothing in it says which node hangs on which switch, so that no placement is better than another",
            named()
        );
    }
    let plan = Plan {
        traces: args.trace.clone(),
        policies: args.policy.clone(),
        loads: args.load.clone(),
        gpus_per_node: args.gpus_per_node,
        days,
        jobs: args.jobs,
        seed: args.seed,
    };
    let cases = simulate::run(&plan, &fabric)?;
    if let Some(path) = &args.svg {
        write(path, &simulate::svg(&cases, &fabric))?;
    }
    print(&match args.json {
        true => pretty(&simulate::json(&cases)),
        false => simulate::table(&cases, &fabric, paint(color)),
    })
}
