//! Which devices, cores and memory of its node a pod gets, and which of them each rank.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::spec::{DeviceView, MemoryBinding};
use crate::topology::machine::{AcceleratorKind, CpuSet};

/// What a pod gets of its node. The default binds nothing: ranks share what the worker may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodBinding {
    /// The pod's devices, those of its first rank first. Empty: none were asked for, and ranks see what they inherit.
    pub devices: Vec<BoundDevice>,
    pub view: DeviceView,
    /// RDMA ports that NCCL may use, as `mlx5_0:1`. Empty: it decides by itself.
    pub hca: Vec<String>,
    /// Where the memory of ranks comes from (`set_mempolicy(2)`).
    pub memory: MemoryBinding,
    /// In LOCAL_RANK order. Empty: no rank is bound to anything.
    pub ranks: Vec<RankBinding>,
    /// The rails that ports of the node are on, by the port's name, for a topology file of NCCL that the worker writes.
    /// `None`: NCCL looks by itself.
    pub nccl_topology: Option<BTreeMap<String, u16>>,
}

impl Default for PodBinding {
    fn default() -> PodBinding {
        PodBinding {
            devices: Vec::new(),
            view: DeviceView::Pod,
            hca: Vec::new(),
            memory: MemoryBinding::None,
            ranks: Vec::new(),
            nccl_topology: None,
        }
    }
}

/// A device, or a slice of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundDevice {
    pub kind: AcceleratorKind,
    /// As the vendor counts: NVML by PCI address, ROCr by the nodes of the kernel's KFD, `npu-smi` by its logic ids.
    /// That of the whole GPU for a slice.
    pub index: u32,
    /// A device that is another one by now than when it was planned is told by this. Slices have no other name.
    pub uuid: Option<String>,
    /// It is a slice of a GPU (Multi-Instance GPU).
    pub mig: bool,
}

/// What one rank gets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankBinding {
    /// How many of the pod's devices, after those of the ranks before it.
    pub devices: u32,
    /// CPUs that it may run on. Empty: those of the worker.
    pub cpus: CpuSet,
    /// NUMA nodes that the pod's memory policy is about. Empty: the rank has none.
    pub nodes: CpuSet,
}

/// A binding that contradicts itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindingError {
    #[error("it binds {bound} ranks, and the pod has {ranks}")]
    Ranks { bound: usize, ranks: u32 },
    #[error("it has {devices} devices, and gives {given} of them to ranks")]
    Devices { devices: usize, given: u64 },
    #[error("it has devices of several vendors, which no program can use together")]
    Vendors,
    #[error("it names {0} twice")]
    Twice(BoundDevice),
    #[error("it names {0}, a slice, without its UUID")]
    NoUuid(BoundDevice),
    #[error("{0:?} is the name of no device or port")]
    Name(String),
    #[error("rank {rank} of the pod is to see its own devices alone, and has none")]
    Blind { rank: usize },
}

impl PodBinding {
    /// Whether it says one thing for a pod of `ranks` ranks.
    ///
    /// # Errors
    /// What contradicts what.
    pub fn check(&self, ranks: u32) -> Result<(), BindingError> {
        let bound = self.ranks.len();
        if bound != 0 && u32::try_from(bound) != Ok(ranks) {
            return Err(BindingError::Ranks { bound, ranks });
        }
        let given: u64 = self.ranks.iter().map(|rank| u64::from(rank.devices)).sum();
        if given != self.devices.len() as u64 {
            return Err(BindingError::Devices { devices: self.devices.len(), given });
        }
        let mut seen = BTreeSet::new();
        for device in &self.devices {
            if device.kind != self.devices[0].kind {
                return Err(BindingError::Vendors);
            }
            let slice = device.uuid.as_ref().filter(|_| device.mig);
            if device.mig && slice.is_none() {
                return Err(BindingError::NoUuid(device.clone()));
            }
            if !seen.insert((device.index, slice)) {
                return Err(BindingError::Twice(device.clone()));
            }
        }
        let railed = self.nccl_topology.iter().flat_map(BTreeMap::keys);
        let names = self.devices.iter().filter_map(|device| device.uuid.as_ref());
        let names = names.chain(&self.hca).chain(railed);
        if let Some(odd) = names.clone().find(|name| !is_name(name)) {
            return Err(BindingError::Name(odd.clone()));
        }
        let blind = || self.ranks.iter().position(|rank| rank.devices == 0);
        if self.view == DeviceView::Rank
            && !self.devices.is_empty()
            && let Some(rank) = blind()
        {
            return Err(BindingError::Blind { rank });
        }
        Ok(())
    }

