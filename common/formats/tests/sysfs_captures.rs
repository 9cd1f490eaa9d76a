//! Saved `/sys` and `/proc` of real machines.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test is a shell, and fails by it")]

mod support;

use std::fs;

use phalanx_common::topology::machine::{AcceleratorKind, Device, Machine, PathType, PciKind, PciRoot, Rdma};
use phalanx_common::topology::{Bdf, Guid, LinkLayer};
use phalanx_formats::dir::Dir;
use phalanx_formats::kind::{Kind, recognise_folder};
use phalanx_formats::sysfs::{read_all, read_cpu, read_network, read_pci};
use support::unpacked;

fn read(archive: &str) -> Option<Machine> {
    let scratch = unpacked(&format!("hwloc-sysfs/{archive}.tar.bz2"))?;
    let folder = fs::read_dir(&scratch.path).unwrap().next().unwrap().unwrap().path();
    let tree = Dir::open(&folder).unwrap();
    assert_eq!(recognise_folder(&tree), Some(Kind::Sysfs));
    let whole = read_all(&tree);
    assert_eq!(whole.problems, []);
    // The parts are what the whole is made of.
    let parts = read_cpu(&tree).machine.merge(read_pci(&tree).machine).merge(read_network(&tree).machine);
    assert_eq!(parts, whole.machine);
    // The folder that was /sys, with that of /proc beside it.
    assert_eq!(read_all(&Dir::open(&folder.join("sys")).unwrap()), whole);
    Some(whole.machine)
}

fn bdf(text: &str) -> Bdf {
    text.parse().unwrap()
}

fn root(bus: u8) -> Option<PciRoot> {
    Some(PciRoot { domain: 0, bus })
}

#[test]
fn two_sockets_with_an_adapter_at_the_second() {
    let Some(machine) = read("32em64t-2n8c+dax+nvme+mic+dimms") else { return };
    assert_eq!(machine.architecture.as_deref(), Some("x86_64"));
    assert_eq!(machine.board.product.as_deref(), Some("DCS8000Z"));
    assert_eq!((machine.cpu.family, machine.cpu.model), (Some(6), Some(45)));
    let packages: Vec<String> = machine.packages.iter().map(|package| package.cpus.to_string()).collect();
    assert_eq!(packages, ["0-7", "8-15"]);
    assert_eq!((machine.cores.len(), machine.l3.len()), (16, 2));
    assert_eq!(machine.numa[&0].memory_bytes, Some(16_747_124 << 10));
    assert_eq!(machine.numa[&0].distances, [(0, 10), (1, 21)].into());

    // Of 137 functions those that matter, and the two bridges above them.
    assert_eq!(machine.pci.len(), 6);
    assert_eq!(machine.pci[&bdf("80:02.2")].kind, Some(PciKind::Bridge));
    let place = machine.pci[&bdf("82:00.0")].place.unwrap();
    assert_eq!((place.parent, place.root), (Some(bdf("80:02.2")), root(0x80)));
    // Its `numa_node` is -1, and the CPUs that are near are half of node 0.
    assert_eq!(machine.pci[&bdf("00:02.0")].numa, Some(0));

    let names: Vec<&str> = machine.nics.iter().map(|nic| nic.name.as_str()).collect();
    assert_eq!(names, ["eth0", "eth1", "ib0"], "and neither the bridge, the VLAN, the loop nor mic0");
    assert_eq!((machine.nics[0].up, machine.nics[0].speed_mbps), (Some(true), Some(1000)));
    assert_eq!(machine.nics[0].mac.unwrap().to_string(), "84:8f:69:fe:cc:40");
    assert_eq!((machine.nics[1].up, machine.nics[1].speed_mbps), (Some(false), None));
    let ib0 = &machine.nics[2];
    assert_eq!((ib0.layer, ib0.mac, ib0.mtu), (LinkLayer::InfiniBand, None, Some(2044)));
    assert_eq!((ib0.up, ib0.speed_mbps), (Some(true), Some(56_000)));
    let expected = Rdma {
        device: "mlx4_0".to_string(),
        port: 1,
        guid: Some(Guid(0x0002_c903_00f9_bfa1)),
        node_guid: Some(Guid(0x0002_c903_00f9_bfa0)),
        subnet: Some(Guid(0xfe80_0000_0000_0000)),
        lid: Some(0x3a4),
        sm_lid: Some(1),
    };
    assert_eq!(ib0.rdma, Some(expected));
    assert_eq!(machine.path(Device::Nic(0), Device::Nic(1)), Some(PathType::Pix));
    assert_eq!(machine.path(Device::Nic(0), Device::Nic(2)), Some(PathType::Sys));
}

#[test]
fn firmware_that_says_all_cpus_are_near_says_nothing() {
    let Some(machine) = read("40intel64-2g2n4c+pcilocality") else { return };
    assert_eq!((machine.packages.len(), machine.cores.len(), machine.l3.len()), (4, 40, 4));
    assert_eq!(machine.packages[3].cpus.to_string(), "3,7,11,15,19,23,27,31,35,39");
    assert_eq!(machine.numa[&3].cpus, machine.packages[3].cpus);
    assert_eq!(machine.memory_bytes(), (134_204_252 + 3 * 134_217_728) << 10);
    assert_eq!(machine.pci[&bdf("02:00.0")].numa, None);
    assert_eq!(machine.pci[&bdf("43:00.0")].numa, Some(2));
    let link = machine.pci[&bdf("43:00.0")].link;
    assert_eq!((link.speed, link.width, link.max_speed), (Some(8000), Some(4), None));
    // InfiniBand in the class of a serial bus, as QLogic had it.
    assert_eq!(machine.pci[&bdf("43:00.0")].class, Some(0x000c_0600));
    let rdma = machine.nics[4].rdma.as_ref().unwrap();
    assert_eq!((machine.nics[4].name.as_str(), rdma.device.as_str()), ("ib0", "qib0"));
    assert_eq!((rdma.lid, machine.nics[4].speed_mbps), (Some(0x12a), Some(40_000)));
    let path = |a, b| machine.path(Device::Nic(a), Device::Nic(b));
    assert_eq!((path(0, 1), path(0, 2), path(0, 4)), (Some(PathType::Pix), Some(PathType::Phb), None));
}

