//! What is nearest to a device.

use super::cpuset::CpuSet;
use super::parts::Machine;
use super::path::{Device, PathType};
use crate::topology::port::LinkLayer;

impl Machine {
    /// The CPUs nearest to a device: those that the driver says, else those of its NUMA node.
    pub fn cpus_near(&self, device: Device) -> Option<CpuSet> {
        let told = match device {
            Device::Accelerator(row) => self.accelerators.get(row as usize)?.cpus.clone(),
            Device::Nic(_) => None,
        };
        told.filter(|cpus| !cpus.is_empty())
            .or_else(|| Some(self.numa.get(&self.numa_of(device)?)?.cpus.clone()))
            .filter(|cpus| !cpus.is_empty())
    }

    /// The network ports that job traffic of an accelerator takes: the nearest of those with RDMA, or of all
    /// where none has it. All that are equally near, in order, with the path. Empty where no path is known.
    pub fn nics_near(&self, accelerator: u32) -> Vec<(u32, PathType)> {
        let is_told = |row: u32| {
            let ends = self.told.iter().map(|told| told.ends);
            ends.into_iter().any(|(one, other)| one == Device::Nic(row) || other == Device::Nic(row))
        };
        // What has no address and of which no path is told is an interface without hardware.
        let ports: Vec<u32> = (0u32..)
            .zip(&self.nics)
            .filter(|(row, nic)| nic.bdf.is_some() || self.pci.is_empty() || is_told(*row))
            .filter(|(_, nic)| !self.is_virtual(nic))
            .map(|(row, _)| row)
            .collect();
        let nic = |row: &u32| &self.nics[*row as usize];
        // Where a machine has InfiniBand its Ethernet ports with RDMA are for storage.
        let fits: [&dyn Fn(&u32) -> bool; 3] = [
            &|row| nic(row).rdma.is_some() && nic(row).layer == LinkLayer::InfiniBand,
            &|row| nic(row).rdma.is_some(),
            &|_| true,
        ];
        let of_jobs: Vec<u32> = fits
            .iter()
            .map(|fit| ports.iter().copied().filter(|row| fit(row)).collect::<Vec<u32>>())
            .find(|some| !some.is_empty())
            .unwrap_or_default();
        let path = |row| self.path(Device::Accelerator(accelerator), Device::Nic(row));
        let paths: Vec<(u32, PathType)> =
            of_jobs.into_iter().filter_map(|row| Some((row, path(row)?))).collect();
        let nearest = paths.iter().map(|(_, path)| *path).min();
        paths.into_iter().filter(|(_, path)| Some(*path) == nearest).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::machine::{Accelerator, AcceleratorKind, Nic, PciDevice, PciPlace, PciRoot, Rdma};
    use crate::topology::port::Bdf;

    fn port(bdf: &str, name: &str, layer: LinkLayer, rdma: Option<&str>) -> Nic {
        let rdma = rdma.map(|device| Rdma {
            device: device.to_string(),
            port: 1,
            guid: None,
            node_guid: None,
            subnet: None,
            lid: Some(7),
            sm_lid: None,
        });
        Nic { bdf: Some(bdf.parse().unwrap()), rdma, up: Some(true), ..Nic::new(name, layer) }
    }

    /// Two GPUs, each with an InfiniBand port under its root port, and a port for storage beside the first.
    fn machine() -> Machine {
        let mut machine = Machine::default();
        let root = |bus| Some(PciRoot { domain: 0, bus });
        for (bdf, parent, bus) in [
            ("10:01.0", None, 0x10),
            ("11:00.0", Some("10:01.0"), 0x10),
            ("12:00.0", Some("10:01.0"), 0x10),
            ("13:00.0", Some("10:01.0"), 0x10),
            ("13:00.1", Some("10:01.0"), 0x10),
            ("90:01.0", None, 0x90),
            ("91:00.0", Some("90:01.0"), 0x90),
            ("92:00.0", Some("90:01.0"), 0x90),
        ] {
            let parent: Option<Bdf> = parent.map(|parent| parent.parse().unwrap());
            let place = Some(PciPlace { parent, root: root(bus) });
            let numa = Some(u32::from(bus == 0x90));
            let device = PciDevice { place, numa, ..PciDevice::default() };
            machine.pci.insert(bdf.parse().unwrap(), device);
        }
        let function_of = Some("13:00.0".parse().unwrap());
        machine.pci.get_mut(&"13:00.1".parse().unwrap()).unwrap().function_of = function_of;
        machine.numa.entry(0).or_default().cpus = "0-3".parse().unwrap();
        machine.numa.entry(1).or_default().cpus = "4-7".parse().unwrap();
        for bdf in ["11:00.0", "91:00.0"] {
            let bdf = Some(bdf.parse().unwrap());
            machine.accelerators.push(Accelerator { bdf, ..Accelerator::new(AcceleratorKind::Nvidia) });
        }
        machine.nics = vec![
            port("12:00.0", "ib0", LinkLayer::InfiniBand, Some("mlx5_0")),
            port("13:00.0", "eth0", LinkLayer::Ethernet, Some("mlx5_1")),
            port("13:00.1", "eth0v0", LinkLayer::Ethernet, Some("mlx5_3")),
            port("92:00.0", "ib1", LinkLayer::InfiniBand, Some("mlx5_2")),
            Nic::new("bond0", LinkLayer::Ethernet),
        ];
        machine
    }

    #[test]
    fn the_nearest_ports_are_of_the_fabric_that_jobs_use() {
        let mut machine = machine();
        assert_eq!(machine.nics_near(0), [(0, PathType::Pix)]);
        assert_eq!(machine.nics_near(1), [(3, PathType::Pix)]);
        machine.nics.iter_mut().for_each(|nic| nic.layer = LinkLayer::Ethernet);
        assert_eq!(machine.nics_near(0), [(0, PathType::Pix), (1, PathType::Pix)]);
        assert_eq!(machine.nics_near(7), []);
    }

    #[test]
    fn cpus_near_a_device_are_its_nodes_unless_the_driver_says_which() {
        let mut machine = machine();
        assert_eq!(machine.cpus_near(Device::Accelerator(1)).unwrap().to_string(), "4-7");
        machine.accelerators[1].cpus = Some("6".parse().unwrap());
        assert_eq!(machine.cpus_near(Device::Accelerator(1)).unwrap().to_string(), "6");
        assert_eq!(machine.cpus_near(Device::Nic(0)).unwrap().to_string(), "0-3");
        assert_eq!(machine.cpus_near(Device::Nic(4)), None);
    }

    #[test]
    fn ports_are_counted_by_link_layer_without_virtual_ones() {
        let ports: Vec<(String, u16)> =
            machine().ports().into_iter().map(|port| (port.name, port.order)).collect();
        assert_eq!(ports, [("ib0".into(), 0), ("eth0".into(), 0), ("ib1".into(), 1)]);
    }

    #[test]
    fn machines_of_one_kind_differ_in_names_and_addresses_alone() {
        let (mut a, mut b) = (machine(), machine());
        a.host = Some("a".into());
        a.accelerators[0].uuid = Some("GPU-1".into());
        b.accelerators[0].uuid = Some("GPU-2".into());
        b.nics[0].mac = Some("0c:42:a1:00:00:01".parse().unwrap());
        b.nics[0].rdma.as_mut().unwrap().lid = Some(8);
        // The kernel says -1 of a port without a cable, and 2.5 GT/s of a GPU that idles.
        a.nics[0].speed_mbps = Some(400_000);
        a.pci.values_mut().for_each(|device| device.link.speed = Some(2500));
        assert_ne!(a, b);
        assert_eq!(a.kind(), b.kind());
        b.accelerators[0].memory_bytes = Some(1);
        assert_ne!(a.kind(), b.kind());
    }

    #[test]
    fn a_machine_is_the_same_after_it_has_travelled() {
        let machine = machine();
        let text = serde_json::to_string(&machine).unwrap();
        assert_eq!(serde_json::from_str::<Machine>(&text).unwrap(), machine);
    }
}
