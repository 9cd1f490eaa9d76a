//! One machine: its NUMA nodes, and the accelerators and ports at each.

use std::collections::BTreeMap;

use phalanx_common::topology::machine::{Device, Machine};

use super::super::node::{accelerator_name, host_memory, memory, nic_name, physical};
use super::super::paint::{counted, speed};
use super::canvas::{Canvas, fitted, wide};

const PAD: u32 = 10;
const CHIP: u32 = 22;
const GAP: u32 = 6;
/// Of a device's chip, and how many are side by side.
const WIDE: u32 = 210;
const COLUMNS: u32 = 3;

/// What is drawn of a device.
struct Chip {
    class: &'static str,
    name: String,
    title: String,
}

/// Draws the machine from `y` on and returns where it ends.
pub(super) fn draw(
    canvas: &mut Canvas,
    name: &str,
    machine: &Machine,
    (x, y, width): (u32, u32, u32),
) -> u32 {
    canvas.text(x, y + 8, "title", name);
    canvas.text(x, y + 30, "small", &summary(machine));
    let mut y = legend(canvas, x, y + 42) + PAD;
    let mut devices = devices(machine);
    let mut boxes: Vec<(String, Vec<Chip>)> = Vec::new();
    for (id, node) in &machine.numa {
        let mut parts: Vec<String> =
            node.about_bytes().filter(|bytes| *bytes > 0).map(memory).into_iter().collect();
        let cores = machine.cores.iter().filter(|core| core.is_subset(&node.cpus)).count();
        parts.extend((cores > 0).then(|| counted(cores, "core")));
        parts.extend((!node.cpus.is_empty()).then(|| format!("CPUs {}", node.cpus)));
        let title = [vec![format!("NUMA {id}")], parts].concat().join(", ");
        boxes.push((title, devices.remove(&Some(*id)).unwrap_or_default()));
    }
    for (node, chips) in devices {
        let title = match node {
            Some(node) => format!("NUMA {node}"),
            None if machine.numa.len() <= 1 => "devices".to_string(),
            None => "of no known NUMA node".to_string(),
        };
        boxes.push((title, chips));
    }
    let wide = COLUMNS * (WIDE + GAP) + 2 * PAD;
    let (mut at, mut end) = (x, y);
    for (title, chips) in boxes {
        if at > x && at + wide > x + width {
            (at, y) = (x, end + PAD);
        }
        end = end.max(numa(canvas, &title, &chips, (at, y, wide)));
        at += wide + PAD;
    }
    end
}

fn summary(machine: &Machine) -> String {
    let board = [&machine.board.vendor, &machine.board.product].into_iter().flatten().cloned();
    let mut parts: Vec<String> = board.chain(machine.cpu.name.clone()).filter(|it| !it.is_empty()).collect();
    let counts = [
        (machine.packages.len(), "package"),
        (machine.cores.len(), "core"),
        (machine.cpus().len(), "thread"),
        (machine.accelerators.len(), "accelerator"),
    ];
    parts
        .extend(counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| counted(count, what)));
    let bytes = host_memory(machine);
    parts.extend((bytes > 0).then(|| memory(bytes)));
    parts.join(" · ")
}

fn legend(canvas: &mut Canvas, x: u32, y: u32) -> u32 {
    let mut at = x;
    for (class, what) in [("gpu", "accelerator"), ("switch", "port"), ("switch bad", "not well, or down")] {
        canvas.rect((at, y, 12, 12), class, None);
        canvas.text(at + 17, y + 10, "small", what);
        at += 17 + wide(what, 11) + 18;
    }
    y + 14
}

/// Accelerators, then ports, by the NUMA node that they are at.
fn devices(machine: &Machine) -> BTreeMap<Option<u32>, Vec<Chip>> {
    let mut devices: BTreeMap<Option<u32>, Vec<Chip>> = BTreeMap::new();
    for (row, of) in (0u32..).zip(&machine.accelerators) {
        let name = accelerator_name(machine, row as usize);
        let model = of.model.clone().unwrap_or_default();
        let ailments = of.ailments.iter().flatten().map(ToString::to_string);
        let title =
            of.bdf.map(|bdf| bdf.to_string()).into_iter().chain(ailments).collect::<Vec<_>>().join(", ");
        let is_well = of.ailments.as_ref().is_none_or(Vec::is_empty);
        let class = if is_well { "gpu" } else { "gpu bad" };
        let chip = Chip { class, name: format!("{name} {model}").trim_end().to_string(), title };
        devices.entry(machine.numa_of(Device::Accelerator(row))).or_default().push(chip);
    }
    for (row, nic) in physical(machine) {
        let name = format!("{} {}", nic_name(nic), nic.speed_mbps.map(speed).unwrap_or_default());
        let class = if nic.up == Some(false) { "switch bad" } else { "switch" };
        let title = nic.bdf.map(|bdf| bdf.to_string()).unwrap_or_default();
        let chip = Chip { class, name: name.trim_end().to_string(), title };
        devices.entry(machine.numa_of(Device::Nic(row))).or_default().push(chip);
    }
    devices
}

fn numa(canvas: &mut Canvas, title: &str, chips: &[Chip], (x, y, width): (u32, u32, u32)) -> u32 {
    canvas.text(x + PAD, y + 18, "label", &fitted(title, 12, width - 2 * PAD));
    let (mut at, mut top, mut end) = (x + PAD, y + 28, y + 22);
    for chip in chips {
        if at + WIDE > x + width {
            (at, top) = (x + PAD, top + CHIP + GAP);
        }
        canvas.rect((at, top, WIDE, CHIP), chip.class, Some(&chip.title));
        canvas.text(at + 6, top + 15, "label", &fitted(&chip.name, 12, WIDE - 12));
        at += WIDE + GAP;
        end = top + CHIP;
    }
    canvas.panel((x, y, width, end + PAD - y), "box");
    end + PAD
}
