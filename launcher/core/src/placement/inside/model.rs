//! What placement needs of a machine.

use phalanx_common::topology::LinkLayer;
use phalanx_common::topology::machine::{AcceleratorKind, CpuSet, Device as Row, Machine, PathType};

use super::bandwidth::{self, Worth};
use super::cores::{Group, Layout};
use super::needs::DeviceNeed;
use super::slice::SliceKind;

/// Devices and ports are bits of a mask.
pub(super) const MAX_ROWS: usize = 64;
/// Levels of nearness of a port: the path types, and a path that nobody knows.
pub(super) const LEVELS: usize = PathType::ALL.len() + 1;

/// What placement needs of a machine: devices, cores and ports by rows, and how near they are. Says nothing that
/// differs between machines of one [kind](Machine::kind), so that equal nodes share one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeModel {
    devices: Vec<Device>,
    classes: Vec<Class>,
    /// What each pair of devices is worth; row times count plus row.
    pairs: Vec<Worth>,
    /// For each device those that it has links to which are not PCI Express.
    linked: Vec<u64>,
    /// For each device those that can take its place without any difference.
    equal: Vec<u64>,
    islands: Vec<u64>,
    ports: Vec<Port>,
    job_ports: u64,
    layout: Layout,
    left_out: u32,
}

/// A device that a rank may use: a whole accelerator, or a slice of one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Device {
    /// Slices of one GPU have the same number here. GPUs count in the order of their PCI addresses.
    pub gpu: u16,
    /// Groups of cores that are near, as a mask; 0 where that is not known.
    pub groups: u64,
    /// Ports by nearness, each level a mask: the path types in their order, then those of an unknown path.
    pub near: [u64; LEVELS],
    pub(super) class: u8,
}

/// Devices that are the same thing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Class {
    pub(super) kind: AcceleratorKind,
    pub(super) model: Option<String>,
    pub(super) memory: Option<u64>,
    /// `None` for a whole device.
    pub(super) slice: Option<SliceKind>,
    pub(super) devices: u64,
}

/// A network port of an adapter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// The interface, or `mlx5_0/1` where it has none.
    pub name: String,
    /// RDMA device and port: `mlx5_0`, 1.
    pub rdma: Option<(String, u8)>,
    pub layer: LinkLayer,
    /// The group of cores that it is at, where that is known.
    pub group: Option<u8>,
    /// Its place among the ports that jobs may use, by PCI address. A fabric may know better.
    pub rail: u16,
}

impl NodeModel {
    /// Reads a machine. CPUs that its control group refuses, and cores of which a thread is `reserved`, are no cores of
    /// ranks. A GPU in MIG mode is no device, its slices are.
    pub fn new(machine: &Machine, reserved: &CpuSet) -> NodeModel {
        let layout = Layout::of(machine, reserved);
        let (ports, rows) = (ports(machine, &layout), port_rows(machine));
        let (slots, left_out) = slots(machine);
        let mut devices = Vec::with_capacity(slots.len());
        let mut classes: Vec<Class> = Vec::new();
        for (slot, at) in slots.iter().zip(0u32..) {
            let Some(class) = Class::of(machine, slot) else { continue };
            let is_same = |known: &Class| Class { devices: 0, ..known.clone() } == class;
            let row = classes.iter().position(is_same).unwrap_or_else(|| {
                classes.push(class);
                classes.len() - 1
            });
            classes[row].devices |= 1 << at;
            let cpus = machine.cpus_near(Row::Accelerator(slot.accelerator));
            let node = machine.numa_of(Row::Accelerator(slot.accelerator));
            let by_node = node.and_then(|node| layout.group_of_node(node)).map(|group| 1 << group);
            devices.push(Device {
                gpu: slot.gpu,
                groups: cpus
                    .map(|cpus| layout.groups_of(&cpus))
                    .filter(|mask| *mask > 0)
                    .or(by_node)
                    .unwrap_or(0),
                near: near(machine, slot.accelerator, &rows),
                class: row as u8,
            });
        }
        let job_ports = candidates(&ports);
        let mut model = NodeModel {
            devices,
            classes,
            pairs: Vec::new(),
            linked: vec![0; slots.len()],
            equal: vec![0; slots.len()],
            islands: Vec::new(),
            ports,
            job_ports,
            layout,
            left_out,
        };
        for (port, rail) in rows_of(job_ports).zip(0..) {
            model.ports[port].rail = rail;
        }
        model.connect(machine, &slots);
        model
    }

