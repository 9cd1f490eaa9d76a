//! What Ascend's tools write. The texts are of our own making, after those that users of these machines publish.

#![allow(clippy::unwrap_used, reason = "in a test that is how it fails")]

use std::time::Duration;

use phalanx_common::time::Timestamp;
use phalanx_common::topology::machine::{
    Accelerator, AcceleratorKind, Ailment, Attachment, Device, LinkKind, Machine, PathType, Peer,
};
use phalanx_common::topology::{Claim, End, Source};
use phalanx_formats::MatrixReading;
use phalanx_formats::kind::{Kind, recognise};
use phalanx_formats::npu_smi::{
    Chip, HccnError, InfoError, address, info, is_up, mapping, neighbour, port, topo,
};
use proptest::prelude::*;

/// Two cards of one chip, as an A2 shows them; the second needs attention, and somebody computes on the first.
const A2: &str = "\
+------------------------------------------------------------------------------------------------+
| npu-smi 24.1.0                   Version: 24.1.0                                               |
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip                      | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 0     910B3               | OK            | 97.5        41                0    / 0             |
| 0                         | 0000:C1:00.0  | 0           0    / 0          59891/ 65536         |
+===========================+===============+====================================================+
| 1     910B3               | Alarm         | 93.9        40                0    / 0             |
| 0                         | 0000:01:00.0  | 0           0    / 0          3385 / 65536         |
+===========================+===============+====================================================+
+---------------------------+---------------+----------------------------------------------------+
| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |
+===========================+===============+====================================================+
| 0       0                 | 2961213       | python                   | 58313                   |
| 0       0                 | 2961200       | python                   | 8                       |
+===========================+===============+====================================================+
| No running processes found in NPU 1                                                            |
+===========================+===============+====================================================+
";

/// One card of two dies, as an A3 shows it.
const A3: &str = "\
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip  Phy-ID              | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 7     Ascend910           | OK            | 178.5       36                0    / 0             |
| 0     14                  | 0000:9D:00.0  | 0           0    / 0          3416 / 65536         |
+------------------------------------------------------------------------------------------------+
| 7     Ascend910           | OK            | -           36                0    / 0             |
| 1     15                  | 0000:9F:00.0  | 0           0    / 0          3195 / 65536         |
+===========================+===============+====================================================+
| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |
| 7       1                 | 77            | python                   | 60970                   |
";

const MAP_A2: &str = "\tNPU ID                         Chip ID                        Chip Logic ID                  Chip Name\n\
    \t8                              0                              0                              Ascend 910B3\n\
    \t8                              1                              -                              Mcu\n\
    \t9                              0                              1                              Ascend 910B3\n\
    \t9                              1                              -                              Mcu\n";
const MAP_A3: &str = "NPU ID    Chip ID    Chip Logic ID    Chip Phy-ID    Chip Name\n\
    7         0          0                14             Ascend910\n7         1          1                15             Ascend910\n\
    7         2          -                -              Mcu\n";
const MAP_A5: &str = "NPU ID    Slot ID    Chip ID    Chip Phy-ID    Chip Name\n3         4          0          3              Ascend950DT\n";

const TOPO_A2: &str = "\t   NPU0       NPU1       NPU2       CPU Affinity\n\
    NPU0       X          HCCS       PXB        144-167\n\
    NPU1       HCCS       X          SYS        0-23,96-119\n\
    NPU2       PXB        SYS        X          \n\nLegend:\n\n  X    = Self\n  SYS  = Path traversing PCIe\n";
const TOPO_A3: &str = "           Phy-ID12   Phy-ID13   Phy-ID14\nPhy-ID12   X          SIO        HCCS_SW\n\
    Phy-ID13   SIO        X          HCCS_SW\nPhy-ID14   HCCS_SW    HCCS_SW    X\n";

fn chip(npu: u32, chip: u32, logic: Option<u32>, physical: Option<u32>, name: &str) -> Chip {
    Chip { npu, chip, logic, physical, name: Some(name.to_string()) }
}

#[test]
fn a_table_of_an_a2_tells_chips_health_and_who_computes() {
    let machine = info(A2.as_bytes(), &[]).unwrap();
    let [second, first] = &machine.accelerators[..] else { panic!() };
    assert_eq!(
        (first.kind, first.index, first.bdf),
        (AcceleratorKind::Ascend, Some(0), "c1:00.0".parse().ok())
    );
    assert_eq!((first.model.as_deref(), first.memory_bytes), (Some("910B3"), Some(64 << 30)));
    assert_eq!((&first.ailments, &first.processes), (&Some(vec![]), &Some(vec![2_961_200, 2_961_213])));
    assert_eq!((second.index, second.bdf), (Some(1), "01:00.0".parse().ok()));
    assert_eq!(second.ailments, Some(vec![Ailment::State("Alarm".to_string())]));
    assert_eq!(second.processes, Some(vec![]));
    assert_eq!(machine.pci.len(), 2);
}

