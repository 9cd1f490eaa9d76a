//! Devices in trees written here, for machines of which there is no capture.

use crate::tree::Written;
use phalanx_common::topology::machine::{
    AcceleratorKind, Attachment, Device, LinkKind, Machine, Nic, PathType, PciKind, Peer,
};
use phalanx_common::topology::{Bdf, Guid, LinkLayer};
use phalanx_formats::sysfs::{read_all, read_network};
use proptest::prelude::*;

fn bdf(text: &str) -> Bdf {
    text.parse().unwrap()
}

fn machine(tree: &Written) -> Machine {
    let reading = read_all(tree);
    assert_eq!(reading.problems, []);
    reading.machine
}

/// An interface with its place in the tree of devices.
fn interface(tree: &mut Written, place: &str, values: &[(&str, &str)]) {
    let folder = format!("sys/devices/{place}");
    tree.link(&format!("sys/class/net/{}", place.rsplit('/').next().unwrap()), &folder);
    for (file, text) in values {
        tree.file(&format!("{folder}/{file}"), text);
    }
}

/// A port of an RDMA device on a function.
fn rdma(tree: &mut Written, function: &str, device: &str, values: &[(&str, &str)]) {
    let folder = format!("sys/devices/{function}/infiniband/{device}");
    tree.link(&format!("sys/class/infiniband/{device}"), &folder);
    for (file, text) in values {
        tree.file(&format!("{folder}/{file}"), text);
    }
}

const MELLANOX: [(&str, &str); 6] = [
    ("class", "0x020000"),
    ("vendor", "0x15b3"),
    ("device", "0x101d"),
    ("numa_node", "0"),
    ("current_link_speed", "16.0 GT/s PCIe"),
    ("current_link_width", "16"),
];

const BRIDGE: [(&str, &str); 4] =
    [("class", "0x060400"), ("vendor", "0x8086"), ("device", "0x347a"), ("max_link_speed", "Unknown")];

/// A RoCE adapter with two functions in a bond, a virtual function, and the representor of it.
fn bonded() -> Written {
    let mut tree = Written::default();
    tree.file("sys/devices/system/cpu/online", "0-7");
    let root = "pci0000:3a/0000:3a:00.0";
    tree.pci(root, &BRIDGE);
    for (function, name, mac) in [(0, "ens1f0", "0c:42:a1:00:00:01"), (1, "ens1f1", "0c:42:a1:00:00:02")] {
        let function = format!("{root}/0000:3b:00.{function}");
        tree.pci(&function, &MELLANOX);
        let at = format!("{function}/net/{name}");
        let values = [
            ("type", "1"),
            ("address", mac),
            ("speed", "200000"),
            ("carrier", "1"),
            ("operstate", "up"),
            ("mtu", "9000"),
            ("dev_port", "0"),
            ("phys_port_name", "p0"),
        ];
        interface(&mut tree, &at, &values);
        tree.link(&format!("sys/devices/{at}/master"), "sys/devices/virtual/net/bond0");
    }
    let port = [
        ("node_guid", "0c42:a103:0000:0001"),
        ("ports/1/link_layer", "Ethernet"),
        ("ports/1/state", "4: ACTIVE"),
        ("ports/1/rate", "200 Gb/sec (4X HDR)"),
        ("ports/1/lid", "0x0"),
        ("ports/1/sm_lid", "0x0"),
        ("ports/1/gids/0", "fe80:0000:0000:0000:0e42:a1ff:fe00:0001"),
        ("ports/1/gid_attrs/ndevs/0", "bond0"),
    ];
    rdma(&mut tree, &format!("{root}/0000:3b:00.0"), "mlx5_bond_0", &port);
    let virtual_function = format!("{root}/0000:3b:00.2");
    let folder = tree.pci(&virtual_function, &MELLANOX);
    tree.file(&format!("{folder}/device"), "0x101e");
    tree.link(&format!("{folder}/physfn"), &format!("sys/devices/{root}/0000:3b:00.0"));
    let of_guest = [("type", "1"), ("address", "0c:42:a1:00:00:09"), ("operstate", "down"), ("mtu", "1500")];
    interface(&mut tree, &format!("{virtual_function}/net/ens1f0v0"), &of_guest);
    let representor = [("type", "1"), ("address", "0c:42:a1:00:00:0a"), ("phys_port_name", "pf0vf0")];
    interface(&mut tree, &format!("{root}/0000:3b:00.0/net/ens1f0_0"), &representor);
    let bond =
        [("type", "1"), ("bonding/mode", "802.3ad 4"), ("address", "0c:42:a1:00:00:01"), ("speed", "400000")];
    interface(&mut tree, "virtual/net/bond0", &bond);
    interface(&mut tree, "virtual/net/docker0", &[("type", "1"), ("address", "02:42:00:00:00:01")]);
    interface(&mut tree, "virtual/net/lo", &[("type", "772")]);
    tree
}

