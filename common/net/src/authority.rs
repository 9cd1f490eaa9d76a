//! The cluster's certificate authority: who holds its key says who belongs to the cluster.
//!
//! Certificates follow RFC 5280: the CA may sign nothing but end-entity certificates (path length 0),
//! each of those names one [`Principal`] as its only URI and serves one purpose, `serverAuth` for the
//! coordinator and `clientAuth` for everybody else. Of a certificate signing request (RFC 2986) only the
//! public key is used: what somebody is called, the coordinator decides.

use std::fmt;
use std::time::Duration;

use phalanx_common::identity::{ClusterId, Principal};
use phalanx_common::time::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ED25519, PublicKeyData, SanType,
    SerialNumber,
};
use ring::digest::{SHA256, digest};
use ring::rand::SecureRandom;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;

/// A CA that could expire before its cluster is gone would take the cluster with it.
const CA_LIFETIME: Duration = Duration::from_secs(20 * 365 * 24 * 3600);
/// Certificates are valid from so long before they are issued: clocks of hosts differ.
const BACKDATED: Duration = Duration::from_secs(3600);
/// RFC 5280 allows 20 octets; 16 random ones do not repeat.
const SERIAL_BYTES: usize = 16;

/// A certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no random numbers can be had from this system")]
    Random,
    #[error("the time {0} is none that a certificate can hold")]
    Time(Timestamp),
    #[error("the certificate signing request is broken, or its signature is not of its key")]
    Request(#[source] rcgen::Error),
    #[error("a certificate cannot be made")]
    Certificate(#[from] rcgen::Error),
}

/// A key pair, made where it is used; it leaves only into an identity file.
pub struct Keys(KeyPair);

impl Keys {
    /// A new Ed25519 key pair.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn generate() -> Result<Keys, Error> {
        Ok(Keys(KeyPair::generate_for(&PKCS_ED25519)?))
    }

    /// Reads a key pair as `to_pkcs8` writes it.
    ///
    /// # Errors
    /// It is none.
    pub fn from_pkcs8(der: &[u8]) -> Result<Keys, Error> {
        Ok(Keys(KeyPair::try_from(&PrivatePkcs8KeyDer::from(der))?))
    }

    /// The private key, PKCS#8 (RFC 5958) in DER.
    pub fn to_pkcs8(&self) -> Vec<u8> {
        self.0.serialize_der()
    }

    /// A certificate signing request in DER that proves possession of this key and asks for nothing else.
    ///
    /// # Errors
    /// It cannot be signed.
    pub fn request(&self) -> Result<Vec<u8>, Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        Ok(params.serialize_request(&self.0)?.der().to_vec())
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

/// SHA-256 of a public key's SubjectPublicKeyInfo: what tokens pin and clusters are named after.
pub fn spki_sha256(spki: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, spki).as_ref());
    hash
}

/// The public key of a signing request whose signature holds, as SubjectPublicKeyInfo.
///
/// # Errors
/// It is broken, or not signed by its key.
pub fn key_of_request(csr: &[u8]) -> Result<Vec<u8>, Error> {
    let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(csr))
        .map_err(Error::Request)?;
    Ok(request.public_key.subject_public_key_info())
}

/// The CA of one cluster.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pin: [u8; 32],
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("cluster", &self.cluster()).finish_non_exhaustive()
    }
}

impl Authority {
    /// A new CA with a new key, self-signed at `now`.
    ///
    /// # Errors
    /// No random numbers, or a time that no certificate can hold.
    pub fn create(now: Timestamp, random: &dyn SecureRandom) -> Result<Authority, Error> {
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let mut params = params(now, CA_LIFETIME, random)?;
        params.distinguished_name.push(DnType::CommonName, "Phalanx cluster CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(&key)?.der().clone();
        let pin = spki_sha256(&key.subject_public_key_info());
        Ok(Authority { issuer: Issuer::new(params, key), certificate, pin })
    }

    /// The CA from what `certificate` and `key` gave.
    ///
    /// # Errors
    /// The two are not such.
    pub fn load(certificate: &[u8], key: &[u8]) -> Result<Authority, Error> {
        let key = KeyPair::try_from(&PrivatePkcs8KeyDer::from(key))?;
        let certificate = CertificateDer::from(certificate.to_vec());
        let pin = spki_sha256(&key.subject_public_key_info());
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        Ok(Authority { issuer, certificate, pin })
    }

    /// Its certificate, DER.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Its private key, PKCS#8 in DER: for the coordinator's store alone.
    pub fn key(&self) -> Vec<u8> {
        self.issuer.key().serialize_der()
    }

    /// SHA-256 of its public key.
    pub fn pin(&self) -> [u8; 32] {
        self.pin
    }

    pub fn cluster(&self) -> ClusterId {
        ClusterId::of_key(&self.pin)
    }

    /// A certificate (DER) for `principal` and the key of the signing request `csr`.
    ///
    /// # Errors
    /// The request is broken or not signed by its key; no random numbers.
    pub fn issue(
        &self,
        principal: &Principal,
        csr: &[u8],
        now: Timestamp,
        lifetime: Duration,
        random: &dyn SecureRandom,
    ) -> Result<Vec<u8>, Error> {
        let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(csr))
            .map_err(Error::Request)?;
        self.sign(principal, &request.public_key, now, lifetime, random)
    }

    /// The same for a key pair of this process: the coordinator's own.
    ///
    /// # Errors
    /// As `issue`.
    pub fn issue_for(
        &self,
        principal: &Principal,
        keys: &Keys,
        now: Timestamp,
        lifetime: Duration,
        random: &dyn SecureRandom,
    ) -> Result<Vec<u8>, Error> {
        self.sign(principal, &keys.0, now, lifetime, random)
    }

    fn sign(
        &self,
        principal: &Principal,
        key: &impl PublicKeyData,
        now: Timestamp,
        lifetime: Duration,
        random: &dyn SecureRandom,
    ) -> Result<Vec<u8>, Error> {
        let cluster = self.cluster();
        let mut params = params(now, lifetime, random)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.subject_alt_names = vec![SanType::URI(principal.spiffe_id(&cluster).try_into()?)];
        params.distinguished_name.push(DnType::CommonName, principal.to_string());
        if *principal == Principal::Coordinator {
            params.subject_alt_names.push(SanType::DnsName(cluster.server_name().try_into()?));
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        } else {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        }
        Ok(params.signed_by(key, &self.issuer)?.der().to_vec())
    }
}

fn params(now: Timestamp, lifetime: Duration, random: &dyn SecureRandom) -> Result<CertificateParams, Error> {
    let mut serial = [0; SERIAL_BYTES];
    random.fill(&mut serial).map_err(|_| Error::Random)?;
    // The first bit would make the number negative, the second keeps its length.
    serial[0] = serial[0] & 0x3f | 0x40;
    let at = |seconds: u64| {
        i64::try_from(seconds)
            .ok()
            .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
            .ok_or(Error::Time(now))
    };
    let seconds = now.0 / 1_000_000;
    let mut params = CertificateParams::default();
    params.not_before = at(seconds.saturating_sub(BACKDATED.as_secs()))?;
    params.not_after = at(seconds.saturating_add(lifetime.as_secs()))?;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.distinguished_name = DistinguishedName::new();
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}
