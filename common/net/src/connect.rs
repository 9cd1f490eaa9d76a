//! Finding the coordinator: every address it may have is tried, and every one that fails says why.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use phalanx_common::defaults::COORDINATOR_PORT;
use quinn::{Connection, ConnectionError, Endpoint, TransportConfig};
use tokio::task::JoinSet;

use crate::tls;
use crate::transport::any_local;
use crate::trust::Mistrust;

/// A coordinator that does not answer within this has a firewall before it, or is none.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// The next address is tried after this long without waiting for the one before.
const STAGGER: Duration = Duration::from_millis(250);
/// Addresses tried, over all names.
const ADDRESSES: usize = 16;

/// Why one address did not do.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{0}: not an address; write HOST, HOST:PORT or [IPV6]:PORT")]
    Syntax(String),
    #[error(
        "{name}: the name does not resolve: {error}; give the coordinator's address instead (`phalanx serve --advertise ADDRESS` puts it into join lines and bundles)"
    )]
    Resolve { name: String, error: io::Error },
    #[error("{name}: the name has no address")]
    NoAddress { name: String },
    #[error("{address}: no socket: {error}")]
    Socket { address: SocketAddr, error: io::Error },
    #[error("{address}: cannot be connected to: {error}")]
    Connect { address: SocketAddr, error: quinn::ConnectError },
    #[error("{address}: no answer in {} s: is {address}/udp open, and does a coordinator run there?", ANSWER_WITHIN.as_secs())]
    NoAnswer { address: SocketAddr },
    #[error("{address}: {why}")]
    Mistrust { address: SocketAddr, why: Mistrust },
    #[error("{address}: {0}", Lost(error))]
    Lost { address: SocketAddr, error: ConnectionError },
}

/// No address of the coordinator did.
#[derive(Debug)]
pub struct Error(pub Vec<Failure>);

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0[..] {
            [] => f.write_str("no address of a coordinator is given"),
            [one] => write!(f, "cannot reach the coordinator at {one}"),
            several => {
                f.write_str("cannot reach the coordinator at any of its addresses:")?;
                several.iter().try_for_each(|failure| write!(f, "\n  {failure}"))
            }
        }
    }
}

/// Why a connection ended, for people.
#[derive(Debug)]
pub struct Lost<'a>(pub &'a ConnectionError);

impl fmt::Display for Lost<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// TLS alerts (RFC 8446 section 6) as QUIC carries them: 0x100 and the number.
        const ALERT: u64 = 0x100;
        match self.0 {
            ConnectionError::ApplicationClosed(close) => {
                write!(f, "the coordinator closed the connection: {}", String::from_utf8_lossy(&close.reason))
            }
            ConnectionError::ConnectionClosed(close) => match u64::from(close.error_code).wrapping_sub(ALERT) {
                45 => f.write_str("the coordinator says that this certificate has expired, or its clock differs from this host's: compare the clocks, then log in or join again"),
                42 | 46 | 48 | 51 => f.write_str("the coordinator does not accept this certificate: it is of another cluster; log in or join there"),
                43 => f.write_str("the coordinator does not accept this certificate: it is not a worker's or a user's"),
                120 => f.write_str("the coordinator speaks another version of this protocol; upgrade the older of the two"),
                _ => write!(f, "the coordinator refused the connection: {close}"),
            },
            ConnectionError::TimedOut => f.write_str("the coordinator is not heard any more"),
            ConnectionError::Reset => f.write_str("the coordinator was restarted"),
            other => write!(f, "{other}"),
        }
    }
}

/// A connection, and the endpoint that drives it.
#[derive(Clone, Debug)]
pub struct Connected {
    pub endpoint: Endpoint,
    pub connection: Connection,
    /// This host's address on the way to the coordinator.
    pub local: Option<IpAddr>,
}

/// Connects to the first of `addresses` (`HOST`, `HOST:PORT`) that answers and is believed. A finished
/// handshake is not an admission: that is the coordinator's first message.
///
/// # Errors
/// None did; each says why.
pub async fn connect(
    client: &tls::Client,
    addresses: &[String],
    transport: &Arc<TransportConfig>,
) -> Result<Connected, Error> {
    let (targets, mut failures) = resolve(addresses).await;
    let mut tries = JoinSet::new();
    for (turn, address) in targets.into_iter().take(ADDRESSES).enumerate() {
        let (client, transport) = (client.clone(), Arc::clone(transport));
        tries.spawn(async move {
            tokio::time::sleep(STAGGER * turn as u32).await;
            try_one(&client, address, transport).await
        });
    }
    while let Some(tried) = tries.join_next().await {
        match tried {
            Ok(Ok(connected)) => return Ok(connected),
            Ok(Err(failure)) => failures.push(failure),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => {}
        }
    }
    Err(Error(failures))
}

async fn try_one(
    client: &tls::Client,
    address: SocketAddr,
    transport: Arc<TransportConfig>,
) -> Result<Connected, Failure> {
    let endpoint =
        Endpoint::client(any_local(address)).map_err(|error| Failure::Socket { address, error })?;
    let connecting = endpoint
        .connect_with(client.config(transport), address, &client.cluster().server_name())
        .map_err(|error| Failure::Connect { address, error })?;
    match tokio::time::timeout(ANSWER_WITHIN, connecting).await {
        Ok(Ok(connection)) => Ok(Connected { endpoint, local: route_to(address), connection }),
        Err(_) | Ok(Err(ConnectionError::TimedOut)) => Err(Failure::NoAnswer { address }),
        Ok(Err(error)) => {
            let why = client.mistrust.lock().unwrap_or_else(PoisonError::into_inner).take();
            Err(match why {
                Some(why) => Failure::Mistrust { address, why },
                None => Failure::Lost { address, error },
            })
        }
    }
}

/// The source address of the route to `address`: what the kernel gives a connected socket.
fn route_to(address: SocketAddr) -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind(any_local(address)).ok()?;
    socket.connect(address).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

async fn resolve(addresses: &[String]) -> (Vec<SocketAddr>, Vec<Failure>) {
    let (mut targets, mut failures) = (Vec::new(), Vec::new());
    for address in addresses {
        match resolve_one(address).await {
            Ok(found) => {
                for address in found {
                    if !targets.contains(&address) {
                        targets.push(address);
                    }
                }
            }
            Err(failure) => failures.push(failure),
        }
    }
    (targets, failures)
}

async fn resolve_one(text: &str) -> Result<Vec<SocketAddr>, Failure> {
    let text = text.trim();
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(vec![address]);
    }
    if let Ok(ip) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, COORDINATOR_PORT)]);
    }
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) => (name, port.parse().map_err(|_| Failure::Syntax(text.to_owned()))?),
        None => (text, COORDINATOR_PORT),
    };
    if name.is_empty() || name.contains([':', '/', ' ', '[', ']']) {
        return Err(Failure::Syntax(text.to_owned()));
    }
    let found: Vec<SocketAddr> = tokio::net::lookup_host((name, port))
        .await
        .map_err(|error| Failure::Resolve { name: name.to_owned(), error })?
        .collect();
    if found.is_empty() { Err(Failure::NoAddress { name: name.to_owned() }) } else { Ok(found) }
}
