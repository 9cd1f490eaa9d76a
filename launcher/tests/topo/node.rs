//! One machine, made here: what is in it, how near its devices are, where its ports go, what is wrong.

use phalanx_common::topology::machine::{
    Accelerator, AcceleratorKind, Ailment, Attachment, LinkKind, Machine, Nic, Package, PciDevice, PciKind,
    PciLink, PciPlace, PciRoot, Peer, Rdma,
};
use phalanx_common::topology::{Bdf, Guid, LinkLayer};

use crate::support::{files, topo};

fn bdf(text: &str) -> Bdf {
    text.parse().unwrap()
}

/// `parent` is empty right below the host bridge.
fn plug(machine: &mut Machine, at: &str, kind: PciKind, parent: &str, root: u8) {
    let parent = (!parent.is_empty()).then(|| bdf(parent));
    let place = Some(PciPlace { parent, root: Some(PciRoot { domain: 0, bus: root }) });
    let link = match kind {
        PciKind::Bridge => PciLink::default(),
        _ => PciLink { speed: Some(2_500), width: Some(16), max_speed: Some(32_000), max_width: Some(16) },
    };
    let numa = Some(u32::from(root >= 0x80));
    let device = PciDevice { kind: Some(kind), numa, place, link, ..PciDevice::default() };
    machine.pci.insert(bdf(at), device);
}

fn nic(at: &str, name: &str, device: Option<&str>, guid: u64, layer: LinkLayer, mbps: u32) -> Nic {
    let rdma = device.map(|device| Rdma {
        device: device.to_string(),
        port: 1,
        guid: (layer == LinkLayer::InfiniBand).then_some(Guid(guid)),
        node_guid: None,
        subnet: None,
        lid: None,
        sm_lid: None,
    });
    Nic { bdf: Some(bdf(at)), speed_mbps: Some(mbps), up: Some(true), rdma, ..Nic::new(name, layer) }
}

/// Two packages; below each a switch with two GPUs and an InfiniBand port; an NVSwitch, a disk, an Ethernet port with
/// two virtual functions.
pub(crate) fn machine() -> Machine {
    let mut machine =
        Machine { host: Some("gpu-1".into()), architecture: Some("x86_64".into()), ..Machine::default() };
    machine.board.product = Some("Box 4".into());
    machine.cpu.name = Some("Example  CPU @ 2 GHz".into());
    for (package, cpus) in [(0, "0-3,8-11"), (1, "4-7,12-15")] {
        machine.packages.push(Package { id: package, cpus: cpus.parse().unwrap() });
        let node = machine.numa.entry(package).or_default();
        (node.cpus, node.memory_bytes) = (cpus.parse().unwrap(), Some(64 << 30));
        node.distances = [(package, 10), (1 - package, 21)].into();
        machine.l3.push(cpus.parse().unwrap());
    }
    machine.cores = (0..8).map(|core| format!("{core},{}", core + 8).parse().unwrap()).collect();
    for (root, base) in [(0x10u8, 0x11u8), (0x90, 0x91)] {
        let at = |offset: u8, device: u8| format!("{:02x}:{device:02x}.0", base + offset);
        plug(&mut machine, &format!("{root:02x}:01.0"), PciKind::Bridge, "", root);
        plug(&mut machine, &at(0, 0), PciKind::Bridge, &format!("{root:02x}:01.0"), root);
        for (port, kind) in [(0, PciKind::Gpu), (1, PciKind::Gpu), (2, PciKind::Network)] {
            plug(&mut machine, &at(1, port), PciKind::Bridge, &at(0, 0), root);
            plug(&mut machine, &at(2 + port, 0), kind, &at(1, port), root);
        }
        for port in [0, 1] {
            let link = Attachment {
                peer: Peer::Switch(Some(bdf("a1:00.0"))),
                kind: LinkKind::NvLink,
                lanes: 18,
                mb_per_s: None,
            };
            machine.accelerators.push(Accelerator {
                bdf: Some(bdf(&at(2 + port, 0))),
                model: Some("Example GPU".into()),
                memory_bytes: Some(85_520_809_984),
                links: vec![link],
                ..Accelerator::new(AcceleratorKind::Nvidia)
            });
        }
    }
    plug(&mut machine, "a1:00.0", PciKind::NvSwitch, "", 0xa0);
    plug(&mut machine, "20:00.0", PciKind::Nvme, "", 0x20);
    for function in ["21:00.0", "21:00.1", "21:00.2"] {
        plug(&mut machine, function, PciKind::Network, "", 0x20);
    }
    for function in ["21:00.1", "21:00.2"] {
        machine.pci.get_mut(&bdf(function)).unwrap().function_of = Some(bdf("21:00.0"));
    }
    machine.nics = vec![
        nic("15:00.0", "ib0", Some("mlx5_0"), 0xa0011, LinkLayer::InfiniBand, 400_000),
        nic("21:00.0", "eno1", None, 0, LinkLayer::Ethernet, 10_000),
        nic("95:00.0", "ib1", Some("mlx5_1"), 0xa0012, LinkLayer::InfiniBand, 400_000),
    ];
    machine.nics[2].up = Some(false);
    machine.accelerators[1].ailments = Some(vec![Ailment::RowRemapPending]);
    machine.pci.get_mut(&bdf("13:00.0")).unwrap().link.width = Some(8);
    machine
}

