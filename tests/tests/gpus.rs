//! What a worker finds out about NVIDIA GPUs, through the real nvml-wrapper and a library without hardware.

#[path = "support/look.rs"]
mod look;
mod support;

use std::path::Path;

use look::{Look, machine, replace, sys};
use phalanx_common::topology::Bdf;
use phalanx_common::topology::machine::{Accelerator, Ailment, CpuSet, FabricState, Machine, Peer, Platform};
use phalanx_formats::nvml_profile;
use serde_json::json;
use support::{Sandbox, capture};

fn board(name: &str) -> Option<String> {
    capture(&format!("nvml-mock-profiles/mock-nvml-config-{name}.yaml"))
}

fn gpus(profile: &Path) -> Vec<Accelerator> {
    Look::at(&["gpus"], profile).machine().accelerators
}

/// What NVML answers of a profile: it also knows the nearest memory, and knows the generation of NVLink, from which
/// follows what one link carries.
fn expected(profile: &str, mb_per_s: u64) -> Vec<Accelerator> {
    let Machine { mut accelerators, pci, .. } = nvml_profile::read(profile.as_bytes()).expect("a profile");
    for gpu in &mut accelerators {
        let numa = gpu.bdf.and_then(|bdf| pci[&bdf].numa).expect("a NUMA node");
        gpu.nodes = Some(numa.to_string().parse::<CpuSet>().expect("a list of one"));
        for link in &mut gpu.links {
            link.mb_per_s = Some(mb_per_s * u64::from(link.lanes));
        }
    }
    accelerators
}

fn bdf(text: &str) -> Bdf {
    text.parse().expect("a PCI address")
}

#[test]
fn an_h100_node_is_seen_as_its_profile_says_and_a_cluster_of_zeros_is_no_domain() {
    let Some(profile) = board("h100") else { return };
    // Real ones without a fabric of several machines say zeros.
    let profile =
        profile.replace("00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000000");
    let sandbox = Sandbox::new();
    let found = gpus(&sandbox.file("h100.yaml", &profile));
    assert_eq!(found, expected(&profile, 25_000));

    let first = &found[0];
    assert_eq!((found.len(), first.bdf, first.index), (8, Some(bdf("1a:00.0")), Some(0)));
    assert_eq!(first.uuid.as_deref(), Some("GPU-01000100-0000-0000-0000-000000000000"));
    assert_eq!((first.model.as_deref(), first.memory_bytes), (Some("NVIDIA H100 80GB HBM3"), Some(80 << 30)));
    let links: Vec<(Peer, u32)> = first.links.iter().map(|link| (link.peer, link.lanes)).collect();
    let switch = |bus| Peer::Switch(Some(bdf(&format!("{bus}:00.0"))));
    assert_eq!(links, [(switch("05"), 5), (switch("06"), 5), (switch("07"), 4), (switch("08"), 4)]);
    assert_eq!(found[7].nodes.as_ref().map(CpuSet::to_string).as_deref(), Some("1"));
    for gpu in &found {
        let fabric = gpu.fabric.as_ref().expect("a fabric");
        assert_eq!((fabric.state, fabric.succeeded), (FabricState::Completed, Some(true)));
        assert_eq!((fabric.domain(), gpu.platform.as_ref()), (None, None));
    }
}

#[test]
fn a_gb200_node_is_seen_with_its_domain_its_clique_and_its_place_in_the_rack() {
    let Some(profile) = board("gb200") else { return };
    // The capture does not say where in a rack it is.
    let place = "  platform: {chassis_serial_number: \"1822725100200\", slot_number: 21, tray_index: 11, host_id: 1, \
                 module_id: 3}\n  fabric:\n";
    let profile = profile.replacen("  fabric:\n", place, 1).replace("clique_id: 0", "clique_id: 32766");
    let sandbox = Sandbox::new();
    let found = gpus(&sandbox.file("gb200.yaml", &profile));
    assert_eq!(found, expected(&profile, 50_000));

    let last = &found[7];
    assert_eq!((found.len(), last.bdf, last.memory_bytes), (8, Some(bdf("cb:00.0")), Some(192 << 30)));
    let domain = last.fabric.as_ref().and_then(|fabric| fabric.domain()).expect("a domain");
    assert_eq!((domain.cluster.0[15], domain.clique), (1, 32766));
    let platform = Platform {
        chassis: Some("1822725100200".to_owned()),
        slot: Some(21),
        tray: Some(11),
        host: Some(1),
        module: Some(3),
    };
    assert_eq!(last.platform, Some(platform));
    assert_eq!(last.nodes.as_ref().map(CpuSet::to_string).as_deref(), Some("3"));
}

/// Three GPUs, each with something of its own.
const OWN: &str = r#"
device_defaults:
  name: Test
  memory: {total_bytes: 1073741824}
