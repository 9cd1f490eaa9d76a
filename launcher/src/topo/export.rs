//! A topology in other programs' words.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use phalanx_common::topology::Bdf;
use phalanx_common::topology::machine::Machine;
use phalanx_formats::outline::Outline;
use phalanx_formats::{nccl_xml, slurm, topograph};

use super::plain;
use super::view::View;

/// What a topology is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Slurm's topology.conf: the tree of the plane that jobs' traffic takes.
    SlurmConf,
    /// Slurm's topology.yaml (25.05 and later): the tree, and a block for each NVLink domain.
    SlurmYaml,
    /// Instances of topograph, as JSON.
    Topograph,
    /// A node's topology file for NCCL (`NCCL_TOPO_FILE`), with the rails of its ports.
    Nccl,
    /// Everything, as Phalanx itself reads it.
    Json,
}

/// The text in that format, with a line break at its end.
///
/// # Errors
/// A format for one node without a node, or one whose inside is not known.
pub(crate) fn export(view: &View, format: Format, node: Option<&str>) -> anyhow::Result<String> {
    let outline = || Outline::of(view.network());
    Ok(match format {
        Format::Nccl => {
            let node = node.context("a topology file for NCCL is one node's: name it, `export nccl NODE`")?;
            let machine =
                view.machine(node).with_context(|| format!("what {node} has inside is not known"))?;
            if let Some(device) = unplaced(machine) {
                bail!(
                    "where {device} of {node} is plugged in is not known, and NCCL would take it for far from everything: \
                     add a folder with the node's /sys, or XML of hwloc, to --from"
                );
            }
            nccl_xml::write(machine, &rails(view, node))
        }
        Format::SlurmConf => slurm::write_conf(&outline()),
        Format::SlurmYaml => slurm::write_yaml(&outline()),
        Format::Topograph => topograph::write_json(&outline()),
        Format::Json => {
            let beside = plain::value(&view.witnesses()).context("it cannot be written as JSON")?;
            String::from_utf8_lossy(&view.snapshot.to_json_with(&beside)).into_owned() + "\n"
        }
    })
}

/// A device whose place in the PCI tree no source tells.
fn unplaced(machine: &Machine) -> Option<String> {
    let placed = |bdf: Option<Bdf>| {
        bdf.and_then(|bdf| machine.pci.get(&bdf)).is_some_and(|device| device.place.is_some())
    };
    let gpu = |row: usize| {
        format!("GPU{}", machine.accelerators[row].index.unwrap_or(u32::try_from(row).unwrap_or(0)))
    };
    let gpus = machine.accelerators.iter().position(|it| !placed(it.bdf)).map(gpu);
    let mut nics = machine.nics.iter().filter(|nic| nic.rdma.is_some() || nic.bdf.is_some());
    gpus.or_else(|| nics.find(|nic| !placed(nic.bdf)).map(|nic| nic.name.clone()))
}

/// The rail of each port that is on one.
fn rails(view: &View, node: &str) -> BTreeMap<String, u16> {
    let row = view.network().node(node);
    let ports = row.and_then(|row| view.network().nodes.get(row as usize)).map(|node| &node.ports);
    ports.into_iter().flatten().filter_map(|port| Some((port.name.clone(), port.rail?))).collect()
}
