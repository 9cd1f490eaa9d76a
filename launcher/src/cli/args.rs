//! What can be typed.

#[cfg(feature = "local")]
use std::path::PathBuf;

#[cfg(feature = "local")]
use clap::builder::FalseyValueParser;
#[cfg(feature = "local")]
use clap::{ArgAction, Args};
use clap::{Parser, Subcommand};
use clap_complete::Shell;

#[cfg(feature = "local")]
use crate::output::ColorChoice;

/// Launches distributed training on bare metal.
///
/// `phalanx run` starts the ranks of a job on this machine as one gang: all are prepared and held
/// first, then released together. One that fails stops the others, is named with its last words,
/// and the gang starts anew if restarts are left.
#[derive(Debug, Parser)]
#[command(name = "phalanx", version, max_term_width = 100, after_help = EXAMPLES, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// When to use colours.
    #[cfg(feature = "local")]
    #[arg(long, global = true, value_enum, default_value_t, env = "PHALANX_COLOR", value_name = "WHEN")]
    pub(crate) color: ColorChoice,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  phalanx run -n 4 -- python train.py       four ranks on this machine
  phalanx run -n gpu -- python train.py     one rank for each visible GPU
  phalanx run -f job.yaml --max-restarts 3  a job file; flags win over it
  phalanx check -f job.yaml                 what the file means, without running it

Exit codes of `run`: 0 when every rank ended with 0; else that of the rank that failed first
(128 + n for signal n); 125 for an error of Phalanx or of the job file; 126 and 127 for a command
that cannot be executed or found.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a job on this machine, in the foreground.
    #[cfg(feature = "local")]
    Run(Box<RunArgs>),
    /// Read a job file and flags, and print the job they mean; runs nothing.
    #[cfg(feature = "local")]
    Check(Box<JobArgs>),
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

#[cfg(feature = "local")]
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) job: JobArgs,
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

/// A job, by file and flags.
#[cfg(feature = "local")]
#[derive(Debug, Args)]
pub(crate) struct JobArgs {
    /// Job file (YAML). `-` reads it from standard input.
    #[arg(short = 'f', long, value_name = "FILE", env = "PHALANX_FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Ranks to start, 1 by default: a number, `gpu` for one per visible GPU, `cpu` for one per allowed core.
    #[arg(short = 'n', long, value_name = "N|gpu|cpu", allow_hyphen_values = true)]
    pub(crate) ranks: Option<String>,
    /// Nodes to span; this version has one.
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
    /// Fail if not every rank is ready this many seconds after the start; 600 by default.
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true)]
    pub(crate) start_timeout: Option<String>,
    /// Seconds between SIGTERM and SIGKILL when ranks are stopped; 30 by default.
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true)]
    pub(crate) grace: Option<String>,
    /// Restart the gang up to this many times when a rank fails; 0 by default.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) max_restarts: Option<String>,
    /// Who gets the stop signal: a rank's process group (the default), or its process alone.
    #[arg(long, value_name = "group|process")]
    pub(crate) stop_scope: Option<String>,
    /// When to keep the job's directory (TMPDIR of its ranks); `never` by default.
    #[arg(long, value_name = "never|onFailure|always")]
    pub(crate) keep: Option<String>,
    /// What to show of the ranks' output, `label` by default; all of it is in the log files in any case.
    #[arg(short, long, value_name = "label|raw|rank0|files", env = "PHALANX_OUTPUT")]
    pub(crate) output: Option<String>,
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
