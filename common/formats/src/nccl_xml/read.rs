//! The file to a machine.

use std::collections::BTreeMap;

use phalanx_common::text::shown;
use phalanx_common::topology::machine::{
    Accelerator, AcceleratorKind, Attachment, CpuSet, LinkKind, Machine, Nic, PciDevice, PciKind, PciLink,
    PciPlace, Peer, Rdma,
};
use phalanx_common::topology::{Bdf, LinkLayer};
use roxmltree::Node;

use super::{CPU, NVSWITCH};
use crate::text::printable;
use crate::xml::{self, children};

/// Those of sixteen GPUs have 18 KB.
pub const MAX_BYTES: usize = 4 << 20;
/// NCCL itself takes fewer.
const MAX_DEVICES: usize = 4096;
/// Elements `pci` inside of each other; PCI has 256 buses.
const MAX_DEPTH: usize = 32;
/// Megabits per second; a speed beyond is none (a plugin of Slingshot says 200 Tb/s).
const FASTEST: u32 = 10_000_000;

/// Why a file was not read. Lines count from 1.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Xml(#[from] xml::Error),
    #[error(
        "this is a search graph of NCCL (<graphs>), which says nothing of the machine; write its topology with \
         NCCL_TOPO_DUMP_FILE"
    )]
    SearchGraph,
    #[error("the file begins with <{found}>, not with <system>; write it with NCCL_TOPO_DUMP_FILE")]
    NotATopology { found: String },
    #[error(
        "line {line}: a second machine begins here; write the file on one node with NCCL_MNNVL_ENABLE=0, so that \
         it is of that node alone"
    )]
    SecondMachine { line: u32 },
    #[error("line {line}: {attribute}={found} is no {what}")]
    Wrong { line: u32, attribute: &'static str, found: String, what: &'static str },
    #[error("line {line}: the file has more than {limit} PCI devices")]
    TooMany { line: u32, limit: usize },
    #[error("line {line}: PCI devices are nested more than {limit} deep")]
    TooDeep { line: u32, limit: usize },
}

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    pub machine: Machine,
    /// The rails that ports are said to be on, by the port's name in the machine.
    pub rails: BTreeMap<String, u16>,
}

/// Reads a topology. A switch is one [`PciKind::Switch`].
///
/// Files of virtual machines have GPUs and adapters by class alone, without `gpu` and `net`: those GPUs are
/// accelerators, and those adapters PCI devices of which nobody knows the ports. Links of a GPU to itself stand
/// where the hypervisor hides the peer, and are left out. A port with a number is one for RDMA; adapters of
/// several functions, which NCCL shows as one with several ports, are taken apart again.
///
/// # Errors
/// More than [`MAX_BYTES`], no XML of NCCL, a search graph, a file of several machines, and addresses, NUMA nodes
/// and CPU masks that are none.
pub fn read(bytes: &[u8]) -> Result<Topology, Error> {
    let document = xml::parse(bytes, MAX_BYTES)?;
    let root = document.root_element();
    match root.tag_name().name() {
        "system" => {}
        "graphs" => return Err(Error::SearchGraph),
        other => return Err(Error::NotATopology { found: other.chars().take(40).collect() }),
    }
    let mut reader = Reader::default();
    let mut host = None;
    for cpu in children(root, "cpu") {
        let of = cpu.attribute("host_hash");
        if *host.get_or_insert(of) != of {
            return Err(Error::SecondMachine { line: xml::line(cpu) });
        }
        reader.cpu(cpu)?;
    }
    let Topology { mut machine, rails } = reader.found;
    machine.accelerators.sort_by_key(|gpu| gpu.bdf);
    machine.nics.sort_by(|a, b| (a.bdf.is_none(), a.bdf, &a.name).cmp(&(b.bdf.is_none(), b.bdf, &b.name)));
    Ok(Topology { machine, rails })
}

#[derive(Default)]
struct Reader {
    found: Topology,
}

/// Where an element stands.
#[derive(Clone, Copy)]
struct Place {
    numa: Option<u32>,
    parent: Option<Bdf>,
    depth: usize,
}

