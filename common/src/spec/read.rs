//! One scalar to one value. A file's scalar and a flag's text go through the same functions.

use std::time::Duration;

use super::file::{MAX_SECONDS, MIN_LOG_FILE_BYTES, Positive, Ranks, Seconds, Size, Text, Variable};
use super::job::Choice;
use super::keys;
use super::problem::{Expected, ProblemKind};
use crate::defaults::{MAX_NODES, MAX_RANKS, MAX_RANKS_PER_NODE, MIN_LEASE};
use crate::yaml::{Found, Node, Value, is_number};

/// How a scalar was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// Without quotes: it may be a number, a boolean or null.
    Plain,
    /// In quotes or as a block: it is a string.
    Quoted,
    /// On the command line, where everything is text: it is what is wanted.
    Flag,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Scalar<'a> {
    pub(super) text: &'a str,
    pub(super) style: Style,
}

pub(super) type Read<T> = Result<T, ProblemKind>;

impl<'a> Scalar<'a> {
    pub(super) fn of(node: &'a Node) -> Option<Scalar<'a>> {
        match &node.value {
            Value::Scalar { text, quoted: true } => Some(Scalar { text, style: Style::Quoted }),
            Value::Scalar { text, quoted: false } => Some(Scalar { text, style: Style::Plain }),
            _ => None,
        }
    }

    /// What it is; on the command line it is text.
    pub(super) fn found(self) -> Found {
        match self.style {
            Style::Quoted | Style::Flag => Found::Text(self.text.to_string()),
            Style::Plain => Found::plain(self.text),
        }
    }

    fn is_string(self) -> bool {
        matches!(self.found(), Found::Text(_))
    }

    pub(super) fn is_number(self) -> bool {
        self.style == Style::Flag || (self.style == Style::Plain && is_number(self.text))
    }

    pub(super) fn expected(self, expected: Expected) -> ProblemKind {
        ProblemKind::Expected { expected, found: self.found(), nearest: None }
    }
}

pub(super) fn name(scalar: Scalar<'_>) -> Read<String> {
    match scalar.is_string() && super::name::is_valid(scalar.text) {
        true => Ok(scalar.text.to_string()),
        false => Err(scalar.expected(Expected::Name)),
    }
}

pub(super) fn ranks(scalar: Scalar<'_>) -> Read<Ranks> {
    match scalar.text {
        "gpu" => Ok(Ranks::Gpu),
        "cpu" => Ok(Ranks::Cpu),
        _ => whole(scalar, 1, MAX_RANKS).map(Ranks::Number).map_err(|_| scalar.expected(Expected::Ranks)),
    }
}

pub(super) fn nodes(scalar: Scalar<'_>) -> Read<u32> {
    whole(scalar, 1, MAX_NODES)
}

/// Seconds of a lease: long enough to be renewed in time.
pub(super) fn lease(scalar: Scalar<'_>) -> Read<Positive> {
    decimal(scalar)
        .filter(|time| *time >= MIN_LEASE)
        .map(Positive)
        .ok_or_else(|| scalar.expected(Expected::Lease))
}

pub(super) fn ranks_per_node(scalar: Scalar<'_>) -> Read<u32> {
    whole(scalar, 1, MAX_RANKS_PER_NODE)
}

/// A whole number, zero or more.
pub(super) fn count(scalar: Scalar<'_>) -> Read<u32> {
    whole(scalar, 0, u32::MAX)
}

pub(super) fn whole(scalar: Scalar<'_>, min: u32, max: u32) -> Read<u32> {
    let digits = scalar.text.bytes().all(|b| b.is_ascii_digit());
    match scalar.text.parse::<u32>() {
        Ok(n) if scalar.is_number() && digits && (min..=max).contains(&n) => Ok(n),
        _ => Err(scalar.expected(Expected::Whole { min, max })),
    }
}

pub(super) fn seconds(scalar: Scalar<'_>) -> Read<Seconds> {
    decimal(scalar).map(Seconds).ok_or_else(|| scalar.expected(Expected::Seconds))
}

pub(super) fn positive(scalar: Scalar<'_>) -> Read<Positive> {
    decimal(scalar)
        .filter(|time| !time.is_zero())
        .map(Positive)
        .ok_or_else(|| scalar.expected(Expected::PositiveSeconds))
}

/// Decimal seconds to the microsecond, which is what a `Timestamp` counts; digits beyond are cut. No way
/// through a float, which would round.
fn decimal(scalar: Scalar<'_>) -> Option<Duration> {
    let time = decimal_text(scalar.text).filter(|_| scalar.is_number())?;
    (time <= Duration::from_secs(MAX_SECONDS.into())).then_some(time)
}

/// The same for text that may have had a unit behind it.
pub(super) fn decimal_text(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    let micros: u32 = format!("{:0<6.6}", fraction).parse().ok()?;
    Some(Duration::new(whole.parse().ok()?, micros * 1000))
}

pub(super) fn size(scalar: Scalar<'_>) -> Read<Size> {
    // File offsets are signed in every system call that takes one.
    bytes(scalar, MIN_LOG_FILE_BYTES, i64::MAX as u64).map(Size)
}

/// A number of bytes from `min` to `max`, with a unit or without.
pub(super) fn bytes(scalar: Scalar<'_>, min: u64, max: u64) -> Read<u64> {
    const UNITS: [(&str, u64); 8] = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
    ];
    let wrong = || scalar.expected(Expected::Size { min, max });
    let unit = UNITS.iter().find_map(|(unit, bytes)| Some((scalar.text.strip_suffix(unit)?, *bytes)));
    let (digits, unit) = match unit {
        Some(found) => found,
        None if scalar.is_number() => (scalar.text, 1),
        None => return Err(wrong()),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let bytes = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(unit));
    bytes.filter(|bytes| (min..=max).contains(bytes)).ok_or_else(wrong)
}

