//! TLS as every side of a cluster uses it: version 1.3, the ring provider, no 0-RTT, no session tickets.
//!
//! The server takes clients without a certificate, because one that joins has none yet, and refuses any
//! certificate that the cluster's CA does not vouch for. Who may go on is decided by [`crate::classify`].

use std::sync::{Arc, Mutex};

use phalanx_common::identity::ClusterId;
use phalanx_common::wire::{ALPN_CONTROL, join_v1};
use quinn::crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, TransportConfig};
use rustls::RootCertStore;
use rustls::crypto::ring::cipher_suite::{TLS13_AES_128_GCM_SHA256, TLS13_CHACHA20_POLY1305_SHA256};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};

use crate::certificate;
use crate::trust::{Anchor, CoordinatorVerifier, Mistrust};

/// TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the certificate or key does not work")]
    Tls(#[from] rustls::Error),
    #[error("the cluster's CA certificate does not work")]
    Roots(#[from] VerifierBuilderError),
    #[error("the cluster's CA certificate is broken")]
    Ca(#[from] certificate::Error),
    #[error("the TLS provider has no cipher suite for QUIC")]
    Cipher(#[from] NoInitialCipherSuite),
}

/// A certificate of this side with its key.
#[derive(Clone, Copy)]
pub struct Own<'a> {
    /// DER.
    pub certificate: &'a [u8],
    /// PKCS#8, DER.
    pub key: &'a [u8],
}

impl std::fmt::Debug for Own<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Own(..)")
    }
}

impl Own<'_> {
    fn chain(&self, ca: Option<&[u8]>) -> Vec<CertificateDer<'static>> {
        let mut chain = vec![CertificateDer::from(self.certificate.to_vec())];
        chain.extend(ca.map(|ca| CertificateDer::from(ca.to_vec())));
        chain
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.to_vec()))
    }
}

/// TLS of a client, and where it leaves the reason if it does not believe the coordinator.
#[derive(Clone)]
pub struct Client {
    tls: Arc<QuicClientConfig>,
    cluster: ClusterId,
    pub(crate) mistrust: Arc<Mutex<Option<Mistrust>>>,
}

impl Client {
    /// How this side connects; the coordinator's name is `cluster().server_name()`.
    pub fn config(&self, transport: Arc<TransportConfig>) -> ClientConfig {
        let mut config = ClientConfig::new(Arc::clone(&self.tls) as _);
        config.transport_config(transport);
        config
    }

    /// The cluster whose coordinator is believed.
    pub fn cluster(&self) -> &ClusterId {
        &self.cluster
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

/// TLS of the coordinator. Its chain carries the CA, whose key a joiner compares with its token.
///
/// # Errors
/// A certificate or key that does not work.
pub fn server(own: Own<'_>, ca: &[u8]) -> Result<QuicServerConfig, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(ca.to_vec()))?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .allow_unauthenticated()
        .build()?;
    let mut server = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(own.chain(Some(ca)), own.key())?;
    server.alpn_protocols = vec![ALPN_CONTROL.to_vec(), join_v1::ALPN.to_vec()];
    server.send_tls13_tickets = 0;
    server.max_early_data_size = 0;
    Ok(QuicServerConfig::try_from(server)?)
}

/// TLS of somebody who has an identity in the cluster of `ca`.
///
/// # Errors
/// A certificate or key that does not work.
pub fn client(own: Own<'_>, ca: &[u8]) -> Result<Client, Error> {
    build(Anchor::Ca(CertificateDer::from(ca.to_vec())), Some(own), ALPN_CONTROL)
}

/// TLS of a node that joins with a token that pins the CA.
///
/// # Errors
/// The provider cannot do TLS 1.3.
pub fn joiner(pin: [u8; 32]) -> Result<Client, Error> {
    build(Anchor::Pin(pin), None, join_v1::ALPN)
}

fn build(anchor: Anchor, own: Option<Own<'_>>, alpn: &[u8]) -> Result<Client, Error> {
    let verifier = CoordinatorVerifier::new(anchor, provider())?;
    let (cluster, mistrust) = (verifier.cluster().clone(), verifier.mistrust());
    let builder = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut client = match own {
        Some(own) => builder.with_client_auth_cert(own.chain(None), own.key())?,
        None => builder.with_no_client_auth(),
    };
    client.alpn_protocols = vec![alpn.to_vec()];
    client.enable_early_data = false;
    client.resumption = rustls::client::Resumption::disabled();
    Ok(Client { tls: Arc::new(QuicClientConfig::try_from(client)?), cluster, mistrust })
}

/// Ring, with the cipher suites whose key schedule is SHA-256: processors have instructions for that one, and
/// with SHA-384 a twelfth of all work of a thousand handshakes went into it.
fn provider() -> Arc<CryptoProvider> {
    let suites = vec![TLS13_AES_128_GCM_SHA256, TLS13_CHACHA20_POLY1305_SHA256];
    Arc::new(CryptoProvider { cipher_suites: suites, ..ring::default_provider() })
}
