//! Keeps a link to the coordinator: dials, and dials again whenever the link is lost.

use std::sync::Arc;
use std::time::Duration;

use phalanx_net::connect::{self, Lost};
use phalanx_net::identity_file::Identity;
use phalanx_net::transport::CLOSED_NORMALLY;
use phalanx_net::{tls, transport};
use phalanx_worker::agent::Dialed;
use phalanx_worker::link::{self, QuicLink, QuicTopology};
use quinn::{Connection, Endpoint, TransportConfig};
use rand::Rng;
use tokio::sync::mpsc;

use crate::cli::NodeArgs;
use crate::node;

/// Wait before the first try after a failed one; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// A coordinator that comes back is found within this.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long the end of a link may take: QUIC says goodbye for three round trips.
const CLOSED_WITHIN: Duration = Duration::from_secs(1);

/// Why a try failed.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Connect(#[from] connect::Error),
    #[error(transparent)]
    Node(#[from] node::Error),
    #[error("{}", explain(.0))]
    Link(#[from] link::Error),
}

/// What the coordinator said when it closed the connection, if that is why the link was lost.
fn explain(error: &link::Error) -> String {
    use phalanx_net::frames;
    match error {
        link::Error::Lost(lost) | link::Error::Stream(frames::Error::Lost(lost)) => Lost(lost).to_string(),
        other => other.to_string(),
    }
}

/// Dials, and keeps what is needed to end the link in good order.
pub(crate) struct Dialer<'a> {
    identity: &'a Identity,
    args: &'a NodeArgs,
    /// The newest link, which may be lost already.
    live: Option<(Endpoint, Connection)>,
    /// What was said of GPUs that are left out.
    told_gpus: Option<String>,
}

impl<'a> Dialer<'a> {
    pub(crate) fn new(identity: &'a Identity, args: &'a NodeArgs) -> Dialer<'a> {
        Dialer { identity, args, live: None, told_gpus: None }
    }

    /// Hands every new link to the agent, and its topology stream to the survey, until the agent is gone.
    pub(crate) async fn keep_dialing(
        &mut self,
        links: mpsc::Sender<Dialed<QuicLink>>,
        topologies: mpsc::Sender<QuicTopology>,
    ) -> Result<(), tls::Error> {
        let tls = self.identity.tls()?;
        let transport = transport::member();
        let (mut pause, mut told) = (FIRST_PAUSE, String::new());
        loop {
            match self.dial(&tls, &transport).await {
                Ok((dialed, topology, connection)) => {
                    tracing::info!(coordinator = %connection.remote_address(), "connected");
                    (pause, told) = (FIRST_PAUSE, String::new());
                    if links.send(dialed).await.is_err() {
                        return Ok(());
                    }
                    // Without a survey the node works all the same.
                    let _ = topologies.send(topology).await;
                    let why = connection.closed().await;
                    tracing::warn!("the link to the coordinator is lost, ranks go on: {}", Lost(&why));
                }
                Err(error) => {
                    let error = error.to_string();
                    if error != told {
                        tracing::warn!("{error}; trying again");
                        told = error;
                    }
                    let jitter = rand::rng().random_range(0.5..1.0);
                    tokio::time::sleep(pause.mul_f64(jitter)).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    async fn dial(
        &mut self,
        tls: &tls::Client,
        transport: &Arc<TransportConfig>,
    ) -> Result<(Dialed<QuicLink>, QuicTopology, Connection), Error> {
        let connected = connect::connect(tls, &self.identity.coordinators, transport).await?;
        let node::Node { facts, left_out } = node::read_apart(self.args, connected.local).await?;
        if left_out != self.told_gpus
            && let Some(left_out) = &left_out
        {
            tracing::warn!(slots = facts.slots, "{left_out}");
        }
        self.told_gpus = left_out;
        let connection = connected.connection.clone();
        self.live = Some((connected.endpoint.clone(), connection.clone()));
        let link = QuicLink::greet(connected.endpoint, connected.connection).await?;
        let topology = link.open_topology().await?;
        Ok((Dialed { link, facts }, topology, connection))
    }

    /// Tells the coordinator that this worker ends, so that it gives the node nothing more.
    pub(crate) async fn close(self) {
        let Some((endpoint, connection)) = self.live else { return };
        connection.close(CLOSED_NORMALLY, b"the worker ends");
        // One that does not answer learns it by the silence.
        let _ = tokio::time::timeout(CLOSED_WITHIN, endpoint.wait_idle()).await;
    }
}
