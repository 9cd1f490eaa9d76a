//! Calls about what a GPU is connected with.

use std::ffi::c_uint;

use nvml_wrapper_sys::bindings as ffi;
use phalanx_common::topology::machine::{PathType, Peer};

use crate::call::{Code, Done, INVALID_ARGUMENT, NOT_SUPPORTED, code, give};
use crate::device::pci_info;
use crate::host::Gpu;
use crate::loaded::{Device, ask, ask_gpu, device};

/// Answers a call about one link; those that a GPU has not are not supported.
fn ask_link(gpu: ffi::nvmlDevice_t, link: c_uint, answer: impl FnOnce(&Gpu, Peer) -> Done) -> Code {
    code(ask_gpu(gpu, |gpu| {
        if link >= ffi::NVML_NVLINK_MAX_LINKS {
            return Err(INVALID_ARGUMENT);
        }
        answer(gpu, *gpu.links.get(link as usize).ok_or(NOT_SUPPORTED)?)
    }))
}

/// # Safety
/// `state` is null, or can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetNvLinkState(
    gpu: ffi::nvmlDevice_t,
    link: c_uint,
    state: *mut ffi::nvmlEnableState_t,
) -> Code {
    // SAFETY: the caller's variable, by this call's contract.
    ask_link(gpu, link, |_, _| unsafe { give(state, ffi::nvmlEnableState_enum_NVML_FEATURE_ENABLED) })
}

/// The constant of the driver for a generation as a profile numbers it.
fn of_generation(generation: u32) -> ffi::nvmlNvlinkVersion_t {
    match generation {
        1 => ffi::nvmlNvlinkVersion_enum_NVML_NVLINK_VERSION_1_0,
        2 => ffi::nvmlNvlinkVersion_enum_NVML_NVLINK_VERSION_2_0,
        3 => ffi::nvmlNvlinkVersion_enum_NVML_NVLINK_VERSION_3_0,
        4 => ffi::nvmlNvlinkVersion_enum_NVML_NVLINK_VERSION_4_0,
        5 => ffi::nvmlNvlinkVersion_enum_NVML_NVLINK_VERSION_5_0,
        _ => ffi::nvmlNvlinkVersion_enum_NVML_NVLINK_VERSION_INVALID,
    }
}

/// # Safety
/// `version` is null, or can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetNvLinkVersion(
    gpu: ffi::nvmlDevice_t,
    link: c_uint,
    version: *mut c_uint,
) -> Code {
    // SAFETY: the caller's variable, by this call's contract.
    ask_link(gpu, link, |gpu, _| unsafe { give(version, of_generation(gpu.nvlink)) })
}

/// # Safety
/// `pci` is null, or can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetNvLinkRemotePciInfo_v2(
    gpu: ffi::nvmlDevice_t,
    link: c_uint,
    pci: *mut ffi::nvmlPciInfo_t,
) -> Code {
    ask_link(gpu, link, |_, peer| {
        let (Peer::Accelerator(bdf) | Peer::Switch(Some(bdf))) = peer else { return Err(NOT_SUPPORTED) };
        // SAFETY: the caller's variable, by this call's contract.
        unsafe { give(pci, pci_info(bdf, 0)) }
    })
}

/// # Safety
/// `kind` is null, or can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetNvLinkRemoteDeviceType(
    gpu: ffi::nvmlDevice_t,
    link: c_uint,
    kind: *mut ffi::nvmlIntNvLinkDeviceType_t,
) -> Code {
    ask_link(gpu, link, |_, peer| {
        let found = match peer {
            Peer::Accelerator(_) | Peer::Numbered(_) => {
                ffi::nvmlIntNvLinkDeviceType_enum_NVML_NVLINK_DEVICE_TYPE_GPU
            }
            Peer::Switch(_) => ffi::nvmlIntNvLinkDeviceType_enum_NVML_NVLINK_DEVICE_TYPE_SWITCH,
            Peer::Cpu(_) => ffi::nvmlIntNvLinkDeviceType_enum_NVML_NVLINK_DEVICE_TYPE_IBMNPU,
        };
        // SAFETY: the caller's variable, by this call's contract.
        unsafe { give(kind, found) }
    })
}

/// # Safety
/// `level` is null, or can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetTopologyCommonAncestor(
    first: ffi::nvmlDevice_t,
    second: ffi::nvmlDevice_t,
    level: *mut ffi::nvmlGpuTopologyLevel_t,
) -> Code {
    code(ask(|host| {
        let (Device::Gpu(a), Device::Gpu(b)) = (device(host, first)?, device(host, second)?) else {
            return Err(INVALID_ARGUMENT);
        };
        let (a, b) = a.told.bdf.zip(b.told.bdf).ok_or(NOT_SUPPORTED)?;
        let found = match host.machine.path_of(a, b).ok_or(NOT_SUPPORTED)? {
            PathType::Pix if a == b => ffi::nvmlGpuLevel_enum_NVML_TOPOLOGY_INTERNAL,
            PathType::Pix => ffi::nvmlGpuLevel_enum_NVML_TOPOLOGY_SINGLE,
            PathType::Pxb => ffi::nvmlGpuLevel_enum_NVML_TOPOLOGY_MULTIPLE,
            PathType::Phb => ffi::nvmlGpuLevel_enum_NVML_TOPOLOGY_HOSTBRIDGE,
            PathType::Node => ffi::nvmlGpuLevel_enum_NVML_TOPOLOGY_NODE,
            PathType::Sys => ffi::nvmlGpuLevel_enum_NVML_TOPOLOGY_SYSTEM,
        };
        // SAFETY: the caller's variable, by this call's contract.
        unsafe { give(level, found) }
    }))
}

/// # Safety
/// `status` is null, or can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetP2PStatus(
    first: ffi::nvmlDevice_t,
    second: ffi::nvmlDevice_t,
    index: ffi::nvmlGpuP2PCapsIndex_t,
    status: *mut ffi::nvmlGpuP2PStatus_t,
) -> Code {
    code(ask(|host| {
        let (Device::Gpu(a), Device::Gpu(b)) = (device(host, first)?, device(host, second)?) else {
            return Err(INVALID_ARGUMENT);
        };
        let by_nvlink = a.links.iter().any(|peer| match peer {
            Peer::Accelerator(bdf) => Some(*bdf) == b.told.bdf,
            switch => b.links.contains(switch),
        });
        let works = by_nvlink || index != ffi::nvmlGpuP2PCapsIndex_enum_NVML_P2P_CAPS_INDEX_NVLINK;
        let found = if works {
            ffi::nvmlGpuP2PStatus_enum_NVML_P2P_STATUS_OK
        } else {
            ffi::nvmlGpuP2PStatus_enum_NVML_P2P_STATUS_NOT_SUPPORTED
        };
        // SAFETY: the caller's variable, by this call's contract.
        unsafe { give(status, found) }
    }))
}
