//! The coordinator's QUIC end: accepts workers and clients, and lets nobody else get a word in.
//!
//! ```text
//! worker --open control--> header, ClientHello --> ServerHello --> reports  ==> driver inbox
//!                                                  orders         <==          driver
//! worker --open log------> header, Open --> chunks ==> printer or client;  credit <==
//! client --open control--> header, ClientHello --> ServerHello
//! client --open request--> header, Request --> Replies
//! joiner --open request--> header, JoinRequest --> JoinReply
//! ```

pub(crate) mod blobs;
pub(crate) mod client;
mod connection;
pub(crate) mod hub;
mod join;
mod logs;
mod relay;
pub(crate) mod tails;
mod topology;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use phalanx_common::id::Epoch;
use phalanx_net::classify::{self, Peer};
use phalanx_net::transport::{CLOSED_NORMALLY, CLOSED_REFUSED, HANDSHAKES, UNPROVEN};
#[cfg(feature = "local")]
use quinn::ServerConfig;
use quinn::{Connection, Endpoint, Incoming};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::cluster::Cluster;
use crate::driver::Message;
use connection::Certified;
use hub::Logs;

/// A handshake that takes longer is not finished: the peer sends again, or is none.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// Why the coordinator of a local launch cannot serve.
#[cfg(feature = "local")]
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot listen on UDP {address}")]
    Bind {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
}

/// What every connection is served with.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) epoch: Epoch,
    pub(crate) inbox: mpsc::Sender<Message>,
    pub(crate) logs: Logs,
    /// `None` in local mode: whoever finished the handshake is the one worker.
    pub(crate) cluster: Option<Arc<Cluster>>,
}

/// A listening coordinator. Dropping it closes every connection.
#[derive(Debug)]
pub(crate) struct Server {
    endpoint: Endpoint,
    accepting: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Serves a socket of this launch's own until dropped.
    #[cfg(feature = "local")]
    pub(crate) fn start(
        address: SocketAddr,
        config: ServerConfig,
        service: Service,
    ) -> Result<Server, Error> {
        let endpoint = Endpoint::server(config, address).map_err(|source| Error::Bind { address, source })?;
        Ok(Server::on(endpoint, service))
    }

    /// Serves this endpoint until dropped.
    pub(crate) fn on(endpoint: Endpoint, service: Service) -> Server {
        let accepting = tokio::spawn(accept(endpoint.clone(), service));
        Server { endpoint, accepting }
    }

    #[cfg(feature = "local")]
    pub(crate) fn address(&self) -> Result<SocketAddr, std::io::Error> {
        self.endpoint.local_addr()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
        self.endpoint.close(CLOSED_NORMALLY, b"the coordinator ends");
    }
}

async fn accept(endpoint: Endpoint, service: Service) {
    let mut connections = JoinSet::new();
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    while let Some(incoming) = endpoint.accept().await {
        let busy = handshakes.available_permits() < HANDSHAKES - UNPROVEN;
        if busy && !incoming.remote_address_validated() {
            // Fails only for an address that is proven.
            let _ = incoming.retry();
            continue;
        }
        let Ok(permit) = Arc::clone(&handshakes).try_acquire_owned() else {
            incoming.ignore();
            continue;
        };
        let service = service.clone();
        connections.spawn(async move {
            let connection = handshake(incoming).await;
            drop(permit);
            if let Some(connection) = connection {
                serve(connection, service).await;
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn handshake(incoming: Incoming) -> Option<Connection> {
    let from = incoming.remote_address();
    let connecting = match incoming.accept() {
        Ok(connecting) => connecting,
        // Anybody can send what looks like a first packet, from any address: no line of the log each.
        Err(error) => {
            tracing::debug!(%from, %error, "a first packet was none");
            return None;
        }
    };
    match tokio::time::timeout(HANDSHAKE_WITHIN, connecting).await {
        Ok(Ok(connection)) => Some(connection),
        Ok(Err(error)) => {
            tracing::warn!(%from, %error, "a connection was refused in its handshake");
            None
        }
        Err(_) => None,
    }
}

/// One connection, from who it is to its end.
async fn serve(connection: Connection, service: Service) {
    let Some(cluster) = service.cluster.clone() else {
        return connection::serve(connection, None, service.epoch, service.inbox, service.logs).await;
    };
    let from = connection.remote_address();
    match classify::of_connection(&connection, &cluster.id) {
        Ok(Peer::Joiner) => join::serve(connection, &cluster).await,
        Ok(Peer::Worker { node, expires }) => {
            if let Err(why) = cluster.registry.admits_node(&node) {
                return refuse(&connection, from, &why.to_string());
            }
            let (tails, blobs) = (cluster.tails.clone(), cluster.blobs.clone());
            let surveys = cluster.surveys.clone();
            let certified = Some(Certified { node, expires, tails, blobs, surveys });
            connection::serve(connection, certified, service.epoch, service.inbox, service.logs).await;
        }
        Ok(Peer::Client { principal, expires }) => match cluster.registry.admits(&principal, expires).await {
            Ok(()) => client::serve(connection, principal, service, cluster).await,
            Err(why) => refuse(&connection, from, &why.to_string()),
        },
        Err(refusal) => refuse(&connection, from, &refusal.to_string()),
    }
}

fn refuse(connection: &Connection, from: SocketAddr, why: &str) {
    tracing::warn!(%from, why, "a connection was refused");
    connection.close(CLOSED_REFUSED, why.as_bytes());
}
