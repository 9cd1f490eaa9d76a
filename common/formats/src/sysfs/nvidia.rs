//! GPUs of NVIDIA as PCI and the driver's files in `/proc` have them, without NVML.

use std::collections::{BTreeMap, BTreeSet};

use phalanx_common::topology::Bdf;
use phalanx_common::topology::machine::{Accelerator, AcceleratorKind, Machine};

use super::files::{Files, computes};
use crate::text::printable;

const FOLDER: &str = "proc/driver/nvidia/gpus";

/// After the PCI devices are known. A capture may lack the vendor of what the driver has a folder for.
pub(super) fn add(files: &mut Files<'_>, machine: &mut Machine) {
    let names = files.list(FOLDER).into_iter();
    let folders: BTreeMap<Bdf, String> =
        names.filter_map(|name| Some((name.parse().ok()?, format!("{FOLDER}/{name}")))).collect();
    let by_pci = machine.pci.iter().filter(|(_, device)| computes(device, AcceleratorKind::Nvidia));
    let all: BTreeSet<Bdf> = by_pci.map(|(bdf, _)| *bdf).chain(folders.keys().copied()).collect();
    for bdf in all {
        let mut gpu = Accelerator { bdf: Some(bdf), ..Accelerator::new(AcceleratorKind::Nvidia) };
        if let Some(folder) = folders.get(&bdf) {
            describe(files, folder, &mut gpu);
        }
        machine.accelerators.push(gpu);
    }
}

fn describe(files: &mut Files<'_>, folder: &str, gpu: &mut Accelerator) {
    let text = files.beginning(&format!("{folder}/information"), 4 << 10).unwrap_or_default();
    gpu.model = value(&text, "Model").map(printable);
    // Question marks until a program has opened the device.
    gpu.uuid = value(&text, "GPU UUID").filter(|uuid| !uuid.contains('?')).map(printable);
    // Where its memory is a NUMA node (Power9).
    let text = files.beginning(&format!("{folder}/numa_status"), 4 << 10).unwrap_or_default();
    if value(&text, "Status") == Some("online") {
        gpu.own_node = value(&text, "Node").and_then(|node| node.parse().ok());
        gpu.memory_bytes = value(&text, "Size")
            .and_then(|size| size.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(size))
            .and_then(|size| u64::from_str_radix(size, 16).ok());
    }
}

/// Of a line `Key:   value`.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
    let value = pairs.find(|(name, _)| name.trim() == key)?.1.trim();
    (!value.is_empty()).then_some(value)
}
