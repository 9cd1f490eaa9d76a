//! What NVIDIA's tools say of a machine's GPUs. The figures were read in the captures by other means.

#![allow(clippy::unwrap_used, reason = "in a test that is how it fails")]

mod support;

use phalanx_common::topology::Bdf;
use phalanx_common::topology::machine::{
    Accelerator, AcceleratorKind, Ailment, FabricState, Machine, PathType, PciKind, Peer, Platform,
};
use phalanx_formats::kind::{Kind, recognise};
use phalanx_formats::nvidia_smi::{MAX_QUERY_BYTES, QueryError, query};
use phalanx_formats::nvml_profile;
use proptest::prelude::*;
use support::capture;

fn qx(name: &str) -> Option<Machine> {
    let bytes = capture(&format!("nvidia-smi-qx/{name}.xml"))?;
    assert_eq!(recognise(&bytes), Some(Kind::NvidiaSmi), "{name}");
    Some(query(&bytes).unwrap())
}

fn profile(name: &str) -> Option<Machine> {
    let bytes = capture(&format!("nvml-mock-profiles/mock-nvml-config-{name}.yaml"))?;
    assert_eq!(recognise(&bytes), Some(Kind::NvmlProfile), "{name}");
    Some(nvml_profile::read(&bytes).unwrap())
}

fn bdf(text: &str) -> Bdf {
    text.parse().unwrap()
}

fn addresses(machine: &Machine) -> Vec<String> {
    machine.accelerators.iter().map(|gpu| gpu.bdf.unwrap().to_string()).collect()
}

fn whole(gpu: &Accelerator) -> (&str, u64, Option<bool>) {
    (gpu.model.as_deref().unwrap(), gpu.memory_bytes.unwrap() >> 20, gpu.mig)
}

#[test]
fn eight_h100_of_one_machine_have_a_completed_fabric_and_no_domain() {
    let Some(machine) = qx("qx-h100") else { return };
    assert_eq!(
        addresses(&machine),
        ["53", "64", "75", "86", "97", "a8", "b9", "ca"].map(|bus| format!("0000:{bus}:00.0"))
    );
    let modules: Vec<Option<u32>> =
        machine.accelerators.iter().map(|gpu| gpu.platform.as_ref().unwrap().module).collect();
    assert_eq!(modules, [7, 5, 6, 8, 1, 3, 4, 2].map(Some));
    for (gpu, index) in machine.accelerators.iter().zip(0u32..) {
        assert_eq!(whole(gpu), ("NVIDIA H100 80GB HBM3", 81559, Some(false)));
        assert_eq!((gpu.kind, gpu.index), (AcceleratorKind::Nvidia, Some(index)));
        assert_eq!(gpu.serial, Some(format!("165000000000{}", index + 1)));
        assert_eq!((&gpu.ailments, &gpu.processes), (&Some(vec![]), &Some(vec![])));
        let fabric = gpu.fabric.as_ref().unwrap();
        assert_eq!(
            (fabric.state, fabric.succeeded, fabric.clique),
            (FabricState::Completed, Some(true), Some(0))
        );
        assert_eq!(fabric.domain(), None, "a cluster of zeros is none");
    }
    let device = &machine.pci[&bdf("53:00.0")];
    assert_eq!((device.kind, device.vendor, device.device), (Some(PciKind::Gpu), Some(0x10de), Some(0x2330)));
    assert_eq!(
        (device.class, device.link.speed, device.link.width),
        (Some(0x03_0200), Some(32_000), Some(16))
    );
}

