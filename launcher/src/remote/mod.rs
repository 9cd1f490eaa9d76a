//! A client of a cluster: who it is, its connection, and its requests.

mod follow;
mod resume;

use std::io::Read;
use std::path::{Path, PathBuf};

use phalanx_common::id::Epoch;
use phalanx_common::spec::Ship;
use phalanx_common::wire::bytes::Bytes;
use phalanx_common::wire::client_v1::{Piece, Refusal, Reply, Request};
use phalanx_common::wire::{
    CONTROL_PRIORITY, ClientHello, NoCommonVersion, ServerHello, StreamHeader, StreamKind,
};
use phalanx_net::connect::{self, Connected, Lost};
use phalanx_net::frames::{self, Receiving, Sending};
use phalanx_net::identity_file::{self, Identity};
use phalanx_net::{tls, transport};
use serde::de::DeserializeOwned;

use crate::ship::Packed;
pub(crate) use follow::{Start, follow};
pub(crate) use resume::Resume;

/// Bytes of one piece of a directory on its way.
const PIECE: usize = 256 << 10;

/// Why the cluster did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Connect(#[from] connect::Error),
    #[error("the identity does not work")]
    Tls(#[from] tls::Error),
    #[error(transparent)]
    Identity(#[from] identity_file::Error),
    #[error("{}", Lost(.0))]
    Lost(quinn::ConnectionError),
    #[error("the coordinator's answer cannot be read: {0}")]
    Stream(frames::Error),
    #[error(transparent)]
    Version(#[from] NoCommonVersion),
    #[error("{why}")]
    Refused { kind: Refusal, why: String },
    #[error("the coordinator's answer makes no sense")]
    Answer,
    #[error("the packed directory cannot be read: {0}")]
    Packed(#[source] std::io::Error),
}

impl From<frames::Error> for Error {
    fn from(error: frames::Error) -> Error {
        match error {
            frames::Error::Lost(lost) => Error::Lost(lost),
            other => Error::Stream(other),
        }
    }
}

impl Error {
    /// Whether another try may go better: the coordinator, or the way to it, is gone for a while.
    fn passes(&self) -> bool {
        matches!(self, Error::Connect(_) | Error::Lost(_) | Error::Stream(_))
    }
}

/// A connection to the coordinator that has let this client in.
#[derive(Debug)]
pub(crate) struct Client {
    connected: Connected,
    // Open as long as the client is one.
    _control: (Sending, Receiving),
    version: u16,
    reign: Epoch,
}

impl Client {
    /// Connects as `identity`.
    pub(crate) async fn connect(identity: &Identity) -> Result<Client, Error> {
        let connected =
            connect::connect(&identity.tls()?, &identity.coordinators, &transport::member()).await?;
        let (mut send, mut receive) = frames::open(&connected.connection, StreamHeader::CONTROL).await?;
        send.set_priority(CONTROL_PRIORITY);
        let greeted = async {
            send.write(&ClientHello::own()).await?;
            receive.read::<ServerHello>().await
        };
        match greeted.await {
            Ok(hello) => {
                let (version, reign) = hello.welcome()?;
                Ok(Client { connected, _control: (send, receive), version, reign })
            }
            // A refused client sees its stream fail first; the connection knows why.
            Err(frames::Error::Closed) => Err(Error::Lost(connected.connection.closed().await)),
            Err(error) => Err(error.into()),
        }
    }

    /// The epoch of the coordinator that was reached.
    pub(crate) fn reign(&self) -> Epoch {
        self.reign
    }

    /// Asks, and leaves the answers to be read.
    pub(crate) async fn ask(&self, request: &Request) -> Result<Answers, Error> {
        let header = StreamHeader { kind: StreamKind::Request, version: self.version };
        let (mut send, receive) = frames::open(&self.connected.connection, header).await?;
        send.write(request).await?;
        Ok(Answers { send, receive })
    }

    /// Asks for what is answered by nothing but `Done`.
    pub(crate) async fn done(&self, request: &Request) -> Result<(), Error> {
        match self.ask(request).await?.next().await? {
            None => Ok(()),
            Some(_) => Err(Error::Answer),
        }
    }

    /// Asks for one reply before `Done`.
    pub(crate) async fn one(&self, request: &Request) -> Result<Reply, Error> {
        self.ask(request).await?.next().await?.ok_or(Error::Answer)
    }

    /// Sends a directory that travels with a job, unless the coordinator has it. `told` hears how much is
    /// on its way.
    pub(crate) async fn put(
        &self,
        packed: &mut Packed,
        as_user: Option<String>,
        mut told: impl FnMut(u64, u64),
    ) -> Result<(), Error> {
        let Ship { digest, bytes } = packed.ship.clone();
        let mut answers = self.ask(&Request::Put { digest, bytes, as_user }).await?;
        match answers.next().await? {
            None => return Ok(()),
            Some(Reply::Wanted) => {}
            Some(_) => return Err(Error::Answer),
        }
        let (mut buffer, mut sent) = (vec![0; PIECE], 0);
        loop {
            let read = packed.file.read(&mut buffer).map_err(Error::Packed)?;
            if read == 0 {
                break;
            }
            answers.send.write(&Piece(Bytes(buffer[..read].to_vec()))).await?;
            sent += read as u64;
            told(sent, bytes);
        }
        match answers.next().await? {
            None => Ok(()),
            Some(_) => Err(Error::Answer),
        }
    }

    /// Asks for a document.
    pub(crate) async fn document<T: DeserializeOwned>(&self, request: &Request) -> Result<T, Error> {
        serde_json::from_str(&self.text(request).await?).map_err(|_| Error::Answer)
    }

    /// The same as it came.
    pub(crate) async fn text(&self, request: &Request) -> Result<String, Error> {
        let mut answers = self.ask(request).await?;
        let mut text = String::new();
        while let Some(reply) = answers.next().await? {
            let Reply::Part(part) = reply else { return Err(Error::Answer) };
            text.push_str(&part);
        }
        Ok(text)
    }

    /// Ends the connection, so that the coordinator does not wait for it.
    pub(crate) async fn close(self) {
        self.connected.connection.close(transport::CLOSED_NORMALLY, b"");
        self.connected.endpoint.wait_idle().await;
    }
}

/// The answers to one request.
#[derive(Debug)]
pub(crate) struct Answers {
    // Dropped, it would end the stream, and with it the request.
    send: Sending,
    receive: Receiving,
}

impl Answers {
    /// The next answer; `None` after the last. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Option<Reply>, Error> {
        match self.receive.read::<Reply>().await? {
            Reply::Done => Ok(None),
            Reply::Refused { kind, why } => Err(Error::Refused { kind, why }),
            reply => Ok(Some(reply)),
        }
    }
}

/// Where an identity may be, in the order of trying.
#[derive(Debug)]
pub(crate) struct Places {
    /// Named by flag or variable: nothing else counts then.
    pub(crate) named: Option<PathBuf>,
    /// What to try if none is named.
    pub(crate) usual: Vec<PathBuf>,
}

impl Places {
    /// The first identity that is there; `None` if none is.
    pub(crate) fn load(&self) -> Result<Option<Identity>, Error> {
        if let Some(path) = &self.named {
            return Ok(Some(Identity::load(path)?));
        }
        for path in &self.usual {
            match Identity::load(path) {
                Ok(identity) => return Ok(Some(identity)),
                Err(identity_file::Error::Missing { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }
}

/// This user's own identity.
pub(crate) fn own_identity() -> Option<PathBuf> {
    Some(config_dir()?.join("identity.json"))
}

/// Where this user's identity and configuration are.
pub(crate) fn config_dir() -> Option<PathBuf> {
    let config = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".config")))?;
    Some(config.join("phalanx"))
}
