//! Messages of control protocol version 1. Golden bytes guard them: no field is ever added or
//! removed, a variant is only appended. The domain types (`order`, `report`, `plan`) are converted
//! at the edge, in `v1_convert`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::bytes::Bytes;

/// Coordinator to worker, on the control stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToWorker {
    Order {
        epoch: u64,
        order: Order,
    },
    /// Open a log stream for this job and send what its ranks write.
    Follow {
        job: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    Prepare(Box<PodPlan>),
    Go { job: String, generation: u32 },
    Stop { job: String, generation: u32, grace_ms: u64 },
    Forget { job: String, failed: bool },
    Renew,
    Suspend { job: String },
    Resume { job: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodPlan {
    pub job: String,
    pub generation: u32,
    pub node_rank: u32,
    pub first_rank: u32,
    pub local_ranks: u32,
    pub name: String,
    pub world_size: u32,
    pub nodes: u32,
    pub command: Vec<String>,
    pub working_dir: Option<String>,
    pub env: BTreeMap<String, String>,
    pub master_addr: IpAddr,
    pub master_port: u16,
    pub interface: Option<String>,
    pub restart_count: u32,
    pub max_restarts: u32,
    pub termination_grace_ms: u64,
    pub stop_scope: StopScope,
    pub keep: Keep,
    pub log_dir: String,
    pub max_file_bytes: u64,
    pub keep_files: u32,
    pub lease_ms: Option<u64>,
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
    Prepared { job: String, generation: u32 },
    NotPrepared { job: String, generation: u32, reason: PrepareFailure },
    Started { job: String, generation: u32, pids: Vec<u32> },
    Exited { job: String, generation: u32, exit: RankExit },
    PodEnded { job: String, generation: u32, end: PodEnd },
    Notice { job: Option<String>, notice: Notice },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    pub node: String,
    pub incarnation: u64,
    pub host_name: String,
    pub cores: u32,
    pub ports: (u16, u16),
    pub address: IpAddr,
    pub interface: Option<String>,
    pub pods: Vec<PodStatus>,
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
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankExit {
    pub rank: u32,
    pub status: ExitStatus,
    pub at_micros: u64,
    pub after_stop: bool,
    pub port_conflict: bool,
    pub stderr_tail: Bytes,
    pub stdout_tail: Bytes,
    pub error_file: Option<Bytes>,
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
}

/// Worker to coordinator, on a log stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogFrame {
    /// First frame: whose output this is.
    Open {
        job: String,
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