#[test]
fn a_tray_of_gb200_says_its_domain_and_its_place_in_the_rack() {
    let Some(machine) = qx("qx-gb200") else { return };
    assert_eq!(addresses(&machine), ["29", "3f", "9c", "b2"].map(|bus| format!("0000:{bus}:00.0")));
    for gpu in &machine.accelerators {
        assert_eq!(whole(gpu), ("NVIDIA GB200", 189_471, Some(false)));
        let domain = gpu.fabric.as_ref().unwrap().domain().unwrap();
        assert_eq!(domain.cluster.to_string(), "00000001-0000-0000-0000-000000000001");
        assert_eq!(domain.clique, 2);
        assert_eq!(gpu.ailments, Some(vec![]));
    }
    let platform = |module| Platform {
        chassis: Some("1820000000001".to_string()),
        slot: Some(14),
        tray: Some(4),
        host: Some(1),
        module: Some(module),
    };
    let places: Vec<Option<Platform>> = machine.accelerators.iter().map(|gpu| gpu.platform.clone()).collect();
    assert_eq!(places, [2, 1, 4, 3].map(|module| Some(platform(module))));
}

#[test]
fn a_route_that_is_unhealthy_makes_one_gpu_of_two_unfit() {
    let Some(machine) = qx("mock-qx-gb200-fabric-degraded") else { return };
    assert_eq!(addresses(&machine), ["0000:0a:00.0", "0000:0b:00.0"]);
    let ailments: Vec<&[Ailment]> =
        machine.accelerators.iter().map(|gpu| gpu.ailments.as_deref().unwrap()).collect();
    assert_eq!(ailments, [&[][..], &[Ailment::Fabric("route unhealthy".to_string())][..]]);
    // Registration succeeded, so it is in the domain nevertheless.
    let domains = machine.accelerators.iter().map(|gpu| gpu.fabric.as_ref().unwrap().domain().unwrap());
    assert!(domains.into_iter().all(|domain| domain.clique == 0));
    assert_eq!(machine.accelerators[1].platform.as_ref().unwrap().slot, Some(21));
}

#[test]
fn single_boards_have_no_fabric_and_may_have_no_mig() {
    // Link of the L40S and the T4: 8 of 16 lanes.
    for (name, model, mebibytes, speed, width, at) in [
        ("qx-a100", "NVIDIA A100-SXM4-40GB", 40960, 16_000, 16, "06:00.0"),
        ("qx-l40s", "NVIDIA L40S", 46068, 16_000, 8, "30:00.0"),
        ("qx-t4", "Tesla T4", 15360, 8_000, 8, "00:1e.0"),
    ] {
        let Some(machine) = qx(name) else { return };
        let [gpu] = &machine.accelerators[..] else { panic!("{name}") };
        assert_eq!(whole(gpu), (model, mebibytes, Some(false)));
        let link = machine.pci[&bdf(at)].link;
        assert_eq!((link.speed, link.width, link.max_width), (Some(speed), Some(width), Some(16)), "{name}");
        assert_eq!((gpu.bdf, gpu.fabric.as_ref()), (Some(bdf(at)), None));
        // The T4 counts a correctable error of its life; nothing is wrong with it.
        assert_eq!((&gpu.ailments, &gpu.processes), (&Some(vec![]), &Some(vec![])), "{name}");
    }
}

/// A list of one GPU, of our own making.
fn list(inside: &str) -> String {
    format!(
        "<?xml version=\"1.0\" ?>\n<!DOCTYPE nvidia_smi_log SYSTEM \"nvsmi_device_v12.dtd\">\n<nvidia_smi_log>\n\
         <attached_gpus>1</attached_gpus>\n<gpu id=\"00000000:17:00.0\">{inside}</gpu>\n</nvidia_smi_log>\n"
    )
}

fn only(inside: &str) -> Accelerator {
    let mut machine = query(list(inside).as_bytes()).unwrap();
    machine.accelerators.pop().unwrap()
}

