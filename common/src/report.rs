//! What a worker tells the coordinator: facts, never decisions.

use serde::{Deserialize, Serialize};

use crate::exit::ExitStatus;
use crate::health::{ProbeFailure, RankHealth};
use crate::id::{Generation, Incarnation, JobId, NodeId, Rank};
use crate::spec::Keep;
use crate::time::Timestamp;

/// One report of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// First on every connection: who this is, what it has, and how each of its pods stands.
    /// The whole truth of the node: a pod that is missing here does not exist.
    Hello(Box<NodeReport>),
    Prepared {
        job: JobId,
        generation: Generation,
        /// What runs the command, with its version where that is known: `/usr/bin/python3.11`.
        interpreter: Option<String>,
    },
    NotPrepared {
        job: JobId,
        generation: Generation,
        reason: PrepareFailure,
    },
    /// Every rank of the pod has executed its program.
    Started {
        job: JobId,
        generation: Generation,
        pids: Vec<u32>,
    },
    Exited {
        job: JobId,
        generation: Generation,
        exit: RankExit,
    },
    /// Nothing of this generation is alive on the node any more.
    PodEnded {
        job: JobId,
        generation: Generation,
        end: PodEnd,
    },
    /// Whether the pod on `target` answered a probe within `defaults::PROBE_WITHIN`.
    Probed {
        job: JobId,
        generation: Generation,
        target: NodeId,
        heard: bool,
    },
    /// How these ranks stand; those that are not here stand as they did.
    Health {
        job: JobId,
        generation: Generation,
        ranks: Vec<RankHealth>,
    },
    /// A rank was started again in its generation.
    Restarted {
        job: JobId,
        generation: Generation,
        rank: Rank,
        attempt: u32,
        pid: u32,
    },
    /// Something people should know that decides nothing (a dropped log, a swept orphan).
    Notice {
        job: Option<JobId>,
        notice: Notice,
    },
}

/// A node as its worker sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeReport {
    pub node: NodeId,
    pub incarnation: Incarnation,
    pub host_name: String,
    /// Cores this worker may use (affinity mask and cgroup quota applied).
    pub cores: u32,
    /// Ranks this node takes at a time.
    pub slots: u32,
    /// The one Unix user whose jobs this worker runs; `None`: a privileged worker, everybody's.
    pub user: Option<String>,
    /// The node's clock when it said this.
    pub clock: Timestamp,
    /// Version of the worker's program.
    pub version: String,
    /// Ports handed out to jobs, first and last, outside the ephemeral range.
    pub ports: (u16, u16),
    /// Address and interface of the data plane.
    pub address: std::net::IpAddr,
    pub interface: Option<String>,
    /// Every network the node has an address in, loopback left out.
    pub networks: Vec<Network>,
    pub pods: Vec<PodStatus>,
}

/// One address of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    pub address: std::net::IpAddr,
    /// Length of the network's prefix, bits.
    pub prefix: u8,
    pub interface: String,
}

impl Network {
    /// Whether `other` is an address in the same network.
    pub fn contains(&self, other: std::net::IpAddr) -> bool {
        let bits = |address: std::net::IpAddr| match address {
            std::net::IpAddr::V4(v4) => (u128::from(u32::from(v4)) << 96, 32),
            std::net::IpAddr::V6(v6) => (u128::from(v6), 128),
        };
        let ((mine, width), (theirs, other_width)) = (bits(self.address), bits(other));
        let shift = 128 - u32::from(self.prefix.min(width));
        width == other_width && (shift == 128 || mine >> shift == theirs >> shift)
    }
}

/// How one pod stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodStatus {
    pub job: JobId,
    pub generation: Generation,
    pub phase: PodPhase,
    /// Why it could not be prepared; the phase then stays Preparing until it is stopped.
    pub not_prepared: Option<PrepareFailure>,
    /// Its processes are frozen.
    pub suspended: bool,
    /// Ranks of this generation that have ended, in the order they ended.
    pub exits: Vec<RankExit>,
    /// Set once the phase is Ended.
    pub end: Option<PodEnd>,
    /// Set once the phase is Started or later: process ids in LOCAL_RANK order.
    pub pids: Vec<u32>,
    /// How its ranks stand, as far as they or their probes said anything.
    pub health: Vec<RankHealth>,
    /// Ranks that were started again in this generation, and the attempt that was started last.
    pub attempts: Vec<(Rank, u32)>,
}

/// Life of a pod's generation on its node.
///
/// ```text
/// Preparing --> Prepared --> Releasing --> Started --> Stopping --> Ended
///     |             |            |                        ^
///     +-------------+------------+------------------------+
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PodPhase {
    Preparing,
    Prepared,
    Releasing,
    Started,
    Stopping,
    Ended,
}

