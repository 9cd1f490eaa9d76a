//! Cores, packages and last-level caches (`Documentation/admin-guide/cputopology.rst`,
//! `Documentation/ABI/stable/sysfs-devices-system-cpu`).

use std::collections::BTreeSet;

use phalanx_common::topology::machine::{CpuSet, Machine, Package};

use super::files::Files;

const FOLDER: &str = "sys/devices/system/cpu";

/// The CPUs that work.
pub(super) fn online(files: &mut Files<'_>) -> CpuSet {
    let told = files.set(FOLDER, &["online", "present"], &[]).filter(|set| !set.is_empty());
    told.unwrap_or_else(|| set_of(files.numbered(FOLDER, "cpu").into_iter()))
}

pub(super) fn add(files: &mut Files<'_>, machine: &mut Machine, online: &CpuSet) {
    let topology = |cpu: u32| format!("{FOLDER}/cpu{cpu}/topology");
    machine.cores = groups(online, online, |cpu| {
        // The second name of each is that of kernels before 5.3.
        let (lists, masks) = (["core_cpus_list", "thread_siblings_list"], ["core_cpus", "thread_siblings"]);
        files.set(&topology(cpu), &lists, &masks).or_else(|| Some(only(cpu)))
    });
    let packages = groups(online, online, |cpu| {
        let (lists, masks) = (["package_cpus_list", "core_siblings_list"], ["package_cpus", "core_siblings"]);
        files.set(&topology(cpu), &lists, &masks)
    });
    machine.packages = named(files, packages);
    let firsts = set_of(machine.cores.iter().filter_map(|core| core.iter().next()));
    machine.l3 = groups(&firsts, online, |cpu| last_level(files, cpu));
}

/// The groups of the CPUs that are asked, each asked only where it is in no group yet, so that a machine of
/// 256 CPUs is not read 256 times. A group that says it has CPUs of another is cut down to the one asked.
fn groups(asked: &CpuSet, within: &CpuSet, mut told: impl FnMut(u32) -> Option<CpuSet>) -> Vec<CpuSet> {
    let mut known = CpuSet::new();
    let mut groups = Vec::new();
    for cpu in asked.iter() {
        if known.contains(cpu) {
            continue;
        }
        let Some(group) = told(cpu) else { continue };
        let mut group = group.intersection(within);
        if !group.contains(cpu) || !group.intersection(&known).is_empty() {
            group = only(cpu);
        }
        known = known.union(&group);
        groups.push(group);
    }
    groups
}

/// Packages by their ids. Firmware of some aarch64 machines gives none, and the kernel says -1: then they
/// are counted, unless each CPU claims to be a package of its own, which is the kernel's word for "unknown".
fn named(files: &mut Files<'_>, sets: Vec<CpuSet>) -> Vec<Package> {
    let ids: Vec<Option<u32>> = sets
        .iter()
        .map(|set| {
            let path = format!("{FOLDER}/cpu{}/topology/physical_package_id", set.iter().next()?);
            files.known(&path)
        })
        .collect();
    let distinct: BTreeSet<u32> = ids.iter().copied().flatten().collect();
    let all_known = distinct.len() == ids.len();
    if !all_known && sets.len() > 1 && sets.iter().all(|set| set.len() == 1) {
        return Vec::new();
    }
    let mut packages: Vec<Package> = (0u32..)
        .zip(sets.into_iter().zip(ids))
        .map(|(order, (cpus, id))| Package { id: id.filter(|_| all_known).unwrap_or(order), cpus })
        .collect();
    packages.sort_by_key(|package| package.id);
    packages
}

/// The CPUs that share the highest cache of a CPU, of level three or above.
fn last_level(files: &mut Files<'_>, cpu: u32) -> Option<CpuSet> {
    let caches = format!("{FOLDER}/cpu{cpu}/cache");
    let levels = files.numbered(&caches, "index").into_iter().filter_map(|index| {
        let cache = format!("{caches}/index{index}");
        let level: u32 = files.number(&format!("{cache}/level"))?;
        (level >= 3).then_some((level, cache))
    });
    let (_, cache) = levels.max()?;
    files.set(&cache, &["shared_cpu_list"], &["shared_cpu_map"])
}

fn only(cpu: u32) -> CpuSet {
    set_of(std::iter::once(cpu))
}

/// Without those that no set can hold.
fn set_of(ids: impl Iterator<Item = u32>) -> CpuSet {
    let mut set = CpuSet::new();
    for id in ids {
        if set.insert(id).is_err() {
            break;
        }
    }
    set
}