#[test]
fn a_bond_its_members_and_virtual_functions_are_told_apart() {
    let machine = machine(&bonded());
    let names: Vec<(&str, Option<&str>)> =
        machine.nics.iter().map(|nic| (nic.name.as_str(), nic.bond.as_deref())).collect();
    let expected =
        [("ens1f0", Some("bond0")), ("ens1f1", Some("bond0")), ("ens1f0v0", None), ("bond0", None)];
    assert_eq!(names, expected, "neither docker0 nor the representor");
    assert_eq!(machine.pci[&bdf("3b:00.2")].function_of, Some(bdf("3b:00.0")));
    assert_eq!(machine.pci[&bdf("3b:00.1")].function_of, None);
    let link = machine.pci[&bdf("3b:00.0")].link;
    assert_eq!((link.speed, link.width, link.mb_per_s()), (Some(16_000), Some(16), Some(31_507)));
    assert_eq!(machine.pci[&bdf("3a:00.0")].link.max_speed, None);

    // The addresses of the adapter belong to the bond, and the port is the function's all the same.
    let first = &machine.nics[0];
    let rdma = first.rdma.as_ref().unwrap();
    assert_eq!((rdma.device.as_str(), rdma.port, first.speed_mbps), ("mlx5_bond_0", 1, Some(200_000)));
    assert_eq!((rdma.guid, rdma.subnet, rdma.lid), (None, None, None), "that is of InfiniBand");
    assert_eq!(rdma.node_guid, Some(Guid(0x0c42_a103_0000_0001)));
    let ports: Vec<(String, u16)> = machine.ports().into_iter().map(|port| (port.name, port.order)).collect();
    assert_eq!(ports, [("ens1f0".to_string(), 0), ("ens1f1".to_string(), 1)]);
    assert_eq!((machine.nics[2].up, machine.nics[3].bdf), (Some(false), None));
}

#[test]
fn ports_of_one_function_are_joined_by_their_interfaces_numbers_and_guids() {
    let mut tree = Written::default();
    let function = "pci0000:80/0000:80:02.0/0000:81:00.0";
    tree.pci("pci0000:80/0000:80:02.0", &BRIDGE);
    tree.pci(function, &MELLANOX);
    for (name, mac, port) in [("b", "0c:42:a1:00:00:01", "0"), ("a", "0c:42:a1:00:00:02", "1")] {
        let values = [("type", "1"), ("address", mac), ("dev_port", port), ("carrier", "0")];
        interface(&mut tree, &format!("{function}/net/{name}"), &values);
    }
    let port = [
        ("ports/1/link_layer", "Ethernet"),
        ("ports/1/state", "1: DOWN"),
        ("ports/1/gid_attrs/ndevs/1", "a.100"),
        ("ports/2/link_layer", "Ethernet"),
        ("ports/2/state", "4: ACTIVE"),
        ("ports/3/link_layer", "Ethernet"),
    ];
    rdma(&mut tree, function, "mlx4_0", &port);
    let joined = |tree: &Written| -> Vec<(String, Option<u8>, Option<bool>)> {
        let nics = read_network(tree).machine.nics;
        nics.into_iter().map(|nic| (nic.name, nic.rdma.map(|rdma| rdma.port), nic.up)).collect()
    };
    let by_number = [("a".to_string(), Some(2), Some(false)), ("b".to_string(), Some(1), Some(false))];
    assert_eq!(joined(&tree), by_number, "the number of the port; a VLAN is no interface of it");
    // The interface that owns its first address is better evidence than a number.
    rdma(
        &mut tree,
        function,
        "mlx4_0",
        &[("ports/1/gid_attrs/ndevs/0", "a"), ("ports/2/gid_attrs/ndevs/0", "b")],
    );
    let by_interface = [("a".to_string(), Some(1), Some(false)), ("b".to_string(), Some(2), Some(false))];
    assert_eq!(joined(&tree), by_interface);
    // The second port's interface is not taken for the first's because that has none.
    tree.files.retain(|path, _| !path.contains("/net/b/") && !path.contains("ndevs"));
    let alone = [("a".to_string(), Some(2), Some(false)), ("mlx4_0/1".to_string(), Some(1), Some(false))];
    assert_eq!(joined(&tree), alone);
}

