//! `npu-smi info`: the table of chips, and under it that of the processes on them.

use std::collections::{BTreeMap, BTreeSet};

use phalanx_common::text::shown;
use phalanx_common::topology::Bdf;
use phalanx_common::topology::machine::{Accelerator, AcceleratorKind, Ailment, Machine, PciDevice, PciKind};

use super::mapping::Chip;
use crate::size::{TooLarge, within};
use crate::text::{printable, visible};

/// Sixteen chips have 5 KB.
pub const MAX_BYTES: usize = 1 << 20;
const MAX_CHIPS: usize = 1024;
/// More processes on one NPU say nothing new.
const MAX_PROCESSES: usize = 4096;
const HUAWEI: u16 = 0x19e5;

/// Why a table was not read. Lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    #[error(
        "there is no table with the columns NPU, Health and Bus-Id, but {found}; take all that `npu-smi info` writes"
    )]
    NoTable { found: String },
    #[error("line {line}: {found} is no {what}; take the text unwrapped and whole")]
    Wrong { line: usize, found: String, what: &'static str },
    #[error("line {line}: a second chip has the address {bdf}")]
    Twice { line: usize, bdf: Bdf },
    #[error("line {line}: the table has more than {limit} chips")]
    TooMany { line: usize, limit: usize },
}

/// Reads the tables. Chips get their index from the column `Phy-ID`, else from `chips` (of [`super::mapping`], which may
/// be empty), else from their card where every card has one chip.
///
/// # Errors
/// More than [`MAX_BYTES`], no such table, and lines that are none of it.
pub fn info(bytes: &[u8], chips: &[Chip]) -> Result<Machine, Error> {
    let bytes = within(bytes, MAX_BYTES)?;
    let text = visible(bytes);
    let mut tables = Tables::default();
    for (line, at) in text.lines().zip(1..) {
        let line = line.trim();
        if let Some(inner) = line.strip_prefix('|').and_then(|line| line.strip_suffix('|')) {
            let cells: Vec<&str> = inner.split('|').map(str::trim).take(16).collect();
            tables.take(&cells, at)?;
        }
    }
    if tables.head.is_none() || tables.below.is_none() {
        let first = text.lines().map(str::trim).find(|line| !line.is_empty());
        return Err(Error::NoTable { found: first.map_or_else(|| "nothing".to_string(), shown) });
    }
    tables.machine(chips)
}

/// The places of columns in the two lines that every chip has.
#[derive(Default)]
struct Tables {
    head: Option<Head>,
    below: Option<Below>,
    /// The first line of a chip, until its second comes.
    open: Option<Found>,
    found: Vec<Found>,
    /// Whether a process' first cell has the chip's number too; `None` without a table of processes.
    processes: Option<bool>,
    in_processes: bool,
    running: BTreeMap<(u32, Option<u32>), BTreeSet<u32>>,
}

struct Head {
    health: usize,
}

struct Below {
    bus: usize,
    /// The place of the physical id in the first cell.
    physical: Option<usize>,
    /// The last cell, and the place of a memory's figures in it, the first that is not zero counts.
    memory: (usize, Vec<usize>),
}

struct Found {
    npu: u32,
    chip: u32,
    name: String,
    health: String,
    physical: Option<u32>,
    bdf: Option<Bdf>,
    memory_bytes: Option<u64>,
    line: usize,
}

impl Tables {
    fn take(&mut self, cells: &[&str], line: usize) -> Result<(), Error> {
        let words: Vec<&str> =
            cells.first().map(|cell| cell.split_whitespace().collect()).unwrap_or_default();
        let place =
            |name: &str| cells.iter().position(|cell| cell.split_whitespace().any(|word| word == name));
        match (words.first(), place("Health"), place("Bus-Id")) {
            (Some(&"NPU"), Some(health), _) => {
                self.head = Some(Head { health });
                self.in_processes = false;
            }
            (Some(&"NPU"), None, _) => {
                self.processes = Some(words.contains(&"Chip"));
                self.in_processes = true;
            }
            (Some(&"Chip"), _, Some(bus)) => self.below = Some(below(cells, &words, bus)),
            _ if self.in_processes => self.process(cells, &words),
            _ => self.chip(cells, &words, line)?,
        }
        Ok(())
    }

