//! The profile as a whole.

use phalanx_common::topology::Bdf;
use phalanx_common::topology::machine::Machine;
use phalanx_common::yaml::{self, Bounds, Node};

use super::device::Gpu;
use super::links::links;
use super::places::places;

/// The profiles have 20 KB.
pub const MAX_BYTES: usize = 1 << 20;
pub(super) const MAX_GPUS: usize = 256;
pub(super) const NVIDIA: u16 = 0x10de;

/// Why a profile was not read. Lines count from 1.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Yaml(#[from] yaml::Error),
    #[error("the profile should have the keys `device_defaults` and `devices`, with a mapping and a list")]
    Shape,
    #[error("line {line}: the device has no `pci.bus_id` such as \"0000:1A:00.0\"")]
    NoAddress { line: u32 },
    #[error("line {line}: a second device has the address {bdf}")]
    Twice { line: u32, bdf: Bdf },
    #[error("line {line}: there are more than {limit} {what}; a profile is of one machine")]
    TooMany { line: u32, limit: usize, what: &'static str },
    #[error("line {line}: {found} is no {what}")]
    Wrong { line: u32, found: String, what: &'static str },
}

/// Reads a profile.
///
/// Links that it does not list go to its NVSwitches in turn, as its NVML answers them; `bandwidth_per_link_mbps`
/// is megabytes per second, whatever it is called (53125 are the 53.125 GB/s of NVLink 5).
///
/// # Errors
/// What is no YAML or of another shape, devices without an address or with the same, and values that are
/// none.
pub fn read(bytes: &[u8]) -> Result<Machine, Error> {
    let roots = yaml::read(bytes, &Bounds { bytes: MAX_BYTES, depth: 16, documents: 1 })?;
    let root = roots.first().ok_or(Error::Shape)?;
    let defaults = root.get("device_defaults").filter(|it| it.entries().is_some()).ok_or(Error::Shape)?;
    let devices = root.get("devices").and_then(Node::items).ok_or(Error::Shape)?;
    bounded(root, "devices", devices.len(), MAX_GPUS)?;
    let mut machine = Machine::default();
    for (node, place) in devices.iter().zip(0u32..) {
        let gpu = Gpu { own: node, common: defaults };
        let line = node.span.line;
        let bdf = gpu.value("pci/bus_id").and_then(Node::text).and_then(|bdf| bdf.parse::<Bdf>().ok());
        let bdf = bdf.ok_or(Error::NoAddress { line })?;
        if machine.pci.insert(bdf, gpu.device()?).is_some() {
            return Err(Error::Twice { line, bdf });
        }
        machine.accelerators.push(gpu.accelerator(bdf, place)?);
    }
    if let Some(nvlink) = root.get("nvlink") {
        links(&mut machine, nvlink)?;
    }
    if let Some(topology) = root.get("pcie_topology") {
        places(&mut machine, topology)?;
    }
    machine.accelerators.sort_by_key(|gpu| gpu.bdf);
    Ok(machine)
}

pub(super) fn bounded(at: &Node, what: &'static str, found: usize, limit: usize) -> Result<(), Error> {
    if found <= limit { Ok(()) } else { Err(Error::TooMany { line: at.span.line, limit, what }) }
}

pub(super) fn deep<'a>(node: &'a Node, path: &str) -> Option<&'a Node> {
    path.split('/').try_fold(node, |node, key| node.get(key))
}

/// A number in decimal, or in hexadecimal with `0x`.
pub(super) fn number<T: TryFrom<u64>>(node: Option<&Node>) -> Result<Option<T>, Error> {
    let Some((node, text)) = node.and_then(|node| Some((node, node.text()?))) else { return Ok(None) };
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    let wrong =
        || Error::Wrong { line: node.span.line, found: node.found().to_string(), what: "number in bounds" };
    parsed.ok().and_then(|number| T::try_from(number).ok()).map(Some).ok_or_else(wrong)
}
