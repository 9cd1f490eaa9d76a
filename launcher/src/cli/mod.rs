//! The command line: what was typed, what it means, what to do.

mod admin;
mod args;
mod check;
mod cluster;
mod env;
mod job;
#[cfg(feature = "local")]
mod local;
mod nodes;
mod output;
mod plan;
mod run;
mod settings;
mod simulate;
#[cfg(feature = "local")]
mod sweep;
mod topo;

use std::io::Write;
use std::str::FromStr;

use anyhow::Context;

use clap::{CommandFactory, Parser};
use clap_complete::Shell;
use phalanx_common::text::chain;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::exit::Exit;
use args::{Cli, Command};

/// Reads the command line and does what it says.
pub(crate) fn main() -> Exit {
    let mut cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let done = settings::fill_in(&mut cli).and_then(|()| carry_out(cli));
    done.unwrap_or_else(|error| {
        complain(&error);
        Exit::Phalanx
    })
}

fn carry_out(cli: Cli) -> anyhow::Result<Exit> {
    let color = cli.color.unwrap_or_default();
    match cli.command {
        Command::Run(run) => run::run(*run, color),
        Command::Submit(submit) => run::submit(&submit),
        Command::Attach(attach) => run::attach(&attach, color),
        Command::Ps(args) => cluster::ps(&args),
        Command::Status(args) => cluster::status(&args),
        Command::Logs(args) => output::logs(&args, color),
        Command::Stop(args) => cluster::stop(&args),
        Command::Suspend(args) => cluster::suspend(&args, true),
        Command::Resume(args) => cluster::suspend(&args, false),
        Command::Nodes(args) => nodes::nodes(&args),
        Command::Node(command) => nodes::node(command),
        Command::Token(command) => admin::token(command),
        Command::User(command) => admin::user(command),
        Command::Login(args) => admin::login(args),
        Command::Serve(args) => admin::serve(args),
        Command::Check(check) => check::check(&check),
        Command::Plan(args) => plan::plan(&args),
        Command::Explain(args) => plan::explain(&args),
        Command::Schema => print(&pretty(&phalanx_common::spec::json_schema())),
        #[cfg(feature = "local")]
        Command::Sweep(sweep) => sweep::sweep(&sweep),
        Command::Topo(args) => topo::topo(&args, color),
        Command::Simulate(args) => simulate::simulate(&args, color),
        Command::Completions { shell } => print(&completions(shell)),
    }
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
    let mut stderr = std::io::stderr();
    let Some(wrong) = error.downcast_ref::<phalanx_common::spec::Error>() else {
        let _ = writeln!(stderr, "phalanx: {}", chain(error.as_ref()));
        return;
    };
    // Each mistake of a job file is a message of its own.
    for problem in wrong.problems() {
        let _ = writeln!(stderr, "phalanx: {problem}");
    }
    if wrong.more() > 0 {
        let _ = writeln!(stderr, "phalanx: … and {} more", wrong.more());
    }
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

fn log_to_stderr(filter: &str) -> anyhow::Result<()> {
    let targets = Targets::from_str(filter)
        .with_context(|| format!("--log {filter}: not a filter; try `debug` or `phalanx=trace`"))?;
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    tracing_subscriber::registry().with(targets).with(layer).init();
    Ok(())
}
