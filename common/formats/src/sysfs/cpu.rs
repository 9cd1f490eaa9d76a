//! CPUs, caches, NUMA nodes, and what the machine is called.

use std::collections::{BTreeMap, BTreeSet};

use phalanx_common::topology::machine::{Board, CpuModel, CpuSet, Machine, NumaNode, Package};

use crate::tree::{Ask, Tree};

const CPUS: &str = "sys/devices/system/cpu";
const NODES: &str = "sys/devices/system/node";

/// CPUs and memory alone: what a launch on this machine needs.
pub fn read(tree: &dyn Tree) -> Machine {
    let cpus = online(tree);
    let sets = |find: &dyn Fn(u32) -> Option<CpuSet>| -> Vec<CpuSet> {
        let there = |set: CpuSet| set.intersection(&cpus);
        let found: BTreeSet<CpuSet> =
            cpus.iter().filter_map(find).map(there).filter(|set| !set.is_empty()).collect();
        let mut found: Vec<CpuSet> = found.into_iter().collect();
        found.sort_by_key(|set| set.iter().next());
        found
    };
    let info = Info::read(tree);
    Machine {
        host: tree.text("proc/sys/kernel/hostname"),
        architecture: info.architecture().map(str::to_owned),
        board: Board {
            vendor: dmi(tree, &["sys_vendor", "board_vendor"]),
            product: dmi(tree, &["product_name", "board_name"]),
        },
        cpu: info.model(),
        packages: packages(tree, &cpus),
        numa: nodes(tree, &cpus),
        l3: sets(&|cpu| l3(tree, cpu)),
        cores: sets(&|cpu| {
            let topology = format!("{CPUS}/cpu{cpu}/topology");
            set(tree, &topology, &["core_cpus", "thread_siblings"])
        }),
        ..Machine::default()
    }
}

/// As a list where the kernel writes one, else as a mask, which older kernels have alone.
fn set(tree: &dyn Tree, folder: &str, names: &[&str]) -> Option<CpuSet> {
    names.iter().find_map(|name| {
        let list = tree.text(&format!("{folder}/{name}_list")).and_then(|list| list.parse().ok());
        list.or_else(|| CpuSet::from_mask(&tree.text(&format!("{folder}/{name}"))?).ok())
    })
}

fn numbered(tree: &dyn Tree, folder: &str, name: &str) -> CpuSet {
    let mut found = CpuSet::new();
    for entry in tree.list(folder) {
        if let Some(id) = entry.strip_prefix(name).and_then(|id| id.parse().ok()) {
            // An id beyond the limit is none that a kernel gives.
            let _ = found.insert(id);
        }
    }
    found
}

fn online(tree: &dyn Tree) -> CpuSet {
    let there = numbered(tree, CPUS, "cpu");
    match tree.text(&format!("{CPUS}/online")).and_then(|list| list.parse::<CpuSet>().ok()) {
        Some(online) => online.intersection(&there),
        None => there,
    }
}

/// By their ids; firmware of some ARM servers gives all of them -1, and they are counted then.
fn packages(tree: &dyn Tree, cpus: &CpuSet) -> Vec<Package> {
    let mut found: BTreeMap<CpuSet, Option<u32>> = BTreeMap::new();
    for cpu in cpus.iter() {
        let topology = format!("{CPUS}/cpu{cpu}/topology");
        if let Some(members) = set(tree, &topology, &["package_cpus", "core_siblings"]) {
            // Those that are switched off are members, too.
            let members = members.intersection(cpus);
            found.entry(members).or_insert_with(|| tree.value(&format!("{topology}/physical_package_id")));
        }
    }
    let mut packages: Vec<(CpuSet, Option<u32>)> = found.into_iter().collect();
    packages.sort_by_key(|(members, _)| members.iter().next());
    let ids: BTreeSet<Option<u32>> = packages.iter().map(|(_, id)| *id).collect();
    let told_apart = ids.len() == packages.len() && !ids.contains(&None);
    let mut packages: Vec<Package> = (0u32..)
        .zip(packages)
        .map(|(at, (cpus, id))| Package { id: id.filter(|_| told_apart).unwrap_or(at), cpus })
        .collect();
    packages.sort_by_key(|package| package.id);
    packages
}