const DUMP: &str = "\
switchguid=0xb001(b001)
Switch\t4 \"S-000000000000b001\"\t\t# \"leaf-a\" base port 0 lid 1 lmc 0
[3]\t\"H-000000000000a001\"[1](a0011) \t\t# \"somebody mlx5_7\" lid 2 4xNDR
caguid=0xa001
Ca\t1 \"H-000000000000a001\"\t\t# \"somebody mlx5_7\"
[1](a0011) \t\"S-000000000000b001\"[3]\t\t# lid 2 lmc 0 \"leaf-a\" lid 1 4xNDR
";

const INSIDE: &str = "\
gpu-1
machine       Box 4, x86_64
cpu           2 x Example CPU @ 2 GHz, 8 cores, 16 threads
memory        128 GiB in 2 NUMA nodes
accelerators  4 x Example GPU, 79.6 GiB

package 0  4 cores, CPUs 0-3,8-11
└─ NUMA 0  64 GiB, 4 cores, CPUs 0-3,8-11  distance 21 to 1
   ├─ L3 of 8 threads
   ├─ pci0000:10
   │  └─ PCI switch  11:00.0
   │     ├─ GPU0  Example GPU  79.6 GiB  13:00.0  x8 of x16 32 GT/s
   │     ├─ GPU1  Example GPU  79.6 GiB  a memory row is to be remapped at the next reset  14:00.0  x16 32 GT/s
   │     └─ mlx5_0 (ib0)  InfiniBand 400G  15:00.0  x16 32 GT/s
   └─ pci0000:20
      ├─ NVMe  20:00.0  x16 32 GT/s
      └─ eno1  Ethernet 10G  21:00.0  x16 32 GT/s  2 virtual functions

package 1  4 cores, CPUs 4-7,12-15
└─ NUMA 1  64 GiB, 4 cores, CPUs 4-7,12-15  distance 21 to 0
   ├─ L3 of 8 threads
   ├─ pci0000:90
   │  └─ PCI switch  91:00.0
   │     ├─ GPU2  Example GPU  79.6 GiB  93:00.0  x16 32 GT/s
   │     ├─ GPU3  Example GPU  79.6 GiB  94:00.0  x16 32 GT/s
   │     └─ mlx5_1 (ib1)  InfiniBand 400G down  95:00.0  x16 32 GT/s
   └─ pci0000:a0
      └─ NVSwitch  a1:00.0  x16 32 GT/s

      GPU0  GPU1  GPU2  GPU3  mlx5_0  eno1  mlx5_1  NUMA  CPUs       nearest ports
