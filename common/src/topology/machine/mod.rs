//! What one machine has: CPUs, memory, PCI devices, accelerators, network ports, and how near they are.
//!
//! Several sources tell about one machine (sysfs, hwloc, NVML, a recorded file). Each is read into a
//! [`Machine`] of its own, in which what it does not know is absent, and [`Machine::merge`] makes one of
//! them.

mod accelerator;
mod affinity;
mod cpu;
mod cpuset;
mod look;
mod merge;
mod nic;
mod nvlink_domain;
mod parts;
mod path;
mod pci;
mod peers;
mod problem;

pub use accelerator::{Accelerator, AcceleratorKind, Ailment, Attachment, LinkKind, MigSlice, Peer};
pub use cpu::{Allowed, Board, CpuModel, NumaNode, Package};
pub use cpuset::{CpuSet, CpuSetError};
pub use look::findings;
pub use nic::{Nic, Rdma};
pub use nvlink_domain::{ClusterUuid, Fabric, FabricState, NvlinkDomain, Platform, UuidError};
pub use parts::Machine;
pub use path::{Device, PathType, Told};
pub use pci::{PciDevice, PciKind, PciLink, PciPlace, PciRoot};
pub use problem::Problem;
