//! The wall clock as the coordinator may see it: never going back, its jumps told apart from time
//! that passed.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use phalanx_common::defaults::CLOCK_JUMP;
use phalanx_common::time::Timestamp;

/// Non-decreasing wall time.
#[derive(Debug)]
pub(crate) struct Clock {
    last: Timestamp,
    wall: Timestamp,
    steady: Instant,
}

impl Clock {
    pub(crate) fn new() -> Clock {
        let wall = wall();
        Clock { last: wall, wall, steady: Instant::now() }
    }

    /// The time, and by how many microseconds the wall clock was set since the last call if that
    /// is more than `defaults::CLOCK_JUMP`.
    pub(crate) fn now(&mut self) -> (Timestamp, Option<i64>) {
        let (wall, steady) = (wall(), Instant::now());
        let passed = i128::try_from(steady.duration_since(self.steady).as_micros()).unwrap_or(i128::MAX);
        let by = i128::from(wall.0) - i128::from(self.wall.0) - passed;
        (self.wall, self.steady) = (wall, steady);
        self.last = self.last.max(wall);
        let jumped = by.unsigned_abs() > CLOCK_JUMP.as_micros();
        (self.last, jumped.then(|| i64::try_from(by).unwrap_or(i64::MAX)))
    }

    /// How long to wait for `deadline`.
    pub(crate) fn until(&self, deadline: Timestamp) -> Duration {
        deadline.since(self.last.max(wall()))
    }
}

/// The wall clock as it is, for what people see.
pub(crate) fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}
