//! Peers that speak QUIC by hand: what no real worker or client would say.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use phalanx_common::wire::{ClientHello, ServerHello, StreamHeader, codec};
use phalanx_net::connect::{self, Connected, Lost};
use phalanx_net::identity_file::Identity;
use phalanx_net::transport;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, Endpoint, RecvStream, SendStream};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use serde::Serialize;

/// Long enough for a stream or a close that comes to come; one that must not come is waited for this long.
pub(crate) const MOMENT: Duration = Duration::from_millis(700);

/// Connects with an identity that is in order.
pub(crate) async fn connect(identity: &Identity) -> Connected {
    let tls = identity.tls().expect("the identity works");
    connect::connect(&tls, &identity.coordinators, &transport::member())
        .await
        .expect("the coordinator answers")
}

/// Sends these bytes on a new stream.
pub(crate) async fn say(connection: &Connection, bytes: &[u8]) -> (SendStream, RecvStream) {
    let (mut send, recv) = connection.open_bi().await.expect("a stream");
    // The other end may have closed the connection before all of it is gone.
    let _ = send.write_all(bytes).await;
    (send, recv)
}

/// A stream's header and first frame.
pub(crate) fn opening(header: [u8; 3], message: &impl Serialize) -> Vec<u8> {
    let mut bytes = header.to_vec();
    codec::encode(message, &mut bytes).expect("the message fits a frame");
    bytes
}

/// Opens the control stream with this Hello; what the coordinator answers.
pub(crate) async fn hello(
    connection: &Connection,
    hello: &ClientHello,
) -> (ServerHello, (SendStream, RecvStream)) {
    let (send, mut recv) = say(connection, &opening(StreamHeader::CONTROL.to_bytes(), hello)).await;
    let mut bytes = Vec::new();
    loop {
        if let Some(answer) = codec::take(&mut bytes).expect("a frame") {
            return (answer, (send, recv));
        }
        let chunk = recv.read_chunk(1024, true).await.expect("an answer").expect("an answer");
        bytes.extend_from_slice(&chunk.bytes);
    }
}

/// Why the coordinator closed the connection, once it has.
pub(crate) async fn closed(connection: &Connection) -> String {
    Lost(&connection.closed().await).to_string()
}

/// Connects with any protocol and certificate, and believes every coordinator: what became of it.
pub(crate) async fn come(
    address: SocketAddr,
    server_name: &str,
    alpn: &[u8],
    own: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
) -> String {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)));
    let mut tls = match own {
        Some((certificate, key)) => builder.with_client_auth_cert(vec![certificate], key).expect("a pair"),
        None => builder.with_no_client_auth(),
    };
    tls.alpn_protocols = vec![alpn.to_vec()];
    let tls = QuicClientConfig::try_from(tls).expect("a cipher suite for QUIC");
    let endpoint = Endpoint::client(([0, 0, 0, 0], 0).into()).expect("a socket");
    let config = quinn::ClientConfig::new(Arc::new(tls));
    match endpoint.connect_with(config, address, server_name).expect("an address").await {
        Ok(connection) => closed(&connection).await,
        Err(error) => Lost(&error).to_string(),
    }
}

/// Believes that anybody is the coordinator.
#[derive(Debug)]
struct Anybody(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
