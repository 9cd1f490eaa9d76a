//! The worker's end of its connection to a coordinator, as a port: the agent knows this trait,
//! QUIC stays behind it.

mod quic;

use std::future::Future;

use phalanx_common::id::Epoch;
use phalanx_common::wire::NoCommonVersion;
use phalanx_common::wire::topology_v1::{FromNode, ToNode};
use phalanx_common::wire::v1::{
    FileFrame, FileRequest, FromWorker, LogCredit, LogFrame, TailFrame, ToWorker,
};
use phalanx_net::frames;

pub use quic::{QuicFile, QuicLink, QuicLog, QuicTail, QuicTopology};

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot open a socket for the coordinator at {address}")]
    Socket {
        address: std::net::SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot connect to the coordinator at {address}")]
    Connect {
        address: std::net::SocketAddr,
        #[source]
        source: quinn::ConnectError,
    },
    #[error("the connection to the coordinator was lost")]
    Lost(#[from] quinn::ConnectionError),
    #[error(transparent)]
    Stream(#[from] frames::Error),
    #[error(transparent)]
    Version(#[from] NoCommonVersion),
}

impl Error {
    /// Whether the whole connection is gone, and not one stream.
    pub fn is_lost(&self) -> bool {
        matches!(self, Error::Lost(_) | Error::Stream(frames::Error::Lost(_)))
    }
}

/// A live connection to a coordinator whose Hello has been seen.
pub trait Link: Send + 'static {
    type Log: LogLink;
    type Tail: TailLink;
    type File: FileLink;

    /// The epoch of the coordinator at the other end.
    fn epoch(&self) -> Epoch;
    /// Queues a report in order; returns once the connection has taken it.
    fn send(&mut self, report: FromWorker) -> impl Future<Output = Result<(), Error>> + Send;
    /// The next message. Cancel-safe: a dropped future loses nothing.
    fn recv(&mut self) -> impl Future<Output = Result<ToWorker, Error>> + Send;
    /// Opens a stream for the output of one job.
    fn open_log(&self) -> impl Future<Output = Result<Self::Log, Error>> + Send + 'static;
    /// Opens the stream for tails, below everything else.
    fn open_tails(&self) -> impl Future<Output = Result<Self::Tail, Error>> + Send + 'static;
    /// Opens a stream for a directory that travels with a job.
    fn open_file(&self) -> impl Future<Output = Result<Self::File, Error>> + Send + 'static;
}

/// A file stream: one request out, frames in.
pub trait FileLink: Send + 'static {
    fn ask(&mut self, request: FileRequest) -> impl Future<Output = Result<(), Error>> + Send;
    fn next(&mut self) -> impl Future<Output = Result<FileFrame, Error>> + Send;
}

/// The tail stream: frames out.
pub trait TailLink: Send + 'static {
    fn send(&mut self, frame: TailFrame) -> impl Future<Output = Result<(), Error>> + Send;
}

/// One log stream: frames out, credit in.
pub trait LogLink: Send + 'static {
    fn send(&mut self, frame: LogFrame) -> impl Future<Output = Result<(), Error>> + Send;
    /// Waits for more credit. Cancel-safe.
    fn credit(&mut self) -> impl Future<Output = Result<LogCredit, Error>> + Send;
}

/// The topology stream: what the node tells, and what it is asked.
pub trait TopologyLink: Send + 'static {
    fn tell(&mut self, told: FromNode) -> impl Future<Output = Result<(), Error>> + Send;
    /// Cancel-safe.
    fn asked(&mut self) -> impl Future<Output = Result<ToNode, Error>> + Send;
}
