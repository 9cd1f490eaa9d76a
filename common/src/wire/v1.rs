//! Messages of control protocol version 1. Golden bytes guard them: no field is ever added or
//! removed, a variant is only appended. The domain types (`order`, `report`, `plan`) are converted
//! at the edge, in `v1_convert`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::bytes::Bytes;
use super::v1_lifecycle::Lifecycle;
use super::v1_probes::{Probe, ProbeFailure, RankHealth};
use crate::topology::machine::CpuSet;

/// Coordinator to worker, on the control stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToWorker {
    Order {
        epoch: u64,
        order: Order,
    },
    /// What no record and no log may hold; sent just before the Prepare of this generation.
    Confidential(Confidential),
    /// Open a log stream with this number and send this output.
    Logs {
        id: u64,
        request: LogRequest,
    },
    /// Nobody reads that stream any more.
    EndLogs {
        id: u64,
    },
}

/// Values that go from the coordinator to worker and shim, and are kept in memory alone.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confidential {
    pub job: String,
    pub generation: u32,
    /// Name and value.
    pub secrets: Vec<(String, String)>,
    /// Authenticates the probes between the pods of this generation (HMAC-SHA256).
    pub probe_key: [u8; 32],
}

impl fmt::Debug for Confidential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.secrets.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Confidential")
            .field("job", &self.job)
            .field("generation", &self.generation)
            .field("names", &names)
            .finish_non_exhaustive()
    }
}

/// Which output of a job is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRequest {
    pub job: String,
    /// Whose files these are; `None` in local mode.
    pub user: Option<String>,
    /// Where they are; `None`: the worker's own directory for that user.
    pub log_dir: Option<String>,
    pub max_file_bytes: u64,
    /// `None`: all that there are.
    pub generation: Option<u32>,
    /// `None`: every rank on this node.
    pub rank: Option<u32>,
    /// Go on as more is written, until the job is forgotten here.
    pub follow: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    Prepare(Box<PodPlan>),
    Go { job: String, generation: u32 },
    Stop { job: String, generation: u32, grace_ms: u64, pre_stop: bool },
    Forget { job: String, failed: bool },
    Renew,
    Suspend { job: String },
    Resume { job: String },
    Probe { job: String, generation: u32, target: String, address: SocketAddr },
    Restart { job: String, generation: u32, ranks: Vec<(u32, u32)>, delay_ms: u64, grace_ms: u64 },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodPlan {
    pub job: String,
    pub generation: u32,
    pub node_rank: u32,
    pub first_rank: u32,
    pub local_ranks: u32,
    pub probe_port: Option<u16>,
    pub name: String,
    pub user: Option<String>,
    pub world_size: u32,
    pub nodes: u32,
    pub command: Vec<String>,
    pub working_dir: Option<String>,
    pub env: BTreeMap<String, String>,
    pub secrets: Vec<String>,
    pub virtual_env: Option<VirtualEnv>,
    pub ship: Option<Ship>,
    pub master_addr: IpAddr,
    pub master_port: u16,
    pub interface: Option<String>,
    pub restart_count: u32,
    pub max_restarts: u32,
    pub termination_grace_ms: u64,
    pub stop_scope: StopScope,
    pub keep: Keep,
    pub log_dir: Option<String>,
    pub max_file_bytes: u64,
    pub keep_files: u32,
    pub lease_ms: Option<u64>,
    pub binding: Binding,
    pub probes: Vec<Probe>,
    pub lifecycle: Lifecycle,
    pub in_place: bool,
    pub memory_limit: Option<u64>,
}

