//! Where devices are plugged in.

use phalanx_common::text::shown;
use phalanx_common::topology::Bdf;
use phalanx_common::topology::machine::{Machine, PciPlace, PciRoot};
use phalanx_common::yaml::Node;

use super::read::{Error, MAX_GPUS, bounded, number};

/// Root complexes: where devices are plugged in, and at which NUMA node.
pub(super) fn places(machine: &mut Machine, topology: &Node) -> Result<(), Error> {
    let roots = topology.get("root_complexes").and_then(Node::items).unwrap_or_default();
    let cores: Option<u32> = number::<u16>(topology.get("cores_per_numa"))?.map(u32::from).filter(|n| *n > 0);
    bounded(topology, "root complexes", roots.len(), MAX_GPUS)?;
    for root in roots {
        let line = root.span.line;
        let numa: u32 = number::<u16>(root.get("numa_node"))?.unwrap_or(0).into();
        let written = root.get("cpu_affinity").and_then(Node::text).filter(|text| !text.is_empty());
        let synthesised = cores.map(|cores| format!("{}-{}", numa * cores, numa * cores + cores - 1));
        let wrong = |found: String, what| Error::Wrong { line, found, what };
        let node = machine.numa.entry(numa).or_default();
        if let Some(list) = written.map(str::to_string).or(synthesised) {
            let cpus = list.parse().map_err(|_| wrong(shown(&list), "list of CPUs"))?;
            node.cpus = node.cpus.union(&cpus);
        }
        let id = root.get("id").and_then(Node::text).unwrap_or_default();
        let place = PciPlace { parent: None, root: host_bridge(id) };
        for device in root.get("devices").and_then(Node::items).unwrap_or_default() {
            let bdf = device.text().and_then(|text| text.parse::<Bdf>().ok());
            let bdf = bdf.ok_or_else(|| wrong(device.found().to_string(), "PCI address"))?;
            if let Some(device) = machine.pci.get_mut(&bdf) {
                (device.numa, device.place) = (Some(numa), Some(place));
            }
        }
    }
    Ok(())
}

/// `pci0000:c0`
fn host_bridge(id: &str) -> Option<PciRoot> {
    let (domain, bus) = id.strip_prefix("pci")?.split_once(':')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let domain = u32::from_str_radix(domain, 16).ok().filter(|_| digits(domain))?;
    let bus = u8::from_str_radix(bus, 16).ok().filter(|_| digits(bus))?;
    Some(PciRoot { domain, bus })
}
