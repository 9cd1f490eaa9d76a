//! Machines of our own making.

mod cases;
mod lacks;
mod properties;

use phalanx_common::topology::LinkLayer;
use phalanx_common::topology::machine::{
    Accelerator, AcceleratorKind, Attachment, CpuSet, LinkKind, Machine, MigSlice, Nic, Package, PciDevice,
    PciKind, PciPlace, PciRoot, Peer, Rdma,
};

use super::{FreeInside, JobPorts, NodeIdentity, NodeModel};

pub(super) const GIB: u64 = 1 << 30;

/// A model with all of it free.
pub(super) fn whole(machine: &Machine) -> (NodeModel, FreeInside) {
    let model = NodeModel::new(machine, &CpuSet::new());
    let identity = NodeIdentity::new(machine, &model);
    let free = FreeInside::whole(&model, &identity, &JobPorts::default());
    (model, free)
}

/// Sockets with as many cores each; threads of a core are as far apart as there are cores.
pub(super) fn board(sockets: u32, cores: u32, threads: u32, per_cache: u32) -> Machine {
    let mut machine = Machine::default();
    let count = sockets * cores;
    let set = |cpus: &mut dyn Iterator<Item = u32>| {
        cpus.fold(CpuSet::new(), |mut set, cpu| {
            set.insert(cpu).unwrap();
            set
        })
    };
    let of = |core: u32| (0..threads).map(move |thread| core + thread * count);
    machine.cores = (0..count).map(|core| set(&mut of(core))).collect();
    for socket in 0..sockets {
        let own = || socket * cores..(socket + 1) * cores;
        let cpus = set(&mut own().flat_map(of));
        let node = machine.numa.entry(socket).or_default();
        (node.cpus, node.memory_bytes) = (cpus.clone(), Some(64 * GIB));
        node.distances = (0..sockets).map(|other| (other, if other == socket { 10 } else { 21 })).collect();
        machine.packages.push(Package { id: socket, cpus });
        for first in own().step_by(per_cache as usize) {
            let cache = first..(first + per_cache).min((socket + 1) * cores);
            machine.l3.push(set(&mut cache.flat_map(of)));
        }
    }
    machine
}

/// Plugs a device in: behind a switch of a socket, or right below its own host bridge where `switch` is `None`.
fn plug(machine: &mut Machine, bus: u8, kind: PciKind, socket: Option<u32>, switch: Option<u8>) {
    let root = PciRoot { domain: 0, bus: switch.unwrap_or(bus) };
    let parent = switch.map(|switch| format!("{switch:02x}:00.0").parse().unwrap());
    if let Some(parent) = parent {
        let place = Some(PciPlace { parent: None, root: Some(root) });
        let bridge = PciDevice { kind: Some(PciKind::Bridge), place, numa: socket, ..PciDevice::default() };
        machine.pci.insert(parent, bridge);
    }
    let place = Some(PciPlace { parent, root: Some(root) });
    let device = PciDevice { kind: Some(kind), place, numa: socket, ..PciDevice::default() };
    machine.pci.insert(format!("{bus:02x}:00.0").parse().unwrap(), device);
}

pub(super) fn gpu(machine: &mut Machine, bus: u8, socket: Option<u32>, switch: Option<u8>) {
    plug(machine, bus, PciKind::Gpu, socket, switch);
    machine.accelerators.push(Accelerator {
        bdf: format!("{bus:02x}:00.0").parse().ok(),
        index: Some(machine.accelerators.len() as u32),
        model: Some("Tesla V100-SXM2-32GB".into()),
        memory_bytes: Some(32 * GIB),
        ..Accelerator::new(AcceleratorKind::Nvidia)
    });
}

pub(super) fn nic(machine: &mut Machine, bus: u8, socket: Option<u32>, switch: Option<u8>) {
    plug(machine, bus, PciKind::Network, socket, switch);
    let number = machine.nics.len();
    let rdma = Rdma {
        device: format!("mlx5_{number}"),
        port: 1,
        guid: None,
        node_guid: None,
        subnet: None,
        lid: None,
        sm_lid: None,
    };
    machine.nics.push(Nic {
        bdf: format!("{bus:02x}:00.0").parse().ok(),
        up: Some(true),
        speed_mbps: Some(100_000),
        rdma: Some(rdma),
        ..Nic::new(&format!("ib{number}"), LinkLayer::InfiniBand)
    });
}

pub(super) fn link(machine: &mut Machine, a: usize, b: usize, lanes: u32) {
    for (from, to) in [(a, b), (b, a)] {
        let peer = Peer::Accelerator(machine.accelerators[to].bdf.unwrap());
        let bundle = Attachment { peer, kind: LinkKind::NvLink, lanes, mb_per_s: None };
        machine.accelerators[from].links.push(bundle);
    }
}

/// A DGX-1 with V100: two quads of which all pairs are linked, each GPU linked to its twin of the other quad; four
/// ports, one for each two GPUs. The widths are those that `nvidia-smi topo -m` of this machine shows.
pub(super) fn dgx1() -> Machine {
    let mut machine = board(2, 20, 2, 20);
    for number in 0..8u8 {
        let (socket, switch) = (u32::from(number / 4), 0x80 + number / 2);
        gpu(&mut machine, 0x10 + number, Some(socket), Some(switch));
    }
    for number in 0..4u8 {
        nic(&mut machine, 0x40 + number, Some(u32::from(number / 2)), Some(0x80 + number));
    }
    for (a, b, lanes) in [
        (0, 1, 1),
        (0, 2, 1),
        (0, 3, 2),
        (1, 2, 2),
        (1, 3, 1),
        (2, 3, 2),
        (4, 5, 1),
        (4, 6, 1),
        (4, 7, 2),
        (5, 6, 2),
        (5, 7, 1),
        (6, 7, 2),
        (0, 4, 2),
        (1, 5, 2),
        (2, 6, 1),
        (3, 7, 1),
    ] {
        link(&mut machine, a, b, lanes);
    }
    machine
}

/// Eight GPUs on NVSwitches, each with a port behind its own switch; four in each socket.
pub(super) fn hgx() -> Machine {
    let mut machine = board(2, 48, 2, 8);
    for number in 0..8u8 {
        let socket = Some(u32::from(number / 4));
        gpu(&mut machine, 0x10 + number, socket, Some(0x80 + number));
        nic(&mut machine, 0x40 + number, socket, Some(0x80 + number));
        let bundle =
            Attachment { peer: Peer::Switch(None), kind: LinkKind::NvLink, lanes: 18, mb_per_s: None };
        let it = machine.accelerators.last_mut().unwrap();
        (it.model, it.memory_bytes) = (Some("NVIDIA H100 80GB HBM3".into()), Some(80 * GIB));
        it.links.push(bundle);
    }
    machine
}

/// Cuts a GPU into slices of so many GiB.
pub(super) fn cut(machine: &mut Machine, gpu: usize, slices: &[u64]) {
    let it = &mut machine.accelerators[gpu];
    it.mig = Some(true);
    it.slices = slices
        .iter()
        .zip(0u32..)
        .map(|(gib, index)| MigSlice {
            index,
            uuid: Some(format!("MIG-{gpu}-{index}")),
            gpu_instance: Some(index),
            compute_instance: Some(0),
            memory_bytes: Some(gib * GIB - (GIB >> 2)),
            instance_slices: None,
            compute_slices: None,
        })
        .collect();
}
