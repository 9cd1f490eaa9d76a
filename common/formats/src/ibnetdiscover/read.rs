//! A dump to devices and cables.

use std::collections::{BTreeMap, BTreeSet};

use phalanx_common::topology::Guid;

use super::line::{self, End, Line};

use crate::size::{TooLarge, within};
use crate::text::visible;

/// A dump of forty thousand adapters has some twenty megabytes.
pub const MAX_BYTES: usize = 256 << 20;
/// Longer lines are no records.
const MAX_LINE: usize = 2_000;

/// No adapter has more ports.
const MAX_ADAPTER_PORT: u16 = 2;

/// Why a dump was not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    #[error(
        "none of the {lines} lines is a record of ibnetdiscover; the dump should have lines such as \
         `Switch 40 \"S-…\"` or, with -p, `SW 4 1 0x… 4x NDR …`"
    )]
    NoRecord { lines: usize },
}

/// What is on the fabric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Switch,
    Adapter,
    Router,
}

/// A switch, an adapter or a router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub kind: Kind,
    /// Of the device, where the dump tells; `-p` tells an adapter's ports only.
    pub guid: Option<Guid>,
    /// As the dump calls it: `S-2c5eab0300b87b40`.
    pub id: String,
    /// Its NodeDescription.
    pub description: Option<String>,
}

/// A cable: rows of devices, their ports, the ports' GUIDs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub ends: [(usize, u16, Option<Guid>); 2],
    pub mbps: Option<u32>,
}

/// A subnet as the dump shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fabric {
    /// In the order of the dump.
    pub devices: Vec<Device>,
    /// Each cable once.
    pub links: Vec<Link>,
    /// Cables that the dump shows from one end only, where the other device has a record of its own: the
    /// dump was cut, or changed while it was taken.
    pub one_ended: usize,
    /// Devices that cables lead to and that have no record of their own: the dump was cut.
    pub unrecorded: usize,
    /// Lines that belong into no dump.
    pub strange: usize,
}

/// Reads a dump in any of its formats.
///
/// # Errors
/// More than [`MAX_BYTES`], and text without any record.
pub fn read(bytes: &[u8]) -> Result<Fabric, Error> {
    let bytes = within(bytes, MAX_BYTES)?;
    let mut reader = Reader::default();
    let mut lines = 0;
    for bytes in bytes.split(|byte| *byte == b'\n') {
        lines += 1;
        if bytes.len() <= MAX_LINE {
            let text = visible(bytes);
            match line::parse(&text) {
                Some(line) => reader.take(line),
                None => reader.fabric.strange += usize::from(!line::is_usual(&text)),
            }
        } else {
            reader.fabric.strange += 1;
        }
    }
    if reader.fabric.devices.is_empty() {
        return Err(Error::NoRecord { lines });
    }
    Ok(reader.finish())
}

/// A cable's ends in order.
type Ends = [(usize, u16); 2];

#[derive(Default)]
struct Reader {
    fabric: Fabric,
    rows: BTreeMap<String, usize>,
    /// Devices that have a record of their own.
    recorded: BTreeSet<usize>,
    /// The row of each cable, and from which of its ends it was seen.
    links: BTreeMap<Ends, (usize, [bool; 2])>,
    current: Option<usize>,
    guid: Option<Guid>,
}

impl Reader {
    fn take(&mut self, line: Line<'_>) {
        match line {
            Line::Guid(guid) => {
                self.guid = Some(guid);
                self.current = None;
            }
            Line::Device { kind, id, description } => {
                let guid = self.guid.take().or_else(|| id.split_once('-')?.1.parse().ok());
                let row = self.device(kind, id, guid, description);
                self.fabric.devices[row].kind = kind;
                self.recorded.insert(row);
                self.current = Some(row);
            }
            Line::Port { port, guid, peer, peer_port, peer_guid, description, mbps } => {
                let Some(row) = self.current else { return };
                let (kind, own) = match peer.split_once('-') {
                    Some(("H", guid)) => (Kind::Adapter, guid.parse().ok()),
                    Some(("R", guid)) => (Kind::Router, guid.parse().ok()),
                    Some(("S", guid)) => (Kind::Switch, guid.parse().ok()),
                    // A name of somebody's own: its record will tell, if it is not cut off.
                    _ if peer_port > MAX_ADAPTER_PORT => (Kind::Switch, None),
                    _ => (Kind::Adapter, None),
                };
                let peer = self.device(kind, peer, own, None);
                // Its own record knows better.
                if let Some(description) = description.filter(|_| !self.recorded.contains(&peer)) {
                    self.fabric.devices[peer].description = Some(description.to_string());
                }
                self.link([(row, port, guid), (peer, peer_port, peer_guid)], mbps);
            }
            Line::Cable { ends, mbps } => {
                let ends = ends.map(|end| self.end(&end));
                self.link(ends, mbps);
            }
            Line::Idle { end } => {
                self.end(&end);
            }
        }
    }

    fn end(&mut self, end: &End<'_>) -> (usize, u16, Option<Guid>) {
        let id = format!("{:?}-{}", end.kind, end.guid);
        let own = (end.kind != Kind::Adapter).then_some(end.guid);
        let row = self.device(end.kind, &id, own, end.description);
        self.recorded.insert(row);
        (row, end.port, (end.kind == Kind::Adapter).then_some(end.guid))
    }

    fn device(&mut self, kind: Kind, id: &str, guid: Option<Guid>, description: Option<&str>) -> usize {
        let next = self.fabric.devices.len();
        let row = *self.rows.entry(id.to_string()).or_insert(next);
        if row == next {
            let id = id.to_string();
            self.fabric.devices.push(Device { kind, guid, id, description: None });
        }
        let device = &mut self.fabric.devices[row];
        if let Some(description) = description.filter(|text| !text.is_empty()) {
            device.description = Some(description.to_string());
            device.kind = kind;
            device.guid = guid.or(device.guid);
        } else if !self.recorded.contains(&row) && row != next {
            device.kind = device.kind.min(kind);
        }
        row
    }

    fn link(&mut self, ends: [(usize, u16, Option<Guid>); 2], mbps: Option<u32>) {
        let [a, b] = ends;
        let swapped = (b.0, b.1) < (a.0, a.1);
        let sorted = if swapped { [b, a] } else { [a, b] };
        let key = sorted.map(|(row, port, _)| (row, port));
        let next = self.fabric.links.len();
        let (row, seen) = self.links.entry(key).or_insert((next, [false; 2]));
        seen[usize::from(swapped)] = true;
        if *row == next {
            self.fabric.links.push(Link { ends: sorted, mbps });
            return;
        }
        let link = &mut self.fabric.links[*row];
        for (known, (.., guid)) in link.ends.iter_mut().zip(sorted) {
            known.2 = known.2.or(guid);
        }
        // The slower counts where the two ends disagree.
        link.mbps = match (link.mbps, mbps) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }

    fn finish(mut self) -> Fabric {
        let both = |[a, b]: &Ends| self.recorded.contains(&a.0) && self.recorded.contains(&b.0) && a != b;
        self.fabric.one_ended =
            self.links.iter().filter(|(ends, (_, seen))| both(ends) && seen.contains(&false)).count();
        self.fabric.unrecorded = self.fabric.devices.len() - self.recorded.len();
        self.fabric
    }
}
