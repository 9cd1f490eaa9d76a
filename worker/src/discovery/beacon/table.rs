//! Which beacons are heard, and until when.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use phalanx_common::defaults::{BEACON_KEY_EVERY, BEACONS_TOLD};
use phalanx_common::wire::topology_v1::Heard;

use super::packet::Beacon;

/// A broadcast domain of that many ports is a mistake that no table should grow with.
const MOST: usize = 65_536;

/// A port that is new, or whose worker is, sends beacons at this distance or less.
const QUICK: Duration = Duration::from_millis(666);
/// An answer may follow a beacon as quickly; two do not.
const BURST: u32 = 2;

/// Ports to each side, in a large domain.
const BESIDE: usize = BEACONS_TOLD / 2;
/// A beacon counts for as long as its key does, which is the newest or the one before.
const REPEATED_WITHIN: Duration = BEACON_KEY_EVERY.saturating_mul(2);
/// Lives of a port's worker that are told apart. One that begins again and again, with a clock that is set back each
/// time, is heard again once its old beacons count no more.
const SESSIONS: usize = 8;

/// What this node's ports hear.
#[derive(Debug)]
pub struct Table {
    lost_after: Duration,
    heard: BTreeMap<Heard, Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    last: Instant,
    sessions: Sessions,
    /// How many in a row came quickly.
    quick: u32,
    /// Not heard any more; its sequences are kept, so that no stranger's repetition revives it.
    gone: bool,
}

/// What a port sent so far, by the lives of its worker: what was heard in none of them is no repetition.
#[derive(Clone, Debug, Default)]
struct Sessions {
    /// Each with the highest sequence that was heard; those heard first are first.
    known: Vec<(u64, u64)>,
    /// The highest of those that are not kept.
    dropped: u64,
}

/// What a beacon is to its port's sessions.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Repeated,
    Next,
    /// The first of a session.
    Begun,
}

impl Sessions {
    fn take(&mut self, session: u64, sequence: u64) -> Turn {
        if let Some((_, heard)) = self.known.iter_mut().find(|(known, _)| *known == session) {
            let is_new = sequence > *heard;
            *heard = sequence.max(*heard);
            return if is_new { Turn::Next } else { Turn::Repeated };
        }
        // It may be of a session that is not kept.
        if sequence <= self.dropped {
            return Turn::Repeated;
        }
        if self.known.len() >= SESSIONS {
            self.dropped = self.dropped.max(self.known.remove(0).1);
        }
        self.known.push((session, sequence));
        Turn::Begun
    }
}

/// What a beacon says beyond that its sender is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    Nothing,
    /// Its sender was not heard before.
    New,
    /// Its sender was, and begins anew: it may hear nobody yet. Once in a burst.
    Burst,
}

impl Table {
    pub fn new(lost_after: Duration) -> Table {
        Table { lost_after, heard: BTreeMap::new() }
    }

    /// A beacon came to this interface. One that was sent before the last of its session is a stranger's repetition, and
    /// says nothing.
    pub fn note(&mut self, now: Instant, interface: &str, beacon: Beacon) -> News {
        let Beacon { node, interface: by, session, sequence } = beacon;
        let heard = Heard { interface: interface.to_owned(), node, by };
        let full = self.heard.len() >= MOST;
        match self.heard.get_mut(&heard) {
            Some(entry) => {
                let turn = entry.sessions.take(session, sequence);
                if turn == Turn::Repeated {
                    return News::Nothing;
                }
                let is_quick = now.saturating_duration_since(entry.last) < QUICK;
                (entry.last, entry.quick) = match turn {
                    // The first of a burst, as it is of one that was not heard before.
                    Turn::Begun => (now, BURST),
                    _ if is_quick => (now, entry.quick.saturating_add(1)),
                    _ => (now, 0),
                };
                match entry.quick {
                    _ if std::mem::take(&mut entry.gone) => News::New,
                    BURST => News::Burst,
                    _ => News::Nothing,
                }
            }
            None if full => News::Nothing,
            None => {
                let mut sessions = Sessions::default();
                sessions.take(session, sequence);
                // The first of a burst of its own, which is answered as what is new.
                self.heard.insert(heard, Entry { last: now, sessions, quick: BURST, gone: false });
                News::New
            }
        }
    }

