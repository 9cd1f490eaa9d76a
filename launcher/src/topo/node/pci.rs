//! The PCI devices that matter, below the bridges that tell something.

use std::collections::{BTreeMap, BTreeSet};

use phalanx_common::topology::machine::{Machine, Nic, PciDevice, PciKind, PciLink, PciRoot};
use phalanx_common::topology::{Bdf, LinkLayer};

use super::super::paint::{Line, Tone, counted, speed};
use super::super::tree::Branch;
use super::{accelerator_name, inside, memory, nic_name};

/// Bridges above a device; a file may have ones that are above themselves.
const DEEPEST: usize = 32;

/// A bridge or a device, and what is plugged into it.
#[derive(Default)]
struct Plugged {
    below: BTreeMap<Bdf, Plugged>,
}

/// A tree for each host bridge, by the NUMA node that its devices are at.
pub(super) fn by_node(machine: &Machine) -> BTreeMap<Option<u32>, Vec<Branch>> {
    let mut roots: BTreeMap<(Option<u32>, Option<PciRoot>), Plugged> = BTreeMap::new();
    for (bdf, device) in &machine.pci {
        if !matters(machine, *bdf, device) {
            continue;
        }
        let root = device.place.and_then(|place| place.root);
        let at = roots.entry((device.numa, root)).or_default();
        let mut above = above(machine, *bdf);
        above.reverse();
        let mut plugged = at;
        for bridge in above.into_iter().chain([*bdf]) {
            plugged = plugged.below.entry(bridge).or_default();
        }
    }
    let mut nodes: BTreeMap<Option<u32>, Vec<Branch>> = BTreeMap::new();
    for ((numa, root), plugged) in roots {
        let branches: Vec<Branch> =
            plugged.below.iter().map(|(bdf, below)| branch(machine, *bdf, below)).collect();
        let of_node = nodes.entry(numa).or_default();
        match root {
            Some(PciRoot { domain, bus }) => {
                let line = Line::toned(Tone::Faint, format!("pci{domain:04x}:{bus:02x}"));
                of_node.push(Branch { line, below: branches });
            }
            None => of_node.extend(branches),
        }
    }
    for (numa, line) in inside::unplaced(machine) {
        nodes.entry(numa).or_default().push(Branch::new(line));
    }
    nodes
}

/// No bridge, no part of an adapter that is shown already, and of a kind that is known.
fn matters(machine: &Machine, bdf: Bdf, device: &PciDevice) -> bool {
    let of_kind = !matches!(device.kind, None | Some(PciKind::Bridge | PciKind::Switch));
    let named = || machine.accelerators.iter().any(|accelerator| accelerator.bdf == Some(bdf));
    device.function_of.is_none() && (of_kind || named())
}

fn above(machine: &Machine, bdf: Bdf) -> Vec<Bdf> {
    let parent = |bdf: Bdf| machine.pci.get(&bdf)?.place?.parent;
    let mut seen = BTreeSet::from([bdf]);
    let mut above = Vec::new();
    let mut at = parent(bdf);
    while let Some(bridge) = at.filter(|bridge| above.len() < DEEPEST && seen.insert(*bridge)) {
        above.push(bridge);
        at = parent(bridge);
    }
    above
}

/// Bridges with one thing below them are left out.
fn branch(machine: &Machine, bdf: Bdf, plugged: &Plugged) -> Branch {
    let below = &plugged.below;
    let is_switch = machine.pci.get(&bdf).and_then(|device| device.kind) == Some(PciKind::Switch);
    if let (Some((only, inner)), 1, false) = (below.first_key_value(), below.len(), is_switch) {
        return branch(machine, *only, inner);
    }
    if below.is_empty() {
        return Branch::new(device(machine, bdf));
    }
    // A switch has ports, which are bridges; below a root port are functions of one device.
    let ports = below.iter().filter(|(_, inner)| !inner.below.is_empty()).count();
    let what = if is_switch || ports > 1 { "PCI switch" } else { "PCI bridge" };
    let line = Line::of(what).with(Tone::Faint, format!("  {}", short(bdf)));
    Branch { line, below: below.iter().map(|(bdf, inner)| branch(machine, *bdf, inner)).collect() }
}

