//! What the kernel leaves to this process.

use phalanx_common::topology::machine::{Allowed, CpuSet, Machine};

use super::files::Files;

/// After the NUMA nodes of `machine` are known. `Cpus_allowed_list` of `/proc/self/status` has the control
/// group's set less what affinity takes (`proc_pid_status(5)`).
pub(super) fn add(files: &mut Files<'_>, machine: &mut Machine, online: &CpuSet) {
    let status = files.beginning("proc/self/status", 64 << 10).unwrap_or_default();
    let mut set = |key: &str| {
        let list = status.lines().find_map(|line| line.strip_prefix(key))?.trim();
        let set = list.parse::<CpuSet>();
        if set.is_err() {
            files.problem("proc/self/status", list, "a set such as 0-3,8");
        }
        set.ok()
    };
    let less = |set: CpuSet, all: &CpuSet| {
        let set = set.intersection(all);
        (!set.is_empty() && set != *all).then_some(set)
    };
    let mut nodes = CpuSet::new();
    for node in machine.numa.keys() {
        if nodes.insert(*node).is_err() {
            break;
        }
    }
    machine.allowed = Allowed {
        cpus: set("Cpus_allowed_list:").and_then(|set| less(set, online)),
        nodes: set("Mems_allowed_list:").and_then(|set| less(set, &nodes)),
        memory_bytes: memory(files).filter(|limit| *limit < machine.memory_bytes()),
    };
}

/// The lowest limit of the control groups that this process is in, of either version (`cgroups(7)`,
/// `Documentation/admin-guide/cgroup-v2.rst`).
fn memory(files: &mut Files<'_>) -> Option<u64> {
    let groups = files.beginning("proc/self/cgroup", 64 << 10)?;
    let mut lowest: Option<u64> = None;
    for line in groups.lines() {
        // `4:memory:/path` of version 1, `0::/path` of version 2.
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let (root, file) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|one| one == "memory") => {
                ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        for group in upwards(root, path) {
            let limit =
                files.value(&format!("{group}/{file}"), "a number of bytes or `max`", |text| match text {
                    "max" => Some(None),
                    _ => text.parse::<u64>().ok().map(Some),
                });
            lowest = lowest.into_iter().chain(limit.flatten()).min();
        }
    }
    lowest
}

/// A group and all above it. A container sees its own group as the root, while its path may be that of
/// outside (version 1), or begin with `..` (version 2): then only the root is there.
fn upwards(root: &str, path: &str) -> Vec<String> {
    const DEEPEST: usize = 64;
    let mut groups = vec![root.to_string()];
    for part in path.split('/').filter(|part| !part.is_empty()).take(DEEPEST) {
        if part == ".." {
            break;
        }
        let below = format!("{}/{part}", groups.last().map_or(root, String::as_str));
        groups.push(below);
    }
    groups
}
