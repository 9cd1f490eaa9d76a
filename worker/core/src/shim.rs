//! What a worker and the shim of one pod say to each other, on a Unix stream socket, in the frames
//! of `phalanx_common::wire::codec`. The first frame in each direction is a `ShimHello`.
//!
//! The protocol is versioned because a shim outlives the worker that spawned it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use phalanx_common::health::RankHealth;
use phalanx_common::id::{Generation, JobId, NodeId, Rank};
use phalanx_common::report::{Notice, PodEnd, PrepareFailure, RankExit};
use phalanx_common::spec::{Hook, Keep, MemoryBinding, Probe, Probes, StopScope};
use phalanx_common::topology::machine::CpuSet;
use serde::{Deserialize, Serialize};

/// Version of this protocol; golden bytes in the tests guard it.
pub const VERSION: u16 = 1;

/// First frame in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShimHello {
    pub version: u16,
}

/// Worker to shim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShimOrder {
    /// Check and hold the ranks of a generation. Sent only when nothing of an earlier one is left.
    Prepare(Box<ShimPlan>),
    Go {
        generation: Generation,
    },
    /// Stop signal, grace, SIGKILL of the whole tree; answered by Ended. May be repeated with a
    /// shorter grace. Lifts a suspension. `pre_stop`: ranks do their preStop hook before the signal, within the grace.
    Stop {
        generation: Generation,
        grace: Duration,
        pre_stop: bool,
    },
    /// SIGSTOP to every process of the pod; the grace of a stop does not run meanwhile.
    Suspend,
    Resume,
    /// The pod may go on for this long without another of these; then it ends as `LOCAL_ORPHAN_GRACE` says.
    /// A suspended pod is killed at once: whoever could have resumed it may be gone.
    Lease {
        remaining: Duration,
    },
    /// The job is over: remove what is not to be kept and exit.
    Exit {
        failed: bool,
    },
    /// Find out whether the pod of this generation on another node is heard on the data plane;
    /// answered by Probed within `defaults::PROBE_WITHIN`.
    Probe {
        generation: Generation,
        target: NodeId,
        address: SocketAddr,
    },
    /// Start these ranks again, each as this attempt: those that live are ended first, with this grace, and none begins
    /// before `delay` is over. What is at that attempt already stays as it is.
    Restart {
        generation: Generation,
        ranks: Vec<(Rank, u32)>,
        delay: Duration,
        grace: Duration,
    },
}

/// Shim to worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShimReport {
    /// `interpreter`: version of the virtual environment's Python, if it could be read.
    Prepared {
        generation: Generation,
        interpreter: Option<String>,
    },
    NotPrepared {
        generation: Generation,
        reason: PrepareFailure,
    },
    Started {
        generation: Generation,
        pids: Vec<u32>,
    },
    Exited {
        generation: Generation,
        exit: RankExit,
    },
    /// Nothing of this generation is alive; all its output is in the files.
    Ended {
        generation: Generation,
        end: PodEnd,
    },
    /// Bytes of this stream written to its files so far. Coalesced; the last one of a generation
    /// comes before its Ended and is exact.
    Output {
        generation: Generation,
        rank: Rank,
        stream: Stream,
        written: u64,
    },
    Notice {
        notice: Notice,
    },
    Probed {
        generation: Generation,
        target: NodeId,
        heard: bool,
    },
    /// How these ranks stand; those that are not here stand as they did.
    Health {
        generation: Generation,
        ranks: Vec<RankHealth>,
    },
    /// A rank was started again.
    Restarted {
        generation: Generation,
        rank: Rank,
        attempt: u32,
        pid: u32,
    },
}

