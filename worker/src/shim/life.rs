//! What one generation of a pod does next. No I/O: the time and what is alive are arguments, what to
//! do is the answer.
//!
//! ```text
//! Held --Go--> Released --all executed--> Started
//!   |             |                          |
//!   +-------------+--- no rank is alive -----+--> Lingering --> Killing --> Draining --> Ended
//!   +-------------+--- grace over, or zero --+--------------------^
//! ```
//! Before Lingering sidecars have their time to end, if there are some. Lingering is passed over when no child is left,
//! Killing when the last one leaves by itself.

use std::time::{Duration, Instant};

use phalanx_common::defaults;

use super::ladder::{Ladder, Step};

/// Children left behind get this long to end by themselves: Python's resource tracker, which ignores
/// SIGTERM and removes its parent's shared memory when the parent is gone, needs about 10 ms.
const LINGER: Duration = Duration::from_millis(100);
/// A time beyond the end of time is as good as this.
const YEAR: Duration = Duration::from_secs(31_536_000);
/// Between the stop signal that came after a preStop hook and SIGKILL, at least: as the kubelet has it
/// (minimumGracePeriodInSeconds).
pub(super) const AFTER_HOOK: Duration = Duration::from_secs(2);
/// Waits between rounds of SIGKILL; processes may fork while they are being listed.
const ROUND: Duration = Duration::from_millis(20);
/// SIGKILL has had no effect after this: uninterruptible sleep.
const GIVE_UP: Duration = Duration::from_secs(5);
/// How long output pipes that a survivor still holds are read.
const DRAIN: Duration = Duration::from_secs(2);
/// Exits are reported before Started only if some rank's exec hangs for this long.
const EXEC_PATIENCE: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Held,
    /// `patience`: until when exits wait for Started.
    Released {
        patience: Option<Instant>,
    },
    Started,
    /// Sidecars are told to end.
    Sidecars {
        until: Instant,
    },
    Lingering {
        until: Instant,
    },
    Killing {
        give_up: Instant,
        again: Instant,
    },
    Draining {
        until: Instant,
    },
    Ended,
}

/// What the shell sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// Ranks not yet reaped or that may start again, and init containers that they wait for.
    pub(super) ranks: usize,
    /// A sidecar runs.
    pub(super) sidecars: bool,
    /// There are children, ranks or others.
    pub(super) children: bool,
    /// An output pipe is open.
    pub(super) pipes: bool,
    /// A rank is doing its preStop hook.
    pub(super) hooks: bool,
}

/// What the shell has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// The stop signal; held ranks are aborted.
    Terminate,
    /// The end of preStop hooks, and the stop signal for the ranks that were doing theirs.
    EndHooks,
    /// The stop signal for sidecars, one after another.
    EndSidecars,
    /// SIGCONT to every process of the pod.
    Proceed,
    /// SIGKILL to every process of the pod.
    Kill,
    /// Nothing more will happen: clean up and report Ended.
    Finish,
}

/// The life of one generation, from held to ended.
#[derive(Debug)]
pub(super) struct Life {
    phase: Phase,
    ladder: Ladder,
    lease: Option<Instant>,
    lease_lapsed: bool,
    /// The worker is gone: when the pod is stopped for that, and with which grace.
    orphan: Option<(Instant, Duration)>,
    /// How long sidecars have to end once the ranks have.
    sidecar_grace: Duration,
}

impl Life {
    /// A generation whose ranks are held.
    pub(super) fn held(now: Instant, lease: Option<Duration>, sidecar_grace: Duration) -> Life {
        Life {
            phase: Phase::Held,
            ladder: Ladder::default(),
            lease: lease.and_then(|lease| now.checked_add(lease)),
            lease_lapsed: false,
            orphan: None,
            sidecar_grace,
        }
    }

    /// Takes a Go order; false if there is nothing to release.
    pub(super) fn go(&mut self, now: Instant) -> bool {
        let fine = self.phase == Phase::Held && !self.ladder.is_stopping();
        if fine {
            self.phase = Phase::Released { patience: Some(now + EXEC_PATIENCE) };
        }
        fine
    }

