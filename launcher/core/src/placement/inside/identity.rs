//! What is of one node alone: what the world calls its devices and ports, and which of them work.

use std::net::IpAddr;

use phalanx_common::topology::machine::{AcceleratorKind, Ailment, Machine, PathType};
use phalanx_common::topology::{Bdf, Guid, LinkLayer};

use super::model::{NodeModel, port_rows, rows_of, slots};

/// Rows are those of the node's model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeIdentity {
    pub devices: Vec<DeviceIdentity>,
    pub ports: Vec<PortIdentity>,
    /// All interfaces, with and without hardware.
    pub interfaces: Vec<Interface>,
    /// Free memory is counted against this: bytes of each group of the model.
    pub memory: Vec<u64>,
    /// What the control group allows of it, over all groups.
    pub memory_limit: Option<u64>,
}

/// A device as the vendor's tools and variables know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceIdentity {
    pub kind: AcceleratorKind,
    /// As the vendor's tools count.
    pub index: Option<u32>,
    /// As CUDA counts with CUDA_DEVICE_ORDER=PCI_BUS_ID: GPUs of the vendor by PCI address.
    pub pci_index: u16,
    /// Of the slice, where it is one.
    pub uuid: Option<String>,
    pub bdf: Option<Bdf>,
    /// The index of a slice within its GPU.
    pub slice: Option<u32>,
    /// Something is wrong with it that calls for draining the node.
    pub ailing: bool,
    /// Somebody else computes on it.
    pub in_use: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortIdentity {
    pub up: bool,
    /// Megabits per second, where it says so.
    pub speed_mbps: Option<u32>,
    /// The InfiniBand subnet.
    pub subnet: Option<Guid>,
    /// A row of the interfaces.
    pub interface: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    pub name: String,
    pub addresses: Vec<IpAddr>,
    /// A default route leads through it.
    pub routes: bool,
    /// The bond that it is a member of.
    pub bond: Option<String>,
}

/// What is known of ports beside what their node says.
#[derive(Clone, Copy, Debug, Default)]
pub struct JobPorts<'a> {
    /// Ports that jobs must not use (storage), by interface, RDMA device or `mlx5_0:1`.
    pub exclude: &'a [&'a str],
    /// Ports of the plane that jobs use, by name, where the network tells it.
    pub only: Option<&'a [&'a str]>,
    /// The address by which the node speaks to its coordinator.
    pub control: Option<IpAddr>,
}

impl NodeIdentity {
    /// Of the machine that the model was made of, or of one of the same kind.
    pub fn new(machine: &Machine, model: &NodeModel) -> NodeIdentity {
        let devices = slots(machine).0.into_iter().filter_map(|slot| {
            let it = machine.accelerators.get(slot.accelerator as usize)?;
            let slice = slot.slice.and_then(|row| it.slices.get(usize::from(row)));
            Some(DeviceIdentity {
                kind: it.kind,
                index: it.index,
                pci_index: slot.gpu,
                uuid: slice.map_or_else(|| it.uuid.clone(), |slice| slice.uuid.clone()),
                bdf: it.bdf,
                slice: slice.map(|slice| slice.index),
                in_use: it.processes.as_ref().is_some_and(|processes| !processes.is_empty()),
                ailing: it.ailments.iter().flatten().any(calls_for_draining),
            })
        });
        let ports = port_rows(machine).into_iter().filter_map(|row| {
            let nic = machine.nics.get(row as usize)?;
            let subnet = nic.rdma.as_ref().and_then(|rdma| rdma.subnet);
            let interface = u16::try_from(row).unwrap_or(u16::MAX);
            Some(PortIdentity { up: nic.up != Some(false), speed_mbps: nic.speed_mbps, subnet, interface })
        });
        let interfaces = machine.nics.iter().map(|nic| {
            let address = |text: &String| text.split('/').next().and_then(|text| text.parse().ok());
            let addresses = nic.addresses.iter().filter_map(address).collect();
            let (routes, bond) = (!nic.gateways.is_empty(), nic.bond.clone());
            Interface { name: nic.name.clone(), addresses, routes, bond }
        });
        let allowed = |numa: u32| machine.allowed.nodes.as_ref().is_none_or(|nodes| nodes.contains(numa));
        let memory = model.groups().iter().map(|group| {
            let node = group.numa.filter(|numa| allowed(*numa)).and_then(|numa| machine.numa.get(&numa));
            node.and_then(|node| node.memory_bytes).unwrap_or(0)
        });
        NodeIdentity {
            devices: devices.collect(),
            ports: ports.collect(),
            interfaces: interfaces.collect(),
            memory: memory.collect(),
            memory_limit: machine.allowed.memory_bytes,
        }
    }

