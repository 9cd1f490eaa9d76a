//! How near two devices are.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::parts::Machine;
use super::pci::{PciDevice, PciKind};
use crate::topology::port::Bdf;

/// What lies between two devices, the nearest first, in the words of `nvidia-smi topo -m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum PathType {
    /// One switch at most.
    Pix,
    /// Several switches, but no host bridge.
    Pxb,
    /// A host bridge, typically the CPU.
    Phb,
    /// Host bridges of one NUMA node.
    Node,
    /// The link between NUMA nodes.
    Sys,
}

impl PathType {
    pub const ALL: [PathType; 5] =
        [PathType::Pix, PathType::Pxb, PathType::Phb, PathType::Node, PathType::Sys];

    /// As the tools write it: `PIX`.
    pub fn word(self) -> &'static str {
        match self {
            PathType::Pix => "PIX",
            PathType::Pxb => "PXB",
            PathType::Phb => "PHB",
            PathType::Node => "NODE",
            PathType::Sys => "SYS",
        }
    }
}

impl fmt::Display for PathType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// A row of the machine's accelerators or of its network ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Device {
    Accelerator(u32),
    Nic(u32),
}

/// A path that a source told, either end first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Told {
    pub ends: (Device, Device),
    pub path: PathType,
}

impl Machine {
    /// The path between two devices: by the PCI tree, else as a source told it. `None` where neither knows.
    pub fn path(&self, a: Device, b: Device) -> Option<PathType> {
        let by_tree = || self.path_of(self.bdf(a)?, self.bdf(b)?);
        let as_told = || {
            let mut told = self.told.iter();
            told.find(|told| told.ends == (a, b) || told.ends == (b, a)).map(|told| told.path)
        };
        by_tree().or_else(as_told).or_else(|| self.path_of_nodes(self.numa_of(a), self.numa_of(b)))
    }

    /// By what is between them in the PCI tree. A port of a switch counts 1 and a whole switch 2, so that one
    /// switch is one, whether its ports are shown (sysfs) or not (NCCL).
    pub fn path_of(&self, a: Bdf, b: Bdf) -> Option<PathType> {
        let (first, second) = (self.pci.get(&a)?, self.pci.get(&b)?);
        let (above_a, above_b) = (self.bridges_above(first), self.bridges_above(second));
        if let Some(common) = above_a.iter().find(|bridge| above_b.contains(bridge)) {
            let below = |above: &[Bdf]| -> u32 {
                let between = above.iter().take_while(|bridge| *bridge != common);
                between.map(|bridge| self.ports_of(*bridge)).sum()
            };
            let near = below(&above_a) <= 1 && below(&above_b) <= 1;
            return Some(if near { PathType::Pix } else { PathType::Pxb });
        }
        // Functions of one device meet in it, wherever it is.
        let slot = |bdf: Bdf| (bdf.domain, bdf.bus, bdf.device);
        if slot(a) == slot(b) {
            return Some(PathType::Pix);
        }
        let root = |device: &PciDevice| device.place.and_then(|place| place.root);
        if root(first).is_some() && root(first) == root(second) {
            return Some(PathType::Phb);
        }
        self.path_of_nodes(first.numa, second.numa)
    }

    fn path_of_nodes(&self, a: Option<u32>, b: Option<u32>) -> Option<PathType> {
        // The only node that CPUs are on is everybody's.
        if self.numa.values().filter(|node| !node.cpus.is_empty()).count() == 1 {
            return Some(PathType::Node);
        }
        Some(if a? == b? { PathType::Node } else { PathType::Sys })
    }

    /// From the device upwards. A file may have bridges that are above themselves.
    fn bridges_above(&self, device: &PciDevice) -> Vec<Bdf> {
        const DEEPEST: usize = 32;
        let parent = |device: &PciDevice| device.place.and_then(|place| place.parent);
        let next = |bdf: &Bdf| self.pci.get(bdf).and_then(parent);
        std::iter::successors(parent(device), next).take(DEEPEST).collect()
    }

    fn ports_of(&self, bridge: Bdf) -> u32 {
        let whole = self.pci.get(&bridge).and_then(|device| device.kind) == Some(PciKind::Switch);
        if whole { 2 } else { 1 }
    }

    pub fn bdf(&self, device: Device) -> Option<Bdf> {
        match device {
            Device::Accelerator(row) => self.accelerators.get(row as usize)?.bdf,
            Device::Nic(row) => self.nics.get(row as usize)?.bdf,
        }
    }

