//! `nvidia-smi topo -m`: paths between GPUs and ports, bundles of NVLinks, nearest CPUs and memory.

use std::collections::BTreeMap;

use phalanx_common::topology::LinkLayer;
use phalanx_common::topology::machine::{AcceleratorKind, Attachment, LinkKind, Nic, Peer, Rdma};

pub use crate::grid::Error;
use crate::grid::{self, Grid, Link, Reading, Shape, Tool};

const SHAPE: Shape =
    Shape { first: &["GPU"], example: "`GPU0 GPU1 NIC0 CPU Affinity`", command: "nvidia-smi topo -m" };
/// NVLinks of one GPU (`NVML_NVLINK_MAX_LINKS`): more of them to all peers together go to a switch.
const MOST_LINKS: u32 = 18;

/// Reads the matrix. It knows GPUs by their index and ports by RDMA device (where the legend is there), but no
/// addresses, and not what the ports speak: merge it behind sources that do.
///
/// # Errors
/// More than a megabyte, no line that names devices, and rows that were cut or wrapped.
pub fn matrix(bytes: &[u8]) -> Result<Reading, Error> {
    let grid = grid::read(bytes, &SHAPE)?;
    let legend = legend(&grid);
    let tool = Tool {
        kind: AcceleratorKind::Nvidia,
        index_of: |name| name.strip_prefix("GPU")?.parse().ok(),
        port: &|column| port(column, &legend),
        link: |cell| Some(Link { kind: LinkKind::NvLink, lanes: grid::nvlinks(cell)?, switched: false }),
    };
    let mut reading = grid::reading(&grid, &tool);
    for gpu in &mut reading.machine.accelerators {
        let all = gpu.links.iter().fold(0u32, |sum, link| sum.saturating_add(link.lanes));
        if all > MOST_LINKS {
            let lanes = gpu.links.iter().map(|link| link.lanes).max().unwrap_or(0);
            let (peer, kind) = (Peer::Switch(None), LinkKind::NvLink);
            gpu.links = vec![Attachment { peer, kind, lanes, mb_per_s: None }];
        }
    }
    Ok(reading)
}

/// `  NIC3: mlx5_3`
fn legend(grid: &Grid) -> BTreeMap<String, String> {
    let lines = grid.rest.iter().filter_map(|line| line.split_once(':'));
    let named = lines.map(|(name, device)| (name.trim().to_string(), device.trim().to_string()));
    named.filter(|(name, device)| grid.places.contains_key(name) && is_name(device)).collect()
}

fn is_name(device: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    (1..=64).contains(&device.len()) && device.bytes().all(fits)
}

/// A port by its RDMA device, as the legend or (in older drivers) the column has it; its first port.
fn port(column: &str, legend: &BTreeMap<String, String>) -> Nic {
    let is_number = column.strip_prefix("NIC").is_some_and(|number| number.parse::<u32>().is_ok());
    let device = legend.get(column).map(String::as_str).or((!is_number).then_some(column));
    let Some(device) = device else { return Nic::new(column, LinkLayer::Unknown) };
    let rdma = Rdma {
        device: device.to_string(),
        port: 1,
        guid: None,
        node_guid: None,
        subnet: None,
        lid: None,
        sm_lid: None,
    };
    Nic { rdma: Some(rdma), ..Nic::new(&format!("{device}/1"), LinkLayer::Unknown) }
}
