//! One scalar to one value, for what follows a failure.

use std::time::Duration;

use super::keys::TimeSpan;
use crate::exit::signal_name;
use crate::spec::file::MAX_SECONDS;
use crate::spec::keys::nearest;
use crate::spec::problem::{Expected, ProblemKind};
use crate::spec::read::{Read, Scalar, decimal_text, whole};

/// A code with which a rank can fail.
pub(super) fn exit_code(scalar: Scalar<'_>) -> Read<u8> {
    let code = whole(scalar, 1, 255)?;
    u8::try_from(code).map_err(|_| scalar.expected(Expected::Whole { min: 1, max: 255 }))
}

/// A signal by its name, with or without `SIG`.
pub(in crate::spec) fn signal(scalar: Scalar<'_>) -> Read<u8> {
    let names = || (1..=31u8).filter_map(|number| Some((number, signal_name(number)?)));
    let upper = scalar.text.to_ascii_uppercase();
    let found = names().find(|(_, name)| *name == upper || name.strip_prefix("SIG") == Some(upper.as_str()));
    found.map(|(number, _)| number).ok_or_else(|| {
        let known: Vec<&'static str> = names().map(|(_, name)| name).collect();
        let nearest = nearest(scalar.text, &known);
        ProblemKind::Expected { expected: Expected::Signal, found: scalar.found(), nearest }
    })
}

/// A time above zero: seconds, or a number with its unit.
pub(super) fn span(scalar: Scalar<'_>) -> Read<TimeSpan> {
    const UNITS: [(&str, u32, u32); 5] =
        [("ms", 1, 1000), ("s", 1, 1), ("m", 60, 1), ("h", 3600, 1), ("d", 86_400, 1)];
    let wrong = || scalar.expected(Expected::TimeSpan);
    let unit = UNITS.iter().find_map(|(unit, by, of)| Some((scalar.text.strip_suffix(unit)?, *by, *of)));
    let (number, by, of) = match unit {
        Some(found) => found,
        None if scalar.is_number() => (scalar.text, 1, 1),
        None => return Err(wrong()),
    };
    let time = decimal_text(number).and_then(|time| time.checked_mul(by)).map(|time| time / of);
    let longest = Duration::from_secs(MAX_SECONDS.into());
    time.filter(|time| !time.is_zero() && *time <= longest).map(TimeSpan).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::read::Style;

    fn read(text: &str) -> Option<Duration> {
        let scalar = Scalar { text, style: Style::Plain };
        span(scalar).ok().map(|span| span.0)
    }

    #[test]
    fn a_time_is_seconds_or_has_a_unit() {
        let known = [("1h", 3_600_000), ("1.5m", 90_000), ("250ms", 250), ("7", 7000), ("2d", 172_800_000)];
        for (text, millis) in known {
            assert_eq!(read(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for wrong in ["", "h", "1 h", "0s", "-1s", "1w", "1e3", "99999999999d", ".5s"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_signal_is_known_by_its_name() {
        let read = |text| signal(Scalar { text, style: Style::Plain }).ok();
        assert_eq!(["SIGKILL", "kill", "Term", "SIGSYS"].map(read), [Some(9), Some(9), Some(15), Some(31)]);
        assert_eq!(["9", "SIGNOPE", ""].map(read), [None; 3]);
    }
}
