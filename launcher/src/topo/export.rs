//! A topology in other programs' words.

use std::collections::BTreeMap;

use anyhow::Context;
use phalanx_formats::outline::Outline;
use phalanx_formats::{nccl_xml, slurm, topograph};

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
            nccl_xml::write(machine, &rails(view, node))
        }
        Format::SlurmConf => slurm::write_conf(&outline()),
        Format::SlurmYaml => slurm::write_yaml(&outline()),
        Format::Topograph => topograph::write_json(&outline()),
        Format::Json => String::from_utf8_lossy(&view.snapshot.to_json()).into_owned() + "\n",
    })
}

/// The rail of each port that is on one.
fn rails(view: &View, node: &str) -> BTreeMap<String, u16> {
    let row = view.network().node(node);
    let ports = row.and_then(|row| view.network().nodes.get(row as usize)).map(|node| &node.ports);
    ports.into_iter().flatten().filter_map(|port| Some((port.name.clone(), port.rail?))).collect()
}
