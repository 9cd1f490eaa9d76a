//! Frames on a pair of quinn streams, the coordinator's side.

use phalanx_common::wire::{HeaderError, StreamHeader, codec};
use quinn::{RecvStream, SendStream};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes asked of quinn in one read.
const READ_CHUNK: usize = 64 << 10;

/// Why a stream from a worker ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the stream ended")]
    Closed,
    #[error("cannot read the stream")]
    Read(#[from] quinn::ReadError),
    #[error("cannot write the stream")]
    Write(#[from] quinn::WriteError),
    #[error("the stream does not begin with a header of this protocol")]
    Header(#[from] HeaderError),
    #[error("the stream is shorter than its header")]
    ShortHeader,
    #[error("a frame is broken")]
    Frame(#[from] codec::Error),
    #[error("the connection was lost")]
    Connection(#[from] quinn::ConnectionError),
    #[error("{0}")]
    Protocol(&'static str),
}

/// The receiving half.
#[derive(Debug)]
pub(super) struct Frames {
    recv: RecvStream,
    received: Vec<u8>,
}

impl Frames {
    /// Reads the header every stream begins with.
    pub(super) async fn accept(mut recv: RecvStream) -> Result<(StreamHeader, Frames), Error> {
        let mut header = [0; StreamHeader::LEN];
        recv.read_exact(&mut header).await.map_err(|_| Error::ShortHeader)?;
        Ok((StreamHeader::from_bytes(header)?, Frames { recv, received: Vec::new() }))
    }

    /// The next message. Cancel-safe.
    pub(super) async fn next<T: DeserializeOwned>(&mut self) -> Result<T, Error> {
        loop {
            if let Some(message) = codec::take(&mut self.received)? {
                return Ok(message);
            }
            let chunk = self.recv.read_chunk(READ_CHUNK, true).await?.ok_or(Error::Closed)?;
            self.received.extend_from_slice(&chunk.bytes);
        }
    }
}

/// Writes one message.
pub(super) async fn write<T: Serialize>(send: &mut SendStream, message: &T) -> Result<(), Error> {
    let mut bytes = Vec::new();
    codec::encode(message, &mut bytes)?;
    Ok(send.write_all(&bytes).await?)
}
