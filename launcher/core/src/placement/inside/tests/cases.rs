//! Choices that can be told by hand.

use super::super::{Inside, RankNeeds, capacity, choose};
use super::*;

fn devices(inside: &Inside) -> Vec<Vec<u8>> {
    inside.ranks.iter().map(|rank| rank.devices.clone()).collect()
}

fn cpus(inside: &Inside) -> Vec<String> {
    inside.ranks.iter().map(|rank| rank.cpus.to_string()).collect()
}

fn ports(inside: &Inside) -> Vec<Vec<(u8, bool)>> {
    let of =
        |rank: &super::super::RankInside| rank.ports.iter().map(|port| (port.port, port.farther)).collect();
    inside.ranks.iter().map(of).collect()
}

#[test]
fn two_jobs_of_two_devices_get_pairs_with_two_links_and_leave_pairs_with_two_links() {
    let (model, mut free) = whole(&dgx1());
    assert_eq!((model.islands(), model.mb_per_s(0, 3), model.mb_per_s(0, 5)), (&[0xff][..], 40_000, 6_000));
    let needs = RankNeeds::new(2, 1);
    for _ in 0..4 {
        let inside = choose(&model, &free, &needs).unwrap();
        assert_eq!(inside.quality.slowest_pair, Some(40_000), "{:?}", devices(&inside));
        free.take(&inside);
    }
    assert_eq!(free.devices, 0);
}

#[test]
fn four_of_eight_are_a_quad_and_the_ports_say_which() {
    let mut machine = dgx1();
    let needs = RankNeeds { ports: 1, ..RankNeeds::new(4, 1) };
    let (model, free) = whole(&machine);
    assert_eq!(devices(&choose(&model, &free, &needs).unwrap()), [[0], [1], [2], [3]]);
    // The port of GPU0 and GPU1 is down: the other quad has both of its ports.
    machine.nics[0].up = Some(false);
    let (same, mut free) = whole(&machine);
    assert_eq!(model, same, "which ports work is not a matter of the model");
    let inside = choose(&model, &free, &needs).unwrap();
    assert_eq!((inside.devices, inside.quality.farther), (0xf0, 0));
    assert_eq!(ports(&inside), [[(2, false)], [(2, false)], [(3, false)], [(3, false)]]);
    // That quad is taken: the port that is next is marked.
    free.devices = 0x0f;
    let inside = choose(&model, &free, &needs).unwrap();
    assert_eq!(ports(&inside), [[(1, true)], [(1, true)], [(1, false)], [(1, false)]]);
    assert_eq!(inside.quality.farther, 2);
}

#[test]
fn a_lone_pair_is_taken_before_the_half_of_an_island() {
    // Four GPUs of which all pairs are linked, and two more.
    let mut machine = board(1, 8, 1, 8);
    (0..6u8).for_each(|bus| gpu(&mut machine, 0x10 + bus, Some(0), None));
    for (a, b) in [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3), (4, 5)] {
        link(&mut machine, a, b, 2);
    }
    let (model, free) = whole(&machine);
    assert_eq!(model.islands(), [0b00_1111, 0b11_0000]);
    let inside = choose(&model, &free, &RankNeeds::new(2, 1)).unwrap();
    assert_eq!(inside.devices, 0b11_0000);
    assert_eq!(inside.quality.left, 6 * 40_000, "what is left are the pairs of the four");
    let one = choose(&model, &free, &RankNeeds::new(1, 1)).unwrap();
    assert_eq!(one.devices, 0b01_0000, "a single rank does not break the island either");
    assert_eq!(choose(&model, &free, &RankNeeds::new(4, 1)).unwrap().devices, 0b00_1111);
}

#[test]
fn a_partly_used_node_gives_what_is_left_of_the_socket_that_is_broken_already() {
    let (model, mut free) = whole(&hgx());
    free.devices = 0b1111_0111;
    let two = choose(&model, &free, &RankNeeds::new(2, 1)).unwrap();
    assert_eq!(two.devices, 0b0000_0011);
    // Three of the first socket stay together, and four need both.
    assert_eq!(choose(&model, &free, &RankNeeds::new(3, 1)).unwrap().devices, 0b0000_0111);
    assert_eq!(choose(&model, &free, &RankNeeds::new(4, 1)).unwrap().devices, 0b1111_0000);
    assert_eq!(choose(&model, &free, &RankNeeds::new(1, 1)).unwrap().devices, 0b0000_0001);
    assert_eq!(capacity(&model, &free, &RankNeeds::new(0, 3)), 2);
}

