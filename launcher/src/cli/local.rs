//! `phalanx run` on this machine.

use std::fs::DirBuilder;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use phalanx_common::id::JobId;
use phalanx_common::identity::Owner;
use phalanx_common::spec::{JobSpec, Keep};
use phalanx_common::time::Timestamp;
use phalanx_worker::facts::Facts;
use phalanx_worker::shim::spawn::{Orphans, SpawnOptions, spawn};

use super::args::RunArgs;
use super::job::{self, Target};
use super::{Exit, sweep};
use crate::driver::{Secrets, wall};
use crate::local::{self, Launch, base_dir};
use crate::output::{ColorChoice, Printer, Screen, Style};
use crate::run::ViewOptions;

/// Job ids tried before giving up, each one step of the suffix (1 ms) after the last.
const ID_TRIES: u32 = 1024;

/// Runs a job of this machine in the foreground.
pub(super) fn run(args: RunArgs, color: ColorChoice) -> anyhow::Result<Exit> {
    let began = wall();
    // The shim first, while this process is small and has one thread.
    let options = SpawnOptions::new(Orphans::LOCAL);
    let facts = Facts::read()?;
    let base = base_dir::path();
    let target = Target::Machine { cores: facts.cores, log_dir: base.join("logs") };
    let resolved = job::resolve(&args.job, &target)?;
    let secrets = Secrets(resolved.secrets(&args.job)?);
    let spec = resolved.spec;
    let shim = spawn(&options, None).context("cannot start the process that owns the ranks")?;
    if let Some(filter) = &args.log {
        super::log_to_stderr(filter)?;
    }
    base_dir::prepare(&base)?;
    let job = new_id(&spec, began)?;

    let screen = Screen::of_job(color);
    let live = screen.live();
    let rank_width = spec.world_size().saturating_sub(1).to_string().len();
    let style = Style { mode: spec.output.mode, json: args.json, rank_width };
    let (printer, shown) = Printer::start(screen, style).context("cannot start the printer's thread")?;
    sweep::sweep_before_run(&base, &printer);
    if spec.world_size() > facts.cores && !args.json {
        printer.line(format!(
            "phalanx: warning: {} ranks share {} core{}",
            spec.world_size(),
            facts.cores,
            if facts.cores == 1 { "" } else { "s" }
        ));
    }
    let view =
        ViewOptions { local: true, json: args.json, quiet: args.quiet, timings: args.timings, live, began };
    let last_words = printer.clone();
    let (logs, kept) = (log_dir(&spec).join(job.as_str()), base.join(job.as_str()).join("tmp"));
    let tells_of_kept = spec.keep != Keep::Never && !args.quiet && !args.json;
    let outcome = local::launch(Launch {
        job,
        owner: Owner { name: nix::unistd::getuid().to_string(), unix_user: None },
        spec,
        secrets,
        facts,
        base_dir: base,
        printer,
        shown,
        view,
        shim,
        shim_options: options,
    });
    if outcome.is_err() {
        let _ = last_words.flushed().blocking_recv();
    }
    if tells_of_kept && kept.is_dir() {
        let _ = writeln!(std::io::stderr(), "phalanx: its TMPDIR is kept: {}", kept.display());
    }
    // A job that never ran has left no logs.
    let _ = std::fs::remove_dir(logs);
    match outcome?.exit_code() {
        0 => Ok(Exit::Success),
        code => Ok(Exit::Job(code)),
    }
}

/// Where the logs of a local launch go: `resolve` was told a place for those that name none.
fn log_dir(spec: &JobSpec) -> &Path {
    Path::new(spec.output.log_dir.as_deref().unwrap_or("."))
}

/// An id that nobody else has: whoever makes the directory of its logs takes it.
fn new_id(spec: &JobSpec, now: Timestamp) -> anyhow::Result<JobId> {
    let log_dir = log_dir(spec);
    let failed = |path: &Path, error| {
        format!("cannot make the log directory {}: {error}; choose another with --log-dir", path.display())
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(log_dir)
        .map_err(|error| anyhow!(failed(log_dir, error)))?;
    for bump in 0..ID_TRIES {
        let id = JobId::new(&spec.name, now, bump);
        let dir = log_dir.join(id.as_str());
        match DirBuilder::new().mode(0o700).create(&dir) {
            Ok(()) => return Ok(id),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => bail!(failed(&dir, error)),
        }
    }
    bail!("too many jobs of this name begin at once; give this one another --name")
}