    /// Every rank has executed its program or failed to.
    pub(super) fn execs_done(&mut self) {
        if matches!(self.phase, Phase::Released { .. }) {
            self.phase = Phase::Started;
        }
    }

    /// Exits may be reported: Started comes first, unless an exec hangs.
    pub(super) fn may_report_exits(&self) -> bool {
        !matches!(self.phase, Phase::Released { patience: Some(_) })
    }

    /// Takes a stop order. It ends a suspension: a pod that stands still cannot stop by itself, and
    /// whoever could have resumed it may be gone.
    pub(super) fn stop(&mut self, now: Instant, grace: Duration) -> Option<Act> {
        let was_suspended = self.ladder.is_suspended();
        self.ladder.resume(now);
        match self.ladder.stop(now, grace) {
            Step::Nothing => was_suspended.then_some(Act::Proceed),
            Step::Terminate => Some(Act::Terminate),
            Step::Kill => self.kill(now),
        }
    }

    /// The worker is gone. What runs goes on for `limit`; what nobody can release any more does not.
    pub(super) fn orphan(&mut self, now: Instant, limit: Duration, grace: Duration) -> Option<Act> {
        if limit.is_zero() || self.is_held() {
            return self.stop(now, grace);
        }
        self.orphan = now.checked_add(limit).map(|at| (at, grace));
        None
    }

    /// A rank got the stop signal after its preStop hook.
    pub(super) fn signalled(&mut self, now: Instant) {
        self.ladder.at_least(now + AFTER_HOOK);
    }

    fn kill(&mut self, now: Instant) -> Option<Act> {
        match self.phase {
            Phase::Killing { .. } | Phase::Draining { .. } | Phase::Ended => None,
            _ => {
                self.phase = Phase::Killing { give_up: now + GIVE_UP, again: now + ROUND };
                Some(Act::Kill)
            }
        }
    }

    /// Freezes every deadline of a stop; false if the pod is already suspended or dying.
    pub(super) fn suspend(&mut self, now: Instant) -> bool {
        let fine = matches!(self.phase, Phase::Held | Phase::Released { .. } | Phase::Started)
            && !self.ladder.is_killing()
            && !self.ladder.is_suspended();
        if fine {
            self.ladder.suspend(now);
        }
        fine
    }

    pub(super) fn resume(&mut self, now: Instant) {
        self.ladder.resume(now);
    }

    /// The pod may go on until `now + remaining`.
    pub(super) fn renew(&mut self, now: Instant, remaining: Duration) {
        if !self.lease_lapsed {
            self.lease = now.checked_add(remaining);
        }
    }

    /// The next thing to do, to be asked again until there is none.
    pub(super) fn step(&mut self, now: Instant, facts: Facts) -> Option<Act> {
        if self.lease.is_some_and(|lease| now >= lease) && self.is_running() {
            self.lease = None;
            self.lease_lapsed = true;
            // A frozen pod would not hear the stop signal.
            let frozen = self.ladder.is_suspended();
            let grace = if frozen { Duration::ZERO } else { defaults::LOCAL_ORPHAN_GRACE };
            if let Some(act) = self.stop(now, grace) {
                return Some(act);
            }
        }
        if let Some((at, grace)) = self.orphan
            && now >= at
            && self.is_running()
        {
            self.orphan = None;
            if let Some(act) = self.stop(now, grace) {
                return Some(act);
            }
        }
        if facts.hooks && self.ladder.is_over(now) {
            self.signalled(now);
            return Some(Act::EndHooks);
        }
        if self.ladder.is_kill_due(now)
            && let Some(act) = self.kill(now)
        {
            return Some(act);
        }
        if let Phase::Released { patience } = &mut self.phase {
            patience.take_if(|until| now >= *until);
        }
        match self.phase {
            Phase::Held | Phase::Released { .. } | Phase::Started => {
                if facts.ranks > 0 {
                    return None;
                }
                if facts.sidecars {
                    let until = now.checked_add(self.sidecar_grace).unwrap_or(now + YEAR);
                    self.phase = Phase::Sidecars { until };
                    return Some(Act::EndSidecars);
                }
                self.linger(now, facts)
            }
            Phase::Sidecars { until } => match facts.sidecars {
                false => self.linger(now, facts),
                true if now >= until => self.kill(now),
                true => None,
            },
            Phase::Lingering { until } => {
                if !facts.children {
                    self.drain(now, facts)
                } else if now >= until {
                    self.kill(now)
                } else {
                    None
                }
            }
            Phase::Killing { give_up, again } => {
                if !facts.children || now >= give_up {
                    self.drain(now, facts)
                } else if now >= again {
                    self.phase = Phase::Killing { give_up, again: now + ROUND };
                    Some(Act::Kill)
                } else {
                    None
                }
            }
            Phase::Draining { until } => {
                if facts.pipes && now < until {
                    return None;
                }
                self.phase = Phase::Ended;
                Some(Act::Finish)
            }
            Phase::Ended => None,
        }
    }

