//! Messages of protocol `phalanx-join/1`: one request, one answer. The ALPN is the version: a change of
//! any message is a new one.

use serde::{Deserialize, Serialize};

/// Joining: server-authenticated, one request.
pub const ALPN: &[u8] = b"phalanx-join/1";
/// What the header of the one stream says.
pub const VERSION: u16 = 1;

/// A node asks for a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// Which token: its id, no secret.
    pub token: String,
    /// Certificate signing request (RFC 2986), DER; only its key counts.
    pub csr: Vec<u8>,
    pub host_name: String,
    /// Ed25519, by the token's key.
    pub signature: Vec<u8>,
}

/// The coordinator's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinReply {
    /// Certificates in DER: the node's, and that of the CA.
    Accepted {
        certificate: Vec<u8>,
        ca: Vec<u8>,
    },
    Refused {
        why: String,
    },
}
