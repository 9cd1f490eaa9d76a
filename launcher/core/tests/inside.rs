//! Placement inside real machines, as captures show them. The figures were read in the captures by other means.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test is a shell, and fails by it")]

use std::io::Write;
use std::path::PathBuf;
use std::{env, fs};

use phalanx_common::topology::machine::{CpuSet, Machine, PathType};
use phalanx_formats::dir::Dir;
use phalanx_formats::{hwloc_xml, nccl_xml, npu_smi, nvidia_smi, nvml_profile, sysfs};
use phalanx_launcher_core::placement::inside::{
    FreeInside, Inside, JobPorts, NodeIdentity, NodeModel, RankNeeds, capacity, choose,
};

#[test]
fn sixteen_gpus_of_a_dgx2_are_one_island_in_two_numa_nodes() {
    let Some(bytes) = capture("hwloc-xml/nvidiaDGX2.xml") else { return };
    let (model, mut free, identity) = node(&hwloc_xml::read(&bytes).unwrap());
    assert_eq!((model.devices().len(), model.islands()), (16, &[0xffff][..]));
    // Six links of 25 GB/s that the capture tells.
    assert!((1..16).all(|other| model.mb_per_s(0, other) == 150_000));
    let at: Vec<u64> = model.devices().iter().map(|device| device.groups).collect();
    assert_eq!(at, [[1; 8], [2; 8]].concat());
    assert_eq!(
        identity.devices.iter().map(|it| it.pci_index).collect::<Vec<_>>(),
        (0..16).collect::<Vec<_>>()
    );
    // A half is a socket's, and a job beside a small one takes the socket that is whole.
    let needs = RankNeeds::new(8, 1);
    assert_eq!(choose(&model, &free, &needs).unwrap().devices, 0xff);
    free.take(&choose(&model, &free, &RankNeeds::new(1, 1)).unwrap());
    assert_eq!(choose(&model, &free, &needs).unwrap().devices, 0xff00);
    assert_eq!(capacity(&model, &free, &RankNeeds::new(0, 4)), 3);
}

#[test]
fn eight_h100_of_a_board_profile_are_all_alike() {
    for (name, mb_per_s) in [("h100", 18 * 26_562), ("gb200", 18 * 53_125)] {
        let Some(bytes) = capture(&format!("nvml-mock-profiles/mock-nvml-config-{name}.yaml")) else {
            return;
        };
        let (model, free, identity) = node(&nvml_profile::read(&bytes).unwrap());
        let inside = choose(&model, &free, &RankNeeds::new(8, 1)).unwrap();
        assert_eq!((inside.quality.slowest_pair, devices(&inside)), (Some(mb_per_s), in_order(8)), "{name}");
        assert!(identity.devices.iter().all(|it| it.uuid.is_some() && it.bdf.is_some() && !it.ailing));
        let mut named = RankNeeds::new(1, 1);
        named.device.model = Some(name.to_string());
        assert_eq!(capacity(&model, &free, &named), 8, "{name}");
        named.device.model = Some("B200".to_string());
        assert_eq!(capacity(&model, &free, &named), 0, "{name}");
    }
}

#[test]
fn each_h100_has_the_port_behind_its_switch_and_the_ninth_is_not_for_jobs() {
    let Some(bytes) = capture("nvidia-smi-topo-m/h100-8gpu-9nic-nccl-1453.gpu-rows.txt") else { return };
    let mut machine = nvidia_smi::matrix(&bytes).unwrap().machine;
    let (model, free, _) = node(&machine);
    assert_eq!(free.ports, 0b1_1111_1110);
    let needs = RankNeeds { ports: 1, ..RankNeeds::new(8, 1) };
    let inside = choose(&model, &free, &needs).unwrap();
    let ports: Vec<_> = inside.ranks.iter().map(|rank| (rank.ports[0].port, rank.ports[0].path)).collect();
    assert_eq!(ports, [8, 7, 6, 5, 4, 3, 2, 1].map(|port| (port, Some(PathType::Pix))));
    assert_eq!(inside.ranks[5].cpus.to_string(), "100-119");

    // GPU2's port is down: four ranks do without it, and where it must be taken it is marked.
    machine.nics[6].up = Some(false);
    let (same, free, _) = node(&machine);
    assert_eq!(same, model);
    let four = choose(&model, &free, &RankNeeds { ranks: 4, ..needs.clone() }).unwrap();
    assert_eq!((four.devices, four.quality.farther), (0b1111_0000, 0));
    let all = choose(&model, &free, &needs).unwrap();
    let third = all.ranks[2].ports[0];
    assert_eq!((third.path, third.farther, all.quality.farther), (Some(PathType::Node), true, 1));
}

