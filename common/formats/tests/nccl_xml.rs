//! Topology files of NCCL and RCCL. The figures were counted in the files by other means.

#![allow(clippy::unwrap_used, reason = "in a test that is how it fails")]

mod support;

use std::collections::BTreeMap;

use phalanx_common::topology::machine::{
    Accelerator, AcceleratorKind, Attachment, Device, LinkKind, Machine, Nic, PathType, PciDevice, PciKind,
    PciLink, PciPlace, Peer, Rdma,
};
use phalanx_common::topology::{Bdf, LinkLayer};
use phalanx_formats::kind::{Kind, recognise};
use phalanx_formats::nccl_xml::{self, Error, Topology};
use proptest::prelude::*;
use support::capture;

/// Of each file: NUMA nodes, CPUs, PCI devices (functions of adapters apart), switches, GPUs, links less those of a
/// GPU to itself, ports, and their speeds in Gb/s.
const FILES: [(&str, [usize; 8]); 33] = [
    ("azure/ncv4-topo", [4, 96, 4, 0, 4, 0, 1, 100]),
    ("azure/ndv2-topo", [2, 40, 9, 0, 8, 0, 0, 0]),
    ("azure/ndv4-topo", [4, 96, 20, 4, 8, 0, 0, 0]),
    ("azure/ndv5-topo", [2, 96, 24, 8, 8, 0, 0, 0]),
    ("rccl/topo_16p1h", [4, 256, 52, 28, 16, 112, 8, 1600]),
    ("rccl/topo_3p_pcie", [2, 64, 7, 3, 3, 0, 1, 200]),
    ("rccl/topo_4p1h", [1, 28, 10, 5, 4, 8, 1, 100]),
    ("rccl/topo_4p2h", [1, 28, 19, 10, 8, 16, 1, 100]),
    ("rccl/topo_4p2h_2nic", [1, 28, 20, 10, 8, 16, 2, 200]),
    ("rccl/topo_4p3l_2h", [4, 128, 17, 8, 8, 24, 1, 200]),
    ("rccl/topo_4p3l_n2", [4, 128, 17, 8, 8, 24, 1, 200]),
    ("rccl/topo_4p3l_n4", [7, 112, 17, 8, 8, 24, 1, 200]),
    // The speed that Slingshot's plugin says is none.
    ("rccl/topo_4p_940", [4, 192, 8, 0, 4, 12, 4, 0]),
    ("rccl/topo_8p1h_1", [2, 96, 29, 18, 8, 52, 4, 800]),
    ("rccl/topo_8p1h_3", [4, 128, 12, 0, 8, 52, 4, 800]),
    ("rccl/topo_8p1h_5", [2, 256, 38, 22, 8, 52, 8, 1600]),
    ("rccl/topo_8p6l", [2, 96, 17, 8, 8, 48, 1, 200]),
    ("rccl/topo_8p6l_2nic", [2, 96, 18, 8, 8, 48, 2, 400]),
    ("rccl/topo_8p6l_4nic", [2, 96, 20, 8, 8, 48, 4, 800]),
    ("rccl/topo_8p6l_6nic", [2, 96, 22, 8, 8, 48, 6, 1200]),
    ("rccl/topo_8p_90a", [1, 128, 10, 1, 8, 24, 1, 1]),
    ("rccl/topo_8p_940", [2, 224, 40, 24, 8, 56, 8, 3200]),
    ("rccl/topo_8p_pcie", [1, 16, 19, 10, 8, 0, 1, 100]),
    ("rccl/topo_8p_pcie_2nic", [1, 16, 20, 10, 8, 0, 2, 200]),
    ("rccl/topo_8p_rome_4n_1", [4, 64, 32, 20, 8, 24, 4, 800]),
    ("rccl/topo_8p_rome_4nics", [4, 256, 32, 20, 8, 24, 4, 800]),
    ("rccl/topo_8p_rome_n2_1", [4, 128, 18, 8, 8, 16, 2, 201]),
    ("rccl/topo_8p_rome_n4", [7, 112, 17, 8, 8, 16, 1, 200]),
    ("rccl/topo_8p_rome_pcie", [2, 128, 18, 8, 8, 0, 2, 200]),
    ("rccl/topo_8p_ts1", [4, 128, 18, 8, 8, 16, 2, 400]),
    ("rccl/topo_8p_ts1_n4", [8, 128, 18, 8, 8, 16, 2, 400]),
    ("rccl/topo_8p_ts1_n4_2", [8, 128, 19, 8, 8, 16, 3, 500]),
    ("rccl/topo_collnet_n4", [4, 256, 32, 20, 8, 24, 4, 800]),
];

