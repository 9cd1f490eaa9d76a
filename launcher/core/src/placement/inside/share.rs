//! Cores and memory of each rank: disjoint, whole cores, near its devices.

use std::cmp::Reverse;

use super::cores::{Cores, Group};
use super::model::{NodeModel, rows_of};

/// Weight of a device, divided among the groups that it is near to: divisible by most counts of these.
const WEIGHT: u64 = 5040;

/// What each rank is to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// So many cores.
    Cores(u32),
    /// Its devices' part of the free cores near them; these devices (a mask) part them among each other.
    ShareAmong(u64),
}

/// Cores for each rank out of `free`, which has one for each rank, or as many as are wanted.
///
/// First every rank gets what is near to it, and only then those that lack some get what is left elsewhere, so that no
/// rank takes the near cores of another (the overlap of vllm-ascend #8600 is its opposite fault).
///
/// `ports` are groups at which ranks without devices are rather than elsewhere.
pub(super) fn cores(
    model: &NodeModel,
    free: &Cores,
    ranks: &[&[u8]],
    (want, ports): (Want, u64),
) -> Vec<Cores> {
    let mut hand = Hand { model, free: free.clone(), given: vec![Cores::none(model.cores()); ranks.len()] };
    if model.cores() == 0 || want == Want::Cores(0) {
        return hand.given;
    }
    let has_devices = ranks.first().is_some_and(|devices| !devices.is_empty());
    match want {
        Want::Cores(each) if !has_devices => hand.pack(each, ports),
        Want::Cores(each) => hand.near(ranks, each),
        Want::ShareAmong(devices) => hand.share(ranks, devices),
    }
    hand.given
}

struct Hand<'a> {
    model: &'a NodeModel,
    free: Cores,
    given: Vec<Cores>,
}

impl Hand<'_> {
    fn groups(&self) -> &[Group] {
        self.model.groups()
    }

    fn free_in(&self, group: usize) -> u32 {
        self.free.count(self.groups()[group].cores)
    }

    /// Takes from a group: of the caches that have enough the one with least, else whole caches, the fullest first.
    fn take(&mut self, rank: usize, group: usize, mut most: u32) -> u32 {
        let mut taken = 0;
        while most > 0 {
            let caches = self.model.groups()[group].l3.iter().map(|rows| (self.free.count(*rows), *rows));
            let caches = caches.filter(|(free, _)| *free > 0);
            let fits = caches
                .clone()
                .filter(|(free, _)| *free >= most)
                .min_by_key(|(free, rows)| (*free, rows.start));
            let fullest = || caches.max_by_key(|(free, rows)| (*free, Reverse(rows.start)));
            let Some((_, rows)) = fits.or_else(fullest) else { break };
            let now = self.free.give(rows, most, &mut self.given[rank]);
            most -= now;
            taken += now;
        }
        taken
    }

    /// Takes wherever there is some, from what is near to `near` on.
    fn take_anywhere(&mut self, rank: usize, near: u64, mut most: u32) {
        let model = self.model;
        let first = rows_of(near).next().unwrap_or(0);
        let Some(home) = model.groups().get(first) else { return };
        let others =
            home.nearest.iter().map(|group| usize::from(*group)).filter(|group| near >> group & 1 == 0);
        for group in rows_of(near).chain(others) {
            if most == 0 {
                return;
            }
            most -= self.take(rank, group, most);
        }
    }

    fn near(&mut self, ranks: &[&[u8]], each: u32) {
        let weights: Vec<Vec<u64>> = ranks.iter().map(|devices| weights(self.model, devices)).collect();
        for (rank, weights) in weights.iter().enumerate() {
            let all: u64 = weights.iter().sum();
            if all == 0 {
                continue;
            }
            let mut rest = each;
            for (group, weight) in weights.iter().enumerate() {
                let part = u64::from(each) * weight / all;
                rest -= self.take(rank, group, part as u32);
            }
            for (group, _) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0) {
                // What the division left over; a group that is short is made up for in the end.
                let part = rest.min(1);
                rest -= self.take(rank, group, part);
            }
        }
        for (rank, devices) in ranks.iter().enumerate() {
            let missing = each - self.given[rank].len();
            self.take_anywhere(rank, groups(self.model, devices), missing);
        }
    }

    fn share(&mut self, ranks: &[&[u8]], among: u64) {
        let among: Vec<u8> = rows_of(among).map(|row| row as u8).collect();
        let all = weights_everywhere(self.model, &among);
        let mut parts: Vec<Vec<u32>> = Vec::with_capacity(ranks.len());
        for devices in ranks {
            let own = weights_everywhere(self.model, devices);
            let part = |group: usize| match all[group] {
                0 => 0,
                all => (u64::from(self.free_in(group)) * own[group] / all) as u32,
            };
            parts.push((0..self.groups().len()).map(part).collect());
        }
        let total = |part: &Vec<u32>| part.iter().sum::<u32>();
        let empty = parts.iter().filter(|part| total(part) == 0).count() as u32;
        let mut spare = self.free.len().saturating_sub(parts.iter().map(total).sum());
        // Every rank gets a core, if need be from those that have most.
        while spare < empty {
            let rich = parts.iter_mut().filter(|part| total(part) > 1).max_by_key(|part| total(part));
            let Some(most) = rich.and_then(|part| part.iter_mut().max()) else { break };
            *most -= 1;
            spare += 1;
        }
        for (rank, part) in parts.iter().enumerate() {
            for (group, cores) in part.iter().enumerate() {
                self.take(rank, group, *cores);
            }
        }
        for (rank, devices) in ranks.iter().enumerate() {
            if self.given[rank].is_empty() {
                self.take_anywhere(rank, groups(self.model, devices), 1);
            }
        }
    }

    /// Ranks without devices: on as few groups as hold them, neighbours together.
    fn pack(&mut self, each: u32, ports: u64) {
        let mut next = 0;
        while next < self.given.len() {
            let left = (self.given.len() - next) as u32;
            let rooms: Vec<(u32, usize)> =
                (0..self.groups().len()).map(|group| (self.free_in(group) / each, group)).collect();
            let far = |group: usize| ports >> group & 1 == 0;
            let enough = rooms.iter().filter(|(room, _)| *room >= left);
            let enough = enough.min_by_key(|(room, group)| (far(*group), *room, *group));
            let roomiest =
                || rooms.iter().max_by_key(|(room, group)| (*room, Reverse((far(*group), *group))));
            let Some((room, group)) = enough.or_else(roomiest).copied().filter(|(room, _)| *room > 0) else {
                break;
            };
            for _ in 0..room.min(left) {
                self.take(next, group, each);
                next += 1;
            }
        }
        // The rest fits into no group as a whole.
        for rank in next..self.given.len() {
            let fullest =
                (0..self.groups().len()).max_by_key(|group| (self.free_in(*group), Reverse(*group)));
            self.take_anywhere(rank, fullest.map_or(0, |group| 1 << group), each);
        }
    }
}