#[test]
fn two_gb200_superchips_have_two_gpus_each() {
    let Some(bytes) = capture("nvidia-smi-topo-m/gb200-k8s-test-infra-371.txt") else { return };
    let (model, free, _) = node(&nvidia_smi::matrix(&bytes).unwrap().machine);
    let inside = choose(&model, &free, &RankNeeds::new(4, 1)).unwrap();
    let cpus: Vec<String> = inside.ranks.iter().map(|rank| rank.cpus.to_string()).collect();
    assert_eq!(cpus, ["0-35", "36-71", "72-107", "108-143"]);
    assert_eq!(choose(&model, &free, &RankNeeds::new(2, 1)).unwrap().devices, 0b11);
}

#[test]
fn the_dies_of_mi250_are_pairs_and_the_second_socket_has_two_dies_without_a_near_port() {
    let Some(bytes) = capture("nccl-xml/rccl/topo_8p1h_1.xml") else { return };
    let (model, mut free, _) = node(&nccl_xml::read(&bytes).unwrap().machine);
    // Four links between the dies of a card, one or two to others, none to some.
    let speeds: Vec<u32> = (1..8).map(|other| model.mb_per_s(0, other)).collect();
    assert_eq!(speeds, [144_000, 36_000, 9_000, 6_000, 6_000, 72_000, 6_000]);
    // Four jobs of two dies get a card each.
    for _ in 0..4 {
        let inside = choose(&model, &free, &RankNeeds::new(2, 1)).unwrap();
        assert_eq!(inside.quality.slowest_pair, Some(144_000));
        free.take(&inside);
    }
    let (model, free, _) = node(&nccl_xml::read(&bytes).unwrap().machine);
    let all = choose(&model, &free, &RankNeeds { ports: 1, ..RankNeeds::new(8, 1) }).unwrap();
    let farther: Vec<u8> = all
        .ranks
        .iter()
        .filter(|rank| rank.ports.iter().any(|port| port.farther))
        .flat_map(|rank| rank.devices.clone())
        .collect();
    assert_eq!(farther, [4, 5]);
    // In an order in which neighbours have links.
    let order: Vec<u8> = devices(&all).concat();
    for (at, device) in order.iter().enumerate() {
        assert!(model.linked((*device).into()) >> order[(at + 1) % 8] & 1 == 1, "{order:?}");
    }
    assert_eq!(model.hca(free.ports), ["mlx5_1:1", "mlx5_3:1", "mlx5_5:1", "mlx5_7:1"]);
}

#[test]
fn two_boards_of_four_with_one_port_take_the_board_at_the_port() {
    let Some(bytes) = capture("nccl-xml/rccl/topo_4p3l_2h.xml") else { return };
    let (model, free, _) = node(&nccl_xml::read(&bytes).unwrap().machine);
    assert_eq!((model.islands(), model.groups().len()), (&[0x0f, 0xf0][..], 4));
    let two = RankNeeds { ports: 1, ..RankNeeds::new(2, 1) };
    let four = RankNeeds { ranks: 4, ..two.clone() };
    assert_eq!(choose(&model, &free, &two).unwrap().devices, 0xc0);
    assert_eq!(choose(&model, &free, &four).unwrap().devices, 0xf0);
}

#[test]
fn azure_machines_know_numa_nodes_and_pairs_stay_in_one() {
    let Some(bytes) = capture("nccl-xml/azure/ndv4-topo.xml") else { return };
    let (model, mut free, _) = node(&nccl_xml::read(&bytes).unwrap().machine);
    // The first two GPUs are at node 1, and the third and fourth at node 0.
    let inside = choose(&model, &free, &RankNeeds::new(8, 1)).unwrap();
    let nodes: Vec<String> = inside.ranks.iter().map(|rank| rank.numa.to_string()).collect();
    assert_eq!(nodes, ["1", "1", "0", "0", "3", "3", "2", "2"]);
    free.devices = 0b1011_1101;
    let two = choose(&model, &free, &RankNeeds::new(2, 1)).unwrap();
    assert_eq!(two.quality.groups, 1, "{:b}", two.devices);
    let Some(bytes) = capture("nccl-xml/azure/ndv2-topo.xml") else { return };
    let (model, free, _) = node(&nccl_xml::read(&bytes).unwrap().machine);
    let four = choose(&model, &free, &RankNeeds { cpus: Some(5), ..RankNeeds::new(4, 1) }).unwrap();
    assert_eq!((four.devices, four.quality.groups), (0xf, 1));
}

