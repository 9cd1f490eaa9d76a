//! Calls about one device: what it is, its memory, the CPUs near it, its slices, who computes on it.

use std::ffi::{c_char, c_uint, c_ulong};

use nvml_wrapper_sys::bindings as ffi;
use phalanx_common::topology::Bdf;

use crate::call::{
    Code, Done, INSUFFICIENT_SIZE, INVALID_ARGUMENT, NOT_FOUND, NOT_SUPPORTED, characters, code,
    expect_version, give, give_all, give_text, version_of,
};
use crate::loaded::{Device, ask, ask_gpu, device, handle};

/// # Safety
/// `index` is null, or can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetIndex(gpu: ffi::nvmlDevice_t, index: *mut c_uint) -> Code {
    // SAFETY: the caller's variable, by this call's contract.
    code(ask_gpu(gpu, |gpu| unsafe { give(index, gpu.told.index.unwrap_or(0)) }))
}

/// # Safety
/// `uuid` is null, or `length` bytes can be written there.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetUUID(gpu: ffi::nvmlDevice_t, uuid: *mut c_char, length: c_uint) -> Code {
    code(ask(|host| {
        let text = match device(host, gpu)? {
            Device::Gpu(gpu) => gpu.told.uuid.as_deref(),
            Device::Slice(slice) => Some(slice.uuid.as_str()),
        };
        // SAFETY: the caller's buffer, by this call's contract.
        unsafe { give_text(uuid, length, text.ok_or(NOT_SUPPORTED)?) }
    }))
}

/// # Safety
/// `name` is null, or `length` bytes can be written there.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetName(gpu: ffi::nvmlDevice_t, name: *mut c_char, length: c_uint) -> Code {
    // SAFETY: the caller's buffer, by this call's contract.
    code(ask_gpu(gpu, |gpu| unsafe { text(name, length, gpu.told.model.as_deref()) }))
}

/// # Safety
/// `serial` is null, or `length` bytes can be written there.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetSerial(
    gpu: ffi::nvmlDevice_t,
    serial: *mut c_char,
    length: c_uint,
) -> Code {
    // SAFETY: the caller's buffer, by this call's contract.
    code(ask_gpu(gpu, |gpu| unsafe { text(serial, length, gpu.told.serial.as_deref()) }))
}

/// # Safety
/// As [`give_text`].
unsafe fn text(at: *mut c_char, length: c_uint, text: Option<&str>) -> Done {
    // SAFETY: by this function's own contract.
    unsafe { give_text(at, length, text.ok_or(NOT_SUPPORTED)?) }
}

/// # Safety
/// `pci` is null, or can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetPciInfo_v3(gpu: ffi::nvmlDevice_t, pci: *mut ffi::nvmlPciInfo_t) -> Code {
    code(ask_gpu(gpu, |gpu| {
        let info = pci_info(gpu.told.bdf.ok_or(NOT_SUPPORTED)?, gpu.pci_id);
        // SAFETY: the caller's variable, by this call's contract.
        unsafe { give(pci, info) }
    }))
}

/// NVML writes a domain of eight digits, and of four in the older field.
pub(crate) fn pci_info(bdf: Bdf, id: u32) -> ffi::nvmlPciInfo_t {
    let rest = format!("{:02X}:{:02X}.{}", bdf.bus, bdf.device, bdf.function);
    ffi::nvmlPciInfo_t {
        busIdLegacy: padded(&format!("{:04X}:{rest}", bdf.domain)),
        domain: bdf.domain,
        bus: bdf.bus.into(),
        device: bdf.device.into(),
        pciDeviceId: id,
        pciSubSystemId: 0,
        busId: padded(&format!("{:08X}:{rest}", bdf.domain)),
    }
}

/// What does not fit is cut, and the last character is a NUL.
fn padded<const N: usize>(text: &str) -> [c_char; N] {
    let mut field = [0; N];
    for (at, character) in field[..N - 1].iter_mut().zip(characters(text)) {
        *at = character;
    }
    field
}

fn memory(gpu: ffi::nvmlDevice_t, answer: impl FnOnce(u64) -> Done) -> Code {
    code(ask(|host| {
        let total = match device(host, gpu)? {
            Device::Gpu(gpu) => gpu.told.memory_bytes.ok_or(NOT_SUPPORTED)?,
            Device::Slice(slice) => slice.memory_bytes,
        };
        answer(total)
    }))
}

/// # Safety
/// `memory` is null, or can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetMemoryInfo(gpu: ffi::nvmlDevice_t, at: *mut ffi::nvmlMemory_t) -> Code {
    // SAFETY: the caller's variable, by this call's contract.
    memory(gpu, |total| unsafe { give(at, ffi::nvmlMemory_t { total, free: total, used: 0 }) })
}

/// # Safety
/// `at` is null, or can be read and written.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetMemoryInfo_v2(
    gpu: ffi::nvmlDevice_t,
    at: *mut ffi::nvmlMemory_v2_t,
) -> Code {
    let version = version_of::<ffi::nvmlMemory_v2_t>(2);
    memory(gpu, |total| {
        // SAFETY: the caller's structure, which begins with its version.
        unsafe { expect_version(at.cast_const().cast(), version) }?;
        let memory = ffi::nvmlMemory_v2_t { version, total, reserved: 0, free: total, used: 0 };
        // SAFETY: the caller's structure, by this call's contract.
        unsafe { give(at, memory) }
    })
}

