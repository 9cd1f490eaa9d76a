//! The PCI tree, by where each device's folder is.

use std::collections::{BTreeMap, BTreeSet};

use phalanx_common::topology::Bdf;
use phalanx_common::topology::machine::{CpuSet, NumaNode, PciDevice, PciKind, PciLink, PciPlace, PciRoot};

use crate::tree::{Ask, Tree};

const DEVICES: &str = "sys/bus/pci/devices";

/// Devices that topology knows, and the bridges above them.
pub(super) fn read(tree: &dyn Tree, numa: &BTreeMap<u32, NumaNode>) -> BTreeMap<Bdf, PciDevice> {
    let mut devices: BTreeMap<Bdf, PciDevice> = BTreeMap::new();
    for name in tree.list(DEVICES) {
        if let Ok(bdf) = name.parse() {
            devices.insert(bdf, device(tree, &format!("{DEVICES}/{name}"), numa));
        }
    }
    let mut kept: BTreeSet<Bdf> = BTreeSet::new();
    for (bdf, device) in &devices {
        if matches!(device.kind, None | Some(PciKind::Bridge)) {
            continue;
        }
        let above =
            |bdf: &Bdf| devices.get(bdf).and_then(|device| device.place).and_then(|place| place.parent);
        let mut at = Some(*bdf);
        while let Some(bdf) = at.filter(|bdf| kept.insert(*bdf)) {
            at = above(&bdf);
        }
    }
    devices.retain(|bdf, _| kept.contains(bdf));
    devices
}

fn device(tree: &dyn Tree, folder: &str, numa: &BTreeMap<u32, NumaNode>) -> PciDevice {
    let hex = |name: &str| {
        let text = tree.text(&format!("{folder}/{name}"))?;
        u32::from_str_radix(text.strip_prefix("0x").unwrap_or(&text), 16).ok()
    };
    let short = |name: &str| hex(name).and_then(|value| u16::try_from(value).ok());
    let (class, vendor) = (hex("class"), short("vendor"));
    let width =
        |name: &str| tree.value(&format!("{folder}/{name}")).filter(|width| *width != 0 && *width != 255);
    PciDevice {
        kind: class.and_then(|class| PciDevice::kind_of(class, vendor)),
        vendor,
        device: short("device"),
        class,
        numa: node(tree, folder, numa),
        place: tree.resolve(folder).and_then(|path| place(&path)),
        link: PciLink {
            speed: speed(tree, &format!("{folder}/current_link_speed")),
            width: width("current_link_width"),
            max_speed: speed(tree, &format!("{folder}/max_link_speed")),
            max_width: width("max_link_width"),
        },
        function_of: tree.target(&format!("{folder}/physfn")).and_then(|name| name.parse().ok()),
    }
}

/// Where the kernel does not know the node (-1), as in virtual machines, the CPUs that it calls local may tell.
fn node(tree: &dyn Tree, folder: &str, numa: &BTreeMap<u32, NumaNode>) -> Option<u32> {
    let told = tree.value::<i32>(&format!("{folder}/numa_node")).and_then(|node| u32::try_from(node).ok());
    told.or_else(|| {
        let list = tree.text(&format!("{folder}/local_cpulist")).and_then(|list| list.parse().ok());
        let mask = || CpuSet::from_mask(&tree.text(&format!("{folder}/local_cpus"))?).ok();
        let local: CpuSet = list.or_else(mask).filter(|local: &CpuSet| !local.is_empty())?;
        // All CPUs of a machine with several nodes say nothing.
        let mut with_cpus = numa.iter().filter(|(_, node)| !node.cpus.is_empty());
        with_cpus.find(|(_, node)| local.is_subset(&node.cpus)).map(|(id, _)| *id)
    })
}

/// `sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0`: the host bridge, then bridges down to the device.
fn place(path: &str) -> Option<PciPlace> {
    let mut parts = path.split('/').skip_while(|part| root(part).is_none());
    let root = root(parts.next()?);
    let chain: Vec<Bdf> = parts.map_while(|part| part.parse().ok()).collect();
    let parent = chain.len().checked_sub(2).and_then(|at| chain.get(at)).copied();
    (!chain.is_empty()).then_some(PciPlace { parent, root })
}

fn root(part: &str) -> Option<PciRoot> {
    let (domain, bus) = part.strip_prefix("pci")?.split_once(':')?;
    Some(PciRoot { domain: u32::from_str_radix(domain, 16).ok()?, bus: u8::from_str_radix(bus, 16).ok()? })
}

/// Megatransfers per second of `16.0 GT/s PCIe`, `8 GT/s`.
fn speed(tree: &dyn Tree, path: &str) -> Option<u32> {
    let text = tree.text(path)?;
    let (whole, tenth) = {
        let number = text.split_whitespace().next()?;
        number.split_once('.').unwrap_or((number, "0"))
    };
    let whole: u32 = whole.parse().ok()?;
    let tenth: u32 = tenth.get(..1)?.parse().ok()?;
    text.contains("GT/s").then(|| whole.checked_mul(1000)?.checked_add(tenth * 100)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_where_its_folder_is() {
        let place = |path: &str| {
            place(path).map(|place| {
                let root = place.root.unwrap();
                (place.parent.map(|parent| parent.to_string()), root.domain, root.bus)
            })
        };
        let found = place("sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.0/virtio0");
        assert_eq!(found, Some((Some("0000:3a:00.0".to_owned()), 0, 0x3a)));
        assert_eq!(place("sys/devices/pci10000:e0/10000:e0:06.0"), Some((None, 0x10000, 0xe0)));
        assert_eq!(place("sys/bus/pci/devices/0000:01:00.0"), None);
        assert_eq!(place("sys/devices/pci0000:00"), None);
    }
}
