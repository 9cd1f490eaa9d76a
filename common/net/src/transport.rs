//! QUIC settings of a cluster's connections. Each one was measured or has its reason here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use phalanx_common::defaults::{IDLE_TIMEOUT, KEEP_ALIVE};
use phalanx_common::wire::SEND_WINDOW;
use quinn::{EndpointConfig, IdleTimeout, TransportConfig, VarInt};
use quinn_proto::HashedConnectionIdGenerator;
use ring::hmac;

/// Streams a peer may have open at once. quinn allocates them when the connection comes, and of a
/// thousand workers most need one: the coordinator raises it for whoever needs more.
pub const STREAMS: u32 = 4;
/// The same for a peer that has proved to be a client or to serve output.
pub const MORE_STREAMS: u32 = 64;
/// Handshakes that may be under way, about 30 kB each: workers of a large cluster come back all at once.
pub const HANDSHAKES: usize = 8192;
/// With so many under way a new one has to prove its address first (QUIC Retry, RFC 9000 section 8.1.2). Not
/// earlier: the round trip more had the last of 1,000 workers connect after five seconds.
pub const UNPROVEN: usize = 4096;

/// Application close codes.
pub const CLOSED_NORMALLY: VarInt = VarInt::from_u32(0);
/// The reason says why; see [`crate::classify::Refusal`].
pub const CLOSED_REFUSED: VarInt = VarInt::from_u32(1);
/// The same node connected again: the older connection ends.
pub const CLOSED_REPLACED: VarInt = VarInt::from_u32(2);
/// The peer broke the protocol.
pub const CLOSED_PROTOCOL: VarInt = VarInt::from_u32(3);

/// The coordinator's end. Keep-alives come from the other end alone: one side is enough.
pub fn coordinator() -> Arc<TransportConfig> {
    Arc::new(common(STREAMS))
}

/// The end of a worker or client.
pub fn member() -> Arc<TransportConfig> {
    let mut transport = common(0);
    transport.keep_alive_interval(Some(KEEP_ALIVE));
    Arc::new(transport)
}

fn common(streams: u32) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_TIMEOUT.as_millis() as u32))))
        .max_concurrent_bidi_streams(VarInt::from_u32(streams))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        // Discovery costs four times the bytes of a short connection, and control frames are small.
        .mtu_discovery_config(None)
        .send_window(SEND_WINDOW);
    transport
}

/// Keys that outlive a coordinator, so that its successor can tell workers that their connection is gone.
#[derive(Clone)]
pub struct ResetKeys {
    pub reset: [u8; 32],
    pub connection_id: u64,
}

impl std::fmt::Debug for ResetKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ResetKeys(..)")
    }
}

/// The coordinator's endpoint. A stateless reset (RFC 9000 section 10.3) after a restart needs the same
/// reset key, connection ids that the successor recognises as its own, and no limit on how fast resets go.
pub fn coordinator_endpoint(keys: &ResetKeys) -> EndpointConfig {
    let mut config = EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &keys.reset)));
    let key = keys.connection_id;
    config
        .cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(key)))
        .min_reset_interval(Duration::ZERO);
    config
}

/// The unspecified address of the same family, for a client's socket.
pub(crate) fn any_local(remote: SocketAddr) -> SocketAddr {
    match remote {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0u16; 8], 0).into(),
    }
}
