//! A topology in other programs' words.

use anyhow::{Context, bail};
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
            if let Some(device) = nccl_xml::unplaced(machine) {
                bail!(
                    "where {device} of {node} is plugged in is not known, and NCCL would take it for far from everything: \
                     add a folder with the node's /sys, or XML of hwloc, to --from"
                );
            }
            nccl_xml::write(machine, &view.network().rails_of(node))
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
