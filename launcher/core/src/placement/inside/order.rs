//! Which device of a pod is whose.
//!
//! LOCAL_RANK rises with the PCI order of devices. Another order is taken only where that one is worse: where another
//! gives ranks of several devices a faster slowest pair, or where neighbours in rank order (the last and the first are
//! neighbours, too) can all have links while some of PCI order have not. Of the orders that are as good the first in
//! PCI order is taken.

use super::model::{NodeModel, rows_of};

/// Steps of the search for another order; PCI order where it takes more.
const BOUND: u32 = 1 << 14;

/// The devices of a set in LOCAL_RANK order; each rank has `each` of them in a row.
pub(super) fn split(model: &NodeModel, set: u64, each: usize) -> Vec<u8> {
    let by_pci: Vec<u8> = rows_of(set).map(|row| row as u8).collect();
    let mut speeds: Vec<u32> = Vec::new();
    for (at, a) in by_pci.iter().enumerate() {
        speeds.extend(by_pci[at + 1..].iter().map(|b| model.mb_per_s(usize::from(*a), usize::from(*b))));
    }
    speeds.sort_unstable_by(|a, b| b.cmp(a));
    speeds.dedup();
    // All pairs are alike, as with NVSwitches: every order is as good.
    if speeds.len() < 2 {
        return by_pci;
    }
    let ring = can_ring(model, set, by_pci.len());
    let floors: &[u32] = if each > 1 { &speeds } else { &[0] };
    for floor in floors {
        for ring in [true, false].into_iter().filter(|wanted| ring || !wanted) {
            let mut search =
                Search { model, devices: &by_pci, each, floor: *floor, ring, order: Vec::new(), steps: 0 };
            if search.descend(0) {
                return search.order;
            }
        }
    }
    by_pci
}

/// Whether each device has enough links to others of the set to stand between two of them.
fn can_ring(model: &NodeModel, set: u64, count: usize) -> bool {
    let least = if count == 2 { 1 } else { 2 };
    rows_of(set).all(|row| (model.linked(row) & set).count_ones() >= least)
}

struct Search<'a> {
    model: &'a NodeModel,
    devices: &'a [u8],
    each: usize,
    /// MB/s that pairs within a rank have at least.
    floor: u32,
    /// Whether neighbours must have links.
    ring: bool,
    order: Vec<u8>,
    steps: u32,
}

impl Search<'_> {
    fn descend(&mut self, taken: u64) -> bool {
        if self.order.len() == self.devices.len() {
            let ends = self.order.first().zip(self.order.last());
            return !self.ring || ends.is_none_or(|(first, last)| self.linked(*last, *first));
        }
        for device in self.devices {
            self.steps += 1;
            if self.steps > BOUND {
                return false;
            }
            if taken >> device & 1 == 1 || !self.may_follow(*device) {
                continue;
            }
            self.order.push(*device);
            if self.descend(taken | 1 << device) {
                return true;
            }
            self.order.pop();
            // A ring may begin anywhere, so it begins with the first device.
            if self.order.is_empty() && self.ring && self.each == 1 {
                return false;
            }
        }
        false
    }

    fn may_follow(&self, device: u8) -> bool {
        let of_rank = self.order.len() / self.each * self.each;
        let fast = |other: &u8| self.model.mb_per_s(usize::from(*other), usize::from(device)) >= self.floor;
        let last = self.order.last();
        self.order[of_rank..].iter().all(fast)
            && (!self.ring || last.is_none_or(|last| self.linked(*last, device)))
    }

    fn linked(&self, a: u8, b: u8) -> bool {
        self.model.linked(usize::from(a)) >> b & 1 == 1
    }
}
