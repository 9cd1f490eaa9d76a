//! What can be typed behind `phalanx topo`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::args::ClusterArgs;
use crate::topo::Format;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub(crate) struct TopoArgs {
    #[command(subcommand)]
    pub(crate) command: Option<TopoCommand>,
    /// Show this node: its devices, the paths between them, and where its ports go. Without it the whole
    /// cluster, or the machine if the files tell of one machine alone.
    pub(crate) node: Option<String>,
    #[command(flatten)]
    pub(crate) from: FromArgs,
    /// Print JSON: the snapshot that --from reads again, or of a node its machine.
    #[arg(long, conflicts_with_all = ["svg", "conflicts"])]
    pub(crate) json: bool,
    /// Draw the cluster into this file.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["node", "conflicts"])]
    pub(crate) svg: Option<PathBuf>,
    /// Show what sources disagree about: every side, what counts and why.
    #[arg(long, conflicts_with = "node")]
    pub(crate) conflicts: bool,
}

const EXAMPLES: &str = "\
Examples:
  phalanx topo                                   the cluster, as its nodes find it
  phalanx topo gpu-07                            one of its nodes
  phalanx topo check                             what is wrong with it, and what to do
  ibnetdiscover | phalanx topo --from -          the InfiniBand fabric that this host sees
  phalanx topo --from fabric.out site.yaml       a dump, and what the operator states
  phalanx topo --from dumps/                     every file of a folder that is known
  phalanx topo gpu-07 --from dumps/              one node
  phalanx topo --svg cluster.svg --from dumps/   a picture
  phalanx topo check --from dumps/               what is wrong, and what to do
  phalanx topo export slurm-conf --from dumps/ > topology.conf

A file's kind is known by its content, not its name. A list of lldpctl does not say whose it is:
its file is named after the node, gpu-07.json. A node that is called check or export:
`phalanx topo --from PATH -- check`. docs/topology.md has the kinds, how to make each dump, and what
an operator can state.";

#[derive(Debug, Subcommand)]
pub(crate) enum TopoCommand {
    /// Look for what is wrong: swapped rails, missing leaves, lost uplinks, duplicate names, sources that
    /// disagree, GPUs whose nearest port is down, nodes unlike their peers.
    #[command(after_help = CHECK)]
    Check(TopoCheckArgs),
    /// Write the topology for another program.
    #[command(after_help = EXPORT)]
    Export(TopoExportArgs),
}

const CHECK: &str = "\
Exit codes: 0 without findings, 1 with some, 125 if the topology cannot be read.";

const EXPORT: &str = "\
Examples:
  phalanx topo export slurm-conf --from fabric.out > /etc/slurm/topology.conf
  phalanx topo export json --out cluster.json --from dumps/";

#[derive(Debug, Args)]
pub(crate) struct TopoCheckArgs {
    #[command(flatten)]
    pub(crate) from: FromArgs,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TopoExportArgs {
    /// What to write.
    #[arg(value_enum)]
    pub(crate) format: Format,
    #[command(flatten)]
    pub(crate) from: FromArgs,
    /// Into this file instead of standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// Where the topology comes from.
#[derive(Debug, Args)]
pub(crate) struct FromArgs {
    /// Files and folders to read instead of asking the cluster, `-` for standard input; what they tell is put
    /// together. The last argument, for it takes all that follows.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub(crate) from: Vec<PathBuf>,
    /// Name every file that was skipped, every origin and adapter.
    #[arg(short, long)]
    pub(crate) verbose: bool,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}
