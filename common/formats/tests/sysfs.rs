//! Machines as Linux shows them: small trees of what no recording has.

mod support;

use phalanx_common::topology::LinkLayer;
use phalanx_common::topology::machine::{AcceleratorKind, LinkKind, Machine, Peer};
use phalanx_formats::sysfs;
use support::files::Files;

fn read(files: &Files) -> Machine {
    sysfs::read_all(files).machine
}

/// Four NUMA nodes of two CPUs, whose firmware gives no package a number, as servers with Kunpeng have it.
#[test]
fn packages_without_numbers_are_counted_on_a_kunpeng() {
    let mut text =
        "proc/cpuinfo = processor\\t: 0\\nCPU implementer\\t: 0x48\\nCPU part\\t: 0xd01\n".to_owned();
    text += "proc/sys/kernel/hostname = kp1\nsys/devices/system/cpu/online = 0-7\n";
    for cpu in 0..8 {
        let folder = format!("sys/devices/system/cpu/cpu{cpu}");
        let package = if cpu < 4 { "0-3" } else { "4-7" };
        text += &format!("{folder}/topology/physical_package_id = -1\n");
        text += &format!("{folder}/topology/package_cpus_list = {package}\n");
        text += &format!("{folder}/topology/core_cpus_list = {cpu}\n");
        text += &format!("{folder}/cache/index0/level = 1\n{folder}/cache/index0/shared_cpu_list = {cpu}\n");
        text +=
            &format!("{folder}/cache/index3/level = 3\n{folder}/cache/index3/shared_cpu_list = {package}\n");
    }
    for node in 0..4 {
        let folder = format!("sys/devices/system/node/node{node}");
        text +=
            &format!("{folder}/cpulist = {}-{}\n{folder}/distance = 10 12 20 22\n", node * 2, node * 2 + 1);
        text +=
            &format!("{folder}/meminfo = Node {node} MemTotal:       1024 kB\\nNode {node} MemFree: 1 kB\n");
    }
    let machine = read(&Files::of(&text));
    assert_eq!(machine.host.as_deref(), Some("kp1"));
    assert_eq!(machine.cpu.vendor.as_deref(), Some("HiSilicon"));
    let packages: Vec<(u32, String)> =
        machine.packages.iter().map(|package| (package.id, package.cpus.to_string())).collect();
    assert_eq!(packages, [(0, "0-3".to_owned()), (1, "4-7".to_owned())]);
    assert_eq!((machine.numa.len(), machine.l3.len(), machine.cores.len()), (4, 2, 8));
    assert_eq!((machine.numa[&3].cpus.to_string(), machine.memory_bytes()), ("6-7".to_owned(), 4 << 20));
}

fn pci(address: &str, parents: &str, class: &str, vendor: &str) -> String {
    let folder = format!("sys/devices/pci0000:10/{parents}{address}");
    format!(
        "sys/bus/pci/devices/{address} -> {folder}\n{folder}/class = {class}\n{folder}/vendor = {vendor}\n\
         {folder}/device = 0x1017\n{folder}/numa_node = -1\n{folder}/current_link_speed = 16.0 GT/s PCIe\n\
         {folder}/current_link_width = 16\n"
    )
}

