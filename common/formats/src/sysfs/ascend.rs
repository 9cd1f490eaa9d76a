//! Ascend NPUs as PCI and their device files have them.

use phalanx_common::topology::machine::{Accelerator, AcceleratorKind, Machine};

use super::files::{Files, computes};

/// More than any machine has.
const MAX_NPUS: usize = 256;

/// After the PCI devices are known. The number of `/dev/davinci3` is not told by the order of the PCI
/// addresses, so those are used only where PCI shows nothing, as on boards whose NPU is part of the chip.
pub(super) fn add(files: &mut Files<'_>, machine: &mut Machine) {
    let by_pci: Vec<Accelerator> = machine
        .pci
        .iter()
        .filter(|(_, device)| computes(device, AcceleratorKind::Ascend))
        .map(|(bdf, _)| Accelerator { bdf: Some(*bdf), ..Accelerator::new(AcceleratorKind::Ascend) })
        .collect();
    if !by_pci.is_empty() {
        machine.accelerators.extend(by_pci);
        return;
    }
    let by_file = files.numbered("dev", "davinci").into_iter().take(MAX_NPUS);
    let new = |index| Accelerator { index: Some(index), ..Accelerator::new(AcceleratorKind::Ascend) };
    machine.accelerators.extend(by_file.map(new));
}