    fn connect(&mut self, machine: &Machine, slots: &[Slot]) {
        let count = slots.len();
        self.pairs = vec![0; count * count];
        for (a, one) in slots.iter().enumerate() {
            for (b, other) in slots.iter().enumerate().skip(a + 1) {
                let (worth, linked) = match (one.slice, other.slice) {
                    (None, None) => bandwidth::between(machine, one.accelerator, other.accelerator),
                    _ => (bandwidth::of_slices(machine, one.accelerator, other.accelerator), false),
                };
                (self.pairs[a * count + b], self.pairs[b * count + a]) = (worth, worth);
                self.linked[a] |= u64::from(linked) << b;
                self.linked[b] |= u64::from(linked) << a;
            }
        }
        let mut left = self.all_devices();
        while left != 0 {
            let mut island = left & left.wrapping_neg();
            loop {
                let wider = rows_of(island).fold(island, |mask, row| mask | self.linked[row]);
                if wider == island {
                    break;
                }
                island = wider;
            }
            self.islands.push(island);
            left &= !island;
        }
        for a in 0..count {
            let equal = (0..count).filter(|b| a != *b && self.is_equal(a, *b));
            self.equal[a] = equal.fold(0, |mask, b| mask | 1 << b);
        }
    }

    fn is_equal(&self, a: usize, b: usize) -> bool {
        let (one, other) = (&self.devices[a], &self.devices[b]);
        (one.class, one.groups, &one.near) == (other.class, other.groups, &other.near)
            && (0..self.devices.len())
                .all(|row| row == a || row == b || self.worth(a, row) == self.worth(b, row))
    }

    /// In the order of LOCAL_RANK: by PCI address, slices of a GPU by index.
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    pub fn all_devices(&self) -> u64 {
        let count = self.devices.len() as u32;
        if count == 0 { 0 } else { u64::MAX >> (64 - count) }
    }

    /// Megabytes per second from one device to another, in one direction; 0 where they cannot.
    pub fn mb_per_s(&self, a: usize, b: usize) -> u32 {
        if a < self.devices.len() && b < self.devices.len() {
            bandwidth::mb_per_s(self.worth(a, b))
        } else {
            0
        }
    }

    pub(super) fn worth(&self, a: usize, b: usize) -> Worth {
        self.pairs[a * self.devices.len() + b]
    }

    /// Devices that a device has links to which are not PCI Express, as a mask.
    pub fn linked(&self, device: usize) -> u64 {
        self.linked.get(device).copied().unwrap_or(0)
    }

    pub(super) fn equal(&self, device: usize) -> u64 {
        self.equal[device]
    }

    /// Devices that reach each other over such links, each island a mask, by their first device.
    pub fn islands(&self) -> &[u64] {
        &self.islands
    }

    /// Whether any of its devices will do.
    pub(crate) fn all_serve(&self, need: &DeviceNeed) -> bool {
        self.classes.iter().all(|class| class.serves(need))
    }

    pub(crate) fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// Network ports with hardware, without virtual functions; by PCI address.
    pub fn ports(&self) -> &[Port] {
        &self.ports
    }

    /// Ports by which jobs may go where nobody knows more: InfiniBand, else with RDMA, else all; a mask.
    /// [`NodeIdentity::job_ports`](super::NodeIdentity::job_ports) knows more.
    pub fn job_ports(&self) -> u64 {
        self.job_ports
    }

    /// NUMA nodes with CPUs that ranks may use.
    pub fn groups(&self) -> &[Group] {
        &self.layout.groups
    }

    /// How many cores ranks may use; 0 where CPUs are not known.
    pub fn cores(&self) -> u32 {
        self.layout.cores()
    }

    /// The hardware threads of a core; none of one that is not there.
    pub fn cpus_of(&self, core: u32) -> &[u32] {
        self.layout.cpus_of(core)
    }

    /// Hardware threads that every core has at least.
    pub fn threads_per_core(&self) -> u32 {
        self.layout.threads
    }

    /// Devices and ports beyond the 64 that a mask holds: they are not placed on.
    pub fn left_out(&self) -> u32 {
        self.left_out
    }
}

/// A device before it has a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) accelerator: u32,
    /// Its number in PCI order among the accelerators of its vendor.
    pub(super) gpu: u16,
    /// A row of the accelerator's slices.
    pub(super) slice: Option<u16>,
}

