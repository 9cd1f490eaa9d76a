#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test is a shell, and fails by it")]
use phalanx_common::topology::machine::*;
use phalanx_launcher_core::placement::inside::*;
fn show(name: &str, m: &Machine) {
    let model = NodeModel::new(m, &CpuSet::new());
    assert_eq!(m.kind().allowed, Allowed::default());
    println!("== {name}: cores {} threads {} same-kind {}", model.cores(), model.threads_per_core(), NodeModel::new(&m.kind(), &CpuSet::new()) == model);
    for g in model.groups() { println!("  group {:?} cores {:?} l3 {} mem {} nearest {:?}", g.numa, g.cores, g.l3.len(), g.memory_gib, g.nearest); }
    for (i, d) in model.devices().iter().enumerate() {
        let bw: Vec<u32> = (0..model.devices().len()).map(|b| if b == i { 0 } else { model.mb_per_s(i, b) }).collect();
        println!("  dev {i} groups {:b} near {:x?} linked {:x} bw {bw:?}", d.groups, d.near, model.linked(i));
    }
    for p in model.ports() { println!("  port {p:?}"); }
    let id = NodeIdentity::new(m, &model);
    println!("  islands {:x?} jobports {:x} hca {:?}", model.islands(), id.job_ports(&model, &JobPorts::default()), model.hca(id.job_ports(&model, &JobPorts::default())));
    let free = FreeInside::whole(&model, &id, &JobPorts::default());
    for n in [1, 2, 4, 8] {
        let needs = RankNeeds { ports: u32::from(free.ports > 0), ..RankNeeds::new(n, u32::from(!model.devices().is_empty())) };
        match choose(&model, &free, &needs) { Ok(i) => println!("  {n}: {:x} {:?} {:?}", i.devices, i.quality, i.ranks.iter().map(|r| format!("{:?} {} {:?}", r.devices, r.cpus, r.ports.iter().map(|p| (p.port, p.path, p.farther)).collect::<Vec<_>>())).collect::<Vec<_>>()), Err(l) => println!("  {n}: {l}") }
    }
}
#[test]
fn dump() {
    let root = std::path::PathBuf::from("/work/shared/data/topology");
    let read = |p: &str| std::fs::read(root.join(p)).unwrap();
    show("dgx2", &phalanx_formats::hwloc_xml::read(&read("hwloc-xml/nvidiaDGX2.xml")).unwrap());
    for p in ["96em64t-4n4d3ca2co-pci", "memorysidecaches", "16amd64-4distances"] { show(p, &phalanx_formats::hwloc_xml::read(&read(&format!("hwloc-xml/{p}.xml"))).unwrap()); }
    for p in ["h100", "gb200", "l40s"] { show(p, &phalanx_formats::nvml_profile::read(&read(&format!("nvml-mock-profiles/mock-nvml-config-{p}.yaml"))).unwrap()); }
    for p in ["rccl/topo_8p1h_1", "rccl/topo_4p3l_2h", "rccl/topo_8p6l_4nic", "azure/ndv4-topo", "azure/ndv2-topo"] { show(p, &phalanx_formats::nccl_xml::read(&read(&format!("nccl-xml/{p}.xml"))).unwrap().machine); }
    for p in ["h100-8gpu-9nic-nccl-1453.gpu-rows", "gb200-k8s-test-infra-371"] { show(p, &phalanx_formats::nvidia_smi::matrix(&read(&format!("nvidia-smi-topo-m/{p}.txt"))).unwrap()); }
    for p in ["nvidiagpunumanodes", "nvidia-dgx-gb10", "40intel64-2g2n4c+pcilocality"] {
        let dir = std::env::temp_dir().join(format!("phx-{p}")); std::fs::create_dir_all(&dir).unwrap();
        let _ = std::process::Command::new("tar").arg("xf").arg(root.join(format!("hwloc-sysfs/{p}.tar.bz2"))).arg("-C").arg(&dir).output();
        let folder = std::fs::read_dir(&dir).unwrap().next().unwrap().unwrap().path();
        show(p, &phalanx_formats::sysfs::read_all(&phalanx_formats::dir::Dir::open(&folder).unwrap()).machine);
    }
}
