//! Inside the node: which devices, cores, memory and network ports each rank of a pod gets. Knows machines, and
//! no cluster.
//!
//! ```text
//! Machine --+--> NodeModel     what placement needs of it; equal nodes share one
//!           +--> NodeIdentity  what is of this node alone: UUIDs, addresses, which links work
//! FreeInside                   what is free, by deltas: take(&Inside), give(&Inside)
//! choose(&NodeModel, &FreeInside, &RankNeeds) -> Inside | Lack
//!    set      which devices: links, ports, cores and memory near them, what is left for the next gang
//!    order    which of them are of which rank, in LOCAL_RANK order
//!    share    disjoint cores, and memory, near the devices of each rank
//!    ports    the nearest network ports of each rank
//! capacity(..) -> how many such ranks fit, without choosing
//! ```
//!
//! Devices, cores, NUMA nodes and ports are rows of the model; only [`NodeIdentity`] says what the world calls them.

mod bandwidth;
mod bound;
mod choose;
mod cores;
mod free;
mod identity;
mod lack;
mod model;
mod near;
mod needs;
mod order;
mod ports;
mod set;
mod share;
mod slice;
#[cfg(test)]
mod tests;

pub use bound::{DeviceKind, Force, Held};
pub use choose::{Inside, Quality, RankInside, capacity, choose};
pub use cores::{Cores, Group, Rows};
pub use free::FreeInside;
pub use identity::{DeviceIdentity, Interface, JobPorts, NodeIdentity, PortIdentity};
pub(crate) use lack::plural;
pub use lack::{Change, Filter, Lack, Missing};
pub use model::{Device, NodeModel, Port};
pub use needs::{DeviceNeed, MigProfile, ProfileError, RankNeeds};
pub use ports::RankPort;
pub use slice::SliceKind;
