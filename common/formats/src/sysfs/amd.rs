//! GPUs of AMD as the driver's compute part (kfd) has them, with XGMI links and hives. The files are those
//! of `kfd_topology.c`; numbers of link types are of `kfd_crat.h`.

use std::collections::BTreeMap;

use phalanx_common::topology::Bdf;
use phalanx_common::topology::machine::{Accelerator, AcceleratorKind, Attachment, LinkKind, Machine, Peer};

use super::files::{Files, computes};
use super::pci;

const FOLDER: &str = "sys/class/kfd/kfd/topology/nodes";
/// CPUs and GPUs, or parts of GPUs, of one machine.
const MAX_NODES: usize = 1 << 10;
const MAX_BANKS: usize = 64;
const XGMI: u64 = 11;

/// A node of kfd: a GPU, a part of one, or a CPU.
struct Node {
    number: u32,
    gpu: Option<Bdf>,
    hive: u64,
    unique: u64,
}

/// After PCI devices and NUMA nodes are known.
pub(super) fn add(files: &mut Files<'_>, machine: &mut Machine) {
    let mut numbers = files.numbered(FOLDER, "");
    numbers.truncate(MAX_NODES);
    let nodes: Vec<Node> = numbers.into_iter().map(|number| node(files, number)).collect();
    let mut found: BTreeMap<Bdf, Accelerator> = BTreeMap::new();
    let ends: BTreeMap<u32, Peer> = nodes
        .iter()
        .map(|node| (node.number, node.gpu.map_or_else(|| numa(machine, &nodes, node), Peer::Accelerator)))
        .collect();
    for (index, node) in (0u32..).zip(nodes.iter().filter(|node| node.gpu.is_some())) {
        let Some(bdf) = node.gpu else { continue };
        // Parts of a GPU that is cut up have its address, and are not devices of their own here.
        found.entry(bdf).or_insert_with(|| gpu(files, node, bdf, index, &ends));
    }
    if found.is_empty() {
        found = without_driver(machine);
    }
    machine.accelerators.extend(found.into_values());
}

fn node(files: &mut Files<'_>, number: u32) -> Node {
    let at = format!("{FOLDER}/{number}");
    let properties = properties(files, &at);
    let get = |key: &str| properties.get(key).copied().unwrap_or(0);
    let is_gpu = files.line(&format!("{at}/gpu_id")).is_some_and(|id| id != "0");
    let domain = u32::try_from(get("domain"));
    if domain.is_err() {
        let said = format!("domain {}", get("domain"));
        files.problem(&format!("{at}/properties"), &said, "a domain of PCI");
    }
    // The higher bits say which part of a GPU it is.
    let location = get("location_id");
    let gpu = domain.ok().filter(|_| is_gpu).map(|domain| Bdf {
        domain,
        bus: (location >> 8 & 0xff) as u8,
        device: (location >> 3 & 0x1f) as u8,
        function: (location & 7) as u8,
    });
    Node { number, gpu, hive: get("hive_id"), unique: get("unique_id") }
}

/// kfd counts the CPUs in the order of their NUMA nodes.
fn numa(machine: &Machine, nodes: &[Node], cpu: &Node) -> Peer {
    let cpus: Vec<u32> = nodes.iter().filter(|node| node.gpu.is_none()).map(|node| node.number).collect();
    let with_cpus: Vec<u32> =
        machine.numa.iter().filter(|(_, node)| !node.cpus.is_empty()).map(|(id, _)| *id).collect();
    let at = cpus.iter().position(|number| *number == cpu.number);
    Peer::Cpu(at.filter(|_| cpus.len() == with_cpus.len()).and_then(|at| with_cpus.get(at)).copied())
}

