//! What Ascend's tools write: `npu-smi info` (the table of chips), `info -m` (which chip is which), `info -t topo` (the
//! matrix of links), and `hccn_tool` (the network port that every NPU has beside those of the host).
//!
//! All of it is for people and differs from generation to generation, so it is read by its headers: the A5 has no
//! `Chip Logic ID`, and no CPU affinity in its matrix.
//!
//! The index of an NPU is its physical id where that is known: the number in `/dev/davinci3`, `hccn_tool -i 3` and the
//! `Phy-ID3` of a matrix. On a host the logic id is the same; an A2 of one chip per card has its card's number.

mod hccn;
mod info;
mod mapping;
mod topo;

pub use hccn::{Error as HccnError, address, is_up, neighbour, port};
pub use info::{Error as InfoError, MAX_BYTES as MAX_INFO_BYTES, info};
pub use mapping::{Chip, Error as MappingError, mapping};
pub use topo::{Error as TopoError, topo};
