//! `nvidia-smi topo -m`: paths between GPUs and ports, bundles of NVLinks, nearest CPUs and memory.

use std::collections::BTreeMap;

use phalanx_common::topology::LinkLayer;
use phalanx_common::topology::machine::{
    Accelerator, AcceleratorKind, Attachment, Device, LinkKind, Machine, Nic, Peer, Rdma, Told,
};

pub use crate::grid::Error;
use crate::grid::{self, Grid, Row, Shape};

const SHAPE: Shape =
    Shape { first: &["GPU"], example: "`GPU0 GPU1 NIC0 CPU Affinity`", command: "nvidia-smi topo -m" };
/// NVLinks of one GPU (`NVML_NVLINK_MAX_LINKS`): more of them to all peers together go to a switch.
const MOST_LINKS: u32 = 18;

/// Reads the matrix. It knows GPUs by their index and ports by RDMA device (where the legend is there), but no
/// addresses, and not what the ports speak: merge it behind sources that do.
///
/// # Errors
/// More than a megabyte, no line that names devices, and rows that were cut or wrapped.
pub fn matrix(bytes: &[u8]) -> Result<Machine, Error> {
    let grid = grid::read(bytes, &SHAPE)?;
    let legend = legend(&grid);
    let mut machine = Machine::default();
    // Which device of the machine a column is.
    let mut devices: Vec<Option<Device>> = vec![None; grid.columns.len()];
    for (column, row) in gpus(&grid) {
        let row_of_index = grid.rows.iter().find(|row| row.column == column);
        machine.accelerators.push(gpu(row, row_of_index));
        devices[column] = u32::try_from(machine.accelerators.len() - 1).ok().map(Device::Accelerator);
    }
    let mut ports: Vec<(Nic, usize)> = grid
        .columns
        .iter()
        .zip(0..)
        .filter(|(name, _)| index_of(name).is_none())
        .map(|(name, column)| (port(name, &legend), column))
        .collect();
    ports.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
    for ((nic, column), row) in ports.into_iter().zip(0u32..) {
        machine.nics.push(nic);
        devices[column] = Some(Device::Nic(row));
    }
    links(&mut machine, &grid, &devices);
    Ok(machine)
}

/// `GPU3`
fn index_of(name: &str) -> Option<u32> {
    name.strip_prefix("GPU")?.parse().ok()
}

/// Columns of GPUs with their indices, in the order of these.
fn gpus(grid: &Grid) -> Vec<(usize, u32)> {
    let named = grid.columns.iter().zip(0..);
    let mut gpus: Vec<(usize, u32)> =
        named.filter_map(|(name, column)| Some((column, index_of(name)?))).collect();
    gpus.sort_by_key(|(column, index)| (*index, *column));
    gpus.dedup_by_key(|(_, index)| *index);
    gpus
}

/// `CPU Affinity`, `NUMA Affinity` and, behind an empty column, `GPU NUMA ID`.
fn gpu(index: u32, row: Option<&Row>) -> Accelerator {
    let behind = row.map(|row| row.behind.as_slice()).unwrap_or_default();
    let set = |place: usize| {
        behind.get(place).and_then(|list| list.parse().ok()).filter(|set: &_| *set != Default::default())
    };
    Accelerator {
        index: Some(index),
        cpus: set(0),
        nodes: set(1),
        own_node: behind.get(2..).and_then(|rest| rest.last()).and_then(|node| node.parse().ok()),
        ..Accelerator::new(AcceleratorKind::Nvidia)
    }
}

/// `  NIC3: mlx5_3`
fn legend(grid: &Grid) -> BTreeMap<String, String> {
    let lines = grid.rest.iter().filter_map(|line| line.split_once(':'));
    let named = lines.map(|(name, device)| (name.trim().to_string(), device.trim().to_string()));
    named.filter(|(name, device)| grid.places.contains_key(name) && is_name(device)).collect()
}

fn is_name(device: &str) -> bool {
    (1..=64).contains(&device.len())
        && device.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

/// A port by its RDMA device, as the legend or (in older drivers) the column has it; its first port.
fn port(column: &str, legend: &BTreeMap<String, String>) -> Nic {
    let is_number = column.strip_prefix("NIC").is_some_and(|number| number.parse::<u32>().is_ok());
    let device = legend.get(column).map(String::as_str).or((!is_number).then_some(column));
    let Some(device) = device else { return Nic::new(column, LinkLayer::Ethernet) };
    let rdma = Rdma {
        device: device.to_string(),
        port: 1,
        guid: None,
        node_guid: None,
        subnet: None,
        lid: None,
        sm_lid: None,
    };
    Nic { rdma: Some(rdma), ..Nic::new(&format!("{device}/1"), LinkLayer::Ethernet) }
}

/// Told paths and links. A pair is taken from the row of either, as the text may end before the last.
fn links(machine: &mut Machine, grid: &Grid, devices: &[Option<Device>]) {
    let mut cells: BTreeMap<(Device, Device), &str> = BTreeMap::new();
    for row in &grid.rows {
        for (cell, other) in row.cells.iter().zip(devices) {
            if let (Some(one), Some(other)) = (devices[row.column], *other)
                && one != other
            {
                cells.entry((one.min(other), one.max(other))).or_insert(cell);
            }
        }
    }
    let mut bundles: BTreeMap<u32, Vec<(u32, u32)>> = BTreeMap::new();
    for ((one, other), cell) in cells {
        // Older drivers say SOC for SYS.
        if let Some(path) = grid::path(if cell == "SOC" { "SYS" } else { cell }) {
            machine.told.push(Told { ends: (one, other), path });
        }
        if let (Device::Accelerator(a), Device::Accelerator(b), Some(lanes)) =
            (one, other, grid::nvlinks(cell))
        {
            bundles.entry(a).or_default().push((b, lanes));
            bundles.entry(b).or_default().push((a, lanes));
        }
    }
    for (gpu, peers) in bundles {
        let all = peers.iter().fold(0u32, |sum, (_, lanes)| sum.saturating_add(*lanes));
        let most = peers.iter().map(|(_, lanes)| *lanes).max().unwrap_or(0);
        let bundle = |peer, lanes| Attachment { peer, kind: LinkKind::NvLink, lanes, mb_per_s: None };
        let index_of = |row: u32| machine.accelerators[row as usize].index;
        let mut links: Vec<Attachment> = if all > MOST_LINKS {
            vec![bundle(Peer::Switch(None), most)]
        } else {
            peers
                .iter()
                .filter_map(|(peer, lanes)| Some(bundle(Peer::Numbered(index_of(*peer)?), *lanes)))
                .collect()
        };
        links.sort();
        machine.accelerators[gpu as usize].links = links;
    }
}
