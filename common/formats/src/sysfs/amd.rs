//! AMD's compute devices as the kfd driver shows them (`drivers/gpu/drm/amd/amdkfd/kfd_topology.c`).

use std::collections::BTreeMap;

use phalanx_common::topology::Bdf;
use phalanx_common::topology::machine::{Accelerator, AcceleratorKind, Attachment, LinkKind, Peer};

use crate::tree::{Ask, Tree};

const NODES: &str = "sys/class/kfd/kfd/topology/nodes";
/// Of `kfd_crat.h`.
const XGMI: u64 = 11;

pub(super) fn read(tree: &dyn Tree, accelerators: &mut Vec<Accelerator>) {
    let mut gpus: BTreeMap<u64, (Bdf, BTreeMap<String, u64>)> = BTreeMap::new();
    for name in tree.list(NODES) {
        let Ok(number) = name.parse() else { continue };
        // CPUs are nodes too, with a GPU id of 0.
        if tree.value::<u64>(&format!("{NODES}/{name}/gpu_id")).is_none_or(|id| id == 0) {
            continue;
        }
        let properties = properties(tree, &format!("{NODES}/{name}/properties"));
        if let Some(bdf) = bdf(&properties) {
            gpus.insert(number, (bdf, properties));
        }
    }
    for (number, (bdf, properties)) in &gpus {
        let at = match accelerators.iter().position(|it| it.bdf == Some(*bdf)) {
            Some(at) => at,
            None => {
                accelerators.push(Accelerator { bdf: Some(*bdf), ..Accelerator::new(AcceleratorKind::Amd) });
                accelerators.len() - 1
            }
        };
        let Some(accelerator) = accelerators.get_mut(at) else { continue };
        let node = format!("{NODES}/{number}");
        accelerator.hive = properties.get("hive_id").copied().filter(|hive| *hive != 0);
        accelerator.uuid = properties.get("unique_id").filter(|id| **id != 0).map(|id| format!("{id:016x}"));
        accelerator.memory_bytes = memory(tree, &node);
        accelerator.links = links(tree, &node, &gpus);
    }
}

/// Lines of a name and a number.
fn properties(tree: &dyn Tree, path: &str) -> BTreeMap<String, u64> {
    let text = tree.text(path).unwrap_or_default();
    let pair = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        Some((name.to_owned(), value.trim().parse().ok()?))
    };
    text.lines().filter_map(pair).collect()
}

/// The location is bus, device and function in 16 bits.
fn bdf(properties: &BTreeMap<String, u64>) -> Option<Bdf> {
    let location = u16::try_from(*properties.get("location_id")?).ok()?;
    let [bus, rest] = location.to_be_bytes();
    let domain = u32::try_from(properties.get("domain").copied().unwrap_or(0)).ok()?;
    Some(Bdf { domain, bus, device: rest >> 3, function: rest & 7 })
}

/// Public and private banks of the frame buffer (heap types 1 and 2).
fn memory(tree: &dyn Tree, node: &str) -> Option<u64> {
    let banks = format!("{node}/mem_banks");
    let bytes = tree.list(&banks).into_iter().filter_map(|bank| {
        let bank = properties(tree, &format!("{banks}/{bank}/properties"));
        let of_gpu = matches!(bank.get("heap_type"), Some(1 | 2));
        bank.get("size_in_bytes").copied().filter(|_| of_gpu)
    });
    bytes.reduce(u64::saturating_add).filter(|bytes| *bytes > 0)
}

fn links(tree: &dyn Tree, node: &str, gpus: &BTreeMap<u64, (Bdf, BTreeMap<String, u64>)>) -> Vec<Attachment> {
    let folder = format!("{node}/io_links");
    let mut links: Vec<Attachment> = tree
        .list(&folder)
        .into_iter()
        .filter_map(|link| {
            let link = properties(tree, &format!("{folder}/{link}/properties"));
            let (peer, _) = gpus.get(link.get("node_to")?)?;
            let mb_per_s = link.get("max_bandwidth").copied().filter(|speed| *speed > 0);
            let attachment =
                Attachment { peer: Peer::Accelerator(*peer), kind: LinkKind::Xgmi, lanes: 1, mb_per_s };
            (link.get("type") == Some(&XGMI)).then_some(attachment)
        })
        .collect();
    links.sort();
    links
}
