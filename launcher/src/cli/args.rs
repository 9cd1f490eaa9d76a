//! What can be typed.

mod needs;
mod nodes;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, Parser, Subcommand};
use clap_complete::Shell;
use phalanx_common::spec::OutputMode;

use self::needs::NeedsArgs;
pub(crate) use self::nodes::{NodeCommand, NodesArgs};
use super::simulate::SimulateArgs;
use super::topo::args::TopoArgs;
use crate::output::ColorChoice;

/// Launches distributed training on bare metal.
///
/// `phalanx run` starts the ranks of a job as one gang: all are prepared and held first, then released
/// together. One that fails stops the others, is named with its last words, and the gang starts anew
/// if restarts are left. It runs on this machine, or on the cluster that this user is logged in to.
#[derive(Debug, Parser)]
#[command(name = "phalanx", version, max_term_width = 100, after_help = EXAMPLES, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// When to use colours; `auto` by default.
    #[arg(long, global = true, value_enum, env = "PHALANX_COLOR", value_name = "WHEN")]
    pub(crate) color: Option<ColorChoice>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  phalanx run -n 4 -- python train.py       four ranks on this machine
  phalanx run -n gpu -- python train.py     one rank for each visible GPU
  phalanx run -f job.yaml --max-restarts 3  a job file; flags win over it
  phalanx check -f job.yaml                 what the file means, without running it
  phalanx topo --from fabric.out            what a cluster's network is, and what is wrong with it

  phalanx serve                             begin a cluster: this host coordinates
  phalanx login                             on that host: run jobs on the cluster from now on
  phalanx run --nodes 2 --ranks-per-node 4 -- python train.py
  phalanx submit -f job.yaml                the same without waiting; then ps, status, logs, stop
  phalanx run --gpus 256 --tp 8 --pp 4 --require-tier leaf -- python train.py

What no flag and no variable says of coordinator, identity, output and color may stand in a file:
PHALANX_CONFIG, else ~/.config/phalanx/config.yaml, else /etc/phalanx/config.yaml.

Exit codes of `run`: 0 when every rank ended with 0; else that of the rank that failed first
(128 + n for signal n); 125 for an error of Phalanx or of the job file; 126 and 127 for a command
that cannot be executed or found.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a job in the foreground: on the cluster if you are logged in to one, else on this machine.
    Run(Box<RunArgs>),
    /// Give a job to the cluster, print its id, and do not wait.
    Submit(Box<SubmitArgs>),
    /// Follow a job of the cluster in the foreground; Ctrl-C stops the job.
    Attach(AttachArgs),
    /// List the cluster's jobs.
    Ps(PsArgs),
    /// Show one job of the cluster: where it runs, or why it waits.
    Status(JobRefArgs),
    /// Print the output of a job of the cluster.
    Logs(LogsArgs),
    /// Stop a job of the cluster.
    Stop(StopArgs),
    /// Freeze a job of the cluster: its processes stop where they are, one that waits for nodes gets none.
    Suspend(JobsArgs),
    /// Let a suspended job go on.
    Resume(JobsArgs),
    /// List the cluster's nodes.
    Nodes(ListArgs),
    /// Label nodes, keep new pods away from them.
    #[command(subcommand)]
    Node(NodeCommand),
    /// Look at a topology: the machines, the networks between them, and what is wrong with them.
    Topo(Box<TopoArgs>),
    /// Replay a trace of jobs on a topology, under several policies: what their traffic costs, how long they wait,
    /// what is left in one piece. Or, with --faults, what of its time a job trains.
    Simulate(Box<SimulateArgs>),
    /// Join tokens: what lets a node into the cluster.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Users of the cluster.
    #[command(subcommand)]
    User(UserCommand),
    /// Become a user of the cluster: on the coordinator's host, or anywhere with a bundle.
    Login(LoginArgs),
    /// Coordinate a cluster: this host decides what runs where.
    Serve(ServeArgs),
    /// Read a job file and flags, and print the job they mean and what would come with it; runs nothing and
    /// asks nobody.
    Check(Box<CheckArgs>),
    /// Say where a job would go, which rank would be where and what that costs; runs nothing. Ends with 1 if it
    /// does not fit.
    Plan(Box<PlanArgs>),
    /// Say why a job of the cluster is where it is, or why it is nowhere.
    Explain(ExplainArgs),
    /// Print the JSON Schema of the job file, for editors.
    Schema,
    /// Find processes that a killed launcher left behind, and end them.
    #[cfg(feature = "local")]
    Sweep(SweepArgs),
    /// Print a completion script for a shell.
    Completions {
        /// The shell to complete for.
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) job: JobArgs,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Run on this machine, whatever cluster there is.
    #[arg(long, conflicts_with_all = ["detach", "no_wait", "as_user"])]
    pub(crate) local: bool,
    /// In a cluster: end with 125 instead of waiting for room.
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// In a cluster: print the job's id and end; the job does not depend on this client.
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// As an operator: run the job for this user.
    #[arg(long = "as", value_name = "USER")]
    pub(crate) as_user: Option<String>,
    /// Print events as JSON lines on standard output, ranks' output among them.
    #[arg(long)]
    pub(crate) json: bool,
    /// Say nothing but warnings and failures.
    #[arg(short, long, env = "PHALANX_QUIET", value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    pub(crate) quiet: bool,
    /// Say at the end where start time went.
    #[arg(long)]
    pub(crate) timings: bool,
    /// Log what Phalanx itself does, to standard error; `debug`, `phalanx=trace` or any filter of
    /// tracing-subscriber.
    #[arg(long, env = "PHALANX_LOG", value_name = "FILTER")]
    pub(crate) log: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) job: JobArgs,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// On the cluster that these files tell of, with nothing on it, instead of asking a coordinator: whatever
    /// `phalanx topo --from` takes.
    #[arg(long, value_name = "PATH", num_args = 1.., conflicts_with = "as_user")]
    pub(crate) topology: Vec<PathBuf>,
    /// With --topology: GPUs of every node of which no file tells what is in it.
    #[arg(long, value_name = "N", requires = "topology")]
    pub(crate) gpus_per_node: Option<u32>,
    /// As a job of this user; for operators.
    #[arg(long = "as", value_name = "USER")]
    pub(crate) as_user: Option<String>,
    /// Print JSON: every rank with its node, devices, CPUs and ports.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The job, or the beginning of its id.
    #[arg(value_name = "JOB")]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) job: JobArgs,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// As this machine would run it, whatever cluster there is.
    #[arg(long)]
    pub(crate) local: bool,
}

