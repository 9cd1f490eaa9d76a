//! Names of things.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// A job: the name its user gave it and a short suffix that rises with time, `digits-1s0jstf0`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(String);

/// Crockford's base 32, lower case: no i, l, o, u, so an id survives being read aloud.
const BASE32: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 2025-01-01T00:00:00Z in microseconds; eight base-32 digits of ticks from here last until 2059.
const SUFFIX_EPOCH: u64 = 1_735_689_600_000_000;
/// One step of the suffix, in microseconds: launches in a loop seldom meet in one.
const TICK: u64 = 1_000;

impl JobId {
    /// The id of a job named `name` submitted at `now`. `bump` moves on to the next suffix
    /// where the caller found the last one taken.
    pub fn new(name: &str, now: Timestamp, bump: u32) -> JobId {
        let mut rest = now.0.saturating_sub(SUFFIX_EPOCH) / TICK + u64::from(bump);
        let mut suffix = [0u8; 8];
        for digit in suffix.iter_mut().rev() {
            *digit = BASE32[(rest % 32) as usize];
            rest /= 32;
        }
        JobId(format!("{name}-{}", String::from_utf8_lossy(&suffix)))
    }

    /// An id that already exists, as read from a record, a message or a command line.
    pub fn from_existing(id: impl Into<String>) -> JobId {
        JobId(id.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A machine, named by the key of its worker; the host name is only shown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(String);

impl NodeId {
    pub fn new(id: impl Into<String>) -> NodeId {
        NodeId(id.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The one after this.
            #[must_use]
            pub fn next(self) -> $name {
                $name(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// One training process of a job, numbered from 0.
    Rank(u32)
);
number!(
    /// One attempt to run a gang, numbered from 1.
    Generation(u32)
);
number!(
    /// One reign of a coordinator, numbered from 1.
    Epoch(u64)
);
number!(
    /// One life of a worker process on a node. A worker that comes back with another incarnation
    /// has no pods but those it reports.
    Incarnation(u64)
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_a_name_sort_by_time() {
        let at = |micros| JobId::new("digits", Timestamp(SUFFIX_EPOCH + micros), 0);
        assert_eq!(at(0).as_str(), "digits-00000000");
        assert!(at(TICK) > at(0) && at(60_000_000) > at(59_000_000));
        assert_eq!(JobId::new("digits", Timestamp(SUFFIX_EPOCH), 1), at(TICK));
    }
}
