//! One node: what is in it, how near its devices are, and where its ports go.

mod inside;
mod matrix;
mod pci;
mod ports;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use phalanx_common::topology::Finding;
use phalanx_common::topology::machine::{AcceleratorKind, Device, Machine, Nic};

use super::paint::{Line, Paint, Tone};
use super::tree::draw;
use super::view::View;

/// The node, from its packages to the switches that its ports are on.
pub(crate) fn node(view: &View, name: &str, paint: Paint) -> String {
    let mut text = Line::toned(Tone::Strong, name).paint(paint) + "\n";
    if view.unreachable.contains(name) {
        let lost = Line::toned(Tone::Bad, "unreachable").and(", shown as it told last");
        let _ = writeln!(text, "{}", lost.paint(paint));
    }
    if let Some(why) = view.closed.get(name) {
        let _ = writeln!(text, "{}", Line::toned(Tone::Bad, why).paint(paint));
    }
    match view.machine(name) {
        Some(machine) => {
            let alike = !view.machines.contains_key(name);
            inside::summary(machine, alike, paint, &mut text);
            for branch in inside::tree(machine) {
                text.push('\n');
                draw(&branch, paint, &mut text);
            }
            matrix::matrix(machine, paint, &mut text);
        }
        None => text.push_str(
            "nothing is known of what it has inside: its worker has not told, and no file here is a record of it\n",
        ),
    }
    ports::ports(view, name, paint, &mut text);
    findings(view, name, paint, &mut text);
    text
}

fn findings(view: &View, name: &str, paint: Paint, text: &mut String) {
    let of_port = format!("{name} ");
    let about = |finding: &Finding| finding.subject == name || finding.subject.starts_with(&of_port);
    let found: Vec<Finding> = view.findings().into_iter().filter(about).collect();
    for (finding, at) in found.iter().zip(0..) {
        if at == 0 {
            text.push('\n');
        }
        let _ = writeln!(text, "{}", Line::toned(Tone::Worse, finding.to_string()).paint(paint));
        let _ = writeln!(text, "  {}", Line::of(finding.advice()).paint(paint));
    }
}

/// `GPU3`, as the vendor's tool counts.
pub(super) fn accelerator_name(machine: &Machine, row: usize) -> String {
    let Some(accelerator) = machine.accelerators.get(row) else { return String::new() };
    let word = match accelerator.kind {
        AcceleratorKind::Nvidia | AcceleratorKind::Amd => "GPU",
        AcceleratorKind::Ascend => "NPU",
    };
    let number = accelerator.index.unwrap_or_else(|| u32::try_from(row).unwrap_or(u32::MAX));
    format!("{word}{number}")
}

/// The name by which jobs know the port: of its RDMA device where it has one.
pub(super) fn nic_name(nic: &Nic) -> String {
    match &nic.rdma {
        Some(rdma) if rdma.port > 1 => format!("{}/{}", rdma.device, rdma.port),
        Some(rdma) => rdma.device.clone(),
        None => nic.name.clone(),
    }
}

/// The ports with hardware behind them, in order: with an address, or of which a path is told; all where no source
/// told of hardware.
pub(super) fn physical(machine: &Machine) -> Vec<(u32, &Nic)> {
    let told: BTreeSet<Device> = machine.told.iter().flat_map(|told| [told.ends.0, told.ends.1]).collect();
    let is_one = |(row, nic): &(u32, &Nic)| {
        let hardware = nic.bdf.is_some() || machine.pci.is_empty() || told.contains(&Device::Nic(*row));
        hardware && !machine.is_virtual(nic)
    };
    (0..).zip(&machine.nics).filter(is_one).collect()
}

/// Of all NUMA nodes, in bytes: a machine has the same that is shown as itself, and as one of its kind.
pub(super) fn host_memory(machine: &Machine) -> u64 {
    machine.host_nodes().filter_map(|(_, node)| node.about_bytes()).fold(0, u64::saturating_add)
}

/// `79.6 GiB`, `2 TiB`.
pub(super) fn memory(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let unit = (0..UNITS.len() - 1).find(|unit| bytes >> (10 * unit) < 1024).unwrap_or(UNITS.len() - 1);
    let tenths = u128::from(bytes) * 10 / (1u128 << (10 * unit));
    match tenths % 10 {
        0 => format!("{} {}", tenths / 10, UNITS[unit]),
        tenth => format!("{}.{tenth} {}", tenths / 10, UNITS[unit]),
    }
}
