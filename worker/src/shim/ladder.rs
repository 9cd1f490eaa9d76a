//! The way from a stop order to SIGKILL: deadlines only come nearer, and stand still while the pod is
//! suspended.

use std::time::{Duration, Instant};

/// How far a stop has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ladder {
    rung: Rung,
    suspended_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Rung {
    #[default]
    Running,
    /// The stop signal is out.
    Stopping {
        kill_at: Instant,
    },
    Killing,
}

/// What a stop order changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing: as strict an order is under way.
    Nothing,
    /// Send the stop signal.
    Terminate,
    /// SIGKILL for the whole tree.
    Kill,
}

impl Ladder {
    /// Takes a stop order. A grace that would end later than the one under way changes nothing.
    pub(super) fn stop(&mut self, now: Instant, grace: Duration) -> Step {
        if grace.is_zero() && self.rung != Rung::Killing {
            self.rung = Rung::Killing;
            return Step::Kill;
        }
        // A grace beyond the end of time is as good as a year.
        let kill_at = now.checked_add(grace).unwrap_or(now + Duration::from_secs(31_536_000));
        match &mut self.rung {
            Rung::Running => {
                self.rung = Rung::Stopping { kill_at };
                Step::Terminate
            }
            Rung::Stopping { kill_at: earlier } => {
                *earlier = kill_at.min(*earlier);
                Step::Nothing
            }
            Rung::Killing => Step::Nothing,
        }
    }

    /// The grace is over, and SIGKILL has not been sent.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|kill_at| now >= kill_at)
    }

    /// Ranks have until then at least, if they are stopping.
    pub(super) fn at_least(&mut self, until: Instant) {
        if let Rung::Stopping { kill_at } = &mut self.rung {
            *kill_at = until.max(*kill_at);
        }
    }

    /// Steps on to SIGKILL if the grace is over.
    pub(super) fn is_kill_due(&mut self, now: Instant) -> bool {
        let over = self.is_over(now);
        if over {
            self.rung = Rung::Killing;
        }
        over
    }

    /// When to ask `is_kill_due` again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.rung {
            Rung::Stopping { kill_at } if self.suspended_at.is_none() => Some(kill_at),
            _ => None,
        }
    }

    pub(super) fn suspend(&mut self, now: Instant) {
        self.suspended_at.get_or_insert(now);
    }

    pub(super) fn resume(&mut self, now: Instant) {
        let Some(since) = self.suspended_at.take() else { return };
        if let Rung::Stopping { kill_at } = &mut self.rung {
            *kill_at += now.saturating_duration_since(since);
        }
    }

    pub(super) fn is_suspended(&self) -> bool {
        self.suspended_at.is_some()
    }

    /// A stop has been ordered: whatever ends from here on is a consequence.
    pub(super) fn is_stopping(&self) -> bool {
        self.rung != Rung::Running
    }

    pub(super) fn is_killing(&self) -> bool {
        self.rung == Rung::Killing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_stop_leads_to_a_kill_when_the_grace_is_over_and_not_before() {
        let start = Instant::now();
        let mut ladder = Ladder::default();
        assert!(!ladder.is_stopping());
        assert_eq!(ladder.stop(start, 3 * SECOND), Step::Terminate);
        assert!(ladder.is_stopping());
        assert_eq!(ladder.deadline(), Some(start + 3 * SECOND));
        assert!(!ladder.is_kill_due(start + 2 * SECOND));
        assert!(ladder.is_kill_due(start + 3 * SECOND));
        assert!(!ladder.is_kill_due(start + 4 * SECOND), "once");
        assert_eq!(ladder.deadline(), None);
    }

    #[test]
    fn a_second_stop_shortens_the_grace_and_never_lengthens_it() {
        let start = Instant::now();
        let mut ladder = Ladder::default();
        ladder.stop(start, 10 * SECOND);
        assert_eq!(ladder.stop(start + SECOND, 60 * SECOND), Step::Nothing);
        assert_eq!(ladder.deadline(), Some(start + 10 * SECOND));
        assert_eq!(ladder.stop(start + SECOND, 2 * SECOND), Step::Nothing);
        assert_eq!(ladder.deadline(), Some(start + 3 * SECOND));
        assert_eq!(ladder.stop(start + SECOND, Duration::ZERO), Step::Kill);
        assert_eq!(ladder.stop(start + SECOND, Duration::ZERO), Step::Nothing);
    }

    #[test]
    fn the_grace_stands_still_while_the_pod_is_suspended() {
        let start = Instant::now();
        let mut ladder = Ladder::default();
        ladder.stop(start, 3 * SECOND);
        ladder.suspend(start + SECOND);
        ladder.suspend(start + 2 * SECOND);
        assert_eq!(ladder.deadline(), None);
        assert!(!ladder.is_kill_due(start + 50 * SECOND));
        ladder.resume(start + 101 * SECOND);
        assert_eq!(ladder.deadline(), Some(start + 103 * SECOND));
    }

    #[test]
    fn a_rank_that_was_signalled_late_has_a_moment_all_the_same() {
        let start = Instant::now();
        let mut ladder = Ladder::default();
        ladder.at_least(start + SECOND);
        assert_eq!(ladder.deadline(), None, "nobody stops");
        ladder.stop(start, 3 * SECOND);
        ladder.at_least(start + 2 * SECOND);
        assert_eq!(ladder.deadline(), Some(start + 3 * SECOND), "there is time enough");
        assert!(ladder.is_over(start + 3 * SECOND));
        ladder.at_least(start + 5 * SECOND);
        assert!(!ladder.is_kill_due(start + 4 * SECOND));
        assert!(ladder.is_kill_due(start + 5 * SECOND));
    }

    #[test]
    fn an_endless_grace_overflows_nothing() {
        let mut ladder = Ladder::default();
        assert_eq!(ladder.stop(Instant::now(), Duration::MAX), Step::Terminate);
    }
}