GPU0  X     NV18  NV18  NV18  PIX     NODE  SYS     0     0-3,8-11   mlx5_0
GPU1  NV18  X     NV18  NV18  PIX     NODE  SYS     0     0-3,8-11   mlx5_0
GPU2  NV18  NV18  X     NV18  SYS     SYS   PIX     1     4-7,12-15  mlx5_1 (down)
GPU3  NV18  NV18  NV18  X     SYS     SYS   PIX     1     4-7,12-15  mlx5_1 (down)

NV#   so many NVLinks, direct or through NVSwitches
PIX   one PCI switch at most
NODE  host bridges of one NUMA node
SYS   the link between NUMA nodes
";

const PORTS: &str = "
PORT  RDMA    PCI           NUMA  SPEED  STATE  SWITCH   ITS PORT  SAYS
eno1          0000:21:00.0  0     10G    up     unknown
ib0   mlx5_0  0000:15:00.0  0     400G   up     leaf-a   3         InfiniBand
ib1   mlx5_1  0000:95:00.0  1     400G   down   unknown

infiniband    leaf leaf-a
";

const WRONG: &str = "
gpu-1: the port nearest to GPU2 is down: mlx5_1 (ib1)
  look at the cable and the port; until it is up the device's traffic takes a longer way
gpu-1: the port nearest to GPU3 is down: mlx5_1 (ib1)
  look at the cable and the port; until it is up the device's traffic takes a longer way
gpu-1: GPU1: a memory row is to be remapped at the next reset
  drain the node, then reset or replace the device
";

fn written(machine: &Machine) -> String {
    serde_json::to_string(machine).unwrap()
}

#[test]
fn a_node_shows_its_inside_its_paths_and_its_ports_joined_by_guid() {
    let dir = files(&[("node.json", &written(&machine())), ("fabric.out", DUMP)]);
    let out = topo(dir.path(), &["gpu-1", "--from", "node.json", "fabric.out"]).clean();
    assert_eq!(out, [INSIDE, PORTS, WRONG].concat());
}

#[test]
fn files_of_one_machine_alone_show_that_machine_and_its_json_is_read_again() {
    let dir = files(&[("node.json", &written(&machine()))]);
    let out = topo(dir.path(), &["--from", "node.json"]).clean();
    assert!(out.starts_with(INSIDE), "{out}");
    let json = topo(dir.path(), &["gpu-1", "--json", "--from", "node.json"]).clean();
    let again = files(&[("again.json", &json)]);
    assert_eq!(topo(again.path(), &["--from", "again.json"]).clean(), out);
    // The cluster of one machine is still there for programs.
    let snapshot = topo(dir.path(), &["--json", "--from", "node.json"]).json();
    assert_eq!(snapshot["network"]["nodes"][0]["name"], "gpu-1");
    assert!(snapshot["boards"][0]["host"].is_null(), "a board is what machines of one kind have in common");
}

