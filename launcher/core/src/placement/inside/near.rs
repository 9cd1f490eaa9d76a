//! Whether the cores and the memory near a set of devices are enough for it.

use super::free::FreeInside;
use super::model::{NodeModel, rows_of};

/// What a device needs of what is near to it: what its rank needs, divided by the devices of a rank.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needed {
    pub(super) devices: u32,
    /// Of a rank.
    pub(super) cores: u32,
    /// Of a rank, in bytes.
    pub(super) memory: u64,
}

/// Devices that are near to the same groups of cores, where these do not have enough for all of them. On known machines
/// devices have all of their groups in common or none; groups that overlap otherwise are counted for each.
#[derive(Clone, Debug, Default)]
pub(super) struct Near {
    /// A mask, and for how many of it there is enough.
    scarce: Vec<(u64, u32)>,
}

impl Near {
    /// Of the devices of `pool`; those of which nobody knows what they are near to find everything as near.
    pub(super) fn new(model: &NodeModel, free: &FreeInside, pool: u64, needed: Needed) -> Near {
        let mut scarce = Vec::new();
        let mut left = pool;
        while left != 0 {
            let groups = model.devices()[left.trailing_zeros() as usize].groups;
            let alike = rows_of(left).filter(|row| model.devices()[*row].groups == groups);
            let alike = alike.fold(0u64, |mask, row| mask | 1 << row);
            left &= !alike;
            let enough = enough(model, free, groups, needed);
            if groups != 0 && enough < u64::from(alike.count_ones()) {
                scarce.push((alike, enough as u32));
            }
        }
        Near { scarce }
    }

    /// How many devices of a set go without.
    pub(super) fn short(&self, set: u64) -> u32 {
        self.scarce.iter().map(|(alike, enough)| (alike & set).count_ones().saturating_sub(*enough)).sum()
    }
}

/// For how many devices the free cores and memory of these groups are enough.
fn enough(model: &NodeModel, free: &FreeInside, groups: u64, needed: Needed) -> u64 {
    let cores: u32 = rows_of(groups)
        .filter_map(|group| model.groups().get(group))
        .map(|it| free.cores.count(it.cores))
        .sum();
    let memory = rows_of(groups)
        .filter_map(|group| free.memory.get(group))
        .fold(0, |sum: u64, own| sum.saturating_add(*own));
    let for_devices = |has: u64, each: u64| {
        let has = u128::from(has) * u128::from(needed.devices);
        has.checked_div(each.into()).map_or(u64::MAX, |enough| u64::try_from(enough).unwrap_or(u64::MAX))
    };
    for_devices(cores.into(), needed.cores.into()).min(for_devices(memory, needed.memory))
}
