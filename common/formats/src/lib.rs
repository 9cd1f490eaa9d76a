//! What the kernel and other tools write about a machine or a network, read into the topology model of
//! `phalanx_common::topology` and written from it.
//!
//! Every reader takes bytes or a tree of files that a stranger may have written: truncated, nonsense or
//! huge. It answers with what it understood, or with an error that says where and what to do. One file,
//! `dir.rs`, reads folders on disk; all else is pure.

/// Largest YAML file, bytes: its scanner keeps about a hundred for each byte of a list in brackets. Ten thousand
/// HyperNodes fit.
pub(crate) const MAX_YAML_BYTES: usize = 8 << 20;

pub mod csv;
pub mod dir;
mod grid;
pub mod hostlist;
pub mod hwloc_xml;
pub mod hypernode;
pub mod ibnetdiscover;
pub mod kind;
pub mod lldp;
pub mod nccl_xml;
pub mod netq;
pub mod npu_smi;
pub mod nvidia_smi;
pub mod nvml_profile;
pub mod outline;
mod size;
pub mod slurm;
pub mod statement;
pub mod sysfs;
mod text;
pub mod topograph;
pub mod trace;
pub mod tree;
pub mod xml;

pub use grid::{Cell, Reading as MatrixReading, Strange};
pub use size::TooLarge;
pub use text::NotUtf8;
