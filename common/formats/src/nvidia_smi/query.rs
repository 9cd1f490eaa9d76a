//! `nvidia-smi -q -x`. The elements are those of drivers 535 to 595; what one has not is not known.

use phalanx_common::topology::Bdf;
use phalanx_common::topology::machine::{
    Accelerator, AcceleratorKind, Fabric, FabricState, Machine, MigSlice, PciDevice, PciKind, PciLink,
    Platform,
};
use roxmltree::Node;

use super::health::ailments;
use crate::text::printable;
use crate::xml::{self, at, children};

/// Sixteen GPUs have half a megabyte, most of it clocks.
pub const MAX_BYTES: usize = 8 << 20;
const MAX_GPUS: usize = 1024;
/// More processes on one GPU say nothing new: somebody computes on it.
const MAX_PROCESSES: usize = 4096;
/// Of one GPU; the hardware makes seven.
const MAX_SLICES: usize = 64;
const NVIDIA: u16 = 0x10de;

/// Why a file was not read. Lines count from 1.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Xml(#[from] xml::Error),
    #[error("the file begins with <{found}>, not with <nvidia_smi_log>; write it with `nvidia-smi -q -x`")]
    NotALog { found: String },
    #[error("line {line}: the GPU has no PCI address; write the file with `nvidia-smi -q -x`")]
    NoAddress { line: u32 },
    #[error("line {line}: a second GPU has the address {bdf}; the file has to be of one machine")]
    Twice { line: u32, bdf: Bdf },
    #[error("the file has more than {limit} GPUs; it has to be of one machine")]
    TooMany { limit: usize },
}

/// Reads what the driver says of its GPUs: identity, memory, slices, health, processes, fabric and rack.
///
/// GPUs are numbered only where the list has all that are attached: `nvidia-smi -q -x -i 3` does not say that it
/// is about the fourth.
///
/// # Errors
/// More than [`MAX_BYTES`], no XML of `nvidia-smi`, GPUs without an address or with the same.
pub fn query(bytes: &[u8]) -> Result<Machine, Error> {
    let document = xml::parse(bytes, MAX_BYTES)?;
    let root = document.root_element();
    if !root.has_tag_name("nvidia_smi_log") {
        return Err(Error::NotALog { found: root.tag_name().name().chars().take(40).collect() });
    }
    let gpus: Vec<Node<'_, '_>> = children(root, "gpu").take(MAX_GPUS + 1).collect();
    if gpus.len() > MAX_GPUS {
        return Err(Error::TooMany { limit: MAX_GPUS });
    }
    let all = number(root, "attached_gpus").is_none_or(|attached| attached as usize == gpus.len());
    let mut machine = Machine::default();
    for (gpu, index) in gpus.into_iter().zip(0u32..) {
        let written = text(gpu, "pci/pci_bus_id").or(gpu.attribute("id"));
        let bdf: Option<Bdf> = written.and_then(|bdf| bdf.parse().ok());
        let bdf = bdf.ok_or_else(|| Error::NoAddress { line: xml::line(gpu) })?;
        if machine.pci.insert(bdf, device(gpu)).is_some() {
            return Err(Error::Twice { line: xml::line(gpu), bdf });
        }
        machine.accelerators.push(accelerator(gpu, bdf, all.then_some(index)));
    }
    machine.accelerators.sort_by_key(|gpu| gpu.bdf);
    Ok(machine)
}

fn accelerator(gpu: Node<'_, '_>, bdf: Bdf, index: Option<u32>) -> Accelerator {
    let owned = |path: &str| text(gpu, path).map(printable);
    Accelerator {
        bdf: Some(bdf),
        index,
        model: owned("product_name"),
        uuid: owned("uuid"),
        serial: owned("serial"),
        memory_bytes: mebibytes(gpu, "fb_memory_usage/total"),
        mig: at(gpu, "mig_mode/current_mig").map(|mode| trimmed(mode) == "Enabled"),
        slices: at(gpu, "mig_devices")
            .into_iter()
            .flat_map(|list| children(list, "mig_device"))
            .filter_map(slice)
            .take(MAX_SLICES)
            .collect(),
        ailments: Some(ailments(gpu)),
        processes: processes(gpu),
        fabric: fabric(gpu),
        platform: platform(gpu),
        ..Accelerator::new(AcceleratorKind::Nvidia)
    }
}

