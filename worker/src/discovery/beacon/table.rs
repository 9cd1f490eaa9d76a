//! Which beacons are heard, and until when.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use phalanx_common::wire::topology_v1::Heard;

use super::packet::Beacon;

/// A broadcast domain of that many ports is a mistake that no table should grow with.
const MOST: usize = 65_536;

/// A port that is new, or whose worker is, sends beacons at this distance or less.
const QUICK: Duration = Duration::from_millis(666);
/// An answer may follow a beacon as quickly; two do not.
const BURST: u32 = 2;

/// Ports to each side, in a large domain.
const BESIDE: usize = 32;

/// What this node's ports hear.
#[derive(Debug)]
pub struct Table {
    lost_after: Duration,
    heard: BTreeMap<Heard, Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    last: Instant,
    sequence: u64,
    /// How many in a row came quickly.
    quick: u32,
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

    /// A beacon came to this interface. One that was sent before the last is a stranger's repetition, and says
    /// nothing.
    pub fn note(&mut self, now: Instant, interface: &str, beacon: Beacon) -> News {
        let Beacon { node, interface: by, sequence } = beacon;
        let heard = Heard { interface: interface.to_owned(), node, by };
        let full = self.heard.len() >= MOST;
        match self.heard.get_mut(&heard) {
            Some(entry) if sequence > entry.sequence => {
                let is_quick = now.saturating_duration_since(entry.last) < QUICK;
                let quick = if is_quick { entry.quick.saturating_add(1) } else { 0 };
                *entry = Entry { last: now, sequence, quick };
                if quick == BURST { News::Burst } else { News::Nothing }
            }
            Some(_) => News::Nothing,
            None if full => News::Nothing,
            None => {
                // The first of a burst of its own, which is answered as what is new.
                self.heard.insert(heard, Entry { last: now, sequence, quick: BURST });
                News::New
            }
        }
    }

    /// Forgets what was not heard for too long. True if that was anything.
    pub fn expire(&mut self, now: Instant) -> bool {
        let before = self.heard.len();
        let lost_after = self.lost_after;
        self.heard.retain(|_, entry| now.saturating_duration_since(entry.last) < lost_after);
        self.heard.len() != before
    }

    /// Its cable leads elsewhere, or nowhere. True if anything was heard there.
    pub fn forget(&mut self, interface: &str) -> bool {
        let before = self.heard.len();
        self.heard.retain(|heard, _| heard.interface != interface);
        self.heard.len() != before
    }

    /// What to tell of it: all, or of an interface in a large domain the ports next to this one, in the circle
    /// of all by name. Whoever is next to us has us next to it, so that the domain still hangs together.
    pub fn heard(&self, own: &str) -> Vec<Heard> {
        let mut told = Vec::new();
        for heard in self.heard.keys().collect::<Vec<_>>().chunk_by(|a, b| a.interface == b.interface) {
            if heard.len() <= 2 * BESIDE {
                told.extend(heard.iter().copied().cloned());
                continue;
            }
            // In the order of their ports; those of this node itself are among them.
            let interface = heard.first().map_or("", |first| first.interface.as_str());
            let after =
                heard.partition_point(|heard| (heard.node.as_str(), heard.by.as_str()) < (own, interface));
            let first = after + heard.len() - BESIDE;
            let beside = (first..first + 2 * BESIDE).map(|at| heard[at % heard.len()].clone());
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
        Beacon { node: "n1".to_owned(), interface: "eth9".to_owned(), sequence }
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

    #[test]
    fn in_a_large_domain_those_that_are_told_tell_of_us_too() {
        let now = Instant::now();
        let name = |number: usize| format!("n{number:04}");
        let told: Vec<Vec<Heard>> = (0..200)
            .map(|own| {
                let mut table = Table::new(Duration::from_secs(10));
                for node in (0..200).filter(|node| *node != own).map(name) {
                    table.note(now, "eth0", Beacon { node, interface: "eth0".to_owned(), sequence: 1 });
                }
                table.heard(&name(own))
            })
            .collect();
        for (own, heard) in told.iter().enumerate() {
            assert_eq!(heard.len(), 2 * BESIDE);
            for heard in heard {
                let other: usize = heard.node[1..].parse().unwrap();
                assert!(told[other].iter().any(|back| back.node == name(own)), "{own} and {other}");
            }
        }
    }
}
