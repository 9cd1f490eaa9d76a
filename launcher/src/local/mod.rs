//! Local mode: coordinator and worker in this process, one machine, no daemon, no configuration.
//! They speak over QUIC on loopback, as they would across a network.

pub(crate) mod base_dir;
mod identity;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use phalanx_common::event::{EventKind, Outcome};
use phalanx_common::id::{Epoch, Incarnation, JobId, NodeId};
use phalanx_common::identity::Owner;
use phalanx_common::spec::{Exclusive, JobSpec, Resources};
use phalanx_common::time::Timestamp;
use phalanx_common::wire::SEND_WINDOW;
use phalanx_formats::dir::Dir;
use phalanx_launcher_core::stock::{Told, Topology};
use phalanx_launcher_core::{Config, Coordinator};
use phalanx_worker::agent::{self, Agent, Config as WorkerConfig, Dialed, Facts as WorkerFacts, Shimming};
use phalanx_worker::check::Checker;
use phalanx_worker::discovery::nvidia;
use phalanx_worker::facts::Facts;
use phalanx_worker::link::{self, QuicLink};
use phalanx_worker::shim::spawn::{ShimProcess, SpawnOptions};
use phalanx_worker::survey::Looker;
use quinn::{TransportConfig, VarInt};
use tokio::sync::{mpsc, watch};

use crate::driver::{Confidence, Driver, INBOX, Message, Secrets};
use crate::output::{Printer, Shown};
use crate::run::{Control, Foreground, Left, Progress, Signals, View, ViewOptions};
use crate::server::hub::Logs;
use crate::server::{self, Server, Service};
use crate::store::{self, MemoryStore, Store};