devices:
- index: 0
  uuid: GPU-aa
  pci: {bus_id: "0000:10:00.0"}
  mig:
    mode_current: enabled
    instances:
    - {id: 1, profile: 3g.40gb, uuid: MIG-a1}
    - {id: 5, profile: 1g.10gb, uuid: MIG-a5}
    - {id: 6, profile: 1c.2g.20gb, uuid: MIG-a6}
- index: 1
  uuid: GPU-bb
  pci: {bus_id: "0000:20:00.0"}
  processes:
  - {pid: 1, type: C}
  - {pid: 2, type: G}
- index: 2
  uuid: GPU-cc
  pci: {bus_id: "0000:30:00.0"}
  processes:
  - {pid: 2, type: G}
nvlink:
  version: 3
  device_links:
  - {index: 1, links: [{link: 0, remote_index: 2}, {link: 1, remote_index: 2}, {link: 2, remote_device_type: cpu}]}
pcie_topology:
  root_complexes:
  - {id: "pci0000:00", numa_node: 0, devices: ["0000:10:00.0", "0000:20:00.0"], cpu_affinity: "0-3,70"}
"#;

#[test]
fn slices_links_to_gpus_and_the_nearest_cpus_are_seen() {
    let sandbox = Sandbox::new();
    let found = gpus(&sandbox.file("own.yaml", OWN));
    let [first, second, third] = &found[..] else { panic!("{found:?}") };
    let slices: Vec<_> = first
        .slices
        .iter()
        .map(|it| (it.index, it.uuid.as_deref(), it.memory_bytes.unwrap() >> 30))
        .collect();
    assert_eq!(slices, [(0, Some("MIG-a1"), 40), (1, Some("MIG-a5"), 10), (2, Some("MIG-a6"), 20)]);
    let compute: Vec<_> = first.slices.iter().map(|it| it.instance_slices.zip(it.compute_slices)).collect();
    assert_eq!(compute, [Some((3, 3)), Some((1, 1)), Some((2, 1))]);
    assert_eq!((first.mig, second.mig, second.slices.len()), (Some(true), Some(false), 0));
    let links: Vec<_> = second.links.iter().map(|link| (link.peer, link.lanes, link.mb_per_s)).collect();
    let peer = Peer::Accelerator(bdf("30:00.0"));
    assert_eq!(links, [(peer, 2, Some(50_000)), (Peer::Cpu(None), 1, Some(25_000))]);
    assert_eq!(first.cpus.as_ref().map(CpuSet::to_string).as_deref(), Some("0-3,70"));
    assert_eq!((&third.cpus, &third.nodes, third.own_node), (&None, &None, None), "nobody says it");
}

#[test]
fn who_computes_on_a_gpu_is_seen_and_who_draws_is_not() {
    let sandbox = Sandbox::new();
    let profile = sandbox.file("own.yaml", OWN);
    let processes: Vec<_> = gpus(&profile).into_iter().map(|gpu| gpu.processes).collect();
    assert_eq!(processes, [Some(vec![]), Some(vec![1]), Some(vec![])]);

    let mut look = Look::at(&["free"], &profile);
    let own = look.line();
    assert_eq!(look.next(), json!({"gpus": [0, 2], "taken": [[1, 1]], "lost": []}));
    replace(&profile, &OWN.replace("pid: 1,", &format!("pid: {own},")));
    assert_eq!(look.next(), json!({"gpus": [0, 1, 2], "taken": [], "lost": []}), "it is one of ours");
}

const LOST: &str = "uuid: GPU-bb\n  failure: {mode: lost}";

#[test]
fn a_gpu_that_is_lost_is_listed_with_that_and_the_others_are_read() {
    let lost = |found: &[Accelerator]| {
        let [first, second, third] = found else { panic!("{found:?}") };
        assert_eq!((first.uuid.as_deref(), third.uuid.as_deref()), (Some("GPU-aa"), Some("GPU-cc")));
        assert_eq!((&first.ailments, &third.ailments), (&Some(vec![]), &Some(vec![])));
        let Some([Ailment::Lost(why)]) = second.ailments.as_deref() else { panic!("{second:?}") };
        assert!(why.contains("fell off the bus"), "{why}");
        assert_eq!((second.index, second.processes.as_ref(), second.links.len()), (Some(1), None, 0));
        second.clone()
    };
    let sandbox = Sandbox::new();
    // It answers the call for a handle, and nothing after that; then it is lost before anybody asks.
    for after in ["failure: {mode: lost, after_calls: 1}", "failure: {mode: lost}"] {
        let text = OWN.replace("uuid: GPU-bb", &format!("uuid: GPU-bb\n  {after}"));
        let mut found = gpus(&sandbox.file("own.yaml", &text));
        found.sort_by_key(|gpu| gpu.index);
        assert_eq!(lost(&found).bdf, None, "nobody has said it");
    }

    let profile = sandbox.file("own.yaml", OWN);
    let mut look = Look::at(&["gpus"], &profile);
    let before = look.machine().accelerators;
    assert_eq!(before[1].ailments, Some(vec![]));
    replace(&profile, &OWN.replace("uuid: GPU-bb", LOST));
    let after = lost(&look.machine().accelerators);
    assert_eq!((after.bdf, after.uuid.as_deref()), (before[1].bdf, Some("GPU-bb")), "it is known which");
    replace(&profile, OWN);
    assert_eq!(look.machine().accelerators, before, "it is back");
    assert_eq!(free(&OWN.replace("uuid: GPU-bb", LOST))["lost"], json!([1]));
}