#[test]
fn ranks_of_one_socket_part_its_cores_and_never_share_one() {
    let (model, free) = whole(&hgx());
    let inside = choose(&model, &free, &RankNeeds::new(8, 1)).unwrap();
    // 48 cores with two threads for four ranks: twelve each, by caches of eight.
    assert!(inside.ranks.iter().all(|rank| rank.cores.len() == 12 && rank.cpus.len() == 24));
    let nodes: Vec<String> = inside.ranks.iter().map(|rank| rank.numa.to_string()).collect();
    assert_eq!(nodes, ["0", "0", "0", "0", "1", "1", "1", "1"]);
    assert_eq!(cpus(&inside)[0], "0-11,96-107");
    // A rank alone does not take what falls to the other devices, unless nothing else runs here.
    let one = choose(&model, &free, &RankNeeds::new(1, 1)).unwrap();
    assert_eq!(one.ranks[0].cores.len(), 12);
    let alone = choose(&model, &free, &RankNeeds { alone: true, ..RankNeeds::new(1, 1) }).unwrap();
    assert_eq!(alone.ranks[0].cpus.to_string(), "0-47,96-143");
}

#[test]
fn devices_are_taken_where_cores_and_memory_are_enough_for_them() {
    let (model, mut free) = whole(&hgx());
    let numa = |inside: &Inside| inside.ranks.iter().map(|rank| rank.numa.to_string()).collect::<Vec<_>>();
    // A socket has cores for three of them.
    let wide = RankNeeds { cpus: Some(30), ..RankNeeds::new(4, 1) };
    let inside = choose(&model, &free, &wide).unwrap();
    assert_eq!(
        (inside.devices, numa(&inside)),
        (0b0001_0111, ["0", "0", "0", "1"].map(String::from).to_vec())
    );
    // And memory for two.
    let large = RankNeeds { memory: 30 * GIB, ..RankNeeds::new(4, 1) };
    let inside = choose(&model, &free, &large).unwrap();
    assert_eq!(
        (inside.devices, numa(&inside)),
        (0b0011_0011, ["0", "0", "1", "1"].map(String::from).to_vec())
    );
    // Others have all cores of the first socket, and none of its devices.
    model.groups()[0].rows().for_each(|core| free.cores.take_one(core));
    for needs in [RankNeeds::new(2, 1), RankNeeds { cpus: Some(8), ..RankNeeds::new(2, 1) }] {
        assert_eq!(choose(&model, &free, &needs).unwrap().devices, 0b0011_0000);
    }
}

#[test]
fn links_come_before_cores_that_are_near() {
    // A quad of a socket has links among each other, and the sockets have few of them.
    let (model, free) = whole(&dgx1());
    let needs = RankNeeds { cpus: Some(14), ..RankNeeds::new(4, 1) };
    let inside = choose(&model, &free, &needs).unwrap();
    assert_eq!(inside.devices, 0b0000_1111, "seven cores for each of four are more than a socket has");
}

#[test]
fn a_number_of_cpus_is_rounded_up_to_whole_cores_and_spills_over_last() {
    let (model, free) = whole(&hgx());
    let needs = RankNeeds { cpus: Some(7), ..RankNeeds::new(4, 1) };
    assert_eq!(
        cpus(&choose(&model, &free, &needs).unwrap()),
        ["0-3,96-99", "4-7,100-103", "8-11,104-107", "12-15,108-111"]
    );
    // Two ranks of one socket that want more than it has: the second goes beyond it, and the third keeps its own.
    let needs = RankNeeds { cpus: Some(60), ..RankNeeds::new(3, 2) };
    let inside = choose(&model, &free, &needs).unwrap();
    let nodes: Vec<String> = inside.ranks.iter().map(|rank| rank.numa.to_string()).collect();
    assert_eq!(nodes, ["0", "0-1", "1"]);
    assert_eq!(capacity(&model, &free, &needs), 3);
}

