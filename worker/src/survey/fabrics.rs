//! When an InfiniBand fabric is walked, and which of several.
//!
//! A walk sends a packet to every switch there is, so there is one at a time, and none of a subnet within
//! [`WALK_EVERY`] of the last one's end. What the last one found is kept: a coordinator that asks anew is told that.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::discovery::fabric::Gate;

/// Between two walks of one subnet. Cables are moved by hand.
const WALK_EVERY: Duration = Duration::from_secs(300);
/// A walk that fails is tried again after [`WALK_EVERY`], then after twice that, and so on up to this.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// A host has a few cards; what is asked beyond this is not walked.
const MOST: usize = 16;

/// The subnets whose fabric is or was wanted.
#[derive(Debug, Default)]
pub(super) struct Fabrics {
    subnets: BTreeMap<u64, Subnet>,
}

#[derive(Debug)]
struct Subnet {
    /// By the coordinator at the other end of the link there is.
    wanted: bool,
    /// When it may be walked next.
    due: Instant,
    /// Walks in a row that failed.
    failed: u32,
    /// As it was walked last.
    dump: Option<Vec<u8>>,
    /// What was said of the last walk that failed.
    said: String,
}

impl Fabrics {
    /// Another coordinator wants nothing yet.
    pub(super) fn unwanted(&mut self) {
        self.subnets.values_mut().for_each(|subnet| subnet.wanted = false);
    }

    /// The coordinator wants this subnet's fabric. What is known of it by now, if anything.
    pub(super) fn want(&mut self, now: Instant, subnet: u64) -> Option<Vec<u8>> {
        if self.subnets.len() >= MOST && !self.subnets.contains_key(&subnet) {
            return None;
        }
        let new = Subnet { wanted: true, due: now, failed: 0, dump: None, said: String::new() };
        let known = self.subnets.entry(subnet).or_insert(new);
        known.wanted = true;
        known.dump.clone()
    }

    /// Who is walked by now: of those with a gate the one that waits longest.
    pub(super) fn next(&self, now: Instant, gates: &BTreeMap<u64, Gate>) -> Option<(u64, Gate)> {
        let due = self.subnets.iter().filter(|(_, subnet)| subnet.wanted && subnet.due <= now);
        let walkable = due.filter_map(|(number, subnet)| Some((subnet.due, *number, gates.get(number)?)));
        let (_, number, gate) = walkable.min_by_key(|(due, number, _)| (*due, *number))?;
        Some((number, gate.clone()))
    }

    /// A walk ended well. True if what it found is to be told.
    pub(super) fn walked(&mut self, now: Instant, number: u64, dump: &[u8]) -> bool {
        let Some(subnet) = self.subnets.get_mut(&number) else { return false };
        (subnet.due, subnet.failed) = (now + WALK_EVERY, 0);
        subnet.said.clear();
        let same = subnet.dump.as_ref().is_some_and(|before| lines(before).eq(lines(dump)));
        if same {
            return false;
        }
        subnet.dump = Some(dump.to_vec());
        subnet.wanted
    }

    /// A walk failed. True if that was not said yet.
    pub(super) fn failed(&mut self, now: Instant, number: u64, why: String) -> bool {
        let Some(subnet) = self.subnets.get_mut(&number) else { return false };
        let times = 2u32.saturating_pow(subnet.failed);
        subnet.due = now + WALK_EVERY.saturating_mul(times).min(LONGEST_WAIT);
        subnet.failed = subnet.failed.saturating_add(1);
        std::mem::replace(&mut subnet.said, why) != subnet.said
    }
}

/// What a dump says; its comments say when it was made.
fn lines(dump: &[u8]) -> impl Iterator<Item = &[u8]> {
    dump.split(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"#"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gates(subnets: &[u64]) -> BTreeMap<u64, Gate> {
        let gate = |subnet: &u64| (*subnet, Gate { device: format!("mlx5_{subnet}"), port: 1 });
        subnets.iter().map(gate).collect()
    }

    fn next(fabrics: &Fabrics, now: Instant) -> Option<u64> {
        fabrics.next(now, &gates(&[1, 2])).map(|(subnet, _)| subnet)
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_subnet_has_its_turn_and_then_none_for_a_while() {
        let start = Instant::now();
        let mut fabrics = Fabrics::default();
        assert_eq!(next(&fabrics, start), None, "nobody wants any");
        for subnet in [2, 1, 3] {
            assert_eq!(fabrics.want(start, subnet), None);
        }
        assert_eq!(next(&fabrics, start), Some(1));
        assert!(fabrics.walked(start, 1, b"a"));
        assert_eq!(next(&fabrics, start), Some(2));
        assert!(fabrics.walked(start + SECOND, 2, b"b"));
        assert_eq!(next(&fabrics, start + WALK_EVERY - SECOND), None, "the third has no gate");
        assert_eq!(next(&fabrics, start + WALK_EVERY), Some(1));
        fabrics.unwanted();
        assert_eq!(next(&fabrics, start + WALK_EVERY), None);
    }

    #[test]
    fn a_dump_that_differs_in_its_date_alone_is_told_once_and_to_whoever_asks_anew() {
        let now = Instant::now();
        let mut fabrics = Fabrics::default();
        fabrics.want(now, 1);
        let first = b"#\n# Topology file: generated on Mon\nvendid=0x2c9\n";
        assert!(fabrics.walked(now, 1, first));
        assert!(!fabrics.walked(now, 1, b"#\n# Topology file: generated on Tue\nvendid=0x2c9\n"));
        assert!(fabrics.walked(now, 1, b"#\n# Topology file: generated on Tue\nvendid=0x2ca\n"));
        assert!(fabrics.walked(now, 1, first));
        fabrics.unwanted();
        assert!(!fabrics.walked(now, 1, b"another"), "nobody is there to be told");
        assert_eq!(fabrics.want(now, 1).as_deref(), Some(&b"another"[..]));
        assert_eq!(next(&fabrics, now), None, "asking does not make it walk sooner");
    }

    #[test]
    fn a_walk_that_fails_is_tried_less_and_less_and_said_once() {
        let mut now = Instant::now();
        let mut fabrics = Fabrics::default();
        fabrics.want(now, 1);
        for (times, minutes) in (0..).zip([5, 10, 20, 40, 60, 60]) {
            assert_eq!(next(&fabrics, now), Some(1));
            assert_eq!(fabrics.failed(now, 1, "it is broken".to_owned()), times == 0);
            let due = now + SECOND * 60 * minutes;
            assert_eq!(next(&fabrics, due - SECOND), None);
            now = due;
        }
        assert!(fabrics.failed(now, 1, "it is broken otherwise".to_owned()));
        fabrics.walked(now, 1, b"");
        assert!(fabrics.failed(now, 1, "it is broken otherwise".to_owned()), "it worked in between");
        assert_eq!(next(&fabrics, now + WALK_EVERY), Some(1));
    }
}
