//! `npu-smi info -t topo`.

use phalanx_common::topology::LinkLayer;
use phalanx_common::topology::machine::{AcceleratorKind, LinkKind, Nic};

pub use crate::grid::Error;
use crate::grid::{self, Link, Reading, Shape, Tool};

const SHAPE: Shape =
    Shape { first: &["NPU", "Phy-ID"], example: "`NPU0 NPU1 CPU Affinity`", command: "npu-smi info -t topo" };

/// Reads the matrix: links between NPUs (HCCS directly or through a switch, SIO between the dies of a card), paths
/// over PCI Express, nearest CPUs where it has them. It knows no addresses.
///
/// # Errors
/// More than a megabyte, no line that names devices, and rows that were cut or wrapped.
pub fn topo(bytes: &[u8]) -> Result<Reading, Error> {
    let tool = Tool {
        kind: AcceleratorKind::Ascend,
        index_of: |name| SHAPE.first.iter().find_map(|begin| name.strip_prefix(begin)?.parse().ok()),
        port: &|column| Nic::new(column, LinkLayer::Unknown),
        link: |cell| {
            let (kind, switched) = match cell {
                "HCCS" => (LinkKind::Hccs, false),
                "HCCS_SW" => (LinkKind::Hccs, true),
                "SIO" => (LinkKind::Sio, false),
                _ => return None,
            };
            // The matrix does not say how many there are.
            Some(Link { kind, lanes: 1, switched })
        },
    };
    Ok(grid::reading(&grid::read(bytes, &SHAPE)?, &tool))
}