fn file(name: &str) -> Option<Topology> {
    let bytes = capture(&format!("nccl-xml/{name}.xml"))?;
    assert_eq!(recognise(&bytes), Some(Kind::NcclTopology), "{name}");
    Some(nccl_xml::read(&bytes).unwrap())
}

fn bdf(text: &str) -> Bdf {
    text.parse().unwrap()
}

#[test]
fn every_file_has_the_devices_links_and_ports_that_stand_in_it() {
    for (name, expected) in FILES {
        let Some(Topology { machine, rails }) = file(name) else { return };
        let switches = machine.pci.values().filter(|device| device.kind == Some(PciKind::Switch)).count();
        let links =
            machine.accelerators.iter().flat_map(|gpu| &gpu.links).map(|link| link.lanes as usize).sum();
        let speeds: u32 = machine.nics.iter().filter_map(|nic| nic.speed_mbps).sum();
        let found = [
            machine.numa.len(),
            machine.cpus().len(),
            machine.pci.len(),
            switches,
            machine.accelerators.len(),
            links,
            machine.nics.len(),
            speeds as usize / 1000,
        ];
        assert_eq!((found, rails.len()), (expected, 0), "{name}");
        let kind = if name.starts_with("rccl") { AcceleratorKind::Amd } else { AcceleratorKind::Nvidia };
        assert!(machine.accelerators.iter().all(|gpu| gpu.kind == kind), "{name}");
        assert_eq!(machine.architecture.as_deref(), Some("x86_64"), "{name}");
        let to_accelerators = machine.accelerators.iter().flat_map(|gpu| &gpu.links);
        assert!(to_accelerators.into_iter().all(|link| {
            let Peer::Accelerator(peer) = link.peer else { panic!("{name}") };
            machine.accelerators.iter().any(|gpu| gpu.bdf == Some(peer)) && link.kind == LinkKind::Xgmi
        }));
    }
}

#[test]
fn what_was_read_is_written_and_read_again_the_same() {
    for (name, _) in FILES {
        let Some(Topology { machine, .. }) = file(name) else { return };
        let rails: BTreeMap<String, u16> =
            machine.nics.iter().map(|nic| nic.name.clone()).zip([0, 3, 1, 7, 2, 4, 5, 6]).collect();
        let text = nccl_xml::write(&machine, &rails);
        let again = nccl_xml::read(text.as_bytes()).unwrap();
        assert_eq!(again.rails, rails, "{name}");
        assert_eq!(again.machine, machine, "{name}\n{text}");
        assert_eq!(nccl_xml::write(&again.machine, &again.rails), text, "{name}");
    }
}

#[test]
fn a_search_graph_is_refused_and_said_to_be_one() {
    let Some(bytes) = capture("nccl-xml/azure/ncv4-graph.xml") else { return };
    let error = nccl_xml::read(&bytes).unwrap_err();
    assert!(matches!(error, Error::SearchGraph));
    assert!(error.to_string().contains("NCCL_TOPO_DUMP_FILE"), "{error}");
}

#[test]
fn virtual_switches_of_azure_tell_which_adapter_is_nearest_to_a_gpu() {
    let Some(Topology { machine, .. }) = file("azure/ndv4-topo") else { return };
    let first = machine.accelerators[0].bdf.unwrap();
    assert_eq!(first.to_string(), "0001:00:00.0");
    assert_eq!(machine.pci[&first].place.unwrap().parent, Some(bdf("ffff:ff:02.0")));
    let path = |adapter| machine.path_of(first, bdf(adapter));
    assert_eq!(path("0101:00:00.0"), Some(PathType::Pix));
    assert_eq!(path("0103:00:00.0"), Some(PathType::Sys));
    let infiniband = machine.pci.values().filter(|device| device.kind == Some(PciKind::Network)).count();
    assert_eq!((infiniband, machine.nics.len()), (8, 0), "adapters whose ports nobody named");
    assert_eq!(machine.numa[&1].cpus.to_string(), "24-47");
    assert_eq!((machine.cpu.family, machine.cpu.model), (Some(23), Some(49)));
    let Some(Topology { machine, .. }) = file("azure/ndv5-topo") else { return };
    assert_eq!(machine.pci[&bdf("ffff:ff:01.0")].vendor, None);
    assert_eq!(machine.pci[&bdf("0001:00:00.0")].link.mb_per_s(), Some(63015));
}

