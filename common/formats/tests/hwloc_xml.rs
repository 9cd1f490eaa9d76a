//! XML of hwloc of both versions, from real machines and from files that are wrong.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test is a shell, and fails by it")]

mod support;

use std::fs;

use phalanx_common::topology::machine::{
    AcceleratorKind, Attachment, Device, LinkKind, Machine, PathType, PciKind, PciRoot, Peer,
};
use phalanx_common::topology::{Bdf, Guid, LinkLayer};
use phalanx_formats::hwloc_xml::{Error, read};
use phalanx_formats::kind::{Kind, recognise};
use proptest::prelude::*;
use support::{capture, unpacked};

fn machine(file: &str) -> Option<Machine> {
    let bytes = capture(&format!("hwloc-xml/{file}.xml"))?;
    assert_eq!(recognise(&bytes), Some(Kind::HwlocXml));
    Some(read(&bytes).unwrap())
}

fn bdf(text: &str) -> Bdf {
    text.parse().unwrap()
}

#[test]
fn a_dgx_2_has_sixteen_gpus_each_with_six_links_to_the_switches_of_its_board() {
    let Some(machine) = machine("nvidiaDGX2") else { return };
    assert_eq!(machine.board.product.as_deref(), Some("NVIDIA DGX-2H"));
    assert_eq!((machine.packages.len(), machine.cores.len(), machine.l3.len()), (2, 4, 2));
    assert_eq!(machine.packages[1].cpus.to_string(), "24-25");
    assert_eq!(machine.numa[&1].memory_bytes, Some(811_737_923_584));
    assert_eq!(machine.numa[&1].distances, [(0, 21), (1, 10)].into());

    let count = |kind| machine.pci.values().filter(|device| device.kind == Some(kind)).count();
    assert_eq!((count(PciKind::Gpu), count(PciKind::NvSwitch), count(PciKind::Bridge)), (16, 12, 56));
    // Its class and ids are zeros in the capture; it is called a switch all the same.
    let unreadable = &machine.pci[&bdf("66:00.0")];
    assert_eq!((unreadable.kind, unreadable.vendor), (Some(PciKind::NvSwitch), None));
    let place = machine.pci[&bdf("34:00.0")].place.unwrap();
    assert_eq!(place.parent, Some(bdf("33:00.0")));
    assert_eq!(place.root, Some(PciRoot { domain: 0, bus: 0x2b }));

    assert_eq!(machine.accelerators.len(), 16);
    for (index, gpu) in (0u32..).zip(&machine.accelerators) {
        assert_eq!((gpu.kind, gpu.index), (AcceleratorKind::Nvidia, Some(index)));
        assert_eq!(gpu.model.as_deref(), Some("Tesla V100-SXM3-32GB-H"));
        let board = if index < 8 {
            ["61", "62", "63", "65", "66", "67"]
        } else {
            ["c1", "c2", "c3", "c5", "c6", "c7"]
        };
        let expected = board.map(|bus| Attachment {
            peer: Peer::Switch(Some(bdf(&format!("{bus}:00.0")))),
            kind: LinkKind::NvLink,
            lanes: 1,
            mb_per_s: Some(25_000),
        });
        assert_eq!(gpu.links, expected);
        assert_eq!(machine.numa_of(Device::Accelerator(index)), Some(index / 8));
    }
    let first = &machine.accelerators[0];
    assert_eq!(first.uuid.as_deref(), Some("GPU-d3977428-7a30-086b-2e20-5c1eeed647c6"));
    assert_eq!(first.serial.as_deref(), Some("0321019030775"));
    let path = |a, b| machine.path(Device::Accelerator(a), Device::Accelerator(b));
    assert_eq!((path(0, 1), path(0, 2)), (Some(PathType::Pix), Some(PathType::Pxb)));
    assert_eq!((path(0, 4), path(0, 8)), (Some(PathType::Node), Some(PathType::Sys)));
}

#[test]
fn version_3_is_refused_with_the_way_out() {
    let Some(bytes) = capture("hwloc-xml/nvidiaDGX2.v3-format.xml") else { return };
    let error = read(&bytes).unwrap_err().to_string();
    assert_eq!(
        error,
        "this is XML of hwloc's version \"3.0\", and versions 1 and 2 are read; write it with \
         `lstopo --export-xml-flags v2 FILE.xml`"
    );
}

