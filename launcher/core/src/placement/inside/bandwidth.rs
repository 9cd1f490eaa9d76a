//! What two devices of a machine can send each other.

use phalanx_common::topology::machine::{
    Accelerator, AcceleratorKind, Attachment, Device as Row, LinkKind, Machine, PathType, PciLink, Peer,
};

/// MB/s in each direction of one NVLink: what NCCL plans with (`src/graph/topo.h`: `SM80_NVLINK_BW`,
/// `SM90_NVLINK_BW`, `SM100_NVLINK_BW`), by generation.
const NVLINK_BEFORE_HOPPER: u64 = 20_000;
const NVLINK_HOPPER: u64 = 20_600;
const NVLINK_BLACKWELL: u64 = 40_100;
/// One link of XGMI, as RCCL plans with (`MI200_XGMI_WIDTH`, `GFX94X_XGMI_WIDTH`).
const XGMI_MI200: u64 = 36_000;
const XGMI_MI300: u64 = 48_000;
/// One link of HCCS of an Ascend 910B: 392 GB/s in both directions over seven.
const HCCS: u64 = 28_000;
/// A die of an Ascend 910C towards the switches of its rack, and towards the other die of its card (the published
/// figures of CloudMatrix 384).
const HCCS_SWITCH: u64 = 196_000;
const SIO: u64 = 270_000;
/// PCI Express 3.0 x16 as NCCL plans with (`PCI_BW`), and what such a link carries by its generation.
const PCI_PLANNED: u64 = 12_000;
const PCI_CARRIED: u64 = 15_753;
/// Between sockets: the least that NCCL plans with for servers (10 to 40 GB/s by CPU).
const SOCKETS: u64 = 10_000;

/// How near two devices are where links are equal: 5 behind one switch, 0 where the path is not known.
const NEARNESS_BITS: u32 = 16;

/// What a pair is worth: MB/s, then nearness in the low bits, so that sums compare by bandwidth first.
pub(super) type Worth = u64;

pub(super) fn mb_per_s(worth: Worth) -> u32 {
    u32::try_from(worth >> NEARNESS_BITS).unwrap_or(u32::MAX)
}

/// Two accelerators by their rows.
pub(super) fn between(machine: &Machine, a: u32, b: u32) -> (Worth, bool) {
    let path = machine.path(Row::Accelerator(a), Row::Accelerator(b));
    let nearness = path.map_or(0, |path| 5 - path as u64);
    let (Some(one), Some(other)) =
        (machine.accelerators.get(a as usize), machine.accelerators.get(b as usize))
    else {
        return (nearness, false);
    };
    let links = direct(one, other).max(direct(other, one)).max(switched(one).min(switched(other)));
    let by_pci = pci(machine, a).min(pci(machine, b));
    let bandwidth = if links > 0 { links } else { over_pci(path, by_pci) };
    (worth(bandwidth, nearness), links > 0)
}

/// Two slices: never device to device, so by way of the host's memory; two of one GPU not even that counts.
pub(super) fn of_slices(machine: &Machine, a: u32, b: u32) -> Worth {
    if a == b {
        return 0;
    }
    let path = machine.path(Row::Accelerator(a), Row::Accelerator(b));
    worth(
        over_pci(Some(PathType::Sys), pci(machine, a).min(pci(machine, b))),
        path.map_or(0, |path| 5 - path as u64),
    )
}

fn worth(mb_per_s: u64, nearness: u64) -> Worth {
    mb_per_s.min(u64::from(u32::MAX)) << NEARNESS_BITS | nearness
}

/// Through one switch a device sends as fast as its link. Beyond a host bridge drivers stage in the host's memory
/// where they cannot do else; the shares only keep the order of the paths.
fn over_pci(path: Option<PathType>, link: u64) -> u64 {
    match path {
        Some(PathType::Pix | PathType::Pxb) => link,
        Some(PathType::Phb) => link * 7 / 8,
        Some(PathType::Node) => link * 3 / 4,
        Some(PathType::Sys) | None => (link / 2).min(SOCKETS),
    }
}

/// Of the link that the device has at its best: a link that rests says a lower speed.
fn pci(machine: &Machine, row: u32) -> u64 {
    let link =
        machine.bdf(Row::Accelerator(row)).and_then(|bdf| machine.pci.get(&bdf)).map(|device| device.link);
    let best = link.and_then(|link| {
        let (speed, width) = (link.max_speed, link.width.or(link.max_width));
        PciLink { speed, width, ..link }.mb_per_s()
    });
    best.map_or(PCI_PLANNED, |best| best.saturating_mul(PCI_PLANNED) / PCI_CARRIED)
}

fn direct(from: &Accelerator, to: &Accelerator) -> u64 {
    sum(from, from.links_to(to))
}

fn switched(from: &Accelerator) -> u64 {
    sum(from, from.links_to_switches())
}

fn sum<'a>(of: &Accelerator, links: impl Iterator<Item = &'a Attachment>) -> u64 {
    links.filter(|link| link.kind != LinkKind::Pcie).fold(0, |sum, link| {
        let told = link.mb_per_s.filter(|told| *told > 0);
        sum.saturating_add(told.unwrap_or_else(|| lane(of, link).saturating_mul(link.lanes.into())))
    })
}

fn lane(of: &Accelerator, link: &Attachment) -> u64 {
    let model = of.model.as_deref().unwrap_or_default();
    let is_any = |names: &[&str]| names.iter().any(|name| model.contains(name));
    match link.kind {
        LinkKind::NvLink if is_any(&["B100", "B200", "B300"]) => NVLINK_BLACKWELL,
        LinkKind::NvLink if is_any(&["P100", "V100", "A100", "A800"]) => NVLINK_BEFORE_HOPPER,
        LinkKind::NvLink => NVLINK_HOPPER,
        LinkKind::Xgmi if of.kind == AcceleratorKind::Amd && is_any(&["MI3"]) => XGMI_MI300,
        LinkKind::Xgmi => XGMI_MI200,
        LinkKind::Hccs if matches!(link.peer, Peer::Switch(_)) => HCCS_SWITCH,
        LinkKind::Hccs => HCCS,
        LinkKind::Sio => SIO,
        LinkKind::Pcie => 0,
    }
}
