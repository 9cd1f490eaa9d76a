//! What control groups and affinity leave to this process.

use phalanx_common::topology::machine::Allowed;

use crate::tree::{Ask, Tree};

/// Version 1 says so for no limit: the highest multiple of a page.
const NO_LIMIT: u64 = 0x7fff_ffff_ffff_0000;

pub(super) fn read(tree: &dyn Tree) -> Allowed {
    let status = tree.text("proc/self/status").unwrap_or_default();
    let list = |key: &str| status.lines().find_map(|line| line.strip_prefix(key))?.trim().parse().ok();
    Allowed {
        cpus: list("Cpus_allowed_list:"),
        nodes: list("Mems_allowed_list:"),
        memory_bytes: memory(tree),
    }
}

/// The lowest limit of the group and of those above it (cgroups(7)).
fn memory(tree: &dyn Tree) -> Option<u64> {
    let groups = tree.text("proc/self/cgroup")?;
    let limits = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let (root, file) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|it| it == "memory") => {
                ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let up = std::iter::successors(Some(path.trim_end_matches('/')), |path| {
            path.rsplit_once('/').map(|(above, _)| above)
        });
        up.take(64).filter_map(|path| tree.value(&format!("{root}{path}/{file}"))).min()
    });
    limits.min().filter(|limit| *limit < NO_LIMIT)
}
