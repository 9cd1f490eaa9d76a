//! Calls that nvml-wrapper 0.13 does not have, and one that it has wrong: its `remote_device_type` answers
//! `Unknown`, whatever NVML says. Sources: the NVML API Reference; a symbol that the driver lacks is `None`.

use nvml_wrapper::Device;
use nvml_wrapper_sys::bindings as ffi;
use phalanx_common::topology::machine::{ClusterUuid, Fabric, FabricState, Platform};

/// Of a structure with this version: NVML wants its size, too.
const fn version_of<T>(version: u32) -> u32 {
    version << 24 | size_of::<T>() as u32
}

/// `nvmlDeviceGetGpuFabricInfoV`, and what is wrong with the fabric.
pub(super) fn fabric(device: &Device<'_>) -> Option<(Fabric, Vec<String>)> {
    let call = device.nvml().lib().nvmlDeviceGetGpuFabricInfoV.as_ref().ok()?;
    let mut info = ffi::nvmlGpuFabricInfo_v3_t {
        version: version_of::<ffi::nvmlGpuFabricInfo_v3_t>(3),
        clusterUuid: [0; 16],
        status: 0,
        cliqueId: 0,
        state: 0,
        healthMask: 0,
        healthSummary: 0,
    };
    // SAFETY: the handle is of this initialised library, and `info` says its own version and size.
    let done = unsafe { call(device.handle(), &raw mut info) };
    if done != ffi::nvmlReturn_enum_NVML_SUCCESS {
        return None;
    }
    let state = match info.state {
        1 => FabricState::NotStarted,
        2 => FabricState::InProgress,
        3 => FabricState::Completed,
        _ => FabricState::NotSupported,
    };
    let completed = state == FabricState::Completed;
    let fabric = Fabric {
        state,
        succeeded: completed.then_some(info.status == ffi::nvmlReturn_enum_NVML_SUCCESS),
        cluster: Some(ClusterUuid(info.clusterUuid)),
        clique: Some(info.cliqueId),
    };
    Some((fabric, unhealthy(info.healthMask)))
}

/// The parts of NVML_GPU_FABRIC_HEALTH_MASK that are not as they should be: 1 is yes, of the configuration
/// anything above 1 (0 is not supported, everywhere).
fn unhealthy(mask: u32) -> Vec<String> {
    let says = |shift: u32, width: u32| mask >> shift & width;
    let yes = [
        (ffi::NVML_GPU_FABRIC_HEALTH_MASK_SHIFT_DEGRADED_BW, "its bandwidth is degraded"),
        (ffi::NVML_GPU_FABRIC_HEALTH_MASK_SHIFT_ROUTE_RECOVERY, "a route is being recovered"),
        (ffi::NVML_GPU_FABRIC_HEALTH_MASK_SHIFT_ROUTE_UNHEALTHY, "a route is unhealthy"),
        (
            ffi::NVML_GPU_FABRIC_HEALTH_MASK_SHIFT_ACCESS_TIMEOUT_RECOVERY,
            "access timeouts are being recovered",
        ),
    ];
    let configuration = match says(
        ffi::NVML_GPU_FABRIC_HEALTH_MASK_SHIFT_INCORRECT_CONFIGURATION,
        ffi::NVML_GPU_FABRIC_HEALTH_MASK_WIDTH_INCORRECT_CONFIGURATION,
    ) {
        2 => Some("its system GUID is wrong"),
        3 => Some("its chassis serial number is wrong"),
        4 => Some("it is in no partition"),
        5 => Some("it has too few NVLinks"),
        _ => None,
    };
    let said = yes.iter().filter(|(shift, _)| says(*shift, 0b11) == 1).map(|(_, what)| *what);
    said.chain(configuration).map(str::to_owned).collect()
}

/// `nvmlDeviceGetPlatformInfo`.
pub(super) fn platform(device: &Device<'_>) -> Option<Platform> {
    let call = device.nvml().lib().nvmlDeviceGetPlatformInfo.as_ref().ok()?;
    let mut info = ffi::nvmlPlatformInfo_v2_t {
        version: version_of::<ffi::nvmlPlatformInfo_v2_t>(2),
        ibGuid: [0; 16],
        chassisSerialNumber: [0; 16],
        slotNumber: 0,
        trayIndex: 0,
        hostId: 0,
        peerType: 0,
        moduleId: 0,
    };
    // SAFETY: the handle is of this initialised library, and `info` says its own version and size.
    let done = unsafe { call(device.handle(), &raw mut info) };
    let serial: String =
        String::from_utf8_lossy(&info.chassisSerialNumber).chars().take_while(|c| !c.is_control()).collect();
    (done == ffi::nvmlReturn_enum_NVML_SUCCESS).then(|| Platform {
        chassis: Some(serial.trim().to_owned()).filter(|serial| !serial.is_empty()),
        slot: Some(info.slotNumber.into()),
        tray: Some(info.trayIndex.into()),
        host: Some(info.hostId.into()),
        module: Some(info.moduleId.into()),
    })
}