#[test]
fn virtual_functions_are_known_by_their_id_beside_a_physical_one() {
    let Some(machine) = machine("16intel64-manyVFs") else { return };
    let network = machine.pci.values().filter(|device| device.kind == Some(PciKind::Network));
    assert_eq!(network.count(), 18);
    let virtual_functions: Vec<String> = machine
        .pci
        .iter()
        .filter_map(|(bdf, device)| Some(format!("{bdf} {}", device.function_of?)))
        .collect();
    let expected = [
        "0b:00.1 0000:0b:00.0",
        "0b:00.2 0000:0b:00.0",
        "0b:00.3 0000:0b:00.0",
        "0c:00.1 0000:0c:00.0",
        "0c:00.4 0000:0c:00.0",
        "88:00.1 0000:88:00.0",
        "88:00.2 0000:88:00.0",
        "88:00.3 0000:88:00.0",
        "88:00.4 0000:88:00.0",
        "88:00.5 0000:88:00.0",
    ];
    assert_eq!(virtual_functions, expected.map(|text| format!("0000:{text}")));
    // Two of the capture have another vendor, whose ids nobody knows; no port is on them.
    assert_eq!(machine.pci[&bdf("0c:00.2")].function_of, None);

    let nics: Vec<&str> = machine.nics.iter().map(|nic| nic.name.as_str()).collect();
    assert_eq!(nics, ["eth0", "eth1", "eth4", "eth5", "eth6", "eth7"]);
    assert_eq!(machine.ports().len(), 6);
    let eth5 = &machine.nics[3];
    let rdma = eth5.rdma.as_ref().unwrap();
    assert_eq!((rdma.device.as_str(), eth5.layer, eth5.up), ("usnic_1", LinkLayer::Ethernet, Some(true)));
    assert_eq!((rdma.guid, rdma.lid), (None, None), "what an InfiniBand fabric would know");
    assert_eq!(machine.nics.iter().filter(|nic| nic.rdma.is_some()).count(), 3);
}

#[test]
fn interfaces_rdma_ports_and_gpus_of_several_libraries_are_joined_by_their_function() {
    let Some(machine) = machine("32em64t-2n8c2t-pci-wholeio") else { return };
    assert_eq!(machine.host.as_deref(), Some("conan"));
    assert_eq!((machine.cores.len(), machine.cores[0].to_string()), (16, "0,16".to_string()));
    let ib0 = &machine.nics[0];
    let rdma = ib0.rdma.as_ref().unwrap();
    assert_eq!((ib0.name.as_str(), ib0.layer, ib0.mac), ("ib0", LinkLayer::InfiniBand, None));
    assert_eq!((rdma.guid, rdma.lid), (Some(Guid(0x248a_0703_001e_39fe)), Some(1)));
    let gpus: Vec<(AcceleratorKind, Option<&str>, Option<u64>)> =
        machine.accelerators.iter().map(|gpu| (gpu.kind, gpu.model.as_deref(), gpu.memory_bytes)).collect();
    let nvidia = AcceleratorKind::Nvidia;
    let expected = [
        (nvidia, Some("Tesla M2075 Dual-Slot Computing Processor Module"), None),
        (nvidia, Some("Tesla M2075 Dual-Slot Computing Processor Module"), None),
        (nvidia, Some("Tesla K40m"), Some(11_796_032 << 10)),
        (AcceleratorKind::Amd, Some("AMD Radeon R9 200 / HD 7900 Series"), None),
    ];
    assert_eq!(gpus, expected);
    assert_eq!(machine.nics_near(2), [(0, PathType::Pix)]);
}

#[test]
fn cpus_memory_and_distances_are_read_in_every_shape() {
    let Some(many) = machine("96em64t-4n4d3ca2co-pci") else { return };
    assert_eq!((many.packages.len(), many.cores.len(), many.l3.len()), (16, 96, 16));
    assert_eq!(
        many.numa[&3].cpus.to_string(),
        "72-95",
        "a mask whose words are left out where they are zero"
    );
    assert_eq!(many.numa[&3].distances, [(0, 26), (1, 26), (2, 26), (3, 10)].into());
    assert_eq!(many.pci[&bdf("92:00.0")].numa, Some(3));
    assert_eq!((many.nics.len(), many.accelerators.len()), (8, 0), "its Radeon is the board's screen");

    let odd = machine("16amd64-4distances").unwrap();
    assert_eq!((odd.numa[&0].cpus.to_string(), odd.numa[&1].cpus.to_string()), ("2-3".into(), "0-1".into()));
    assert_eq!(odd.packages.len(), 8);
    assert_eq!((odd.numa[&7].distances[&7], odd.numa[&7].distances[&0]), (10, 20));

    let without_cores = machine("fakeheterodistances").unwrap();
    let cores: Vec<String> = without_cores.cores.iter().map(ToString::to_string).collect();
    assert_eq!(cores, ["0", "6", "12", "18", "24", "30", "36", "42"]);
    assert_eq!((without_cores.numa[&0].distances[&3], without_cores.numa[&2].distances[&1]), (22, 22));

    let without_packages = machine("8intel64-4n2t-memattrs").unwrap();
    assert_eq!((without_packages.packages.len(), without_packages.cpus().len()), (0, 8));
    assert_eq!(without_packages.memory_bytes(), 4 << 30);

    let cached = machine("memorysidecaches").unwrap();
    assert_eq!((cached.numa.len(), cached.cores.len(), cached.cpus().len()), (4, 40, 80));
    assert_eq!((cached.numa[&0].distances[&2], cached.numa[&3].memory_bytes), (11, Some(399_526_719_488)));

    let kinds = machine("fakecpukinds").unwrap();
    assert_eq!((kinds.cores[0].to_string(), kinds.numa[&0].memory_bytes), ("0,2".to_string(), None));
}

