//! Deadlines, each with what it waits for; at most one per reason.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use phalanx_common::id::JobId;
use phalanx_common::time::Timestamp;

use crate::input::Why;

#[derive(Clone, Debug, Default)]
pub(crate) struct Timers {
    by_why: BTreeMap<Why, Timestamp>,
    by_time: BTreeSet<(Timestamp, Why)>,
    /// What was left of the deadlines of suspended jobs.
    frozen: BTreeMap<Why, Duration>,
}

impl Timers {
    pub(crate) fn set(&mut self, why: Why, at: Timestamp) {
        self.cancel(&why);
        self.by_time.insert((at, why.clone()));
        self.by_why.insert(why, at);
    }

    /// Sets the deadline of a job that may be suspended: then it begins to run at [`Timers::thaw`].
    pub(crate) fn set_unless_frozen(&mut self, why: Why, now: Timestamp, after: Duration, frozen: bool) {
        if frozen {
            self.cancel(&why);
            self.frozen.insert(why, after);
        } else {
            self.set(why, now + after);
        }
    }

    pub(crate) fn cancel(&mut self, why: &Why) {
        self.frozen.remove(why);
        if let Some(at) = self.by_why.remove(why) {
            self.by_time.remove(&(at, why.clone()));
        }
    }

    /// Whether this deadline is set, running or frozen.
    pub(crate) fn is_set(&self, why: &Why) -> bool {
        self.by_why.contains_key(why) || self.frozen.contains_key(why)
    }

    /// When this deadline is, if it runs.
    pub(crate) fn at(&self, why: &Why) -> Option<Timestamp> {
        self.by_why.get(why).copied()
    }

    /// How long this deadline is away yet, running or frozen.
    pub(crate) fn left(&self, why: &Why, now: Timestamp) -> Option<Duration> {
        self.frozen.get(why).copied().or_else(|| Some(self.at(why)?.since(now)))
    }

    pub(crate) fn next(&self) -> Option<&(Timestamp, Why)> {
        self.by_time.first()
    }

    /// Takes the first deadline that is due.
    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<Why> {
        let (at, why) = self.by_time.first()?.clone();
        if at > now {
            return None;
        }
        self.cancel(&why);
        Some(why)
    }

    pub(crate) fn freeze(&mut self, job: &JobId, now: Timestamp) {
        for why in of_job(job) {
            if let Some(at) = self.by_why.get(&why).copied() {
                self.cancel(&why);
                self.frozen.insert(why, at.since(now));
            }
        }
    }

    pub(crate) fn thaw(&mut self, job: &JobId, now: Timestamp) {
        for why in of_job(job) {
            if let Some(left) = self.frozen.remove(&why) {
                self.set(why, now + left);
            }
        }
    }

    /// Re-anchors every running deadline after a clock jump.
    pub(crate) fn shift(&mut self, by_micros: i64) {
        self.by_time.clear();
        for (why, at) in &mut self.by_why {
            *at = shifted(*at, by_micros);
            self.by_time.insert((*at, why.clone()));
        }
    }
}

/// The deadlines that stand still while their job is suspended.
fn of_job(job: &JobId) -> [Why; 3] {
    [Why::Start { job: job.clone() }, Why::Backoff { job: job.clone() }, Why::Deadline { job: job.clone() }]
}

pub(crate) fn shifted(at: Timestamp, by_micros: i64) -> Timestamp {
    Timestamp(at.0.saturating_add_signed(by_micros))
}