fn free(profile: &str) -> serde_json::Value {
    let sandbox = Sandbox::new();
    let mut look = Look::at(&["free"], &sandbox.file("own.yaml", profile));
    look.line();
    look.next()
}

#[test]
fn a_gpu_that_falls_ill_while_the_worker_looks_is_told_by_the_next_look() {
    let sandbox = Sandbox::new();
    let profile = sandbox.file("own.yaml", OWN);
    let root = sys(&sandbox, "0x10de", "0x030200", &["0000:10:00.0", "0000:20:00.0", "0000:30:00.0"]);
    let mut look = Look::at(&["all", &root.to_string_lossy()], &profile);
    let mut second = || {
        let gpus = machine(&look.next()["machine"]).accelerators;
        assert_eq!(gpus.len(), 3, "NVML and PCI show the same ones: {gpus:?}");
        assert_eq!((gpus[0].uuid.as_deref(), &gpus[0].ailments), (Some("GPU-aa"), &Some(vec![])));
        assert_eq!(gpus[1].bdf, Some(bdf("20:00.0")));
        gpus[1].ailments.clone().expect("somebody looked")
    };
    assert_eq!(second(), []);
    let ill = |key: &str| OWN.replace("uuid: GPU-bb", &format!("uuid: GPU-bb\n  {key}"));
    replace(&profile, &ill("remapped_rows: {pending: true, failure_occurred: true}"));
    assert_eq!(second(), [Ailment::RowRemapFailed, Ailment::RowRemapPending]);
    replace(&profile, &ill("ecc: {errors: {volatile: {double_bit: {total: 3}}}}"));
    assert_eq!(second(), [Ailment::UncorrectableEcc(3)]);
    replace(&profile, &ill("recovery_action: 1"));
    assert_eq!(second(), [Ailment::Recovery("reset the GPU".to_owned())]);
    replace(
        &profile,
        &ill("fabric: {health: {route_unhealthy: true, incorrect_configuration: no_partition}}"),
    );
    let fabric = ["a route is unhealthy", "it is in no partition"].map(|it| Ailment::Fabric(it.to_owned()));
    assert_eq!(second(), fabric);
    replace(&profile, &OWN.replace("uuid: GPU-bb", LOST));
    assert_eq!(second().len(), 1);
    replace(&profile, OWN);
    assert_eq!(second(), []);
}

#[test]
fn a_gpu_that_was_lost_before_the_first_look_is_no_additional_one() {
    let sandbox = Sandbox::new();
    let profile = sandbox.file("own.yaml", &OWN.replace("uuid: GPU-bb", LOST));
    let root = sys(&sandbox, "0x10de", "0x030200", &["0000:10:00.0", "0000:20:00.0", "0000:30:00.0"]);
    let mut look = Look::at(&["all", &root.to_string_lossy()], &profile);
    let gpus = machine(&look.next()["machine"]).accelerators;
    let found: Vec<_> = gpus.iter().map(|gpu| (gpu.bdf, gpu.index)).collect();
    let at = |bus: &str| Some(bdf(&format!("{bus}:00.0")));
    assert_eq!(found, [(at("10"), Some(0)), (at("20"), Some(1)), (at("30"), Some(2))]);
    assert!(matches!(gpus[1].ailments.as_deref(), Some([Ailment::Lost(_)])), "{:?}", gpus[1]);
}

/// Fails when nvml-wrapper is mended: `worker/src/discovery/nvidia/raw.rs` need not ask by itself any more then.
#[test]
fn nvml_wrapper_still_says_unknown_of_the_other_end_of_a_link_where_nvml_says_switch() {
    let sandbox = Sandbox::new();
    let profile = sandbox.file(
        "own.yaml",
        &OWN.replace("version: 3", "version: 4\n  links_per_gpu: 2\n  switches: [{bdf: \"0000:05:00.0\"}]"),
    );
    let said = Look::at(&["wrapper"], &profile).line();
    assert_eq!(said["remoteDeviceType"], "Unknown");
    assert_eq!(said["remoteBusId"], "00000000:05:00.0");
    assert_eq!((&said["commonAncestor"], &said["byNvLink"]), (&json!("HostBridge"), &json!("NotSupported")));
    let first = &gpus(&profile)[0];
    assert_eq!(first.links[0].peer, Peer::Switch(Some(bdf("05:00.0"))), "the call itself says it");
}
