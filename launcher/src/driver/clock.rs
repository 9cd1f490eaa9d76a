//! The wall clock as the coordinator may see it: never going back, its jumps told apart from time
//! that passed.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use phalanx_common::defaults::CLOCK_JUMP;
use phalanx_common::time::Timestamp;

/// Time that passes steadily and follows the wall clock when that is set forward by much. When it is
/// set back, this time goes on: nobody's deadline moves.
#[derive(Debug)]
pub(crate) struct Clock {
    started: Instant,
    /// What `started` was, plus the jumps followed since.
    origin: Timestamp,
}

impl Clock {
    pub(crate) fn new() -> Clock {
        Clock { started: Instant::now(), origin: wall() }
    }

    /// The time, and by how many microseconds it jumped ahead since the last call, if it did.
    pub(crate) fn now(&mut self) -> (Timestamp, Option<i64>) {
        let (now, jump) = follow(self.steady(), wall());
        if let Some(by) = jump {
            self.origin = self.origin + Duration::from_micros(by.unsigned_abs());
        }
        (now, jump)
    }

    /// How long to wait for `deadline`.
    pub(crate) fn until(&self, deadline: Timestamp) -> Duration {
        deadline.since(self.steady())
    }

    /// The time that passed, whatever the wall clock did since it was read last.
    pub(super) fn steady(&self) -> Timestamp {
        self.origin + self.started.elapsed()
    }
}

/// The time where `steady` is what passed and `wall` what the wall clock says.
fn follow(steady: Timestamp, wall: Timestamp) -> (Timestamp, Option<i64>) {
    let ahead = wall.since(steady);
    if ahead > CLOCK_JUMP { (wall, i64::try_from(ahead.as_micros()).ok()) } else { (steady, None) }
}

/// The wall clock as it is, for what people see.
pub(crate) fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_ahead_is_followed_and_told_one_back_is_neither() {
        let (at, hour) = (Timestamp(1_000_000_000_000), Duration::from_secs(3600));
        assert_eq!(follow(at, at + Duration::from_secs(4)), (at, None), "drift is not a jump");
        assert_eq!(follow(at, at + hour), (at + hour, Some(3_600_000_000)));
        assert_eq!(follow(at + hour, at), (at + hour, None));
    }

    #[test]
    fn time_goes_on_from_now_to_now() {
        let mut clock = Clock::new();
        let (first, jump) = clock.now();
        assert_eq!(jump, None);
        assert!(
            clock.now().0 >= first && clock.until(first + Duration::from_secs(60)) <= Duration::from_secs(60)
        );
    }
}
