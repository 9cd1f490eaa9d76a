//! `phalanx serve`: the coordinator of a cluster.

mod login;
mod planning;
pub(crate) mod registry;
mod state;
pub(crate) mod surveys;

use std::io::IsTerminal;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use phalanx_common::defaults::{CERTIFICATE_LIFETIME, COORDINATOR_PORT, TOKEN_LIFETIME, TOKEN_USES};
use phalanx_common::identity::{ClusterId, Principal};
use phalanx_launcher_core::{Config, Coordinator};
use phalanx_net::authority::{Authority, Keys};
use phalanx_net::socket::{self, RECEIVE_BUFFER};
use phalanx_net::tls::{self, Own};
use phalanx_net::transport;
use quinn::{Endpoint, ServerConfig, TokioRuntime};
use ring::rand::SystemRandom;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc};

use crate::driver::{Confidence, Driver, INBOX, wall};
use crate::server::blobs::Blobs;
use crate::server::hub::{LogHub, Logs};
use crate::server::tails::Tails;
use crate::server::{Server, Service};
use crate::store::Store;
pub(crate) use login::ask as ask_login;
use registry::{Registry, TokenRequest};
pub(crate) use state::{default_dir, login_socket, operator_path, own_dir};
use surveys::{Files, Surveys};

/// The coordinator's own certificate is renewed this often, long before it expires.
const OWN_CERTIFICATE_EVERY: Duration = Duration::from_secs(24 * 3600);

/// What every connection needs to know of the cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) id: ClusterId,
    pub(crate) authority: Authority,
    pub(crate) registry: Registry,
    pub(crate) hub: LogHub,
    pub(crate) tails: Tails,
    pub(crate) blobs: Blobs,
    pub(crate) surveys: Surveys,
    /// Labels of nodes were changed.
    pub(crate) relabelled: Notify,
    /// Where nodes and clients find the coordinator.
    pub(crate) advertise: Vec<String>,
}

/// How to serve.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) state_dir: PathBuf,
    pub(crate) listen: Option<SocketAddr>,
    /// Where nodes and clients find this host, as the join line and identities say it.
    pub(crate) advertise: Vec<String>,
    /// Files and folders that tell of the cluster's networks.
    pub(crate) topology: Vec<PathBuf>,
}

/// Serves until SIGTERM or SIGINT. Workers and their ranks go on without a coordinator until their leases end.
pub(crate) async fn serve(options: Options) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot take over signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot take over signals")?;
    // A port that somebody else has leaves no directory behind.
    let socket = listen(&options)?;
    let mut state = state::State::open(&options.state_dir)?;
    let (tails, ships) = (state.private("tails")?, state.private("ship")?);
    let endpoint = answer_on(socket, &state)?;
    let address = endpoint.local_addr().context("the coordinator's socket has no address")?;
    let advertise = match options.advertise.as_slice() {
        [] => state::own_addresses(address),
        named => named.iter().map(|name| state::with_port(name, address.port())).collect(),
    };

    let registry = Registry::load(state.store.clone())?;
    let authority = state.authority()?;
    let (id, hub) = (authority.cluster(), LogHub::default());
    let (tails, blobs) = (Tails::new(tails), Blobs::new(ships));
    let files = Files::load(options.topology.clone()).context("--topology")?;
    let (surveys, survey) = Surveys::new(files);
    tokio::spawn(survey.run());
    let cluster = Arc::new(Cluster {
        id,
        authority,
        registry,
        hub,
        tails,
        blobs,
        surveys,
        relabelled: Notify::new(),
        advertise,
    });
    state.write_operator(&cluster, address).await?;

    let records = state.store.load()?;
    let config = Config { cluster: true, ..Config::default() };
    let coordinator = Coordinator::new(config, Default::default(), &records);
    let epoch = coordinator.epoch();
    let (inbox, messages) = mpsc::channel(INBOX);
    let confidence = Confidence::new(&state.probe_key()?);
    let (forgotten, to_remove) = mpsc::unbounded_channel();
    for job in cluster.tails.of_jobs_but(|job| coordinator.job(job).is_some()) {
        // The other end is below.
        let _ = forgotten.send(job);
    }
    tokio::spawn(cluster.tails.clone().remove(to_remove));
    let driver =
        Driver::new(coordinator, state.store.clone(), messages, None, confidence).with_forgotten(forgotten);
    tokio::spawn(planning::run(Arc::clone(&cluster), inbox.clone()));
    let logs = Logs::Hub(cluster.hub.clone());
    let service = Service { epoch, inbox, logs, cluster: Some(Arc::clone(&cluster)) };
    let login = login::Login::bind(&login_socket(&options.state_dir), state::local_addresses(address))?;
    let server = Server::on(endpoint.clone(), service);
    tracing::info!(cluster = %cluster.id, %address, epoch = epoch.0, "serving");
    tell_how_to_join(&cluster, &options.state_dir).await?;

    let renew = renew_own_certificate(&endpoint, &cluster);
    let ended = tokio::select! {
        ended = driver.run() => ended.context("the coordinator cannot go on"),
        ended = renew => ended,
        () = login.serve(&cluster) => Ok(()),
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    drop(server);
    endpoint.wait_idle().await;
    ended
}

