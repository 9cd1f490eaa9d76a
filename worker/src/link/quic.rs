//! The link over QUIC.

use std::future::Future;
use std::net::SocketAddr;

use phalanx_common::id::Epoch;
use phalanx_common::wire::v1::{FromWorker, LogCredit, LogFrame, ToWorker};
use phalanx_common::wire::{
    CONTROL_PRIORITY, ClientHello, ServerHello, StreamHeader, StreamKind, VERSIONS, codec,
};
use quinn::{Connection, Endpoint, RecvStream, SendStream};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Error, Link, LogLink};

/// Bytes asked of quinn in one read.
const READ_CHUNK: usize = 64 << 10;

/// A framed pair of QUIC streams.
#[derive(Debug)]
struct Framed {
    send: SendStream,
    recv: RecvStream,
    received: Vec<u8>,
    sending: Vec<u8>,
}

impl Framed {
    async fn open(connection: &Connection, kind: StreamKind, version: u16) -> Result<Framed, Error> {
        let (send, recv) = connection.open_bi().await?;
        if kind == StreamKind::Control {
            // Fails only on a closed stream, which the next write reports.
            let _ = send.set_priority(CONTROL_PRIORITY);
        }
        let sending = StreamHeader { kind, version }.to_bytes().to_vec();
        Ok(Framed { send, recv, received: Vec::new(), sending })
    }

    async fn write<T: Serialize>(&mut self, message: &T) -> Result<(), Error> {
        codec::encode(message, &mut self.sending)?;
        let written = self.send.write_all(&self.sending).await;
        self.sending.clear();
        written.map_err(|error| match error {
            quinn::WriteError::ConnectionLost(lost) => Error::Lost(lost),
            _ => Error::Closed,
        })
    }

    /// Cancel-safe: what was received stays in the buffer.
    async fn read<T: DeserializeOwned>(&mut self) -> Result<T, Error> {
        loop {
            if let Some(message) = codec::take(&mut self.received)? {
                return Ok(message);
            }
            match self.recv.read_chunk(READ_CHUNK, true).await {
                Ok(Some(chunk)) => self.received.extend_from_slice(&chunk.bytes),
                Ok(None) => return Err(Error::Closed),
                Err(quinn::ReadError::ConnectionLost(lost)) => return Err(Error::Lost(lost)),
                Err(_) => return Err(Error::Closed),
            }
        }
    }
}

/// A QUIC connection to a coordinator.
#[derive(Debug)]
pub struct QuicLink {
    // Keeps the socket: the connection's driver ends with the endpoint.
    _endpoint: Endpoint,
    connection: Connection,
    control: Framed,
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
        let connection = connecting.await?;
        // The header carries the version that Hello itself is written in.
        let mut control = Framed::open(&connection, StreamKind::Control, *VERSIONS.start()).await?;
        control.write(&ClientHello { lowest: *VERSIONS.start(), highest: *VERSIONS.end() }).await?;
        match control.read::<ServerHello>().await? {
            ServerHello::Welcome { version, epoch } => {
                Ok(QuicLink { _endpoint: endpoint, connection, control, version, epoch: Epoch(epoch) })
            }
            ServerHello::NoCommonVersion { lowest, highest } => {
                Err(Error::NoCommonVersion { lowest, highest })
            }
        }
    }
}

impl Link for QuicLink {
    type Log = QuicLog;

    fn epoch(&self) -> Epoch {
        self.epoch
    }

    async fn send(&mut self, report: FromWorker) -> Result<(), Error> {
        self.control.write(&report).await
    }

    async fn recv(&mut self) -> Result<ToWorker, Error> {
        self.control.read().await
    }

    fn open_log(&self) -> impl Future<Output = Result<QuicLog, Error>> + Send + 'static {
        let (connection, version) = (self.connection.clone(), self.version);
        async move { Ok(QuicLog(Framed::open(&connection, StreamKind::Log, version).await?)) }
    }
}

/// One log stream.
#[derive(Debug)]
pub struct QuicLog(Framed);

impl LogLink for QuicLog {
    async fn send(&mut self, frame: LogFrame) -> Result<(), Error> {
        self.0.write(&frame).await
    }

    async fn credit(&mut self) -> Result<LogCredit, Error> {
        self.0.read().await
    }
}
