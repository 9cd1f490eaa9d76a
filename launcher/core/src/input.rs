//! What goes into the coordinator and what comes out.

use std::sync::Arc;
use std::time::Duration;

use phalanx_common::defaults;
use phalanx_common::exit::ExitStatus;
use phalanx_common::id::{JobId, NodeId};
use phalanx_common::identity::Owner;
use phalanx_common::order::Order;
use phalanx_common::report::Report;
use phalanx_common::spec::JobSpec;

use crate::nodes::wishes::Wish;
use crate::records::Record;
use crate::stock::Topology;

/// What the shell decided once, at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Pods run by leases, and their nodes' peers are asked when they cannot be reached. Not so in local
    /// mode, where the shim sees the launcher's end directly.
    pub cluster: bool,
    /// Where in a node's port range the first port is taken. Launchers that know nothing of each other
    /// but share a machine give different numbers, so that they seldom meet.
    pub port_salt: u64,
    /// How long an ended job is kept.
    pub ended_kept: Duration,
    /// How many are kept.
    pub ended_kept_most: usize,
}

impl Default for Config {
    /// Local mode.
    fn default() -> Config {
        Config {
            cluster: false,
            port_salt: 0,
            ended_kept: defaults::ENDED_KEPT,
            ended_kept_most: defaults::ENDED_KEPT_MOST,
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A new job; the shell chose an id that is free.
    Submit {
        job: JobId,
        spec: Box<JobSpec>,
        owner: Owner,
        /// A client waits for it: the job is stopped if none does for `defaults::CLIENT_LOST`.
        attached: bool,
    },
    /// One of the clients that waited for the job does so no more.
    ClientLost {
        job: JobId,
    },
    /// One more client waits for it, and it depends on them from here on.
    ClientWaits {
        job: JobId,
    },
    /// From the worker on this node. A Hello opens a connection: what the shell hands in after it
    /// must come from the same connection, in order, until NodeDisconnected or the next Hello.
    Report {
        node: NodeId,
        report: Report,
    },
    /// The connection is gone, with all that was not acknowledged.
    NodeDisconnected {
        node: NodeId,
    },
    /// The same, and the worker said that it goes.
    NodeLeft {
        node: NodeId,
    },
    /// The user wants the job to end. `force` is a second Ctrl-C: no grace, and no waiting for nodes
    /// that cannot be reached. `status` is what the run ends with.
    Stop {
        job: JobId,
        by: String,
        status: ExitStatus,
        force: bool,
    },
    /// Freeze the job: its processes stop, its deadlines do not run.
    Suspend {
        job: JobId,
    },
    Resume {
        job: JobId,
    },
    /// An operator wants something of a node.
    Node {
        node: NodeId,
        by: String,
        wish: Wish,
    },
    /// An operator lets gangs get other nodes again than they had.
    ResumeReplacement {
        by: String,
    },
    /// What was found out about the cluster, in place of what was known before.
    Topology(Arc<Topology>),
    /// The clock jumped by this many microseconds; the `now` of this input is already the new time.
    ClockJumped {
        by_micros: i64,
    },
}

/// What the shell does, in order: nothing that follows a Persist happens before the record is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Persist(Record),
    /// Dropped if the node is not connected any more: its next Hello brings the order again.
    Send {
        node: NodeId,
        order: Order,
    },
}

/// What a deadline waits for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Due at once: the deadlines of what the records tell begin with the first known time.
    Recover,
    /// Every rank of the job's generation to be ready.
    Start { job: JobId },
    /// The delay before the next generation.
    Backoff { job: JobId },
    /// The job to have been active for as long as it may be.
    Deadline { job: JobId },
    /// The node to be heard again before its pod of this job is given up.
    Unreachable { job: JobId, node: NodeId },
    /// The answers of peers that were asked about the pod on this node, or to ask them again.
    Probe { job: JobId, node: NodeId },
    /// A client to wait for the job again.
    Client { job: JobId },
    /// The next Renew to every reachable node.
    RenewLeases,
    /// The job that ended first to be forgotten.
    Forget,
    /// No other node to be lost: then gangs get other nodes again.
    Quiet,
}
