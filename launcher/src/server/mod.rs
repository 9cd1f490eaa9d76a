//! The coordinator's QUIC end: accepts workers, reads their reports, writes their orders.
//!
//! ```text
//! worker --open control--> header, ClientHello --> ServerHello --> reports  ==> driver inbox
//!                                                  orders         <==          driver
//! worker --open log------> header, Open --> chunks ==> output;  credit <==     output
//! ```

mod connection;
mod logs;

use std::net::SocketAddr;
use std::sync::Arc;

use phalanx_common::id::Epoch;
use phalanx_common::wire::SEND_WINDOW;
use quinn::{Endpoint, ServerConfig, TransportConfig, VarInt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::driver::Message;
use crate::output::LogSink;

/// Why the coordinator cannot serve.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot listen on UDP {address}")]
    Bind {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
}

/// A listening coordinator. Dropping it closes every connection.
#[derive(Debug)]
pub(crate) struct Server {
    endpoint: Endpoint,
    accepting: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Binds `address` and serves until dropped. Reports go to `inbox`, output to `logs`.
    pub(crate) fn start(
        address: SocketAddr,
        config: ServerConfig,
        epoch: Epoch,
        inbox: mpsc::Sender<Message>,
        logs: LogSink,
    ) -> Result<Server, Error> {
        let endpoint = Endpoint::server(config, address).map_err(|source| Error::Bind { address, source })?;
        let accepting = tokio::spawn(accept(endpoint.clone(), epoch, inbox, logs));
        Ok(Server { endpoint, accepting })
    }

    pub(crate) fn address(&self) -> Result<SocketAddr, std::io::Error> {
        self.endpoint.local_addr()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
        self.endpoint.close(VarInt::from_u32(0), b"coordinator ends");
    }
}

async fn accept(endpoint: Endpoint, epoch: Epoch, inbox: mpsc::Sender<Message>, logs: LogSink) {
    let mut connections = JoinSet::new();
    while let Some(incoming) = endpoint.accept().await {
        connections.spawn(connection::serve(incoming, epoch, inbox.clone(), logs.clone()));
        while connections.try_join_next().is_some() {}
    }
}

/// Transport settings that both ends of a local connection use: nothing times out, because
/// Ctrl-Z or a debugger may hold either end for as long as the user likes.
pub(crate) fn local_transport() -> Arc<TransportConfig> {
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
