//! One scalar to one value, for what a job needs.

use super::keys::Bytes;
use super::{
    MAX_CPUS_PER_RANK, MAX_DEVICES_PER_RANK, MAX_KIND, MAX_MODEL, MAX_NICS_PER_RANK, MAX_VOLUME_BYTES,
    NeedsProblem, Parallelism,
};
use crate::defaults::{MAX_NODES, MAX_RANKS};
use crate::identity::valid_name;
use crate::label;
use crate::spec::file::Text;
use crate::spec::keys;
use crate::spec::problem::{Expected, ProblemKind};
use crate::spec::read::{self, Read, Scalar};
use crate::topology::Tier;

/// What limits a whole job, where a kind of group would limit that.
pub(super) const ALL: &str = "all";

pub(super) fn device_count(scalar: Scalar<'_>) -> Read<u32> {
    read::whole(scalar, 1, MAX_DEVICES_PER_RANK)
}

/// Devices of a whole job.
pub(super) fn devices(scalar: Scalar<'_>) -> Read<u32> {
    read::whole(scalar, 1, MAX_RANKS.saturating_mul(MAX_DEVICES_PER_RANK))
}

pub(super) fn cpus(scalar: Scalar<'_>) -> Read<u32> {
    read::whole(scalar, 1, MAX_CPUS_PER_RANK)
}

pub(super) fn nics(scalar: Scalar<'_>) -> Read<u32> {
    read::whole(scalar, 1, MAX_NICS_PER_RANK)
}

/// A number of ranks: the size of a group, a bound of `elastic`.
pub(super) fn ranks(scalar: Scalar<'_>) -> Read<u32> {
    read::whole(scalar, 1, MAX_RANKS)
}

pub(super) fn spares(scalar: Scalar<'_>) -> Read<u32> {
    read::whole(scalar, 0, MAX_NODES)
}

pub(super) fn memory(scalar: Scalar<'_>) -> Read<Bytes> {
    read::bytes(scalar, 1, i64::MAX as u64).map(Bytes)
}

pub(super) fn volume(scalar: Scalar<'_>) -> Read<Bytes> {
    read::bytes(scalar, 1, MAX_VOLUME_BYTES).map(Bytes)
}

pub(super) fn model(scalar: Scalar<'_>) -> Read<String> {
    let text = read::text(scalar).ok().map(|text| text.0);
    text.filter(|text| (1..=MAX_MODEL).contains(&text.len()) && !text.contains(char::is_control))
        .ok_or_else(|| scalar.expected(Expected::Model))
}

/// `1g.10gb`, `1c.3g.40gb`, `1g.10gb+me`: what NVIDIA calls its profiles.
pub(super) fn mig(scalar: Scalar<'_>) -> Read<String> {
    let lower = scalar.text.to_ascii_lowercase();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-');
    let (profile, _) = lower.split_once(['+', '-']).unwrap_or((&lower, ""));
    let mut parts = profile.rsplit('.');
    let counts =
        |part: Option<&str>, unit| part.and_then(|part| part.strip_suffix(unit)).is_some_and(is_digits);
    let valid = counts(parts.next(), "gb") && counts(parts.next(), "g");
    match parts.next() {
        None if valid => {}
        part if valid && counts(part, "c") && parts.next().is_none() => {}
        _ => return Err(scalar.expected(Expected::Mig)),
    }
    match lower.len() <= MAX_MODEL && lower.chars().all(plain) {
        true => Ok(lower),
        false => Err(scalar.expected(Expected::Mig)),
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The name of a kind of group; of the job's own ones any that cannot be taken for something else.
pub(super) fn kind(scalar: Scalar<'_>) -> Read<String> {
    match is_kind(scalar.text) {
        true => Ok(scalar.text.to_owned()),
        false => Err(ProblemKind::Expected {
            expected: Expected::Kind,
            found: scalar.found(),
            nearest: near_kind(scalar.text),
        }),
    }
}

pub(super) fn is_kind(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=MAX_KIND).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(plain)
        && text != ALL
}

/// The kind that was meant, if it goes by another name elsewhere.
pub(super) fn near_kind(typed: &str) -> Option<&'static str> {
    const ELSEWHERE: [(&str, &str); 7] = [
        ("tensor", "tp"),
        ("model", "tp"),
        ("context", "cp"),
        ("expert", "ep"),
        ("data", "dp"),
        ("pipeline", "pp"),
        ("stage", "pp"),
    ];
    if typed.len() > 64 {
        return None;
    }
    let typed = typed.to_ascii_lowercase();
    let upper = Parallelism::KINDS.into_iter().find(|kind| *kind == typed);
    let word = ELSEWHERE.iter().find(|(word, _)| typed.starts_with(word)).map(|(_, kind)| *kind);
    upper.or(word)
}

