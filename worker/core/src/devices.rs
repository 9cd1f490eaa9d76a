//! The variables that say which devices a process sees.
//!
//! | devices | variable | its numbers are those of |
//! |---|---|---|
//! | NVIDIA | `CUDA_VISIBLE_DEVICES`, with `CUDA_DEVICE_ORDER=PCI_BUS_ID` | NVML, which counts by PCI address |
//! | AMD | `ROCR_VISIBLE_DEVICES` | the kernel's KFD |
//! | Ascend | `ASCEND_RT_VISIBLE_DEVICES` | `npu-smi` |
//!
//! The numbers are the machine's, whatever mask stands around: a variable replaces the inherited one, it is not
//! applied to what that leaves. Of AMD's the one of ROCr is taken, as AMD advises on Linux: it holds for all
//! programs of ROCm, and counts as the kernel does. HIP reads `HIP_VISIBLE_DEVICES` and `CUDA_VISIBLE_DEVICES`,
//! too, and counts in them what ROCr has left, in an order of its own: with two masks a rank sees the wrong device,
//! or none (AMD ROCm documentation, "GPU isolation techniques").

use std::collections::BTreeMap;

use phalanx_common::plan::{BoundDevice, PodBinding};
use phalanx_common::spec::DeviceView;
use phalanx_common::topology::machine::AcceleratorKind;

const CUDA: &str = "CUDA_VISIBLE_DEVICES";
const CUDA_ORDER: &str = "CUDA_DEVICE_ORDER";
const BY_PCI_ADDRESS: &str = "PCI_BUS_ID";
/// Each hides devices of AMD.
const OF_AMD: [&str; 4] = ["ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", CUDA, "GPU_DEVICE_ORDINAL"];
const ASCEND: &str = "ASCEND_RT_VISIBLE_DEVICES";

/// Every variable that hides devices of any vendor.
pub(crate) const MASKS: [&str; 5] =
    [ASCEND, CUDA, "GPU_DEVICE_ORDINAL", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"];

/// Those that hide devices of this one, ours first.
fn masks(kind: AcceleratorKind) -> &'static [&'static str] {
    match kind {
        AcceleratorKind::Nvidia => &[CUDA],
        AcceleratorKind::Amd => &OF_AMD,
        AcceleratorKind::Ascend => &[ASCEND],
    }
}

/// What says which devices a rank sees.
pub(crate) struct Mask<'a> {
    pub(crate) name: &'static str,
    pub(crate) ours: String,
    /// The mask for devices of that vendor that the job sets.
    pub(crate) theirs: Option<(&'static str, &'a str)>,
}

/// The mask of a rank; `None` for a pod without devices. `job` is what the job sets.
pub(crate) fn mask<'a>(
    binding: &PodBinding,
    local_rank: u32,
    job: &'a BTreeMap<String, String>,
) -> Option<Mask<'a>> {
    let kind = binding.devices.first()?.kind;
    let seen = match binding.view {
        DeviceView::Pod => &binding.devices[..],
        DeviceView::Rank => binding.devices_of(local_rank),
    };
    // Counted in another order, the numbers would be those of somebody else's GPUs.
    let reordered =
        kind == AcceleratorKind::Nvidia && job.get(CUDA_ORDER).is_some_and(|order| order != BY_PCI_ADDRESS);
    let name = |device: &BoundDevice| match &device.uuid {
        Some(uuid) if device.mig || reordered => uuid.clone(),
        _ => device.index.to_string(),
    };
    let names: Vec<String> = seen.iter().map(name).collect();
    let theirs = masks(kind).iter().find_map(|name| Some((*name, job.get(*name)?.as_str())));
    Some(Mask { name: masks(kind)[0], ours: names.join(","), theirs })
}

/// What makes the numbers of a mask mean what they do here.
pub(crate) fn order(binding: &PodBinding) -> Option<(&'static str, &'static str)> {
    let kind = binding.devices.first()?.kind;
    (kind == AcceleratorKind::Nvidia).then_some((CUDA_ORDER, BY_PCI_ADDRESS))
}
