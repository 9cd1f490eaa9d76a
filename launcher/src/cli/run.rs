//! `phalanx run`, `submit` and `attach`: a job on the cluster, or on this machine where there is none.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use phalanx_common::defaults::CLIENT_LOST;
use phalanx_common::spec::{Choice, JobSpec, OutputMode};
use phalanx_common::status::JobStatus;
use phalanx_common::wire::client_v1::{Reply, Request, Submit};
use phalanx_net::identity_file::Identity;

use super::args::{AttachArgs, JobArgs, RunArgs, SubmitArgs};
use super::cluster::{Purpose, identity, identity_if_meant, need_identity, on_event_loop};
use super::job::{self, Resolved, Target};
use super::{Exit, log_to_stderr};
use crate::driver::wall;
use crate::output::{ColorChoice, Printer, Screen, Style};
use crate::remote::{Client, Start, follow};
use crate::run::{Foreground, Left, Progress, Signals, View, ViewOptions};
use crate::ship::{self, Packed};
use crate::topo::plain;

/// Nobody waits longer for what there may be to say of a job that was submitted.
const WARNED_WITHIN: Duration = Duration::from_secs(5);

/// `phalanx run`.
pub(super) fn run(args: RunArgs, color: ColorChoice) -> anyhow::Result<Exit> {
    let found = match (args.local, &args.as_user) {
        (true, _) => None,
        (false, Some(_)) => identity(&args.cluster, Purpose::Administer)?,
        (false, None) => identity_if_meant(&args.cluster)?,
    };
    match found {
        Some(identity) => on_cluster(args, identity, color),
        None => match of_clusters(&args) {
            Some(flag) => bail!("{flag} is for a cluster, and you are logged in to none: phalanx login"),
            None => here(args, color),
        },
    }
}

/// The first flag given that means nothing on this machine alone.
fn of_clusters(args: &RunArgs) -> Option<&'static str> {
    let given = [("--detach", args.detach), ("--no-wait", args.no_wait), ("--as", args.as_user.is_some())];
    given.into_iter().find_map(|(flag, given)| given.then_some(flag))
}

#[cfg(feature = "local")]
fn here(args: RunArgs, color: ColorChoice) -> anyhow::Result<Exit> {
    super::local::run(args, color)
}

#[cfg(not(feature = "local"))]
fn here(_: RunArgs, _: ColorChoice) -> anyhow::Result<Exit> {
    bail!("this build of phalanx runs jobs on a cluster alone, and you are logged in to none: phalanx login")
}

fn on_cluster(args: RunArgs, identity: Identity, color: ColorChoice) -> anyhow::Result<Exit> {
    let began = wall();
    if let Some(filter) = &args.log {
        log_to_stderr(filter)?;
    }
    let (spec, submit, packed) = make_ready(&args.job, args.as_user, !args.detach)?;
    if args.detach {
        return on_event_loop(detached(identity, submit, packed));
    }
    let width = spec.world_size().saturating_sub(1).to_string().len();
    let style = Style { mode: spec.output.mode, json: args.json, rank_width: width };
    let screen = Screen::of_job(color);
    let options = ViewOptions {
        local: false,
        json: args.json,
        quiet: args.quiet,
        timings: args.timings,
        live: screen.live(),
        began,
    };
    let shown = Shown { screen, style, options, no_wait: args.no_wait };
    on_event_loop(async {
        let client = Client::connect(&identity).await?;
        send_along(&client, packed, &submit).await?;
        foreground(identity, client, Start::Submit(submit), shown, |view| view.on_submit(&spec)).await
    })
}

/// `phalanx submit`.
pub(super) fn submit(args: &SubmitArgs) -> anyhow::Result<Exit> {
    let purpose = if args.as_user.is_some() { Purpose::Administer } else { Purpose::Work };
    let identity = need_identity(&args.cluster, purpose)?;
    let (_, submit, packed) = make_ready(&args.job, args.as_user.clone(), false)?;
    on_event_loop(detached(identity, submit, packed))
}

/// A job, its submission, and the directory that goes before it.
fn make_ready(
    args: &JobArgs,
    as_user: Option<String>,
    attached: bool,
) -> anyhow::Result<(JobSpec, Submit, Option<Packed>)> {
    let resolved = job::resolve(args, &Target::Cluster)?;
    let secrets = resolved.secrets(args)?;
    let Resolved { mut spec, ship, .. } = resolved;
    let packed = ship.map(|dir| ship::pack(Path::new(&dir))).transpose()?;
    spec.ship = packed.as_ref().map(|packed| packed.ship.clone());
    let submit = Submit { document: spec.to_document(), as_user, attached, secrets };
    Ok((spec, submit, packed))
}