#[test]
fn a_port_without_an_interface_is_named_by_its_device_and_partitions_are_no_ports() {
    let mut tree = Written::default();
    let function = "pci0000:80/0000:80:02.0/0000:81:00.0";
    tree.pci(function, &MELLANOX);
    let port = |guid: &'static str, state: &'static str| {
        [
            ("ports/1/state", state),
            ("ports/1/rate", "400 Gb/sec (4X NDR)"),
            ("ports/1/lid", "0x7"),
            ("ports/1/gids/0", guid),
        ]
    };
    let guid = "fec0:0000:0000:0001:0c42:a103:0000:0001";
    rdma(&mut tree, function, "mlx5_0", &port(guid, "2: INIT"));
    let nics = read_network(&tree).machine.nics;
    let [Nic { name, layer, up, speed_mbps, bdf: Some(at), rdma: Some(found), .. }] = &nics[..] else {
        panic!("{nics:?}")
    };
    assert_eq!((name.as_str(), *layer, *up), ("mlx5_0/1", LinkLayer::InfiniBand, Some(false)));
    assert_eq!((*speed_mbps, at.to_string()), (Some(400_000), "0000:81:00.0".to_string()));
    assert_eq!(
        (found.guid, found.subnet),
        (Some(Guid(0x0c42_a103_0000_0001)), Some(Guid(0xfec0_0000_0000_0001)))
    );

    let address = "00:00:10:48:fe:80:00:00:00:00:00:00:0c:42:a1:03:00:00:00:01";
    interface(
        &mut tree,
        &format!("{function}/net/ib0"),
        &[("type", "32"), ("address", address), ("carrier", "1")],
    );
    let partition = [("type", "32"), ("address", address), ("parent", "ib0")];
    interface(&mut tree, &format!("{function}/net/ib0.8001"), &partition);
    let nics = read_network(&tree).machine.nics;
    assert_eq!((nics.len(), nics[0].name.as_str()), (1, "ib0"));
    assert_eq!(
        nics[0].up,
        Some(false),
        "a fabric without a manager carries nothing, whatever the interface says"
    );
    // Without a link it has no GUID that anyone gave it.
    rdma(&mut tree, function, "mlx5_0", &port("fe80:0000:0000:0000:0000:0000:0000:0000", "1: DOWN"));
    let found = read_network(&tree).machine.nics.remove(0).rdma.unwrap();
    assert_eq!((found.guid, found.subnet), (None, None));
}

/// Two GPUs of an Instinct machine on one link of XGMI of two lanes, one more on PCIe alone, and two CPUs.
fn instinct() -> Written {
    let mut tree = Written::default();
    tree.file("sys/devices/system/cpu/online", "0-7");
    for (node, cpus) in [(0, "0-3"), (1, "4-7")] {
        let at = format!("sys/devices/system/node/node{node}");
        tree.file(&format!("{at}/cpulist"), cpus);
    }
    let gpu = [("class", "0x038000"), ("vendor", "0x1002"), ("device", "0x740f"), ("numa_node", "1")];
    for bus in ["c1", "c5", "c9"] {
        let place = format!("pci0000:c0/0000:c0:0{}.0/0000:{bus}:00.0", &bus[1..]);
        let folder = tree.pci(&place, &gpu);
        tree.file(&format!("{folder}/mem_info_vram_total"), 68_702_699_520_u64)
            .file(&format!("{folder}/product_name"), "AMD INSTINCT MI210");
    }
    let nodes = "sys/devices/virtual/kfd/kfd/topology/nodes";
    tree.link("sys/class/kfd/kfd", "sys/devices/virtual/kfd/kfd");
    let mut node = |number: u32, gpu_id: u32, properties: &str, links: &[(u32, u32, u32)]| {
        tree.file(&format!("{nodes}/{number}/gpu_id"), gpu_id)
            .file(&format!("{nodes}/{number}/properties"), properties);
        for (link, (kind, to, bandwidth)) in links.iter().enumerate() {
            let text = format!(
                "type {kind}\nversion_major 0\nnode_from {number}\nnode_to {to}\nweight 15\nmax_bandwidth {bandwidth}\nflags 1"
            );
            tree.file(&format!("{nodes}/{number}/io_links/{link}/properties"), text);
        }
    };
    node(0, 0, "cpu_cores_count 4\nsimd_count 0", &[(2, 2, 32_000)]);
    node(1, 0, "cpu_cores_count 4\nsimd_count 0", &[]);
    // 0xc100 = 49408
    node(
        2,
        4711,
        "simd_count 416\nlocation_id 49408\ndomain 0\nhive_id 77\nunique_id 81985529216486895",
        &[(2, 0, 32_000), (11, 3, 50_000), (11, 3, 50_000), (11, 1, 36_000), (11, 9, 1), (11, 2, 1)],
    );
    node(3, 4712, "simd_count 416\nlocation_id 50432\ndomain 0\nhive_id 77", &[(11, 2, 0)]);
    node(4, 4713, "simd_count 416\nlocation_id 51456\ndomain 0\nhive_id 0", &[(2, 2, 32_000)]);
    // A part of the first GPU, which is cut up.
    node(5, 4714, "simd_count 104\nlocation_id 268484864\ndomain 0", &[]);
    tree
}