#[test]
fn processes_that_only_draw_do_not_count_and_slices_are_told_apart() {
    let process = |pid: u32, kind: &str, instance: &str| {
        format!(
            "<process_info><gpu_instance_id>{instance}</gpu_instance_id><pid>{pid}</pid><type>{kind}</type>\
             <process_name>x</process_name><used_memory>[N/A]</used_memory></process_info>"
        )
    };
    let all = [
        process(9, "M", "N/A"),
        process(4, "C", "1"),
        process(4, "C", "2"),
        process(5, "G", "N/A"),
        process(6, "C+G", "N/A"),
        process(7, "M+C", "N/A"),
    ];
    let gpu = only(&format!("<processes>\n{}\n</processes>", all.concat()));
    assert_eq!(gpu.processes, Some(vec![4, 6, 7, 9]));
    for silent in ["<processes>N/A</processes>", "<processes>[N/A]</processes>", ""] {
        assert_eq!(only(silent).processes, None, "{silent}: nobody knows");
    }

    let slices = "<mig_mode><current_mig>Enabled</current_mig></mig_mode><mig_devices>\
        <mig_device><index>0</index><gpu_instance_id>1</gpu_instance_id><compute_instance_id>0</compute_instance_id>\
        <fb_memory_usage><total>20096 MiB</total></fb_memory_usage></mig_device>\
        <mig_device><index>1</index><gpu_instance_id>5</gpu_instance_id><compute_instance_id>N/A</compute_instance_id>\
        </mig_device><mig_device><index>N/A</index></mig_device></mig_devices>";
    let gpu = only(slices);
    let found: Vec<_> = gpu
        .slices
        .iter()
        .map(|slice| (slice.index, slice.gpu_instance, slice.compute_instance, slice.memory_bytes))
        .collect();
    assert_eq!(gpu.mig, Some(true));
    assert_eq!(found, [(0, Some(1), Some(0), Some(20096 << 20)), (1, Some(5), None, None)]);
    assert_eq!(only("<mig_mode><current_mig>[N/A]</current_mig></mig_mode>").mig, Some(false));
    assert_eq!(only("").mig, None);
}

#[test]
fn every_way_to_be_unfit_is_found() {
    let ailments = |inside: &str| only(inside).ailments.unwrap();
    let state = |what: &str| Ailment::State(what.to_string());
    let fabric = |what: &str| Ailment::Fabric(what.to_string());
    let volatile = "<ecc_errors><volatile><sram_uncorrectable_parity>1</sram_uncorrectable_parity>\
        <sram_uncorrectable_secded>N/A</sram_uncorrectable_secded><dram_correctable>9</dram_correctable>\
        <dram_uncorrectable>2</dram_uncorrectable></volatile><aggregate><dram_uncorrectable>7</dram_uncorrectable>\
        <sram_threshold_exceeded>Yes</sram_threshold_exceeded></aggregate>\
        <unrepairable_memory>Yes</unrepairable_memory></ecc_errors>";
    for (inside, wrong) in [
        (
            "<gpu_recovery_action>Drain and Reset</gpu_recovery_action>",
            vec![Ailment::Recovery("Drain and Reset".into())],
        ),
        (
            "<remapped_rows><remapped_row_pending>Yes</remapped_row_pending>\
             <remapped_row_failure>Yes</remapped_row_failure></remapped_rows>",
            vec![Ailment::RowRemapFailed, Ailment::RowRemapPending],
        ),
        (
            volatile,
            vec![Ailment::UncorrectableEcc(3), state("too many SRAM errors"), state("unrepairable memory")],
        ),
        (
            "<ecc_errors><volatile><single_bit><total>4</total></single_bit><double_bit><total>1</total></double_bit>\
             </volatile></ecc_errors><retired_pages><pending_retirement>Yes</pending_retirement></retired_pages>",
            vec![Ailment::UncorrectableEcc(1), state("page retirement pending")],
        ),
        ("<product_name>[GPU is lost]</product_name>", vec![state("GPU is lost")]),
        (
            "<fabric><state>Completed</state><status>Insufficient Resources</status>\
             <clusterUuid>00000000-0000-0000-0000-000000000000</clusterUuid></fabric>",
            vec![fabric("registration failed: Insufficient Resources")],
        ),
        (
            "<fabric><state>In Progress</state><status>N/A</status></fabric>",
            vec![fabric("registration in progress")],
        ),
        ("<fabric><state>Not Supported</state></fabric>", vec![]),
        (
            "<fabric><state>Completed</state><status>Success</status><health><summary>Limited Capacity</summary>\
             <bandwidth>Degraded</bandwidth><incorrect_configuration>No Partition</incorrect_configuration></health></fabric>",
            vec![fabric("bandwidth degraded, incorrect configuration: No Partition")],
        ),
        (
            "<fabric><state>Completed</state><status>Success</status><health><summary>Unhealthy</summary></health></fabric>",
            vec![fabric("Unhealthy")],
        ),
    ] {
        assert_eq!(ailments(inside), wrong, "{inside}");
    }
    let lost = only("<product_name>[GPU is lost]</product_name><uuid>[N/A]</uuid>");
    assert_eq!((lost.model, lost.uuid), (None, None));
}

