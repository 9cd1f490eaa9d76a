//! One scalar to one value, for probes.

use std::net::{IpAddr, Ipv4Addr};

use super::{MIN_PERIOD, Period, ProbeProblem};
use crate::spec::problem::{Expected, ProblemKind};
use crate::spec::read::{self, Read, Scalar};

pub(super) fn threshold(scalar: Scalar<'_>) -> Read<u32> {
    read::whole(scalar, 1, u32::MAX)
}

pub(super) fn port(scalar: Scalar<'_>) -> Read<u32> {
    read::whole(scalar, 1, u16::MAX.into())
}

pub(super) fn period(scalar: Scalar<'_>) -> Read<Period> {
    let time = read::seconds(scalar).map_err(|_| scalar.expected(Expected::Period))?.0;
    if time >= MIN_PERIOD { Ok(Period(time)) } else { Err(scalar.expected(Expected::Period)) }
}

/// What stands between GET and HTTP/1.1.
pub(super) fn path(scalar: Scalar<'_>) -> Read<String> {
    let graphic = scalar.text.bytes().all(|byte| byte.is_ascii_graphic());
    match read::text(scalar) {
        Ok(text) if graphic && text.0.starts_with('/') => Ok(text.0),
        _ => Err(scalar.expected(Expected::HttpPath)),
    }
}

/// Nothing here may wait for a name server.
pub(super) fn host(scalar: Scalar<'_>) -> Read<String> {
    match read::text(scalar) {
        Ok(text) if address(&text.0).is_some() => Ok(text.0),
        _ => Err(scalar.expected(Expected::ProbeHost)),
    }
}

/// The address that `host` takes.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    match text {
        "localhost" => Some(Ipv4Addr::LOCALHOST.into()),
        text => text.parse().ok(),
    }
}

pub(super) fn scheme(scalar: Scalar<'_>) -> Read<String> {
    match scalar.text {
        "HTTP" => Ok(scalar.text.to_owned()),
        "HTTPS" => Err(ProbeProblem::Https.into()),
        _ => Err(ProblemKind::Expected {
            expected: Expected::OneOf(vec!["HTTP"]),
            found: scalar.found(),
            nearest: None,
        }),
    }
}

/// A token of RFC 9110, section 5.6.2.
pub(super) fn header_name(scalar: Scalar<'_>) -> Read<String> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    match read::text(scalar) {
        Ok(text) if !text.0.is_empty() && text.0.bytes().all(token) => Ok(text.0),
        _ => Err(scalar.expected(Expected::HeaderName)),
    }
}

pub(super) fn header_value(scalar: Scalar<'_>) -> Read<String> {
    match read::text(scalar) {
        Ok(text) if text.0.bytes().all(|byte| byte == b'\t' || (0x20..0x7f).contains(&byte)) => Ok(text.0),
        _ => Err(scalar.expected(Expected::HeaderValue)),
    }
}

pub(super) fn pattern(scalar: Scalar<'_>) -> Read<String> {
    let text = read::text(scalar)?;
    super::LogPattern::new(&text.0)?;
    Ok(text.0)
}
