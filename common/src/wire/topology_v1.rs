//! What a node tells of its machine and of its networks, version 1: on a stream of its own, so that a large
//! machine is in nobody's way. As elsewhere, a message never gains a field, and a variant is only appended.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::bytes::Bytes;

/// Largest part of a document, bytes.
pub const PART: usize = 256 << 10;

/// Worker to coordinator. Each replaces what this node said of the same before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromNode {
    /// What its operator wants of it. First on the stream.
    Policy(Policy),
    /// Its machine (`topology::machine::Machine`) in JSON, in parts; it counts with the last.
    Machine { part: Bytes, last: bool },
    /// The switches at the other ends of its cables, by LLDP.
    Neighbours(Vec<Neighbour>),
    /// The beacons that it hears. `whole`: each of its ports had the time to hear all that there are.
    Heard { beacons: Vec<Heard>, whole: bool },
    /// InfiniBand subnets (upper halves of GIDs) of which it can tell the whole fabric.
    Fabrics(Vec<u64>),
    /// What `ibnetdiscover` wrote of this subnet, in parts; it counts with the last.
    Fabric { subnet: u64, part: Bytes, last: bool },
}

/// Coordinator to worker, on the same stream.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToNode {
    /// Beacons are signed with this key (HMAC-SHA256) from now on. Those signed with the one before still
    /// count: the others have the new one only a little later.
    BeaconKey { number: u32, key: [u8; 32] },
    /// Tell the fabric of this subnet, and again when it changes.
    TellFabric { subnet: u64 },
}

impl fmt::Debug for ToNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ToNode::BeaconKey { number, .. } => {
                f.debug_struct("BeaconKey").field("number", number).finish_non_exhaustive()
            }
            ToNode::TellFabric { subnet } => f.debug_struct("TellFabric").field("subnet", subnet).finish(),
        }
    }
}

/// What the operator of a node says of it on its command line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Name and value.
    pub labels: Vec<(String, String)>,
    /// CPUs that are the system's, as a list of the kernel: `0-1,64`.
    pub reserved_cpus: String,
    pub reserved_memory_bytes: u64,
    /// Devices that others compute on are handed out all the same.
    pub share: bool,
}

/// A switch that a port hears.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Neighbour {
    /// Of this node.
    pub interface: String,
    /// With its kind: `mac 3e:cc:04:9c:17:ad`.
    pub chassis: String,
    pub name: Option<String>,
    /// Of its management.
    pub address: Option<String>,
    /// As people know it.
    pub port: String,
}

/// A beacon that a port hears, again and again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Heard {
    /// Of this node.
    pub interface: String,
    /// Whose it is, as it says: all nodes share the key, and its signature shows no more than that it is of one.
    pub node: String,
    pub by: String,
}
