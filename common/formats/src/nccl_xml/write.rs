//! A machine to the file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use phalanx_common::topology::machine::{
    Accelerator, AcceleratorKind, Device, LinkKind, Machine, Nic, PciDevice, PciKind, Peer,
};
use phalanx_common::topology::{Bdf, LinkLayer};

use super::{CPU, NVSWITCH};

/// Switches above a device.
const MAX_DEPTH: usize = 16;
/// As NCCL's buffers have it.
const MAX_VALUE: usize = 200;

/// Writes the topology of a machine for `NCCL_TOPO_FILE`, with the rails that its ports are on, by name.
///
/// As NCCL does it, a switch is its upstream port (every second bridge above a device), and the functions of an
/// adapter are one with several ports. What NCCL knows better when it runs is left out for it to fill in: ranks, the
/// numbers of its network devices, GUIDs. Virtual functions, accelerators that NCCL does not know, and those
/// without an address are not written.
pub fn write(machine: &Machine, rails: &BTreeMap<String, u16>) -> String {
    Writer::new(machine, rails).write()
}

/// A device whose place in the PCI tree is not known, by name: NCCL would take it for far from everything.
pub fn unplaced(machine: &Machine) -> Option<String> {
    let placed = |bdf: Option<Bdf>| {
        bdf.and_then(|bdf| machine.pci.get(&bdf)).is_some_and(|device| device.place.is_some())
    };
    let gpu = |(gpu, row): (&Accelerator, u32)| format!("GPU{}", gpu.index.unwrap_or(row));
    let mut gpus = machine.accelerators.iter().zip(0..).filter(|(gpu, _)| !placed(gpu.bdf));
    let mut nics = machine.nics.iter().filter(|nic| nic.rdma.is_some() || nic.bdf.is_some());
    gpus.next().map(gpu).or_else(|| nics.find(|nic| !placed(nic.bdf)).map(|nic| nic.name.clone()))
}

struct Writer<'a> {
    machine: &'a Machine,
    rails: &'a BTreeMap<String, u16>,
    accelerators: BTreeMap<Bdf, &'a Accelerator>,
    /// By the address that they are written under: function 0 of their adapter.
    nics: BTreeMap<Bdf, Vec<&'a Nic>>,
    /// Addresses of ports for RDMA.
    rdma: BTreeSet<Bdf>,
    /// What is directly below each switch, and below the CPUs.
    below: BTreeMap<Bdf, BTreeSet<Bdf>>,
    /// What is below the CPUs, with its NUMA node where that is known.
    top: BTreeMap<Bdf, Option<u32>>,
    text: String,
}