fn l3(tree: &dyn Tree, cpu: u32) -> Option<CpuSet> {
    let caches = format!("{CPUS}/cpu{cpu}/cache");
    tree.list(&caches).iter().filter(|name| name.starts_with("index")).find_map(|index| {
        let cache = format!("{caches}/{index}");
        if tree.value::<u32>(&format!("{cache}/level")) != Some(3) {
            return None;
        }
        let list = tree.text(&format!("{cache}/shared_cpu_list")).and_then(|list| list.parse().ok());
        list.or_else(|| CpuSet::from_mask(&tree.text(&format!("{cache}/shared_cpu_map"))?).ok())
    })
}

/// A kernel without NUMA has one node of everything.
fn nodes(tree: &dyn Tree, cpus: &CpuSet) -> BTreeMap<u32, NumaNode> {
    let ids = numbered(tree, NODES, "node");
    if ids.is_empty() {
        let memory_bytes = tree.text("proc/meminfo").and_then(|text| total(&text));
        let alone = NumaNode { cpus: cpus.clone(), memory_bytes, distances: BTreeMap::new() };
        return if cpus.is_empty() { BTreeMap::new() } else { BTreeMap::from([(0, alone)]) };
    }
    let node = |id: u32| {
        let folder = format!("{NODES}/node{id}");
        let list = tree.text(&format!("{folder}/cpulist")).and_then(|list| list.parse().ok());
        let mask = || CpuSet::from_mask(&tree.text(&format!("{folder}/cpumap"))?).ok();
        // In the order of the nodes that are online.
        let distances = tree.text(&format!("{folder}/distance")).unwrap_or_default();
        let distances = ids.iter().zip(distances.split_whitespace().map_while(|word| word.parse().ok()));
        NumaNode {
            cpus: list.or_else(mask).unwrap_or_default().intersection(cpus),
            memory_bytes: tree.text(&format!("{folder}/meminfo")).and_then(|text| total(&text)),
            distances: distances.collect(),
        }
    };
    ids.iter().map(|id| (id, node(id))).collect()
}

/// Bytes of `Node 0 MemTotal:  131841704 kB`.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.split_once("MemTotal:"))?.1;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn dmi(tree: &dyn Tree, names: &[&str]) -> Option<String> {
    let known =
        |text: &String| !matches!(text.as_str(), "To Be Filled By O.E.M." | "Default string" | "None");
    names.iter().find_map(|name| tree.text(&format!("sys/class/dmi/id/{name}")).filter(known))
}

/// The first CPU of /proc/cpuinfo; its keys differ from architecture to architecture.
struct Info(BTreeMap<String, String>);

impl Info {
    fn read(tree: &dyn Tree) -> Info {
        let text = tree.text("proc/cpuinfo").unwrap_or_default();
        let mut first = BTreeMap::new();
        for line in text.lines().take(256) {
            if let Some((key, value)) = line.split_once(':') {
                first.entry(key.trim().to_owned()).or_insert_with(|| value.trim().to_owned());
            }
        }
        Info(first)
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn architecture(&self) -> Option<&'static str> {
        match () {
            () if self.get("vendor_id").is_some() && self.get("cpu family").is_some() => Some("x86_64"),
            () if self.get("CPU implementer").is_some() => Some("aarch64"),
            () if self.get("cpu").is_some_and(|cpu| cpu.starts_with("POWER")) => Some("ppc64le"),
            () => None,
        }
    }

    fn model(&self) -> CpuModel {
        CpuModel {
            vendor: self.get("vendor_id").or_else(|| self.implementer()).map(str::to_owned),
            name: self.get("model name").or_else(|| self.get("cpu")).map(str::to_owned),
            family: self.get("cpu family").and_then(|family| family.parse().ok()),
            model: self.get("model").and_then(|model| model.parse().ok()),
        }
    }

    /// MIDR_EL1 of the Arm Architecture Reference Manual.
    fn implementer(&self) -> Option<&'static str> {
        match self.get("CPU implementer")? {
            "0x41" => Some("Arm"),
            "0x48" => Some("HiSilicon"),
            "0x4e" => Some("NVIDIA"),
            "0x61" => Some("Apple"),
            "0x70" => Some("Phytium"),
            "0xc0" => Some("Ampere"),
            _ => None,
        }
    }
}