#[test]
fn links_to_the_gpu_itself_and_empty_speeds_say_nothing() {
    let Some(Topology { machine, .. }) = file("azure/ncv4-topo") else { return };
    assert!(machine.accelerators.iter().all(|gpu| gpu.links.is_empty()));
    let device = &machine.pci[&bdf("0001:00:00.0")];
    assert_eq!((device.link, device.device), (PciLink::default(), Some(0x20b5)));
    // Written 175 by NCCL of that time; it is a Milan.
    assert_eq!((machine.cpu.family, machine.cpu.model), (Some(25), Some(1)));
    let [eth0] = &machine.nics[..] else { panic!() };
    assert_eq!(
        (eth0.name.as_str(), eth0.bdf, eth0.speed_mbps, &eth0.rdma),
        ("eth0", None, Some(100_000), &None)
    );
}

#[test]
fn a_machine_of_instincts_has_its_links_and_its_nearest_ports() {
    let Some(Topology { machine, .. }) = file("rccl/topo_8p_940") else { return };
    let gpu = &machine.accelerators[0];
    assert_eq!((gpu.bdf, gpu.index, gpu.links.len()), (Some(bdf("0c:00.0")), Some(0), 7));
    assert!(gpu.links.iter().all(|link| link.lanes == 1 && link.mb_per_s.is_none()));
    let near: Vec<(u32, PathType)> = (0..8).map(|row| machine.nics_near(row)[0]).collect();
    assert_eq!(near, (0..8).map(|row| (row, PathType::Pxb)).collect::<Vec<_>>());
    let nic = &machine.nics[0];
    assert_eq!(
        (nic.name.as_str(), nic.layer, nic.bdf),
        ("mlx5_0/1", LinkLayer::InfiniBand, Some(bdf("07:00.0")))
    );
    let rdma = nic.rdma.as_ref().unwrap();
    assert_eq!((rdma.device.as_str(), rdma.port, nic.speed_mbps), ("mlx5_0", 1, Some(400_000)));
}

#[test]
fn functions_of_an_adapter_are_taken_apart_as_ports_of_their_own() {
    let Some(Topology { machine, .. }) = file("rccl/topo_8p_rome_pcie") else { return };
    let ports: Vec<_> =
        machine.nics.iter().map(|nic| (nic.name.as_str(), nic.bdf.unwrap().to_string())).collect();
    assert_eq!(ports, [("mlx5_0/1", "0000:a1:00.0".into()), ("mlx5_1/1", "0000:a1:00.1".into())]);
    assert_eq!(machine.pci[&bdf("a1:00.0")], machine.pci[&bdf("a1:00.1")]);
}

#[test]
fn an_adapter_with_the_address_of_its_switch_is_still_a_port() {
    let Some(Topology { machine, .. }) = file("rccl/topo_8p1h_1") else { return };
    let nic = machine.nics.iter().find(|nic| nic.name == "mlx5_7/1").unwrap();
    assert_eq!((nic.bdf, nic.layer), (Some(bdf("a1:00.0")), LinkLayer::InfiniBand));
    assert_eq!(machine.pci[&bdf("a1:00.0")].kind, Some(PciKind::Switch));
}