#[test]
fn memory_comes_from_the_near_node_first() {
    let (model, mut free) = whole(&hgx());
    let needs = RankNeeds { memory: 24 * GIB, ..RankNeeds::new(4, 1) };
    free.devices = 0x0f;
    let inside = choose(&model, &free, &needs).unwrap();
    free.devices = 0xff;
    let memory: Vec<&[(u8, u64)]> = inside.ranks.iter().map(|rank| &rank.memory[..]).collect();
    assert_eq!(
        memory,
        [&[(0, 24 * GIB)][..], &[(0, 24 * GIB)], &[(0, 16 * GIB), (1, 8 * GIB)], &[(1, 24 * GIB)]]
    );
    assert_eq!(inside.ranks[2].numa.to_string(), "0-1");
    assert_eq!(capacity(&model, &free, &needs), 5);
    let before = free.clone();
    free.take(&inside);
    assert_eq!(free.memory, [0, 32 * GIB]);
    free.give(&inside);
    assert_eq!(free, before);
    // A control group leaves less than the nodes have.
    free.memory_left = 50 * GIB;
    assert_eq!(capacity(&model, &free, &needs), 2);
}

#[test]
fn ranks_without_devices_fill_one_node_by_whole_caches() {
    let (model, mut free) = whole(&board(2, 16, 1, 4));
    let needs = RankNeeds { cpus: Some(4), ..RankNeeds::new(3, 0) };
    let inside = choose(&model, &free, &needs).unwrap();
    assert_eq!(cpus(&inside), ["0-3", "4-7", "8-11"]);
    free.take(&inside);
    // Of the two nodes the one that is fuller, where it has enough.
    let next = choose(&model, &free, &RankNeeds { ranks: 1, ..needs.clone() }).unwrap();
    assert_eq!(cpus(&next), ["12-15"]);
    let more = choose(&model, &free, &RankNeeds { ranks: 5, ..needs.clone() }).unwrap();
    assert_eq!(cpus(&more), ["16-19", "20-23", "24-27", "28-31", "12-15"]);
    // Two of six each fill a node that has ten left; the third has four here and two there.
    let wide = RankNeeds { cpus: Some(12), ..RankNeeds::new(2, 0) };
    let (model, free) = whole(&board(3, 8, 1, 8));
    assert_eq!(cpus(&choose(&model, &free, &wide).unwrap()), ["0-11", "12-23"]);
    let share = RankNeeds { alone: true, ..RankNeeds::new(5, 0) };
    assert_eq!(choose(&model, &free, &share).unwrap().ranks[0].cores.len(), 4);
    // Ranks that ask for nothing are not bound, nor are those of devices where cores are fewer.
    assert!(cpus(&choose(&model, &free, &RankNeeds::new(5, 0)).unwrap()).iter().all(String::is_empty));
    let mut few = hgx();
    few.allowed.cpus = Some("0-6".parse().unwrap());
    let (model, free) = whole(&few);
    let inside = choose(&model, &free, &RankNeeds::new(8, 1)).unwrap();
    assert!(cpus(&inside).iter().all(String::is_empty));
    assert_eq!(
        cpus(&choose(&model, &free, &RankNeeds::new(7, 1)).unwrap()),
        ["0", "1", "2", "3", "4", "5", "6"]
    );
}

#[test]
fn ranks_on_cpus_are_where_the_port_is_and_three_devices_near_two_ports_use_two() {
    let mut machine = board(3, 8, 1, 8);
    nic(&mut machine, 0x40, Some(2), None);
    let (model, free) = whole(&machine);
    let needs = RankNeeds { cpus: Some(4), ports: 1, ..RankNeeds::new(2, 0) };
    assert_eq!(cpus(&choose(&model, &free, &needs).unwrap()), ["16-19", "20-23"]);
    // Eight devices of which all pairs are linked, two ports for each four.
    let mut machine = board(2, 8, 1, 8);
    (0..8u8).for_each(|bus| gpu(&mut machine, 0x10 + bus, Some(u32::from(bus / 4)), None));
    (0..4u8).for_each(|bus| nic(&mut machine, 0x40 + bus, Some(u32::from(bus / 2)), None));
    (0..8).for_each(|a| (a + 1..8).for_each(|b| link(&mut machine, a, b, 1)));
    let (model, free) = whole(&machine);
    let needs = RankNeeds { ports: 1, ..RankNeeds::new(4, 1) };
    let inside = choose(&model, &free, &needs).unwrap();
    assert_eq!((inside.devices, inside.quality.ports), (0b11_0011, 4));
    assert_eq!(choose(&model, &free, &RankNeeds::new(4, 1)).unwrap().devices, 0b1111);
}

