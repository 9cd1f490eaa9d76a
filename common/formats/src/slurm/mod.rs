//! Slurm's `topology.conf` and `topology.yaml` (manual pages of those names): trees of switches, and blocks.

mod conf;
mod write;
mod yaml;

pub use conf::{ConfError, MAX_BYTES, read_conf};
pub use write::{write_conf, write_yaml};
pub use yaml::{YamlError, read_yaml};
