//! One machine of what several sources told.

use std::collections::BTreeMap;

use super::accelerator::{Accelerator, AcceleratorKind, Peer};
use super::nic::Nic;
use super::parts::Machine;
use super::path::{Device, Told};
use super::pci::PciDevice;
use crate::topology::port::{Bdf, LinkLayer};

impl Machine {
    /// Adds what `other` knows and this does not. Where both know, this one is believed: merge in the order
    /// of trust. Devices are the same by PCI address, else accelerators by UUID or by index and ports by name.
    pub fn merge(mut self, other: Machine) -> Machine {
        fill(&mut self.host, other.host);
        fill(&mut self.architecture, other.architecture);
        fill(&mut self.board.vendor, other.board.vendor);
        fill(&mut self.board.product, other.board.product);
        fill(&mut self.cpu.vendor, other.cpu.vendor);
        fill(&mut self.cpu.name, other.cpu.name);
        fill(&mut self.cpu.family, other.cpu.family);
        fill(&mut self.cpu.model, other.cpu.model);
        fill_all(&mut self.packages, other.packages);
        fill_all(&mut self.l3, other.l3);
        fill_all(&mut self.cores, other.cores);
        fill(&mut self.allowed.cpus, other.allowed.cpus);
        fill(&mut self.allowed.nodes, other.allowed.nodes);
        fill(&mut self.allowed.memory_bytes, other.allowed.memory_bytes);
        for (id, node) in other.numa {
            let mine = self.numa.entry(id).or_default();
            if mine.cpus.is_empty() {
                mine.cpus = node.cpus;
            }
            fill(&mut mine.memory_bytes, node.memory_bytes);
            if mine.distances.is_empty() {
                mine.distances = node.distances;
            }
        }
        for (bdf, device) in other.pci {
            self.pci.entry(bdf).or_default().fill(device);
        }
        // Rows change as the lists grow, so told paths follow their devices.
        let mut accelerators =
            joined(self.accelerators, other.accelerators, Accelerator::is_same, Accelerator::fill);
        let mut nics = joined(self.nics, other.nics, Nic::is_same, Nic::fill);
        accelerators.sort_by_key(|(device, _)| (device.bdf.is_none(), device.bdf, device.index));
        nics.sort_by(|(a, _), (b, _)| {
            (a.bdf.is_none(), a.bdf, &a.name).cmp(&(b.bdf.is_none(), b.bdf, &b.name))
        });
        let follow = |device: Device, which: Of| match device {
            Device::Accelerator(row) => now_at(&accelerators, (which, row)).map(Device::Accelerator),
            Device::Nic(row) => now_at(&nics, (which, row)).map(Device::Nic),
        };
        let mine = self.told.iter().map(|told| (told, Of::Mine));
        let told = mine.chain(other.told.iter().map(|told| (told, Of::Theirs)));
        let told = told.filter_map(|(told, which)| {
            let ends = (follow(told.ends.0, which)?, follow(told.ends.1, which)?);
            Some(Told { ends, path: told.path })
        });
        self.told = told.collect();
        self.accelerators = accelerators.into_iter().map(|(device, _)| device).collect();
        self.nics = nics.into_iter().map(|(device, _)| device).collect();
        self.resolve_peers();
        self
    }

