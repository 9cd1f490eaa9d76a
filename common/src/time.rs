//! Time as the deciding code sees it: microseconds since the Unix epoch, handed in by the shell.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Microseconds since the Unix epoch. The shell makes the sequence it hands in non-decreasing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The time from `earlier` to `self`, zero if `earlier` is later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// Date and time in UTC with whole seconds, as RFC 3339 writes them.
    pub fn to_rfc3339(self) -> String {
        /// Days from 0000-03-01 to 1970-01-01, and in 400 and 100 years of the Gregorian calendar.
        const EPOCH: u64 = 719_468;
        const ERA: u64 = 146_097;
        const CENTURY: u64 = 36_524;
        let seconds = self.0 / 1_000_000;
        let (days, time) = (seconds / 86_400 + EPOCH, seconds % 86_400);
        let (era, day) = (days / ERA, days % ERA);
        // Years begin in March, so that the leap day is the last of its year.
        let year = (day - day / 1_460 + day / CENTURY - day / (ERA - 1)) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let (date, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
        let year = era * 400 + year + u64::from(month <= 2);
        let (hour, minute, second) = (time / 3_600, time / 60 % 60, time % 60);
        format!("{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;

    /// Saturates: a deadline beyond the end of time never comes.
    fn add(self, rhs: Duration) -> Timestamp {
        let micros = u64::try_from(rhs.as_micros()).unwrap_or(u64::MAX);
        Timestamp(self.0.saturating_add(micros))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Timestamp;

    fn sub(self, rhs: Duration) -> Timestamp {
        let micros = u64::try_from(rhs.as_micros()).unwrap_or(u64::MAX);
        Timestamp(self.0.saturating_sub(micros))
    }
}

impl fmt::Display for Timestamp {
    /// Seconds with six decimals, as traces and test logs print it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_date_and_time() {
        let text = |seconds: u64| Timestamp(seconds * 1_000_000).to_rfc3339();
        assert_eq!(text(0), "1970-01-01T00:00:00Z");
        assert_eq!(text(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(text(951_868_799), "2000-02-29T23:59:59Z");
        assert_eq!(text(1_709_251_199), "2024-02-29T23:59:59Z");
        assert_eq!(text(4_102_444_799), "2099-12-31T23:59:59Z");
        assert_eq!(text(4_107_542_400), "2100-03-01T00:00:00Z");
    }
}
