//! Dumps of an InfiniBand subnet by `ibnetdiscover` (rdma-core), in its default format and in that of `-p`,
//! and the like of them that `ibsim` takes.
//!
//! A dump may begin with lines of progress (`DR path …`) or trouble (`umad …`); what is no record is passed
//! over. Every cable is in the dump once from each end and counts once. Names in a dump are what somebody
//! configured, if anybody did: adapters are known by their GUIDs first, and one whose description is only
//! its model (`MT4129 ConnectX7 Mellanox Technologies`) has no name.

mod describe;
mod evidence;
mod line;
mod read;

pub use read::{Device, Error, Fabric, Kind, Link, MAX_BYTES, read};