#[test]
fn a_whole_cluster_in_version_1_is_read() {
    let Some(scratch) = unpacked("netloc-clusters/plafrim2.txz") else { return };
    let folder = scratch.path.join("plafrim2/hwloc");
    let mut machines = Vec::new();
    let mut copies = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let machine = read(&fs::read(&path).unwrap()).unwrap();
        let host = machine.host.as_deref().unwrap();
        // The last eleven of the series are that of its eighth machine under other names.
        if path.file_stem().unwrap().to_str() != Some(host) {
            assert_eq!(host, "miriel008");
            copies += 1;
        }
        machines.push(machine);
    }
    assert_eq!(copies, 11);
    let sum = |count: &dyn Fn(&Machine) -> usize| machines.iter().map(count).sum::<usize>();
    assert_eq!(machines.len(), 118);
    assert_eq!(sum(&|machine| machine.numa.len()), 438);
    assert_eq!((sum(&|machine| machine.cores.len()), sum(&|machine| machine.cpus().len())), (2756, 2864));
    assert_eq!(machines.iter().map(Machine::memory_bytes).sum::<u64>(), 18_472_052_346_880);
    assert_eq!(sum(&|machine| machine.accelerators.len()), 43);
    assert_eq!(sum(&|machine| machine.nics.iter().filter(|nic| nic.rdma.is_some()).count()), 130);
    assert!(
        machines
            .iter()
            .all(|machine| machine.numa.values().all(|node| node.distances.len() == machine.numa.len()))
    );

    let sirocco = machines.iter().find(|machine| machine.host.as_deref() == Some("sirocco01")).unwrap();
    let distances: Vec<u32> = sirocco.numa[&0].distances.values().copied().collect();
    assert_eq!(distances, [10, 31, 21, 31], "in the file the nodes stand in the order 0, 2, 1, 3");
    assert_eq!(sirocco.allowed.cpus.as_ref().unwrap().to_string(), "0");
    assert_eq!(sirocco.pci[&bdf("81:00.0")].numa, Some(1));
    // One adapter with a port in each world.
    let both: Vec<(&str, LinkLayer, u8, Option<Guid>)> = sirocco.nics[2..]
        .iter()
        .map(|nic| {
            let rdma = nic.rdma.as_ref().unwrap();
            (nic.name.as_str(), nic.layer, rdma.port, rdma.guid)
        })
        .collect();
    let guid = Some(Guid(0xe41d_2d03_001c_04e1));
    assert_eq!(both, [("ib0", LinkLayer::InfiniBand, 1, guid), ("p2p2", LinkLayer::Ethernet, 2, None)]);
}

fn topology(inner: &str) -> Vec<u8> {
    format!("<?xml version=\"1.0\"?>\n<topology version=\"2.0\">\n{inner}\n</topology>").into_bytes()
}