    /// One of the two lines of a chip; lines before the header (the tool's version) are none.
    fn chip(&mut self, cells: &[&str], words: &[&str], line: usize) -> Result<(), Error> {
        let (Some(head), Some(below)) = (&self.head, &self.below) else { return Ok(()) };
        let wrong = |found: &str, what| Error::Wrong { line, found: shown(found), what };
        let number = |place: usize| words.get(place).and_then(|word| word.parse::<u32>().ok());
        let first = cells.first().copied().unwrap_or_default();
        let Some(mut found) = self.open.take() else {
            self.open = Some(Found {
                npu: number(0).ok_or_else(|| wrong(first, "number of an NPU"))?,
                chip: 0,
                name: words.get(1..).unwrap_or_default().join(" "),
                health: cells.get(head.health).copied().unwrap_or_default().to_string(),
                physical: None,
                bdf: None,
                memory_bytes: None,
                line,
            });
            return Ok(());
        };
        found.chip = number(0).ok_or_else(|| wrong(first, "number of a chip"))?;
        found.physical = below.physical.and_then(number);
        let bus = cells.get(below.bus).copied().unwrap_or_default();
        // In containers and on boards without PCI Express there is none.
        found.bdf = match bus {
            "" | "NA" | "N/A" | "-" => None,
            bus => Some(bus.parse().map_err(|_| wrong(bus, "PCI address"))?),
        };
        let figures = figures(cells.get(below.memory.0).copied().unwrap_or_default());
        let totals = below.memory.1.iter().filter_map(|place| figures.get(*place).copied().flatten());
        found.memory_bytes =
            totals.into_iter().find(|total| *total > 0).and_then(|mb| mb.checked_mul(1 << 20));
        if self.found.len() >= MAX_CHIPS {
            return Err(Error::TooMany { line, limit: MAX_CHIPS });
        }
        self.found.push(found);
        Ok(())
    }

    /// Others say that there are none.
    fn process(&mut self, cells: &[&str], words: &[&str]) {
        let number = |place: usize| words.get(place).and_then(|word| word.parse::<u32>().ok());
        let pid = cells.get(1).and_then(|pid| pid.parse::<u32>().ok());
        if let (Some(npu), Some(pid)) = (number(0), pid) {
            let chip = number(1).filter(|_| self.processes == Some(true));
            let running = self.running.entry((npu, chip)).or_default();
            if running.len() < MAX_PROCESSES {
                running.insert(pid);
            }
        }
    }

    fn machine(self, chips: &[Chip]) -> Result<Machine, Error> {
        let mut machine = Machine::default();
        let one_each = self.found.iter().all(|found| found.chip == 0);
        let mapped: BTreeMap<(u32, u32), &Chip> =
            chips.iter().map(|chip| ((chip.npu, chip.chip), chip)).collect();
        for found in self.found {
            let chip = mapped.get(&(found.npu, found.chip));
            let by_map = chip.and_then(|chip| chip.physical.or(chip.logic));
            let by_card = (one_each && chips.is_empty()).then_some(found.npu);
            let ailments = match found.health.as_str() {
                "OK" => Some(Vec::new()),
                "" | "UNKNOWN" | "Unknown" | "NA" | "-" => None,
                other => Some(vec![Ailment::State(printable(other))]),
            };
            let processes = self.processes.map(|_| {
                let keys = [(found.npu, Some(found.chip)), (found.npu, None)];
                let running = keys.iter().filter_map(|key| self.running.get(key)).flatten();
                running.copied().collect::<BTreeSet<u32>>().into_iter().collect()
            });
            if let Some(bdf) = found.bdf {
                let device =
                    PciDevice { kind: Some(PciKind::Gpu), vendor: Some(HUAWEI), ..PciDevice::default() };
                if machine.pci.insert(bdf, device).is_some() {
                    return Err(Error::Twice { line: found.line, bdf });
                }
            }
            let name = Some(printable(&found.name)).filter(|name| !name.is_empty());
            machine.accelerators.push(Accelerator {
                bdf: found.bdf,
                index: found.physical.or(by_map).or(by_card),
                model: chip.and_then(|chip| chip.name.clone()).or(name),
                memory_bytes: found.memory_bytes,
                ailments,
                processes,
                ..Accelerator::new(AcceleratorKind::Ascend)
            });
        }
        machine.accelerators.sort_by_key(|npu| (npu.bdf.is_none(), npu.bdf, npu.index));
        Ok(machine)
    }
}

fn below(cells: &[&str], words: &[&str], bus: usize) -> Below {
    let last = cells.len().saturating_sub(1);
    let columns: Vec<&str> = cells.last().map(|cell| cell.split_whitespace().collect()).unwrap_or_default();
    let starting = |begin: &str| columns.iter().position(|column| column.starts_with(begin));
    let memory = ["HBM-Usage", "Memory-Usage"].iter().filter_map(|begin| starting(begin)).collect();
    let physical = words.iter().position(|word| matches!(*word, "Phy-ID" | "Device"));
    Below { bus, physical, memory: (last, memory) }
}

/// The figures of a cell, of `used / total` the second: `0   0    / 0   4175/ 65536` are 0, 0 and 65536.
fn figures(cell: &str) -> Vec<Option<u64>> {
    let spaced = cell.replace('/', " / ");
    let mut figures: Vec<Option<u64>> = Vec::new();
    let mut is_total = false;
    for word in spaced.split_whitespace().take(64) {
        let number = word.parse().ok();
        match (word, is_total, figures.last_mut()) {
            ("/", ..) => is_total = true,
            (_, true, Some(last)) => (*last, is_total) = (number, false),
            _ => figures.push(number),
        }
    }
    figures
}