#[test]
fn a_domain_needs_success_a_cluster_and_a_clique() {
    let domain =
        |inside: &str| only(&format!("<fabric>{inside}</fabric>")).fabric.unwrap().domain().is_some();
    let uuid = "<clusterUuid>9a3b1c00-0000-0000-0000-000000000001</clusterUuid>";
    let good = format!("<state>Completed</state><status>Success</status><cliqueId>32766</cliqueId>{uuid}");
    assert!(domain(&good));
    for (from, to) in [
        ("Success", "Insufficient Resources"),
        ("Success", "N/A"),
        ("Completed", "In Progress"),
        ("32766", "N/A"),
        ("9a3b1c00-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000000"),
        ("9a3b1c00-0000-0000-0000-000000000001", "[N/A]"),
    ] {
        assert!(!domain(&good.replace(from, to)), "{to} instead of {from}");
    }
}

#[test]
fn a_list_of_some_gpus_does_not_number_them() {
    let text = list("").replace("<attached_gpus>1", "<attached_gpus>8");
    assert_eq!(query(text.as_bytes()).unwrap().accelerators[0].index, None);
}

#[test]
fn other_files_are_refused_with_what_to_do() {
    let said = |text: &str| query(text.as_bytes()).unwrap_err().to_string();
    assert_eq!(
        said("<system/>"),
        "the file begins with <system>, not with <nvidia_smi_log>; write it with `nvidia-smi -q -x`"
    );
    assert!(said(&list("").replace("17:00.0", "17:00")).starts_with("line 5: the GPU has no PCI address"));
    let twice = list("").replace("</nvidia_smi_log>", "<gpu id=\"17:00.0\"/></nvidia_smi_log>");
    assert_eq!(
        said(&twice),
        "line 6: a second GPU has the address 0000:17:00.0; the file has to be of one machine"
    );
    let many = list("").replace("</nvidia_smi_log>", &("<gpu/>".repeat(1024) + "</nvidia_smi_log>"));
    assert!(said(&many).starts_with("the file has more than 1024 GPUs"));
    let large = vec![b' '; MAX_QUERY_BYTES + 1];
    assert!(matches!(query(&large), Err(QueryError::Xml(_))));
}

#[test]
fn profiles_of_boards_have_links_to_switches_where_there_are_any() {
    // Model, GPUs, MiB of each, links of each, links to the first of its switches, MB/s of those.
    for (name, model, gpus, mebibytes, links, first, speed) in [
        ("h100", "NVIDIA H100 80GB HBM3", 8, 81920, 18, 5, 132_810),
        ("gb200", "NVIDIA GB200", 8, 196_608, 18, 5, 265_625),
        ("l40s", "NVIDIA L40S", 8, 49152, 0, 0, 0),
        ("t4", "NVIDIA T4", 4, 16384, 0, 0, 0),
    ] {
        let Some(machine) = profile(name) else { return };
        assert_eq!(machine.accelerators.len(), gpus, "{name}");
        for gpu in &machine.accelerators {
            assert_eq!(whole(gpu), (model, mebibytes, Some(false)), "{name}");
            assert_eq!(gpu.links.iter().map(|link| link.lanes).sum::<u32>(), links, "{name}");
            assert!(gpu.links.iter().all(|link| matches!(link.peer, Peer::Switch(Some(_)))));
            assert_eq!(gpu.links.first().map_or(0, |link| link.lanes), first, "{name}");
            assert_eq!(gpu.links.first().map_or(0, |link| link.mb_per_s.unwrap()), speed, "{name}");
            assert_eq!((&gpu.ailments, &gpu.processes), (&Some(vec![]), &Some(vec![])));
        }
    }
}