#[test]
fn reserved_cpus_take_their_core_with_them_and_a_control_group_takes_threads() {
    let mut machine = board(1, 4, 2, 4);
    let model = NodeModel::new(&machine, &"0".parse().unwrap());
    assert_eq!((model.cores(), model.threads_per_core()), (3, 2), "4 shares its core with 0");
    machine.allowed.cpus = Some("1-4".parse().unwrap());
    let (model, free) = whole(&machine);
    assert_eq!((model.cores(), model.threads_per_core()), (4, 1));
    let inside = choose(&model, &free, &RankNeeds { cpus: Some(2), ..RankNeeds::new(2, 0) }).unwrap();
    assert_eq!(cpus(&inside), ["1,4", "2-3"]);
}

#[test]
fn slices_are_devices_and_those_of_one_gpu_are_no_pair() {
    let mut machine = hgx();
    cut(&mut machine, 0, &[20, 20, 10]);
    cut(&mut machine, 1, &[20]);
    cut(&mut machine, 2, &[]);
    let (model, free) = whole(&machine);
    assert_eq!(model.devices().len(), 3 + 1 + 5);
    assert_eq!(
        model.devices().iter().map(|device| device.gpu).collect::<Vec<_>>(),
        [0, 0, 0, 1, 3, 4, 5, 6, 7]
    );
    assert_eq!((model.mb_per_s(0, 1), model.mb_per_s(0, 3) > 0, model.linked(0)), (0, true, 0));
    let sliced = |ranks, profile: &str| {
        let mut needs = RankNeeds::new(ranks, 1);
        needs.device.mig = Some(profile.parse().unwrap());
        needs
    };
    assert_eq!(choose(&model, &free, &sliced(2, "2g.20gb")).unwrap().devices, 0b1001, "of two GPUs");
    assert_eq!(choose(&model, &free, &sliced(1, "1g.10gb")).unwrap().devices, 0b0100);
    assert_eq!(capacity(&model, &free, &sliced(0, "2g.20gb")), 3);
    assert_eq!(capacity(&model, &free, &RankNeeds::new(0, 1)), 5, "slices only for those who ask");
    let identity = NodeIdentity::new(&machine, &model);
    let names: Vec<_> =
        identity.devices.iter().map(|it| (it.pci_index, it.slice, it.uuid.is_some())).collect();
    assert_eq!(names[2..5], [(0, Some(2), true), (1, Some(0), true), (3, None, false)]);
}

#[test]
fn slices_of_one_memory_are_told_apart_by_their_compute() {
    let mut machine = hgx();
    cut(&mut machine, 0, &[20, 20, 20, 20]);
    // 1g.20gb, 2g.20gb, one of several in a 2g.20gb, and one of which only the memory is known.
    let told = [(Some(1), Some(1)), (Some(2), Some(2)), (Some(2), Some(1)), (None, None)];
    for (slice, slices) in machine.accelerators[0].slices.iter_mut().zip(told) {
        (slice.instance_slices, slice.compute_slices) = slices;
    }
    let (model, free) = whole(&machine);
    let sliced = |profile: &str| {
        let mut needs = RankNeeds::new(1, 1);
        needs.device.mig = Some(profile.parse().unwrap());
        needs
    };
    let serving = |profile| {
        let needs = sliced(profile);
        let kinds: Vec<_> = model.kinds(&needs.device).map(|kind| kind.to_string()).collect();
        kinds
    };
    let of = |slices: &str| format!("NVIDIA H100 80GB HBM3, slices of {slices}");
    assert_eq!(serving("1g.20gb"), [of("1g.20gb"), of("20 GB")]);
    assert_eq!(serving("2g.20gb"), [of("2g.20gb"), of("20 GB")]);
    assert_eq!(choose(&model, &free, &sliced("2g.20gb")).unwrap().devices, 0b0010);
    assert_eq!(choose(&model, &free, &sliced("1g.20gb")).unwrap().devices, 0b0001);
    assert_eq!(capacity(&model, &free, &sliced("3g.20gb")), 1, "what may be one");
}