    /// Peers of links that one source knows by index and another by address.
    fn resolve_peers(&mut self) {
        let known: BTreeMap<(AcceleratorKind, u32), Bdf> = self
            .accelerators
            .iter()
            .filter_map(|device| Some(((device.kind, device.index?), device.bdf?)))
            .collect();
        for device in &mut self.accelerators {
            for link in &mut device.links {
                if let Peer::Numbered(index) = link.peer {
                    let address = known.get(&(device.kind, index));
                    link.peer = address.map_or(link.peer, |bdf| Peer::Accelerator(*bdf));
                }
            }
            device.links.sort();
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Mine,
    Theirs,
}

/// Where a device of the merged list was.
type Rows = Vec<(Of, u32)>;

fn joined<T>(
    mine: Vec<T>,
    theirs: Vec<T>,
    is_same: fn(&T, &T) -> bool,
    fill: fn(&mut T, T),
) -> Vec<(T, Rows)> {
    let rows = |which| (0u32..).map(move |row| vec![(which, row)]);
    let mut all: Vec<(T, Rows)> = mine.into_iter().zip(rows(Of::Mine)).collect();
    for (device, rows) in theirs.into_iter().zip(rows(Of::Theirs)) {
        match all.iter_mut().find(|(known, _)| is_same(known, &device)) {
            Some((known, known_rows)) => {
                fill(known, device);
                known_rows.extend(rows);
            }
            None => all.push((device, rows)),
        }
    }
    all
}

fn now_at<T>(all: &[(T, Rows)], was: (Of, u32)) -> Option<u32> {
    let at = all.iter().position(|(_, rows)| rows.contains(&was))?;
    u32::try_from(at).ok()
}

fn fill<T>(mine: &mut Option<T>, theirs: Option<T>) {
    if mine.is_none() {
        *mine = theirs;
    }
}

fn fill_all<T>(mine: &mut Vec<T>, theirs: Vec<T>) {
    if mine.is_empty() {
        *mine = theirs;
    }
}

impl PciDevice {
    fn fill(&mut self, other: PciDevice) {
        fill(&mut self.kind, other.kind);
        fill(&mut self.vendor, other.vendor);
        fill(&mut self.device, other.device);
        fill(&mut self.class, other.class);
        fill(&mut self.numa, other.numa);
        fill(&mut self.place, other.place);
        fill(&mut self.function_of, other.function_of);
        fill(&mut self.link.speed, other.link.speed);
        fill(&mut self.link.width, other.link.width);
        fill(&mut self.link.max_speed, other.link.max_speed);
        fill(&mut self.link.max_width, other.link.max_width);
    }
}

impl Accelerator {
    fn is_same(&self, other: &Accelerator) -> bool {
        match (self.bdf, other.bdf) {
            (Some(a), Some(b)) => a == b,
            _ if self.uuid.is_some() && other.uuid.is_some() => self.uuid == other.uuid,
            _ => self.kind == other.kind && self.index.is_some() && self.index == other.index,
        }
    }

    fn fill(&mut self, other: Accelerator) {
        fill(&mut self.bdf, other.bdf);
        fill(&mut self.index, other.index);
        fill(&mut self.model, other.model);
        fill(&mut self.uuid, other.uuid);
        fill(&mut self.serial, other.serial);
        fill(&mut self.memory_bytes, other.memory_bytes);
        fill(&mut self.cpus, other.cpus);
        fill(&mut self.nodes, other.nodes);
        fill(&mut self.own_node, other.own_node);
        fill(&mut self.mig, other.mig);
        fill_all(&mut self.slices, other.slices);
        fill_all(&mut self.links, other.links);
        fill(&mut self.hive, other.hive);
        fill(&mut self.ailments, other.ailments);
        fill(&mut self.processes, other.processes);
        fill(&mut self.fabric, other.fabric);
        fill(&mut self.platform, other.platform);
    }
}

impl Nic {
    fn is_same(&self, other: &Nic) -> bool {
        let rdma = |nic: &Nic| nic.rdma.as_ref().map(|rdma| (rdma.device.clone(), rdma.port));
        match (self.bdf, other.bdf) {
            // Ports of one function are told apart by their names.
            (Some(a), Some(b)) if a != b => false,
            _ => self.name == other.name || (rdma(self).is_some() && rdma(self) == rdma(other)),
        }
    }

    fn fill(&mut self, other: Nic) {
        if self.layer == LinkLayer::Unknown {
            self.layer = other.layer;
        }
        fill(&mut self.bdf, other.bdf);
        fill(&mut self.mac, other.mac);
        fill(&mut self.speed_mbps, other.speed_mbps);
        fill(&mut self.up, other.up);
        fill(&mut self.mtu, other.mtu);
        fill(&mut self.bond, other.bond);
        fill_all(&mut self.addresses, other.addresses);
        fill_all(&mut self.gateways, other.gateways);
        match (&mut self.rdma, other.rdma) {
            (Some(mine), Some(theirs)) => {
                fill(&mut mine.guid, theirs.guid);
                fill(&mut mine.node_guid, theirs.node_guid);
                fill(&mut mine.subnet, theirs.subnet);
                fill(&mut mine.lid, theirs.lid);
                fill(&mut mine.sm_lid, theirs.sm_lid);
            }
            (mine, theirs) => fill(mine, theirs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::machine::{Attachment, LinkKind, PathType, PciPlace};
    use crate::topology::port::LinkLayer;

    fn gpu(bdf: Option<&str>, index: u32) -> Accelerator {
        let bdf = bdf.map(|bdf| bdf.parse().unwrap());
        Accelerator { bdf, index: Some(index), ..Accelerator::new(AcceleratorKind::Nvidia) }
    }

    #[test]
    fn a_matrix_without_addresses_is_joined_to_devices_by_index_and_name_and_its_paths_follow() {
        // The driver counts in another order than the bus.
        let accelerators = vec![gpu(Some("10:00.0"), 1), gpu(Some("20:00.0"), 0)];
        let mut tree = Machine { accelerators, ..Machine::default() };
        let nic = Nic::new("mlx5_0", LinkLayer::InfiniBand);
        tree.nics = vec![Nic { bdf: Some("11:00.0".parse().unwrap()), ..nic.clone() }];
        let link = |peer| Attachment { peer, kind: LinkKind::NvLink, lanes: 4, mb_per_s: None };
        let linked =
            |index, peers: [Peer; 2]| Accelerator { links: peers.map(link).to_vec(), ..gpu(None, index) };
        let matrix = Machine {
            accelerators: vec![
                linked(0, [Peer::Numbered(1), Peer::Numbered(7)]),
                linked(1, [Peer::Numbered(0), Peer::Switch(None)]),
            ],
            nics: vec![Nic::new("mlx5_9", LinkLayer::InfiniBand), nic],
            told: vec![Told { ends: (Device::Accelerator(1), Device::Nic(1)), path: PathType::Pxb }],
            ..Machine::default()
        };
        let whole = tree.merge(matrix);
        assert_eq!(whole.accelerators.len(), 2);
        assert_eq!(whole.nics.iter().map(|nic| nic.name.as_str()).collect::<Vec<_>>(), ["mlx5_0", "mlx5_9"]);
        assert_eq!(whole.path(Device::Nic(0), Device::Accelerator(0)), Some(PathType::Pxb));
        assert_eq!(whole.path(Device::Nic(0), Device::Accelerator(1)), None);
        let at = |bdf: &str| Peer::Accelerator(bdf.parse().unwrap());
        assert_eq!(whole.accelerators[0].links, [at("20:00.0"), Peer::Switch(None)].map(link));
        assert_eq!(
            whole.accelerators[1].links,
            [at("10:00.0"), Peer::Numbered(7)].map(link),
            "of 7 nobody knows"
        );
    }

    #[test]
    fn what_the_first_source_says_stays_and_the_second_fills_the_gaps() {
        let bdf: Bdf = "10:00.0".parse().unwrap();
        let place = Some(PciPlace::default());
        let mut first = Machine { host: Some("a".into()), ..Machine::default() };
        first.pci.insert(bdf, PciDevice { vendor: Some(1), ..PciDevice::default() });
        first.numa.entry(0).or_default().cpus = "0-3".parse().unwrap();
        let mut second = Machine { host: Some("b".into()), ..Machine::default() };
        second.pci.insert(bdf, PciDevice { vendor: Some(2), place, ..PciDevice::default() });
        let node = second.numa.entry(0).or_default();
        (node.cpus, node.memory_bytes) = ("0-7".parse().unwrap(), Some(1 << 30));
        let both = first.merge(second);
        assert_eq!(both.host.as_deref(), Some("a"));
        assert_eq!((both.pci[&bdf].vendor, both.pci[&bdf].place), (Some(1), place));
        assert_eq!((both.numa[&0].cpus.len(), both.memory_bytes()), (4, 1 << 30));
    }
}
