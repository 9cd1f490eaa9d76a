//! Packages, memory and devices of a machine, in the manner of `lstopo`.

use std::collections::{BTreeMap, BTreeSet};

use phalanx_common::topology::machine::{AcceleratorKind, CpuSet, Device, Machine, NumaNode, Package};

use super::super::paint::{Line, Paint, Tone, counted};
use super::super::tree::Branch;
use super::{host_memory, memory, pci, physical};

/// Caches and distances that are listed one by one.
const LISTED: usize = 8;

/// What the machine is, in a few lines. `alike`: it is known by its kind only.
pub(super) fn summary(machine: &Machine, alike: bool, paint: Paint, text: &mut String) {
    let mut fact = |name: &str, what: String| {
        if !what.is_empty() {
            text.push_str(&paint.piece(Tone::Faint, &format!("{name:<14}")));
            text.push_str(&Line::of(what).paint(paint));
            text.push('\n');
        }
    };
    let board = [&machine.board.vendor, &machine.board.product].map(|it| it.as_deref().unwrap_or_default());
    let mut board: Vec<&str> = board.into_iter().filter(|it| !it.is_empty()).collect();
    board.extend(machine.architecture.as_deref());
    fact("machine", board.join(", "));
    if alike {
        fact(
            "known by",
            "its kind alone: a snapshot has what machines of one kind have in common, without names, addresses and states"
                .to_string(),
        );
    }
    let mut cpu = Vec::new();
    let model = machine.cpu.name.as_deref().or(machine.cpu.vendor.as_deref());
    match (machine.packages.len(), model) {
        (0, model) => cpu.extend(model.map(str::to_string)),
        (packages, Some(model)) => cpu.push(format!("{packages} x {}", squeezed(model))),
        (packages, None) => cpu.push(counted(packages, "package")),
    }
    if !machine.cores.is_empty() {
        cpu.push(counted(machine.cores.len(), "core"));
    }
    let cpus = machine.cpus().len();
    if cpus > 0 {
        cpu.push(counted(cpus, "thread"));
    }
    fact("cpu", cpu.join(", "));
    let bytes = host_memory(machine);
    if bytes > 0 {
        fact(
            "memory",
            format!("{} in {}", memory(bytes), counted(machine.host_nodes().count(), "NUMA node")),
        );
    }
    let mut models: BTreeMap<String, usize> = BTreeMap::new();
    for accelerator in &machine.accelerators {
        let model = accelerator.model.clone().unwrap_or_else(|| unnamed(accelerator.kind).to_string());
        let memory = accelerator.memory_bytes.map(|bytes| format!(", {}", memory(bytes))).unwrap_or_default();
        *models.entry(format!("{model}{memory}")).or_default() += 1;
    }
    let models: Vec<String> = models.into_iter().map(|(model, count)| format!("{count} x {model}")).collect();
    fact("accelerators", models.join("; "));
    let allowed = [("CPUs", &machine.allowed.cpus), ("NUMA nodes", &machine.allowed.nodes)];
    let mut limits: Vec<String> =
        allowed.iter().filter_map(|(what, set)| Some(format!("{what} {}", set.as_ref()?))).collect();
    limits.extend(machine.allowed.memory_bytes.map(memory));
    fact("allowed", limits.join(", "));
}

/// What an accelerator is called of which no model is known.
fn unnamed(kind: AcceleratorKind) -> &'static str {
    match kind {
        AcceleratorKind::Nvidia => "NVIDIA GPU",
        AcceleratorKind::Amd => "AMD GPU",
        AcceleratorKind::Ascend => "Ascend NPU",
    }
}

/// A tree for each package, and for what is in none.
pub(super) fn tree(machine: &Machine) -> Vec<Branch> {
    let mut devices = pci::by_node(machine);
    let mut left: BTreeSet<u32> = machine.numa.keys().copied().collect();
    let mut roots = Vec::new();
    for package in &machine.packages {
        let inside: Vec<u32> = left
            .iter()
            .copied()
            .filter(|id| {
                let cpus = &machine.numa[id].cpus;
                !cpus.is_empty() && cpus.is_subset(&package.cpus)
            })
            .collect();
        let mut root = Branch::new(package_line(machine, package));
        for id in inside {
            left.remove(&id);
            root.below.push(numa(machine, id, devices.remove(&Some(id)).unwrap_or_default()));
        }
        if machine.numa.is_empty() {
            root.below.extend(caches(machine, &package.cpus));
        }
        roots.push(root);
    }
    for id in left {
        roots.push(numa(machine, id, devices.remove(&Some(id)).unwrap_or_default()));
    }
    for (node, devices) in devices {
        let what = match node {
            Some(node) => format!("devices at NUMA node {node}, of which nothing else is known"),
            None if machine.numa.len() <= 1 => "devices".to_string(),
            None => "devices of no known NUMA node".to_string(),
        };
        roots.push(Branch { line: Line::toned(Tone::Strong, what), below: devices });
    }
    roots
}