/// A machine as sysfs shows it: two switches of several ports, a GPU and an adapter of two functions below the
/// first, a GPU below the second, a storage adapter at a root port of the other node.
fn machine() -> Machine {
    let mut machine = Machine { architecture: Some("aarch64".into()), ..Machine::default() };
    for (address, parent, numa, kind, class) in [
        ("00:01.0", "", 0, PciKind::Bridge, 0x06_0400),
        ("01:00.0", "00:01.0", 0, PciKind::Bridge, 0x06_0400),
        ("02:00.0", "01:00.0", 0, PciKind::Bridge, 0x06_0400),
        ("02:01.0", "01:00.0", 0, PciKind::Bridge, 0x06_0400),
        ("02:02.0", "01:00.0", 0, PciKind::Bridge, 0x06_0400),
        ("03:00.0", "02:00.0", 0, PciKind::Gpu, 0x03_0200),
        ("04:00.0", "02:01.0", 0, PciKind::Network, 0x02_0700),
        ("04:00.1", "02:01.0", 0, PciKind::Network, 0x02_0700),
        ("04:00.2", "02:01.0", 0, PciKind::Network, 0x02_0700),
        ("05:00.0", "02:02.0", 0, PciKind::Bridge, 0x06_0400),
        ("06:00.0", "05:00.0", 0, PciKind::Bridge, 0x06_0400),
        ("07:00.0", "06:00.0", 0, PciKind::Gpu, 0x03_0200),
        ("40:01.0", "", 1, PciKind::Bridge, 0x06_0400),
        ("41:00.0", "40:01.0", 1, PciKind::Network, 0x02_0000),
        ("42:00.0", "40:01.0", 1, PciKind::Nvme, 0x01_0802),
        ("40:02.0", "", 1, PciKind::Gpu, 0x03_0000),
    ] {
        let parent = (!parent.is_empty()).then(|| bdf(parent));
        let place = Some(PciPlace { parent, root: None });
        let link = PciLink { speed: Some(2_500), width: Some(4), ..PciLink::default() };
        let (kind, class, numa) = (Some(kind), Some(class), Some(numa));
        machine
            .pci
            .insert(bdf(address), PciDevice { kind, class, numa, place, link, ..PciDevice::default() });
    }
    machine.pci.get_mut(&bdf("04:00.2")).unwrap().function_of = Some(bdf("04:00.0"));
    machine.numa.entry(0).or_default().cpus = "0-31".parse().unwrap();
    machine.numa.entry(1).or_default().cpus = "32-71".parse().unwrap();
    let link = |peer, lanes, mb_per_s| Attachment { peer, kind: LinkKind::NvLink, lanes, mb_per_s };
    for (address, index, peer) in [("03:00.0", 0, "07:00.0"), ("07:00.0", 1, "03:00.0")] {
        machine.accelerators.push(Accelerator {
            bdf: Some(bdf(address)),
            index: Some(index),
            links: vec![
                link(Peer::Accelerator(bdf(peer)), 4, None),
                link(Peer::Switch(Some(bdf("c5:00.0"))), 2, None),
                link(Peer::Cpu(Some(0)), 10, Some(400_000)),
            ],
            ..Accelerator::new(AcceleratorKind::Nvidia)
        });
    }
    let rdma = |device: &str| {
        let device = device.to_string();
        Some(Rdma { device, port: 1, guid: None, node_guid: None, subnet: None, lid: None, sm_lid: None })
    };
    for (name, at, device) in
        [("ib0", "04:00.0", "mlx5_0"), ("ib1", "04:00.1", "mlx5_1"), ("ib2", "04:00.2", "mlx5_2")]
    {
        let bdf = Some(bdf(at));
        machine.nics.push(Nic { bdf, rdma: rdma(device), ..Nic::new(name, LinkLayer::InfiniBand) });
    }
    machine.nics.push(Nic { bdf: Some(bdf("41:00.0")), ..Nic::new("eno1<&\">\u{1b}", LinkLayer::Ethernet) });
    machine.nics.push(Nic::new("bond0", LinkLayer::Ethernet));
    machine
}

#[test]
fn a_machine_of_sysfs_is_written_as_nccl_would() {
    let rails = BTreeMap::from([("ib0".to_string(), 3), ("ib1".to_string(), 4), ("bond0".to_string(), 9)]);
    let text = nccl_xml::write(&machine(), &rails);
    let expected = r#"<system version="1">
  <cpu numaid="0" affinity="ffffffff" arch="arm64">
    <pci busid="0000:01:00.0" class="0x060400" link_speed="2.5 GT/s PCIe" link_width="4">
      <pci busid="0000:03:00.0" class="0x030200" link_speed="2.5 GT/s PCIe" link_width="4">
        <gpu dev="0">
          <nvlink target="0000:07:00.0" count="4" tclass="0x030200"/>
          <nvlink target="0000:c5:00.0" count="2" tclass="0x068000"/>
          <c2c bw="40000" count="10"/>
        </gpu>
      </pci>
      <pci busid="0000:04:00.0" class="0x020700" link_speed="2.5 GT/s PCIe" link_width="4">
        <nic>
          <net name="mlx5_0" port="1" rail="3"/>
          <net name="mlx5_1" port="2" rail="4"/>
        </nic>
      </pci>
      <pci busid="0000:05:00.0" class="0x060400" link_speed="2.5 GT/s PCIe" link_width="4">
        <pci busid="0000:07:00.0" class="0x030200" link_speed="2.5 GT/s PCIe" link_width="4">
          <gpu dev="1">
            <nvlink target="0000:03:00.0" count="4" tclass="0x030200"/>
            <nvlink target="0000:c5:00.0" count="2" tclass="0x068000"/>
            <c2c bw="40000" count="10"/>
          </gpu>
        </pci>
      </pci>
    </pci>
    <nic>
      <net name="bond0" rail="9"/>
    </nic>
  </cpu>
  <cpu numaid="1" affinity="000000ff,ffffffff,00000000" arch="arm64">
    <pci busid="0000:41:00.0" class="0x020000" link_speed="2.5 GT/s PCIe" link_width="4">
      <nic>
        <net name="eno1&lt;&amp;&quot;&gt;"/>
      </nic>
    </pci>
  </cpu>
</system>
"#;
    assert_eq!(text, expected);
}