fn device(gpu: Node<'_, '_>) -> PciDevice {
    // Device and vendor in one number: 294110DE.
    let id = text(gpu, "pci/pci_device_id")
        .and_then(|id| u32::from_str_radix(id.strip_prefix("0x").unwrap_or(id), 16).ok());
    let class =
        |path| text(gpu, path).and_then(|class| u32::from_str_radix(class, 16).ok()).filter(|it| *it < 256);
    let classes = class("pci/pci_base_class").zip(class("pci/pci_sub_class"));
    let info = at(gpu, "pci/pci_gpu_link_info");
    let generation = |path| PciLink::speed_of(number(info?, path)?);
    let width = |path| text(info?, path)?.trim_end_matches('x').parse().ok();
    PciDevice {
        kind: Some(PciKind::Gpu),
        vendor: Some(id.map_or(NVIDIA, |id| id as u16)),
        device: id.map(|id| (id >> 16) as u16),
        class: classes.map(|(base, sub)| base << 16 | sub << 8),
        link: PciLink {
            speed: generation("pcie_gen/current_link_gen"),
            width: width("link_widths/current_link_width"),
            max_speed: generation("pcie_gen/max_link_gen"),
            max_width: width("link_widths/max_link_width"),
        },
        ..PciDevice::default()
    }
}

fn slice(device: Node<'_, '_>) -> Option<MigSlice> {
    Some(MigSlice {
        index: number(device, "index")?,
        uuid: text(device, "uuid").map(printable),
        gpu_instance: number(device, "gpu_instance_id"),
        compute_instance: number(device, "compute_instance_id"),
        memory_bytes: mebibytes(device, "fb_memory_usage/total"),
        // It tells multiprocessors alone: how many of them a slice has differs between boards.
        instance_slices: None,
        compute_slices: None,
    })
}

/// Those that compute: of type `C`, `C+G`, or `M` and `M+C` of an MPS server. `G` only draws.
fn processes(gpu: Node<'_, '_>) -> Option<Vec<u32>> {
    let list = at(gpu, "processes")?;
    if !trimmed(list).is_empty() {
        // `N/A`, or that it may not be said.
        return None;
    }
    let computes = |process: &Node<'_, '_>| {
        text(*process, "type").is_some_and(|kind| kind.split('+').any(|kind| matches!(kind, "C" | "M")))
    };
    let found = children(list, "process_info").filter(computes).filter_map(|process| number(process, "pid"));
    let mut found: Vec<u32> = found.take(MAX_PROCESSES).collect();
    // One process has several entries where it is in several slices.
    found.sort_unstable();
    found.dedup();
    Some(found)
}

fn fabric(gpu: Node<'_, '_>) -> Option<Fabric> {
    let fabric = at(gpu, "fabric")?;
    let state = match text(fabric, "state")? {
        "Completed" => FabricState::Completed,
        "In Progress" => FabricState::InProgress,
        "Not Started" => FabricState::NotStarted,
        _ => FabricState::NotSupported,
    };
    Some(Fabric {
        state,
        succeeded: text(fabric, "status").map(|status| status == "Success"),
        cluster: text(fabric, "clusterUuid").and_then(|uuid| uuid.parse().ok()),
        clique: number(fabric, "cliqueId"),
    })
}

fn platform(gpu: Node<'_, '_>) -> Option<Platform> {
    let info = at(gpu, "platformInfo")?;
    let platform = Platform {
        chassis: text(info, "chassis_serial_number").map(printable),
        slot: number(info, "slot_number"),
        tray: number(info, "tray_index"),
        host: number(info, "host_id"),
        module: number(info, "module_id"),
    };
    (platform != Platform::default()).then_some(platform)
}

pub(super) fn trimmed<'a>(node: Node<'a, '_>) -> &'a str {
    node.text().unwrap_or_default().trim()
}

/// What an element says; `None` where it says in one of the driver's ways that there is nothing to say.
pub(super) fn text<'a>(node: Node<'a, '_>, path: &str) -> Option<&'a str> {
    let text = trimmed(at(node, path)?);
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let nothing = matches!(
        bare,
        "" | "N/A"
            | "Not Supported"
            | "Not Available"
            | "Unknown Error"
            | "Unknown"
            | "ERR!"
            | "Insufficient Permissions"
            | "GPU is lost"
            | "GPU requires reset"
            | "Requested functionality has been deprecated"
    );
    (!nothing).then_some(text)
}

pub(super) fn number(node: Node<'_, '_>, path: &str) -> Option<u32> {
    text(node, path)?.parse().ok()
}

/// `189471 MiB`
fn mebibytes(node: Node<'_, '_>, path: &str) -> Option<u64> {
    let number: u64 = text(node, path)?.strip_suffix("MiB")?.trim_end().parse().ok()?;
    number.checked_mul(1 << 20)
}