#[test]
fn machines_are_compared_with_their_peers_and_two_of_one_name_are_two() {
    let mut well = machine();
    well.nics[2].up = Some(true);
    well.nics[0].addresses = vec!["10.0.0.7/24".into()];
    well.accelerators[1].ailments = None;
    well.pci.get_mut(&bdf("13:00.0")).unwrap().link.width = Some(16);
    let named = |name: &str, change: &dyn Fn(&mut Machine)| {
        let mut machine = well.clone();
        machine.host = Some(name.into());
        change(&mut machine);
        written(&machine)
    };
    let lost = |machine: &mut Machine| drop(machine.accelerators.pop());
    let texts = [
        named("n1", &|_| {}),
        named("n2", &|_| {}),
        named("n3", &lost),
        named("n4", &|machine| machine.nics[1].up = Some(false)),
        named("n1", &|machine| machine.nics[0].addresses = vec!["10.0.0.8/24".into()]),
    ];
    let contents: Vec<(String, &str)> =
        texts.iter().zip(1..).map(|(text, number)| (format!("file{number}.json"), text.as_str())).collect();
    let contents: Vec<(&str, &str)> = contents.iter().map(|(name, text)| (name.as_str(), *text)).collect();
    let dir = files(&contents);
    let done = topo(dir.path(), &["check", "--from", "."]);
    assert_eq!(done.code, 1);
    assert!(
        done.err.contains("file5.json: another machine is called n1; this one is shown as file5"),
        "{}",
        done.err
    );
    let expected = "\
2 warnings, 1 notice in 5 nodes and 0 switches

WARNING  n3: has 3 of Example GPU, where 4 machines of its kind have 4
         known by  a machine as Phalanx writes it: ./file3.json, 2024-07-03T09:46:40Z
         to do     look for a device that fell off its bus in the kernel's log, and reseat or replace it

WARNING  n4: port eno1 is down, which is up in 4 machines of its kind
         known by  a machine as Phalanx writes it: ./file4.json, 2024-07-03T09:46:40Z
         to do     look at the cable, the transceiver and the switch's port

NOTICE   n1: 2 machines have this host name: file5 (10.0.0.8), n1 (10.0.0.7)
         known by  a machine as Phalanx writes it: ./file1.json, 2024-07-03T09:46:40Z
         known by  a machine as Phalanx writes it: ./file5.json, 2024-07-03T09:46:40Z
         to do     give each machine a host name of its own; Phalanx tells them apart, people and other tools may not
";
    assert_eq!(done.out, expected);

    topo(dir.path(), &["export", "json", "--out", "all.snapshot", "--from", "."]);
    let of_snapshot = topo(dir.path(), &["check", "--from", "all.snapshot"]);
    assert_eq!((of_snapshot.out.as_str(), of_snapshot.err.as_str()), (expected, ""));

    // One that an earlier program wrote has no states and no host names, but what machines of one kind have in common.
    let text = std::fs::read_to_string(dir.path().join("all.snapshot")).unwrap();
    let bare = text.split(r#","beside":"#).next().unwrap().to_owned() + "}";
    std::fs::write(dir.path().join("bare.snapshot"), bare).unwrap();
    let of_bare = topo(dir.path(), &["check", "--from", "bare.snapshot"]);
    let says = "1 warning in 5 nodes and 0 switches\n\nWARNING  n3: has 3 of Example GPU, where 4 machines";
    assert!(of_bare.out.starts_with(says), "{}{}", of_bare.out, of_bare.err);
    assert!(
        of_bare.err.contains("warning: bare.snapshot: it was written without what was found in machines")
    );
    let bare = topo(dir.path(), &["n1", "--from", "bare.snapshot"]).out;
    let says = "\nknown by      its kind alone: a snapshot has what machines of one kind have in common, without names,";
    assert!(bare.contains(says), "{bare}");

    let both = topo(dir.path(), &["check", "--from", "all.snapshot", "file1.json"]);
    assert_eq!(both.code, 125);
    assert!(both.err.contains("all.snapshot: a snapshot has what was derived already"), "{}", both.err);
}

#[test]
fn a_snapshot_tells_of_a_gpu_whose_nearest_ports_are_down() {
    let dir = files(&[("node.json", &written(&machine())), ("fabric.out", DUMP)]);
    let of_files = topo(dir.path(), &["check", "--from", "node.json", "fabric.out"]);
    assert!(of_files.out.contains("the port nearest to GPU2 is down: mlx5_1 (ib1)"), "{}", of_files.out);
    topo(dir.path(), &["export", "json", "--out", "all.snapshot", "--from", "node.json", "fabric.out"])
        .clean();
    // The dump knows the node by GUIDs, which a snapshot keeps of no machine.
    let by_guid = |line: &&str| line.contains("known by  InfiniBand: fabric.out");
    let rest: Vec<&str> = of_files.out.lines().filter(|line| !by_guid(line)).collect();
    let of_snapshot = topo(dir.path(), &["check", "--from", "all.snapshot"]).out;
    assert_eq!(of_snapshot.lines().collect::<Vec<_>>(), rest);
    let tree = topo(dir.path(), &["--from", "all.snapshot"]).clean();
    assert!(tree.contains("\nfindings    3 warnings\n"), "{tree}");
}

#[test]
fn memory_is_the_same_of_a_machine_and_of_its_kind_in_a_snapshot() {
    let mut odd = machine();
    for node in odd.numa.values_mut() {
        node.memory_bytes = Some((11 << 30) + (3 << 28));
    }
    let dir = files(&[("node.json", &written(&odd))]);
    let memory = |out: &str| -> Vec<String> {
        let lines = out.lines().filter(|line| line.starts_with("memory") || line.contains("NUMA 0"));
        lines.map(str::to_string).collect()
    };
    let itself = memory(&topo(dir.path(), &["gpu-1", "--from", "node.json"]).clean());
    assert!(itself[0].ends_with("22 GiB in 2 NUMA nodes") && itself[1].contains("11 GiB, "), "{itself:?}");
    let snapshot = topo(dir.path(), &["--json", "--from", "node.json"]).clean();
    let bare = snapshot.split(r#","beside":"#).next().unwrap().to_owned() + "}";
    let dir = files(&[("bare.json", &bare)]);
    assert_eq!(memory(&topo(dir.path(), &["gpu-1", "--from", "bare.json"]).out), itself);
}

#[test]
fn a_bare_machine_is_shown_as_far_as_it_is_known() {
    let cpus = "{\"packages\": [{\"id\": 0, \"cpus\": \"0-3\"}], \"cores\": [\"0-1\", \"2-3\"]}";
    let dir =
        files(&[("small.json", cpus), ("wrong.json", "{\"packages\": [{\"id\": 0, \"cpus\": \"x\"}]}")]);
    assert_eq!(
        topo(dir.path(), &["--from", "small.json"]).clean(),
        "small\ncpu           1 package, 2 cores, 4 threads\n\npackage 0  2 cores, CPUs 0-3\n"
    );
    let wrong = topo(dir.path(), &["--from", "wrong.json"]);
    assert!(wrong.code == 125 && wrong.err.contains("wrong.json: it looks like a machine"), "{}", wrong.err);
}

#[test]
fn copies_of_a_file_are_counted_with_those_of_their_kind() {
    let mut inside = machine();
    inside.host = Some("gpu-1".to_string());
    let json = serde_json::to_string(&inside).unwrap();
    let xml = "<?xml version=\"1.0\"?>\n<topology version=\"2.0\">\n\
        <object type=\"Machine\" os_index=\"0\" cpuset=\"0x3\"><info name=\"HostName\" value=\"gpu-1\"/>\n\
        <object type=\"PCIDev\" pci_busid=\"0000:21:00.0\" pci_type=\"0200 [8086:1533] [8086:0001] 03\">\n\
        <object type=\"OSDev\" name=\"eno1\" osdev_type=\"2\"><info name=\"Address\" value=\"0c:42:a1:00:00:01\"/></object>\n\
        </object></object>\n</topology>\n";
    let dir = files(&[("a.json", &json), ("b.json", &json), ("c.xml", xml), ("d.xml", xml), ("e.xml", xml)]);
    let done = topo(dir.path(), &["--from", "a.json", "b.json", "c.xml", "d.xml", "e.xml"]);
    assert_eq!(done.code, 0, "{}", done.err);
    for told in [
        "2 files describe one machine, gpu-1, by its host name and its addresses: a.json, b.json;",
        "3 files describe one machine, gpu-1, by its host name and its addresses: c.xml, d.xml, e.xml;",
    ] {
        assert!(done.err.contains(told), "{told} is not in {}", done.err);
    }
}