#[test]
fn a_profile_says_root_complexes_nodes_and_the_domain() {
    let Some(machine) = profile("gb200") else { return };
    let numa: Vec<Option<u32>> =
        (0..8).map(|row| machine.pci[&machine.accelerators[row].bdf.unwrap()].numa).collect();
    assert_eq!(numa, [0, 0, 1, 1, 2, 2, 3, 3].map(Some));
    let path = |a, b| machine.path_of(bdf(a), bdf(b));
    assert_eq!(path("0a:00.0", "0b:00.0"), Some(PathType::Phb), "one root complex");
    assert_eq!(path("0a:00.0", "cb:00.0"), Some(PathType::Sys));
    let switches = machine.pci.values().filter(|device| device.kind == Some(PciKind::NvSwitch)).count();
    assert_eq!(switches, 4);
    let domain = machine.accelerators[7].fabric.as_ref().unwrap().domain().unwrap();
    assert_eq!(domain.cluster.to_string(), "00000000-0000-0000-0000-000000000001");
    assert_eq!(machine.accelerators[7].serial.as_deref(), Some("1562849103707"));
    let Some(h100) = profile("h100") else { return };
    assert_eq!(h100.path_of(bdf("1a:00.0"), bdf("4b:00.0")), Some(PathType::Phb));
    assert_eq!(h100.path_of(bdf("1a:00.0"), bdf("cb:00.0")), Some(PathType::Sys));
    let device = &h100.pci[&bdf("1a:00.0")];
    assert_eq!((device.device, device.link.speed), (Some(0x2330), Some(32_000)));
}

/// A profile of our own making, with what those of real boards leave out.
const OWN: &str = r#"
device_defaults:
  name: Test
  mig: {mode_current: enabled}
  fabric: {cluster_uuid: "00000000-0000-0000-0000-000000000000", state: completed}
  platform: {chassis_serial_number: "182", slot_number: 21, tray_index: 11, host_id: 1}
  processes:
  - {pid: 7, type: C}
  - {pid: 8, type: G}
devices:
- index: 0
  pci: {bus_id: "0000:0A:00.0"}
  platform: {module_id: 1}
- index: 1
  pci: {bus_id: "0000:0B:00.0"}
  remapped_rows: {pending: true, failure_occurred: true}
  ecc: {errors: {volatile: {double_bit: {total: 3}}}}
  fabric: {state: in_progress, health: {route_unhealthy: true}}
- pci: {bus_id: "0000:0C:00.0"}
nvlink:
  bandwidth_per_link_mbps: 25000
  links:
  - {link: 0, remote_index: 1, state: active}
  - {link: 1, remote_pci_bus_id: "0000:0B:00.0"}
  - {link: 2, remote_index: 2, state: inactive}
  device_links:
  - index: 1
    links:
    - {link: 0, remote_device_type: switch}
pcie_topology:
  cores_per_numa: 4
  root_complexes:
  - {id: "pci0000:00", numa_node: 1, devices: ["0000:0A:00.0"]}
  - {id: "pci0000:40", numa_node: 2, devices: ["0000:0B:00.0"], cpu_affinity: "0-1,9"}
"#;

