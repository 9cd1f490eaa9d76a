//! A topology in other programs' words.

use phalanx_formats::outline::Outline;
use phalanx_formats::{slurm, topograph};

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
    /// Everything, as Phalanx itself reads it.
    Json,
}

/// The text in that format, with a line break at its end.
pub(crate) fn export(view: &View, format: Format) -> String {
    let outline = || Outline::of(view.network());
    match format {
        Format::SlurmConf => slurm::write_conf(&outline()),
        Format::SlurmYaml => slurm::write_yaml(&outline()),
        Format::Topograph => topograph::write_json(&outline()),
        Format::Json => String::from_utf8_lossy(&view.snapshot.to_json()).into_owned() + "\n",
    }
}
