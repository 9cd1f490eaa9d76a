//! The tree of objects.

use std::collections::BTreeMap;

use phalanx_common::topology::Bdf;
use phalanx_common::topology::machine::{
    Allowed, CpuSet, Machine, NumaNode, Package, PciDevice, PciKind, PciPlace, PciRoot,
};
use roxmltree::Node;

use super::attributes::{address, info, number, set, value};
use super::devices::{self, Function};
use super::distances::{self, Matrix};
use super::{Error, MAX_DEPTH};
use crate::xml;

/// Where an object is: what those around it say.
#[derive(Clone, Copy, Default)]
pub(super) struct Place {
    /// The only NUMA node of the CPUs around it.
    numa: Option<u32>,
    root: Option<PciRoot>,
    /// The bridge or function around it.
    above: Option<Bdf>,
}

/// What a matrix names by `gp_index`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Function(Bdf),
    Node(u32),
    /// A package, by its NUMA node.
    Package(Option<u32>),
}

/// What the objects told so far.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) has_machine: bool,
    pub(super) machine: Machine,
    pub(super) functions: BTreeMap<Bdf, Function>,
    /// By type and `gp_index`.
    pub(super) ends: BTreeMap<(String, u64), End>,
    /// NUMA nodes in the order of the file, which is that of hwloc's logical numbers.
    nodes: Vec<u32>,
    /// CPUs by themselves, for files without cores.
    units: Vec<CpuSet>,
    memory_bytes: Option<u64>,
}

