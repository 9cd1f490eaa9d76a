//! A matrix to a machine.

use std::collections::{BTreeMap, BTreeSet};

use phalanx_common::topology::machine::{
    Accelerator, AcceleratorKind, Attachment, CpuSet, Device, LinkKind, Machine, Nic, Peer, Told,
};

use super::read::{Grid, Row, is_none, path, says};
use super::strange::{Cell, Strange};

/// What a matrix tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    pub machine: Machine,
    /// What in it says nothing known.
    pub strange: Strange,
}

/// How a tool is read.
pub(crate) struct Tool<'a> {
    pub(crate) kind: AcceleratorKind,
    /// The index of an accelerator, by the name of its column. The other columns are ports.
    pub(crate) index_of: fn(&str) -> Option<u32>,
    /// The port of a column.
    pub(crate) port: &'a dyn Fn(&str) -> Nic,
    /// The link that a cell between two accelerators stands for.
    pub(crate) link: fn(&str) -> Option<Link>,
}

/// A link of a cell.
#[derive(Clone, Copy)]
pub(crate) struct Link {
    pub(crate) kind: LinkKind,
    pub(crate) lanes: u32,
    /// It goes through a switch.
    pub(crate) switched: bool,
}

/// Accelerators in the order of their indices, ports in that of their names, told paths and links. A pair is taken
/// from the row of either, as the text may end before the last.
pub(crate) fn reading(grid: &Grid, tool: &Tool<'_>) -> Reading {
    Reading { machine: machine(grid, tool), strange: strange(grid, tool) }
}

fn machine(grid: &Grid, tool: &Tool<'_>) -> Machine {
    let mut machine = Machine::default();
    // Which device of the machine a column is.
    let mut devices: Vec<Option<Device>> = vec![None; grid.columns.len()];
    let rows: BTreeMap<usize, &Row> = grid.rows.iter().map(|row| (row.column, row)).collect();
    for ((index, column), place) in accelerators(grid, tool).into_iter().zip(0u32..) {
        machine.accelerators.push(accelerator(tool.kind, index, rows.get(&column).copied()));
        devices[column] = Some(Device::Accelerator(place));
    }
    let ports = grid.columns.iter().zip(0..).filter(|(name, _)| (tool.index_of)(name).is_none());
    let mut ports: Vec<(Nic, usize)> = ports.map(|(name, column)| ((tool.port)(name), column)).collect();
    ports.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
    for ((nic, column), place) in ports.into_iter().zip(0u32..) {
        machine.nics.push(nic);
        devices[column] = Some(Device::Nic(place));
    }
    for ((one, other), cell) in pairs(grid, &devices) {
        if let Some(path) = path(cell) {
            machine.told.push(Told { ends: (one, other), path });
        }
        if let (Device::Accelerator(one), Device::Accelerator(other), Some(link)) =
            (one, other, (tool.link)(cell))
        {
            attach(&mut machine, one, other, link);
            attach(&mut machine, other, one, link);
        }
    }
    machine.accelerators.iter_mut().for_each(|device| device.links.sort());
    machine
}

/// Indices and columns; the first column of each index.
fn accelerators(grid: &Grid, tool: &Tool<'_>) -> Vec<(u32, usize)> {
    let named = grid.columns.iter().zip(0..);
    let mut found: Vec<(u32, usize)> =
        named.filter_map(|(name, column)| Some(((tool.index_of)(name)?, column))).collect();
    found.sort_unstable();
    found.dedup_by_key(|(index, _)| *index);
    found
}

/// What stands behind the cells of a row: `CPU Affinity`, `NUMA Affinity` and, behind an empty column, `GPU NUMA ID`,
/// as far as there are any.
fn affinities(row: &Row) -> [Option<&str>; 3] {
    let at = |place: usize| row.behind.get(place).map(String::as_str);
    let own = row.behind.get(2..).and_then(|rest| rest.last()).map(String::as_str);
    [at(0), at(1), own].map(|text| text.filter(|text| !is_none(text)))
}

fn accelerator(kind: AcceleratorKind, index: u32, row: Option<&Row>) -> Accelerator {
    let [cpus, nodes, own] = row.map(affinities).unwrap_or_default();
    let set = |list: Option<&str>| list.and_then(|list| list.parse().ok());
    Accelerator {
        index: Some(index),
        cpus: set(cpus),
        nodes: set(nodes),
        own_node: own.and_then(|node| node.parse().ok()),
        ..Accelerator::new(kind)
    }
}

/// In the order of the text. The affinities of ports are not read.
fn strange(grid: &Grid, tool: &Tool<'_>) -> Strange {
    let with_rows: BTreeSet<&str> = grid.rows.iter().map(|row| grid.columns[row.column].as_str()).collect();
    // Rows of ports are often left out where somebody copies those of the GPUs.
    let rowless = grid.columns.iter().filter(|name| (tool.index_of)(name).is_some());
    let rowless = rowless.filter(|name| !with_rows.contains(name.as_str()));
    let mut strange = Strange { rowless: rowless.cloned().collect(), ..Strange::default() };
    for row in &grid.rows {
        let name = &grid.columns[row.column];
        let mut add = |column: &str, text: &str| {
            strange.add(|| Cell {
                line: row.line,
                row: name.clone(),
                column: column.to_string(),
                text: text.to_string(),
            });
        };
        for ((cell, column), at) in row.cells.iter().zip(&grid.columns).zip(0..) {
            if !says(cell, at == row.column) {
                add(column, cell);
            }
        }
        if (tool.index_of)(name).is_some() {
            let [cpus, nodes, own] = affinities(row);
            let is_set = |list: &str| list.parse::<CpuSet>().is_ok();
            let is_number = |node: &str| node.parse::<u32>().is_ok();
            for (column, text, is_known) in [
                ("CPU Affinity", cpus, is_set as fn(&str) -> bool),
                ("NUMA Affinity", nodes, is_set),
                ("GPU NUMA ID", own, is_number),
            ] {
                if let Some(text) = text.filter(|text| !is_known(text)) {
                    add(column, text);
                }
            }
        }
    }
    strange
}

/// The cell of each pair: the first, or that of the other's row where the first says nothing that is known.
fn pairs<'a>(grid: &'a Grid, devices: &[Option<Device>]) -> BTreeMap<(Device, Device), &'a str> {
    let mut cells: BTreeMap<(Device, Device), &str> = BTreeMap::new();
    for row in &grid.rows {
        for (cell, other) in row.cells.iter().zip(devices) {
            if let (Some(one), Some(other)) = (devices[row.column], *other)
                && one != other
            {
                let known = cells.entry((one.min(other), one.max(other))).or_insert(cell.as_str());
                if !says(known, false) {
                    *known = cell.as_str();
                }
            }
        }
    }
    cells
}

fn attach(machine: &mut Machine, device: u32, peer: u32, link: Link) {
    let index = machine.accelerators[peer as usize].index;
    let links = &mut machine.accelerators[device as usize].links;
    let Link { kind, lanes, switched } = link;
    let peer = match (switched, index) {
        (true, _) => Peer::Switch(None),
        (false, Some(index)) => Peer::Numbered(index),
        (false, None) => return,
    };
    match links.iter_mut().find(|known| known.peer == peer && known.kind == kind) {
        // To each peer behind a switch it is the same bundle.
        Some(known) => known.lanes = known.lanes.max(lanes),
        None => links.push(Attachment { peer, kind, lanes, mb_per_s: None }),
    }
}