fn listen(options: &Options) -> anyhow::Result<UdpSocket> {
    let (socket, effective) = match options.listen {
        Some(address) => socket::listen(address)?,
        None => socket::listen((Ipv6Addr::UNSPECIFIED, COORDINATOR_PORT).into())
            // A host without IPv6.
            .or_else(|_| socket::listen((Ipv4Addr::UNSPECIFIED, COORDINATOR_PORT).into()))?,
    };
    if effective < RECEIVE_BUFFER {
        tracing::warn!(
            "the UDP receive buffer has {effective} bytes, {RECEIVE_BUFFER} are wanted: with hundreds of workers their \
             packets are lost at once; run: sysctl -w net.core.rmem_max={} (the kernel gives twice that)",
            RECEIVE_BUFFER / 2
        );
    }
    Ok(socket)
}

fn answer_on(socket: UdpSocket, state: &state::State) -> anyhow::Result<Endpoint> {
    let config = transport::coordinator_endpoint(&state.reset_keys()?);
    let server = server_config(&state.authority()?)?;
    Endpoint::new(config, Some(server), socket, Arc::new(TokioRuntime))
        .context("cannot serve on the UDP socket")
}

/// TLS with a fresh certificate of this coordinator.
fn server_config(authority: &Authority) -> anyhow::Result<ServerConfig> {
    let keys = Keys::generate()?;
    let certificate = authority.issue_for(
        &Principal::Coordinator,
        &keys,
        wall(),
        CERTIFICATE_LIFETIME,
        &SystemRandom::new(),
    )?;
    let own = Own { certificate: &certificate, key: &keys.to_pkcs8() };
    let mut config = ServerConfig::with_crypto(Arc::new(tls::server(own, authority.certificate())?));
    config.transport_config(transport::coordinator()).migration(false).max_incoming(transport::HANDSHAKES);
    Ok(config)
}

async fn renew_own_certificate(endpoint: &Endpoint, cluster: &Cluster) -> anyhow::Result<()> {
    loop {
        tokio::time::sleep(OWN_CERTIFICATE_EVERY).await;
        endpoint.set_server_config(Some(server_config(&cluster.authority)?));
    }
}

/// The line to paste on a node. It holds a secret: on a terminal it is shown, in a log it is not.
#[expect(clippy::print_stdout, reason = "the line is the command's answer")]
async fn tell_how_to_join(cluster: &Cluster, state_dir: &Path) -> anyhow::Result<()> {
    let usual = default_dir().is_some_and(|usual| usual == state_dir);
    let socket =
        if usual { String::new() } else { format!(" --socket {}", login_socket(state_dir).display()) };
    if !std::io::stdout().is_terminal() {
        tracing::info!("nodes join with the line that `phalanx token create` prints");
        tracing::info!("users of this host log in with: phalanx login{socket}");
        return Ok(());
    }
    let asked = TokenRequest {
        lifetime: TOKEN_LIFETIME,
        uses: TOKEN_USES,
        note: "printed by serve".to_owned(),
        creator: "serve".to_owned(),
    };
    let token = cluster.registry.create_token(cluster.authority.pin(), wall(), asked).await?;
    println!("To join a node, run there within {} minutes:\n", TOKEN_LIFETIME.as_secs() / 60);
    println!("  {}\n", join_line(&cluster.advertise, &token.reveal()));
    let operator =
        if usual { String::new() } else { format!(" --identity {}", operator_path(state_dir).display()) };
    println!("For more nodes: phalanx token create{operator} --uses N");
    println!("To run jobs, on this host: phalanx login{socket}");
    Ok(())
}

/// What joins a node to the coordinator at these addresses.
pub(crate) fn join_line(addresses: &[String], token: &str) -> String {
    format!("phalanx-worker join {} --token {token}", addresses.join(","))
}

/// `phalanx serve`, on its own event loop.
pub(crate) fn run(options: Options) -> anyhow::Result<()> {
    if options.listen.is_some_and(|listen| listen.port() == 0) {
        bail!("--listen needs a port that nodes can be told, not 0");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    runtime.block_on(serve(options))
}