    /// The devices of the rank with this LOCAL_RANK; none where it has none, or the binding contradicts itself.
    pub fn devices_of(&self, local_rank: u32) -> &[BoundDevice] {
        let local_rank = local_rank as usize;
        let count = |rank: &RankBinding| rank.devices as usize;
        let Some(own) = self.ranks.get(local_rank).map(count) else { return &[] };
        let before = self.ranks[..local_rank].iter().map(count).fold(0, usize::saturating_add);
        self.devices.get(before..before.saturating_add(own)).unwrap_or_default()
    }
}

/// Fit for a list with commas in a variable.
fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:/".contains(&byte);
    !text.is_empty() && text.bytes().all(plain)
}

impl fmt::Display for BoundDevice {
    /// As people know it: `GPU 3 (GPU-5f…)`, `NPU 0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            AcceleratorKind::Nvidia | AcceleratorKind::Amd => "GPU",
            AcceleratorKind::Ascend => "NPU",
        };
        match (&self.uuid, self.mig) {
            (Some(uuid), true) => write!(f, "slice {uuid} of {what} {}", self.index),
            (Some(uuid), false) => write!(f, "{what} {} ({uuid})", self.index),
            (None, _) => write!(f, "{what} {}", self.index),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu(index: u32) -> BoundDevice {
        BoundDevice { kind: AcceleratorKind::Nvidia, index, uuid: Some(format!("GPU-{index}")), mig: false }
    }

    fn ranks(devices: &[u32]) -> Vec<RankBinding> {
        devices.iter().map(|count| RankBinding { devices: *count, ..RankBinding::default() }).collect()
    }

    #[test]
    fn devices_go_to_ranks_in_their_order_and_what_contradicts_itself_gives_none() {
        let binding = PodBinding {
            devices: vec![gpu(5), gpu(0), gpu(3)],
            ranks: ranks(&[1, 0, 2]),
            ..PodBinding::default()
        };
        assert_eq!(binding.check(3), Ok(()));
        assert_eq!(binding.devices_of(0), [gpu(5)]);
        assert_eq!(binding.devices_of(1), []);
        assert_eq!(binding.devices_of(2), [gpu(0), gpu(3)]);
        assert_eq!(binding.devices_of(3), []);
        let short = PodBinding { ranks: ranks(&[u32::MAX, u32::MAX]), ..binding };
        assert_eq!((short.devices_of(0), short.devices_of(1)), (&[][..], &[][..]));
    }

    #[test]
    fn a_binding_that_contradicts_itself_says_where() {
        let binding = |devices: Vec<BoundDevice>, counts: &[u32]| PodBinding {
            devices,
            ranks: ranks(counts),
            ..PodBinding::default()
        };
        let slice = BoundDevice { mig: true, ..gpu(0) };
        let unnamed = BoundDevice { uuid: None, ..slice.clone() };
        let amd = BoundDevice { kind: AcceleratorKind::Amd, ..gpu(1) };
        let named = |uuid: &str| BoundDevice { uuid: Some(uuid.into()), ..gpu(0) };
        let blind = PodBinding { view: DeviceView::Rank, ..binding(vec![gpu(0)], &[1, 0]) };
        let port = PodBinding { hca: vec!["mlx5_0:1,^mlx5_1".into()], ..PodBinding::default() };
        let other = BoundDevice { uuid: Some("MIG-2".into()), ..slice.clone() };
        assert_eq!(binding(vec![slice.clone(), other], &[1, 1]).check(2), Ok(()));
        assert_eq!(PodBinding::default().check(7), Ok(()));
        for (wrong, error) in [
            (binding(vec![], &[0]), BindingError::Ranks { bound: 1, ranks: 2 }),
            (binding(vec![gpu(0)], &[]), BindingError::Devices { devices: 1, given: 0 }),
            (
                binding(vec![gpu(0)], &[u32::MAX, 2]),
                BindingError::Devices { devices: 1, given: u64::from(u32::MAX) + 2 },
            ),
            (binding(vec![gpu(0), amd], &[1, 1]), BindingError::Vendors),
            (binding(vec![gpu(0), named("GPU-7")], &[1, 1]), BindingError::Twice(named("GPU-7"))),
            (binding(vec![unnamed.clone()], &[1, 0]), BindingError::NoUuid(unnamed)),
            (binding(vec![named("GPU-1,2")], &[1, 0]), BindingError::Name("GPU-1,2".into())),
            (port, BindingError::Name("mlx5_0:1,^mlx5_1".into())),
            (blind, BindingError::Blind { rank: 1 }),
        ] {
            assert_eq!(wrong.check(2), Err(error), "{wrong:?}");
        }
    }
}
