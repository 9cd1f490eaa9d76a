//! CPUs and memory.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::cpuset::CpuSet;

/// Who made the machine and what it is called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Board {
    pub vendor: Option<String>,
    pub product: Option<String>,
}

/// What the CPUs are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuModel {
    /// As the CPU says: `GenuineIntel`, `AuthenticAMD`.
    pub vendor: Option<String>,
    pub name: Option<String>,
    pub family: Option<u32>,
    pub model: Option<u32>,
}

/// A socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    pub id: u32,
    pub cpus: CpuSet,
}

/// Memory, and the CPUs that are nearest to it. The memory of a GPU (Power9, Grace) is a node without CPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumaNode {
    pub cpus: CpuSet,
    pub memory_bytes: Option<u64>,
    /// To each node by its id, as the firmware says it (ACPI SLIT): 10 is the node itself.
    pub distances: BTreeMap<u32, u32>,
}

impl NumaNode {
    /// Its memory in bytes as machines of one kind have it in common, in whole GiB, below one in whole MiB: the kernel
    /// counts what firmware left to it, which differs by some pages from machine to machine.
    pub fn about_bytes(&self) -> Option<u64> {
        let about = |bytes: u64| if bytes >> 30 > 0 { bytes >> 30 << 30 } else { bytes >> 20 << 20 };
        self.memory_bytes.map(about)
    }
}

/// What the control group of this process leaves to it; `None` where nothing limits it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowed {
    pub cpus: Option<CpuSet>,
    /// NUMA nodes.
    pub nodes: Option<CpuSet>,
    pub memory_bytes: Option<u64>,
}
