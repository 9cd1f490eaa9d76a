//! How long placement takes inside a node. Run it with `cargo bench -p phalanx-launcher-core --bench inside`; it prints
//! and asserts nothing.

#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a bench reads the clock and prints")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use phalanx_common::topology::machine::{
    Accelerator, AcceleratorKind, Attachment, CpuSet, LinkKind, Machine, MigSlice, Nic, NumaNode, PciDevice,
    PciKind, PciPlace, PciRoot, Peer, Rdma,
};
use phalanx_common::topology::{Bdf, LinkLayer};
use phalanx_launcher_core::placement::inside::{
    FreeInside, JobPorts, NodeIdentity, NodeModel, RankNeeds, capacity, choose,
};

const ROUNDS: u32 = 51;

fn main() {
    let eight = machine(8, 18);
    report("model of 8 GPUs, 8 ports, 96 cores", 20, || NodeModel::new(&eight, &CpuSet::new()));
    let (model, free) = whole(&eight);
    let ranks = |ranks, devices, ports| RankNeeds { ports, ..RankNeeds::new(ranks, devices) };
    report("choose 8 of 8", 200, || choose(&model, &free, &ranks(8, 1, 1)));
    report("choose 8 of 8 for one rank", 200, || choose(&model, &free, &ranks(1, 8, 8)));
    report("choose 4 of 8", 200, || choose(&model, &free, &ranks(4, 1, 1)));
    report("choose 1 of 8", 200, || choose(&model, &free, &ranks(1, 1, 0)));
    let cpus = RankNeeds { cpus: Some(8), memory: 8 << 30, ..RankNeeds::new(8, 0) };
    report("choose 8 ranks on CPUs", 200, || choose(&model, &free, &cpus));
    let all = RankNeeds { cpus: Some(12), memory: 64 << 30, ..ranks(8, 1, 1) };
    report("capacity", 100_000, || capacity(black_box(&model), black_box(&free), black_box(&all)));
    let mut named = all.clone();
    named.device.model = Some("H100".to_string());
    report("capacity, of a named model", 100_000, || {
        capacity(black_box(&model), black_box(&free), black_box(&named))
    });
    let mut mine = free.clone();
    let inside = choose(&model, &free, &ranks(8, 1, 1)).expect("all is free");
    report("take and give back", 10_000, || {
        mine.take(&inside);
        mine.give(&inside);
    });

    let (model, free) = whole(&machine(16, 6));
    report("choose 16 of 16", 100, || choose(&model, &free, &ranks(16, 1, 1)));
    report("choose 8 of 16, the most sets there are", 2, || choose(&model, &free, &ranks(8, 1, 1)));
    let mut sliced = machine(8, 18);
    for gpu in &mut sliced.accelerators {
        gpu.mig = Some(true);
        gpu.slices = (0..7).map(slice).collect();
    }
    let (model, free) = whole(&sliced);
    let mut slices = ranks(8, 1, 1);
    slices.device.mig = "1g.10gb".parse().ok();
    report("choose 8 of 56 slices", 2, || choose(&model, &free, &slices));
}

fn report<T>(what: &str, times: u32, mut work: impl FnMut() -> T) {
    let mut rounds: Vec<Duration> = Vec::new();
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        for _ in 0..times {
            black_box(work());
        }
        rounds.push(begin.elapsed() / times);
    }
    rounds.sort();
    // On a machine that others use the least is nearer to the truth.
    println!("{what}: median {:?}, least {:?}", rounds[rounds.len() / 2], rounds[0]);
}

fn whole(machine: &Machine) -> (NodeModel, FreeInside) {
    let model = NodeModel::new(machine, &CpuSet::new());
    let identity = NodeIdentity::new(machine, &model);
    let free = FreeInside::whole(&model, &identity, &JobPorts::default());
    (model, free)
}

fn slice(index: u32) -> MigSlice {
    let memory_bytes = Some(10 << 30);
    MigSlice {
        index,
        uuid: None,
        gpu_instance: Some(index),
        compute_instance: None,
        memory_bytes,
        instance_slices: Some(1),
        compute_slices: Some(1),
    }
}

/// GPUs on NVSwitches, each with a port behind its own PCI switch; two sockets of 48 cores with two threads.
fn machine(gpus: u8, lanes: u32) -> Machine {
    let list = |text: String| text.parse::<CpuSet>().expect("a list");
    let cache = |n: u32| list(format!("{}-{},{}-{}", n * 8, n * 8 + 7, n * 8 + 96, n * 8 + 103));
    let mut machine = Machine {
        cores: (0..96).map(|core| list(format!("{core},{}", core + 96))).collect(),
        l3: (0..12).map(cache).collect(),
        ..Machine::default()
    };
    for (node, cpus) in [(0, "0-47,96-143"), (1, "48-95,144-191")] {
        let distances = [(node, 10), (1 - node, 21)].into();
        let memory_bytes = Some(1 << 40);
        machine.numa.insert(node, NumaNode { cpus: list(cpus.to_string()), memory_bytes, distances });
    }
    for number in 0..gpus {
        let at = |bus: u8| Bdf { domain: 0, bus: bus + number, device: 0, function: 0 };
        let root = Some(PciRoot { domain: 0, bus: 0x80 + number });
        for (bus, kind) in [(0x80, PciKind::Bridge), (0x10, PciKind::Gpu), (0x40, PciKind::Network)] {
            let parent = (kind != PciKind::Bridge).then(|| at(0x80));
            let (numa, place) = (Some(u32::from(number >= gpus / 2)), Some(PciPlace { parent, root }));
            machine.pci.insert(at(bus), PciDevice { kind: Some(kind), numa, place, ..PciDevice::default() });
        }
        let link = Attachment { peer: Peer::Switch(None), kind: LinkKind::NvLink, lanes, mb_per_s: None };
        machine.accelerators.push(Accelerator {
            bdf: Some(at(0x10)),
            model: Some("NVIDIA H100 80GB HBM3".to_string()),
            memory_bytes: Some(80 << 30),
            links: vec![link],
            ..Accelerator::new(AcceleratorKind::Nvidia)
        });
        let device = format!("mlx5_{number}");
        let rdma =
            Rdma { device, port: 1, guid: None, node_guid: None, subnet: None, lid: None, sm_lid: None };
        let name = format!("ib{number}");
        let nic = Nic { bdf: Some(at(0x40)), rdma: Some(rdma), ..Nic::new(&name, LinkLayer::InfiniBand) };
        machine.nics.push(nic);
    }
    machine
}