#[test]
fn paths_and_links_survive_the_file() {
    let (before, after) =
        (machine(), nccl_xml::read(nccl_xml::write(&machine(), &BTreeMap::new()).as_bytes()).unwrap());
    assert_eq!(after.machine.architecture, before.architecture);
    assert_eq!(after.machine.accelerators, before.accelerators);
    let names: Vec<&str> = after.machine.nics.iter().map(|nic| nic.name.as_str()).collect();
    assert_eq!(names, ["mlx5_0/1", "mlx5_1/1", "eno1<&\">", "bond0"], "without the virtual function");
    let path = |machine: &Machine, gpu, nic| machine.path(Device::Accelerator(gpu), Device::Nic(nic));
    // Port 2 of the first is the virtual function, which the second has not.
    for (gpu, nic, nic_after, expected) in [
        (0, 0, 0, PathType::Pix),
        (0, 1, 1, PathType::Pix),
        (1, 1, 1, PathType::Pxb),
        (0, 3, 2, PathType::Sys),
    ] {
        assert_eq!(path(&before, gpu, nic), Some(expected));
        assert_eq!(path(&after.machine, gpu, nic_after), Some(expected));
    }
}

#[test]
fn a_gpu_without_links_or_index_is_written_as_one_and_an_adapter_without_ports_too() {
    let mut machine = Machine::default();
    for (address, kind, class) in [
        ("04:05.0", PciKind::Gpu, 0x03_0000),
        ("04:06.0", PciKind::Gpu, 0x03_0000),
        ("05:00.0", PciKind::Network, 0x02_0700),
    ] {
        let place = Some(PciPlace::default());
        let device = PciDevice { kind: Some(kind), class: Some(class), place, ..PciDevice::default() };
        machine.pci.insert(bdf(address), device);
    }
    // A display controller that is no accelerator is the board's own.
    machine
        .accelerators
        .push(Accelerator { bdf: Some(bdf("04:05.0")), ..Accelerator::new(AcceleratorKind::Nvidia) });
    let text = nccl_xml::write(&machine, &BTreeMap::new());
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    assert_eq!(
        lines[2..lines.len() - 2],
        [
            "<pci busid=\"0000:04:05.0\" class=\"0x030000\">",
            "<gpu/>",
            "</pci>",
            "<pci busid=\"0000:05:00.0\" class=\"0x020700\"/>"
        ]
    );
    assert_eq!(nccl_xml::read(text.as_bytes()).unwrap().machine.accelerators, machine.accelerators);
}

#[test]
fn a_machine_that_nobody_could_build_is_written_all_the_same() {
    let mut machine = machine();
    // Bridges above themselves, a device that is its own parent, no NUMA nodes.
    machine.pci.get_mut(&bdf("01:00.0")).unwrap().place =
        Some(PciPlace { parent: Some(bdf("06:00.0")), root: None });
    machine.pci.get_mut(&bdf("41:00.0")).unwrap().place =
        Some(PciPlace { parent: Some(bdf("41:00.0")), root: None });
    machine.numa.clear();
    machine.pci.values_mut().for_each(|device| device.numa = None);
    let text = nccl_xml::write(&machine, &BTreeMap::new());
    let again = nccl_xml::read(text.as_bytes()).unwrap().machine;
    assert_eq!((again.accelerators.len(), again.nics.len(), again.numa.len()), (2, 4, 0));
    assert_eq!(nccl_xml::write(&Machine::default(), &BTreeMap::new()), "<system version=\"1\">\n</system>\n");
}