#[test]
fn a_power9_has_memory_of_gpus_that_is_no_memory_of_ranks_and_four_threads_in_a_core() {
    let Some(machine) = saved("nvidiagpunumanodes") else { return };
    let (model, free, _) = node(&machine);
    let groups: Vec<_> = model.groups().iter().map(|group| (group.numa, group.memory_gib)).collect();
    assert_eq!(groups, [(Some(0), 123), (Some(8), 127)]);
    assert_eq!((model.cores(), model.threads_per_core(), model.devices().len()), (8, 4, 6));
    let inside = choose(&model, &free, &RankNeeds::new(3, 1)).unwrap();
    assert_eq!((inside.devices, inside.quality.groups), (0b111, 1), "three hang at each CPU");
    let six = choose(&model, &free, &RankNeeds { cpus: Some(3), ..RankNeeds::new(6, 1) }).unwrap();
    let cpus: Vec<String> = six.ranks.iter().map(|rank| rank.cpus.to_string()).collect();
    assert_eq!(cpus, ["0-3", "4-7", "8-11", "88-91", "92-95", "96-99"], "whole cores");
}

#[test]
fn machines_without_devices_are_filled_cache_by_cache() {
    let Some(bytes) = capture("hwloc-xml/96em64t-4n4d3ca2co-pci.xml") else { return };
    let (model, free, _) = node(&hwloc_xml::read(&bytes).unwrap());
    let caches: Vec<usize> = model.groups().iter().map(|group| group.l3.len()).collect();
    assert_eq!((model.cores(), caches), (96, vec![4; 4]));
    let needs = RankNeeds { cpus: Some(6), memory: 8 << 30, ..RankNeeds::new(4, 0) };
    let inside = choose(&model, &free, &needs).unwrap();
    for rank in &inside.ranks {
        let cores: Vec<u32> = rank.cores.iter().collect();
        assert!(model.groups()[0].l3.iter().any(|cache| (cache.start..cache.end).eq(cores.iter().copied())));
    }
    // 47 GiB of each of four nodes.
    assert_eq!((capacity(&model, &free, &needs), inside.quality.groups), (16, 1));

    let Some(machine) = saved("nvidia-dgx-gb10") else { return };
    let (model, free, _) = node(&machine);
    let inside = choose(&model, &free, &RankNeeds { cpus: Some(10), ..RankNeeds::new(2, 0) }).unwrap();
    let cpus: Vec<String> = inside.ranks.iter().map(|rank| rank.cpus.to_string()).collect();
    assert_eq!(cpus, ["0-9", "10-19"]);
}

/// Of our own making, after what users of an A3 publish: a card of two dies, and one die of another.
const A3: &str = "           Phy-ID12   Phy-ID13   Phy-ID14   CPU Affinity\nPhy-ID12   X          SIO        HCCS_SW    0-23\n\
    Phy-ID13   SIO        X          HCCS_SW    0-23\nPhy-ID14   HCCS_SW    HCCS_SW    X          24-47\n";
/// Cards of an A2 whose CPUs are eight NUMA nodes of a Kunpeng.
const A2: &str = "\t   NPU0       NPU1       NPU2       NPU3       CPU Affinity\n\
    NPU0       X          HCCS       HCCS       SYS        144-167\n\
    NPU1       HCCS       X          HCCS       SYS        144-167\n\
    NPU2       HCCS       HCCS       X          SYS        0-23\n\
    NPU3       SYS        SYS        SYS        X          0-23\n";

