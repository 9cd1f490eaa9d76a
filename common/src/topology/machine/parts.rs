//! A machine and its parts.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::accelerator::{Accelerator, AcceleratorKind};
use super::cpu::{Allowed, Board, CpuModel, NumaNode, Package};
use super::cpuset::CpuSet;
use super::nic::Nic;
use super::path::Told;
use super::pci::PciDevice;
use crate::topology::port::{Bdf, Port};

/// What a machine has, as far as the sources told. Travels as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Machine {
    /// What it calls itself. Two machines may have one name.
    pub host: Option<String>,
    /// As `uname -m` has it.
    pub architecture: Option<String>,
    pub board: Board,
    pub cpu: CpuModel,
    /// By id.
    pub packages: Vec<Package>,
    /// By the kernel's number.
    pub numa: BTreeMap<u32, NumaNode>,
    /// CPUs that share a last-level cache, by their first.
    pub l3: Vec<CpuSet>,
    /// The hardware threads of each core, by their first.
    pub cores: Vec<CpuSet>,
    pub allowed: Allowed,
    pub pci: BTreeMap<Bdf, PciDevice>,
    /// By PCI address; those without one by index.
    pub accelerators: Vec<Accelerator>,
    /// By PCI address, then name; those without an address last.
    pub nics: Vec<Nic>,
    /// Paths between devices that a source told, where the PCI tree is not known.
    pub told: Vec<Told>,
}

impl Machine {
    /// One of which nothing is known but how many GPUs it has.
    pub fn of_gpus(count: u32) -> Machine {
        let gpu = |index| Accelerator { index: Some(index), ..Accelerator::new(AcceleratorKind::Nvidia) };
        Machine { accelerators: (0..count).map(gpu).collect(), ..Machine::default() }
    }

    /// All CPUs: of the cores, or of the packages or nodes where cores are not known.
    pub fn cpus(&self) -> CpuSet {
        let all =
            |sets: &mut dyn Iterator<Item = &CpuSet>| sets.fold(CpuSet::new(), |sum, set| sum.union(set));
        let cores = all(&mut self.cores.iter());
        if !cores.is_empty() {
            return cores;
        }
        let packages = all(&mut self.packages.iter().map(|package| &package.cpus));
        packages.union(&all(&mut self.numa.values().map(|node| &node.cpus)))
    }

    /// The NUMA nodes that are not the memory of an accelerator.
    pub fn host_nodes(&self) -> impl Iterator<Item = (u32, &NumaNode)> {
        let own: BTreeSet<u32> = self.accelerators.iter().filter_map(|it| it.own_node).collect();
        self.numa.iter().filter(move |(id, _)| !own.contains(id)).map(|(id, node)| (*id, node))
    }

    /// Of all these NUMA nodes that say it.
    pub fn memory_bytes(&self) -> u64 {
        self.host_nodes().filter_map(|(_, node)| node.memory_bytes).fold(0, u64::saturating_add)
    }

    /// Whether it is a virtual function: a part of an adapter that a port of the machine shows already.
    pub fn is_virtual(&self, nic: &Nic) -> bool {
        nic.bdf.and_then(|bdf| self.pci.get(&bdf)).is_some_and(|device| device.function_of.is_some())
    }

    /// The ports by which the machine hangs in networks: without virtual functions, and without interfaces
    /// that have no hardware, unless there is no hardware at all (a container). Their order is that of their
    /// PCI addresses within a link layer.
    pub fn ports(&self) -> Vec<Port> {
        let mut next = BTreeMap::new();
        let has_hardware = self.nics.iter().any(|nic| nic.bdf.is_some());
        let counts = |nic: &&Nic| (nic.bdf.is_some() || !has_hardware) && !self.is_virtual(nic);
        let physical = self.nics.iter().filter(counts);
        physical
            .map(|nic| {
                let order: &mut u16 = next.entry(nic.layer).or_default();
                let rdma = nic.rdma.as_ref();
                let port = Port {
                    name: nic.name.clone(),
                    order: *order,
                    layer: nic.layer,
                    mac: nic.mac,
                    guid: rdma.and_then(|rdma| rdma.guid),
                    node_guid: rdma.and_then(|rdma| rdma.node_guid),
                    speed_mbps: nic.speed_mbps,
                    up: nic.up.unwrap_or(true),
                    bond: nic.bond.clone(),
                };
                *order = order.saturating_add(1);
                port
            })
            .collect()
    }

    /// Without what comes and goes with jobs: the devices' processes and ailments, what this program may use, and
    /// the speed of PCI links, which rest when a device does.
    pub fn lasting(&self) -> Machine {
        let mut lasting = self.clone();
        lasting.allowed = Allowed::default();
        for accelerator in &mut lasting.accelerators {
            (accelerator.ailments, accelerator.processes) = (None, None);
        }
        for device in lasting.pci.values_mut() {
            device.link.speed = None;
        }
        lasting
    }

    /// What machines of one kind have in common: without names, addresses and what changes while they run.
    /// Devices of one type in the same slots are equal.
    pub fn kind(&self) -> Machine {
        let mut kind = self.lasting();
        kind.host = None;
        for accelerator in &mut kind.accelerators {
            (accelerator.uuid, accelerator.serial) = (None, None);
            (accelerator.fabric, accelerator.platform) = (None, None);
            accelerator.slices.iter_mut().for_each(|slice| slice.uuid = None);
        }
        for nic in &mut kind.nics {
            (nic.mac, nic.up, nic.speed_mbps) = (None, None, None);
            nic.addresses.clear();
            nic.gateways.clear();
            if let Some(rdma) = &mut nic.rdma {
                (rdma.guid, rdma.node_guid, rdma.subnet) = (None, None, None);
                (rdma.lid, rdma.sm_lid) = (None, None);
            }
        }
        for node in kind.numa.values_mut() {
            node.memory_bytes = node.about_bytes();
        }
        kind
    }
}