    /// Forgets what was not heard for too long. True if that was anything.
    pub fn expire(&mut self, now: Instant) -> bool {
        let lost_after = self.lost_after;
        let changed = self.take_leave(|_, entry| now.saturating_duration_since(entry.last) >= lost_after);
        let full = self.heard.len() >= MOST;
        let counts = |entry: &Entry| now.saturating_duration_since(entry.last) < REPEATED_WITHIN && !full;
        self.heard.retain(|_, entry| !entry.gone || counts(entry));
        changed
    }

    /// Its cable leads elsewhere, or nowhere. True if anything was heard there.
    pub fn forget(&mut self, interface: &str) -> bool {
        self.take_leave(|heard, _| heard.interface == interface)
    }

    fn take_leave(&mut self, leaves: impl Fn(&Heard, &Entry) -> bool) -> bool {
        let mut changed = false;
        for (heard, entry) in self.heard.iter_mut().filter(|(_, entry)| !entry.gone) {
            entry.gone = leaves(heard, entry);
            changed |= entry.gone;
        }
        changed
    }

    /// What to tell of it: all, or of an interface in a large domain the ports next to this one, in the circle
    /// of all by name. Whoever is next to us has us next to it, so that the domain still hangs together.
    pub fn heard(&self, own: &str) -> Vec<Heard> {
        let mut told = Vec::new();
        let heard: Vec<&Heard> =
            self.heard.iter().filter(|(_, entry)| !entry.gone).map(|(heard, _)| heard).collect();
        for heard in heard.chunk_by(|a, b| a.interface == b.interface) {
            if heard.len() <= BEACONS_TOLD {
                told.extend(heard.iter().copied().cloned());
                continue;
            }
            // In the order of their ports; those of this node itself are among them.
            let interface = heard.first().map_or("", |first| first.interface.as_str());
            let after =
                heard.partition_point(|heard| (heard.node.as_str(), heard.by.as_str()) < (own, interface));
            let first = after + heard.len() - BESIDE;
            let beside = (first..first + BEACONS_TOLD).map(|at| heard[at % heard.len()].clone());
            told.extend(beside);
        }
        told.sort();
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beacon(sequence: u64) -> Beacon {
        begun(1, sequence)
    }

    fn begun(session: u64, sequence: u64) -> Beacon {
        Beacon { node: "n1".to_owned(), interface: "eth9".to_owned(), session, sequence }
    }

    #[test]
    fn a_worker_that_begins_anew_with_its_clock_set_back_is_heard_and_no_old_beacon_revives_it() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut table = Table::new(Duration::from_secs(10));
        assert_eq!(table.note(start, "eth0", begun(1, 1_000)), News::New);
        assert_eq!(table.note(after(5), "eth0", begun(2, 10)), News::Burst, "it begins anew");
        assert_eq!(table.note(after(12), "eth0", begun(2, 11)), News::Nothing);
        assert!(!table.expire(after(16)), "it was heard at 12");
        for (session, sequence) in [(1, 1_000), (1, 999), (2, 11)] {
            assert_eq!(table.note(after(20), "eth0", begun(session, sequence)), News::Nothing);
        }
        assert!(table.expire(after(22)), "what was sent before is not hearing");
        assert_eq!(table.note(after(23), "eth0", begun(1, 1_000)), News::Nothing);
        assert!(table.heard("n0").is_empty());
        assert_eq!(table.note(after(24), "eth0", begun(3, 5)), News::New);

        // However often it begins, what is kept of it has a bound, and what is not kept revives nothing.
        for session in 4..100 {
            table.note(after(25), "eth0", begun(session, session));
        }
        table.expire(after(40));
        for (session, sequence) in [(1, 1_000), (2, 11), (3, 5), (50, 50), (99, 99)] {
            assert_eq!(table.note(after(41), "eth0", begun(session, sequence)), News::Nothing, "{session}");
        }
        assert!(table.heard.values().all(|entry| entry.sessions.known.len() <= SESSIONS));
        assert_eq!(table.note(after(42), "eth0", begun(100, 1_001)), News::New);
    }

