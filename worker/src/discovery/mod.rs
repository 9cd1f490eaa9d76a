//! What a machine has for ranks to compute with, and who is around it.

pub mod addresses;
pub mod ascend;
pub mod beacon;
pub mod fabric;
#[cfg(feature = "hwloc")]
pub mod hwloc;
#[expect(unsafe_code, reason = "packet sockets, which no safe wrapper covers")]
pub mod lldp;
pub mod nvidia;
pub mod ours;
#[expect(unsafe_code, reason = "a tool is told to die with this process between fork and exec")]
mod tool;