/// The tier that a whole job may span. What is inside of a node is no limit for one.
pub(super) fn tier_of_all(scalar: Scalar<'_>) -> Read<Tier> {
    tier_from(scalar, Tier::Node, |tier| NeedsProblem::TierOfAll { tier })
}

/// The tier that a group may span.
pub(super) fn tier_of_group(scalar: Scalar<'_>) -> Read<Tier> {
    tier_from(scalar, Tier::Island, |tier| NeedsProblem::TierOfGroup { tier })
}

/// The tier of which nodes share no domain.
pub(super) fn tier_of_spread(scalar: Scalar<'_>) -> Read<Tier> {
    tier_from(scalar, Tier::Nvlink, |tier| NeedsProblem::TierOfSpread { tier })
}

fn tier_from(scalar: Scalar<'_>, closest: Tier, refused: fn(Tier) -> NeedsProblem) -> Read<Tier> {
    const ELSEWHERE: [(&str, &str); 7] = [
        ("gpu", "device"),
        ("socket", "numa"),
        ("host", "node"),
        ("rack", "leaf"),
        ("switch", "leaf"),
        ("pod", "block"),
        ("spine", "block"),
    ];
    let tier = read::choice::<Tier>(scalar).map_err(|kind| match kind {
        ProblemKind::Expected { expected, found, nearest: None } => {
            let other = ELSEWHERE.iter().find(|(word, _)| *word == scalar.text).map(|(_, tier)| *tier);
            ProblemKind::Expected { expected, found, nearest: other }
        }
        kind => kind,
    })?;
    match tier >= closest {
        true => Ok(tier),
        false => Err(refused(tier).into()),
    }
}

/// A node by its id, its host name or what one alone begins with.
pub(super) fn node(scalar: Scalar<'_>) -> Read<String> {
    let text = read::text(scalar).ok().map(|text| text.0);
    text.filter(|text| valid_name(text)).ok_or_else(|| scalar.expected(Expected::Node))
}

pub(super) fn label_value(scalar: Scalar<'_>) -> Read<Text> {
    let text = read::text(scalar).ok();
    text.filter(|text| label::is_word(&text.0)).ok_or_else(|| scalar.expected(Expected::Label))
}

/// A tier and what it limits, `leaf` or `tp=node`.
pub(super) fn limit(typed: Scalar<'_>) -> Read<(String, Tier)> {
    match typed.text.split_once('=') {
        None => tier_of_all(typed).map(|tier| (ALL.to_owned(), tier)),
        Some((name, tier)) => {
            let tier = Scalar { text: tier, ..typed };
            match name {
                ALL => tier_of_all(tier).map(|tier| (ALL.to_owned(), tier)),
                _ => Ok((kind(Scalar { text: name, ..typed })?, tier_of_group(tier)?)),
            }
        }
    }
}

/// Pairs of a selector.
pub(super) fn label(typed: Scalar<'_>) -> Read<(String, Text)> {
    let (name, value) = label::parse(typed.text).map_err(NeedsProblem::Label)?;
    Ok((name, Text(value)))
}

/// The kinds that can be meant by `typed`.
pub(super) fn nearest_of(typed: &str, known: &'static [&'static str]) -> Option<&'static str> {
    keys::nearest(typed, known).or_else(|| near_kind(typed).filter(|kind| known.contains(kind)))
}