/// True or false.
pub(super) fn boolean(scalar: Scalar<'_>) -> Read<bool> {
    match scalar.text {
        "true" if scalar.style != Style::Quoted => Ok(true),
        "false" if scalar.style != Style::Quoted => Ok(false),
        _ => Err(scalar.expected(Expected::Boolean)),
    }
}

pub(super) fn path(scalar: Scalar<'_>) -> Read<String> {
    match scalar.text {
        text if !scalar.is_string() || text.is_empty() => Err(scalar.expected(Expected::Path)),
        text => no_nul(text).map(str::to_string),
    }
}

/// The path of a file.
pub(super) fn file(scalar: Scalar<'_>) -> Read<String> {
    path(scalar).map_err(|kind| match kind {
        ProblemKind::Expected { .. } => scalar.expected(Expected::File),
        kind => kind,
    })
}

/// Where a coordinator may be. Whether the name is one shows when it is looked up.
pub(super) fn address(scalar: Scalar<'_>) -> Read<String> {
    let plain = !scalar.text.is_empty() && !scalar.text.contains(|c: char| c.is_whitespace() || c == ',');
    match scalar.is_string() && plain {
        true => no_nul(scalar.text).map(str::to_string),
        false => Err(scalar.expected(Expected::Address)),
    }
}

pub(super) fn text(scalar: Scalar<'_>) -> Read<Text> {
    match scalar.found() {
        Found::Text(_) | Found::Literal(_) => no_nul(scalar.text).map(|text| Text(text.to_string())),
        _ => Err(scalar.expected(Expected::Text)),
    }
}

pub(super) fn variable_value(scalar: Scalar<'_>) -> Read<Variable> {
    match text(scalar) {
        Err(ProblemKind::Expected { .. }) => Err(scalar.expected(Expected::Variable)),
        read => read.map(Variable::Plain),
    }
}

/// The name under which a secret is given: the flag takes it, and it may be a variable's.
pub(super) fn secret(scalar: Scalar<'_>) -> Read<Variable> {
    if !scalar.is_string() {
        return Err(scalar.expected(Expected::Secret));
    }
    variable(scalar.text).map(|()| Variable::Secret(scalar.text.to_string()))
}

pub(super) fn choice<T: Choice>(scalar: Scalar<'_>) -> Read<T> {
    let found = T::CHOICES.iter().find(|(word, _)| *word == scalar.text && scalar.is_string());
    found.map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<&str> = T::CHOICES.iter().map(|(word, _)| *word).collect();
        let nearest = keys::nearest(scalar.text, &words);
        ProblemKind::Expected { expected: Expected::OneOf(words), found: scalar.found(), nearest }
    })
}

/// A variable's name: what `execve` can carry, and not the one that is ours.
pub(super) fn variable(name: &str) -> Read<()> {
    match name {
        "PHALANX_POD" => Err(ProblemKind::ReservedVariable),
        name if name.is_empty() || name.contains(['=', '\0']) => {
            Err(ProblemKind::VariableName(name.to_string()))
        }
        _ => Ok(()),
    }
}

pub(super) fn no_nul(text: &str) -> Read<&str> {
    match text.contains('\0') {
        true => Err(ProblemKind::Nul),
        false => Ok(text),
    }
}