#[test]
fn xgmi_links_are_bundles_to_gpus_and_cpus_and_parts_of_a_gpu_are_one() {
    let machine = machine(&instinct());
    assert_eq!(machine.accelerators.len(), 3);
    let first = &machine.accelerators[0];
    assert_eq!((first.kind, first.index, first.hive), (AcceleratorKind::Amd, Some(0), Some(77)));
    assert_eq!(first.model.as_deref(), Some("AMD INSTINCT MI210"));
    assert_eq!(
        (first.uuid.as_deref(), first.memory_bytes),
        (Some("GPU-0123456789abcdef"), Some(68_702_699_520))
    );
    let link = |peer, lanes, mb_per_s| Attachment { peer, kind: LinkKind::Xgmi, lanes, mb_per_s };
    let to_second = Peer::Accelerator(bdf("c5:00.0"));
    assert_eq!(first.links, [link(to_second, 2, Some(100_000)), link(Peer::Cpu(Some(1)), 1, Some(36_000))]);
    assert_eq!(machine.accelerators[1].links, [link(Peer::Accelerator(bdf("c1:00.0")), 1, None)]);
    assert_eq!((machine.accelerators[2].hive, machine.accelerators[2].links.len()), (None, 0));
    assert_eq!(machine.path(Device::Accelerator(0), Device::Accelerator(1)), Some(PathType::Phb));
}

#[test]
fn gpus_without_a_driver_are_there_but_a_board_screen_is_none() {
    let mut tree = Written::default();
    for (bus, class, vendor) in [
        ("01", "0x030000", "0x1002"),
        ("02", "0x120000", "0x1002"),
        ("03", "0x030200", "0x10de"),
        ("04", "0x030000", "0x102b"),
        ("05", "0x068000", "0x10de"),
        ("06", "0x068000", "0x8086"),
    ] {
        let place = format!("pci0000:00/0000:00:{bus}.0/0000:{bus}:00.0");
        tree.pci(&place, &[("class", class), ("vendor", vendor)]);
    }
    let machine = machine(&tree);
    let found: Vec<(AcceleratorKind, u8)> =
        machine.accelerators.iter().map(|gpu| (gpu.kind, gpu.bdf.unwrap().bus)).collect();
    assert_eq!(found, [(AcceleratorKind::Amd, 2), (AcceleratorKind::Nvidia, 3)]);
    assert_eq!(machine.pci[&bdf("05:00.0")].kind, Some(PciKind::NvSwitch));
    assert!(!machine.pci.contains_key(&bdf("04:00.0")) && !machine.pci.contains_key(&bdf("06:00.0")));
}