    #[test]
    fn what_is_not_heard_again_in_time_is_forgotten_and_a_repetition_is_not_hearing() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut table = Table::new(Duration::from_secs(10));
        assert_eq!(table.note(start, "eth0", beacon(1)), News::New);
        assert_eq!(table.note(after(5), "eth0", beacon(2)), News::Nothing);
        assert!(!table.expire(after(14)));
        assert_eq!(table.note(after(14), "eth0", beacon(2)), News::Nothing, "the same again");
        assert!(table.expire(after(15)));
        assert!(table.heard("n0").is_empty());
        assert_eq!(table.note(after(16), "eth0", beacon(2)), News::Nothing, "the same again, later");
        assert!(table.heard("n0").is_empty());
        assert_eq!(table.note(after(17), "eth0", beacon(3)), News::New);
        assert_eq!(table.heard("n0").len(), 1);
        table.expire(after(27));
        assert!(!table.expire(after(17) + REPEATED_WITHIN));
        assert_eq!(table.heard.len(), 0, "no key is as old as that");
    }

    #[test]
    fn whoever_begins_anew_is_told_once_from_those_that_answer_somebody() {
        let start = Instant::now();
        let mut table = Table::new(Duration::from_secs(1000));
        let mut said =
            |millis: u64| table.note(start + Duration::from_millis(millis), "eth0", beacon(millis + 1));
        // New, in a burst; then in peace, with an answer close to it; then again in a burst.
        assert_eq!(
            [0, 333, 666, 999].map(&mut said),
            [News::New, News::Nothing, News::Nothing, News::Nothing]
        );
        assert_eq!([30_000, 30_400, 60_000].map(&mut said), [News::Nothing; 3]);
        let burst = [90_000, 90_333, 90_666, 90_999, 91_332].map(&mut said);
        assert_eq!(burst, [News::Nothing, News::Nothing, News::Burst, News::Nothing, News::Nothing]);
    }

    #[test]
    fn an_interface_whose_cable_moved_hears_nothing_yet() {
        let start = Instant::now();
        let mut table = Table::new(Duration::from_secs(10));
        table.note(start, "eth0", beacon(1));
        table.note(start, "eth1", beacon(1));
        assert!(table.forget("eth0"));
        assert!(!table.forget("eth0"));
        let left = Heard { interface: "eth1".to_owned(), node: "n1".to_owned(), by: "eth9".to_owned() };
        assert_eq!(table.heard("n0"), [left]);
    }

    fn name(number: usize) -> String {
        format!("n{number:04}")
    }

    /// What each of 200 nodes tells whose ports all send, by the number of the node; `hears` says who hears whom.
    fn told(hears: impl Fn(usize, usize) -> bool) -> Vec<Vec<usize>> {
        let now = Instant::now();
        let told = |own: usize| {
            let mut table = Table::new(Duration::from_secs(10));
            for node in (0..200).filter(|node| *node != own && hears(own, *node)).map(name) {
                table.note(
                    now,
                    "eth0",
                    Beacon { node, interface: "eth0".to_owned(), session: 1, sequence: 1 },
                );
            }
            table.heard(&name(own)).iter().map(|heard| heard.node[1..].parse().unwrap()).collect()
        };
        (0..200).map(told).collect()
    }

    #[test]
    fn in_a_large_domain_those_that_are_told_tell_of_us_too() {
        let told = told(|_, _| true);
        for (own, heard) in told.iter().enumerate() {
            assert_eq!(heard.len(), BEACONS_TOLD);
            for other in heard {
                assert!(told[*other].contains(&own), "{own} and {other}");
            }
        }
    }

    #[test]
    fn whom_a_whole_list_lacks_is_not_heard_and_one_port_that_is_half_deaf_does_not_disturb_the_others() {
        let (deaf, its) = (100, [3, 101, 150]);
        let hears = |own, other| own != deaf || its.contains(&other);
        let told = told(hears);
        assert_eq!(told[deaf], its);
        for (own, heard) in told.iter().enumerate() {
            for other in heard.iter().filter(|other| !told[**other].contains(&own)) {
                let is_part = told[*other].len() >= BEACONS_TOLD;
                assert!(is_part || !hears(*other, own), "{own} and {other}");
                assert!(own == deaf || *other == deaf, "{own} and {other}");
            }
        }
        let lack = |own: &usize| told[*own].contains(&deaf) && !its.contains(own);
        assert_eq!((0..200).filter(lack).count(), BEACONS_TOLD - 1, "those next to it that it does not hear");
    }
}