/// Why a pod could not be prepared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrepareFailure {
    pub kind: PrepareFailureKind,
    /// What failed, why, and what to do.
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrepareFailureKind {
    /// The command does not exist, or its working directory or interpreter (exit code 127).
    CommandNotFound,
    /// The command exists and cannot be executed (exit code 126).
    CommandNotExecutable,
    /// Somebody else has this port: the coordinator takes the next one.
    PortTaken(u16),
    /// Anything else on the node: directories, logs, limits (exit code 125).
    Node,
    /// The job asks for what no node can give it, another attempt neither: secrets that are not there any more
    /// (exit code 125).
    Job,
    /// An init container of the job failed, or a sidecar that the ranks wait for (exit code 125).
    Init,
}

/// One rank's end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankExit {
    pub rank: Rank,
    /// How often it had been started again in its generation.
    pub attempt: u32,
    pub status: ExitStatus,
    /// When the shim reaped it.
    pub at: Timestamp,
    /// It ended after a stop order had reached its pod: a consequence, never a first cause.
    pub after_stop: bool,
    /// Its output or its error file says that an address was already in use.
    pub port_conflict: bool,
    /// Last bytes of standard error and output, at most `defaults::LOG_TAIL` each.
    #[serde(with = "bytes_or_text")]
    pub stderr_tail: Vec<u8>,
    #[serde(with = "bytes_or_text")]
    pub stdout_tail: Vec<u8>,
    /// What the rank left in TORCHELASTIC_ERROR_FILE (JSON), at most `defaults::LOG_TAIL` bytes.
    #[serde(with = "bytes_or_text::option")]
    pub error_file: Option<Vec<u8>>,
    /// The probe for which the shim ended it.
    pub probe: Option<ProbeFailure>,
    /// The kernel ended it, or a process of it, for want of memory.
    pub oom: Option<OutOfMemory>,
}

impl RankExit {
    /// The end of a rank's first start, of which nothing else is known.
    pub fn new(rank: Rank, status: ExitStatus, at: Timestamp) -> RankExit {
        RankExit {
            rank,
            attempt: 0,
            status,
            at,
            after_stop: false,
            port_conflict: false,
            stderr_tail: Vec::new(),
            stdout_tail: Vec::new(),
            error_file: None,
            probe: None,
            oom: None,
        }
    }
}

/// How much memory a rank had that was ended for want of it, bytes; `None`: the kernel does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutOfMemory {
    /// Its limit, if it was that.
    pub limit: Option<u64>,
    /// The most it had.
    pub peak: Option<u64>,
}

/// Bytes on the wire, text for people: JSON events show output as (lossy) text.
mod bytes_or_text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&String::from_utf8_lossy(bytes))
        } else {
            bytes.serialize(serializer)
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer).map(String::into_bytes)
        } else {
            Vec::deserialize(deserializer)
        }
    }

    pub(super) mod option {
        use serde::{Deserialize, Deserializer, Serialize, Serializer};

        pub(in super::super) fn serialize<S: Serializer>(
            bytes: &Option<Vec<u8>>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            if serializer.is_human_readable() {
                bytes.as_deref().map(String::from_utf8_lossy).serialize(serializer)
            } else {
                bytes.serialize(serializer)
            }
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<Vec<u8>>, D::Error> {
            if deserializer.is_human_readable() {
                Ok(Option::<String>::deserialize(deserializer)?.map(String::into_bytes))
            } else {
                Option::deserialize(deserializer)
            }
        }
    }
}

/// The end of a pod's generation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodEnd {
    /// Processes besides the ranks that had to be killed: children left behind.
    pub swept: u32,
    /// The shim died; its ranks went with it.
    pub shim_lost: bool,
    /// The lease lapsed.
    pub lease_lapsed: bool,
    /// Processes that SIGKILL did not end in time (uninterruptible sleep): pid and name.
    pub survivors: Vec<(u32, String)>,
}

/// Something people should know that decides nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// Output that reached no file: the file could not be written and the ring was full.
    OutputDropped { rank: Rank, bytes: u64, why: String },
    /// The log was rotated and its oldest part removed.
    OutputRotatedOut { rank: Rank, bytes: u64 },
    /// A lower epoch or generation was refused.
    Refused { what: String },
    /// Variables that Phalanx would set, and that the job's `env` or the launcher's environment set
    /// otherwise: what the user set wins.
    EnvironmentOverridden { job: Vec<String>, inherited: Vec<String> },
    /// The TMPDIR of the job's ranks on this node, where it may outlive the job.
    Directory { node: NodeId, path: String, keep: Keep },
    /// Memory of this rank's pod comes from wherever: its preference could not be set.
    MemoryNotPreferred { rank: Rank, why: String },
    /// A rank's preStop hook failed, or was not done in time; the rank was stopped all the same.
    PreStopFailed { rank: Rank, why: String },
}
