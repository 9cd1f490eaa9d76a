//! Network ports of a machine, with and without RDMA.

use serde::{Deserialize, Serialize};

use crate::topology::port::{Bdf, Guid, LinkLayer, Mac};

/// One port of a network adapter: an interface of the kernel, an RDMA port, or both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Nic {
    /// The interface (`enp65s0f0`), else RDMA device and port (`mlx5_0/1`).
    pub name: String,
    /// The function it is; ports of one function share it, and interfaces without hardware have none.
    pub bdf: Option<Bdf>,
    pub layer: LinkLayer,
    pub mac: Option<Mac>,
    /// Megabits per second.
    pub speed_mbps: Option<u32>,
    /// Whether its link works, where that is known.
    pub up: Option<bool>,
    pub mtu: Option<u32>,
    /// The bond that it is a member of.
    pub bond: Option<String>,
    /// Addresses with their prefix lengths: `10.0.0.3/24`. Those of a link alone are left out.
    pub addresses: Vec<String>,
    /// Where its default routes lead, one of each family at most: `10.0.0.1`.
    #[serde(default)]
    pub gateways: Vec<String>,
    pub rdma: Option<Rdma>,
}

/// What a port is for RDMA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Rdma {
    /// `mlx5_0`
    pub device: String,
    /// From 1.
    pub port: u8,
    /// Of the port, in an InfiniBand fabric.
    pub guid: Option<Guid>,
    /// Of the adapter.
    pub node_guid: Option<Guid>,
    /// The upper half of the port's GIDs: which InfiniBand subnet it is in.
    pub subnet: Option<Guid>,
    /// The port's address within its subnet; 0 is none.
    pub lid: Option<u16>,
    /// The address of the subnet manager; 0 is none.
    pub sm_lid: Option<u16>,
}

impl Nic {
    pub fn new(name: &str, layer: LinkLayer) -> Nic {
        Nic {
            name: name.to_string(),
            bdf: None,
            layer,
            mac: None,
            speed_mbps: None,
            up: None,
            mtu: None,
            bond: None,
            addresses: Vec::new(),
            gateways: Vec::new(),
            rdma: None,
        }
    }
}