#[test]
fn bonds_virtual_functions_and_ethernet_with_rdma_are_told_apart() {
    let port = "0000:10:01.0/";
    let text = pci("0000:10:01.0", "", "0x060400", "0x8086")
        + &pci("0000:11:00.0", port, "0x020000", "0x15b3")
        + &pci("0000:11:00.1", port, "0x020000", "0x15b3")
        + &pci("0000:11:00.2", port, "0x020000", "0x15b3")
        + &pci("0000:10:02.0", "", "0x060400", "0x8086")
        + "
        sys/devices/pci0000:10/0000:10:01.0/0000:11:00.2/physfn -> sys/bus/pci/devices/0000:11:00.0
        sys/class/net/eth0/device -> sys/bus/pci/devices/0000:11:00.0
        sys/class/net/eth0/type = 1
        sys/class/net/eth0/address = 0c:42:a1:00:00:01
        sys/class/net/eth0/carrier = 1
        sys/class/net/eth0/speed = 200000
        sys/class/net/eth0/master -> sys/class/net/bond0
        sys/class/net/eth1/device -> sys/bus/pci/devices/0000:11:00.1
        sys/class/net/eth1/type = 1
        sys/class/net/eth1/operstate = down
        sys/class/net/eth1/speed = -1
        sys/class/net/eth1/master -> sys/class/net/br0
        sys/class/net/eth0v0/device -> sys/bus/pci/devices/0000:11:00.2
        sys/class/net/eth0v0/type = 1
        sys/class/net/bond0/type = 1
        sys/class/net/bond0/bonding/mode = 802.3ad 4
        sys/class/net/br0/type = 1
        sys/class/net/br0/bridge/stp_state = 0
        sys/class/infiniband/mlx5_0/device -> sys/bus/pci/devices/0000:11:00.0
        sys/class/infiniband/mlx5_0/node_guid = 0c42:a103:0000:0001
        sys/class/infiniband/mlx5_0/ports/1/link_layer = Ethernet
        sys/class/infiniband/mlx5_0/ports/1/state = 4: ACTIVE
        sys/class/infiniband/mlx5_0/ports/1/rate = 200 Gb/sec (4X HDR)
        sys/class/infiniband/mlx5_0/ports/1/gids/0 = fe80:0000:0000:0000:0e42:a1ff:fe00:0001
        sys/class/infiniband/mlx5_0/ports/1/gid_attrs/ndevs/0 = eth0";
    let machine = read(&Files::of(&text));
    let nics: Vec<(&str, Option<&str>, bool)> = machine
        .nics
        .iter()
        .map(|nic| (nic.name.as_str(), nic.bond.as_deref(), machine.is_virtual(nic)))
        .collect();
    assert_eq!(
        nics,
        [
            ("eth0", Some("bond0"), false),
            ("eth1", None, false),
            ("eth0v0", None, true),
            ("bond0", None, false)
        ]
    );
    let rdma = machine.nics[0].rdma.as_ref().unwrap();
    assert_eq!((rdma.device.as_str(), rdma.guid, rdma.lid), ("mlx5_0", None, None));
    assert_eq!(machine.nics[0].layer, LinkLayer::Ethernet);
    assert_eq!((machine.nics[1].up, machine.nics[1].speed_mbps), (Some(false), None));
    assert_eq!(machine.ports().len(), 2);
    let link = machine.pci[&"11:00.0".parse().unwrap()].link;
    assert_eq!((link.speed, link.width, link.mb_per_s()), (Some(16_000), Some(16), Some(31_507)));
    assert!(!machine.pci.contains_key(&"10:02.0".parse().unwrap()), "a bridge above nothing");
}

#[test]
fn gpus_of_amd_know_their_neighbours_over_xgmi() {
    let mut text = String::new();
    let folder = "sys/class/kfd/kfd/topology/nodes";
    text += &format!("{folder}/0/gpu_id = 0\n{folder}/0/properties = cpu_cores_count 64\n");
    for (node, bus) in [(1, 0x1e), (2, 0x24)] {
        text += &format!("{folder}/{node}/gpu_id = {}\n", 40_000 + node);
        text += &format!(
            "{folder}/{node}/properties = simd_count 416\\nlocation_id {}\\ndomain 0\\nhive_id 77\\nunique_id 9\n",
            bus << 8
        );
        text +=
            &format!("{folder}/{node}/mem_banks/0/properties = heap_type 1\\nsize_in_bytes 68702699520\n");
        text +=
            &format!("{folder}/{node}/io_links/0/properties = type 2\\nnode_to 0\\nmax_bandwidth 64000\n");
        text += &format!(
            "{folder}/{node}/io_links/1/properties = type 11\\nnode_to {}\\nmax_bandwidth 50000\n",
            3 - node
        );
    }
    let machine = read(&Files::of(&text));
    let [first, second] = &machine.accelerators[..] else { panic!("{:?}", machine.accelerators) };
    assert_eq!((first.kind, first.hive), (AcceleratorKind::Amd, Some(77)));
    assert_eq!(first.uuid.as_deref(), Some("GPU-0000000000000009"));
    assert_eq!(first.bdf.unwrap().to_string(), "0000:1e:00.0");
    let [link] = &first.links[..] else { panic!("{:?}", first.links) };
    assert_eq!((link.kind, link.mb_per_s), (LinkKind::Xgmi, Some(50_000)));
    assert_eq!(link.peer, Peer::Accelerator(second.bdf.unwrap()));
}

