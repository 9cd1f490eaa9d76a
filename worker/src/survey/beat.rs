//! When the next beacon leaves.

use std::time::Duration;

use phalanx_common::defaults::BEACON_EVERY;
use rand::Rng;
use tokio::time::Instant;

/// A port that is new sends this many, so that one that is lost does not matter.
const BURST: u32 = 6;
const IN_A_BURST: Duration = Duration::from_millis(333);
/// Whoever is new is answered within this, all at different times.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// Between answers to those that begin anew: answers that look like a burst to others do not go on for ever.
const ANSWER_BURSTS_EVERY: Duration = Duration::from_secs(10);

/// The times of beacons: a burst, then one in a while.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Beat {
    next: Option<Instant>,
    left: u32,
    /// The last beacon.
    last: Option<Instant>,
    /// When a burst may be answered.
    bursts_from: Option<Instant>,
}

impl Beat {
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    pub(super) fn burst(&mut self, now: Instant) {
        (self.next, self.left) = (Some(now), BURST);
    }

    /// One more, soon, but not at once after the last: where a whole cluster comes up, one answer is for many.
    pub(super) fn answer(&mut self, now: Instant) {
        let soon = now + ANSWER_WITHIN.mul_f64(rand::rng().random());
        let soon = self.last.map_or(soon, |last| soon.max(last + IN_A_BURST));
        self.next = Some(self.next.map_or(soon, |next| next.min(soon)));
    }

    /// One more for a node that is known and begins anew, sooner or later.
    pub(super) fn answer_burst(&mut self, now: Instant) {
        let from = self.bursts_from.map_or(now, |from| from.max(now));
        // Several in the meantime get the same answer.
        if from < now + ANSWER_BURSTS_EVERY {
            self.bursts_from = Some(from + ANSWER_BURSTS_EVERY);
            self.answer(from);
        }
    }

    pub(super) fn sent(&mut self, now: Instant) {
        self.left = self.left.saturating_sub(1);
        self.last = Some(now);
        let wait = match self.left {
            // Nodes that came up together do not send together for ever.
            0 => BEACON_EVERY.mul_f64(rand::rng().random_range(0.75..1.25)),
            _ => IN_A_BURST,
        };
        self.next = Some(now + wait);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_followed_by_one_in_a_while_and_whoever_is_new_is_answered_soon() {
        let start = Instant::now();
        let mut beat = Beat::default();
        assert_eq!(beat.next(), None);
        beat.burst(start);
        let mut now = start;
        for _ in 0..BURST {
            assert!(beat.next().unwrap() - start < Duration::from_secs(2));
            now = beat.next().unwrap();
            beat.sent(now);
        }
        let calm = beat.next().unwrap() - now;
        assert!(calm >= BEACON_EVERY.mul_f64(0.75) && calm <= BEACON_EVERY.mul_f64(1.25), "{calm:?}");
        beat.answer(now);
        assert!(beat.next().unwrap() - now <= ANSWER_WITHIN);
    }

    #[test]
    fn answers_keep_a_distance_and_those_to_bursts_a_long_one() {
        let start = Instant::now();
        let mut beat = Beat::default();
        beat.sent(start);
        for _ in 0..100 {
            beat.answer(start);
        }
        assert_eq!(beat.next(), Some(start + IN_A_BURST));

        beat.sent(start);
        beat.answer_burst(start);
        assert!(beat.next().unwrap() <= start + ANSWER_WITHIN);
        beat.sent(start + ANSWER_WITHIN);
        for _ in 0..3 {
            beat.answer_burst(start + ANSWER_WITHIN);
        }
        let second = beat.next().unwrap() - start;
        let within = ANSWER_BURSTS_EVERY..ANSWER_BURSTS_EVERY + ANSWER_WITHIN;
        assert!(within.contains(&second), "{second:?}");
    }
}
