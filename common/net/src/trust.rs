//! Whom the client side believes to be the coordinator.
//!
//! Two ways to know it: by the cluster's CA, which an identity file holds, or by the pin of a join
//! token. Either way the certificate must be valid now, name `coordinator.<cluster>.phalanx`, carry the
//! role coordinator and serve `serverAuth`: a worker's certificate never passes.

use std::sync::{Arc, Mutex};

use phalanx_common::identity::{ClusterId, Principal};
use phalanx_common::time::Timestamp;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme};

use crate::authority::spki_sha256;
use crate::certificate;

/// Why the other end is not believed to be the coordinator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mistrust {
    #[error(
        "its certificate is valid from {} to {}, and this host's clock says {}: compare the clocks of both hosts",
        from.to_rfc3339(), until.to_rfc3339(), now.to_rfc3339()
    )]
    Clock { from: Timestamp, until: Timestamp, now: Timestamp },
    #[error(
        "it is not of the cluster this token is for: its CA does not match the token; check the address, or get a token from that cluster's coordinator"
    )]
    WrongPin,
    #[error("it is not of cluster {cluster}: its certificate is not signed by that cluster's CA")]
    WrongCluster { cluster: ClusterId },
    #[error("its certificate is not a coordinator's")]
    NotCoordinator,
    #[error("its certificate is refused: {0}")]
    Other(String),
}

/// What is known of the coordinator beforehand.
#[derive(Clone, Debug)]
pub(crate) enum Anchor {
    /// The cluster's CA certificate, DER.
    Ca(CertificateDer<'static>),
    /// SHA-256 of the CA's public key.
    Pin([u8; 32]),
}

/// Verifies the coordinator's certificate; keeps why not, because a TLS error has no room for it.
#[derive(Debug)]
pub(crate) struct CoordinatorVerifier {
    anchor: Anchor,
    cluster: ClusterId,
    provider: Arc<CryptoProvider>,
    mistrust: Arc<Mutex<Option<Mistrust>>>,
}

impl CoordinatorVerifier {
    pub(crate) fn new(
        anchor: Anchor,
        provider: Arc<CryptoProvider>,
    ) -> Result<CoordinatorVerifier, certificate::Error> {
        let pin = match &anchor {
            Anchor::Ca(ca) => spki_sha256(&certificate::public_key(ca)?),
            Anchor::Pin(pin) => *pin,
        };
        let mistrust = Arc::default();
        Ok(CoordinatorVerifier { anchor, cluster: ClusterId::of_key(&pin), provider, mistrust })
    }

    pub(crate) fn cluster(&self) -> &ClusterId {
        &self.cluster
    }

    /// Where the reason stands after a handshake failed.
    pub(crate) fn mistrust(&self) -> Arc<Mutex<Option<Mistrust>>> {
        Arc::clone(&self.mistrust)
    }

    fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Mistrust> {
        let ca = match &self.anchor {
            Anchor::Ca(ca) => ca.clone(),
            Anchor::Pin(pin) => {
                let pinned = |ca: &&CertificateDer<'_>| {
                    certificate::public_key(ca).is_ok_and(|key| spki_sha256(&key) == *pin)
                };
                chain.iter().find(pinned).ok_or(Mistrust::WrongPin)?.clone().into_owned()
            }
        };
        let other = |error: &dyn std::fmt::Display| Mistrust::Other(error.to_string());
        let mut roots = RootCertStore::empty();
        roots.add(ca).map_err(|error| other(&error))?;
        let web_pki =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
                .build()
                .map_err(|error| other(&error))?;
        let name = ServerName::try_from(self.cluster.server_name()).map_err(|error| other(&error))?;
        let verdict = web_pki.verify_server_cert(end_entity, &[], &name, &[], now);
        verdict.map_err(|error| self.reason(&error, end_entity, now))?;
        match certificate::read(end_entity) {
            Ok(content) if content.principal != Principal::Coordinator => Err(Mistrust::NotCoordinator),
            Ok(content) if content.cluster != self.cluster => {
                Err(Mistrust::WrongCluster { cluster: self.cluster.clone() })
            }
            Ok(_) => Ok(()),
            Err(_) => Err(Mistrust::NotCoordinator),
        }
    }

    fn reason(&self, error: &TlsError, end_entity: &CertificateDer<'_>, now: UnixTime) -> Mistrust {
        let TlsError::InvalidCertificate(error) = error else { return Mistrust::Other(error.to_string()) };
        match error {
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => match certificate::validity(end_entity) {
                Ok((from, until)) => {
                    let now = Timestamp(now.as_secs().saturating_mul(1_000_000));
                    Mistrust::Clock { from, until, now }
                }
                Err(error) => Mistrust::Other(error.to_string()),
            },
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                Mistrust::WrongCluster { cluster: self.cluster.clone() }
            }
            CertificateError::InvalidPurpose
            | CertificateError::InvalidPurposeContext { .. }
            | CertificateError::NotValidForName
            | CertificateError::NotValidForNameContext { .. } => Mistrust::NotCoordinator,
            other => Mistrust::Other(other.to_string()),
        }
    }
}

impl ServerCertVerifier for CoordinatorVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        self.check(end_entity, intermediates, now).map_err(|mistrust| {
            if let Ok(mut slot) = self.mistrust.lock() {
                *slot = Some(mistrust);
            }
            TlsError::InvalidCertificate(CertificateError::ApplicationVerificationFailure)
        })?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Err(TlsError::General("TLS 1.2 is not spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
