//! Who is at the other end of a finished handshake: decided once, before anything is read.

use phalanx_common::id::NodeId;
use phalanx_common::identity::{ClusterId, Principal};
use phalanx_common::time::Timestamp;
use phalanx_common::wire::{ALPN_CONTROL, join_v1};
use quinn::Connection;
use quinn::crypto::rustls::HandshakeData;
use rustls::pki_types::CertificateDer;

use crate::certificate;

/// Somebody who may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Nobody yet: one join request.
    Joiner,
    /// A node, as its certificate names it.
    Worker { node: NodeId, expires: Timestamp },
    /// An operator, submitter or viewer.
    Client { principal: Principal, expires: Timestamp },
}

/// Why a connection is closed before anything is read. The other end is told these words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("this protocol needs a certificate of the cluster: join or log in first")]
    NoCertificate,
    #[error("a node that joins shows no certificate")]
    NeedlessCertificate,
    #[error("the certificate cannot be used: {0}")]
    Certificate(certificate::Error),
    #[error("the certificate is of another cluster")]
    OtherCluster,
    #[error("a coordinator's certificate is not a client's")]
    Coordinator,
    #[error("this protocol is not spoken here")]
    Protocol,
}

/// Decides by protocol (ALPN), certificate (DER; verified against the cluster's CA before) and role.
///
/// # Errors
/// Every other pair is refused.
pub fn classify(alpn: &[u8], certificate: Option<&[u8]>, cluster: &ClusterId) -> Result<Peer, Refusal> {
    match (alpn, certificate) {
        (join_v1::ALPN, None) => Ok(Peer::Joiner),
        (join_v1::ALPN, Some(_)) => Err(Refusal::NeedlessCertificate),
        (ALPN_CONTROL, None) => Err(Refusal::NoCertificate),
        (ALPN_CONTROL, Some(der)) => {
            let content = certificate::read(der).map_err(Refusal::Certificate)?;
            let expires = content.expires;
            match content.principal {
                _ if content.cluster != *cluster => Err(Refusal::OtherCluster),
                Principal::Coordinator => Err(Refusal::Coordinator),
                Principal::Worker { node } => Ok(Peer::Worker { node, expires }),
                principal => Ok(Peer::Client { principal, expires }),
            }
        }
        _ => Err(Refusal::Protocol),
    }
}

/// `classify` of a connection whose handshake is finished.
///
/// # Errors
/// As `classify`.
pub fn of_connection(connection: &Connection, cluster: &ClusterId) -> Result<Peer, Refusal> {
    let alpn = connection
        .handshake_data()
        .and_then(|data| data.downcast::<HandshakeData>().ok())
        .and_then(|data| data.protocol)
        .ok_or(Refusal::Protocol)?;
    let chain =
        connection.peer_identity().and_then(|chain| chain.downcast::<Vec<CertificateDer<'static>>>().ok());
    let certificate = chain.as_ref().and_then(|chain| chain.first());
    classify(&alpn, certificate.map(AsRef::as_ref), cluster)
}