#[test]
fn what_a_device_says_for_itself_counts_before_what_all_have() {
    let machine = nvml_profile::read(OWN.as_bytes()).unwrap();
    let [first, second, third] = &machine.accelerators[..] else { panic!() };
    assert_eq!((first.mig, first.processes.as_deref(), third.index), (Some(true), Some(&[7][..]), Some(2)));
    assert_eq!(first.platform.as_ref().unwrap().module, Some(1));
    assert_eq!(first.platform.as_ref().unwrap().slot, Some(21), "a mapping is merged key by key");
    assert_eq!(first.fabric.as_ref().unwrap().domain(), None);
    assert_eq!(first.ailments, Some(vec![]));
    assert_eq!(
        second.ailments,
        Some(vec![
            Ailment::RowRemapFailed,
            Ailment::RowRemapPending,
            Ailment::UncorrectableEcc(3),
            Ailment::Fabric("route unhealthy".to_string())
        ])
    );
    assert_eq!(second.fabric.as_ref().unwrap().state, FabricState::InProgress);
    let links: Vec<Vec<(Peer, u32)>> = machine
        .accelerators
        .iter()
        .map(|gpu| gpu.links.iter().map(|link| (link.peer, link.lanes)).collect())
        .collect();
    let expected: [Vec<(Peer, u32)>; 3] =
        [vec![(Peer::Accelerator(bdf("0b:00.0")), 2)], vec![(Peer::Switch(None), 1)], vec![]];
    assert_eq!(links, expected);
    assert_eq!(first.links[0].mb_per_s, Some(50_000));
    let cpus: Vec<String> = machine.numa.values().map(|node| node.cpus.to_string()).collect();
    assert_eq!(cpus, ["4-7", "0-1,9"]);
}

#[test]
fn profiles_that_are_none_are_refused_with_their_line() {
    let said =
        |from: &str, to: &str| nvml_profile::read(OWN.replace(from, to).as_bytes()).unwrap_err().to_string();
    assert_eq!(
        said("0000:0C:00.0", "0C"),
        "line 19: the device has no `pci.bus_id` such as \"0000:1A:00.0\""
    );
    assert_eq!(
        said("bus_id: \"0000:0C", "bus_id: \"0000:0A"),
        "line 19: a second device has the address 0000:0a:00.0"
    );
    assert_eq!(said("tray_index: 11", "tray_index: x"), "line 6: the string \"x\" is no number in bounds");
    assert!(said("in_progress", "later").ends_with("\"later\" is no state of a fabric"));
    assert!(said("\"0-1,9\"", "\"9-0\"").ends_with("\"9-0\" is no list of CPUs"));
    assert!(said("devices:\n- ", "device:\n- ").starts_with("the profile should have the keys"));
    assert!(said("bandwidth_per_link_mbps", "links_per_gpu").contains("more than 64 links per GPU"));
}

/// Captures to start from, and a list of our own where there are none.
fn corpus() -> Vec<Vec<u8>> {
    let mut corpus =
        vec![list("<fabric><state>Completed</state></fabric>").into_bytes(), OWN.as_bytes().to_vec()];
    for name in ["qx-a100", "qx-gb200", "qx-t4", "mock-qx-gb200-fabric-degraded"] {
        corpus.extend(capture(&format!("nvidia-smi-qx/{name}.xml")));
    }
    for name in ["gb200", "h100", "t4"] {
        corpus.extend(capture(&format!("nvml-mock-profiles/mock-nvml-config-{name}.yaml")));
    }
    corpus
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_mutated_or_cut_file_breaks_the_readers(
        which in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        cut in any::<prop::sample::Index>(),
        whole in any::<bool>(),
    ) {
        thread_local! { static CORPUS: Vec<Vec<u8>> = corpus(); }
        let bytes = CORPUS.with(|corpus| which.get(corpus).clone());
        let bytes = support::mutated(bytes, &edits, (!whole).then_some(&cut));
        for read in [query(&bytes).ok(), nvml_profile::read(&bytes).ok()] {
            for gpu in read.into_iter().flat_map(|machine| machine.accelerators) {
                prop_assert!(gpu.bdf.is_some());
                let texts = [gpu.model, gpu.uuid, gpu.serial];
                prop_assert!(texts.into_iter().flatten().all(|it| it.len() <= 400 && !it.chars().any(char::is_control)));
            }
        }
    }
}