#[test]
fn ascend_is_told_by_pci_or_else_by_its_device_files() {
    let mut tree = Written::default();
    for bus in ["01", "c1"] {
        let place = format!("pci0000:00/0000:00:01.0/0000:{bus}:00.0");
        tree.pci(&place, &[("class", "0x120000"), ("vendor", "0x19e5"), ("device", "0xd802")]);
    }
    // The screen of the board's management chip.
    tree.pci(
        "pci0000:00/0000:00:02.0/0000:05:00.0",
        &[("class", "0x030000"), ("vendor", "0x19e5"), ("device", "0x1711")],
    );
    for file in ["davinci0", "davinci1", "davinci7", "davinci_manager", "hisi_hdc"] {
        tree.file(&format!("dev/{file}"), "");
    }
    let found = |tree: &Written| -> Vec<(AcceleratorKind, Option<String>, Option<u32>)> {
        let accelerators = machine(tree).accelerators;
        accelerators
            .into_iter()
            .map(|npu| (npu.kind, npu.bdf.map(|bdf| bdf.to_string()), npu.index))
            .collect()
    };
    let by_pci =
        ["0000:01:00.0", "0000:c1:00.0"].map(|bdf| (AcceleratorKind::Ascend, Some(bdf.to_string()), None));
    assert_eq!(found(&tree), by_pci);
    tree.files.retain(|path, _| !path.starts_with("sys/"));
    assert_eq!(found(&tree), [0, 1, 7].map(|index| (AcceleratorKind::Ascend, None, Some(index))));
}

#[test]
fn the_driver_of_nvidia_says_model_and_uuid_once_it_knows_them() {
    let mut tree = Written::default();
    for bus in ["1b", "43"] {
        let place = format!("pci0000:15/0000:15:01.0/0000:{bus}:00.0");
        let folder = tree.pci(&place, &[("class", "0x030200"), ("vendor", "0x10de"), ("numa_node", "-1")]);
        tree.file(&format!("{folder}/local_cpulist"), "0-3");
    }
    tree.file("sys/devices/system/cpu/online", "0-7").file("sys/devices/system/node/node1/cpulist", "0-3,6");
    let information = |uuid: &str| {
        format!(
            "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 18\nGPU UUID: \t {uuid}\nVideo BIOS: \t 96.00.68.00.01\nBus Type: \t PCIe\n"
        )
    };
    tree.file("proc/driver/nvidia/gpus/0000:1b:00.0/information", information("GPU-6f3a1f6e-0001"));
    tree.file("proc/driver/nvidia/gpus/0000:43:00.0/information", information("GPU-????????-????"));
    tree.file("proc/driver/nvidia/gpus/0000:43:00.0/numa_status", "Node:      -1\nStatus:    offline\n");
    let machine = machine(&tree);
    let [first, second] = &machine.accelerators[..] else { panic!("{:?}", machine.accelerators) };
    assert_eq!(first.model.as_deref(), Some("NVIDIA H100 80GB HBM3"));
    assert_eq!((first.uuid.as_deref(), &second.uuid), (Some("GPU-6f3a1f6e-0001"), &None));
    assert_eq!(second.own_node, None);
    assert_eq!(machine.numa_of(Device::Accelerator(0)), Some(1), "all CPUs that are near are of node 1");
}

#[test]
fn bridges_of_a_domain_of_their_own_hang_below_what_opens_it() {
    let mut tree = Written::default();
    let vmd = "pci0000:00/0000:00:0e.0";
    tree.pci(vmd, &[("class", "0x010400"), ("vendor", "0x8086")]);
    tree.pci(&format!("{vmd}/pci10000:e0/10000:e0:06.0"), &BRIDGE);
    let drive = [("class", "0x010802"), ("vendor", "0x8086")];
    tree.pci(&format!("{vmd}/pci10000:e0/10000:e0:06.0/10000:e1:00.0"), &drive);
    let machine = machine(&tree);
    let place = |at: &str| machine.pci[&bdf(at)].place.unwrap();
    assert_eq!(place("10000:e1:00.0").parent, Some(bdf("10000:e0:06.0")));
    assert_eq!(place("10000:e0:06.0").parent, Some(bdf("00:0e.0")));
    assert_eq!(place("10000:e1:00.0").root.unwrap().domain, 0);
}

proptest! {
    #[test]
    fn a_tree_with_any_text_in_its_files_is_read(
        seed in any::<prop::sample::Index>(),
        texts in prop::collection::vec((any::<prop::sample::Index>(), "[-0-9a-fx:. ,\n]{0,40}|\\PC{0,20}"), 1..30),
    ) {
        for tree in [bonded(), instinct()] {
            let mut tree = tree;
            let paths: Vec<String> = tree.files.keys().cloned().collect();
            for (at, text) in &texts {
                tree.file(&paths[at.index(paths.len())], text);
            }
            tree.files.remove(&paths[seed.index(paths.len())]);
            let reading = read_all(&tree);
            for problem in reading.problems {
                prop_assert!(problem.to_string().len() < 400);
            }
            prop_assert!(reading.machine.nics.len() <= 6);
        }
    }
}
