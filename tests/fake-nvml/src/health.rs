//! Calls about a GPU's health, its fabric and its place in a rack.

use std::ffi::{c_int, c_uint, c_ulonglong};

use nvml_wrapper_sys::bindings::{self as ffi, field_id};
use phalanx_common::topology::machine::{Ailment, FabricState};

use crate::call::{Code, INVALID_ARGUMENT, NOT_SUPPORTED, SUCCESS, code, expect_version, give, version_of};
use crate::host::{CONDITIONS, Gpu};
use crate::loaded::ask_gpu;

/// # Safety
/// `info` is null, or can be read and written.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetGpuFabricInfoV(
    gpu: ffi::nvmlDevice_t,
    info: *mut ffi::nvmlGpuFabricInfoV_t,
) -> Code {
    code(ask_gpu(gpu, |gpu| {
        let version = version_of::<ffi::nvmlGpuFabricInfo_v3_t>(3);
        // SAFETY: the caller's structure, which begins with its version.
        unsafe { expect_version(info.cast_const().cast(), version) }?;
        let fabric = gpu.told.fabric.as_ref().ok_or(NOT_SUPPORTED)?;
        let state = match fabric.state {
            FabricState::NotSupported => ffi::NVML_GPU_FABRIC_STATE_NOT_SUPPORTED,
            FabricState::NotStarted => ffi::NVML_GPU_FABRIC_STATE_NOT_STARTED,
            FabricState::InProgress => ffi::NVML_GPU_FABRIC_STATE_IN_PROGRESS,
            FabricState::Completed => ffi::NVML_GPU_FABRIC_STATE_COMPLETED,
        };
        let found = ffi::nvmlGpuFabricInfo_v3_t {
            version,
            clusterUuid: fabric.cluster.map_or([0; 16], |cluster| cluster.0),
            status: SUCCESS,
            cliqueId: fabric.clique.unwrap_or(0),
            state: state as ffi::nvmlGpuFabricState_t,
            healthMask: health(gpu),
            healthSummary: 0,
        };
        // SAFETY: the caller's structure, by this call's contract.
        unsafe { give(info, found) }
    }))
}

/// Two bits for each condition, 1 for yes and 2 for no, and above them the configuration.
fn health(gpu: &Gpu) -> u32 {
    let bits = |condition: &&str| if gpu.health.contains(condition) { 1u32 } else { 2 };
    let conditions = CONDITIONS.iter().map(bits).zip((0..).step_by(2));
    let mask = conditions.fold(0, |mask, (bits, shift)| mask | bits << shift);
    mask | gpu.configuration << ffi::NVML_GPU_FABRIC_HEALTH_MASK_SHIFT_INCORRECT_CONFIGURATION
}

/// # Safety
/// `info` is null, or can be read and written.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetPlatformInfo(
    gpu: ffi::nvmlDevice_t,
    info: *mut ffi::nvmlPlatformInfo_t,
) -> Code {
    code(ask_gpu(gpu, |gpu| {
        let version = version_of::<ffi::nvmlPlatformInfo_v2_t>(2);
        // SAFETY: the caller's structure, which begins with its version.
        unsafe { expect_version(info.cast_const().cast(), version) }?;
        let platform = gpu.told.platform.as_ref().ok_or(NOT_SUPPORTED)?;
        let mut chassis = [0; 16];
        for (at, byte) in chassis[..15].iter_mut().zip(platform.chassis.iter().flat_map(|it| it.bytes())) {
            *at = byte;
        }
        let byte = |number: Option<u32>| number.and_then(|it| u8::try_from(it).ok()).unwrap_or(0);
        let found = ffi::nvmlPlatformInfo_v2_t {
            version,
            ibGuid: [0; 16],
            chassisSerialNumber: chassis,
            slotNumber: byte(platform.slot),
            trayIndex: byte(platform.tray),
            hostId: byte(platform.host),
            peerType: 1,
            moduleId: byte(platform.module),
        };
        // SAFETY: the caller's structure, by this call's contract.
        unsafe { give(info, found) }
    }))
}

/// # Safety
/// `errors` is null, or can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetTotalEccErrors(
    gpu: ffi::nvmlDevice_t,
    kind: ffi::nvmlMemoryErrorType_t,
    counter: ffi::nvmlEccCounterType_t,
    errors: *mut c_ulonglong,
) -> Code {
    code(ask_gpu(gpu, |gpu| {
        let wanted = kind == ffi::nvmlMemoryErrorType_enum_NVML_MEMORY_ERROR_TYPE_UNCORRECTED
            && counter == ffi::nvmlEccCounterType_enum_NVML_VOLATILE_ECC;
        let found = gpu.told.ailments.iter().flatten().find_map(|ailment| match ailment {
            Ailment::UncorrectableEcc(errors) if wanted => Some(*errors),
            _ => None,
        });
        // SAFETY: the caller's variable, by this call's contract.
        unsafe { give(errors, found.unwrap_or(0)) }
    }))
}

/// # Safety
/// Each of the four is null, or can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetRemappedRows(
    gpu: ffi::nvmlDevice_t,
    corrected: *mut c_uint,
    uncorrected: *mut c_uint,
    pending: *mut c_uint,
    failed: *mut c_uint,
) -> Code {
    code(ask_gpu(gpu, |gpu| {
        let ailments = gpu.told.ailments.as_deref().unwrap_or_default();
        let has = |ailment: Ailment| c_uint::from(ailments.contains(&ailment));
        for (at, value) in [
            (corrected, 0),
            (uncorrected, 0),
            (pending, has(Ailment::RowRemapPending)),
            (failed, has(Ailment::RowRemapFailed)),
        ] {
            // SAFETY: the caller's variables, by this call's contract.
            unsafe { give(at, value) }?;
        }
        Ok(())
    }))
}

/// # Safety
/// `values` is null, or `count` of them can be read and written there.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetFieldValues(
    gpu: ffi::nvmlDevice_t,
    count: c_int,
    values: *mut ffi::nvmlFieldValue_t,
) -> Code {
    code(ask_gpu(gpu, |gpu| {
        let count = usize::try_from(count).ok().filter(|_| !values.is_null()).ok_or(INVALID_ARGUMENT)?;
        // SAFETY: not null, so the caller's list of that length, which nobody else uses during this call.
        let values = unsafe { std::slice::from_raw_parts_mut(values, count) };
        for value in values {
            let asked = value.fieldId == field_id::NVML_FI_DEV_GET_GPU_RECOVERY_ACTION;
            match gpu.recovery.filter(|_| asked) {
                Some(action) => {
                    value.valueType = ffi::nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_INT;
                    value.value = ffi::nvmlValue_t { uiVal: action };
                    value.nvmlReturn = SUCCESS;
                }
                None => value.nvmlReturn = NOT_SUPPORTED,
            }
        }
        Ok(())
    }))
}
