//! What goes into the worker and what comes out.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use phalanx_common::id::{Generation, Incarnation, JobId, NodeId};
use phalanx_common::order::Order;
use phalanx_common::report::{Network, Report};

use crate::shim::{Secrets, ShimOrder, ShimReport};

/// What the shell decided once, at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub node: NodeId,
    /// Differs in every life of the worker.
    pub incarnation: Incarnation,
    /// Absolute path; the directory of a pod is `<base_dir>/<job>`.
    pub base_dir: String,
    /// Absolute path: where the log files of jobs go that ask for no other place.
    pub log_dir: String,
    /// Absolute path: archives of directories that travel with jobs are `<ship_dir>/<user>/<digest>.tar`.
    pub ship_dir: String,
    /// The environment that shims, and so ranks, inherit from the worker.
    pub inherited: BTreeMap<String, String>,
}

/// What the worker found out about its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub host_name: String,
    /// Cores this worker may use (affinity mask and cgroup quota applied).
    pub cores: u32,
    /// Ranks this node takes at a time.
    pub slots: u32,
    /// The one Unix user whose jobs this worker runs; `None`: everybody's.
    pub user: Option<String>,
    /// Version of the worker's program.
    pub version: String,
    /// Ports handed out to jobs, first and last, outside the ephemeral range.
    pub ports: (u16, u16),
    /// Address and interface of the data plane.
    pub address: IpAddr,
    pub interface: Option<String>,
    /// Every network the node has an address in, loopback left out.
    pub networks: Vec<Network>,
}

/// What goes from the coordinator to worker and shim, and is kept in memory alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confidential {
    pub job: JobId,
    pub generation: Generation,
    /// Variables of the ranks.
    pub secrets: Secrets,
    pub probe_key: ProbeKey,
}

/// Authenticates the probes of one generation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ProbeKey(pub [u8; 32]);

impl fmt::Debug for ProbeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProbeKey(..)")
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// From the coordinator.
    Order(Order),
    /// What no plan may hold, just before the Prepare of its generation.
    Confidential(Confidential),
    /// A connection to a coordinator stands; nothing was sent on it yet.
    LinkUp,
    /// It is gone, with all that was not acknowledged.
    LinkDown,
    /// The node changed; told in the next Hello.
    Facts(Facts),
    /// The shim answered SpawnShim with its own Hello.
    ShimUp {
        job: JobId,
    },
    ShimReport {
        job: JobId,
        report: ShimReport,
    },
    /// The shim could not be spawned, or it died, or its socket broke, or it exited as it was told. Said once of
    /// each SpawnShim that is at its end, after CloseShim too.
    ShimLost {
        job: JobId,
        why: String,
    },
    /// The answer to Sweep: how many were killed, and who survived SIGKILL (pid and name).
    Swept {
        job: JobId,
        killed: u32,
        survivors: Vec<(u32, String)>,
    },
}

/// What the shell does, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Spawn the shim of this job, as this Unix user; answered by ShimUp or ShimLost. No user: as who the
    /// worker is.
    SpawnShim {
        job: JobId,
        user: Option<String>,
    },
    ToShim {
        job: JobId,
        order: ShimOrder,
    },
    /// The job is forgotten here: its shim, if it has one, was told to exit and is reaped when it goes, which
    /// ShimLost tells.
    CloseShim {
        job: JobId,
    },
    /// Kill every process that carries this mark; answered by Swept.
    Sweep {
        job: JobId,
        mark: String,
    },
    /// Dropped if the link is gone: the next Hello tells the same.
    ToCoordinator(Report),
}