/// # Safety
/// `set` is null, or `words` words can be written there.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetCpuAffinity(
    gpu: ffi::nvmlDevice_t,
    words: c_uint,
    set: *mut c_ulong,
) -> Code {
    code(ask_gpu(gpu, |gpu| {
        if gpu.cpus.is_empty() {
            return Err(NOT_SUPPORTED);
        }
        // SAFETY: the caller's words, by this call's contract.
        unsafe { give_all(set, &mask(gpu.cpus.iter(), words)) }
    }))
}

/// # Safety
/// `set` is null, or `words` words can be written there.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetMemoryAffinity(
    gpu: ffi::nvmlDevice_t,
    words: c_uint,
    set: *mut c_ulong,
    scope: ffi::nvmlAffinityScope_t,
) -> Code {
    code(ask_gpu(gpu, |gpu| {
        if scope != ffi::NVML_AFFINITY_SCOPE_NODE {
            return Err(NOT_SUPPORTED);
        }
        let node = gpu.numa.ok_or(NOT_SUPPORTED)?;
        // SAFETY: the caller's words, by this call's contract.
        unsafe { give_all(set, &mask([node].into_iter(), words)) }
    }))
}

/// Of what does not fit nothing is said, as NVML has it.
fn mask(bits: impl Iterator<Item = u32>, words: c_uint) -> Vec<c_ulong> {
    let mut mask = vec![0; words as usize];
    for bit in bits {
        if let Some(word) = mask.get_mut(bit as usize / 64) {
            *word |= 1 << (bit % 64);
        }
    }
    mask
}

/// # Safety
/// `node` is null, or can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetNumaNodeId(gpu: ffi::nvmlDevice_t, node: *mut c_uint) -> Code {
    // SAFETY: the caller's variable, by this call's contract.
    code(ask_gpu(gpu, |gpu| unsafe { give(node, gpu.told.own_node.ok_or(NOT_SUPPORTED)?) }))
}

/// # Safety
/// `current` and `pending` are null, or can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetMigMode(
    gpu: ffi::nvmlDevice_t,
    current: *mut c_uint,
    pending: *mut c_uint,
) -> Code {
    code(ask_gpu(gpu, |gpu| {
        let mode = gpu.told.mig.ok_or(NOT_SUPPORTED)?.into();
        // SAFETY: the caller's variables, by this call's contract.
        unsafe { give(current, mode).and_then(|()| give(pending, mode)) }
    }))
}

/// # Safety
/// `count` is null, or can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetMaxMigDeviceCount(gpu: ffi::nvmlDevice_t, count: *mut c_uint) -> Code {
    // SAFETY: the caller's variable, by this call's contract.
    code(ask_gpu(gpu, |_| unsafe { give(count, MOST_SLICES) }))
}

/// Whatever is cut into slices has room for these; most of the places are empty.
const MOST_SLICES: c_uint = 7;

/// # Safety
/// `slice` is null, or can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetMigDeviceHandleByIndex(
    gpu: ffi::nvmlDevice_t,
    index: c_uint,
    slice: *mut ffi::nvmlDevice_t,
) -> Code {
    code(ask_gpu(gpu, |of| {
        of.slices.get(index as usize).ok_or(NOT_FOUND)?;
        let place = gpu.addr().checked_sub(1).ok_or(INVALID_ARGUMENT)?;
        // SAFETY: the caller's variable, by this call's contract.
        unsafe { give(slice, handle(place, Some(index as usize))) }
    }))
}

/// # Safety
/// `at` is null, or can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetAttributes_v2(
    slice: ffi::nvmlDevice_t,
    at: *mut ffi::nvmlDeviceAttributes_t,
) -> Code {
    code(ask(|host| {
        let Device::Slice(slice) = device(host, slice)? else { return Err(NOT_SUPPORTED) };
        let attributes = ffi::nvmlDeviceAttributes_t {
            multiprocessorCount: 0,
            sharedCopyEngineCount: 0,
            sharedDecoderCount: 0,
            sharedEncoderCount: 0,
            sharedJpegCount: 0,
            sharedOfaCount: 0,
            gpuInstanceSliceCount: slice.slices.0,
            computeInstanceSliceCount: slice.slices.1,
            memorySizeMB: slice.memory_bytes >> 20,
        };
        // SAFETY: the caller's structure, by this call's contract.
        unsafe { give(at, attributes) }
    }))
}

/// # Safety
/// `count` is null, or can be read and written; as many places as it says are at `infos`.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetComputeRunningProcesses_v3(
    gpu: ffi::nvmlDevice_t,
    count: *mut c_uint,
    infos: *mut ffi::nvmlProcessInfo_t,
) -> Code {
    code(ask_gpu(gpu, |gpu| {
        let pids = gpu.told.processes.as_deref().ok_or(NOT_SUPPORTED)?;
        let info = |pid: &u32| ffi::nvmlProcessInfo_t {
            pid: *pid,
            usedGpuMemory: 1 << 30,
            gpuInstanceId: u32::MAX,
            computeInstanceId: u32::MAX,
        };
        let found: Vec<ffi::nvmlProcessInfo_t> = pids.iter().map(info).collect();
        if count.is_null() {
            return Err(INVALID_ARGUMENT);
        }
        // SAFETY: not null, so the caller's variable, by this call's contract.
        let room = unsafe { count.replace(c_uint::try_from(found.len()).unwrap_or(c_uint::MAX)) };
        match found.len() {
            0 => Ok(()),
            more if more > room as usize => Err(INSUFFICIENT_SIZE),
            // SAFETY: there is room for as many as the caller said, and no more are written.
            _ => unsafe { give_all(infos, &found) },
        }
    }))
}