/// Sets of CPUs and of NUMA nodes are the kernel's lists: `0-3,8`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    pub devices: Vec<Device>,
    pub view: DeviceView,
    pub hca: Vec<String>,
    pub memory: MemoryPolicy,
    pub ranks: Vec<RankBinding>,
    pub nccl_topology: Option<BTreeMap<String, u16>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    pub kind: DeviceKind,
    pub index: u32,
    pub uuid: Option<String>,
    pub mig: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceKind {
    Nvidia,
    Amd,
    Ascend,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceView {
    Pod,
    Rank,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemoryPolicy {
    None,
    Preferred,
    Strict,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankBinding {
    pub devices: u32,
    pub cpus: CpuSet,
    pub nodes: CpuSet,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualEnv {
    pub prefix: String,
    pub version: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ship {
    pub digest: String,
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopScope {
    Group,
    Process,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Keep {
    Never,
    OnFailure,
    Always,
}

/// Worker to coordinator, on the control stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromWorker {
    Hello(Box<NodeReport>),
    Prepared { job: String, generation: u32, interpreter: Option<String> },
    NotPrepared { job: String, generation: u32, reason: PrepareFailure },
    Started { job: String, generation: u32, pids: Vec<u32> },
    Exited { job: String, generation: u32, exit: RankExit },
    PodEnded { job: String, generation: u32, end: PodEnd },
    Notice { job: Option<String>, notice: Notice },
    Probed { job: String, generation: u32, target: String, heard: bool },
    Health { job: String, generation: u32, ranks: Vec<RankHealth> },
    Restarted { job: String, generation: u32, rank: u32, attempt: u32, pid: u32 },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    pub node: String,
    pub incarnation: u64,
    pub host_name: String,
    pub cores: u32,
    pub slots: u32,
    pub user: Option<String>,
    pub clock_micros: u64,
    pub version: String,
    pub ports: (u16, u16),
    pub address: IpAddr,
    pub interface: Option<String>,
    pub networks: Vec<Network>,
    pub pods: Vec<PodStatus>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    pub address: IpAddr,
    pub prefix: u8,
    pub interface: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodStatus {
    pub job: String,
    pub generation: u32,
    pub phase: PodPhase,
    pub not_prepared: Option<PrepareFailure>,
    pub suspended: bool,
    pub exits: Vec<RankExit>,
    pub end: Option<PodEnd>,
    pub pids: Vec<u32>,
    pub health: Vec<RankHealth>,
    pub attempts: Vec<(u32, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PodPhase {
    Preparing,
    Prepared,
    Releasing,
    Started,
    Stopping,
    Ended,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrepareFailure {
    pub kind: PrepareFailureKind,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PrepareFailureKind {
    CommandNotFound,
    CommandNotExecutable,
    PortTaken(u16),
    Node,
    Job,
    Init,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankExit {
    pub rank: u32,
    pub attempt: u32,
    pub status: ExitStatus,
    pub at_micros: u64,
    pub after_stop: bool,
    pub port_conflict: bool,
    pub stderr_tail: Bytes,
    pub stdout_tail: Bytes,
    pub error_file: Option<Bytes>,
    pub probe: Option<ProbeFailure>,
    pub oom: Option<OutOfMemory>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutOfMemory {
    pub limit: Option<u64>,
    pub peak: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitStatus {
    Code(u8),
    Signal(u8),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodEnd {
    pub swept: u32,
    pub shim_lost: bool,
    pub lease_lapsed: bool,
    pub survivors: Vec<(u32, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notice {
    OutputDropped { rank: u32, bytes: u64, why: String },
    OutputRotatedOut { rank: u32, bytes: u64 },
    Refused { what: String },
    EnvironmentOverridden { job: Vec<String>, inherited: Vec<String> },
    Directory { node: String, path: String, keep: Keep },
    MemoryNotPreferred { rank: u32, why: String },
    PreStopFailed { rank: u32, why: String },
}

/// Worker to coordinator, on a log stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogFrame {
    /// First frame: which request this answers.
    Open {
        id: u64,
    },
    Chunk {
        generation: u32,
        rank: u32,
        stream: Stream,
        bytes: Bytes,
    },
    /// Bytes that were rotated away before they could be sent.
    Skipped {
        generation: u32,
        rank: u32,
        stream: Stream,
        bytes: u64,
    },
    /// All output of this generation has been sent.
    End {
        generation: u32,
    },
    /// There is no such output on this node, or it cannot be read.
    Refused {
        why: String,
    },
}

/// Coordinator to worker, on a log stream: this many more bytes may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogCredit {
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// Worker to coordinator, on the tail stream: the newest output of a rank, for the day its node is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TailFrame {
    pub job: String,
    pub generation: u32,
    pub rank: u32,
    pub stream: Stream,
    /// Bytes of this stream that end with these.
    pub written: u64,
    pub bytes: Bytes,
}

/// Worker to coordinator, first on a file stream: the directory that travels with this job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRequest {
    pub job: String,
}

/// The coordinator's answer: `Found`, then `Piece` until all bytes are there; or `Refused`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileFrame {
    Found { bytes: u64 },
    Piece(Bytes),
    Refused { why: String },
}
