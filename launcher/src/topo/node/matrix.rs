//! How near accelerators and ports are, in the manner of `nvidia-smi topo -m`.

use std::collections::BTreeSet;

use phalanx_common::topology::machine::{Accelerator, Attachment, Device, LinkKind, Machine, PathType};

use super::super::paint::{Line, Paint, Tone};
use super::super::tree::table;
use super::{accelerator_name, nic_name, physical};

/// Columns of the shortest legend.
const LEAST_WORD: usize = 4;

/// A row for each accelerator: the path to each other and to each port, its CPUs and NUMA node, and its nearest
/// ports. Nothing for a machine without accelerators.
pub(super) fn matrix(machine: &Machine, paint: Paint, text: &mut String) {
    if machine.accelerators.is_empty() {
        return;
    }
    let nics = physical(machine);
    let mut header = vec![Line::of("")];
    header.extend((0..machine.accelerators.len()).map(|row| Line::of(accelerator_name(machine, row))));
    header.extend(nics.iter().map(|(_, nic)| Line::of(nic_name(nic))));
    header.extend(["NUMA", "CPUs", "nearest ports"].map(Line::of));
    let mut used = BTreeSet::new();
    let mut rows = vec![header];
    for (row, at) in (0u32..).zip(0..machine.accelerators.len()) {
        let own = Device::Accelerator(row);
        let mut line = vec![Line::toned(Tone::Strong, accelerator_name(machine, at))];
        for (other, peer) in (0u32..).zip(&machine.accelerators) {
            line.push(match linked(&machine.accelerators[at], peer) {
                _ if other == row => Line::toned(Tone::Faint, "X"),
                Some(link) => {
                    used.insert(link);
                    Line::toned(Tone::Good, link.word())
                }
                None => path(machine.path(own, Device::Accelerator(other)), &mut used),
            });
        }
        line.extend(nics.iter().map(|(nic, _)| path(machine.path(own, Device::Nic(*nic)), &mut used)));
        line.push(Line::of(machine.numa_of(own).map_or("?".to_string(), |id| id.to_string())));
        line.push(Line::of(machine.cpus_near(own).map_or("?".to_string(), |cpus| cpus.to_string())));
        let near = machine.nics_near(row);
        let down = |nic: u32| machine.nics.get(nic as usize).is_some_and(|nic| nic.up == Some(false));
        let names: Vec<String> = near
            .iter()
            .map(|(nic, _)| {
                let name = machine.nics.get(*nic as usize).map(nic_name).unwrap_or_default();
                if down(*nic) { format!("{name} (down)") } else { name }
            })
            .collect();
        let all_down = !near.is_empty() && near.iter().all(|(nic, _)| down(*nic));
        line.push(Line::toned(if all_down { Tone::Bad } else { Tone::Plain }, names.join(", ")));
        rows.push(line);
    }
    text.push('\n');
    table(&rows, paint, text);
    if !used.is_empty() {
        text.push('\n');
        // Bundles of several sizes are one word, and stand beside each other.
        let mut entries: Vec<(&str, &str)> = used.into_iter().map(Legend::entry).collect();
        entries.dedup();
        let width = entries.iter().map(|(word, _)| word.len()).fold(LEAST_WORD, usize::max);
        for (word, meaning) in entries {
            text.push_str(&paint.piece(Tone::Faint, &format!("{word:<width$}  {meaning}\n")));
        }
    }
}

/// Direct links between two accelerators, else those through the switch that both have links to.
fn linked(one: &Accelerator, other: &Accelerator) -> Option<Legend> {
    let direct = |kind| lanes(one.links_to(other), kind).max(lanes(other.links_to(one), kind));
    let switched = |kind| lanes(one.links_to_switches(), kind).min(lanes(other.links_to_switches(), kind));
    let one_hive = one.hive.is_some_and(|hive| hive != 0) && one.hive == other.hive;
    match (direct(LinkKind::NvLink), switched(LinkKind::NvLink)) {
        (0, 0) => {}
        (0, lanes) | (lanes, _) => return Some(Legend::NvLink(lanes)),
    }
    if one_hive || direct(LinkKind::Xgmi) > 0 {
        return Some(Legend::Xgmi);
    }
    let ascend = [
        (direct(LinkKind::Sio), Legend::Sio),
        (direct(LinkKind::Hccs), Legend::Hccs),
        (switched(LinkKind::Hccs), Legend::HccsSwitch),
    ];
    ascend.into_iter().find(|(lanes, _)| *lanes > 0).map(|(_, legend)| legend)
}

fn lanes<'a>(links: impl Iterator<Item = &'a Attachment>, kind: LinkKind) -> u32 {
    links.filter(|link| link.kind == kind).fold(0, |sum, link| sum.saturating_add(link.lanes))
}

fn path(path: Option<PathType>, used: &mut BTreeSet<Legend>) -> Line {
    let Some(path) = path else { return Line::toned(Tone::Faint, "?") };
    used.insert(Legend::Path(path));
    match path {
        PathType::Pix | PathType::Pxb => Line::of(path.word()),
        _ => Line::toned(Tone::Faint, path.word()),
    }
}

/// A word in the matrix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Legend {
    NvLink(u32),
    Xgmi,
    Hccs,
    HccsSwitch,
    Sio,
    Path(PathType),
}

impl Legend {
    fn word(self) -> String {
        match self {
            Legend::NvLink(lanes) => format!("NV{lanes}"),
            other => other.entry().0.to_string(),
        }
    }

    /// What the legend has for it, and what that means.
    fn entry(self) -> (&'static str, &'static str) {
        match self {
            Legend::NvLink(_) => ("NV#", "so many NVLinks, direct or through NVSwitches"),
            Legend::Xgmi => ("XGMI", "AMD's links between GPUs"),
            Legend::Hccs => ("HCCS", "Ascend's links between NPUs"),
            Legend::HccsSwitch => ("HCCS_SW", "Ascend's links through switches"),
            Legend::Sio => ("SIO", "the link between the two dies of an Ascend card"),
            Legend::Path(path) => (
                path.word(),
                match path {
                    PathType::Pix => "one PCI switch at most",
                    PathType::Pxb => "several PCI switches, no host bridge",
                    PathType::Phb => "a host bridge, typically the CPU",
                    PathType::Node => "host bridges of one NUMA node",
                    PathType::Sys => "the link between NUMA nodes",
                },
            ),
        }
    }
}
