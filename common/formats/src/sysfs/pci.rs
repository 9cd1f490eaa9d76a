//! PCI devices of the kinds that matter here, and the bridges above them
//! (`Documentation/ABI/testing/sysfs-bus-pci`).

use std::collections::BTreeMap;

use phalanx_common::topology::Bdf;
use phalanx_common::topology::machine::{CpuSet, Machine, PciDevice, PciKind, PciLink, PciPlace, PciRoot};

use super::files::{Files, addresses, hexadecimal};

const FOLDER: &str = "sys/bus/pci/devices";

/// The folder of a device.
pub(super) fn folder(bdf: Bdf) -> String {
    format!("{FOLDER}/{bdf}")
}

/// After the NUMA nodes of `machine` are known.
pub(super) fn add(files: &mut Files<'_>, machine: &mut Machine, online: &CpuSet) {
    let mut found = BTreeMap::new();
    for name in files.list(FOLDER) {
        let Ok(bdf) = name.parse::<Bdf>() else { continue };
        let at = format!("{FOLDER}/{name}");
        let Some((class, kind, vendor)) = kind(files, &at) else { continue };
        let real = files.real_path(&at).unwrap_or_default();
        let above = addresses(&real);
        let root = real.split('/').find_map(root);
        for (depth, bridge) in above.iter().enumerate().filter(|(_, bridge)| **bridge != bdf) {
            if found.contains_key(bridge) {
                continue;
            }
            let parent = depth.checked_sub(1).and_then(|depth| above.get(depth)).copied();
            let name = bridge.to_string();
            let before = real.split(&name).next().unwrap_or_default();
            let device = self::bridge(files, machine, online, &format!("{before}{name}"));
            found.insert(*bridge, PciDevice { place: Some(PciPlace { parent, root }), ..device });
        }
        // A saved tree may have folders where the kernel has links; then nobody knows what is above.
        let place =
            root.map(|root| PciPlace { parent: above.iter().rev().nth(1).copied(), root: Some(root) });
        let function_of = files.target(&format!("{at}/physfn")).and_then(|name| name.parse().ok());
        let device = PciDevice { kind: Some(kind), place, function_of, ..PciDevice::default() };
        let device = PciDevice { vendor, class: Some(class), ..device };
        found.insert(bdf, described(files, machine, online, &at, device));
    }
    machine.pci = found;
}

/// Class, kind and vendor of what is kept. Most functions of a server are its chipset's and are not.
fn kind(files: &mut Files<'_>, at: &str) -> Option<(u32, PciKind, Option<u16>)> {
    let class: u32 = files.hex(&format!("{at}/class"))?;
    let maybe = PciDevice::kind_of(class, None).is_some() || class >> 8 == 0x0680;
    let vendor = maybe.then(|| vendor(files, at)).flatten();
    let kind = PciDevice::kind_of(class, vendor)?;
    (kind != PciKind::Bridge).then_some((class, kind, vendor))
}

fn vendor(files: &mut Files<'_>, at: &str) -> Option<u16> {
    files.hex(&format!("{at}/vendor"))
}

fn bridge(files: &mut Files<'_>, machine: &Machine, online: &CpuSet, at: &str) -> PciDevice {
    let class: Option<u32> = files.hex(&format!("{at}/class"));
    let vendor = vendor(files, at);
    let kind = class.and_then(|class| PciDevice::kind_of(class, vendor));
    described(files, machine, online, at, PciDevice { kind, class, vendor, ..PciDevice::default() })
}

fn described(
    files: &mut Files<'_>,
    machine: &Machine,
    online: &CpuSet,
    at: &str,
    device: PciDevice,
) -> PciDevice {
    let id = files.hex(&format!("{at}/device"));
    PciDevice { device: id, numa: numa(files, machine, online, at), link: link(files, at), ..device }
}

/// Firmware that does not say gives -1, and often still says which CPUs are near: of one node, or of all,
/// which says nothing.
fn numa(files: &mut Files<'_>, machine: &Machine, online: &CpuSet, at: &str) -> Option<u32> {
    files.known(&format!("{at}/numa_node")).or_else(|| {
        let near = files.set(at, &["local_cpulist"], &["local_cpus"])?.intersection(online);
        let holds = |cpus: &CpuSet| !near.is_empty() && near.is_subset(cpus);
        machine.numa.iter().find(|(_, node)| holds(&node.cpus)).map(|(id, _)| *id)
    })
}

fn link(files: &mut Files<'_>, at: &str) -> PciLink {
    // `8.0 GT/s PCIe`, `16 GT/s`, `Unknown`: in megatransfers.
    let mut speed = |name: &str| {
        files.value(&format!("{at}/{name}"), "a speed such as `8.0 GT/s`", |text| {
            let number = text.split_whitespace().next()?;
            if number == "Unknown" {
                return Some(None);
            }
            let (whole, tenths) = number.split_once('.').unwrap_or((number, "0"));
            let tenths: u32 = tenths.get(..1)?.parse().ok()?;
            whole.parse::<u32>().ok()?.checked_mul(1000)?.checked_add(tenths * 100).map(Some)
        })
    };
    let (now, max) = (speed("current_link_speed").flatten(), speed("max_link_speed").flatten());
    // 0 where no link is up; 255 is the kernel's word for one that it does not know.
    let mut width =
        |name: &str| files.number::<u8>(&format!("{at}/{name}")).filter(|width| !matches!(width, 0 | 255));
    let (width, max_width) = (width("current_link_width"), width("max_link_width"));
    PciLink { speed: now, width, max_speed: max, max_width }
}

/// `pci0000:3a`. The first one of a path counts: some bridges (Intel VMD) open a domain below them.
fn root(part: &str) -> Option<PciRoot> {
    let (domain, bus) = part.strip_prefix("pci")?.split_once(':')?;
    Some(PciRoot { domain: hexadecimal(domain)?, bus: u8::try_from(hexadecimal(bus)?).ok()? })
}