#[test]
fn dies_of_one_card_are_told_apart_by_their_physical_ids() {
    let machine = info(A3.as_bytes(), &[]).unwrap();
    let found: Vec<_> =
        machine.accelerators.iter().map(|npu| (npu.index, npu.processes.clone().unwrap())).collect();
    assert_eq!(found, [(Some(14), vec![]), (Some(15), vec![77])]);
    let without = info(A3.replace("Phy-ID", "      ").as_bytes(), &[]).unwrap();
    assert!(without.accelerators.iter().all(|npu| npu.index.is_none()), "the card's number is not the die's");
    let mapped =
        info(A3.replace("Phy-ID", "      ").as_bytes(), &mapping(MAP_A3.as_bytes()).unwrap()).unwrap();
    let indices: Vec<_> = mapped.accelerators.iter().map(|npu| npu.index).collect();
    assert_eq!(indices, [Some(14), Some(15)]);
}

#[test]
fn a_table_says_less_where_columns_are_missing() {
    // The A5 names no chip of a process; containers show no bus; nobody knows the health.
    let text = A2
        .replace("| NPU     Chip              | Process id", "| NPU ID                    | Process id")
        .replace("| 0       0                 | 2961213", "| 0                         | 2961213")
        .replace("| 0       0                 | 2961200", "| 1                         | 2961200")
        .replace("0000:C1:00.0", "NA          ")
        .replace("| Alarm  ", "| UNKNOWN");
    let machine = info(text.as_bytes(), &[]).unwrap();
    let [second, first] = &machine.accelerators[..] else { panic!() };
    assert_eq!((first.bdf, first.processes.as_deref()), (None, Some(&[2_961_213][..])));
    assert_eq!((&second.ailments, second.processes.as_deref()), (&None, Some(&[2_961_200][..])));
    let before = A2.split("| NPU     Chip").next().unwrap();
    assert_eq!(info(before.as_bytes(), &[]).unwrap().accelerators[0].processes, None, "nobody looked");
    let ddr = A2
        .replace("59891/ 65536", "0    / 0    ")
        .replace("| 0           0    / 0 ", "| 0           7 / 43693 ");
    assert_eq!(info(ddr.as_bytes(), &[]).unwrap().accelerators[1].memory_bytes, Some(43693 << 20));
}

#[test]
fn the_map_of_chips_is_read_by_its_columns() {
    let read = |text: &str| mapping(text.as_bytes()).unwrap();
    assert_eq!(
        read(MAP_A2),
        [chip(8, 0, Some(0), None, "Ascend 910B3"), chip(9, 0, Some(1), None, "Ascend 910B3")]
    );
    assert_eq!(
        read(MAP_A3),
        [chip(7, 0, Some(0), Some(14), "Ascend910"), chip(7, 1, Some(1), Some(15), "Ascend910")]
    );
    // Without the column for it, the logic id is the card's.
    assert_eq!(read(MAP_A5), [chip(3, 0, Some(3), Some(3), "Ascend950DT")]);
    let renumbered = A2.replace("| 0     910B3", "| 8     910B3").replace("| 1     910B3", "| 9     910B3");
    let machine = info(renumbered.as_bytes(), &read(MAP_A2)).unwrap();
    let found: Vec<_> = machine.accelerators.iter().map(|npu| (npu.index, npu.model.clone())).collect();
    assert_eq!(
        found,
        [(Some(1), Some("Ascend 910B3".to_string())), (Some(0), Some("Ascend 910B3".to_string()))]
    );
}

fn links_of(matrix: &str) -> Machine {
    let MatrixReading { machine, strange } = topo(matrix.as_bytes()).unwrap();
    assert!(strange.is_empty(), "{strange}");
    machine
}

#[test]
fn cells_and_affinities_of_a_matrix_that_say_nothing_known_are_named_with_their_lines() {
    let text = TOPO_A2.replacen("HCCS ", "HCCZ ", 1).replace("0-23,96-119", "0-x");
    let MatrixReading { machine, strange } = topo(text.as_bytes()).unwrap();
    assert_eq!(machine.accelerators[0].links.len(), 1, "the other's row tells");
    assert_eq!(
        strange.to_string(),
        "2 cells say nothing that is known, and are taken for unknown: \"HCCZ\" in line 2, row NPU0, column NPU1, \
         \"0-x\" in line 3, row NPU1, column CPU Affinity"
    );
}

