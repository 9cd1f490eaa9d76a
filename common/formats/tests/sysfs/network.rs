//! Interfaces and RDMA ports.

use phalanx_common::topology::machine::Nic;
use phalanx_common::topology::{Guid, LinkLayer};
use phalanx_formats::sysfs::read_network;

use crate::devices::{bdf, machine};
use crate::tree::{BRIDGE, Written};

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

/// A RoCE adapter with two functions in a bond, a virtual function, and the representor of it.
pub(crate) fn bonded() -> Written {
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

#[test]
fn folders_where_the_kernel_has_links_tell_their_function_by_their_device() {
    let mut tree = Written::default();
    let function = tree.pci("pci0000:10/0000:10:01.0/0000:11:00.0", &MELLANOX);
    tree.link("sys/class/net/eth0/device", &function).file("sys/class/net/eth0/type", 1);
    tree.file("sys/class/net/docker0/type", 1);
    tree.link("sys/class/infiniband/mlx5_0/device", &function);
    tree.file("sys/class/infiniband/mlx5_0/ports/1/link_layer", "Ethernet");
    tree.file("sys/class/infiniband/mlx5_0/ports/1/state", "4: ACTIVE");
    let nics = read_network(&tree).machine.nics;
    let [eth0] = &nics[..] else { panic!("{nics:?}") };
    assert_eq!((eth0.bdf, eth0.rdma.as_ref().map(|rdma| rdma.port)), (Some(bdf("11:00.0")), Some(1)));
}

#[test]
fn a_speed_that_no_driver_means_is_told_and_one_that_it_does_not_know_is_none() {
    let told = |speed: &str| {
        let mut tree = bonded();
        tree.file("sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.1/net/ens1f1/speed", speed);
        let reading = read_network(&tree);
        let nic = reading.machine.nics.iter().find(|nic| nic.name == "ens1f1").unwrap();
        let said: Vec<String> = reading.problems.iter().map(ToString::to_string).collect();
        (nic.speed_mbps, said)
    };
    assert_eq!(told("100000"), (Some(100_000), vec![]));
    for unknown in ["-1", "0", "4294967295"] {
        assert_eq!(told(unknown), (None, vec![]), "{unknown}");
    }
    for wrong in ["-5", "4294967296", "99999999999999999999", "fast"] {
        let says = format!(
            "sys/class/net/ens1f1/speed says \"{wrong}\", which is not a speed in Mb/s, or -1 for one that is not known; \
             it is left out"
        );
        assert_eq!(told(wrong), (None, vec![says]));
    }
}
