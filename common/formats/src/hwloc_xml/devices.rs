//! What the operating system calls the devices: interfaces, RDMA ports, GPUs.

use std::collections::{BTreeMap, BTreeSet};

use phalanx_common::topology::machine::{
    Accelerator, AcceleratorKind, Machine, Nic, PciDevice, PciKind, Rdma,
};
use phalanx_common::topology::{Bdf, Guid, LinkLayer, Mac};
use roxmltree::Node;

use super::Error;
use super::attributes::{info, number, text};
use crate::text::printable;

/// Ports of one adapter.
const MAX_PORTS: u8 = 8;
/// Interfaces and adapters of one function.
const MAX_DEVICES: usize = 64;

/// The devices of one PCI function.
#[derive(Default)]
pub(super) struct Function {
    interfaces: Vec<Interface>,
    ports: Vec<Port>,
    gpu: Option<Accelerator>,
    /// What PCI's list of names calls a GPU, for those that no tool told more of.
    pub(super) called: Option<String>,
}

struct Interface {
    nic: Nic,
    /// What the first address of its RDMA port ends with.
    address: Option<u64>,
}

/// An RDMA port with the lower half of its first address.
struct Port {
    rdma: Rdma,
    up: Option<bool>,
    address: Option<u64>,
}

impl Function {
    /// Adds an object of the type OSDev; its kinds are hwloc's `hwloc_obj_osdev_type_e`.
    pub(super) fn add(&mut self, object: Node<'_, '_>) -> Result<(), Error> {
        let name = printable(text(object, "name").unwrap_or_default());
        match number::<u32>(object, "osdev_type")? {
            Some(2) if self.interfaces.len() < MAX_DEVICES => {
                self.interfaces.push(Interface::of(object, &name))
            }
            Some(3) if self.ports.len() < MAX_DEVICES => {
                self.ports.extend((1..=MAX_PORTS).filter_map(|port| Port::of(object, &name, port)));
            }
            Some(1 | 5) => self.compute(object, &name),
            _ => {}
        }
        Ok(())
    }

    /// NVML, RSMI, CUDA and others describe one GPU each in its own words.
    fn compute(&mut self, object: Node<'_, '_>, name: &str) {
        let info = |name: &str| info(object, name);
        let kind = match info("Backend").as_deref() {
            Some("NVML" | "CUDA") => AcceleratorKind::Nvidia,
            Some("RSMI") => AcceleratorKind::Amd,
            Some("OpenCL") => match info("GPUVendor") {
                Some(vendor) if vendor.starts_with("NVIDIA") => AcceleratorKind::Nvidia,
                Some(vendor) if vendor.starts_with("Advanced Micro Devices") => AcceleratorKind::Amd,
                _ => return,
            },
            _ => return,
        };
        let kilobytes = |name: &str| info(name)?.parse::<u64>().ok()?.checked_mul(1024);
        let index = |prefix: &str| name.strip_prefix(prefix)?.parse().ok();
        let gpu = self.gpu.get_or_insert_with(|| Accelerator::new(kind));
        gpu.index = gpu.index.or_else(|| index("nvml")).or_else(|| index("rsmi"));
        gpu.model = gpu.model.take().or_else(|| info("GPUModel"));
        gpu.uuid = gpu.uuid.take().or_else(|| info("NVIDIAUUID")).or_else(|| info("AMDUUID"));
        gpu.serial = gpu.serial.take().or_else(|| info("NVIDIASerial")).or_else(|| info("AMDSerial"));
        gpu.memory_bytes = gpu
            .memory_bytes
            .or_else(|| kilobytes("CUDAGlobalMemorySize"))
            .or_else(|| kilobytes("RSMIVRAMSize"));
        gpu.hive =
            gpu.hive.or_else(|| u64::from_str_radix(&info("XGMIHiveID")?, 16).ok().filter(|hive| *hive != 0));
    }

    /// The interfaces with the RDMA ports that they are: those with one address, then the only one that is
    /// left of a link layer. Ports without an interface are by themselves.
    fn joined(self, bdf: Bdf, class: Option<u32>) -> Vec<Nic> {
        let mut nics: Vec<(Nic, Option<u64>)> =
            self.interfaces.into_iter().map(|interface| (interface.nic, interface.address)).collect();
        let mut left = Vec::new();
        for port in self.ports {
            let same = |(nic, address): &&mut (Nic, Option<u64>)| {
                nic.rdma.is_none() && address.is_some() && *address == port.address
            };
            match nics.iter_mut().find(same) {
                Some((nic, _)) => port.join(nic),
                None => left.push(port),
            }
        }
        for port in left {
            let layer = port.layer(class);
            let mut free = nics.iter_mut().filter(|(nic, _)| nic.rdma.is_none() && nic.layer == layer);
            match (free.next(), free.next()) {
                (Some((nic, _)), None) => port.join(nic),
                _ => {
                    let mut nic = Nic::new(&format!("{}/{}", port.rdma.device, port.rdma.port), layer);
                    port.join(&mut nic);
                    nics.push((nic, None));
                }
            }
        }
        nics.into_iter().map(|(nic, _)| Nic { bdf: Some(bdf), ..nic }).collect()
    }
}