impl<'a> Writer<'a> {
    fn new(machine: &'a Machine, rails: &'a BTreeMap<String, u16>) -> Writer<'a> {
        let (accelerators, nics) = (BTreeMap::new(), BTreeMap::new());
        let (below, top) = (BTreeMap::new(), BTreeMap::new());
        let rdma = machine.nics.iter().filter(|nic| nic.rdma.is_some() && !machine.is_virtual(nic));
        let rdma = rdma.filter_map(|nic| nic.bdf).collect();
        let mut writer = Writer { machine, rails, accelerators, nics, rdma, below, top, text: String::new() };
        for (gpu, row) in machine.accelerators.iter().zip(0u32..) {
            if let Some(bdf) = gpu.bdf.filter(|_| gpu.kind != AcceleratorKind::Ascend) {
                writer.accelerators.insert(bdf, gpu);
                writer.attach(bdf, machine.numa_of(Device::Accelerator(row)));
            }
        }
        for nic in machine.nics.iter().filter(|nic| !machine.is_virtual(nic)) {
            if let Some(bdf) = nic.bdf {
                let under = writer.adapter(bdf);
                writer.nics.entry(under).or_default().push(nic);
                if machine.pci.get(&under).is_none_or(|device| device.kind != Some(PciKind::Switch)) {
                    writer.attach(under, None);
                }
            }
        }
        for (bdf, device) in &machine.pci {
            let is_adapter = device.kind == Some(PciKind::Network) && device.function_of.is_none();
            if is_adapter && writer.adapter(*bdf) == *bdf {
                writer.attach(*bdf, None);
            }
        }
        writer
    }

    /// The first function of an adapter for RDMA, where it has several without a gap.
    fn adapter(&self, bdf: Bdf) -> Bdf {
        let first = Bdf { function: 0, ..bdf };
        let all = (0..=bdf.function).all(|function| self.rdma.contains(&Bdf { function, ..bdf }));
        if all { first } else { bdf }
    }

    /// Puts a device below its switch, and that below the next, up to a CPU.
    fn attach(&mut self, device: Bdf, numa: Option<u32>) {
        let above = self.switches_above(device);
        let numa_at = |bdf: &Bdf| self.machine.pci.get(bdf).and_then(|device| device.numa);
        let numa = above.last().and_then(numa_at).or_else(|| numa_at(&device)).or(numa);
        let numa = numa.or_else(|| {
            let only: Vec<u32> = self.machine.numa.keys().copied().take(2).collect();
            (only.len() == 1).then(|| only[0])
        });
        let mut lower = device;
        for upper in above {
            self.below.entry(upper).or_default().insert(lower);
            lower = upper;
        }
        let known = self.top.entry(lower).or_default();
        *known = known.or(numa);
    }

    /// The nearest first. None where bridges are above themselves, or too many.
    fn switches_above(&self, device: Bdf) -> Vec<Bdf> {
        let parent = |bdf: Bdf| self.machine.pci.get(&bdf).and_then(|device| device.place)?.parent;
        let is_switch = |bdf: Bdf| self.machine.pci.get(&bdf).and_then(|it| it.kind) == Some(PciKind::Switch);
        let mut found = Vec::new();
        let mut at = device;
        // A downstream port and the upstream port above it are one switch; a root port has nothing above it.
        while let Some(port) = parent(at) {
            let switch = if is_switch(port) { Some(port) } else { parent(port) };
            let Some(switch) = switch else { break };
            if found.len() >= MAX_DEPTH || found.contains(&switch) || switch == device {
                return Vec::new();
            }
            found.push(switch);
            at = switch;
        }
        found
    }

    fn write(mut self) -> String {
        // RCCL's files are of another version than NCCL's.
        let amd = self.accelerators.values().any(|gpu| gpu.kind == AcceleratorKind::Amd);
        self.line(0, format_args!("<system version=\"{}\">", if amd { 2 } else { 1 }));
        let with_cpus = self.machine.numa.iter().filter(|(_, node)| !node.cpus.is_empty());
        let mut nodes: BTreeSet<Option<u32>> = with_cpus.map(|(id, _)| Some(*id)).collect();
        nodes.extend(self.top.values());
        let loose: Vec<&Nic> = self.machine.nics.iter().filter(|nic| nic.bdf.is_none()).collect();
        if nodes.is_empty() && !loose.is_empty() {
            nodes.insert(None);
        }
        for (numa, is_first) in nodes.iter().zip(std::iter::once(true).chain(std::iter::repeat(false))) {
            self.cpu(*numa);
            let here: Vec<Bdf> = self.top.iter().filter(|(_, at)| *at == numa).map(|(bdf, _)| *bdf).collect();
            here.into_iter().for_each(|bdf| self.pci(bdf, 2));
            // What is no PCI device hangs at the first CPU, as NCCL has it.
            for nic in loose.iter().filter(|_| is_first) {
                self.nets(&[nic], 2);
            }
            self.line(1, format_args!("</cpu>"));
        }
        self.line(0, format_args!("</system>"));
        self.text
    }

    fn cpu(&mut self, numa: Option<u32>) {
        let machine = self.machine;
        let mut attributes = match numa {
            Some(numa) => format!("numaid=\"{numa}\""),
            None => "numaid=\"-1\"".to_string(),
        };
        let cpus = numa.and_then(|numa| machine.numa.get(&numa)).map(|node| &node.cpus);
        if let Some(cpus) = cpus.filter(|cpus| !cpus.is_empty()) {
            add(&mut attributes, "affinity", &cpus.to_mask());
        }
        let architecture = machine.architecture.as_deref().map(|name| match name {
            "aarch64" => "arm64",
            "ppc64le" => "ppc64",
            other => other,
        });
        architecture.inspect(|name| add(&mut attributes, "arch", name));
        machine.cpu.vendor.as_deref().inspect(|vendor| add(&mut attributes, "vendor", vendor));
        for (name, value) in [("familyid", machine.cpu.family), ("modelid", machine.cpu.model)] {
            value.inspect(|value| add(&mut attributes, name, &value.to_string()));
        }
        self.line(1, format_args!("<cpu {attributes}>"));
    }

    fn pci(&mut self, bdf: Bdf, depth: usize) {
        let empty = PciDevice::default();
        let machine = self.machine;
        let device = machine.pci.get(&bdf).unwrap_or(&empty);
        let below = self.below.get(&bdf).cloned().unwrap_or_default();
        let gpu = self.accelerators.get(&bdf).copied();
        let nics = self.nics.get(&bdf).cloned().unwrap_or_default();
        let is_switch = !below.is_empty() || device.kind == Some(PciKind::Switch);
        let class = match (gpu.map(|gpu| gpu.kind), nics.first().map(|nic| nic.layer)) {
            _ if is_switch => 0x06_0400,
            (Some(AcceleratorKind::Amd), _) => 0x12_0000,
            (Some(_), _) => 0x03_0200,
            (_, Some(LinkLayer::InfiniBand)) => 0x02_0700,
            _ => 0x02_0000,
        };
        let mut attributes = format!("busid=\"{bdf}\" class=\"0x{:06x}\"", device.class.unwrap_or(class));
        for (name, value) in [("vendor", device.vendor), ("device", device.device)] {
            value.inspect(|value| add(&mut attributes, name, &format!("0x{value:04x}")));
        }
        if let Some(speed) = device.link.speed {
            add(&mut attributes, "link_speed", &format!("{}.{} GT/s PCIe", speed / 1000, speed % 1000 / 100));
        }
        device.link.width.inspect(|width| add(&mut attributes, "link_width", &width.to_string()));
        if gpu.is_none() && below.is_empty() && nics.is_empty() {
            self.line(depth, format_args!("<pci {attributes}/>"));
            return;
        }
        self.line(depth, format_args!("<pci {attributes}>"));
        if let Some(gpu) = gpu {
            self.gpu(gpu, depth + 1);
        }
        for lower in below {
            self.pci(lower, depth + 1);
        }
        match (is_switch, nics.is_empty()) {
            (_, true) => {}
            (false, false) => self.nets(&nics, depth + 1),
            // An adapter with the address of the switch above it; NCCL takes what has ports for no switch.
            (true, false) => {
                let class = if nics[0].layer == LinkLayer::InfiniBand { "0x020700" } else { "0x020000" };
                self.line(depth + 1, format_args!("<pci busid=\"{bdf}\" class=\"{class}\">"));
                self.nets(&nics, depth + 2);
                self.line(depth + 1, format_args!("</pci>"));
            }
        }
        self.line(depth, format_args!("</pci>"));
    }

    fn gpu(&mut self, gpu: &Accelerator, depth: usize) {
        let index = gpu.index.map_or_else(String::new, |index| format!(" dev=\"{index}\""));
        if gpu.links.is_empty() {
            self.line(depth, format_args!("<gpu{index}/>"));
            return;
        }
        self.line(depth, format_args!("<gpu{index}>"));
        for link in &gpu.links {
            let target = |bdf: Bdf| format!(" target=\"{bdf}\"");
            let class = |bdf: Bdf| {
                let default = if link.kind == LinkKind::Xgmi { 0x12_0000 } else { 0x03_0200 };
                let known = self.machine.pci.get(&bdf).and_then(|device| device.class);
                format!("0x{:06x}", known.unwrap_or(default))
            };
            let count = link.lanes;
            let written = match (link.kind, link.peer) {
                (LinkKind::Xgmi, Peer::Accelerator(bdf)) => {
                    format!("<xgmi{} count=\"{count}\" tclass=\"{}\"/>", target(bdf), class(bdf))
                }
                (LinkKind::NvLink, Peer::Accelerator(bdf)) => {
                    format!("<nvlink{} count=\"{count}\" tclass=\"{}\"/>", target(bdf), class(bdf))
                }
                (LinkKind::NvLink, Peer::Switch(bdf)) => {
                    let target = bdf.map(target).unwrap_or_default();
                    format!("<nvlink{target} count=\"{count}\" tclass=\"{NVSWITCH}\"/>")
                }
                (LinkKind::NvLink, Peer::Cpu(_)) => match link.mb_per_s {
                    Some(speed) => {
                        format!("<c2c bw=\"{}\" count=\"{count}\"/>", speed / u64::from(count.max(1)))
                    }
                    None => format!("<nvlink count=\"{count}\" tclass=\"{CPU}\"/>"),
                },
                _ => continue,
            };
            self.line(depth + 1, format_args!("{written}"));
        }
        self.line(depth, format_args!("</gpu>"));
    }

    fn nets(&mut self, nics: &[&Nic], depth: usize) {
        self.line(depth, format_args!("<nic>"));
        // A device of the n-th function has the n-th number after that of its port.
        let mut devices: Vec<&str> = Vec::new();
        for nic in nics {
            let (device, port) = match &nic.rdma {
                Some(rdma) => (rdma.device.as_str(), Some(rdma.port)),
                None => (nic.name.as_str(), None),
            };
            let place = devices.iter().position(|known| *known == device).unwrap_or_else(|| {
                devices.push(device);
                devices.len() - 1
            });
            let mut attributes = String::new();
            add(&mut attributes, "name", device);
            if let Some(port) = port {
                add(&mut attributes, "port", &(usize::from(port) + place).to_string());
            }
            nic.speed_mbps.inspect(|speed| add(&mut attributes, "speed", &speed.to_string()));
            self.rails.get(&nic.name).inspect(|rail| add(&mut attributes, "rail", &rail.to_string()));
            self.line(depth + 1, format_args!("<net{attributes}/>"));
        }
        self.line(depth, format_args!("</nic>"));
    }

    fn line(&mut self, depth: usize, line: std::fmt::Arguments<'_>) {
        let width = 2 * depth;
        writeln!(self.text, "{:width$}{line}", "").expect("text grows");
    }
}

/// Adds ` name="value"`, as XML has it and without what a terminal would take for an order.
fn add(attributes: &mut String, name: &str, value: &str) {
    let mut escaped = String::new();
    for c in value.chars().filter(|c| !c.is_control()).take(MAX_VALUE) {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    write!(attributes, " {name}=\"{escaped}\"").expect("text grows");
}
