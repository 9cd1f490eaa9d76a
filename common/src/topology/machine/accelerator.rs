//! GPUs and other accelerators.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::cpuset::CpuSet;
use super::nvlink_domain::{Fabric, Platform};
use crate::topology::port::Bdf;

/// A device that ranks compute on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Accelerator {
    pub kind: AcceleratorKind,
    /// Its PCI address, where that is known: a matrix of `nvidia-smi topo -m` does not say it.
    pub bdf: Option<Bdf>,
    /// As the vendor's tools count: what `nvidia-smi` calls GPU 3.
    pub index: Option<u32>,
    pub model: Option<String>,
    pub uuid: Option<String>,
    pub serial: Option<String>,
    pub memory_bytes: Option<u64>,
    /// The CPUs that the driver says are nearest.
    pub cpus: Option<CpuSet>,
    /// The NUMA nodes of host memory that the driver says are nearest.
    pub nodes: Option<CpuSet>,
    /// The NUMA node that its own memory is, where it is one.
    pub own_node: Option<u32>,
    /// Whether it is cut into slices. Empty `slices` of one that is: nobody made any yet.
    pub mig: Option<bool>,
    pub slices: Vec<MigSlice>,
    /// Direct links, in the order of their peers.
    pub links: Vec<Attachment>,
    /// Devices of AMD with the same number other than 0 reach each other over XGMI.
    pub hive: Option<u64>,
    /// What is wrong with it, where somebody looked.
    pub ailments: Option<Vec<Ailment>>,
    /// The processes that compute on it, by their ids.
    /// `None` where nobody looked; processes that only draw do not count.
    pub processes: Option<Vec<u32>>,
    /// Its registration with an NVLink fabric.
    pub fabric: Option<Fabric>,
    /// Its place in a rack.
    pub platform: Option<Platform>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AcceleratorKind {
    Nvidia,
    Amd,
    Ascend,
}

/// A part of a GPU that is a device of its own (Multi-Instance GPU).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigSlice {
    pub index: u32,
    pub uuid: Option<String>,
    pub gpu_instance: Option<u32>,
    pub compute_instance: Option<u32>,
    pub memory_bytes: Option<u64>,
    /// How many slices of the GPU's compute its GPU instance has (the `3g` of a profile), and how many of these its compute
    /// instance has. Fewer: others are in the same GPU instance, and in its memory.
    pub instance_slices: Option<u32>,
    pub compute_slices: Option<u32>,
}

/// A bundle of links to one peer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Attachment {
    pub peer: Peer,
    pub kind: LinkKind,
    /// Links in the bundle.
    pub lanes: u32,
    /// Megabytes per second in each direction, of the whole bundle.
    pub mb_per_s: Option<u64>,
}

/// What is at the other end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Peer {
    Accelerator(Bdf),
    /// One that is known by its index alone, in a source without addresses.
    Numbered(u32),
    /// An NVSwitch; in virtual machines and racks it has no address here.
    Switch(Option<Bdf>),
    /// A CPU, by its NUMA node.
    Cpu(Option<u32>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkKind {
    NvLink,
    Xgmi,
    Hccs,
    /// Between the two dies of one Ascend card.
    Sio,
    Pcie,
}

/// What makes a device unfit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ailment {
    /// The driver asks for this before the device is used again.
    Recovery(String),
    RowRemapFailed,
    RowRemapPending,
    UncorrectableEcc(u64),
    /// The NVLink fabric is not as it should be; what of it.
    Fabric(String),
    /// The vendor's tool reports this state (`Warning`, `Alarm`, `Critical`).
    State(String),
    /// The driver cannot reach it any more; its words.
    Lost(String),
}

impl Ailment {
    /// Whether what computes on the device cannot go on. One that is to be drained, or to be reset once, goes on until then.
    pub fn ends_work(&self) -> bool {
        match self {
            Ailment::Lost(_) => true,
            Ailment::Recovery(action) => {
                let action = action.to_ascii_lowercase();
                action.starts_with("reset") || action.starts_with("reboot")
            }
            _ => false,
        }
    }
}

impl fmt::Display for Ailment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ailment::Recovery(action) => write!(f, "needs {action}"),
            Ailment::RowRemapFailed => f.write_str("a memory row could not be remapped"),
            Ailment::RowRemapPending => f.write_str("a memory row is to be remapped at the next reset"),
            Ailment::UncorrectableEcc(errors) => {
                write!(f, "{errors} memory errors that ECC could not correct")
            }
            Ailment::Fabric(what) => write!(f, "NVLink fabric: {what}"),
            Ailment::State(state) => write!(f, "state {state}"),
            Ailment::Lost(why) => f.write_str(why),
        }
    }
}

impl Accelerator {
    pub fn new(kind: AcceleratorKind) -> Accelerator {
        Accelerator {
            kind,
            bdf: None,
            index: None,
            model: None,
            uuid: None,
            serial: None,
            memory_bytes: None,
            cpus: None,
            nodes: None,
            own_node: None,
            mig: None,
            slices: Vec::new(),
            links: Vec::new(),
            hive: None,
            ailments: None,
            processes: None,
            fabric: None,
            platform: None,
        }
    }
}

impl Accelerator {
    /// Its links to another, which is known by its address or by its index.
    pub fn links_to<'a>(&'a self, other: &'a Accelerator) -> impl Iterator<Item = &'a Attachment> {
        self.links.iter().filter(|link| match link.peer {
            Peer::Accelerator(bdf) => other.bdf == Some(bdf),
            Peer::Numbered(index) => other.index == Some(index) && other.kind == self.kind,
            Peer::Switch(_) | Peer::Cpu(_) => false,
        })
    }

    /// Its links to switches: all switches of a machine are one fabric.
    pub fn links_to_switches(&self) -> impl Iterator<Item = &Attachment> {
        self.links.iter().filter(|link| matches!(link.peer, Peer::Switch(_)))
    }
}

impl AcceleratorKind {
    /// By the PCI vendor.
    pub fn of_vendor(vendor: u16) -> Option<AcceleratorKind> {
        match vendor {
            0x10de => Some(AcceleratorKind::Nvidia),
            0x1002 => Some(AcceleratorKind::Amd),
            0x19e5 => Some(AcceleratorKind::Ascend),
            _ => None,
        }
    }
}