#[test]
fn a_machine_with_a_host_bridge_at_each_node() {
    let Some(machine) = read("fakepcilocalities") else { return };
    assert_eq!((machine.pci[&bdf("02:00.0")].numa, machine.pci[&bdf("43:00.0")].numa), (Some(0), Some(1)));
    assert_eq!(machine.l3, [], "the capture has none");
    assert_eq!(machine.path(Device::Nic(0), Device::Nic(4)), Some(PathType::Sys));
}

#[test]
fn aarch64_has_numbers_where_others_have_names_and_two_caches_in_one_package() {
    let Some(machine) = read("nvidia-dgx-gb10") else { return };
    assert_eq!(machine.host.as_deref(), Some("cfarm107"));
    assert_eq!(machine.architecture.as_deref(), Some("aarch64"));
    assert_eq!(machine.board.product.as_deref(), Some("NVIDIA_DGX_Spark"));
    let cpu = &machine.cpu;
    assert_eq!(
        (cpu.vendor.as_deref(), cpu.name.as_deref()),
        (Some("ARM"), Some("Cortex-A725 + Cortex-X925"))
    );
    assert_eq!(cpu.model, Some(0xd87));
    assert_eq!((machine.packages[0].id, machine.packages[0].cpus.len()), (36, 20));
    assert_eq!(machine.l3.iter().map(ToString::to_string).collect::<Vec<_>>(), ["0-9", "10-19"]);
    assert_eq!(machine.cores.len(), 20);
    assert_eq!(machine.numa[&0].memory_bytes, Some(125_508_468 << 10));
    assert!(machine.pci.is_empty() && machine.nics.is_empty() && machine.accelerators.is_empty());
}

#[test]
fn power9_has_the_memory_of_its_gpus_as_nodes_and_folders_where_links_should_be() {
    let Some(machine) = read("nvidiagpunumanodes") else { return };
    assert_eq!(machine.architecture.as_deref(), Some("ppc64le"));
    let packages: Vec<(u32, String)> =
        machine.packages.iter().map(|package| (package.id, package.cpus.to_string())).collect();
    assert_eq!(packages, [(0, "0-15".to_string()), (8, "88-103".to_string())]);
    assert_eq!((machine.cores.len(), machine.cores[0].to_string()), (8, "0-3".to_string()));
    let caches: Vec<String> = machine.l3.iter().map(ToString::to_string).collect();
    assert_eq!(caches, ["0-7", "8-15", "88-95", "96-103"], "in masks alone");

    let nodes: Vec<u32> = machine.numa.keys().copied().collect();
    assert_eq!(nodes, [0, 8, 250, 251, 252, 253, 254, 255]);
    // The list of the capture has CPUs that are not there.
    assert_eq!((machine.numa[&0].cpus.to_string(), machine.numa[&255].cpus.len()), ("0-15".into(), 0));
    assert_eq!(machine.numa[&250].memory_bytes, Some(15_728_640 << 10));
    assert_eq!((machine.numa[&8].distances[&0], machine.numa[&8].distances[&255]), (40, 80));

    // 0 and 8 are the host's.
    let host: u64 = [0, 8].iter().filter_map(|node| machine.numa[node].memory_bytes).sum();
    assert_eq!((machine.memory_bytes(), machine.host_nodes().count()), (host, 2));

    assert_eq!(machine.pci[&bdf("0004:05:00.0")].place, None, "nobody knows");
    let gpus: Vec<(String, Option<u32>, Option<u32>)> = (0u32..)
        .zip(&machine.accelerators)
        .map(|(row, gpu)| {
            assert_eq!((gpu.kind, gpu.memory_bytes), (AcceleratorKind::Nvidia, Some(0x3_f000_0000)));
            (gpu.bdf.unwrap().to_string(), gpu.own_node, machine.numa_of(Device::Accelerator(row)))
        })
        .collect();
    let expected = [
        ("0004:05:00.0", 255, 0),
        ("0004:06:00.0", 254, 0),
        ("0006:00:00.0", 253, 0),
        ("0007:00:00.0", 252, 8),
        ("0035:04:00.0", 251, 8),
        ("0035:05:00.0", 250, 8),
    ];
    assert_eq!(gpus, expected.map(|(bdf, own, near)| (bdf.to_string(), Some(own), Some(near))));
}

#[test]
fn this_machine_is_what_its_kernel_says() {
    let tree = Dir::live();
    let live = read_all(&tree).machine;
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    assert_eq!(live.cpus().to_string(), read("/sys/devices/system/cpu/online").trim());
    assert_eq!(live.host.as_deref().unwrap_or_default(), read("/proc/sys/kernel/hostname").trim());
    assert_eq!(read_all(&Dir::open("/".as_ref()).unwrap()).machine.cpus(), live.cpus());
    assert_eq!(read_all(&Dir::open("/sys".as_ref()).unwrap()).machine.pci, live.pci);
}