#[test]
fn the_matrix_tells_links_paths_and_nearest_cpus() {
    let link = |peer, kind| Attachment { peer, kind, lanes: 1, mb_per_s: None };
    let machine = links_of(TOPO_A2);
    let [first, second, third] = &machine.accelerators[..] else { panic!() };
    assert_eq!(first.links, [link(Peer::Numbered(1), LinkKind::Hccs)]);
    assert_eq!(second.links, [link(Peer::Numbered(0), LinkKind::Hccs)]);
    assert_eq!(second.cpus.as_ref().unwrap().to_string(), "0-23,96-119");
    assert_eq!((&third.cpus, third.links.len()), (&None, 0), "the A5 has no affinity");
    assert_eq!(machine.path(Device::Accelerator(2), Device::Accelerator(0)), Some(PathType::Pxb));
    assert_eq!(
        machine.path(Device::Accelerator(0), Device::Accelerator(1)),
        None,
        "HCCS is no path of PCI Express"
    );

    let machine = links_of(TOPO_A3);
    let links: Vec<_> =
        machine.accelerators.iter().map(|npu| (npu.index.unwrap(), npu.links.clone())).collect();
    let switch = link(Peer::Switch(None), LinkKind::Hccs);
    let die = |index| link(Peer::Numbered(index), LinkKind::Sio);
    assert_eq!(
        links,
        [(12, vec![die(13), switch.clone()]), (13, vec![die(12), switch.clone()]), (14, vec![switch])]
    );
}

#[test]
fn table_and_matrix_are_one_machine() {
    let machine = info(A2.as_bytes(), &[]).unwrap().merge(links_of(TOPO_A2));
    assert_eq!(machine.accelerators.len(), 3);
    let first = machine.accelerators.iter().find(|npu| npu.index == Some(0)).unwrap();
    assert_eq!(first.links[0].peer, Peer::Accelerator("01:00.0".parse().unwrap()));
    assert_eq!(first.cpus.as_ref().unwrap().to_string(), "144-167");
}

const LLDP: &str = "Chassis ID TLV\n\tMAC: E8-BD-D1-03-4C-D0\nPort ID TLV\n\tIfname: 400GE1/1/20:2\nTime to Live TLV\n\t60\n\
    Port Description TLV\n\tto tray 3\nSystem Name TLV\n\tleaf-3\nSystem Description TLV\n\tRouting Platform\n\
    VRP (R) software, Version 8\n\nPort ID TLV of a liar\n\nSystem Capabilities TLV\n\tSystem capabilities: Bridge, Router\n\
    \tEnabled capabilities: Bridge, Router\nManagement Address TLV\n\tIPv4: 10.0.0.7\n\tIfindex: 83\nPort VLAN ID TLV\n\
    \tPVID: 54\nLink Aggregation TLV\n\tAggregation capable\n\tAggregated Port ID: 9\nMaximum Frame Size TLV\n\t9216\n\
    End of LLDPDU TLV\n";

#[test]
fn the_neighbour_of_an_npus_port_is_evidence_like_that_of_any_port() {
    let found = neighbour(LLDP.as_bytes()).unwrap();
    assert_eq!((found.chassis.as_str(), found.port.as_str()), ("mac e8:bd:d1:03:4c:d0", "400GE1/1/20:2"));
    assert_eq!((found.port_is_name, found.forwards, found.ttl), (true, Some(true), Duration::from_secs(60)));
    assert_eq!((found.vlan, found.aggregate, found.max_frame), (Some(54), Some(9), Some(9216)));
    assert_eq!(found.port_description.as_deref(), Some("to tray 3"));
    let evidence = found.evidence(End::of_port("n17", "npu3"), "hccn_tool", Timestamp(1_000_000)).unwrap();
    assert_eq!((evidence.source, evidence.expires), (Source::Lldp, Some(Timestamp(61_000_000))));
    let Claim::Attached { end, switch, switch_port, .. } = evidence.claim else { panic!() };
    assert_eq!((end, switch_port.as_deref()), (End::of_port("n17", "npu3"), Some("400GE1/1/20:2")));
    assert_eq!((switch.name.as_deref(), switch.address.as_deref()), (Some("leaf-3"), Some("10.0.0.7")));

    let least = neighbour(b"Chassis ID TLV\n\tLocal: sw\nPort ID TLV\n\tMAC: 00:00:00:00:00:01\n").unwrap();
    assert_eq!(
        (least.chassis.as_str(), least.port_is_name, least.ttl),
        ("local sw", false, Duration::from_secs(120))
    );
    let endpoint = LLDP.replace("Enabled capabilities: Bridge, Router", "Enabled capabilities: Station Only");
    assert_eq!(neighbour(endpoint.as_bytes()).unwrap().forwards, Some(false));
}