    fn linger(&mut self, now: Instant, facts: Facts) -> Option<Act> {
        self.phase = Phase::Lingering { until: now + LINGER };
        self.step(now, facts)
    }

    fn drain(&mut self, now: Instant, facts: Facts) -> Option<Act> {
        self.phase = Phase::Draining { until: now + DRAIN };
        self.step(now, facts)
    }

    /// When to ask `step` again if nothing else happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let own = match self.phase {
            Phase::Held | Phase::Started | Phase::Ended => None,
            Phase::Released { patience } => patience,
            Phase::Sidecars { until } | Phase::Lingering { until } | Phase::Draining { until } => Some(until),
            Phase::Killing { give_up, again } => Some(again.min(give_up)),
        };
        let orphan = self.orphan.map(|(at, _)| at);
        let while_running = [self.lease, orphan, self.ladder.deadline()].into_iter().flatten();
        own.into_iter().chain(while_running.filter(|_| self.is_running())).min()
    }

    fn is_running(&self) -> bool {
        !matches!(self.phase, Phase::Killing { .. } | Phase::Draining { .. } | Phase::Ended)
    }

    /// It stands still.
    pub(super) fn is_suspended(&self) -> bool {
        self.ladder.is_suspended()
    }

    /// The programs of all ranks run.
    pub(super) fn is_started(&self) -> bool {
        self.phase == Phase::Started
    }

    pub(super) fn is_held(&self) -> bool {
        self.phase == Phase::Held
    }

    /// A stop has been ordered, by whomever: what ends from here on is a consequence.
    pub(super) fn is_stopping(&self) -> bool {
        self.ladder.is_stopping()
    }

    pub(super) fn lease_lapsed(&self) -> bool {
        self.lease_lapsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn facts(ranks: usize, children: bool, pipes: bool) -> Facts {
        Facts { ranks, children, pipes, hooks: false, sidecars: false }
    }

    const ALL: Facts = Facts { ranks: 2, children: true, pipes: true, hooks: false, sidecars: false };
    const NONE: Facts = Facts { ranks: 0, children: false, pipes: false, hooks: false, sidecars: false };

    fn started(now: Instant) -> Life {
        let mut life = Life::held(now, None, 30 * SECOND);
        assert!(life.go(now));
        life.execs_done();
        life
    }

    #[test]
    fn a_pod_whose_ranks_end_without_leaving_anything_ends_in_one_step() {
        let now = Instant::now();
        let mut life = started(now);
        assert_eq!(life.step(now, ALL), None);
        assert_eq!(life.deadline(), None, "nothing to wait for but events");
        assert_eq!(life.step(now, NONE), Some(Act::Finish));
        assert_eq!(life.step(now, NONE), None);
        assert_eq!(life.deadline(), None);
    }

    #[test]
    fn children_left_behind_get_a_moment_and_then_sigkill() {
        let now = Instant::now();
        let mut life = started(now);
        let left = facts(0, true, true);
        assert_eq!(life.step(now, left), None);
        assert_eq!(life.deadline(), Some(now + LINGER));
        assert_eq!(life.step(now + LINGER, left), Some(Act::Kill));
        assert_eq!(life.step(now + LINGER, left), None, "one round at a time");
        assert_eq!(life.step(now + LINGER + ROUND, left), Some(Act::Kill));
        assert_eq!(life.step(now + LINGER + ROUND, NONE), Some(Act::Finish));
    }

    #[test]
    fn what_cannot_be_killed_is_given_up_after_a_bound_and_so_are_its_pipes() {
        let now = Instant::now();
        let mut life = started(now);
        assert_eq!(life.stop(now, Duration::ZERO), Some(Act::Kill));
        let mut at = now;
        let mut rounds = 0;
        while let Some(deadline) = life.deadline() {
            at = deadline;
            match life.step(at, ALL) {
                Some(Act::Kill) => rounds += 1,
                Some(Act::Finish) => break,
                other => assert_eq!(other, None),
            }
        }
        assert!(rounds > 100, "{rounds}");
        assert_eq!(at, now + GIVE_UP + DRAIN);
    }

    #[test]
    fn every_way_of_stopping_ends_in_sigkill_whatever_the_order() {
        let now = Instant::now();
        let mut life = started(now);
        assert_eq!(life.stop(now, 3 * SECOND), Some(Act::Terminate));
        assert!(life.is_stopping());
        assert!(life.suspend(now + SECOND));
        assert_eq!(life.step(now + 100 * SECOND, ALL), None, "suspended");
        let late = now + 100 * SECOND;
        assert_eq!(life.stop(late, SECOND), Some(Act::Proceed), "a stop lifts the suspension");
        assert_eq!(life.deadline(), Some(late + SECOND));
        assert_eq!(life.step(late + SECOND, ALL), Some(Act::Kill));
        assert!(!life.suspend(late + SECOND), "a dying pod is not suspended");
    }

    #[test]
    fn a_hook_that_takes_all_of_the_grace_leaves_its_rank_a_moment() {
        let now = Instant::now();
        let hooked = Facts { hooks: true, ..ALL };
        let mut life = started(now);
        assert_eq!(life.stop(now, 3 * SECOND), Some(Act::Terminate));
        assert_eq!(life.step(now + 2 * SECOND, hooked), None);
        assert_eq!(life.step(now + 3 * SECOND, hooked), Some(Act::EndHooks));
        assert_eq!(life.step(now + 3 * SECOND, ALL), None);
        assert_eq!(life.step(now + 3 * SECOND + AFTER_HOOK, ALL), Some(Act::Kill));
        let mut life = started(now);
        life.stop(now, 3 * SECOND);
        life.signalled(now + 2 * SECOND);
        assert_eq!(life.deadline(), Some(now + 2 * SECOND + AFTER_HOOK), "its hook was done late");
        assert_eq!(life.stop(now + 2 * SECOND, Duration::ZERO), Some(Act::Kill), "who cannot wait need not");
    }

    #[test]
    fn sidecars_have_their_time_once_no_rank_is_left() {
        let now = Instant::now();
        let left = Facts { ranks: 0, sidecars: true, ..ALL };
        let mut life = started(now);
        assert_eq!(life.step(now, Facts { sidecars: true, ..ALL }), None);
        assert_eq!(life.step(now, left), Some(Act::EndSidecars));
        assert_eq!((life.step(now, left), life.deadline()), (None, Some(now + 30 * SECOND)));
        assert_eq!(life.step(now + SECOND, NONE), Some(Act::Finish));
        let mut life = started(now);
        life.step(now, left);
        assert_eq!(life.step(now + 30 * SECOND, left), Some(Act::Kill), "one that does not end is killed");
        let mut life = started(now);
        life.stop(now, 5 * SECOND);
        life.step(now + 4 * SECOND, left);
        assert_eq!(
            life.step(now + 5 * SECOND, left),
            Some(Act::Kill),
            "a stop's grace is for all of the pod"
        );
    }

    #[test]
    fn a_lapsed_lease_stops_a_pod_and_kills_one_that_is_suspended() {
        let now = Instant::now();
        let mut life = Life::held(now, Some(10 * SECOND), 30 * SECOND);
        assert!(life.suspend(now));
        assert_eq!(life.step(now + 10 * SECOND, ALL), Some(Act::Kill));
        let mut life = Life::held(now, Some(10 * SECOND), 30 * SECOND);
        assert_eq!(life.deadline(), Some(now + 10 * SECOND));
        life.renew(now + 5 * SECOND, 10 * SECOND);
        assert!(life.go(now));
        assert_eq!(life.step(now + 14 * SECOND, ALL), None);
        assert_eq!(life.step(now + 15 * SECOND, ALL), Some(Act::Terminate));
        assert!(life.lease_lapsed());
        life.renew(now + 15 * SECOND, 100 * SECOND);
        let kill_at = now + 15 * SECOND + defaults::LOCAL_ORPHAN_GRACE;
        assert_eq!(life.deadline(), Some(kill_at), "a lapsed lease is not renewed");
        assert_eq!(life.step(kill_at, ALL), Some(Act::Kill));
    }

    #[test]
    fn without_a_worker_a_running_pod_goes_on_for_the_limit_and_a_held_one_does_not() {
        let now = Instant::now();
        let mut life = started(now);
        assert_eq!(life.orphan(now, 60 * SECOND, 5 * SECOND), None);
        assert_eq!(life.deadline(), Some(now + 60 * SECOND));
        assert_eq!(life.step(now + 59 * SECOND, ALL), None);
        assert_eq!(life.step(now + 60 * SECOND, ALL), Some(Act::Terminate));
        assert!(life.is_stopping());
        assert_eq!(life.deadline(), Some(now + 65 * SECOND));
        assert_eq!(life.step(now + 65 * SECOND, ALL), Some(Act::Kill));
        let mut life = started(now);
        life.orphan(now, 60 * SECOND, SECOND);
        assert_eq!(life.step(now + SECOND, NONE), Some(Act::Finish), "ranks may end before");
        assert_eq!(life.deadline(), None);
        let mut life = Life::held(now, None, 30 * SECOND);
        assert_eq!(life.orphan(now, 60 * SECOND, SECOND), Some(Act::Terminate), "nobody releases it");
        assert_eq!(started(now).orphan(now, Duration::ZERO, SECOND), Some(Act::Terminate));
    }

    #[test]
    fn without_a_worker_an_earlier_end_of_the_lease_or_of_a_stop_holds() {
        let now = Instant::now();
        let mut life = started(now);
        life.renew(now, 10 * SECOND);
        life.orphan(now, 60 * SECOND, 30 * SECOND);
        assert_eq!(life.step(now + 10 * SECOND, ALL), Some(Act::Terminate));
        assert!(life.lease_lapsed());
        assert_eq!(life.deadline(), Some(now + 10 * SECOND + defaults::LOCAL_ORPHAN_GRACE));
        let mut life = started(now);
        life.stop(now, 70 * SECOND);
        life.orphan(now, 60 * SECOND, 5 * SECOND);
        assert_eq!(life.step(now + 60 * SECOND, ALL), None, "the stop signal is out");
        assert_eq!(life.deadline(), Some(now + 65 * SECOND));
        let mut life = started(now);
        assert!(life.suspend(now));
        life.orphan(now, 60 * SECOND, 5 * SECOND);
        assert_eq!(life.step(now + 60 * SECOND, ALL), Some(Act::Terminate), "a suspension ends with it");
    }

    #[test]
    fn exits_wait_for_started_but_not_for_ever() {
        let now = Instant::now();
        let mut life = Life::held(now, None, 30 * SECOND);
        assert!(life.may_report_exits(), "a held rank that dies is told at once");
        life.go(now);
        assert!(!life.may_report_exits());
        assert_eq!(life.deadline(), Some(now + EXEC_PATIENCE));
        life.step(now + EXEC_PATIENCE, ALL);
        assert!(life.may_report_exits());
        assert_eq!(life.deadline(), None, "and does not spin");
    }

    #[test]
    fn there_is_one_go_and_none_after_a_stop() {
        let now = Instant::now();
        let mut life = Life::held(now, None, 30 * SECOND);
        assert!(life.go(now));
        assert!(!life.go(now));
        let mut life = Life::held(now, None, 30 * SECOND);
        life.stop(now, SECOND);
        assert!(!life.go(now));
    }
}