/// Which cluster, and as whom.
#[derive(Debug, Args)]
pub(crate) struct ClusterArgs {
    /// Where the coordinator may be: HOST, HOST:PORT or [IPV6]:PORT, several with commas between. By
    /// default where the configuration says, else where the identity says.
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', env = "PHALANX_COORDINATOR")]
    pub(crate) coordinator: Vec<String>,
    /// Identity file; by default that of `phalanx login`.
    #[arg(long, value_name = "FILE", env = "PHALANX_IDENTITY")]
    pub(crate) identity: Option<PathBuf>,
    /// Where the configuration puts this user's identity.
    #[arg(skip)]
    pub(crate) usual_identity: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct SubmitArgs {
    #[command(flatten)]
    pub(crate) job: JobArgs,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// As an operator: run the job for this user.
    #[arg(long = "as", value_name = "USER")]
    pub(crate) as_user: Option<String>,
}

/// One job of the cluster.
#[derive(Debug, Args)]
pub(crate) struct JobRefArgs {
    /// The job's id, or an unambiguous beginning of it.
    #[arg(value_name = "JOB")]
    pub(crate) id: String,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

#[derive(Debug, Args)]
pub(crate) struct AttachArgs {
    /// The job's id, or an unambiguous beginning of it.
    #[arg(value_name = "JOB")]
    pub(crate) id: String,
    /// The job depends on this client from now on: it is stopped 60 s after this client is lost.
    #[arg(long)]
    pub(crate) wait: bool,
    /// What to show of the ranks' output, `label` by default.
    #[arg(short, long, value_name = "label|raw|rank0|files", env = "PHALANX_OUTPUT")]
    pub(crate) output: Option<String>,
    /// What the configuration says of it.
    #[arg(skip)]
    pub(crate) usual_output: Option<OutputMode>,
    /// Print events as JSON lines on standard output, ranks' output among them.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PsArgs {
    /// Jobs that have ended, too.
    #[arg(short, long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) list: ListArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The job's id, or an unambiguous beginning of it.
    #[arg(value_name = "JOB")]
    pub(crate) id: String,
    /// Go on as more is written, until the job ends.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// One rank alone, its bytes as they are.
    #[arg(long, value_name = "N")]
    pub(crate) rank: Option<u32>,
    /// One attempt alone, counted from 1; by default all that there are.
    #[arg(long, value_name = "N")]
    pub(crate) generation: Option<u32>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

#[derive(Debug, Args)]
pub(crate) struct JobsArgs {
    /// The jobs' ids, or unambiguous beginnings of them.
    #[arg(value_name = "JOB", required = true)]
    pub(crate) ids: Vec<String>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    /// The jobs' ids, or unambiguous beginnings of them.
    #[arg(value_name = "JOB", required = true)]
    pub(crate) ids: Vec<String>,
    /// At once, without the grace period.
    #[arg(short, long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a join token and print the line that joins a node with it.
    Create(TokenCreateArgs),
    /// List join tokens; their secrets are shown only when they are made.
    List(ListArgs),
    /// Make a token useless from now on.
    Revoke {
        /// The token's id.
        id: String,
        #[command(flatten)]
        cluster: ClusterArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct TokenCreateArgs {
    /// How many nodes may join with it.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) uses: u32,
    /// How long it is good for: 90s, 10m or 24h; a day at most.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = lifetime)]
    pub(crate) ttl: Duration,
    /// What it is for, as `list` shows it.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) note: String,
    /// Print the token alone.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Add a user and write a bundle that `phalanx login --bundle` installs.
    Add(UserAddArgs),
    /// List users.
    List(ListArgs),
    /// Remove a user: certificates of that name count no more.
    Remove {
        /// The user's name.
        name: String,
        #[command(flatten)]
        cluster: ClusterArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct UserAddArgs {
    /// The user's name in the cluster.
    pub(crate) name: String,
    /// The Unix user its jobs run as; a submitter has one.
    #[arg(long, value_name = "USER")]
    pub(crate) unix_user: Option<String>,
    /// What the user may do.
    #[arg(long, value_name = "operator|submitter|viewer", default_value = "submitter")]
    pub(crate) role: String,
    /// Where to write the bundle; it holds a private key.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// A bundle from the cluster's operator; without one, the coordinator has to run on this host.
    #[arg(long, value_name = "FILE", conflicts_with = "socket")]
    pub(crate) bundle: Option<PathBuf>,
    /// The coordinator's login socket, if its state directory is not the usual one.
    #[arg(long, value_name = "PATH", env = "PHALANX_LOGIN_SOCKET")]
    pub(crate) socket: Option<PathBuf>,
    /// Where to write the identity; by default where the configuration says, else phalanx/identity.json in
    /// XDG_CONFIG_HOME or ~/.config.
    #[arg(long, value_name = "FILE", env = "PHALANX_IDENTITY")]
    pub(crate) identity: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// UDP address to listen on; by default port 7429 of every address, IPv4 and IPv6.
    #[arg(long, value_name = "IP:PORT", env = "PHALANX_LISTEN")]
    pub(crate) listen: Option<SocketAddr>,
    /// How nodes and clients reach this host, as join lines and bundles say it; by default its host name.
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', env = "PHALANX_ADVERTISE")]
    pub(crate) advertise: Vec<String>,
    /// Directory of the cluster's records, CA and keys; by default /var/lib/phalanx/coordinator for
    /// root, else phalanx/coordinator in XDG_STATE_HOME or ~/.local/state.
    #[arg(long, value_name = "DIR", env = "PHALANX_STATE_DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Files and folders about the cluster's networks, beside what nodes find out: a dump, another tool's tree, an
    /// operator's statement. Read again when they change; of any kind that `phalanx topo --from` reads, but machines and whole snapshots.
    #[arg(long, value_name = "PATH", value_delimiter = ',', env = "PHALANX_TOPOLOGY")]
    pub(crate) topology: Vec<PathBuf>,
    /// What to log, to standard error; `debug` or any filter of tracing-subscriber.
    #[arg(long, env = "PHALANX_LOG", default_value = "info", value_name = "FILTER")]
    pub(crate) log: String,
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let factor = match unit {
        "" if !number.is_empty() => return Err(format!("give a unit: {number}s, {number}m or {number}h")),
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err("expected a number with s, m or h, for example 10m".to_owned()),
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    match seconds {
        Some(seconds @ 1..=86_400) => Ok(Duration::from_secs(seconds)),
        _ => Err("expected from 1s to 24h".to_owned()),
    }
}

/// A job, by file and flags.
#[derive(Debug, Args)]
pub(crate) struct JobArgs {
    /// Job file (YAML). `-` reads it from standard input.
    #[arg(short = 'f', long, value_name = "FILE", env = "PHALANX_FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Ranks to start, 1 by default: a number, `gpu` for one per visible GPU, `cpu` for one per allowed core.
    #[arg(short = 'n', long, value_name = "N|gpu|cpu", allow_hyphen_values = true)]
    pub(crate) ranks: Option<String>,
    /// Nodes to span, the same number of ranks on each; more than one takes a cluster.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) nodes: Option<String>,
    /// Ranks on each node.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) ranks_per_node: Option<String>,
    /// Name of the job; by default that of its script.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Directory the ranks start in.
    #[arg(short = 'C', long, value_name = "DIR")]
    pub(crate) working_dir: Option<String>,
    /// Set a variable for the ranks; without a value, pass this one on as it is. Repeatable.
    #[arg(short = 'e', long = "env", value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// Set the variables of a file: a NAME=VALUE on each line, `#` begins a comment; --env wins. Repeatable.
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
    /// Give the ranks this variable of yours, or the content of a file under this name, without it being
    /// stored or shown anywhere; or the value that the job file asks for as `{secret: NAME}`. Repeatable.
    #[arg(long, value_name = "NAME[=FILE]")]
    pub(crate) secret: Vec<String>,
    /// In a cluster: do not bring the active virtual environment or conda prefix along.
    #[arg(long)]
    pub(crate) no_virtual_env: bool,
    /// Send this directory along; ranks start in a copy of it. Honours .gitignore; 256 MiB at most.
    #[arg(long, value_name = "DIR", conflicts_with = "working_dir")]
    pub(crate) ship: Option<String>,
    /// Fail if not every rank is ready this many seconds after the start; 600 by default.
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true)]
    pub(crate) start_timeout: Option<String>,
    /// Seconds between SIGTERM and SIGKILL when ranks are stopped; 30 by default.
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true)]
    pub(crate) grace: Option<String>,
    /// Restart the gang up to this many times when a rank fails; 0 by default.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) max_restarts: Option<String>,
    /// Whether ranks start again: `Never`, `OnFailure` (the default), or `Always`, after a good end as well.
    #[arg(long, value_name = "Never|OnFailure|Always")]
    pub(crate) restart_policy: Option<String>,
    /// What starts again after a rank failed: all ranks (`gang`, the default), or, while the others go on, those of its node
    /// (`pod`) or itself alone (`rank`).
    #[arg(long, value_name = "gang|pod|rank")]
    pub(crate) restart_scope: Option<String>,
    /// End the job once it was active for so long, restarts included.
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true)]
    pub(crate) deadline: Option<String>,
    /// Take the job and let it wait until it is resumed.
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) suspend: Option<String>,
    /// In a cluster: whether the job starts anew without a lost node as soon as that is known to be gone
    /// or was unreachable for long (`lenient`, the default), or only once its lease has lapsed (`strict`).
    #[arg(long, value_name = "lenient|strict")]
    pub(crate) fencing: Option<String>,
    /// In a cluster: seconds after which a node that cannot be reached is given up; 120 by default.
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true)]
    pub(crate) unreachable: Option<String>,
    /// In a cluster: seconds a pod may run without hearing from a coordinator; 600 by default.
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true)]
    pub(crate) lease: Option<String>,
    /// Who gets the stop signal: a rank's process group (the default), or its process alone.
    #[arg(long, value_name = "group|process")]
    pub(crate) stop_scope: Option<String>,
    /// When to keep the job's directory (TMPDIR of its ranks); `never` by default.
    #[arg(long, value_name = "never|onFailure|always")]
    pub(crate) keep: Option<String>,
    /// What to show of the ranks' output, `label` by default; all of it is in the log files in any case.
    #[arg(short, long, value_name = "label|raw|rank0|files", env = "PHALANX_OUTPUT")]
    pub(crate) output: Option<String>,
    /// What the configuration says of it.
    #[arg(skip)]
    pub(crate) usual_output: Option<OutputMode>,
    /// Directory of the log files: DIR/<job>/<generation>/<rank>/{stdout,stderr}.log. By default
    /// phalanx-<uid>/logs in TMPDIR; nothing removes them.
    #[arg(long, value_name = "DIR", env = "PHALANX_LOG_DIR")]
    pub(crate) log_dir: Option<String>,
    /// Rotate a log file at this size, for example 256Mi.
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_file_size: Option<String>,
    /// Rotated log files to keep beside the current one, for each stream of each rank.
    #[arg(long, value_name = "N")]
    pub(crate) keep_files: Option<String>,
    #[command(flatten)]
    pub(crate) needs: NeedsArgs,
    /// The program that every rank runs, with its arguments.
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

#[cfg(feature = "local")]
#[derive(Debug, Args)]
pub(crate) struct SweepArgs {
    /// Only name them.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_has_a_unit_and_lies_within_a_day() {
        assert_eq!(lifetime("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(lifetime("24h"), Ok(Duration::from_secs(86_400)));
        assert_eq!(lifetime("10"), Err("give a unit: 10s, 10m or 10h".to_owned()));
        for wrong in ["", "0s", "25h", "m", "1d", "99999999999999999999h"] {
            assert!(lifetime(wrong).is_err(), "{wrong}");
        }
    }
}