#[test]
fn the_port_of_an_npu_has_its_name_address_and_state() {
    assert_eq!(address(b"ipaddr:29.1.112.213\nnetmask:255.255.0.0\n").unwrap(), "29.1.112.213/16");
    assert!(address(b"ipaddr:29.1.112.213\nnetmask:255.0.255.0\n").is_err(), "no mask of a network");
    assert!(is_up(b"link status: UP\n").unwrap() && !is_up(b"\nlink status: DOWN\n").unwrap());
    let npu = Accelerator {
        index: Some(3),
        bdf: "c1:00.0".parse().ok(),
        ..Accelerator::new(AcceleratorKind::Ascend)
    };
    let nic = port(&npu, Some(true), Some("29.1.112.213/16".to_string())).unwrap();
    assert_eq!((nic.name.as_str(), nic.up, nic.bdf), ("npu3", Some(true), npu.bdf));
    assert_eq!(nic.addresses, ["29.1.112.213/16"]);
    assert_eq!(port(&Accelerator { index: None, ..npu }, None, None), None);
}

#[test]
fn what_the_tools_say_instead_is_said_on() {
    let said = |text: &str| info(text.as_bytes(), &[]).unwrap_err().to_string();
    assert_eq!(
        said("dcmi model initialized failed. ret is -8020\n"),
        "there is no table with the columns NPU, Health and Bus-Id, but \"dcmi model initialized failed. ret is -8020\"; \
         take all that `npu-smi info` writes"
    );
    assert!(
        said(&A2.replace("| 0     910B3", "| x     910B3"))
            .starts_with("line 7: \"x     910B3\" is no number of an NPU")
    );
    assert!(
        said(&A2.replace("0000:C1:00.0", "0000:C1:00  "))
            .starts_with("line 8: \"0000:C1:00\" is no PCI address")
    );
    assert!(
        said(&A2.replace("0000:C1", "0000:01"))
            .starts_with("line 10: a second chip has the address 0000:01:00.0")
    );
    assert!(matches!(info(&vec![b' '; 2 << 20], &[]), Err(InfoError::TooLarge { .. })));
    let said = |text: &str| mapping(text.as_bytes()).unwrap_err().to_string();
    assert!(said("Chip Name\n").contains("`npu-smi info -m`"));
    assert_eq!(
        said("NPU ID   Chip ID   Chip Name\n0\n"),
        "line 2: there is no number under `Chip ID`; take the text unwrapped and whole"
    );
    let error = neighbour(b"Cmd os_lldp_get fail, ret:1\n").unwrap_err();
    assert!(error.to_string().contains("Cmd os_lldp_get fail, ret:1"), "{error}");
    assert!(matches!(is_up(b""), Err(HccnError::Missing { .. })));
    assert!(topo(b"NPU0 X\n").unwrap_err().to_string().contains("`npu-smi info -t topo`"));
}

#[test]
fn texts_are_recognised_by_their_content() {
    for (text, kind) in [
        (A2, Kind::NpuSmi),
        (A3, Kind::NpuSmi),
        (MAP_A2, Kind::NpuMapping),
        (MAP_A5, Kind::NpuMapping),
        (TOPO_A2, Kind::NpuMatrix),
        (TOPO_A3, Kind::NpuMatrix),
    ] {
        assert_eq!(recognise(text.as_bytes()), Some(kind), "{text}");
    }
}

fn read_all(bytes: &[u8]) -> Vec<Machine> {
    let chips = mapping(bytes).unwrap_or_default();
    let _ = (address(bytes), is_up(bytes));
    if let Ok(found) = neighbour(bytes) {
        let switch = found.switch();
        let names = [Some(found.chassis), Some(found.port), switch.name, switch.address];
        assert!(
            names.into_iter().flatten().all(|name| name.len() <= 1100 && !name.chars().any(char::is_control))
        );
    }
    [info(bytes, &chips).ok(), topo(bytes).ok().map(|it| it.machine)].into_iter().flatten().collect()
}

#[test]
fn texts_may_end_behind_any_byte() {
    for text in [A2, A3, MAP_A2, MAP_A5, TOPO_A2, TOPO_A3, LLDP] {
        for end in 0..text.len() {
            let machines = read_all(&text.as_bytes()[..end]);
            assert!(machines.iter().all(|machine| machine.accelerators.len() <= 3));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_mutated_text_breaks_the_readers(
        which in 0..7usize,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
    ) {
        let mut bytes = [A2, A3, MAP_A2, MAP_A5, TOPO_A2, TOPO_A3, LLDP][which].as_bytes().to_vec();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        for machine in read_all(&bytes) {
            let names = machine.accelerators.into_iter().filter_map(|npu| npu.model);
            prop_assert!(names.into_iter().all(|name| !name.chars().any(char::is_control)));
        }
    }
}