/// Devices in the order of their rows, and how many there are beyond the last.
pub(super) fn slots(machine: &Machine) -> (Vec<Slot>, u32) {
    let mut order: Vec<u32> = (0u32..).take(machine.accelerators.len()).collect();
    order.sort_by_key(|row| {
        let it = &machine.accelerators[*row as usize];
        (it.bdf.is_none(), it.bdf, it.index, *row)
    });
    let mut counts = [0u16; 3];
    let mut slots = Vec::new();
    let mut beyond = 0;
    for accelerator in order {
        let it = &machine.accelerators[accelerator as usize];
        let gpu = counts[it.kind as usize];
        counts[it.kind as usize] = gpu.saturating_add(1);
        let whole = it.mig != Some(true);
        let mut slices: Vec<u16> = (0u16..).take(if whole { 0 } else { it.slices.len() }).collect();
        slices.sort_by_key(|slice| it.slices[usize::from(*slice)].index);
        let here = slices.into_iter().map(Some).chain(whole.then_some(None));
        for slice in here {
            if slots.len() < MAX_ROWS {
                slots.push(Slot { accelerator, gpu, slice });
            } else {
                beyond += 1;
            }
        }
    }
    (slots, beyond)
}

/// Rows of the machine's ports that have a row in the model: those with hardware, without virtual functions.
pub(super) fn port_rows(machine: &Machine) -> Vec<u32> {
    let told = |row: u32| {
        let mut ends = machine.told.iter().flat_map(|told| [told.ends.0, told.ends.1]);
        ends.any(|end| end == Row::Nic(row))
    };
    let nics = (0u32..).zip(&machine.nics);
    let hardware = nics.filter(|(row, nic)| nic.bdf.is_some() || machine.pci.is_empty() || told(*row));
    hardware.filter(|(_, nic)| !machine.is_virtual(nic)).map(|(row, _)| row).take(MAX_ROWS).collect()
}

fn ports(machine: &Machine, layout: &Layout) -> Vec<Port> {
    let port = |row: u32| {
        let nic = machine.nics.get(row as usize)?;
        Some(Port {
            name: nic.name.clone(),
            rdma: nic.rdma.as_ref().map(|rdma| (rdma.device.clone(), rdma.port)),
            layer: nic.layer,
            group: machine.numa_of(Row::Nic(row)).and_then(|node| layout.group_of_node(node)),
            rail: u16::MAX,
        })
    };
    port_rows(machine).into_iter().filter_map(port).collect()
}

/// Where a machine has InfiniBand its Ethernet ports with RDMA are for storage.
pub(super) fn candidates(ports: &[Port]) -> u64 {
    let fits: [&dyn Fn(&Port) -> bool; 3] = [
        &|port| port.rdma.is_some() && port.layer == LinkLayer::InfiniBand,
        &|port| port.rdma.is_some(),
        &|_| true,
    ];
    let mask = |fit: &&dyn Fn(&Port) -> bool| {
        ports.iter().enumerate().filter(|(_, port)| fit(port)).fold(0u64, |mask, (row, _)| mask | 1 << row)
    };
    fits.iter().map(mask).find(|mask| *mask > 0).unwrap_or(0)
}

fn near(machine: &Machine, accelerator: u32, ports: &[u32]) -> [u64; LEVELS] {
    let mut near = [0; LEVELS];
    for (row, nic) in ports.iter().enumerate() {
        let path = machine.path(Row::Accelerator(accelerator), Row::Nic(*nic));
        near[path.map_or(LEVELS - 1, |path| path as usize)] |= 1 << row;
    }
    near
}

impl Class {
    fn of(machine: &Machine, slot: &Slot) -> Option<Class> {
        let it = machine.accelerators.get(slot.accelerator as usize)?;
        let slice = slot.slice.and_then(|row| it.slices.get(usize::from(row)));
        let memory = slice.map_or(it.memory_bytes, |slice| slice.memory_bytes);
        let slice = slice.map(|slice| SliceKind::of(it, slice));
        Some(Class { kind: it.kind, model: it.model.clone(), memory, slice, devices: 0 })
    }

    pub(super) fn serves(&self, need: &DeviceNeed) -> bool {
        need.is_kind(self.kind)
            && need.memory.is_none_or(|least| self.memory.is_some_and(|memory| memory >= least))
            && match (need.mig, self.slice) {
                (Some(profile), Some(slice)) => slice.is_of(profile),
                (None, None) => true,
                _ => false,
            }
            && need.names(self.model.as_deref())
    }
}

/// Bits of a mask, as rows.
pub(super) fn rows_of(mut mask: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let row = (mask != 0).then(|| mask.trailing_zeros() as usize)?;
        mask &= mask - 1;
        Some(row)
    })
}