fn package_line(machine: &Machine, package: &Package) -> Line {
    let line = Line::toned(Tone::Strong, format!("package {}", package.id));
    line.and(format!("  {}", cpus(machine, &package.cpus)))
}

/// `56 cores, CPUs 0-55,112-167`.
fn cpus(machine: &Machine, cpus: &CpuSet) -> String {
    if cpus.is_empty() {
        // Of a machine of which no CPU is known, nobody says that there is none here.
        return if machine.cpus().is_empty() { "CPUs not known" } else { "no CPUs" }.to_string();
    }
    match machine.cores.iter().filter(|core| core.is_subset(cpus)).count() {
        0 => format!("CPUs {cpus}"),
        cores => format!("{}, CPUs {cpus}", counted(cores, "core")),
    }
}

fn numa(machine: &Machine, id: u32, devices: Vec<Branch>) -> Branch {
    let node: &NumaNode = &machine.numa[&id];
    let line = Line::toned(Tone::Strong, format!("NUMA {id}"));
    let bytes = node.about_bytes().map(|bytes| format!("{}, ", memory(bytes))).unwrap_or_default();
    let mut line = line.and(format!("  {bytes}{}", cpus(machine, &node.cpus)));
    let others: Vec<String> = node
        .distances
        .iter()
        .filter(|(to, _)| **to != id)
        .map(|(to, far)| format!("{far} to {to}"))
        .collect();
    if !others.is_empty() && others.len() <= LISTED {
        line = line.with(Tone::Faint, format!("  distance {}", others.join(", ")));
    }
    let owner = machine.accelerators.iter().position(|accelerator| accelerator.own_node == Some(id));
    if let Some(row) = owner {
        line = line.and(format!(", memory of {}", super::accelerator_name(machine, row)));
    }
    let mut branch = Branch::new(line);
    branch.below.extend(caches(machine, &node.cpus));
    branch.below.extend(devices);
    branch
}

/// Last-level caches, as one line where they are alike.
fn caches(machine: &Machine, cpus: &CpuSet) -> Option<Branch> {
    let caches: Vec<&CpuSet> =
        machine.l3.iter().filter(|cache| !cache.is_empty() && cache.is_subset(cpus)).collect();
    let sizes: BTreeSet<usize> = caches.iter().map(|cache| cache.len()).collect();
    let threads = sizes.last().copied()?;
    let line = match (caches.len(), sizes.len()) {
        (1, _) => Line::of(format!("L3 of {}", counted(threads, "thread"))),
        (count, 1) if count > LISTED => Line::of(format!("{count} x L3 of {}", counted(threads, "thread"))),
        (count, _) => {
            let sets: Vec<String> = caches.iter().take(2 * LISTED).map(ToString::to_string).collect();
            Line::of(format!("{count} x L3  ")).with(Tone::Faint, sets.join(" | "))
        }
    };
    Some(Branch::new(line))
}

/// Without the runs of spaces that CPUs have in their names.
fn squeezed(name: &str) -> String {
    name.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The devices without a PCI address, by the NUMA node they are at.
pub(super) fn unplaced(machine: &Machine) -> Vec<(Option<u32>, Line)> {
    let known = |device| machine.bdf(device).is_some_and(|bdf| machine.pci.contains_key(&bdf));
    let accelerators = (0u32..)
        .zip(&machine.accelerators)
        .filter(|(row, _)| !known(Device::Accelerator(*row)))
        .map(|(row, _)| (machine.numa_of(Device::Accelerator(row)), pci::accelerator(machine, row as usize)));
    let nics = physical(machine)
        .into_iter()
        .filter(|(row, _)| !known(Device::Nic(*row)))
        .map(|(row, nic)| (machine.numa_of(Device::Nic(row)), pci::nic(nic)));
    accelerators.chain(nics).collect()
}