impl Interface {
    /// That of InfiniBand has an address of twenty bytes, whose last eight are the port's GUID (RFC 4391).
    fn of(object: Node<'_, '_>, name: &str) -> Interface {
        let address = info(object, "Address").unwrap_or_default();
        let bytes: Vec<&str> = address.split(':').collect();
        if bytes.len() == 20 {
            let guid = bytes[12..].concat().parse::<Guid>().ok();
            return Interface {
                nic: Nic::new(name, LinkLayer::InfiniBand),
                address: guid.map(|guid| guid.0),
            };
        }
        let mac = address.parse::<Mac>().ok();
        let nic = Nic { mac, ..Nic::new(name, LinkLayer::Ethernet) };
        Interface { nic, address: mac.map(interface_id) }
    }
}

/// The lower half of the link-local address that a MAC makes (RFC 4291, appendix A).
fn interface_id(mac: Mac) -> u64 {
    let [a, b, c, d, e, f] = mac.0;
    u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

impl Port {
    fn of(object: Node<'_, '_>, device: &str, port: u8) -> Option<Port> {
        let get = |name: &str| info(object, &format!("Port{port}{name}"));
        let state: u8 = get("State")?.parse().ok()?;
        let guid = |text: String| text.parse::<Guid>().ok().filter(|guid| *guid != Guid(0));
        let gid = get("GID0").filter(|gid| gid.split(':').count() == 8);
        let half = |skip: usize| {
            gid.as_ref()?.split(':').skip(skip).take(4).collect::<String>().parse::<Guid>().ok()
        };
        let address = half(4).filter(|guid| *guid != Guid(0));
        let lid = get("LID").and_then(|lid| u16::from_str_radix(lid.strip_prefix("0x")?, 16).ok());
        let rdma = Rdma {
            device: device.to_string(),
            port,
            guid: address,
            node_guid: info(object, "NodeGUID").and_then(guid),
            subnet: half(0).filter(|_| address.is_some()),
            lid,
            sm_lid: None,
        };
        Some(Port { rdma, up: Some(state == 4), address: address.map(|guid| guid.0) })
    }

    /// As far as anything tells: Ethernet has no LIDs, and some adapters of InfiniBand a class of their own.
    fn layer(&self, class: Option<u32>) -> LinkLayer {
        let of_fabric =
            self.rdma.lid.is_some_and(|lid| lid != 0) || class.is_some_and(|class| class >> 8 == 0x0207);
        if of_fabric { LinkLayer::InfiniBand } else { LinkLayer::Ethernet }
    }

    fn join(mut self, nic: &mut Nic) {
        if nic.layer == LinkLayer::Ethernet {
            (self.rdma.guid, self.rdma.subnet, self.rdma.lid) = (None, None, None);
        }
        nic.up = self.up;
        nic.rdma = Some(self.rdma);
    }
}

/// Adds interfaces and accelerators to a machine whose PCI devices are known, of which those stay that matter
/// and the bridges above them.
pub(super) fn add(machine: &mut Machine, functions: BTreeMap<Bdf, Function>) {
    let mut gpus = BTreeMap::new();
    let mut called = BTreeMap::new();
    for (bdf, mut function) in functions {
        called.extend(function.called.take().map(|name| (bdf, name)));
        gpus.extend(function.gpu.take().map(|gpu| (bdf, Accelerator { bdf: Some(bdf), ..gpu })));
        let class = machine.pci.get(&bdf).and_then(|device| device.class);
        machine.nics.extend(function.joined(bdf, class));
    }
    for (bdf, device) in &machine.pci {
        if let Some(kind) = computes(device).filter(|_| !gpus.contains_key(bdf)) {
            gpus.insert(*bdf, Accelerator { bdf: Some(*bdf), ..Accelerator::new(kind) });
        }
    }
    for (bdf, gpu) in &mut gpus {
        gpu.model = gpu.model.take().or_else(|| called.remove(bdf));
    }
    machine.accelerators = gpus.into_values().collect();
    machine.nics.sort_by_cached_key(|nic| (nic.bdf, nic.name.clone()));

    let mut kept: BTreeSet<Bdf> = machine.accelerators.iter().filter_map(|gpu| gpu.bdf).collect();
    kept.extend(machine.nics.iter().filter_map(|nic| nic.bdf));
    let matters = |device: &PciDevice| device.kind.is_some_and(|kind| kind != PciKind::Bridge);
    kept.extend(machine.pci.iter().filter(|(_, device)| matters(device)).map(|(bdf, _)| *bdf));
    let parent = |bdf: &Bdf| machine.pci.get(bdf)?.place?.parent;
    let mut ways: Vec<Bdf> = kept.iter().copied().collect();
    while let Some(bdf) = ways.pop() {
        ways.extend(parent(&bdf).filter(|bridge| kept.insert(*bridge)));
    }
    machine.pci.retain(|bdf, _| kept.contains(bdf));
}

/// Whether a device of which nothing but PCI tells is an accelerator. Cards of AMD that draw may be the
/// board's own.
fn computes(device: &PciDevice) -> Option<AcceleratorKind> {
    let kind = AcceleratorKind::of_vendor(device.vendor?).filter(|_| device.kind == Some(PciKind::Gpu))?;
    let draws = device.class.is_some_and(|class| matches!(class >> 8, 0x0300 | 0x0302));
    (kind != AcceleratorKind::Amd || !draws).then_some(kind)
}