impl Reader {
    fn cpu(&mut self, cpu: Node<'_, '_>) -> Result<(), Error> {
        let machine = &mut self.found.machine;
        let architecture = cpu.attribute("arch").filter(|arch| !arch.is_empty()).map(|arch| match arch {
            "arm64" => "aarch64".to_string(),
            "ppc64" => "ppc64le".to_string(),
            other => printable(other),
        });
        machine.architecture = machine.architecture.take().or(architecture);
        let known = &mut machine.cpu;
        known.vendor = known.vendor.take().or(cpu.attribute("vendor").map(printable));
        let amd = known.vendor.as_deref() == Some("AuthenticAMD");
        known.family = known.family.or(number(cpu, "familyid").map(|family| match family {
            // NCCL once put the extended family beside the base family of 15 (0xaf is family 25).
            family if amd && family > 0xf && family & 0xf == 0xf => 0xf + (family >> 4),
            family => family,
        }));
        known.model = known.model.or(number(cpu, "modelid"));

        let wrong = |attribute, what| {
            let found = shown(cpu.attribute(attribute).unwrap_or_default());
            Error::Wrong { line: xml::line(cpu), attribute, found, what }
        };
        let numa = match cpu.attribute("numaid") {
            Some("-1") => None,
            Some(id) => {
                let id = id.parse().ok().filter(|id| *id < CpuSet::LIMIT);
                Some(id.ok_or_else(|| wrong("numaid", "NUMA node"))?)
            }
            None => return Err(wrong("numaid", "NUMA node")),
        };
        if let Some(numa) = numa {
            let node = machine.numa.entry(numa).or_default();
            let mask = cpu.attribute("affinity").filter(|mask| !mask.is_empty());
            // A mask may begin at another CPU than 0; it is not known in which unit.
            let shifted = cpu.attribute("affinity_offset").is_some_and(|offset| offset != "0");
            if let Some(mask) = mask.filter(|_| !shifted) {
                let cpus = CpuSet::from_mask(mask).map_err(|_| wrong("affinity", "mask of CPUs"))?;
                node.cpus = node.cpus.union(&cpus);
            }
        }
        let place = Place { numa, parent: None, depth: 0 };
        for pci in children(cpu, "pci") {
            self.pci(pci, place)?;
        }
        // Ports without a PCI device.
        children(cpu, "nic").for_each(|nic| self.nic(nic, None, LinkLayer::Ethernet));
        Ok(())
    }

    fn pci(&mut self, pci: Node<'_, '_>, place: Place) -> Result<(), Error> {
        let line = || xml::line(pci);
        if place.depth >= MAX_DEPTH {
            return Err(Error::TooDeep { line: line(), limit: MAX_DEPTH });
        }
        let written = pci.attribute("busid").unwrap_or_default();
        let wrong = || Error::Wrong {
            line: line(),
            attribute: "busid",
            found: shown(written),
            what: "PCI address such as 0000:3b:00.0",
        };
        let bdf: Bdf = written.parse().map_err(|_| wrong())?;
        let device = device(pci, place);
        let layer = match device.class.map(|class| class >> 8) {
            Some(0x0207) => LinkLayer::InfiniBand,
            _ => LinkLayer::Ethernet,
        };
        let gpu = children(pci, "gpu").next();
        // A display controller that NCCL does not compute on is the board's own.
        let computes =
            device.kind == Some(PciKind::Gpu) && device.class.map(|class| class >> 8) != Some(0x0300);
        let is_first = self.insert(bdf, device.clone(), &line)?;
        children(pci, "nic").for_each(|nic| self.nic(nic, Some((bdf, &device)), layer));
        if is_first && (gpu.is_some() || computes) {
            let accelerator = self.accelerator(bdf, gpu, place.numa);
            self.found.machine.accelerators.push(accelerator);
        }
        let below = Place { parent: Some(bdf), depth: place.depth + 1, ..place };
        children(pci, "pci").try_for_each(|pci| self.pci(pci, below))
    }

    /// Whether the address is new: a model of RCCL has an adapter with the address of the switch above it.
    fn insert(&mut self, bdf: Bdf, device: PciDevice, line: &dyn Fn() -> u32) -> Result<bool, Error> {
        let known = &mut self.found.machine.pci;
        if known.contains_key(&bdf) {
            return Ok(false);
        }
        if known.len() >= MAX_DEVICES {
            return Err(Error::TooMany { line: line(), limit: MAX_DEVICES });
        }
        known.insert(bdf, device);
        Ok(true)
    }

    fn accelerator(&self, bdf: Bdf, gpu: Option<Node<'_, '_>>, numa: Option<u32>) -> Accelerator {
        let device = &self.found.machine.pci[&bdf];
        let amd = gpu.is_some_and(|gpu| gpu.has_attribute("gcn"))
            || matches!(device.class.map(|class| class >> 8), Some(0x0380 | 0x1200));
        let by_vendor = device.vendor.and_then(AcceleratorKind::of_vendor);
        let kind = by_vendor.unwrap_or(if amd { AcceleratorKind::Amd } else { AcceleratorKind::Nvidia });
        Accelerator {
            bdf: Some(bdf),
            index: gpu.and_then(|gpu| number(gpu, "dev")),
            links: gpu.map(|gpu| links(gpu, bdf, numa)).unwrap_or_default(),
            ..Accelerator::new(kind)
        }
    }

