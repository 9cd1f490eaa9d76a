//! What travels between processes: frames, versions and messages.
//!
//! Every QUIC stream begins with a [`StreamHeader`]; what follows are frames of [`codec`].

pub mod bytes;
pub mod client_v1;
pub mod codec;
pub mod join_v1;
pub mod topology_v1;
pub mod v1;
mod v1_binding;
mod v1_convert;
pub mod v1_lifecycle;
pub mod v1_probes;

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::id::Epoch;

/// Versions of the control protocol this build speaks; Hello agrees on the highest common one.
pub const VERSIONS: RangeInclusive<u16> = 1..=1;

/// Version in the header of every control stream: that of the two Hellos, which never change. A build that
/// speaks none of our versions begins like this, too, and is told so.
pub const HELLO_VERSION: u16 = 1;

/// ALPN of the control protocol: both ends have shown a certificate.
pub const ALPN_CONTROL: &[u8] = b"phalanx-ctl/1";

/// Priority of the control stream; log streams keep quinn's 0.
pub const CONTROL_PRIORITY: i32 = 10;

/// Priority of topology streams: below the output of ranks.
pub const TOPOLOGY_PRIORITY: i32 = -5;

/// Priority of tail streams: below everything.
pub const TAIL_PRIORITY: i32 = -10;

/// Bytes of log output a worker may have unconfirmed on one connection: half of the send window,
/// which all streams of a connection share, so that control always finds room.
pub const LOG_WINDOW: u64 = SEND_WINDOW / 2;

/// quinn's `send_window` on both sides, bytes.
pub const SEND_WINDOW: u64 = 4 << 20;

/// What a stream is for, in its first bytes, before any frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    /// Orders one way, reports the other. Exactly one per connection, opened by the worker.
    Control,
    /// Output of one job's ranks on one node, opened by the worker.
    Log,
    /// A directory that travels with a job, asked for by the worker.
    File,
    /// The newest output of every rank, opened by the worker, at the lowest priority.
    Tail,
    /// One request of a client and its answer.
    Request,
    /// What a node tells of its machine and networks, opened by the worker, once per connection.
    Topology,
}

/// The first [`StreamHeader::LEN`] bytes of every stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamHeader {
    pub kind: StreamKind,
    pub version: u16,
}

/// The bytes are no stream header of this protocol.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum HeaderError {
    #[error("stream of unknown kind {0}")]
    UnknownKind(u8),
    #[error("stream of version {0}; versions {first} to {last} are spoken here", first = VERSIONS.start(), last = VERSIONS.end())]
    UnknownVersion(u16),
}

impl StreamHeader {
    pub const LEN: usize = 3;

    /// Of a control stream.
    pub const CONTROL: StreamHeader = StreamHeader { kind: StreamKind::Control, version: HELLO_VERSION };

    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let kind = match self.kind {
            StreamKind::Control => 1,
            StreamKind::Log => 2,
            StreamKind::File => 3,
            StreamKind::Tail => 4,
            StreamKind::Request => 5,
            StreamKind::Topology => 6,
        };
        let [low, high] = self.version.to_le_bytes();
        [kind, low, high]
    }

    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Result<StreamHeader, HeaderError> {
        let kind = match bytes[0] {
            1 => StreamKind::Control,
            2 => StreamKind::Log,
            3 => StreamKind::File,
            4 => StreamKind::Tail,
            5 => StreamKind::Request,
            6 => StreamKind::Topology,
            other => return Err(HeaderError::UnknownKind(other)),
        };
        let version = u16::from_le_bytes([bytes[1], bytes[2]]);
        let spoken = match kind {
            StreamKind::Control => version == HELLO_VERSION,
            _ => VERSIONS.contains(&version),
        };
        if spoken { Ok(StreamHeader { kind, version }) } else { Err(HeaderError::UnknownVersion(version)) }
    }
}

/// First frame of a worker or client on its control stream. Never changes: it is what versions are agreed with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientHello {
    pub lowest: u16,
    pub highest: u16,
}

/// The coordinator's answer, which never changes either. Only after it is a worker connected: in TLS 1.3 a
/// refused client sees its connect succeed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServerHello {
    Welcome {
        version: u16,
        epoch: u64,
    },
    /// No common version: what the coordinator speaks.
    NoCommonVersion {
        lowest: u16,
        highest: u16,
    },
}

impl ClientHello {
    /// Of this build.
    pub fn own() -> ClientHello {
        ClientHello { lowest: *VERSIONS.start(), highest: *VERSIONS.end() }
    }
}

/// The two ends do not understand each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the coordinator speaks versions {lowest} to {highest} of the control protocol, this program versions {first} to {last}: \
     upgrade the older of the two",
    first = VERSIONS.start(), last = VERSIONS.end()
)]
pub struct NoCommonVersion {
    /// What the coordinator speaks.
    pub lowest: u16,
    pub highest: u16,
}

impl ServerHello {
    /// The version that was agreed on, and the coordinator's epoch.
    ///
    /// # Errors
    /// There is no common version, or the coordinator chose one that it was not offered.
    pub fn welcome(self) -> Result<(u16, Epoch), NoCommonVersion> {
        match self {
            ServerHello::Welcome { version, epoch } if VERSIONS.contains(&version) => {
                Ok((version, Epoch(epoch)))
            }
            ServerHello::Welcome { version, .. } => {
                Err(NoCommonVersion { lowest: version, highest: version })
            }
            ServerHello::NoCommonVersion { lowest, highest } => Err(NoCommonVersion { lowest, highest }),
        }
    }
}

/// The highest version both sides speak.
pub fn agree(hello: &ClientHello) -> Option<u16> {
    let highest = hello.highest.min(*VERSIONS.end());
    (highest >= hello.lowest && highest >= *VERSIONS.start()).then_some(highest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_common_version_is_agreed_on() {
        assert_eq!(agree(&ClientHello { lowest: 1, highest: 1 }), Some(1));
        assert_eq!(agree(&ClientHello { lowest: 1, highest: 9 }), Some(1));
        assert_eq!(agree(&ClientHello { lowest: 2, highest: 9 }), None);
        assert_eq!(agree(&ClientHello { lowest: 0, highest: 0 }), None);
        let welcome = ServerHello::Welcome { version: 1, epoch: 7 };
        assert_eq!(welcome.welcome(), Ok((1, Epoch(7))));
        let newer = ServerHello::Welcome { version: 9, epoch: 7 };
        assert_eq!(newer.welcome(), Err(NoCommonVersion { lowest: 9, highest: 9 }));
        let refused = ServerHello::NoCommonVersion { lowest: 2, highest: 3 }.welcome().unwrap_err();
        let told = refused.to_string();
        assert!(told.contains("versions 2 to 3") && told.contains("versions 1 to 1"), "{told}");
    }

    #[test]
    fn a_stream_header_is_three_known_bytes() {
        let header = StreamHeader { kind: StreamKind::Log, version: 1 };
        assert_eq!(header.to_bytes(), [2, 1, 0]);
        assert_eq!(StreamHeader::from_bytes([2, 1, 0]), Ok(header));
        assert_eq!(StreamHeader::from_bytes([9, 1, 0]), Err(HeaderError::UnknownKind(9)));
        assert_eq!(StreamHeader::from_bytes([2, 7, 0]), Err(HeaderError::UnknownVersion(7)));
        assert_eq!(StreamHeader::from_bytes([1, 7, 0]), Err(HeaderError::UnknownVersion(7)));
        assert_eq!(StreamHeader::CONTROL.to_bytes(), [1, 1, 0], "for ever");
    }
}
