//! Who may talk in local mode: one key pair made for this launch, held in this process alone, shown
//! and demanded by both ends. Anything else that reaches the port is turned away in the handshake.

use std::sync::Arc;

use quinn::crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error as TlsError, SignatureScheme,
};

use phalanx_common::wire::ALPN_CONTROL;

/// The name in the certificate of a launcher's own coordinator.
pub(crate) const SERVER_NAME: &str = "coordinator.local.phalanx";

/// Making the launch's identity failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot make the certificate of this launch")]
    Certificate(#[from] rcgen::Error),
    #[error("cannot set up TLS 1.3")]
    Tls(#[from] TlsError),
    #[error("the TLS provider has no cipher suite for QUIC")]
    Cipher(#[from] NoInitialCipherSuite),
}

/// TLS settings of both ends, bound to one fresh certificate.
pub(crate) fn make() -> Result<(QuicServerConfig, QuicClientConfig), Error> {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519)?;
    let certificate =
        rcgen::CertificateParams::new(vec![SERVER_NAME.to_owned()])?.self_signed(&key)?.der().clone();
    let private = || PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let pinned = Arc::new(Pinned::new(certificate.clone(), &provider));

    let mut server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::clone(&pinned) as Arc<dyn ClientCertVerifier>)
        .with_single_cert(vec![certificate.clone()], private())?;
    server.alpn_protocols = vec![ALPN_CONTROL.to_vec()];
    server.send_tls13_tickets = 0;
    server.max_early_data_size = 0;

    let mut client = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(pinned)
        .with_client_auth_cert(vec![certificate], private())?;
    client.alpn_protocols = vec![ALPN_CONTROL.to_vec()];
    client.enable_early_data = false;
    client.resumption = rustls::client::Resumption::disabled();

    Ok((QuicServerConfig::try_from(server)?, QuicClientConfig::try_from(client)?))
}

/// Accepts one certificate, and only from who can sign with its key.
#[derive(Debug)]
struct Pinned {
    certificate: CertificateDer<'static>,
    algorithms: WebPkiSupportedAlgorithms,
    no_hints: [DistinguishedName; 0],
}

impl Pinned {
    fn new(certificate: CertificateDer<'static>, provider: &CryptoProvider) -> Pinned {
        Pinned { certificate, algorithms: provider.signature_verification_algorithms, no_hints: [] }
    }

    fn check(&self, shown: &CertificateDer<'_>) -> Result<(), TlsError> {
        if shown.as_ref() == self.certificate.as_ref() {
            Ok(())
        } else {
            Err(TlsError::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn tls12() -> TlsError {
        TlsError::General("TLS 1.2 is not spoken here".to_owned())
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        self.check(end_entity).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Err(Pinned::tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Pinned {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.no_hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        self.check(end_entity).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Err(Pinned::tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// A server of one identity, and what a client of another (or the same) sees of it.
    async fn connects(same: bool) -> bool {
        let (server, client) = make().unwrap();
        let client = if same { client } else { make().unwrap().1 };
        let config = quinn::ServerConfig::with_crypto(Arc::new(server));
        let endpoint = quinn::Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = endpoint.local_addr().unwrap();
        let accepted = tokio::spawn(async move { endpoint.accept().await.unwrap().await.is_ok() });
        let ours = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let config = quinn::ClientConfig::new(Arc::new(client));
        let connected = ours.connect_with(config, address, SERVER_NAME).unwrap().await;
        accepted.await.unwrap() && connected.is_ok()
    }

    #[tokio::test]
    async fn only_this_launch_can_talk_to_itself() {
        assert!(connects(true).await);
        assert!(!connects(false).await, "a stranger's certificate was accepted");
    }
}