#[test]
fn a_device_of_an_unknown_numa_node_gets_cores_and_is_taken_last() {
    let mut machine = board(2, 8, 1, 8);
    gpu(&mut machine, 0x10, None, None);
    gpu(&mut machine, 0x11, Some(0), None);
    gpu(&mut machine, 0x12, Some(0), None);
    gpu(&mut machine, 0x13, Some(1), None);
    let (model, free) = whole(&machine);
    let groups: Vec<u64> = model.devices().iter().map(|device| device.groups).collect();
    assert_eq!(groups, [0, 0b01, 0b01, 0b10]);
    assert_eq!(choose(&model, &free, &RankNeeds::new(2, 1)).unwrap().devices, 0b0110);
    let all = choose(&model, &free, &RankNeeds::new(4, 1)).unwrap();
    assert!(all.ranks.iter().all(|rank| !rank.cores.is_empty()), "{:?}", cpus(&all));
    let needs = RankNeeds { cpus: Some(4), memory: 8 * GIB, ..RankNeeds::new(4, 1) };
    let all = choose(&model, &free, &needs).unwrap();
    // What nobody knows to be near takes what the others leave.
    assert_eq!(cpus(&all), ["12-15", "0-3", "4-7", "8-11"]);
}

#[test]
fn local_rank_rises_with_the_pci_order_unless_neighbours_would_have_no_link() {
    let (model, free) = whole(&hgx());
    let order = devices(&choose(&model, &free, &RankNeeds::new(8, 1)).unwrap());
    assert_eq!(order, [[0], [1], [2], [3], [4], [5], [6], [7]]);
    // Of the cube GPU3 and GPU4 have no link, nor have GPU7 and GPU0.
    let (model, free) = whole(&dgx1());
    let order = devices(&choose(&model, &free, &RankNeeds::new(8, 1)).unwrap());
    assert_eq!(order, [[0], [1], [2], [3], [7], [5], [6], [4]]);
    let pairs = devices(&choose(&model, &free, &RankNeeds::new(4, 2)).unwrap());
    for pair in &pairs {
        assert_eq!(model.mb_per_s(pair[0].into(), pair[1].into()), 40_000, "{pairs:?}");
    }
    for at in 0..4 {
        let (last, first) = (pairs[at][1], pairs[(at + 1) % 4][0]);
        assert!(model.linked(last.into()) >> first & 1 == 1, "{pairs:?}");
    }
    // Without any links nothing is gained.
    let mut machine = dgx1();
    machine.accelerators.iter_mut().for_each(|gpu| gpu.links.clear());
    let (model, free) = whole(&machine);
    assert_eq!(devices(&choose(&model, &free, &RankNeeds::new(2, 4)).unwrap()), [[0, 1, 2, 3], [4, 5, 6, 7]]);
}

#[test]
fn every_rank_has_the_port_behind_its_own_switch_and_two_share_evenly() {
    let (model, free) = whole(&hgx());
    let one = choose(&model, &free, &RankNeeds { ports: 1, ..RankNeeds::new(8, 1) }).unwrap();
    assert_eq!(ports(&one), (0..8).map(|port| [(port, false)]).collect::<Vec<_>>());
    let two = choose(&model, &free, &RankNeeds { ports: 2, ..RankNeeds::new(2, 4) }).unwrap();
    assert_eq!(ports(&two), [[(0, false), (1, false)], [(4, false), (5, false)]]);
    let silent = choose(&model, &free, &RankNeeds::new(2, 2)).unwrap();
    assert_eq!(
        ports(&silent),
        [[(0, false), (1, false)], [(2, false), (3, false)]],
        "told without being asked"
    );
    // Ranks on CPUs take turns at the ports of their node.
    let cpu = choose(&model, &free, &RankNeeds { ports: 1, ..RankNeeds::new(3, 0) }).unwrap();
    assert_eq!(ports(&cpu), [[(0, false)], [(1, false)], [(2, false)]]);
}

