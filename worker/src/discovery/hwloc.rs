//! CPUs as libhwloc finds them.
//!
//! hwloc2 2.2 is sound for packages, caches, cores and their CPU sets alone: names, `Display` and cache
//! attributes touch memory that is not theirs, and NUMA nodes and devices have other virtual depths in hwloc 2.
//! The rest of a machine comes from the kernel's own files.

use hwloc2::{ObjectType, Topology, TopologyObject};
use phalanx_common::topology::machine::{CpuSet, Machine, Package};

/// Packages, cores and caches; `None` where the library finds nothing.
pub fn read() -> Option<Machine> {
    let topology = Topology::new()?;
    let objects = |kind: ObjectType| topology.objects_with_type(&kind).unwrap_or_default();
    let sets = |kind| -> Vec<CpuSet> {
        let mut sets: Vec<CpuSet> =
            objects(kind).into_iter().map(cpus).filter(|set| !set.is_empty()).collect();
        sets.sort_by_key(|set| set.iter().next());
        sets
    };
    let mut packages: Vec<Package> = objects(ObjectType::Package)
        .into_iter()
        .map(|package| Package { id: package.os_index(), cpus: cpus(package) })
        .collect();
    // Firmware that gives them no numbers: hwloc says -1.
    if packages.iter().any(|package| package.id == u32::MAX) {
        packages.sort_by_key(|package| package.cpus.iter().next());
        (0u32..).zip(&mut packages).for_each(|(at, package)| package.id = at);
    }
    packages.sort_by_key(|package| package.id);
    let (cores, l3) = (sets(ObjectType::Core), sets(ObjectType::L3Cache));
    Some(Machine { packages, cores, l3, ..Machine::default() })
}

fn cpus(object: &TopologyObject) -> CpuSet {
    let mut set = CpuSet::new();
    let Some(bitmap) = object.cpuset() else { return set };
    let last = u32::try_from(bitmap.last()).unwrap_or(0).min(CpuSet::LIMIT - 1);
    for id in (0..=last).filter(|id| bitmap.is_set(*id)) {
        // Below the limit, as the line above says.
        let _ = set.insert(id);
    }
    set
}

#[cfg(test)]
mod tests {
    use phalanx_formats::dir::Dir;
    use phalanx_formats::sysfs;

    use super::*;

    #[test]
    fn the_library_and_the_kernels_files_agree_about_this_machine() {
        let by_library = read().expect("hwloc finds this machine");
        let by_kernel = sysfs::read_cpu(&Dir::live()).machine;
        assert!(!by_library.cores.is_empty());
        assert_eq!(by_library.packages, by_kernel.packages);
        assert_eq!(by_library.cores, by_kernel.cores);
        assert_eq!(by_library.l3, by_kernel.l3);
    }
}
