//! All that NVML knows of a machine's GPUs.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use nvml_wrapper::enum_wrappers::device::{EccCounter, MemoryError};
use nvml_wrapper::enums::device::SampleValue;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::{Device, Nvml};
use nvml_wrapper_sys::bindings::{
    NVML_AFFINITY_SCOPE_NODE, field_id,
    nvmlNvlinkVersion_enum_NVML_NVLINK_VERSION_1_0 as NVML_NVLINK_VERSION_1_0,
    nvmlNvlinkVersion_enum_NVML_NVLINK_VERSION_2_0 as NVML_NVLINK_VERSION_2_0,
    nvmlNvlinkVersion_enum_NVML_NVLINK_VERSION_2_2 as NVML_NVLINK_VERSION_2_2,
    nvmlNvlinkVersion_enum_NVML_NVLINK_VERSION_3_0 as NVML_NVLINK_VERSION_3_0,
    nvmlNvlinkVersion_enum_NVML_NVLINK_VERSION_3_1 as NVML_NVLINK_VERSION_3_1,
    nvmlNvlinkVersion_enum_NVML_NVLINK_VERSION_4_0 as NVML_NVLINK_VERSION_4_0,
    nvmlNvlinkVersion_enum_NVML_NVLINK_VERSION_5_0 as NVML_NVLINK_VERSION_5_0,
};
use phalanx_common::topology::Bdf;
use phalanx_common::topology::machine::{
    Accelerator, AcceleratorKind, Ailment, Attachment, CpuSet, LinkKind, Machine, MigSlice, Peer,
};

use super::raw::{self, Remote};

/// Links of a GPU (NVML_NVLINK_MAX_LINKS).
const MOST_LINKS: u32 = 18;
/// Words of an affinity mask.
const MASK_WORDS: usize = CpuSet::LIMIT as usize / 64;
/// Words of a mask of NUMA nodes: the kernel has at most 1,024.
const NODE_WORDS: usize = 16;

/// GPUs cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no NVIDIA driver on this machine")]
    NoDriver,
    #[error("the NVIDIA management library {library} does not work: {error}")]
    Nvml { library: String, error: NvmlError },
}

/// The management library, open for as long as a worker looks.
#[derive(Debug)]
pub struct Board {
    nvml: Nvml,
    library: String,
    /// What a GPU was when it answered last, by its index: one that is lost does not say it.
    known: BTreeMap<u32, Accelerator>,
}

impl Board {
    /// `library` in place of the driver's own.
    ///
    /// # Errors
    /// No driver, or one that does not answer.
    pub fn open(library: Option<OsString>) -> Result<Board, Error> {
        if library.is_none() && !Path::new("/dev/nvidiactl").exists() {
            return Err(Error::NoDriver);
        }
        let library = library.unwrap_or_else(|| "libnvidia-ml.so.1".into());
        let name = library.to_string_lossy().into_owned();
        match Nvml::builder().lib_path(&library).init() {
            Ok(nvml) => Ok(Board { nvml, library: name, known: BTreeMap::new() }),
            Err(error) => Err(Error::Nvml { library: name, error }),
        }
    }

    /// The GPUs, by PCI address. One that does not answer is listed with that as its ailment.
    ///
    /// # Errors
    /// The library answers nothing at all.
    pub fn read(&mut self) -> Result<Machine, Error> {
        let mut known = std::mem::take(&mut self.known);
        let mut accelerators: Vec<Accelerator> = Vec::new();
        self.each(|index, device| {
            let found = match device {
                Ok(device) => accelerator(index, device),
                Err(error) => lost(index, known.get(&index), &error),
            };
            known.insert(index, found.clone());
            accelerators.push(found);
        })?;
        self.known = known;
        accelerators.sort_by_key(|it| (it.bdf.is_none(), it.bdf, it.index));
        Ok(Machine { accelerators, ..Machine::default() })
    }