#[test]
fn files_that_are_none_are_refused_with_their_line() {
    let cpu =
        |inside: &str| format!("<system>\n<cpu numaid=\"0\" affinity=\"3\">\n{inside}\n</cpu></system>");
    let said = |text: &str| nccl_xml::read(text.as_bytes()).unwrap_err().to_string();
    assert!(
        said("<nvidia_smi_log/>").starts_with("the file begins with <nvidia_smi_log>, not with <system>")
    );
    assert_eq!(
        said(&cpu("<pci busid=\"zz\"/>")),
        "line 3: busid=\"zz\" is no PCI address such as 0000:3b:00.0"
    );
    assert_eq!(said("<system><cpu/></system>"), "line 1: numaid=\"\" is no NUMA node");
    assert_eq!(
        said("<system><cpu numaid=\"0\" affinity=\"0-3\"/></system>"),
        "line 1: affinity=\"0-3\" is no mask of CPUs"
    );
    let second =
        "<system><cpu numaid=\"0\" host_hash=\"0x1\"/>\n<cpu numaid=\"0\" host_hash=\"0x2\"/></system>";
    assert!(said(second).starts_with("line 2: a second machine begins here"));
    let deep = cpu(&("<pci busid=\"01:00.0\">".repeat(40) + &"</pci>".repeat(40)));
    assert_eq!(said(&deep), "line 3: PCI devices are nested more than 32 deep");
    let many: String = (0..4097).map(|n| format!("<pci busid=\"{n:x}:00:00.0\"/>")).collect();
    assert_eq!(said(&cpu(&many)), "line 3: the file has more than 4096 PCI devices");
}

#[test]
fn links_to_switches_and_cpus_are_summed_by_peer() {
    let text = "<system><cpu numaid=\"1\" affinity=\"\"><pci busid=\"0004:04:00.0\" class=\"0x030200\"><gpu dev=\"2\">\
        <nvlink target=\"0004:05:00.0\" count=\"3\" tclass=\"0x068001\"/><nvlink target=\"0000:c5:00.0\" count=\"2\" \
        tclass=\"0x068000\"/><nvlink target=\"0000:c5:00.0\" count=\"4\" tclass=\"0x068000\"/>\
        <nvlink target=\"fffffff:ffff:ff\" count=\"1\" tclass=\"0x068000\"/><c2c bw=\"44712\" count=\"10\"/>\
        </gpu></pci></cpu></system>";
    let machine = nccl_xml::read(text.as_bytes()).unwrap().machine;
    let link = |peer, lanes| Attachment { peer, kind: LinkKind::NvLink, lanes, mb_per_s: None };
    assert_eq!(
        machine.accelerators[0].links,
        [
            link(Peer::Switch(None), 1),
            link(Peer::Switch(Some(bdf("c5:00.0"))), 6),
            link(Peer::Cpu(Some(1)), 13)
        ]
    );
    assert_eq!(machine.accelerators[0].index, Some(2));
}

/// Files to start from, and one of our own where there are none.
fn corpus() -> Vec<Vec<u8>> {
    let mut corpus =
        vec![nccl_xml::write(&machine(), &BTreeMap::from([("ib0".to_string(), 1)])).into_bytes()];
    for name in [
        "azure/ncv4-topo",
        "azure/ndv5-topo",
        "azure/ncv4-graph",
        "rccl/topo_8p1h_1",
        "rccl/topo_8p_rome_pcie",
    ] {
        corpus.extend(capture(&format!("nccl-xml/{name}.xml")));
    }
    corpus
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_mutated_or_cut_file_breaks_the_reader_and_what_was_read_can_be_written(
        which in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
        whole in any::<bool>(),
    ) {
        thread_local! { static CORPUS: Vec<Vec<u8>> = corpus(); }
        let bytes = CORPUS.with(|corpus| which.get(corpus).clone());
        let bytes = support::mutated(bytes, &edits, (!whole).then_some(&cut));
        if let Ok(Topology { machine, rails }) = nccl_xml::read(&bytes) {
            let again = nccl_xml::read(nccl_xml::write(&machine, &rails).as_bytes()).unwrap().machine;
            prop_assert_eq!(again.accelerators.len(), machine.accelerators.len());
        }
    }
}
