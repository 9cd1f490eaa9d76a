//! What a certificate says, read back.

use phalanx_common::identity::{ClusterId, Principal};
use phalanx_common::time::Timestamp;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// The content of a certificate that this package looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    pub cluster: ClusterId,
    pub principal: Principal,
    /// Its last moment.
    pub expires: Timestamp,
}

/// Why a certificate is none of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("it is no X.509 certificate")]
    Broken,
    #[error("it has no SPIFFE id, or one that this version does not know")]
    NoPrincipal,
    #[error("it does not serve the purpose of its role")]
    Purpose,
}

/// Reads a certificate in DER. Whether anybody vouches for it is another question, answered before.
///
/// # Errors
/// It is none, names nobody or several, or its purpose (extended key usage) is not that of its role.
pub fn read(der: &[u8]) -> Result<Content, Error> {
    let certificate = parse(der)?;
    let names = certificate.subject_alternative_name().map_err(|_| Error::Broken)?;
    let mut ids = names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let (Some(id), None) = (ids.next(), ids.next()) else { return Err(Error::NoPrincipal) };
    let (cluster, principal) = Principal::parse(id).ok_or(Error::NoPrincipal)?;
    let usage = certificate.extended_key_usage().map_err(|_| Error::Broken)?.ok_or(Error::Purpose)?;
    let server = principal == Principal::Coordinator;
    if usage.value.server_auth != server || usage.value.client_auth == server || usage.value.any {
        return Err(Error::Purpose);
    }
    let seconds = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0);
    Ok(Content { cluster, principal, expires: Timestamp(seconds.saturating_mul(1_000_000)) })
}

/// First and last moment of a certificate.
///
/// # Errors
/// It is none.
pub fn validity(der: &[u8]) -> Result<(Timestamp, Timestamp), Error> {
    let certificate = parse(der)?;
    let at = |seconds| Timestamp(u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000));
    let validity = certificate.validity();
    Ok((at(validity.not_before.timestamp()), at(validity.not_after.timestamp())))
}

/// The public key of a certificate, as SubjectPublicKeyInfo in DER.
///
/// # Errors
/// It is none.
pub fn public_key(der: &[u8]) -> Result<Vec<u8>, Error> {
    Ok(parse(der)?.public_key().raw.to_vec())
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, Error> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(Error::Broken),
    }
}
