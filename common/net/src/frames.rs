//! Messages on a pair of QUIC streams: a header that says what the stream is for, then frames of
//! `phalanx_common::wire::codec`, in both directions.

use phalanx_common::defaults::FRAME_CAP;
use phalanx_common::wire::{HeaderError, StreamHeader, codec};
use quinn::{Connection, ConnectionError, ReadError, ReadExactError, RecvStream, SendStream, WriteError};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes asked of quinn in one read.
const READ_CHUNK: usize = 64 << 10;

/// Why talk on a stream ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the stream ended")]
    Closed,
    #[error("the connection was lost")]
    Lost(#[from] ConnectionError),
    #[error("the stream does not begin with a header of this protocol")]
    Header(#[from] HeaderError),
    #[error("a frame is broken")]
    Frame(#[from] codec::Error),
    #[error("more than {cap} bytes came before the end of a message")]
    TooLarge { cap: usize },
}

/// Opens a stream for what `header` says. The header travels with the first message.
///
/// # Errors
/// The connection is lost.
pub async fn open(connection: &Connection, header: StreamHeader) -> Result<(Sending, Receiving), Error> {
    let (send, recv) = connection.open_bi().await?;
    Ok((Sending { stream: send, bytes: header.to_bytes().to_vec() }, Receiving::new(recv)))
}

/// Takes a stream that the peer opened, and reads what it is for.
///
/// # Errors
/// The stream ends before its header does, or its first bytes are none.
pub async fn accept(
    (send, mut recv): (SendStream, RecvStream),
) -> Result<(StreamHeader, Sending, Receiving), Error> {
    let mut header = [0; StreamHeader::LEN];
    recv.read_exact(&mut header).await.map_err(|error| match error {
        ReadExactError::ReadError(error) => read_error(error),
        ReadExactError::FinishedEarly(_) => Error::Closed,
    })?;
    let header = StreamHeader::from_bytes(header)?;
    Ok((header, Sending { stream: send, bytes: Vec::new() }, Receiving::new(recv)))
}

/// The half of a stream that messages go into.
#[derive(Debug)]
pub struct Sending {
    stream: SendStream,
    /// Encoded and not yet handed to quinn.
    bytes: Vec<u8>,
}

impl Sending {
    /// Streams of a connection with a higher priority go first; 0 is quinn's own.
    pub fn set_priority(&self, priority: i32) {
        // Fails only on a closed stream, which the next write reports.
        let _ = self.stream.set_priority(priority);
    }

    /// Writes a message; returns once the connection has taken it. Not cancel-safe.
    ///
    /// # Errors
    /// The message is larger than a frame, the peer does not read this stream any more, or the
    /// connection is lost.
    pub async fn write<T: Serialize>(&mut self, message: &T) -> Result<(), Error> {
        codec::encode(message, &mut self.bytes)?;
        let written = self.stream.write_all(&self.bytes).await;
        self.bytes.clear();
        written.map_err(|error| match error {
            WriteError::ConnectionLost(lost) => Error::Lost(lost),
            _ => Error::Closed,
        })
    }

    /// Says that no more messages follow, and waits until the peer has all of them or is gone.
    pub async fn finish(mut self) {
        if self.stream.finish().is_ok() {
            let _ = self.stream.stopped().await;
        }
    }
}

/// The half of a stream that messages come out of.
#[derive(Debug)]
pub struct Receiving {
    stream: RecvStream,
    received: Vec<u8>,
    /// Most bytes kept for a message that is not complete.
    cap: usize,
}

impl Receiving {
    fn new(stream: RecvStream) -> Receiving {
        Receiving { stream, received: Vec::new(), cap: FRAME_CAP + READ_CHUNK }
    }

    /// The same stream for a peer that is not known yet: takes no message near or above `cap` bytes.
    pub fn limited_to(mut self, cap: usize) -> Receiving {
        self.cap = cap;
        self
    }

    /// The next message. Cancel-safe: what was received stays for the next call.
    ///
    /// # Errors
    /// The peer ended the stream, sent what is no frame or no such message, or the connection is lost.
    pub async fn read<T: DeserializeOwned>(&mut self) -> Result<T, Error> {
        loop {
            if let Some(message) = codec::take(&mut self.received)? {
                return Ok(message);
            }
            if self.received.len() >= self.cap {
                return Err(Error::TooLarge { cap: self.cap });
            }
            let chunk = self.stream.read_chunk(READ_CHUNK.min(self.cap), true).await.map_err(read_error)?;
            self.received.extend_from_slice(&chunk.ok_or(Error::Closed)?.bytes);
        }
    }
}

fn read_error(error: ReadError) -> Error {
    match error {
        ReadError::ConnectionLost(lost) => Error::Lost(lost),
        _ => Error::Closed,
    }
}
