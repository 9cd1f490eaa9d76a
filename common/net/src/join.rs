//! Joining a cluster: how a node with a token gets a certificate for a key that it made itself.
//!
//! The joiner signs, with the key that its token's secret seeds, what binds the request to this very TLS
//! session (the exporter of RFC 8446 section 7.5), to its own key and to what it says about itself. A
//! relay, a log or the coordinator's records give nobody a way in.

use std::time::Duration;

use phalanx_common::wire::join_v1::{self, JoinReply, JoinRequest};
use phalanx_common::wire::{StreamHeader, StreamKind};
use quinn::Connection;
use ring::digest::{SHA256, digest};

use crate::authority::{self, Keys};
use crate::frames::{self, Sending};
use crate::identity_file::Identity;
use crate::token::{Token, TokenKey};
use crate::{certificate, connect, tls, transport};

/// From the first byte to the answer.
pub const WITHIN: Duration = Duration::from_secs(5);
/// Largest frame of this protocol, bytes: a signing request and a name are far smaller.
pub const FRAME_CAP: usize = 16 << 10;

/// What the signature is over begins with this.
const CONTEXT: &[u8] = b"phalanx-join/1";
const EXPORTER_LABEL: &[u8] = b"EXPORTER-phalanx-join";

/// Why a join failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Connect(#[from] connect::Error),
    #[error("TLS cannot be set up")]
    Tls(#[from] tls::Error),
    #[error("no key can be made")]
    Key(#[from] authority::Error),
    #[error("the coordinator did not answer the join request within {} s", WITHIN.as_secs())]
    Slow,
    #[error("the join request broke off: {0}")]
    Stream(frames::Error),
    #[error("{}", connect::Lost(.0))]
    Lost(quinn::ConnectionError),
    #[error("this session cannot be signed for")]
    Exporter,
    #[error("the coordinator refuses: {why}")]
    Refused { why: String },
    #[error("the coordinator's answer makes no sense")]
    Certificate(#[from] certificate::Error),
    #[error("the coordinator's answer is not for this node")]
    WrongAnswer,
}

impl From<frames::Error> for Error {
    fn from(error: frames::Error) -> Error {
        match error {
            frames::Error::Lost(lost) => Error::Lost(lost),
            other => Error::Stream(other),
        }
    }
}

/// Joins the cluster of `token` as the host called `host_name`.
///
/// # Errors
/// No coordinator is reached, it is not the token's, or it refuses.
pub async fn join(addresses: &[String], token: &Token, host_name: &str) -> Result<Identity, Error> {
    let keys = Keys::generate()?;
    let tls = tls::joiner(*token.pin())?;
    let connected = connect::connect(&tls, addresses, &transport::member()).await?;
    let connection = &connected.connection;
    let csr = keys.request()?;
    let message = signed_message(connection, &csr, host_name)?;
    let request = JoinRequest {
        token: token.id().to_string(),
        csr,
        host_name: host_name.to_owned(),
        signature: token.sign(&message),
    };
    let reply = tokio::time::timeout(WITHIN, ask(connection, &request)).await.map_err(|_| Error::Slow)??;
    connection.close(transport::CLOSED_NORMALLY, b"joined");
    // The coordinator hears of the end, and does not wait for it.
    connected.endpoint.wait_idle().await;
    match reply {
        JoinReply::Accepted { certificate, ca } => {
            let pinned = authority::spki_sha256(&certificate::public_key(&ca)?) == *token.pin();
            let identity = Identity::new(ca, certificate, keys.to_pkcs8(), addresses.to_vec())?;
            if !pinned || identity.cluster != *tls.cluster() {
                return Err(Error::WrongAnswer);
            }
            Ok(identity)
        }
        JoinReply::Refused { why } => Err(Error::Refused { why }),
    }
}

async fn ask(connection: &Connection, request: &JoinRequest) -> Result<JoinReply, Error> {
    let header = StreamHeader { kind: StreamKind::Request, version: join_v1::VERSION };
    let (mut send, receive) = frames::open(connection, header).await?;
    send.write(request).await?;
    Ok(receive.limited_to(FRAME_CAP).read().await?)
}

/// A join request on the coordinator's side, not yet judged.
#[derive(Debug)]
pub struct Pending {
    pub request: JoinRequest,
    message: Vec<u8>,
    reply: Sending,
}

impl Pending {
    /// Reads the one request of a joiner's connection. The caller bounds the time by [`WITHIN`].
    ///
    /// # Errors
    /// The peer sends something else.
    pub async fn read(connection: &Connection) -> Result<Pending, Error> {
        let stream = connection.accept_bi().await.map_err(Error::Lost)?;
        let (_, reply, receive) = frames::accept(stream).await?;
        let request: JoinRequest = receive.limited_to(FRAME_CAP).read().await?;
        let message = signed_message(connection, &request.csr, &request.host_name)?;
        Ok(Pending { request, message, reply })
    }

    /// Whether the holder of this token signed this request, for this session.
    pub fn signed_by(&self, key: &TokenKey) -> bool {
        key.verifies(&self.message, &self.request.signature)
    }

    /// Answers, and waits until the answer arrived.
    ///
    /// # Errors
    /// The peer is gone.
    pub async fn answer(mut self, reply: &JoinReply) -> Result<(), Error> {
        self.reply.write(reply).await?;
        self.reply.finish().await;
        Ok(())
    }
}

fn signed_message(connection: &Connection, csr: &[u8], host_name: &str) -> Result<Vec<u8>, Error> {
    let mut exporter = [0; 32];
    connection.export_keying_material(&mut exporter, EXPORTER_LABEL, CONTEXT).map_err(|_| Error::Exporter)?;
    Ok([CONTEXT, &exporter, digest(&SHA256, csr).as_ref(), digest(&SHA256, host_name.as_bytes()).as_ref()]
        .concat())
}
