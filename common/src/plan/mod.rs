//! What the coordinator decided for one pod: one body per job and a small difference per rank.
//!
//! A plan leaves no choice to whoever executes it, except what only the node can know
//! (the directory of the pod, the cores that unbound ranks share).

mod binding;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{Generation, JobId, Rank};
use crate::spec::{Keep, Lifecycle, Probes, Ship, StopScope, VirtualEnv};

pub use binding::{BindingError, BoundDevice, PodBinding, RankBinding};

/// The ranks of one job on one node, ready to be prepared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodPlan {
    pub job: JobId,
    pub generation: Generation,
    pub body: PlanBody,
    /// This node's place among the gang's nodes, from 0.
    pub node_rank: u32,
    /// Rank of the pod's first process; the others follow without a gap, LOCAL_RANK rising with RANK.
    pub first_rank: Rank,
    /// Ranks on this node.
    pub local_ranks: u32,
    /// Port on which the pod answers the probes of its peers; `None` in local mode.
    pub probe_port: Option<u16>,
    /// The part of the node's devices, cores and memory that is the pod's.
    pub binding: PodBinding,
}

impl PodPlan {
    /// The pod's ranks in LOCAL_RANK order.
    pub fn ranks(&self) -> impl Iterator<Item = Rank> + use<> {
        let first = self.first_rank.0;
        (first..first + self.local_ranks).map(Rank)
    }
}

/// The part of a plan that is the same for every rank of the gang.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanBody {
    /// The name the user gave the job.
    pub name: String,
    /// The Unix user whose processes the ranks are; `None`: the worker's own, in local mode.
    pub user: Option<String>,
    pub world_size: u32,
    pub nodes: u32,
    pub command: Vec<String>,
    pub working_dir: Option<String>,
    /// What the user set for this job.
    pub env: BTreeMap<String, String>,
    /// Variables whose values come apart from the plan.
    pub secrets: Vec<String>,
    pub virtual_env: Option<VirtualEnv>,
    pub ship: Option<Ship>,
    /// Where rank 0's rendezvous listens.
    pub master_addr: IpAddr,
    pub master_port: u16,
    /// Network interface for the data plane, for gloo and NCCL.
    pub interface: Option<String>,
    /// Restarts used so far, and allowed.
    pub restart_count: u32,
    pub max_restarts: u32,
    pub termination_grace: Duration,
    pub stop_scope: StopScope,
    pub keep: Keep,
    /// `None`: the worker's own directory for the job's user.
    pub log_dir: Option<String>,
    pub max_file_bytes: u64,
    pub keep_files: u32,
    /// How long the pod may run without hearing from a coordinator; `None` in local mode,
    /// where the shim sees the launcher's end directly.
    pub lease: Option<Duration>,
    pub probes: Probes,
    pub lifecycle: Lifecycle,
    /// A rank that fails may be started again in this generation: its pod stays for it.
    pub in_place: bool,
    /// Bytes of memory that a rank may have.
    pub memory_limit: Option<u64>,
}
