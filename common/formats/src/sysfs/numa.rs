//! NUMA nodes (`Documentation/ABI/stable/sysfs-devices-node`).

use std::collections::BTreeMap;

use phalanx_common::topology::machine::{CpuSet, NumaNode};

use super::files::Files;

const FOLDER: &str = "sys/devices/system/node";
/// The most that Linux is built for (`NODES_SHIFT` 10).
const MAX_NODES: usize = 1 << 10;

/// By the kernel's number. A kernel without NUMA has none, and all its memory is that of node 0.
pub(super) fn nodes(files: &mut Files<'_>, online: &CpuSet) -> BTreeMap<u32, NumaNode> {
    let mut ids = files.numbered(FOLDER, "node");
    ids.truncate(MAX_NODES);
    let mut nodes: BTreeMap<u32, NumaNode> =
        ids.iter().map(|id| (*id, node(files, *id, &ids, online))).collect();
    if nodes.is_empty() {
        let memory_bytes = total(files, "proc/meminfo");
        if memory_bytes.is_some() || !online.is_empty() {
            let distances = BTreeMap::from([(0, 10)]);
            nodes.insert(0, NumaNode { cpus: online.clone(), memory_bytes, distances });
        }
    }
    nodes
}

fn node(files: &mut Files<'_>, id: u32, ids: &[u32], online: &CpuSet) -> NumaNode {
    let folder = format!("{FOLDER}/node{id}");
    let cpus = files.set(&folder, &["cpulist"], &["cpumap"]).unwrap_or_default();
    let memory_bytes = total(files, &format!("{folder}/meminfo"));
    // One column for each node that is there, in the order of their numbers, which need not be without gaps.
    let columns = files.value(&format!("{folder}/distance"), "one distance for each node", |text| {
        let columns: Result<Vec<u32>, _> =
            text.split_whitespace().take(MAX_NODES + 1).map(str::parse).collect();
        columns.ok().filter(|columns| columns.len() == ids.len())
    });
    let distances = ids.iter().copied().zip(columns.into_iter().flatten()).collect();
    NumaNode { cpus: cpus.intersection(online), memory_bytes, distances }
}

/// `Node 0 MemTotal:  129839104 kB`, or the same without the node. A file without such a line says nothing.
fn total(files: &mut Files<'_>, path: &str) -> Option<u64> {
    let text = files.beginning(path, 4 << 10)?;
    let (_, rest) = text.split_once("MemTotal:")?;
    let said = rest.lines().next().unwrap_or_default().trim();
    let kilobytes = || said.strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024);
    let bytes = kilobytes();
    if bytes.is_none() {
        files.problem(path, said, "a size such as `129839104 kB`, of less than 2^64 bytes");
    }
    bytes
}