/// Why a local launch could not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot start the event loop")]
    Runtime(#[source] std::io::Error),
    #[error("cannot take over signals")]
    Signals(#[source] std::io::Error),
    #[error(transparent)]
    Identity(#[from] identity::Error),
    #[error(transparent)]
    Server(#[from] server::Error),
    #[error("the coordinator's socket has no address")]
    Address(#[source] std::io::Error),
    #[error("the worker cannot reach the coordinator inside this process")]
    Link(#[from] link::Error),
    #[error(
        "UDP on 127.0.0.1 does not get through; a firewall that drops it on the loopback interface has to let it pass"
    )]
    NoLoopback,
    #[error("the worker inside this process ended")]
    Agent(#[from] agent::Error),
    #[error("the worker inside this process ended before the job did")]
    AgentGone,
    #[error(transparent)]
    Driver(#[from] Left),
    #[error("a record could not be kept")]
    Store(#[from] store::Error),
}

/// Milliseconds are enough; longer, and packets are being dropped.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Whether a job asks for more than a number of ranks: else nobody looks what is in this machine.
fn asks_of_the_machine(spec: &JobSpec) -> bool {
    spec.resources != Resources::default() || spec.placement.exclusive == Exclusive::Numa
}

/// What is in this machine. Asking drivers takes a while, during which nothing else is to be done.
async fn look_at_machine(facts: &Facts) -> Arc<Topology> {
    let machine = tokio::task::spawn_blocking(|| {
        Looker::new(Dir::live(), std::env::var_os(nvidia::LIBRARY_VARIABLE)).machine()
    });
    let machine = machine.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    let told = Told { machine: Some(Arc::new(machine)), ..Told::default() };
    let nodes = BTreeMap::from([(NodeId::new(&facts.host_name), told)]);
    Arc::new(Topology { nodes, ..Topology::default() })
}

/// How long the end of a launch waits for its shim to have tidied up.
const SHIM_LEAVES_WITHIN: Duration = Duration::from_secs(10);

/// Wishes of the user that may wait.
const CONTROLS: usize = 8;

/// The one address of a local launch.
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// All of a local launch.
pub(crate) struct Launch {
    pub(crate) job: JobId,
    pub(crate) owner: Owner,
    pub(crate) spec: JobSpec,
    pub(crate) secrets: Secrets,
    pub(crate) facts: Facts,
    /// Directory of pods' directories.
    pub(crate) base_dir: PathBuf,
    pub(crate) printer: Printer,
    pub(crate) shown: watch::Receiver<Shown>,
    pub(crate) view: ViewOptions,
    pub(crate) shim: ShimProcess,
    /// How `shim` was spawned.
    pub(crate) shim_options: SpawnOptions,
}

/// Runs the job to its end.
pub(crate) fn launch(launch: Launch) -> Result<Outcome, Error> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)?;
    let outcome = runtime.block_on(run(launch));
    // Nothing is waited for: the job and its output are through, sockets close with the process.
    runtime.shutdown_background();
    outcome
}

async fn run(launch: Launch) -> Result<Outcome, Error> {
    let (server_tls, client_tls) = identity::make()?;
    let (inbox, messages) = mpsc::channel(INBOX);
    let (events_in, mut events) = mpsc::unbounded_channel();
    let transport = local_transport();

    let mut server_config = quinn::ServerConfig::with_crypto(Arc::new(server_tls));
    server_config.transport_config(Arc::clone(&transport)).migration(false);
    let epoch = Epoch(1);
    let logs = Logs::Printer(launch.printer.log_sink());
    let service = Service { epoch, inbox: inbox.clone(), logs, cluster: None };
    let server = Server::start((LOOPBACK, 0).into(), server_config, service)?;
    let address = server.address().map_err(Error::Address)?;

    let mut store = MemoryStore::default();
    let config = Config { port_salt: u64::from(std::process::id()), ..Config::default() };
    let coordinator = Coordinator::new(config, epoch, &store.load()?);
    let driver =
        tokio::spawn(Driver::new(coordinator, store, messages, Some(events_in), Confidence::default()).run());

    if asks_of_the_machine(&launch.spec) {
        // The driver is above.
        let _ = inbox.send(Message::Topology(look_at_machine(&launch.facts).await)).await;
    }
    let mut client_config = quinn::ClientConfig::new(Arc::new(client_tls));
    client_config.transport_config(transport);
    let connecting = QuicLink::connect(address, identity::SERVER_NAME, client_config);
    let link = tokio::time::timeout(CONNECT_WITHIN, connecting).await.map_err(|_| Error::NoLoopback)??;
    // From here on Ctrl-C ends the job; before, it ends this process, and there is no job yet.
    let signals = Signals::new().map_err(Error::Signals)?;
    let (config, facts) = worker(&launch.facts, &launch.base_dir, launch.view.began);
    let checker = Checker::live(config.node.clone(), false);
    let (options, spare) = (launch.shim_options, Some(launch.shim));
    let shimming = Shimming { options, spare, cgroups: None, allow_root: true, checker };
    let (dialed, links) = mpsc::channel(1);
    // Nobody dials again: the link inside this process lasts as long as the launch.
    let _ = dialed.try_send(Dialed { link, facts: facts.clone() });
    drop(dialed);
    let agent = Agent::new(config, facts, links, shimming);
    let mut shims = agent.shims_alive();
    let agent = tokio::spawn(agent.run());

    let mut view = View::new(launch.printer.clone(), launch.view);
    view.on_submit(&launch.spec);
    // A job submitted before any worker has said Hello would only wait, and say so.
    loop {
        let event = events.recv().await.ok_or(Left::DriverGone)?;
        view.on_event(&event);
        if matches!(event.kind, EventKind::NodeJoined { .. }) {
            break;
        }
    }
    let submit = Message::Submit {
        job: launch.job.clone(),
        spec: Box::new(launch.spec),
        owner: launch.owner,
        secrets: launch.secrets,
    };
    inbox.send(submit).await.map_err(|_| Left::DriverGone)?;
    let (control, controls) = mpsc::channel(CONTROLS);
    tokio::spawn(pass_on(launch.job, controls, inbox));
    let foreground = Foreground {
        control,
        events,
        shown: launch.shown,
        printer: launch.printer,
        signals,
        view,
        // The coordinator is a part of this process.
        heard: watch::channel(true).1,
        suspends: true,
        output: true,
        // One job on one machine: what it does not hold now it never will.
        no_wait: true,
        progress: Progress::default(),
    };
    tokio::select! {
        ended = foreground.run() => {
            // The shim removes the pod's directory; a slow disk is no reason to hang.
            let _ = tokio::time::timeout(SHIM_LEAVES_WITHIN, shims.wait_for(|alive| *alive == 0)).await;
            Ok(ended?)
        }
        ended = agent => match ended {
            Ok(ended) => Err(ended.map_or_else(Error::Agent, |()| Error::AgentGone)),
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        },
        ended = driver => match ended {
            Ok(ended) => Err(ended.map_or_else(Error::Store, |()| Error::Driver(Left::DriverGone))),
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        },
    }
}

/// Transport settings that both ends of a local connection use: nothing times out, because
/// Ctrl-Z or a debugger may hold either end for as long as the user likes.
fn local_transport() -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(None)
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_PER_WORKER))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .mtu_discovery_config(None)
        .initial_mtu(LOOPBACK_MTU)
        .send_window(SEND_WINDOW);
    Arc::new(transport)
}

/// Streams a worker may have open: control, and one log stream for each job somebody follows.
const STREAMS_PER_WORKER: u32 = 16;

/// Loopback takes 64 KiB, but a packet has to fit the initial congestion window of 14,720 bytes.
const LOOPBACK_MTU: u16 = 8_192;

/// What the user wants, as the driver takes it.
async fn pass_on(job: JobId, mut controls: mpsc::Receiver<Control>, driver: mpsc::Sender<Message>) {
    while let Some(control) = controls.recv().await {
        let job = job.clone();
        let message = match control {
            Control::Stop { by, status, force } => Message::Stop { job, by: by.to_owned(), status, force },
            Control::Suspend => Message::Suspend { job },
            Control::Resume => Message::Resume { job },
        };
        if driver.send(message).await.is_err() {
            return;
        }
    }
}

/// What the worker inside this process says of itself.
fn worker(facts: &Facts, base_dir: &Path, began: Timestamp) -> (WorkerConfig, WorkerFacts) {
    let config = WorkerConfig {
        node: NodeId::new(facts.host_name.clone()),
        incarnation: Incarnation(began.0),
        base_dir: base_dir.to_string_lossy().into_owned(),
        ship_dir: base_dir.join("ship").to_string_lossy().into_owned(),
        log_dir: base_dir.join("logs").to_string_lossy().into_owned(),
        // A name or value that is no UTF-8 is inherited like any other, and decides nothing.
        inherited: std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
    };
    let facts = WorkerFacts {
        host_name: facts.host_name.clone(),
        cores: facts.cores,
        // One's own machine takes what its user gives it.
        slots: u32::MAX,
        user: None,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ports: (*facts.ports.start(), *facts.ports.end()),
        address: LOOPBACK,
        interface: Some("lo".to_owned()),
        networks: Vec::new(),
    };
    (config, facts)
}