#[test]
fn ascend_dies_of_one_card_are_nearest_and_ranks_near_the_same_cpus_part_them() {
    let (model, free, _) = node(&npu_smi::topo(A3.as_bytes()).unwrap().machine);
    assert_eq!((model.mb_per_s(0, 1), model.mb_per_s(1, 2)), (270_000, 196_000));
    assert_eq!(choose(&model, &free, &RankNeeds::new(2, 1)).unwrap().devices, 0b011);

    let mut machine = npu_smi::topo(A2.as_bytes()).unwrap().machine;
    for node in 0..8u32 {
        let cpus = format!("{}-{}", node * 24, node * 24 + 23);
        machine.numa.entry(node).or_default().cpus = cpus.parse().unwrap();
    }
    let (model, free, _) = node(&machine);
    assert_eq!((model.cores(), model.groups().len(), model.islands()), (192, 8, &[0b0111, 0b1000][..]));
    let all = choose(&model, &free, &RankNeeds::new(4, 1)).unwrap();
    let cpus: Vec<String> = all.ranks.iter().map(|rank| rank.cpus.to_string()).collect();
    assert_eq!(cpus, ["144-155", "156-167", "0-11", "12-23"], "each has CPUs of its own");
    assert_eq!(choose(&model, &free, &RankNeeds::new(2, 1)).unwrap().devices, 0b0011);
}

#[test]
fn models_of_captures_are_those_of_their_kind() {
    let Some(dgx2) = capture("hwloc-xml/nvidiaDGX2.xml") else { return };
    let Some(amd) = capture("nccl-xml/rccl/topo_8p6l_4nic.xml") else { return };
    let Some(h100) = capture("nvml-mock-profiles/mock-nvml-config-h100.yaml") else { return };
    for machine in [
        hwloc_xml::read(&dgx2).unwrap(),
        nccl_xml::read(&amd).unwrap().machine,
        nvml_profile::read(&h100).unwrap(),
    ] {
        let of = |machine: &Machine| NodeModel::new(machine, &CpuSet::new());
        assert_eq!(of(&machine), of(&machine.kind()));
    }
}

fn node(machine: &Machine) -> (NodeModel, FreeInside, NodeIdentity) {
    let model = NodeModel::new(machine, &CpuSet::new());
    let identity = NodeIdentity::new(machine, &model);
    let free = FreeInside::whole(&model, &identity, &JobPorts::default());
    (model, free, identity)
}

fn devices(inside: &Inside) -> Vec<Vec<u8>> {
    inside.ranks.iter().map(|rank| rank.devices.clone()).collect()
}

fn in_order(count: u8) -> Vec<Vec<u8>> {
    (0..count).map(|device| vec![device]).collect()
}

/// The bytes of a capture, or `None` after saying that the test is skipped.
fn capture(path: &str) -> Option<Vec<u8>> {
    let read = fs::read(data().join(path));
    if let Err(error) = &read {
        skipped(&format!("topology/{path} is not there ({error}); PHALANX_DATA names the folder"));
    }
    read.ok()
}

/// A saved `/sys` and `/proc`, or `None` after saying that the test is skipped.
fn saved(name: &str) -> Option<Machine> {
    let scratch = env::temp_dir().join(format!("phalanx-inside-{}-{name}", std::process::id()));
    fs::create_dir_all(&scratch).unwrap();
    let archive = data().join(format!("hwloc-sysfs/{name}.tar.bz2"));
    let tar = std::process::Command::new("tar").arg("xf").arg(&archive).arg("-C").arg(&scratch).output();
    let done = tar.is_ok_and(|tar| tar.status.success());
    let machine = done.then(|| {
        let folder = fs::read_dir(&scratch).unwrap().next().unwrap().unwrap().path();
        sysfs::read_all(&Dir::open(&folder).unwrap()).machine
    });
    if machine.is_none() {
        skipped(&format!(
            "tar cannot unpack topology/hwloc-sysfs/{name}.tar.bz2; PHALANX_DATA names the folder"
        ));
    }
    // What was unpacked may have folders that nobody may write to; they are in TMPDIR.
    let _ = fs::remove_dir_all(&scratch);
    machine
}

fn data() -> PathBuf {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    env::var_os("PHALANX_DATA").map_or_else(beside, PathBuf::from).join("topology")
}

/// Says that the test cannot run here, and writes it to the file named by PHALANX_TEST_SKIPS.
fn skipped(why: &str) {
    let line = format!("SKIPPED {}: {why}\n", std::thread::current().name().unwrap_or_default());
    std::io::stderr().write_all(line.as_bytes()).expect("standard error is there");
    if let Some(path) = env::var_os("PHALANX_TEST_SKIPS") {
        let file = fs::OpenOptions::new().create(true).append(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the file of what is skipped");
    }
}
