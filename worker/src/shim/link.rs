//! The shim's end of the worker socket: frames in, frames out, never waiting.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use phalanx_common::wire::codec;
use phalanx_worker_core::shim::{ShimHello, ShimOrder, ShimReport, VERSION};

/// Bytes read from the worker at once.
const CHUNK: usize = 16 << 10;

/// Why the worker can no longer be served.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the worker closed its socket")]
    Closed,
    #[error("the worker's socket failed: {0}")]
    Io(io::Error),
    #[error("the worker sent no valid frame: {0}")]
    Frame(#[from] codec::Error),
    #[error("the worker speaks version {theirs} of the shim protocol and this shim {VERSION}")]
    Version { theirs: u16 },
}

impl Error {
    /// The worker is gone, as far as its socket tells.
    pub(super) fn is_end(&self) -> bool {
        matches!(self, Error::Closed | Error::Io(_))
    }
}

/// The connection to the worker.
pub(super) struct Link {
    socket: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
    greeted: bool,
}

impl Link {
    /// Takes over the socket and queues the greeting.
    pub(super) fn new(socket: OwnedFd) -> Result<Link, Error> {
        let socket = UnixStream::from(socket);
        socket.set_nonblocking(true).map_err(Error::Io)?;
        let mut output = Vec::new();
        codec::encode(&ShimHello { version: VERSION }, &mut output)?;
        Ok(Link { socket, input: Vec::new(), output, greeted: false })
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Bytes are waiting for room in the socket.
    pub(super) fn is_behind(&self) -> bool {
        !self.output.is_empty()
    }

    /// Queues a report.
    pub(super) fn report(&mut self, report: &ShimReport) -> Result<(), Error> {
        Ok(codec::encode(report, &mut self.output)?)
    }

    /// Sends what the socket takes.
    pub(super) fn flush(&mut self) -> Result<(), Error> {
        while !self.output.is_empty() {
            match self.socket.write(&self.output) {
                Ok(0) => return Err(Error::Closed),
                Ok(sent) => drop(self.output.drain(..sent)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Err(Error::Closed),
                Err(error) => return Err(Error::Io(error)),
            }
        }
        Ok(())
    }

    /// Reads what has come and returns the orders in it.
    pub(super) fn orders(&mut self) -> Result<Vec<ShimOrder>, Error> {
        // One read at a time: the end of the socket never hides the orders before it.
        let mut chunk = [0u8; CHUNK];
        match self.socket.read(&mut chunk) {
            Ok(0) => return Err(Error::Closed),
            Ok(got) => self.input.extend_from_slice(&chunk[..got]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Err(Error::Closed),
            Err(error) => return Err(Error::Io(error)),
        }
        if !self.greeted {
            let Some(ShimHello { version }) = codec::take(&mut self.input)? else { return Ok(Vec::new()) };
            if version != VERSION {
                return Err(Error::Version { theirs: version });
            }
            self.greeted = true;
        }
        let mut orders = Vec::new();
        while let Some(order) = codec::take(&mut self.input)? {
            orders.push(order);
        }
        Ok(orders)
    }
}
