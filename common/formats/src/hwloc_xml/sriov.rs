//! Virtual functions, of which hwloc does not say what they belong to.

use std::collections::BTreeMap;

use phalanx_common::topology::machine::{Machine, PciDevice, PciKind};

/// Marks adapters with an id of virtual functions that have the physical one beside them: of the same maker,
/// below the same bridge, the nearest before it. One that has none is all that a guest sees of an adapter, and
/// is its port.
pub(super) fn recognise(machine: &mut Machine) {
    let is_virtual = |device: &PciDevice| {
        device.vendor.zip(device.device).is_some_and(|(vendor, id)| PciDevice::is_virtual_id(vendor, id))
    };
    let mut physical = BTreeMap::new();
    let mut found = Vec::new();
    // In the order of addresses, in which the functions below one bridge follow each other.
    for (bdf, device) in machine.pci.iter().filter(|(_, device)| device.kind == Some(PciKind::Network)) {
        if !is_virtual(device) {
            physical.insert(device.vendor, (*bdf, device.place));
        } else if let Some((own, place)) = physical.get(&device.vendor) {
            found.extend((*place == device.place).then_some((*bdf, *own)));
        }
    }
    for (bdf, own) in found {
        if let Some(device) = machine.pci.get_mut(&bdf) {
            device.function_of = Some(own);
        }
    }
}