#[test]
fn ports_of_jobs_are_without_management_storage_and_slow_ones() {
    let mut machine = hgx();
    // A slow InfiniBand port, a port of another subnet, an Ethernet port with RDMA, and the one with the route.
    for bus in [0x50, 0x51, 0x52, 0x53] {
        nic(&mut machine, bus, Some(0), Some(0x90));
    }
    let subnet =
        |nic: &mut Nic, to| nic.rdma.as_mut().unwrap().subnet = Some(phalanx_common::topology::Guid(to));
    machine.nics.iter_mut().for_each(|nic| subnet(nic, 1));
    machine.nics[8].speed_mbps = Some(40_000);
    subnet(&mut machine.nics[9], 2);
    machine.nics[10].layer = LinkLayer::Ethernet;
    machine.nics[11].gateways.push("10.0.0.1".into());
    machine.nics[3].up = Some(false);
    machine.nics[5].addresses.push("10.1.0.5/16".into());
    let (model, _) = whole(&machine);
    let identity = NodeIdentity::new(&machine, &model);
    let control = "10.1.0.5".parse().ok();
    assert_eq!(identity.job_ports(&model, &JobPorts::default()), 0b1111_0111);
    let known = JobPorts { control, exclude: &["mlx5_0:1", "ib1"], only: None };
    assert_eq!(identity.job_ports(&model, &known), 0b1101_0100);
    assert_eq!(model.hca(0b101), ["mlx5_0:1", "mlx5_2:1"]);
    let only = JobPorts { only: Some(&["mlx5_6", "mlx5_7"]), ..JobPorts::default() };
    assert_eq!(identity.job_ports(&model, &only), 0b1100_0000);
    assert_eq!(identity.interface_of("10.1.0.5".parse().unwrap()), Some("ib5"));
    assert_eq!(identity.interface_of("10.1.0.6".parse().unwrap()), None);
}

#[test]
fn a_node_with_one_port_uses_it_for_everything() {
    let mut machine = board(1, 4, 1, 4);
    nic(&mut machine, 0x40, Some(0), None);
    machine.nics[0].layer = LinkLayer::Ethernet;
    machine.nics[0].gateways.push("10.0.0.1".into());
    machine
        .nics
        .push(Nic { addresses: vec!["10.0.0.7/24".into()], ..Nic::new("bond0", LinkLayer::Ethernet) });
    machine.nics[0].bond = Some("bond0".into());
    let (model, free) = whole(&machine);
    let identity = NodeIdentity::new(&machine, &model);
    let known = JobPorts { control: "10.0.0.7".parse().ok(), ..JobPorts::default() };
    assert_eq!((free.ports, identity.job_ports(&model, &known)), (1, 1));
    assert_eq!(identity.interface_of("10.0.0.7".parse().unwrap()), Some("bond0"));
    // With a second port beside it the bond's member is for management.
    nic(&mut machine, 0x41, Some(0), None);
    let (model, _) = whole(&machine);
    let identity = NodeIdentity::new(&machine, &model);
    assert_eq!(identity.job_ports(&model, &known), 0b10);
}

#[test]
fn a_device_that_is_not_well_is_not_free() {
    use phalanx_common::topology::machine::Ailment;
    let mut machine = hgx();
    machine.accelerators[2].ailments = Some(vec![Ailment::RowRemapFailed]);
    machine.accelerators[3].ailments = Some(vec![Ailment::RowRemapPending]);
    let (_, free) = whole(&machine);
    assert_eq!(free.devices, 0b1111_1011);
}

#[test]
fn machines_of_one_kind_have_one_model() {
    for machine in [dgx1(), hgx(), board(2, 8, 2, 4)] {
        let (model, _) = whole(&machine);
        assert_eq!(model, NodeModel::new(&machine.kind(), &CpuSet::new()));
    }
}

#[test]
fn more_devices_than_a_mask_holds_are_left_out() {
    let mut machine = board(1, 4, 1, 4);
    for bus in 0..70 {
        gpu(&mut machine, bus, Some(0), None);
    }
    let (model, free) = whole(&machine);
    assert_eq!((model.devices().len(), model.left_out(), free.devices), (64, 6, u64::MAX));
    assert_eq!(capacity(&model, &free, &RankNeeds::new(0, 16)), 4);
    let inside = choose(&model, &free, &RankNeeds::new(2, 16)).unwrap();
    assert_eq!(inside.devices, 0xffff_ffff, "equal devices, the first of them");
}
