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
    /// Its place among the nodes that are GPUs, as ROCm counts them.
    index: Option<u32>,
    /// `None` for a CPU, and for a GPU whose address is out of range: that is a GPU at an unknown place.
    bdf: Option<Bdf>,
    hive: u64,
    unique: u64,
}

impl Node {
    /// How others link to it, if it is a GPU.
    fn peer(&self) -> Option<Peer> {
        self.index.map(|index| self.bdf.map_or(Peer::Numbered(index), Peer::Accelerator))
    }
}

/// After PCI devices and NUMA nodes are known.
pub(super) fn add(files: &mut Files<'_>, machine: &mut Machine) {
    let mut numbers = files.numbered(FOLDER, "");
    numbers.truncate(MAX_NODES);
    let mut gpus = 0..;
    let nodes: Vec<Node> = numbers.into_iter().map(|number| node(files, number, &mut gpus)).collect();
    let ends: BTreeMap<u32, Peer> = nodes
        .iter()
        .map(|node| (node.number, node.peer().unwrap_or_else(|| numa(machine, &nodes, node))))
        .collect();
    let mut found: BTreeMap<Peer, Accelerator> = BTreeMap::new();
    for node in &nodes {
        let Some((peer, index)) = node.peer().zip(node.index) else { continue };
        // Parts of a GPU that is cut up have its address, and are not devices of their own here.
        found.entry(peer).or_insert_with(|| gpu(files, node, index, &ends));
    }
    match found.is_empty() {
        true => machine.accelerators.extend(without_driver(machine).into_values()),
        false => machine.accelerators.extend(found.into_values()),
    }
}

fn node(files: &mut Files<'_>, number: u32, gpus: &mut impl Iterator<Item = u32>) -> Node {
    let at = format!("{FOLDER}/{number}");
    let properties = properties(files, &at);
    let is_gpu = files.line(&format!("{at}/gpu_id")).is_some_and(|id| id != "0");
    // What is not there is 0; what is no number is told already, and not known.
    let get = |key: &str| properties.get(key).copied().unwrap_or(Some(0));
    let domain = get("domain").filter(|domain| {
        let is_one = u32::try_from(*domain).is_ok();
        if !is_one {
            files.problem(&format!("{at}/properties"), &format!("domain {domain}"), "a domain of PCI");
        }
        is_one
    });
    // The higher bits of the location say which part of a GPU it is.
    let address = domain.and_then(|domain| u32::try_from(domain).ok()).zip(get("location_id"));
    let bdf = address.filter(|_| is_gpu).map(|(domain, location)| Bdf {
        domain,
        bus: (location >> 8 & 0xff) as u8,
        device: (location >> 3 & 0x1f) as u8,
        function: (location & 7) as u8,
    });
    let number_of = |key: &str| get(key).unwrap_or(0);
    let index = is_gpu.then(|| gpus.next()).flatten();
    Node { number, index, bdf, hive: number_of("hive_id"), unique: number_of("unique_id") }
}

/// kfd counts the CPUs in the order of their NUMA nodes.
fn numa(machine: &Machine, nodes: &[Node], cpu: &Node) -> Peer {
    let cpus: Vec<u32> = nodes.iter().filter(|node| node.index.is_none()).map(|node| node.number).collect();
    let with_cpus: Vec<u32> =
        machine.numa.iter().filter(|(_, node)| !node.cpus.is_empty()).map(|(id, _)| *id).collect();
    let at = cpus.iter().position(|number| *number == cpu.number);
    Peer::Cpu(at.filter(|_| cpus.len() == with_cpus.len()).and_then(|at| with_cpus.get(at)).copied())
}

fn gpu(files: &mut Files<'_>, node: &Node, index: u32, ends: &BTreeMap<u32, Peer>) -> Accelerator {
    let file = |name: &str| node.bdf.map(|bdf| format!("{}/{name}", pci::folder(bdf)));
    let hive = (node.hive != 0).then_some(node.hive);
    let hive = hive.or_else(|| files.number(&file("xgmi_hive_info/xgmi_hive_id")?));
    Accelerator {
        bdf: node.bdf,
        index: Some(index),
        model: file("product_name").and_then(|path| files.line(&path)),
        // As `ROCR_VISIBLE_DEVICES` takes it.
        uuid: (node.unique != 0).then(|| format!("GPU-{:016x}", node.unique)),
        serial: file("serial_number").and_then(|path| files.line(&path)),
        memory_bytes: file("mem_info_vram_total")
            .and_then(|path| files.number(&path))
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
        let of_gpu = matches!(properties.get("heap_type"), Some(Some(1 | 2)));
        properties.get("size_in_bytes").copied().flatten().filter(|_| of_gpu)
    });
    Some(bytes.fold(0, u64::saturating_add)).filter(|bytes| *bytes > 0)
}

/// The XGMI links of a node, those to one peer in one bundle.
fn links(files: &mut Files<'_>, number: u32, ends: &BTreeMap<u32, Peer>) -> Vec<Attachment> {
    let folder = format!("{FOLDER}/{number}/io_links");
    let mut bundles: BTreeMap<Peer, Attachment> = BTreeMap::new();
    for link in files.numbered(&folder, "").into_iter().take(MAX_NODES) {
        let properties = properties(files, &format!("{folder}/{link}"));
        let get = |key: &str| properties.get(key).copied().flatten();
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

/// Lines `key number`; `None` for what is no number.
fn properties(files: &mut Files<'_>, at: &str) -> BTreeMap<String, Option<u64>> {
    let path = format!("{at}/properties");
    let text = files.beginning(&path, 8 << 10).unwrap_or_default();
    let mut found = BTreeMap::new();
    for (key, value) in text.lines().filter_map(|line| line.trim().split_once(' ')) {
        let number = value.trim().parse().ok();
        if number.is_none() {
            files.problem(&path, &format!("{key} {value}"), "a key and a number of up to 64 bits");
        }
        found.insert(key.to_string(), number);
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
