//! Joining and working.

use std::fs::{self, DirBuilder};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use phalanx_common::defaults::ORPHANED;
use phalanx_common::id::Incarnation;
use phalanx_common::identity::{Principal, valid_name};
use phalanx_common::wire::topology_v1::Policy;
use phalanx_formats::dir::Dir;
use phalanx_net::identity_file::{self, Identity};
use phalanx_net::join;
use phalanx_net::token::Token;
use phalanx_worker::agent::{Agent, Config, Shimming};
use phalanx_worker::check::Checker;
use phalanx_worker::discovery::nvidia;
use phalanx_worker::facts::Facts;
use phalanx_worker::link::QuicTopology;
use phalanx_worker::shim::pod_cgroup::PodCgroups;
use phalanx_worker::shim::spawn::{Orphans, SpawnOptions};
use phalanx_worker::survey::{Looker, Surveyor};
use phalanx_worker::sweep;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::cli::{Cli, Command, JoinArgs, NodeArgs};
use crate::dial::Dialer;
use crate::node;

/// Largest token file read, bytes.
const LARGEST_TOKEN: u64 = 4096;

/// Does what the command line says.
pub(crate) fn main(cli: Cli) -> anyhow::Result<()> {
    log_to_stderr(&cli.log)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    let done = runtime.block_on(async {
        match cli.command {
            Command::Join(args) => join(args).await,
            Command::Run(args) => {
                let state = state_dir(&args)?;
                let identity = Identity::load(&identity_path(&state)).map_err(|error| match error {
                    identity_file::Error::Missing { .. } => anyhow::anyhow!(
                        "this node has not joined a cluster: {error}; join first with `phalanx-worker join ADDRESS --token TOKEN`"
                    ),
                    other => other.into(),
                })?;
                work(identity, &args, &state).await
            }
        }
    });
    // A tool or a driver that is asked at this moment is not waited for; tools end with this process.
    runtime.shutdown_background();
    done
}

async fn join(args: JoinArgs) -> anyhow::Result<()> {
    let state = state_dir(&args.node)?;
    let token = token(&args)?;
    let facts = Facts::read()?;
    if !valid_name(&facts.host_name) {
        bail!(
            "the host name {:?} cannot name a node: letters, digits, `.`, `_` and `-` can",
            facts.host_name
        );
    }
    // What would keep the node from working is said before the token is used up.
    node::read(&args.node, Some(std::net::Ipv4Addr::LOCALHOST.into()))?;
    let made = MadeDir::make(&state)?;
    // The identity of a worker that runs is its own: another would be a second node in its place.
    if lock_path(&state).exists() {
        drop(only_one(&state)?);
    }
    let identity = join::join(&args.coordinator, &token, &facts.host_name).await?;
    identity.save(&identity_path(&state))?;
    made.keep();
    tracing::info!(node = identity.principal.name(), cluster = %identity.cluster, "joined");
    if args.no_run { Ok(()) } else { work(identity, &args.node, &state).await }
}

/// Works until SIGTERM or SIGINT. Pods go on without it for a while: the service may be coming back.
async fn work(identity: Identity, args: &NodeArgs, state: &Path) -> anyhow::Result<()> {
    let Principal::Worker { node } = identity.principal.clone() else {
        bail!(
            "{} is the identity of a {}, not of a worker",
            identity_path(state).display(),
            identity.principal
        );
    };
    let mut terminate = signal(SignalKind::terminate()).context("cannot take over signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot take over signals")?;
    let pods = state.join("pods");
    for dir in ["pods", "logs", "ship"].map(|name| state.join(name)) {
        DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(&dir)
            .with_context(|| format!("cannot make {}", dir.display()))?;
    }
    let cgroups = match PodCgroups::open(&node) {
        Ok(cgroups) => Some(cgroups),
        Err(error) => {
            tracing::info!(%error, "pods get no cgroups of their own here: what escapes from a pod whose shim is killed is found by its environment alone");
            None
        }
    };
    let _alone = only_one(state)?;
    end_predecessors_pods(&pods, cgroups.as_ref())?;
    let config = Config {
        node,
        incarnation: incarnation(),
        base_dir: pods.to_string_lossy().into_owned(),
        ship_dir: state.join("ship").to_string_lossy().into_owned(),
        log_dir: state.join("logs").to_string_lossy().into_owned(),
        inherited: Default::default(),
    };
    let facts = tokio::select! {
        read = node::read_apart(args, Some(std::net::Ipv4Addr::LOCALHOST.into())) => read?.facts,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let options = SpawnOptions::new(Orphans::CLUSTER);
    let checker = Checker::live(config.node.clone(), args.share);
    let shimming = Shimming { options, spare: None, cgroups, allow_root: args.allow_root_jobs, checker };
    let (dialed, links) = mpsc::channel(1);
    let (opened, topologies) = mpsc::channel(1);
    let looker = Looker::new(Dir::live(), std::env::var_os(nvidia::LIBRARY_VARIABLE));
    let surveyor = Surveyor::new(config.node.to_string(), policy(args), looker, topologies);
    tokio::spawn(survey(surveyor));
    let agent = Agent::new(config, facts, links, shimming).with_tails();
    let mut dialer = Dialer::new(&identity, args);
    // The pods' shims notice its end; until the link is closed they have a worker.
    let mut working = pin!(agent.run());
    let signal = tokio::select! {
        ended = &mut working => return ended.context("the agent ended"),
        ended = dialer.keep_dialing(dialed, opened) => return ended.context("the identity does not work"),
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    tracing::info!(
        signal,
        "told to end: the node takes no jobs any more, ranks that run here are stopped in {} s unless a worker starts before and ends them",
        ORPHANED.as_secs()
    );
    dialer.close().await;
    Ok(())
}

/// Its mistakes are no rank's business.
async fn survey(surveyor: Surveyor<QuicTopology>) {
    if let Err(error) = tokio::spawn(surveyor.run()).await {
        tracing::error!(%error, "the survey ended: what changes here is not told until this worker starts again");
    }
}

fn policy(args: &NodeArgs) -> Policy {
    Policy {
        labels: args.labels.clone(),
        reserved_cpus: args.reserved_cpus.clone().unwrap_or_default().to_string(),
        reserved_memory_bytes: args.reserved_memory.unwrap_or(0),
        share: args.share,
    }
}

/// One worker works on a state directory at a time: a second would take the first one's pods for leftovers.
/// Held for as long as this process lives.
fn only_one(state: &Path) -> anyhow::Result<Flock<fs::File>> {
    let path = lock_path(state);
    let file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot make {}", path.display()))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        Errno::EWOULDBLOCK => anyhow::anyhow!(
            "a worker runs on {} already; end it first, or name another directory with --state-dir",
            state.display()
        ),
        errno => anyhow::Error::from(errno).context(format!("cannot lock {}", path.display())),
    })
}