fn gpu(files: &mut Files<'_>, node: &Node, bdf: Bdf, index: u32, ends: &BTreeMap<u32, Peer>) -> Accelerator {
    let device = pci::folder(bdf);
    let hive = (node.hive != 0).then_some(node.hive);
    let hive = hive.or_else(|| files.number(&format!("{device}/xgmi_hive_info/xgmi_hive_id")));
    Accelerator {
        bdf: Some(bdf),
        index: Some(index),
        model: files.line(&format!("{device}/product_name")),
        // As `ROCR_VISIBLE_DEVICES` takes it.
        uuid: (node.unique != 0).then(|| format!("GPU-{:016x}", node.unique)),
        serial: files.line(&format!("{device}/serial_number")),
        memory_bytes: files
            .number(&format!("{device}/mem_info_vram_total"))
            .or_else(|| memory(files, node.number)),
        links: links(files, node.number, ends),
        hive: hive.filter(|hive| *hive != 0),
        ..Accelerator::new(AcceleratorKind::Amd)
    }
}

/// The banks of a node that are its frame buffer: what the CPU reaches of it, and the rest.
fn memory(files: &mut Files<'_>, number: u32) -> Option<u64> {
    let folder = format!("{FOLDER}/{number}/mem_banks");
    let banks = files.numbered(&folder, "").into_iter().take(MAX_BANKS);
    let bytes = banks.filter_map(|bank| {
        let properties = properties(files, &format!("{folder}/{bank}"));
        let of_gpu = matches!(properties.get("heap_type"), Some(1 | 2));
        properties.get("size_in_bytes").copied().filter(|_| of_gpu)
    });
    Some(bytes.fold(0, u64::saturating_add)).filter(|bytes| *bytes > 0)
}

/// The XGMI links of a node, those to one peer in one bundle.
fn links(files: &mut Files<'_>, number: u32, ends: &BTreeMap<u32, Peer>) -> Vec<Attachment> {
    let folder = format!("{FOLDER}/{number}/io_links");
    let mut bundles: BTreeMap<Peer, Attachment> = BTreeMap::new();
    for link in files.numbered(&folder, "").into_iter().take(MAX_NODES) {
        let properties = properties(files, &format!("{folder}/{link}"));
        let get = |key: &str| properties.get(key).copied();
        let to = get("node_to").and_then(|to| u32::try_from(to).ok()).filter(|to| *to != number);
        let Some(peer) = to.and_then(|to| ends.get(&to)).copied().filter(|_| get("type") == Some(XGMI))
        else {
            continue;
        };
        let none = Attachment { peer, kind: LinkKind::Xgmi, lanes: 0, mb_per_s: None };
        let bundle = bundles.entry(peer).or_insert(none);
        bundle.lanes += 1;
        // Megabytes per second; 0 where the firmware does not say.
        if let Some(more) = get("max_bandwidth").filter(|more| *more > 0) {
            bundle.mb_per_s = Some(bundle.mb_per_s.unwrap_or(0).saturating_add(more));
        }
    }
    bundles.into_values().collect()
}

/// Lines `key number`.
fn properties(files: &mut Files<'_>, at: &str) -> BTreeMap<String, u64> {
    let path = format!("{at}/properties");
    let text = files.beginning(&path, 8 << 10).unwrap_or_default();
    let mut found = BTreeMap::new();
    for (key, value) in text.lines().filter_map(|line| line.trim().split_once(' ')) {
        match value.trim().parse() {
            Ok(number) => {
                found.insert(key.to_string(), number);
            }
            Err(_) => files.problem(&path, &format!("{key} {value}"), "a key and a number of up to 64 bits"),
        }
    }
    found
}

/// Without kfd nothing computes on them now, but they are there. What is a display controller may be a
/// board's own screen.
fn without_driver(machine: &Machine) -> BTreeMap<Bdf, Accelerator> {
    let for_compute = |class: u32| matches!(class >> 8, 0x0380 | 0x1200);
    let devices = machine.pci.iter().filter(|(_, device)| computes(device, AcceleratorKind::Amd));
    let devices = devices.filter(|(_, device)| device.class.is_some_and(for_compute));
    let new = |bdf: Bdf| Accelerator { bdf: Some(bdf), ..Accelerator::new(AcceleratorKind::Amd) };
    devices.map(|(bdf, _)| (*bdf, new(*bdf))).collect()
}
