//! PCI devices, GPUs and NPUs.

use phalanx_common::topology::Bdf;
use phalanx_common::topology::machine::{
    AcceleratorKind, Attachment, Device, LinkKind, Machine, PathType, PciKind, Peer,
};
use phalanx_formats::sysfs::read_all;

use crate::tree::{BRIDGE, Written};

pub(crate) fn bdf(text: &str) -> Bdf {
    text.parse().unwrap()
}

pub(crate) fn machine(tree: &Written) -> Machine {
    let reading = read_all(tree);
    assert_eq!(reading.problems, []);
    reading.machine
}

/// Two GPUs of an Instinct machine on one link of XGMI of two lanes, one more on PCIe alone, and two CPUs.
pub(crate) fn instinct() -> Written {
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
    // A driver that says the memory of the third in banks alone, one of which is not its own.
    tree.files.retain(|path, _| !path.ends_with("c9:00.0/mem_info_vram_total"));
    for (bank, heap, bytes) in [(0, 1, 1_u64 << 28), (1, 2, 7 << 28), (2, 0, 1 << 40)] {
        let text = format!("heap_type {heap}\nsize_in_bytes {bytes}\nflags 0\nwidth 4096");
        tree.file(&format!("{nodes}/4/mem_banks/{bank}/properties"), text);
    }
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
    assert_eq!(machine.accelerators[2].memory_bytes, Some(8 << 28));
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

#[test]
fn numbers_of_devices_that_are_out_of_range_are_left_out_and_told() {
    let mut tree = instinct();
    let first = "sys/bus/pci/devices/0000:c1:00.0";
    let folder = "sys/devices/pci0000:c0/0000:c0:01.0/0000:c1:00.0";
    for (file, text) in [("numa_node", "-5"), ("device", "0x1740f"), ("current_link_width", "300")] {
        tree.file(&format!("{folder}/{file}"), text);
    }
    let kfd = "sys/class/kfd/kfd/topology/nodes";
    let nodes = "sys/devices/virtual/kfd/kfd/topology/nodes";
    tree.file(&format!("{nodes}/3/properties"), "location_id 50432\ndomain 4294967296\nhive_id 77").file(
        &format!("{nodes}/4/mem_banks/0/properties"),
        "heap_type 1\nsize_in_bytes 18446744073709551616",
    );
    let reading = read_all(&tree);
    let said: Vec<String> = reading.problems.iter().map(ToString::to_string).collect();
    let left_out = |path: &str, text: &str, expected: &str| {
        format!("{path} says \"{text}\", which is not {expected}; it is left out")
    };
    assert_eq!(
        said,
        [
            left_out(&format!("{first}/device"), "0x1740f", "a hexadecimal number such as 0x10de"),
            left_out(&format!("{first}/numa_node"), "-5", "a number, or -1 for one that is not known"),
            left_out(&format!("{first}/current_link_width"), "300", "a number"),
            left_out(&format!("{kfd}/3/properties"), "domain 4294967296", "a domain of PCI"),
            left_out(
                &format!("{kfd}/4/mem_banks/0/properties"),
                "size_in_bytes 18446744073709551616",
                "a key and a number of up to 64 bits"
            ),
        ]
    );
    // One without an address is a GPU at an unknown place, counted where it was, with the links of its neighbours.
    let gpus = reading.machine.accelerators.iter();
    let gpus: Vec<_> = gpus.map(|gpu| (gpu.bdf.map(|bdf| bdf.bus), gpu.index)).collect();
    assert_eq!(gpus, [(Some(0xc1), Some(0)), (Some(0xc9), Some(2)), (None, Some(1))]);
    assert!(reading.machine.accelerators[0].links.iter().any(|link| link.peer == Peer::Numbered(1)));
    assert_eq!(reading.machine.accelerators[2].hive, Some(77));
    assert_eq!(reading.machine.accelerators[1].memory_bytes, Some(7 << 28), "of the bank that says it");
}

#[test]
fn an_address_that_is_no_number_is_unknown_and_not_another_gpus() {
    for strange in ["domain -1\nlocation_id 49408", "domain 0\nlocation_id x"] {
        let mut tree = instinct();
        let nodes = "sys/devices/virtual/kfd/kfd/topology/nodes";
        tree.file(&format!("{nodes}/4/properties"), strange);
        let gpus = read_all(&tree).machine.accelerators;
        let gpus: Vec<_> = gpus.iter().map(|gpu| (gpu.bdf.map(|bdf| bdf.bus), gpu.index)).collect();
        assert_eq!(gpus, [(Some(0xc1), Some(0)), (Some(0xc5), Some(1)), (None, Some(2))], "{strange}");
    }
    // Domains of hypervisors have more than 16 bits.
    let mut tree = instinct();
    let properties = "location_id 51456\ndomain 65536";
    tree.file("sys/devices/virtual/kfd/kfd/topology/nodes/4/properties", properties);
    assert_eq!(machine(&tree).accelerators[2].bdf, Some(bdf("10000:c9:00.0")));
}
