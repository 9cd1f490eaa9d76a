//! The link over QUIC.

use std::future::Future;
use std::net::SocketAddr;

use phalanx_common::id::Epoch;
use phalanx_common::wire::topology_v1::{FromNode, ToNode};
use phalanx_common::wire::v1::{
    FileFrame, FileRequest, FromWorker, LogCredit, LogFrame, TailFrame, ToWorker,
};
use phalanx_common::wire::{
    CONTROL_PRIORITY, ClientHello, ServerHello, StreamHeader, StreamKind, TAIL_PRIORITY, TOPOLOGY_PRIORITY,
};
use phalanx_net::frames::{self, Receiving, Sending};
use quinn::{Connection, Endpoint};

use super::{Error, FileLink, Link, LogLink, TailLink, TopologyLink};

/// A QUIC connection to a coordinator.
#[derive(Debug)]
pub struct QuicLink {
    // Keeps the socket: the connection's driver ends with the endpoint.
    _endpoint: Endpoint,
    connection: Connection,
    orders: Receiving,
    reports: Sending,
    version: u16,
    epoch: Epoch,
}

impl QuicLink {
    /// Connects from an own socket and exchanges Hello. `config` says who we are and whom we trust.
    pub async fn connect(
        address: SocketAddr,
        server_name: &str,
        config: quinn::ClientConfig,
    ) -> Result<QuicLink, Error> {
        let local: SocketAddr = match address {
            SocketAddr::V4(v4) if v4.ip().is_loopback() => ([127, 0, 0, 1], 0).into(),
            SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
            SocketAddr::V6(_) => ([0u16; 8], 0).into(),
        };
        let endpoint = Endpoint::client(local).map_err(|source| Error::Socket { address, source })?;
        let connecting = endpoint
            .connect_with(config, address, server_name)
            .map_err(|source| Error::Connect { address, source })?;
        QuicLink::greet(endpoint, connecting.await?).await
    }

    /// Exchanges Hello on a connection whose handshake is finished.
    pub async fn greet(endpoint: Endpoint, connection: Connection) -> Result<QuicLink, Error> {
        let (mut reports, mut orders) = frames::open(&connection, StreamHeader::CONTROL).await?;
        reports.set_priority(CONTROL_PRIORITY);
        reports.write(&ClientHello::own()).await?;
        let hello: ServerHello = match orders.read().await {
            // A refused worker sees its stream fail first; the connection knows why.
            Err(frames::Error::Closed) => return Err(Error::Lost(connection.closed().await)),
            hello => hello?,
        };
        let (version, epoch) = hello.welcome()?;
        Ok(QuicLink { _endpoint: endpoint, connection, orders, reports, version, epoch })
    }

    /// Opens the stream for what this node is and what is around it.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn open_topology(&self) -> Result<QuicTopology, Error> {
        let header = StreamHeader { kind: StreamKind::Topology, version: self.version };
        let (told, asked) = frames::open(&self.connection, header).await?;
        told.set_priority(TOPOLOGY_PRIORITY);
        Ok(QuicTopology { told, asked })
    }
}

impl Link for QuicLink {
    type Log = QuicLog;
    type Tail = QuicTail;
    type File = QuicFile;

    fn epoch(&self) -> Epoch {
        self.epoch
    }

    async fn send(&mut self, report: FromWorker) -> Result<(), Error> {
        Ok(self.reports.write(&report).await?)
    }

    async fn recv(&mut self) -> Result<ToWorker, Error> {
        Ok(self.orders.read().await?)
    }

    fn open_log(&self) -> impl Future<Output = Result<QuicLog, Error>> + Send + 'static {
        let (connection, version) = (self.connection.clone(), self.version);
        async move {
            let header = StreamHeader { kind: StreamKind::Log, version };
            let (output, credit) = frames::open(&connection, header).await?;
            Ok(QuicLog { output, credit })
        }
    }

    fn open_file(&self) -> impl Future<Output = Result<QuicFile, Error>> + Send + 'static {
        let (connection, version) = (self.connection.clone(), self.version);
        async move {
            let header = StreamHeader { kind: StreamKind::File, version };
            let (ask, frames) = frames::open(&connection, header).await?;
            Ok(QuicFile { ask, frames })
        }
    }

    fn open_tails(&self) -> impl Future<Output = Result<QuicTail, Error>> + Send + 'static {
        let (connection, version) = (self.connection.clone(), self.version);
        async move {
            let header = StreamHeader { kind: StreamKind::Tail, version };
            let (tails, _) = frames::open(&connection, header).await?;
            tails.set_priority(TAIL_PRIORITY);
            Ok(QuicTail(tails))
        }
    }
}

/// A file stream.
#[derive(Debug)]
pub struct QuicFile {
    ask: Sending,
    frames: Receiving,
}

impl FileLink for QuicFile {
    async fn ask(&mut self, request: FileRequest) -> Result<(), Error> {
        Ok(self.ask.write(&request).await?)
    }

    async fn next(&mut self) -> Result<FileFrame, Error> {
        Ok(self.frames.read().await?)
    }
}

/// The tail stream.
#[derive(Debug)]
pub struct QuicTail(Sending);

impl TailLink for QuicTail {
    async fn send(&mut self, frame: TailFrame) -> Result<(), Error> {
        Ok(self.0.write(&frame).await?)
    }
}

/// The topology stream.
#[derive(Debug)]
pub struct QuicTopology {
    told: Sending,
    asked: Receiving,
}

impl TopologyLink for QuicTopology {
    async fn tell(&mut self, told: FromNode) -> Result<(), Error> {
        Ok(self.told.write(&told).await?)
    }

    async fn asked(&mut self) -> Result<ToNode, Error> {
        Ok(self.asked.read().await?)
    }
}

/// One log stream.
#[derive(Debug)]
pub struct QuicLog {
    output: Sending,
    credit: Receiving,
}

impl LogLink for QuicLog {
    async fn send(&mut self, frame: LogFrame) -> Result<(), Error> {
        Ok(self.output.write(&frame).await?)
    }

    async fn credit(&mut self) -> Result<LogCredit, Error> {
        Ok(self.credit.read().await?)
    }
}