/// What an earlier life of this worker left: named, ended, removed, before the node is told to be free.
fn end_predecessors_pods(pods: &Path, cgroups: Option<&PodCgroups>) -> anyhow::Result<()> {
    for ended in sweep::end_all(pods, cgroups)? {
        tracing::warn!(job = %ended.job, processes = ended.processes.len(), "ended a pod of this worker's earlier life");
    }
    Ok(())
}

/// Microseconds since the epoch: a later life has a higher one.
fn incarnation() -> Incarnation {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Incarnation(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

fn token(args: &JoinArgs) -> anyhow::Result<Token> {
    let text = match (&args.token, &args.token_file) {
        (Some(token), _) => token.clone(),
        (None, Some(path)) => {
            let mut text = String::new();
            let read = if path == Path::new("-") {
                std::io::stdin().lock().take(LARGEST_TOKEN).read_to_string(&mut text)
            } else {
                fs::File::open(path).and_then(|file| file.take(LARGEST_TOKEN).read_to_string(&mut text))
            };
            read.with_context(|| format!("cannot read the token from {}", path.display()))?;
            text
        }
        (None, None) => bail!(
            "a join token is needed: PHALANX_TOKEN, --token-file FILE (`-` for standard input) or --token TOKEN; `phalanx token create` prints one"
        ),
    };
    Ok(Token::parse(&text)?)
}

fn state_dir(args: &NodeArgs) -> anyhow::Result<PathBuf> {
    let dir = match &args.state_dir {
        Some(dir) => dir.clone(),
        None if nix::unistd::geteuid().is_root() => PathBuf::from("/var/lib/phalanx/worker"),
        None => std::env::var_os("XDG_STATE_HOME")
            .map(PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state")))
            .context("neither XDG_STATE_HOME nor HOME is set: name a directory with --state-dir")?
            .join("phalanx/worker"),
    };
    Ok(std::path::absolute(&dir).unwrap_or(dir))
}

/// A directory that goes again, with those above it that had to be made, unless it is kept.
struct MadeDir(Vec<PathBuf>);

impl MadeDir {
    fn make(dir: &Path) -> anyhow::Result<MadeDir> {
        let missing = dir.ancestors().take_while(|dir| !dir.exists()).map(Path::to_path_buf).collect();
        make_dir(dir)?;
        Ok(MadeDir(missing))
    }

    fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for MadeDir {
    fn drop(&mut self) {
        for dir in &self.0 {
            // What somebody has put something into stays.
            let _ = fs::remove_dir(dir);
        }
    }
}

fn make_dir(dir: &Path) -> anyhow::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(dir)
        .with_context(|| format!("cannot make {}; name another directory with --state-dir", dir.display()))
}

fn lock_path(state: &Path) -> PathBuf {
    state.join("lock")
}

fn identity_path(state: &Path) -> PathBuf {
    state.join("identity.json")
}

fn log_to_stderr(filter: &str) -> anyhow::Result<()> {
    let targets = Targets::from_str(filter)
        .with_context(|| format!("--log {filter}: not a filter; try `debug` or `phalanx_worker=trace`"))?;
    let layer =
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false).with_target(false);
    tracing_subscriber::registry().with(targets).with(layer).init();
    Ok(())
}
