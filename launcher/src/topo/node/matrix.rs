//! How near accelerators and ports are, in the manner of `nvidia-smi topo -m`.

use std::collections::BTreeSet;

use phalanx_common::topology::machine::{Accelerator, Device, LinkKind, Machine, PathType, Peer};

use super::super::paint::{Line, Paint, Tone};
use super::super::tree::table;
use super::{accelerator_name, nic_name, physical};

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
                Some(word) => {
                    used.insert(Legend::of(&word));
                    Line::toned(Tone::Good, word)
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
        for legend in used {
            let (word, meaning) = legend.text();
            text.push_str(&paint.piece(Tone::Faint, &format!("{word:<5} {meaning}\n")));
        }
    }
}

/// Direct links between two accelerators, or through the switch that both have links to.
fn linked(one: &Accelerator, other: &Accelerator) -> Option<String> {
    let to_other =
        |kind| lanes(one, |peer| matches!(peer, Peer::Accelerator(bdf) if Some(*bdf) == other.bdf), kind);
    let to_switch = |of| lanes(of, |peer| matches!(peer, Peer::Switch(_)), LinkKind::NvLink);
    match (to_other(LinkKind::NvLink), to_switch(one).min(to_switch(other))) {
        (0, 0) => {}
        (0, lanes) | (lanes, _) => return Some(format!("NV{lanes}")),
    }
    let one_hive = one.hive.is_some_and(|hive| hive != 0) && one.hive == other.hive;
    if one_hive || to_other(LinkKind::Xgmi) > 0 {
        return Some("XGMI".to_string());
    }
    (to_other(LinkKind::Hccs) > 0).then(|| "HCCS".to_string())
}

fn lanes(of: &Accelerator, to: impl Fn(&Peer) -> bool, kind: LinkKind) -> u32 {
    let links = of.links.iter().filter(|link| link.kind == kind && to(&link.peer));
    links.fold(0, |sum, link| sum.saturating_add(link.lanes))
}

fn path(path: Option<PathType>, used: &mut BTreeSet<Legend>) -> Line {
    let Some(path) = path else { return Line::toned(Tone::Faint, "?") };
    used.insert(Legend::Path(path));
    match path {
        PathType::Pix | PathType::Pxb => Line::of(path.word()),
        _ => Line::toned(Tone::Faint, path.word()),
    }
}

/// What a word in the matrix means.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Legend {
    NvLink,
    Xgmi,
    Hccs,
    Path(PathType),
}

impl Legend {
    fn of(word: &str) -> Legend {
        match word {
            "XGMI" => Legend::Xgmi,
            "HCCS" => Legend::Hccs,
            _ => Legend::NvLink,
        }
    }

    fn text(self) -> (&'static str, &'static str) {
        match self {
            Legend::NvLink => ("NV#", "so many NVLinks, direct or through NVSwitches"),
            Legend::Xgmi => ("XGMI", "AMD's links between GPUs"),
            Legend::Hccs => ("HCCS", "Ascend's links between NPUs"),
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