#[test]
fn links_of_amd_and_to_cpus_are_read() {
    let gpu = |bus: u32, index: u32, hive: &str| {
        format!(
            "<object type=\"PCIDev\" pci_busid=\"0000:{bus:02x}:00.0\" pci_type=\"1200 [1002:740f] [1002:0c34] 02\">
             <object type=\"OSDev\" gp_index=\"{}\" name=\"rsmi{index}\" osdev_type=\"5\">
             <info name=\"Backend\" value=\"RSMI\"/><info name=\"AMDUUID\" value=\"{bus}\"/>{hive}
             <info name=\"RSMIVRAMSize\" value=\"67092480\"/></object></object>",
            100 + index
        )
    };
    let hive = "<info name=\"XGMIHiveID\" value=\"abcdef0123\"/>";
    let text = format!(
        "<object type=\"Machine\" gp_index=\"1\" cpuset=\"0x3\" nodeset=\"0x1\">
         <object type=\"Package\" os_index=\"0\" gp_index=\"2\" cpuset=\"0x3\" nodeset=\"0x1\">{}{}</object></object>
         <distances2 type=\"OSDev\" nbobjs=\"2\" kind=\"9\" name=\"XGMIBandwidth\" indexing=\"gp\">
         <indexes length=\"8\">100 101 </indexes><u64values length=\"9\">1000000 100000 100000 1000000</u64values></distances2>
         <distances2hetero nbobjs=\"2\" kind=\"25\" name=\"NVLinkBandwidth\">
         <indexes length=\"9\">OSDev:7 Package:2</indexes><u64values length=\"9\">0 1 1 0</u64values></distances2hetero>",
        gpu(0xc1, 0, hive),
        gpu(0xc5, 1, hive)
    );
    let machine = read(&topology(&text)).unwrap();
    let first = &machine.accelerators[0];
    assert_eq!((first.kind, first.index, first.hive), (AcceleratorKind::Amd, Some(0), Some(0xab_cdef_0123)));
    assert_eq!(first.memory_bytes, Some(67_092_480 << 10));
    let peer = Peer::Accelerator(bdf("c5:00.0"));
    let link = Attachment { peer, kind: LinkKind::Xgmi, lanes: 1, mb_per_s: Some(100_000) };
    assert_eq!(first.links, [link]);

    let nvidia = text
        .replace("XGMIBandwidth", "Else")
        .replace("OSDev:7", "OSDev:100")
        .replace("0 1 1 0", "0 75000 75000 0");
    let linked = read(&topology(&nvidia)).unwrap().accelerators.remove(0).links;
    let link =
        Attachment { peer: Peer::Cpu(Some(0)), kind: LinkKind::NvLink, lanes: 3, mb_per_s: Some(75_000) };
    assert_eq!(linked, [link]);
}

#[test]
fn a_guest_that_sees_a_virtual_function_alone_has_it_as_its_port() {
    let function = |number: u32, id: &str| {
        format!(
            "<object type=\"PCIDev\" pci_busid=\"0000:3b:00.{number}\" pci_type=\"0200 [15b3:{id}] [15b3:0] 00\"/>"
        )
    };
    let machine = |inner: &str| {
        read(&topology(&format!("<object type=\"Machine\" cpuset=\"0x1\">{inner}</object>"))).unwrap()
    };
    let bridge = |inner: &str| {
        format!("<object type=\"Bridge\" bridge_type=\"1-1\" pci_busid=\"0000:3a:01.0\">{inner}</object>")
    };
    let elsewhere = machine(&(function(0, "101d") + &bridge(&function(1, "101e"))));
    assert_eq!(elsewhere.pci[&bdf("3b:00.1")].function_of, None, "of another slot");
    let alone = machine(&function(1, "101e"));
    assert_eq!(alone.pci[&bdf("3b:00.1")].function_of, None);
    let both = machine(&(function(0, "101d") + &function(1, "101e")));
    assert_eq!(both.pci[&bdf("3b:00.1")].function_of, Some(bdf("3b:00.0")));
}