    fn nic(&mut self, nic: Node<'_, '_>, at: Option<(Bdf, &PciDevice)>, layer: LinkLayer) {
        let mut devices: Vec<&str> = Vec::new();
        for net in children(nic, "net") {
            let Some(device) = net.attribute("name").filter(|name| !name.is_empty()) else { continue };
            if self.found.machine.nics.len() >= MAX_DEVICES {
                return;
            }
            // The functions of an adapter have numbers one after the other, and so have NCCL's ports.
            let place = devices.iter().position(|known| *known == device).unwrap_or_else(|| {
                devices.push(device);
                devices.len() - 1
            });
            let port = number(net, "port").and_then(|port| u8::try_from(port).ok()).filter(|port| *port > 0);
            let function = u8::try_from(place).ok().filter(|place| port.is_some_and(|port| port > *place));
            let bdf = at.map(|(bdf, device)| {
                let function = bdf.function + function.unwrap_or(0);
                let bdf = if function < 8 { Bdf { function, ..bdf } } else { bdf };
                self.found.machine.pci.entry(bdf).or_insert_with(|| device.clone());
                bdf
            });
            let device = printable(device);
            let port = port.map(|port| port - function.unwrap_or(0));
            let name = port.map_or_else(|| device.clone(), |port| format!("{device}/{port}"));
            if let Some(rail) = number(net, "rail").and_then(|rail| u16::try_from(rail).ok()) {
                self.found.rails.insert(name.clone(), rail);
            }
            let rdma = port.map(|port| Rdma {
                device,
                port,
                guid: None,
                node_guid: None,
                subnet: None,
                lid: None,
                sm_lid: None,
            });
            let speed_mbps = number(net, "speed").filter(|speed| (1..=FASTEST).contains(speed));
            self.found.machine.nics.push(Nic { bdf, speed_mbps, rdma, ..Nic::new(&name, layer) });
        }
    }
}

fn device(pci: Node<'_, '_>, place: Place) -> PciDevice {
    let hexadecimal = |name: &str| {
        let digits = pci.attribute(name)?;
        u32::from_str_radix(digits.strip_prefix("0x").unwrap_or(digits), 16).ok()
    };
    let id = |name: &str| hexadecimal(name).and_then(|id| u16::try_from(id).ok()).filter(|id| *id != 0);
    let class = hexadecimal("class").filter(|class| *class < 1 << 24);
    let has = |tag: &str| children(pci, tag).next().is_some();
    let by_class = class.and_then(|class| PciDevice::kind_of(class, id("vendor")));
    let kind = match by_class {
        _ if has("pci") => Some(PciKind::Switch),
        _ if has("gpu") => Some(PciKind::Gpu),
        _ if has("nic") => Some(PciKind::Network),
        Some(PciKind::Bridge) => Some(PciKind::Switch),
        other => other,
    };
    PciDevice {
        kind,
        vendor: id("vendor"),
        device: id("device"),
        class,
        numa: place.numa,
        place: Some(PciPlace { parent: place.parent, root: None }),
        link: PciLink {
            speed: pci.attribute("link_speed").and_then(transfers),
            width: number(pci, "link_width")
                .and_then(|width| u8::try_from(width).ok())
                .filter(|width| *width > 0),
            ..PciLink::default()
        },
        function_of: None,
    }
}

/// `32.0 GT/s PCIe`, `8 GT/s`; megatransfers per second.
fn transfers(speed: &str) -> Option<u32> {
    let number: f64 = speed.split_once("GT/s")?.0.trim().parse().ok()?;
    // PCI Express 8.0 will have 256.
    (0.1..=1024.0).contains(&number).then(|| (number * 1000.0).round() as u32)
}

fn links(gpu: Node<'_, '_>, own: Bdf, numa: Option<u32>) -> Vec<Attachment> {
    let mut found: BTreeMap<(Peer, LinkKind), (u32, Option<u64>)> = BTreeMap::new();
    for link in gpu.children().filter(Node::is_element) {
        let target: Option<Bdf> = link.attribute("target").and_then(|target| target.parse().ok());
        let class = link.attribute("tclass").unwrap_or_default();
        let (peer, kind) = match link.tag_name().name() {
            "c2c" => (Some(Peer::Cpu(numa)), LinkKind::NvLink),
            "nvlink" if class.starts_with(CPU) => (Some(Peer::Cpu(numa)), LinkKind::NvLink),
            "nvlink" if class.starts_with(NVSWITCH) => (Some(Peer::Switch(target)), LinkKind::NvLink),
            "nvlink" => (target.map(Peer::Accelerator), LinkKind::NvLink),
            "xgmi" => (target.map(Peer::Accelerator), LinkKind::Xgmi),
            _ => continue,
        };
        let Some(peer) = peer.filter(|peer| *peer != Peer::Accelerator(own)) else { continue };
        let lanes = number(link, "count").unwrap_or(1);
        let speed = number(link, "bw").map(|speed| u64::from(speed) * u64::from(lanes));
        let known = found.entry((peer, kind)).or_insert((0, Some(0)));
        known.0 = known.0.saturating_add(lanes);
        known.1 = known.1.zip(speed).map(|(sum, speed)| sum.saturating_add(speed));
    }
    let found = found.into_iter().filter(|(_, (lanes, _))| *lanes > 0);
    found.map(|((peer, kind), (lanes, mb_per_s))| Attachment { peer, kind, lanes, mb_per_s }).collect()
}

fn number(node: Node<'_, '_>, attribute: &str) -> Option<u32> {
    node.attribute(attribute)?.parse().ok()
}