/// A rank's output stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// All a shim needs to prepare one generation of its pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShimPlan {
    pub job: JobId,
    pub generation: Generation,
    /// Value of `PHALANX_POD`, in the environment of every process of the pod: how leftovers are found.
    pub mark: String,
    pub command: Vec<String>,
    /// `None`: the shim's own directory.
    pub working_dir: Option<String>,
    /// Variables of the shim's environment that ranks do not get.
    pub remove_env: Vec<String>,
    /// Archive (tar) of the directory that came with the job: ranks start in it, unpacked.
    pub ship: Option<String>,
    /// Directory of a Python environment, the same on every node: its programs come first in PATH.
    pub virtual_env: Option<String>,
    /// Set for every rank, and shown nowhere.
    pub secrets: Secrets,
    /// Set for every rank over the shim's own environment.
    pub env: Vec<(String, String)>,
    pub ranks: Vec<ShimRank>,
    /// What the ranks' NUMA nodes are to them.
    pub memory: MemoryBinding,
    /// The pod's directory, made by the shim, mode 0700; removed at Exit unless kept.
    pub job_dir: String,
    pub keep: Keep,
    /// Ports test-bound in Prepare and held by abstract sockets until the generation ends.
    pub ports: Vec<u16>,
    /// Where the pod answers probes of its peers, and the key that they share.
    pub probe: Option<ProbePlan>,
    pub stop_scope: StopScope,
    /// Between SIGTERM and SIGKILL where no order says so: a shim without a worker, or told to go.
    pub termination_grace: Duration,
    pub max_file_bytes: u64,
    pub keep_files: u32,
    /// `None`: no lease, the pod lives as long as its worker.
    pub lease: Option<Duration>,
    /// What [`NCCL_TOPOLOGY`] holds.
    pub nccl_topology: Option<String>,
    /// Asked of each rank.
    pub probes: Probes,
    /// The number of the signal that asks a rank to end.
    pub stop_signal: u8,
    /// Done for each rank once its program runs.
    pub post_start: Option<Hook>,
    /// Done for each rank before its stop signal, if it is ordered.
    pub pre_stop: Option<Hook>,
    /// Run one after another before there are ranks.
    pub init: Vec<ShimInit>,
    /// Those that ended well are not run again for a later generation.
    pub init_once: bool,
    /// A rank that failed may be started again: the pod stays until it is told what follows.
    pub in_place: bool,
    /// Bytes of memory that each rank may have, its children included.
    pub memory_limit: Option<u64>,
}

/// An init container, or a sidecar.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShimInit {
    pub name: String,
    pub command: Vec<String>,
    /// Set over the shim's own environment.
    pub env: Vec<(String, String)>,
    /// Directory of its log files in this generation.
    pub log_dir: String,
    /// It runs beside the ranks.
    pub sidecar: bool,
    /// Of a sidecar: what comes after it waits until this is good.
    pub startup: Option<Probe>,
}

/// The topology file for NCCL, in the pod's directory.
pub const NCCL_TOPOLOGY: &str = "nccl-topology.xml";

/// Names and values that are shown nowhere.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secrets(pub Vec<(String, String)>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// Probes between the pods of a generation.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbePlan {
    /// UDP, on every address of the family of `family`.
    pub port: u16,
    /// An address of the data plane; only its family counts.
    pub family: IpAddr,
    /// HMAC-SHA256 key.
    pub key: [u8; 32],
}

impl fmt::Debug for ProbePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbePlan").field("port", &self.port).finish_non_exhaustive()
    }
}

/// What differs between the ranks of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShimRank {
    pub rank: Rank,
    /// Set over `ShimPlan::env`: what differs between ranks.
    pub env: Vec<(String, String)>,
    /// Directory of this rank's log files in this generation.
    pub log_dir: String,
    /// Where the rank's TORCHELASTIC_ERROR_FILE points.
    pub error_file: String,
    /// CPUs that it may run on. Empty: those of the shim.
    pub cpus: CpuSet,
    /// NUMA nodes of its memory policy. Empty: it has none.
    pub nodes: CpuSet,
}

/// The file that holds byte `offset` of a stream, and where in it. File k of a stream holds the bytes
/// from k * `max_file_bytes` on, so a reader needs no message to follow a rotation:
/// `stdout.log`, `stdout.1.log`, `stdout.2.log`, …
pub fn log_file(stream: Stream, offset: u64, max_file_bytes: u64) -> (String, u64) {
    let name = match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    };
    let cap = max_file_bytes.max(1);
    match offset / cap {
        0 => (format!("{name}.log"), offset),
        part => (format!("{name}.{part}.log"), offset % cap),
    }
}