/// What is at the other end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remote {
    Gpu,
    Cpu,
    Switch,
}

/// `nvmlDeviceGetNvLinkRemoteDeviceType`.
pub(super) fn remote_type(device: &Device<'_>, link: u32) -> Option<Remote> {
    let call = device.nvml().lib().nvmlDeviceGetNvLinkRemoteDeviceType.as_ref().ok()?;
    let mut kind = ffi::nvmlIntNvLinkDeviceType_enum_NVML_NVLINK_DEVICE_TYPE_UNKNOWN;
    // SAFETY: the handle is of this initialised library, and `kind` is written through once.
    let done = unsafe { call(device.handle(), link, &raw mut kind) };
    if done != ffi::nvmlReturn_enum_NVML_SUCCESS {
        return None;
    }
    match kind {
        ffi::nvmlIntNvLinkDeviceType_enum_NVML_NVLINK_DEVICE_TYPE_GPU => Some(Remote::Gpu),
        ffi::nvmlIntNvLinkDeviceType_enum_NVML_NVLINK_DEVICE_TYPE_IBMNPU => Some(Remote::Cpu),
        ffi::nvmlIntNvLinkDeviceType_enum_NVML_NVLINK_DEVICE_TYPE_SWITCH => Some(Remote::Switch),
        _ => None,
    }
}

/// Rows of memory: one is to be replaced at the next reset; one could not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Remapped {
    pub(super) pending: bool,
    pub(super) failed: bool,
}

/// `nvmlDeviceGetRemappedRows`.
pub(super) fn remapped(device: &Device<'_>) -> Option<Remapped> {
    let call = device.nvml().lib().nvmlDeviceGetRemappedRows.as_ref().ok()?;
    let (mut corrected, mut uncorrected, mut pending, mut failed) = (0, 0, 0, 0);
    // SAFETY: the handle is of this initialised library, and each of the four is written through once.
    let done = unsafe {
        call(device.handle(), &raw mut corrected, &raw mut uncorrected, &raw mut pending, &raw mut failed)
    };
    (done == ffi::nvmlReturn_enum_NVML_SUCCESS)
        .then_some(Remapped { pending: pending != 0, failed: failed != 0 })
}

/// `nvmlDeviceGetAttributes` of a MIG device: the compute slices of its GPU instance and of its compute instance.
pub(super) fn slices(device: &Device<'_>) -> Option<(u32, u32)> {
    let call = device.nvml().lib().nvmlDeviceGetAttributes_v2.as_ref().ok()?;
    let mut attributes = ffi::nvmlDeviceAttributes_t {
        multiprocessorCount: 0,
        sharedCopyEngineCount: 0,
        sharedDecoderCount: 0,
        sharedEncoderCount: 0,
        sharedJpegCount: 0,
        sharedOfaCount: 0,
        gpuInstanceSliceCount: 0,
        computeInstanceSliceCount: 0,
        memorySizeMB: 0,
    };
    // SAFETY: the handle is of this initialised library, and `attributes` is what this version of the call writes.
    let done = unsafe { call(device.handle(), &raw mut attributes) };
    let (instance, compute) = (attributes.gpuInstanceSliceCount, attributes.computeInstanceSliceCount);
    (done == ffi::nvmlReturn_enum_NVML_SUCCESS && instance > 0 && compute > 0).then_some((instance, compute))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_fabric_is_said_and_what_is_not_supported_is_not_wrong() {
        assert_eq!(unhealthy(0), [""; 0]);
        assert_eq!(unhealthy(0b01_1010_1010), [""; 0], "four times no, and a right configuration");
        let wrong = unhealthy(5 << 8 | 0b1001_1001);
        assert_eq!(wrong, ["its bandwidth is degraded", "a route is unhealthy", "it has too few NVLinks"]);
    }

    #[test]
    fn versions_have_the_sizes_that_the_driver_expects() {
        assert_eq!(version_of::<ffi::nvmlGpuFabricInfo_v3_t>(3), 3 << 24 | 40);
        assert_eq!(version_of::<ffi::nvmlPlatformInfo_v2_t>(2), 2 << 24 | 44);
    }
}