    /// Every GPU that the driver counts, or why it does not answer.
    pub(super) fn each(
        &self,
        mut take: impl FnMut(u32, Result<&Device<'_>, NvmlError>),
    ) -> Result<(), Error> {
        let failed = |error| Error::Nvml { library: self.library.clone(), error };
        for index in 0..self.nvml.device_count().map_err(failed)? {
            let device = self.nvml.device_by_index(index);
            // A handle is to be had of some that are lost, too.
            match device.and_then(|device| device.uuid().map(|_| device)) {
                Ok(device) => take(index, Ok(&device)),
                Err(error) => take(index, Err(error)),
            }
        }
        Ok(())
    }
}

/// What it is stays, and all that changes is not known.
fn lost(index: u32, known: Option<&Accelerator>, error: &NvmlError) -> Accelerator {
    let ailment = match error {
        NvmlError::GpuLost => Ailment::Lost(error.to_string()),
        _ => Ailment::State(error.to_string()),
    };
    let was = known.cloned().unwrap_or_else(|| Accelerator::new(AcceleratorKind::Nvidia));
    Accelerator {
        bdf: was.bdf,
        index: Some(index),
        model: was.model,
        uuid: was.uuid,
        serial: was.serial,
        memory_bytes: was.memory_bytes,
        ailments: Some(vec![ailment]),
        ..Accelerator::new(AcceleratorKind::Nvidia)
    }
}

fn accelerator(index: u32, device: &Device<'_>) -> Accelerator {
    let fabric = raw::fabric(device);
    let mig = device.mig_mode().ok().map(|mode| mode.current == 1);
    let cpus = device.cpu_affinity(MASK_WORDS).ok().map(|words| set(&words));
    let nodes = device.memory_affinity(NODE_WORDS, NVML_AFFINITY_SCOPE_NODE).ok().map(|words| set(&words));
    let not_empty = |set: &CpuSet| !set.is_empty();
    Accelerator {
        bdf: device.pci_info().ok().and_then(|pci| bdf(&pci.bus_id)),
        index: Some(index),
        model: device.name().ok(),
        uuid: device.uuid().ok(),
        serial: device.serial().ok(),
        memory_bytes: device.memory_info().ok().map(|memory| memory.total),
        cpus: cpus.filter(not_empty),
        nodes: nodes.filter(not_empty),
        own_node: device.numa_node_id().ok(),
        mig,
        slices: if mig == Some(true) { slices(device) } else { Vec::new() },
        links: links(device),
        ailments: Some(ailments(device, fabric.as_ref().map_or(&[], |(_, unhealthy)| unhealthy))),
        processes: device.running_compute_processes().ok().map(|processes| {
            let mut pids: Vec<u32> = processes.iter().map(|process| process.pid).collect();
            pids.sort_unstable();
            pids.dedup();
            pids
        }),
        fabric: fabric.map(|(fabric, _)| fabric),
        platform: raw::platform(device),
        ..Accelerator::new(AcceleratorKind::Nvidia)
    }
}

/// NVML writes a domain of eight digits.
fn bdf(bus_id: &str) -> Option<Bdf> {
    bus_id.parse().ok()
}

fn set(words: &[std::ffi::c_ulong]) -> CpuSet {
    let mut set = CpuSet::new();
    for (word, base) in words.iter().zip((0u32..).step_by(64)) {
        for bit in (0..64).filter(|bit| word >> bit & 1 == 1) {
            // The mask is no longer than the limit.
            let _ = set.insert(base + bit);
        }
    }
    set
}

fn slices(device: &Device<'_>) -> Vec<MigSlice> {
    let most = device.mig_device_count().unwrap_or(0);
    let slice = |index| {
        let slice = device.mig_device_by_index(index).ok()?;
        let (instance_slices, compute_slices) = raw::slices(&slice).unzip();
        Some(MigSlice {
            index,
            uuid: slice.uuid().ok(),
            gpu_instance: None,
            compute_instance: None,
            memory_bytes: slice.memory_info().ok().map(|memory| memory.total),
            instance_slices,
            compute_slices,
        })
    };
    (0..most).filter_map(slice).collect()
}

/// Links that work, in bundles by their peer.
fn links(device: &Device<'_>) -> Vec<Attachment> {
    let mut bundles: BTreeMap<Peer, (u32, Option<u64>)> = BTreeMap::new();
    for number in 0..MOST_LINKS {
        let link = device.link_wrapper_for(number);
        if !link.is_active().unwrap_or(false) {
            continue;
        }
        let remote = link.remote_pci_info().ok().and_then(|pci| bdf(&pci.bus_id));
        let peer = match (raw::remote_type(device, number), remote) {
            (Some(Remote::Switch), remote) => Peer::Switch(remote),
            (Some(Remote::Cpu), _) => Peer::Cpu(None),
            (Some(Remote::Gpu) | None, Some(remote)) => Peer::Accelerator(remote),
            (Some(Remote::Gpu) | None, None) => continue,
        };
        let speed = link.version().ok().and_then(mb_per_s);
        let bundle = bundles.entry(peer).or_insert((0, Some(0)));
        bundle.0 += 1;
        bundle.1 = bundle.1.zip(speed).map(|(sum, one)| sum + one);
    }
    let attachment = |(peer, (lanes, mb_per_s))| Attachment { peer, kind: LinkKind::NvLink, lanes, mb_per_s };
    bundles.into_iter().map(attachment).collect()
}

/// One link of that version (nvmlNvlinkVersion_t), each direction, by NVIDIA's architecture white papers: P100, V100,
/// A100, H100, B200.
fn mb_per_s(version: u32) -> Option<u64> {
    match version {
        NVML_NVLINK_VERSION_1_0 => Some(20_000),
        NVML_NVLINK_VERSION_2_0
        | NVML_NVLINK_VERSION_2_2
        | NVML_NVLINK_VERSION_3_0
        | NVML_NVLINK_VERSION_3_1
        | NVML_NVLINK_VERSION_4_0 => Some(25_000),
        NVML_NVLINK_VERSION_5_0 => Some(50_000),
        _ => None,
    }
}

fn ailments(device: &Device<'_>, fabric: &[String]) -> Vec<Ailment> {
    let mut ailments: Vec<Ailment> = recovery(device).into_iter().collect();
    let remapped = raw::remapped(device);
    if remapped.is_some_and(|remapped| remapped.failed) {
        ailments.push(Ailment::RowRemapFailed);
    }
    if remapped.is_some_and(|remapped| remapped.pending) {
        ailments.push(Ailment::RowRemapPending);
    }
    // Since the driver was loaded: those before it are over.
    let errors = device.total_ecc_errors(MemoryError::Uncorrected, EccCounter::Volatile);
    if let Some(errors) = errors.ok().filter(|errors| *errors > 0) {
        ailments.push(Ailment::UncorrectableEcc(errors));
    }
    ailments.extend(fabric.iter().cloned().map(Ailment::Fabric));
    ailments
}

/// What the driver asks for before this GPU is used again (NVML_FI_DEV_GET_GPU_RECOVERY_ACTION).
fn recovery(device: &Device<'_>) -> Option<Ailment> {
    let asked = device.field_values_for(&[FieldId(field_id::NVML_FI_DEV_GET_GPU_RECOVERY_ACTION)]).ok()?;
    let sample = asked.into_iter().next()?.ok()?;
    let action = match sample.value.ok()? {
        SampleValue::U32(action) => action,
        SampleValue::U64(action) => u32::try_from(action).ok()?,
        _ => return None,
    };
    let action = match action {
        0 => return None,
        1 => "reset the GPU".to_owned(),
        2 => "reboot the node".to_owned(),
        3 => "drain peer-to-peer traffic".to_owned(),
        4 => "drain and reset the GPU".to_owned(),
        other => format!("action {other}"),
    };
    Some(Ailment::Recovery(action))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_go_by_the_drivers_constants_which_are_no_generations() {
        // Invalid, 1.0, 2.0, 2.2, 3.0, 3.1, 4.0, 5.0, unheard of.
        let gb_per_s = (0..9).map(|version| mb_per_s(version).map(|speed| speed / 1000)).collect::<Vec<_>>();
        let known = [20, 25, 25, 25, 25, 25, 50].map(Some);
        assert_eq!(gb_per_s, [&[None][..], &known, &[None]].concat());
    }
}
