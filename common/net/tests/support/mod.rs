//! A cluster's CA and a coordinator's endpoint on loopback.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use phalanx_common::identity::Principal;
use phalanx_common::time::Timestamp;
use phalanx_net::authority::{Authority, Keys};
use phalanx_net::identity_file::Identity;
use phalanx_net::tls::{self, Own};
use phalanx_net::transport::{self, ResetKeys};
use quinn::{Endpoint, ServerConfig, TokioRuntime};
use ring::rand::SystemRandom;

pub(crate) const DAY: Duration = Duration::from_secs(86_400);
/// Nothing in these tests takes longer, however slow the machine is.
pub(crate) const BOUND: Duration = Duration::from_secs(30);

pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp(u64::try_from(since.as_micros()).unwrap())
}

pub(crate) fn authority() -> Authority {
    Authority::create(now(), &SystemRandom::new()).unwrap()
}

/// Somebody's identity, with the coordinator at `address`.
pub(crate) fn identity(ca: &Authority, principal: &Principal, at: Timestamp, address: &str) -> Identity {
    let keys = Keys::generate().unwrap();
    let certificate = ca.issue(principal, &keys.request().unwrap(), at, DAY, &SystemRandom::new()).unwrap();
    Identity::new(ca.certificate().to_vec(), certificate, keys.to_pkcs8(), vec![address.to_owned()]).unwrap()
}

/// An endpoint that shows a certificate for `principal`, issued at `at`.
pub(crate) fn endpoint(ca: &Authority, principal: &Principal, at: Timestamp) -> (Endpoint, SocketAddr) {
    let keys = Keys::generate().unwrap();
    let certificate = ca.issue_for(principal, &keys, at, DAY, &SystemRandom::new()).unwrap();
    let own = Own { certificate: &certificate, key: &keys.to_pkcs8() };
    let mut config = ServerConfig::with_crypto(Arc::new(tls::server(own, ca.certificate()).unwrap()));
    config.transport_config(transport::coordinator());
    let (socket, _) = phalanx_net::socket::listen(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    let keys = transport::coordinator_endpoint(&ResetKeys { reset: [7; 32], connection_id: 7 });
    (Endpoint::new(keys, Some(config), socket, Arc::new(TokioRuntime)).unwrap(), address)
}