#[test]
fn ports_of_one_function_are_joined_by_the_addresses_that_their_hardware_makes() {
    let interface = |name: &str, mac: &str| {
        format!(
            "<object type=\"OSDev\" name=\"{name}\" osdev_type=\"2\"><info name=\"Address\" value=\"{mac}\"/></object>"
        )
    };
    let port = |number: u32, end: &str| {
        format!(
            "<info name=\"Port{number}State\" value=\"4\"/><info name=\"Port{number}LID\" value=\"0x0\"/>
            <info name=\"Port{number}GID0\" value=\"fe80:0000:0000:0000:0e42:a1ff:fe00:{end}\"/>"
        )
    };
    let text = format!(
        "<object type=\"Machine\" nodeset=\"0x3\"><object type=\"PCIDev\" pci_busid=\"3b:00.0\" pci_type=\"0200 [15b3:1007]\">
         {}{}<object type=\"OSDev\" name=\"mlx4_0\" osdev_type=\"3\">{}{}</object></object></object>",
        interface("a", "0c:42:a1:00:00:02"),
        interface("b", "0c:42:a1:00:00:01"),
        port(1, "0001"),
        port(2, "0002")
    );
    let machine = read(&topology(&text)).unwrap();
    let ports: Vec<(&str, Option<u8>)> =
        machine.nics.iter().map(|nic| (nic.name.as_str(), nic.rdma.as_ref().map(|rdma| rdma.port))).collect();
    assert_eq!(ports, [("a", Some(2)), ("b", Some(1))]);
    assert_eq!(machine.pci[&bdf("3b:00.0")].numa, None, "what is at the whole machine is at no node of it");
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let said = |inner: &str| read(&topology(inner)).unwrap_err().to_string();
    assert_eq!(said(""), "the topology has no object of the type Machine");
    assert_eq!(
        said("<object type=\"Machine\" cpuset=\"0xg\"/>"),
        "line 3: cpuset is \"0xg\", and a mask such as 0x00000003,0x00000001 is expected"
    );
    assert!(
        said("<object type=\"Machine\">\n<object type=\"PCIDev\" pci_busid=\"3b\"/></object>")
            .starts_with("line 4: pci_busid is \"3b\", and a PCI address such as")
    );
    assert!(said("<object type=\"PCIDev\" pci_busid=\"3b:00.0\" pci_type=\"0302\"/>").contains("pci_type"));
    let matrix =
        "<object type=\"Machine\"/><distances2 type=\"NUMANode\" nbobjs=\"2\" kind=\"5\" indexing=\"os\">
        <indexes>0 1</indexes><u64values>10 20 20</u64values></distances2>";
    assert_eq!(said(matrix), "line 3: the matrix is of 2 objects, but has 2 indexes and 3 values");
    assert!(said(&matrix.replace("20 20", "20 -20 10")).starts_with("line 4: u64values is \"-20\""));
    let deep = "<object type=\"Group\">".repeat(200) + &"</object>".repeat(200);
    assert_eq!(said(&deep), "line 3: more than 128 objects are within each other");
    let deeper = "<object>".repeat(100_000) + &"</object>".repeat(100_000);
    assert_eq!(said(&deeper), "line 3: more than 128 objects are within each other");

    let other = read(b"<system version=\"1\"/>").unwrap_err().to_string();
    assert!(other.starts_with("the outermost element is <system>"), "{other}");
    assert!(matches!(read(&vec![b' '; (16 << 20) + 1]), Err(Error::Xml(_))));
}

#[test]
fn a_large_file_of_matrices_and_devices_takes_no_long() {
    let gpu = |n: u32| {
        let (bus, device) = (n >> 5 & 0xff, n & 31);
        format!(
            "<object type=\"PCIDev\" gp_index=\"{n}\" pci_busid=\"{:x}:{bus:x}:{device:x}.0\" pci_type=\"0302 [10de:1] [1:1] a\"/>",
            n >> 13
        )
    };
    let gpus: String = (0..20_000).map(gpu).collect();
    let matrix = |n: u32| {
        format!(
            "<distances2 type=\"PCIDev\" nbobjs=\"1\" name=\"NVLinkBandwidth\"><indexes>{n}</indexes><u64values>1</u64values></distances2>"
        )
    };
    let matrices: String = (0..20_000).map(matrix).collect();
    let machine = read(&topology(&format!("<object type=\"Machine\">{gpus}</object>{matrices}"))).unwrap();
    assert_eq!(machine.accelerators.len(), 20_000);
}

#[test]
fn a_file_that_ends_anywhere_is_an_error() {
    let Some(bytes) = capture("hwloc-xml/nvidiaDGX2.xml") else { return };
    let end = bytes.iter().rposition(|byte| *byte == b'>').unwrap();
    for length in (0..=end).step_by(97).chain(end - 20..=end) {
        assert!(read(&bytes[..length]).is_err(), "{length}");
    }
}

proptest! {
    #[test]
    fn changed_bytes_are_read_or_refused(
        changes in prop::collection::vec((0usize..42_000, any::<u8>()), 1..20),
        digits in prop::collection::vec((0usize..42_000, b'0'..=b'9'), 0..20),
    ) {
        for file in ["nvidiaDGX2", "16intel64-manyVFs"] {
            let Some(mut bytes) = capture(&format!("hwloc-xml/{file}.xml")) else { return Ok(()) };
            let length = bytes.len();
            for (at, byte) in &changes {
                bytes[at % length] = *byte;
            }
            let _ = read(&bytes);
            let mut bytes = capture(&format!("hwloc-xml/{file}.xml")).unwrap();
            // Digits for digits: still XML, with other numbers.
            for (at, digit) in &digits {
                let byte = &mut bytes[at % length];
                if byte.is_ascii_digit() {
                    *byte = *digit;
                }
            }
            if let Err(error) = read(&bytes) {
                prop_assert!(error.to_string().len() < 400, "{error}");
            }
        }
    }
}
