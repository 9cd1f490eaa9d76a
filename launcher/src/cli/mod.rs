//! The command line: what was typed, what it means, what to do.

mod args;
#[cfg(feature = "local")]
mod job;
#[cfg(feature = "local")]
mod run;
#[cfg(feature = "local")]
mod sweep;

use std::io::Write;

use clap::{CommandFactory, Parser};
use clap_complete::Shell;

use crate::exit::Exit;
use args::{Cli, Command};

/// Reads the command line and does what it says.
pub(crate) fn main() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let done = match cli.command {
        #[cfg(feature = "local")]
        Command::Run(run) => run::run(*run, cli.color),
        #[cfg(feature = "local")]
        Command::Check(job) => job::check(&job),
        Command::Schema => print(&pretty(&phalanx_common::spec::json_schema())),
        #[cfg(feature = "local")]
        Command::Sweep(sweep) => sweep::sweep(&sweep),
        Command::Completions { shell } => print(&completions(shell)),
    };
    done.unwrap_or_else(|error| {
        complain(&error);
        Exit::Phalanx
    })
}

/// `--help` and `--version` are answers; anything else clap has to say is a mistake on the command
/// line, which ends with 125 like every error that is not the job's own.
fn usage(error: &clap::Error) -> Exit {
    // Nobody reads any more: nothing to do about that.
    let _ = error.print();
    if error.use_stderr() { Exit::Phalanx } else { Exit::Success }
}

/// Standard output of commands that print one document.
fn print(text: &str) -> anyhow::Result<Exit> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(Exit::Success),
    }
}

fn complain(error: &anyhow::Error) {
    let _ = writeln!(std::io::stderr(), "phalanx: {error:#}");
}

fn pretty(value: &impl serde::Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "phalanx", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}