fn device(machine: &Machine, bdf: Bdf) -> Line {
    let at = |line: Line| line.with(Tone::Faint, format!("  {}", short(bdf)));
    let device = machine.pci.get(&bdf);
    let link = device.map(|device| link(&device.link)).unwrap_or_default();
    if let Some(row) = machine.accelerators.iter().position(|accelerator| accelerator.bdf == Some(bdf)) {
        return at(accelerator(machine, row)).join(link);
    }
    let ports: Vec<&Nic> = machine.nics.iter().filter(|nic| nic.bdf == Some(bdf)).collect();
    if let Some((first, others)) = ports.split_first() {
        let line = others.iter().fold(nic(first), |line, other| line.and(" + ").join(nic(other)));
        let parts = machine.pci.values().filter(|device| device.function_of == Some(bdf)).count();
        let parts = (parts > 0).then(|| format!("  {}", counted(parts, "virtual function")));
        return at(line).join(link).with(Tone::Faint, parts.unwrap_or_default());
    }
    let what = match device.and_then(|device| device.kind) {
        // A chip of AMD that draws may be the board's own.
        Some(PciKind::Gpu) if draws(device) => "display controller, or a GPU that no tool told of",
        Some(PciKind::Gpu) => "GPU that no tool told of",
        Some(PciKind::NvSwitch) => "NVSwitch",
        Some(PciKind::Network) => "network adapter without a port",
        Some(PciKind::Nvme) => "NVMe",
        _ => "device",
    };
    at(Line::of(what)).join(link)
}

fn draws(device: Option<&PciDevice>) -> bool {
    device.and_then(|device| device.class).is_some_and(|class| class >> 8 == 0x0300)
}

/// What it is, and what is wrong with it.
pub(super) fn accelerator(machine: &Machine, row: usize) -> Line {
    let Some(of) = machine.accelerators.get(row) else { return Line::default() };
    let mut line = Line::toned(Tone::Strong, accelerator_name(machine, row));
    if let Some(model) = &of.model {
        line = line.and(format!("  {model}"));
    }
    if let Some(bytes) = of.memory_bytes {
        line = line.and(format!("  {}", memory(bytes)));
    }
    if of.mig == Some(true) {
        line = line.and(format!("  MIG, {}", counted(of.slices.len(), "slice")));
    }
    if let Some(processes) = of.processes.as_ref().filter(|processes| !processes.is_empty()) {
        line = line.with(Tone::Worse, format!("  used by {}", counted(processes.len(), "process")));
    }
    for ailment in of.ailments.iter().flatten() {
        line = line.with(Tone::Bad, format!("  {ailment}"));
    }
    line
}

pub(super) fn nic(of: &Nic) -> Line {
    let mut line = Line::toned(Tone::Strong, nic_name(of));
    if of.rdma.is_some() && of.name != nic_name(of) {
        line = line.and(format!(" ({})", of.name));
    }
    line = line.and(match of.layer {
        LinkLayer::InfiniBand => "  InfiniBand",
        LinkLayer::Ethernet => "  Ethernet",
        LinkLayer::Unknown => "",
    });
    if let Some(mbps) = of.speed_mbps {
        line = line.and(format!(" {}", speed(mbps)));
    }
    match of.up {
        Some(false) => line.with(Tone::Bad, " down"),
        _ => line,
    }
}

/// `x16 32 GT/s`; coloured where fewer lanes are in use than both ends have. A speed below the highest says nothing: idle
/// links slow down.
fn link(of: &PciLink) -> Line {
    let Some(width) = of.width.filter(|width| *width > 0) else { return Line::default() };
    let speed = of.max_speed.max(of.speed).map(|speed| format!(" {} GT/s", f64::from(speed) / 1000.0));
    let speed = speed.unwrap_or_default();
    match of.max_width.filter(|most| *most > width) {
        Some(most) => Line::toned(Tone::Worse, format!("  x{width} of x{most}{speed}")),
        None => Line::toned(Tone::Faint, format!("  x{width}{speed}")),
    }
}

/// Without the domain where it is 0.
fn short(bdf: Bdf) -> String {
    let text = bdf.to_string();
    text.strip_prefix("0000:").map(str::to_string).unwrap_or(text)
}
