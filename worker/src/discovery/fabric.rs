//! The InfiniBand fabric, as `ibnetdiscover` of infiniband-diags walks it. It takes the management devices
//! (/dev/infiniband/umad*), which are root's.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::path::Path;
use std::time::Duration;

use phalanx_common::topology::machine::Machine;
use phalanx_formats::ibnetdiscover::MAX_BYTES;

use super::tool::{self, Tool};

const TOOL: &str = "ibnetdiscover";
const MANAGEMENT: &str = "/dev/infiniband";
/// A walk over some ten thousand ports takes about a minute.
const WITHIN: Duration = Duration::from_secs(300);

pub use super::tool::Error;

/// A port that a fabric can be walked from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// `mlx5_0`
    pub device: String,
    pub port: u8,
}

/// Subnets (upper halves of GIDs) that this process can walk, each from the first of its ports that works.
pub fn gates(machine: &Machine) -> BTreeMap<u64, Gate> {
    let mut gates = BTreeMap::new();
    if !tool::is_there(TOOL) || !may_walk(Path::new(MANAGEMENT)) {
        return gates;
    }
    for nic in machine.nics.iter().filter(|nic| nic.up != Some(false)) {
        if let Some(rdma) = &nic.rdma
            && let Some(subnet) = rdma.subnet
            && rdma.lid.is_some_and(|lid| lid != 0)
        {
            let gate = Gate { device: rdma.device.clone(), port: rdma.port };
            gates.entry(subnet.0).or_insert(gate);
        }
    }
    gates
}

/// Walks it. Blocks, for minutes on a large fabric.
///
/// # Errors
/// The tool fails, takes too long or writes too much.
pub fn walk(gate: &Gate) -> Result<Vec<u8>, Error> {
    let port = gate.port.to_string();
    Tool { name: TOOL, args: &["-C", &gate.device, "-P", &port], within: WITHIN, limit: MAX_BYTES }.output()
}

fn may_walk(dir: &Path) -> bool {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut umads = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("umad"));
    umads.any(|entry| OpenOptions::new().read(true).write(true).open(entry.path()).is_ok())
}