    /// The NUMA node that a device is at: by its PCI place, else by what its driver says of CPUs.
    pub fn numa_of(&self, device: Device) -> Option<u32> {
        let by_place = self.bdf(device).and_then(|bdf| self.pci.get(&bdf)).and_then(|device| device.numa);
        by_place.or_else(|| match device {
            Device::Accelerator(row) => {
                let accelerator = self.accelerators.get(row as usize)?;
                let by_memory = accelerator.nodes.as_ref().and_then(|nodes| nodes.iter().next());
                by_memory.or_else(|| {
                    let cpus = accelerator.cpus.as_ref().filter(|cpus| !cpus.is_empty())?;
                    self.numa.iter().find(|(_, node)| cpus.is_subset(&node.cpus)).map(|(id, _)| *id)
                })
            }
            Device::Nic(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::machine::{PciPlace, PciRoot};

    /// Devices and bridges of a line `ADDRESS < PARENT`, or `ADDRESS < pciDDDD:BB`.
    fn tree(lines: &[(&str, &str)]) -> Machine {
        let mut machine = Machine::default();
        for (bdf, above) in lines {
            let root = above.strip_prefix("pci").map(|root| {
                let (domain, bus) = root.split_once(':').unwrap();
                PciRoot { domain: domain.parse().unwrap(), bus: u8::from_str_radix(bus, 16).unwrap() }
            });
            let parent: Option<Bdf> = root.is_none().then(|| above.parse().unwrap());
            let root = root.or_else(|| machine.pci[&parent.unwrap()].place.unwrap().root);
            let numa = root.map(|root| u32::from(root.bus >= 0x80));
            let place = Some(PciPlace { parent, root });
            machine.pci.insert(bdf.parse().unwrap(), PciDevice { place, numa, ..PciDevice::default() });
        }
        machine
    }

    #[test]
    fn paths_are_those_of_the_drivers_matrix() {
        let machine = tree(&[
            ("00:01.0", "pci0000:00"),
            // A switch under that root port, and another below it.
            ("01:00.0", "00:01.0"),
            ("02:00.0", "01:00.0"),
            ("02:01.0", "01:00.0"),
            ("03:00.0", "02:00.0"),
            ("04:00.0", "02:01.0"),
            ("02:02.0", "01:00.0"),
            ("05:00.0", "02:02.0"),
            ("06:00.0", "05:00.0"),
            ("07:00.0", "06:00.0"),
            // Elsewhere.
            ("00:02.0", "pci0000:00"),
            ("08:00.0", "00:02.0"),
            ("08:00.1", "00:02.0"),
            ("40:01.0", "pci0000:40"),
            ("41:00.0", "40:01.0"),
            ("80:01.0", "pci0000:80"),
            ("81:00.0", "80:01.0"),
        ]);
        let path = |a: &str, b: &str| {
            let (a, b) = (a.parse().unwrap(), b.parse().unwrap());
            assert_eq!(machine.path_of(a, b), machine.path_of(b, a));
            machine.path_of(a, b)
        };
        assert_eq!(path("03:00.0", "04:00.0"), Some(PathType::Pix), "one switch");
        assert_eq!(path("03:00.0", "07:00.0"), Some(PathType::Pxb), "two switches");
        assert_eq!(path("08:00.0", "08:00.1"), Some(PathType::Pix), "functions of one device");
        assert_eq!(path("03:00.0", "08:00.0"), Some(PathType::Phb), "one host bridge");
        assert_eq!(path("03:00.0", "41:00.0"), Some(PathType::Node), "host bridges of one NUMA node");
        assert_eq!(path("03:00.0", "81:00.0"), Some(PathType::Sys), "NUMA nodes");
        assert_eq!(path("03:00.0", "99:00.0"), None, "no such device");
    }

    #[test]
    fn a_whole_switch_is_one_switch_and_a_circle_of_bridges_ends() {
        let mut machine = tree(&[
            ("01:00.0", "pci0000:00"),
            ("02:00.0", "01:00.0"),
            ("03:00.0", "01:00.0"),
            ("04:00.0", "01:00.0"),
            ("05:00.0", "04:00.0"),
        ]);
        for switch in ["01:00.0", "04:00.0"] {
            machine.pci.get_mut(&switch.parse().unwrap()).unwrap().kind = Some(PciKind::Switch);
        }
        let path =
            |machine: &Machine, a: &str, b: &str| machine.path_of(a.parse().unwrap(), b.parse().unwrap());
        assert_eq!(path(&machine, "02:00.0", "03:00.0"), Some(PathType::Pix));
        assert_eq!(path(&machine, "02:00.0", "05:00.0"), Some(PathType::Pxb));

        let around = Some(PciPlace { parent: Some("04:00.0".parse().unwrap()), root: None });
        machine.pci.get_mut(&"01:00.0".parse().unwrap()).unwrap().place = around;
        assert_eq!(path(&machine, "02:00.0", "05:00.0"), Some(PathType::Pxb));
    }

    #[test]
    fn what_is_not_known_is_not_near_but_one_numa_node_is_everybodys() {
        let mut machine = Machine::default();
        for bdf in ["01:00.0", "02:00.0"] {
            machine.pci.insert(bdf.parse().unwrap(), PciDevice::default());
        }
        let (a, b) = ("01:00.0".parse().unwrap(), "02:00.0".parse().unwrap());
        assert_eq!(machine.path_of(a, b), None);
        machine.numa.entry(0).or_default().cpus = "0-3".parse().unwrap();
        // The memory of a GPU is a node without CPUs.
        machine.numa.entry(255).or_default().memory_bytes = Some(1 << 30);
        assert_eq!(machine.path_of(a, b), Some(PathType::Node));
    }
}
