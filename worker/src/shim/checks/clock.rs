//! The time of a pod, which stands still while the pod does.

use std::time::{Duration, Instant};

use phalanx_common::time::Timestamp;

/// Counts microseconds since the pod was prepared.
#[derive(Debug)]
pub(in crate::shim) struct PodClock {
    base: Instant,
    frozen: Option<Instant>,
}

impl PodClock {
    pub(in crate::shim) fn new(now: Instant) -> PodClock {
        PodClock { base: now, frozen: None }
    }

    pub(in crate::shim) fn at(&self, now: Instant) -> Timestamp {
        let now = self.frozen.unwrap_or(now);
        Timestamp(u64::try_from(now.saturating_duration_since(self.base).as_micros()).unwrap_or(u64::MAX))
    }

    /// When it will be `at`; `None` while it stands still.
    pub(in crate::shim) fn instant(&self, at: Timestamp) -> Option<Instant> {
        if self.frozen.is_some() { None } else { self.base.checked_add(Duration::from_micros(at.0)) }
    }

    pub(in crate::shim) fn freeze(&mut self, now: Instant) {
        self.frozen.get_or_insert(now);
    }

    pub(in crate::shim) fn thaw(&mut self, now: Instant) {
        if let Some(since) = self.frozen.take() {
            self.base += now.saturating_duration_since(since);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stands_still_while_it_is_frozen() {
        let base = Instant::now();
        let second = Duration::from_secs(1);
        let mut clock = PodClock::new(base);
        assert_eq!(clock.at(base + second), Timestamp(1_000_000));
        clock.freeze(base + second);
        clock.freeze(base + 2 * second);
        assert_eq!((clock.at(base + 9 * second), clock.instant(Timestamp(0))), (Timestamp(1_000_000), None));
        clock.thaw(base + 11 * second);
        assert_eq!(clock.at(base + 12 * second), Timestamp(2_000_000));
        assert_eq!(clock.instant(Timestamp(2_000_000)), Some(base + 12 * second));
    }
}