    /// Ports that the traffic of jobs may take, as a mask: up, of the main fabric, neither for management (an interface
    /// with a default route or the control address, or a member of its bond) nor for storage as far as can be told, and
    /// not clearly slower than the fastest. A rule that would leave none is passed over: a node with one port uses it
    /// for everything.
    pub fn job_ports(&self, model: &NodeModel, known: &JobPorts<'_>) -> u64 {
        let named = |row: usize, names: &[&str]| {
            model.ports().get(row).is_some_and(|port| {
                let rdma = port.rdma.as_ref();
                names.iter().any(|name| {
                    *name == port.name
                        || rdma
                            .is_some_and(|(device, on)| name == device || *name == format!("{device}:{on}"))
                })
            })
        };
        let row_is = |row: usize, is: &dyn Fn(&PortIdentity) -> bool| self.ports.get(row).is_some_and(is);
        // What a person said is never passed over.
        let usable = (0..model.ports().len())
            .filter(|row| !named(*row, known.exclude) && row_is(*row, &|port| port.up));
        let mut left: u64 = usable.fold(0, |mask, row| mask | 1 << row);
        let mut narrow = |keep: &dyn Fn(usize) -> bool| {
            let fewer = rows_of(left).filter(|row| keep(*row)).fold(0, |mask, row| mask | 1 << row);
            if fewer != 0 {
                left = fewer;
            }
            left
        };
        if let Some(only) = known.only {
            narrow(&|row| named(row, only));
        }
        narrow(&|row| model.ports()[row].rdma.is_some());
        narrow(&|row| model.ports()[row].rdma.is_some() && model.ports()[row].layer == LinkLayer::InfiniBand);
        let managing = self.managing(known.control);
        let left = narrow(&|row| !row_is(row, &|port| managing(port)));
        let speed = |row: usize| self.ports.get(row).and_then(|port| port.speed_mbps).unwrap_or(0);
        let fastest = rows_of(left).map(speed).max().unwrap_or(0);
        // A port that says no speed may be as fast as any.
        let left = narrow(&|row| speed(row) == 0 || speed(row) > fastest / 2);
        // A second fabric has fewer ports; where every rail is a subnet of its own all have as many.
        let of_subnet = |row: usize| {
            let subnet = |row: usize| self.ports.get(row).and_then(|port| port.subnet);
            rows_of(left).filter(|other| subnet(*other) == subnet(row)).count()
        };
        let most = rows_of(left).map(of_subnet).max().unwrap_or(0);
        let left = narrow(&|row| 2 * of_subnet(row) > most);
        // Ports behind no device's switch, where every device has one behind its own: storage.
        let close =
            |near: &[u64]| near.iter().take(PathType::Phb as usize).fold(0, |mask, level| mask | level);
        let closest = || model.devices().iter().map(|device| close(&device.near));
        if !model.devices().is_empty() && closest().all(|mask| mask & left != 0) {
            let of_devices = closest().fold(0, |mask, near| mask | near);
            return narrow(&|row| of_devices >> row & 1 == 1);
        }
        left
    }

    fn managing(&self, control: Option<IpAddr>) -> impl Fn(&PortIdentity) -> bool + '_ {
        let manages = move |interface: &Interface| {
            interface.routes || control.is_some_and(|control| interface.addresses.contains(&control))
        };
        move |port| {
            let Some(own) = self.interfaces.get(usize::from(port.interface)) else { return false };
            let bond =
                own.bond.as_ref().and_then(|bond| self.interfaces.iter().find(|other| other.name == *bond));
            manages(own) || bond.is_some_and(manages)
        }
    }

    /// Devices that somebody else computes on, as a mask.
    pub fn in_use(&self) -> u64 {
        let used = self.devices.iter().zip(0u32..64).filter(|(device, _)| device.in_use);
        used.fold(0, |mask, (_, row)| mask | 1 << row)
    }

    /// The interface that has an address: what NCCL_SOCKET_IFNAME names.
    pub fn interface_of(&self, address: IpAddr) -> Option<&str> {
        let has = |interface: &&Interface| interface.addresses.contains(&address);
        self.interfaces.iter().find(has).map(|interface| interface.name.as_str())
    }
}

impl NodeModel {
    /// RDMA ports of a mask as NCCL_IB_HCA writes them: `mlx5_0:1`. Ports without RDMA are left out.
    pub fn hca(&self, ports: u64) -> Vec<String> {
        let rdma = rows_of(ports).filter_map(|row| self.ports().get(row)?.rdma.as_ref());
        rdma.map(|(device, port)| format!("{device}:{port}")).collect()
    }
}

/// A row that is to be remapped at the next reset is still whole.
fn calls_for_draining(ailment: &Ailment) -> bool {
    !matches!(ailment, Ailment::RowRemapPending)
}