/// Bytes of each rank by group: near memory for all first, then what is left elsewhere. `free` has enough in sum.
pub(super) fn memory(model: &NodeModel, free: &[u64], near: &[u64], each: u64) -> Vec<Vec<(u8, u64)>> {
    let mut rest = free.to_vec();
    let mut given: Vec<Vec<(u8, u64)>> = vec![Vec::new(); near.len()];
    let mut missing = vec![each; near.len()];
    let mut take = |rank: usize, group: u8, missing: &mut u64| {
        let Some(here) = rest.get_mut(usize::from(group)) else { return };
        let bytes = (*missing).min(*here);
        if bytes > 0 {
            *here -= bytes;
            *missing -= bytes;
            given[rank].push((group, bytes));
        }
    };
    for (rank, near) in near.iter().enumerate() {
        rows_of(*near).for_each(|group| take(rank, group as u8, &mut missing[rank]));
    }
    let fullest = free.iter().enumerate().max_by_key(|(group, bytes)| (**bytes, Reverse(*group)));
    let fullest = fullest.map_or(0, |(group, _)| group);
    for (rank, near) in near.iter().enumerate() {
        let Some(home) = model.groups().get(rows_of(*near).next().unwrap_or(fullest)) else { continue };
        let others = home.nearest.iter().filter(|group| *near >> **group & 1 == 0);
        others.for_each(|group| take(rank, *group, &mut missing[rank]));
    }
    given
}

/// Groups that some of the devices are near to; 0 where that is not known.
pub(super) fn groups(model: &NodeModel, devices: &[u8]) -> u64 {
    devices.iter().fold(0, |mask, row| mask | model.devices()[usize::from(*row)].groups)
}

/// For each group how much the devices lean to it; those of which nobody knows it do not lean.
fn weights(model: &NodeModel, devices: &[u8]) -> Vec<u64> {
    let mut weights = vec![0; model.groups().len()];
    for row in devices {
        let groups = model.devices()[usize::from(*row)].groups;
        for group in rows_of(groups) {
            weights[group] += WEIGHT / u64::from(groups.count_ones());
        }
    }
    weights
}

/// As `weights`, but what nobody knows leans to all.
fn weights_everywhere(model: &NodeModel, devices: &[u8]) -> Vec<u64> {
    let mut weights = weights(model, devices);
    let lost = devices.iter().filter(|row| model.devices()[usize::from(**row)].groups == 0).count() as u64;
    let each = lost * WEIGHT / model.groups().len().max(1) as u64;
    weights.iter_mut().for_each(|weight| *weight += each);
    weights
}