async fn detached(identity: Identity, submit: Submit, packed: Option<Packed>) -> anyhow::Result<Exit> {
    let client = Client::connect(&identity).await?;
    send_along(&client, packed, &submit).await?;
    let mut answers = client.ask(&Request::Submit(submit)).await?;
    let Some(Reply::Submitted { job }) = answers.next().await? else {
        bail!("the coordinator's answer makes no sense");
    };
    // The job is there: whatever becomes of the link, its id is told.
    while let Ok(Ok(Some(Reply::Warning(what)))) = tokio::time::timeout(WARNED_WITHIN, answers.next()).await {
        let _ = writeln!(std::io::stderr(), "phalanx: warning: {job}: {}", plain::text(&what));
    }
    client.close().await;
    super::print(&format!("{job}\n"))
}

/// The directory before the job, with a word on how far it is where somebody watches.
async fn send_along(client: &Client, packed: Option<Packed>, submit: &Submit) -> anyhow::Result<()> {
    let Some(mut packed) = packed else { return Ok(()) };
    let watched = std::io::stderr().is_terminal();
    let told = |sent: u64, bytes: u64| {
        if watched {
            let _ = write!(
                std::io::stderr(),
                "\rphalanx: sending the directory: {} of {} KiB ",
                sent >> 10,
                bytes >> 10
            );
        }
    };
    client.put(&mut packed, submit.as_user.clone(), told).await?;
    if watched {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
    Ok(())
}

/// `phalanx attach`.
pub(super) fn attach(args: &AttachArgs, color: ColorChoice) -> anyhow::Result<Exit> {
    let identity = need_identity(&args.cluster, Purpose::Work)?;
    let mode = match &args.output {
        Some(typed) => OutputMode::CHOICES
            .iter()
            .find(|(word, _)| word == typed)
            .map(|(_, mode)| *mode)
            .with_context(|| format!("--output {typed}: expected label, raw, rank0 or files"))?,
        None => args.usual_output.unwrap_or_default(),
    };
    on_event_loop(async {
        let client = Client::connect(&identity).await?;
        let status: JobStatus = client.document(&Request::Job { job: args.id.clone() }).await?;
        let screen = Screen::of_job(color);
        let options = ViewOptions {
            local: false,
            json: args.json,
            quiet: false,
            timings: false,
            live: screen.live(),
            began: status.submitted_at,
        };
        let width = status.ranks.saturating_sub(1).to_string().len();
        let style = Style { mode, json: args.json, rank_width: width };
        let start = Start::Attach { job: status.job.to_string(), wait: args.wait };
        let shown = Shown { screen, style, options, no_wait: false };
        foreground(identity, client, start, shown, |view| view.on_attach(status.ranks)).await
    })
}

/// How a job in the foreground is shown.
struct Shown {
    screen: Screen,
    style: Style,
    options: ViewOptions,
    no_wait: bool,
}

async fn foreground(
    identity: Identity,
    client: Client,
    start: Start,
    shown: Shown,
    begin: impl FnOnce(&mut View),
) -> anyhow::Result<Exit> {
    // From here on Ctrl-C ends the job; before, it ends this process, and there is no job yet.
    let signals = Signals::new().context("cannot take over signals")?;
    let (printer, seen) =
        Printer::start(shown.screen, shown.style).context("cannot start the printer's thread")?;
    let output = shown.style.mode != OutputMode::Files;
    let depends = start.waits();
    let followed = follow(identity, client, start, &printer, output).await?;
    let mut view = View::new(printer.clone(), shown.options);
    begin(&mut view);
    let foreground = Foreground {
        control: followed.control,
        events: followed.events,
        shown: seen,
        printer: printer.clone(),
        signals,
        view,
        heard: followed.heard,
        suspends: false,
        no_wait: shown.no_wait,
        output,
        progress: Progress::default(),
    };
    let ended = foreground.run().await;
    let _ = printer.flushed().await;
    let outcome = match ended {
        Ok(outcome) => outcome,
        Err(Left::DriverGone) => bail!("{} may still run; {}", followed.job, later(&followed.job, depends)),
        Err(Left::ByUser { status }) => {
            let said = format!("phalanx: {} is left alone; {}", followed.job, later(&followed.job, depends));
            let _ = writeln!(std::io::stderr(), "{said}");
            return Ok(Exit::Job(status.shell_code()));
        }
        Err(left @ Left::NoRoom { .. }) => bail!("{} was not started: {left}", followed.job),
    };
    Ok(match outcome.exit_code() {
        0 => Exit::Success,
        code => Exit::Job(code),
    })
}

/// What becomes of a job that nobody here follows any more, and who knows.
fn later(job: &str, depends: bool) -> String {
    let then = if depends {
        format!("it is stopped {} s after the coordinator misses this client", CLIENT_LOST.as_secs())
    } else {
        "it goes on until it ends".to_owned()
    };
    format!("{then}; to see what became of it: phalanx status {job}")
}