impl Seen {
    /// An object and all within it.
    pub(super) fn object(&mut self, object: Node<'_, '_>, around: Place, depth: usize) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(Error::TooDeep { line: xml::line(object) });
        }
        let mut place = around;
        if let Some(nodes) = set(object, "nodeset")? {
            place.numa = nodes.iter().next().filter(|_| nodes.len() == 1);
        }
        let nodes_before = self.nodes.len();
        let kind = object.attribute("type").unwrap_or_default();
        match kind {
            "Machine" => self.root(object)?,
            // The older name is that of hwloc before 1.11.
            "Package" | "Socket" => self.package(object, place)?,
            "NUMANode" => self.node(object)?,
            "L3Cache" => self.cache(object)?,
            "Cache" if number::<u32>(object, "depth")? == Some(3) => self.cache(object)?,
            "Core" => self.machine.cores.extend(set(object, "cpuset")?),
            "PU" => self.units.extend(set(object, "cpuset")?),
            "Bridge" => self.bridge(object, &mut place)?,
            "PCIDev" => self.function(object, &mut place)?,
            "OSDev" => self.device(object, place)?,
            _ => {}
        }
        for inner in xml::children(object, "object") {
            self.object(inner, place, depth + 1)?;
        }
        // In version 1 a matrix is of all objects of one depth within another; those of the nodes are
        // recognised by their number.
        let within = &self.nodes[nodes_before..];
        for element in xml::children(object, "distances") {
            if let Some(rows) = distances::of_version_1(element, within.len())? {
                distances::set(&mut self.machine, within, &rows);
            }
        }
        Ok(())
    }

    fn root(&mut self, object: Node<'_, '_>) -> Result<(), Error> {
        self.has_machine = true;
        let machine = &mut self.machine;
        machine.host = info(object, "HostName");
        machine.architecture = info(object, "Architecture");
        machine.board.vendor = info(object, "DMISysVendor").or_else(|| info(object, "DMIBoardVendor"));
        machine.board.product = info(object, "DMIProductName");
        self.memory_bytes = number(object, "local_memory")?.filter(|bytes| *bytes > 0);
        let less = |all: Option<CpuSet>, some: Option<CpuSet>| some.filter(|some| all.as_ref() != Some(some));
        self.machine.allowed = Allowed {
            cpus: less(set(object, "cpuset")?, set(object, "allowed_cpuset")?),
            nodes: less(set(object, "nodeset")?, set(object, "allowed_nodeset")?),
            memory_bytes: None,
        };
        self.model(object);
        Ok(())
    }

    fn model(&mut self, object: Node<'_, '_>) {
        let cpu = &mut self.machine.cpu;
        let number = |name: &str| info(object, name).and_then(|text| text.parse().ok());
        cpu.vendor = cpu.vendor.take().or_else(|| info(object, "CPUVendor"));
        cpu.name = cpu.name.take().or_else(|| info(object, "CPUModel"));
        cpu.family = cpu.family.or_else(|| number("CPUFamilyNumber"));
        cpu.model = cpu.model.or_else(|| number("CPUModelNumber"));
    }

    fn package(&mut self, object: Node<'_, '_>, place: Place) -> Result<(), Error> {
        self.model(object);
        self.name(object, End::Package(place.numa))?;
        let order = u32::try_from(self.machine.packages.len()).unwrap_or(u32::MAX);
        // Firmware that has no number for it gives -1, and hwloc leaves that out or writes it unsigned.
        let id = number::<u32>(object, "os_index")?.filter(|id| *id != u32::MAX).unwrap_or(order);
        if let Some(cpus) = set(object, "cpuset")? {
            self.machine.packages.push(Package { id, cpus });
        }
        Ok(())
    }

    fn node(&mut self, object: Node<'_, '_>) -> Result<(), Error> {
        let Some(id) = number::<u32>(object, "os_index")? else { return Ok(()) };
        let cpus = set(object, "cpuset")?.unwrap_or_default();
        let memory_bytes = number(object, "local_memory")?.filter(|bytes| *bytes > 0);
        self.machine.numa.insert(id, NumaNode { cpus, memory_bytes, distances: BTreeMap::new() });
        self.nodes.push(id);
        self.name(object, End::Node(id))
    }

    fn cache(&mut self, object: Node<'_, '_>) -> Result<(), Error> {
        self.machine.l3.extend(set(object, "cpuset")?);
        Ok(())
    }

    fn bridge(&mut self, object: Node<'_, '_>, place: &mut Place) -> Result<(), Error> {
        match (object.attribute("bridge_type"), address(object)?) {
            (Some("0-1"), _) => {
                let buses = value(object, "bridge_pci", "buses such as 0000:[3a-3b]", buses)?;
                (place.root, place.above) = (buses, None);
            }
            (_, Some(bdf)) => {
                self.describe(object, bdf, *place)?;
                place.above = Some(bdf);
            }
            _ => {}
        }
        Ok(())
    }

    fn function(&mut self, object: Node<'_, '_>, place: &mut Place) -> Result<(), Error> {
        let Some(bdf) = address(object)? else { return Ok(()) };
        self.describe(object, bdf, *place)?;
        self.name(object, End::Function(bdf))?;
        // Its record of configuration may be unreadable, and what it is told all the same.
        if object.attribute("subtype") == Some("NVSwitch") {
            self.machine.pci.entry(bdf).or_default().kind = Some(PciKind::NvSwitch);
        }
        if self.machine.pci.get(&bdf).is_some_and(|device| device.kind == Some(PciKind::Gpu)) {
            self.functions.entry(bdf).or_default().called = info(object, "PCIDevice");
        }
        place.above = Some(bdf);
        Ok(())
    }

    fn describe(&mut self, object: Node<'_, '_>, bdf: Bdf, place: Place) -> Result<(), Error> {
        let ids = value(object, "pci_type", "a class and ids such as `0302 [10de:1db8] …`", ids)?;
        let (class, vendor, device) = ids.unwrap_or_default();
        let some = |id: u16| (id != 0).then_some(id);
        let class = (class != 0).then(|| u32::from(class) << 8);
        self.machine.pci.insert(
            bdf,
            PciDevice {
                kind: class.and_then(|class| PciDevice::kind_of(class, some(vendor))),
                vendor: some(vendor),
                device: some(device),
                class,
                numa: place.numa,
                place: Some(PciPlace { parent: place.above, root: place.root }),
                ..PciDevice::default()
            },
        );
        Ok(())
    }

    fn device(&mut self, object: Node<'_, '_>, place: Place) -> Result<(), Error> {
        // What is on no PCI function is virtual, or is not described further.
        let Some(bdf) = place.above else { return Ok(()) };
        self.name(object, End::Function(bdf))?;
        self.functions.entry(bdf).or_default().add(object)
    }

    fn name(&mut self, object: Node<'_, '_>, end: End) -> Result<(), Error> {
        if let Some(index) = number::<u64>(object, "gp_index")? {
            let kind = object.attribute("type").unwrap_or_default();
            self.ends.insert((kind.to_string(), index), end);
        }
        Ok(())
    }

    /// The machine, after all objects.
    pub(super) fn whole(mut self, matrices: &[Matrix]) -> Machine {
        self.cores();
        if self.machine.numa.is_empty() {
            let node = NumaNode {
                cpus: self.machine.cpus(),
                memory_bytes: self.memory_bytes,
                distances: BTreeMap::from([(0, 10)]),
            };
            self.machine.numa.insert(0, node);
        }
        devices::add(&mut self.machine, self.functions);
        let rows = self.machine.accelerators.iter().zip(0..);
        let gpus = rows.filter_map(|(gpu, row)| Some((gpu.bdf?, row))).collect();
        for matrix in matrices {
            matrix.apply(&mut self.machine, &self.ends, &gpus);
        }
        self.machine
    }

    /// A CPU that is in no core is one.
    fn cores(&mut self) {
        let machine = &mut self.machine;
        let in_cores = machine.cores.iter().fold(CpuSet::new(), |all, core| all.union(core));
        machine.cores.extend(self.units.drain(..).filter(|unit| !unit.is_subset(&in_cores)));
        let first = |set: &CpuSet| set.iter().next();
        machine.cores.sort_by_key(first);
        machine.l3.sort_by_key(first);
        machine.packages.sort_by_key(|package| package.id);
    }
}

/// `0000:[3a-3b]`: the domain and the first bus.
fn buses(text: &str) -> Option<PciRoot> {
    let (domain, buses) = text.split_once(":[")?;
    let (first, _) = buses.split_once('-')?;
    let hexadecimal = |digits: &str| u32::from_str_radix(digits, 16).ok();
    Some(PciRoot { domain: hexadecimal(domain)?, bus: u8::try_from(hexadecimal(first)?).ok()? })
}

/// Class, vendor and device of `0302 [10de:1db8] [10de:131d] a1`.
fn ids(text: &str) -> Option<(u16, u16, u16)> {
    let mut words = text.split_whitespace();
    let hexadecimal = |digits: &str| u16::from_str_radix(digits, 16).ok();
    let class = hexadecimal(words.next()?)?;
    let (vendor, device) = words.next()?.strip_prefix('[')?.strip_suffix(']')?.split_once(':')?;
    Some((class, hexadecimal(vendor)?, hexadecimal(device)?))
}