#[test]
fn limits_are_the_lowest_of_the_groups_above() {
    let machine = "sys/devices/system/cpu/online = 0-7\nsys/devices/system/node/node0/cpulist = 0-7\n\
        sys/devices/system/node/node0/meminfo = Node 0 MemTotal: 1024 kB\n";
    let v2 = Files::of(&format!(
        "{machine}proc/self/status = Name:\\tx\\nCpus_allowed_list:\\t0-3\\nMems_allowed_list:\\t0\n\
         proc/self/cgroup = 0::/a/b\n\
         sys/fs/cgroup/a/b/memory.max = max\n\
         sys/fs/cgroup/a/memory.max = 4096",
    ));
    let allowed = read(&v2).allowed;
    assert_eq!((allowed.cpus.unwrap().to_string(), allowed.memory_bytes), ("0-3".to_owned(), Some(4096)));
    let v1 = Files::of(&format!(
        "{machine}proc/self/cgroup = 4:cpu,cpuacct:/\\n3:memory:/job\n\
         sys/fs/cgroup/memory/job/memory.limit_in_bytes = 8192\n\
         sys/fs/cgroup/memory/memory.limit_in_bytes = 9223372036854771712",
    ));
    assert_eq!(read(&v1).allowed.memory_bytes, Some(8192));
    let none = Files::of(&format!("{machine}proc/self/cgroup = 0::/\nsys/fs/cgroup/memory.max = max"));
    assert_eq!(read(&none).allowed.memory_bytes, None);
}

/// Every file of a small machine in turn is nonsense, empty, or huge.
#[test]
fn nonsense_in_any_file_is_survived() {
    let text = pci("0000:11:00.0", "0000:10:01.0/", "0x020000", "0x15b3")
        + "sys/devices/system/cpu/online = 0-1
        sys/devices/system/cpu/cpu0/topology/physical_package_id = 0
        sys/devices/system/cpu/cpu0/topology/package_cpus_list = 0-1
        sys/devices/system/cpu/cpu0/cache/index3/level = 3
        sys/devices/system/cpu/cpu0/cache/index3/shared_cpu_map = 3
        sys/devices/system/node/node0/cpulist = 0-1
        sys/devices/system/node/node0/distance = 10
        sys/devices/system/node/node0/meminfo = Node 0 MemTotal: 1 kB
        proc/cpuinfo = vendor_id : x
        proc/self/cgroup = 0::/a
        proc/driver/nvidia/gpus/0000:11:00.0/numa_status = Node: 1
        sys/class/net/eth0/device -> sys/bus/pci/devices/0000:11:00.0
        sys/class/net/eth0/type = 1
        sys/class/net/eth0/speed = 10
        sys/class/infiniband/mlx5_0/ports/1/rate = 10 Gb/sec
        sys/class/infiniband/mlx5_0/ports/1/gids/0 = fe80::
        sys/class/kfd/kfd/topology/nodes/1/gpu_id = 5
        sys/class/kfd/kfd/topology/nodes/1/properties = location_id 1";
    let lines: Vec<&str> = text.lines().collect();
    let huge = "9".repeat(5_000);
    for (at, line) in lines.iter().enumerate() {
        let Some((path, _)) = line.split_once(" = ") else { continue };
        for content in ["", "-1", "\u{fffd}\u{0}é", "0-4294967295", "16.é GT/s", huge.as_str()] {
            let changed = format!("{path} = {content}");
            let mut all = lines.clone();
            all[at] = &changed;
            read(&Files::of(&all.join("\n")));
        }
    }
}
