//! Events for people: every state change has one, with its cause (invariant I9).
//!
//! The JSON form is public: names of events and fields are stable, fields are only added.

mod cause;
mod words;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::health::{ProbeWord, one_line};
use crate::id::{Generation, JobId, NodeId, Rank};
use crate::report::{Notice, PodEnd, PrepareFailure, RankExit};
use crate::spec::RestartScope;
use crate::time::Timestamp;

pub use cause::{Cause, NoRestart, Outcome};

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<Generation>,
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened. Each kind carries its cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    NodeJoined {
        node: NodeId,
        host_name: String,
        cores: u32,
    },
    /// The control link is gone; the node may well be alive.
    NodeUnreachable {
        node: NodeId,
    },
    /// An operator wants no new pods there. The reason is empty if none was given.
    NodeCordoned {
        node: NodeId,
        by: String,
        reason: String,
    },
    /// An operator wants nothing to be left there: these jobs are there.
    NodeDraining {
        node: NodeId,
        by: String,
        reason: String,
        jobs: Vec<JobId>,
    },
    /// It gets no new pods, as it failed too often; what led to that, oldest first.
    NodeQuarantined {
        node: NodeId,
        why: String,
        led_to: Vec<String>,
    },
    /// An operator knows that it does not come back.
    NodeForgotten {
        node: NodeId,
        by: String,
    },
    /// Too many nodes were lost at once, these of so many: no gang gets other nodes than it had.
    ReplacementPaused {
        lost: Vec<NodeId>,
        of: usize,
    },
    /// Gangs get other nodes again: an operator wants it, or no node was lost for long enough.
    ReplacementResumed {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// It gets pods again, whatever stood against it.
    NodeUncordoned {
        node: NodeId,
        by: String,
    },
    /// The same worker speaks again: its pods went on meanwhile.
    NodeReachable {
        node: NodeId,
    },
    /// It came back with another incarnation: what ran there is gone.
    NodeRestarted {
        node: NodeId,
    },
    JobSubmitted {
        ranks: u32,
    },
    /// It does not fit yet.
    JobQueued {
        why: String,
    },
    GangPlaced {
        nodes: Vec<NodeId>,
        /// Ranks on each of them.
        ranks: Vec<u32>,
        master_port: u16,
    },
    PodPrepared {
        node: NodeId,
    },
    PodNotPrepared {
        node: NodeId,
        reason: PrepareFailure,
    },
    /// All pods are prepared: Go was sent.
    GangReleased,
    PodStarted {
        node: NodeId,
        pids: Vec<u32>,
    },
    /// These ranks became ready.
    RanksReady {
        node: NodeId,
        ranks: Vec<Rank>,
    },
    /// A rank that was ready is not ready any more. Nothing follows from that.
    RankNotReady {
        node: NodeId,
        rank: Rank,
        waits: Option<ProbeWord>,
    },
    /// Every rank is ready.
    GangRunning,
    RankExited {
        node: NodeId,
        exit: RankExit,
    },
    /// The user asked for the job's end; it does not restart any more.
    StopRequested {
        by: String,
        force: bool,
    },
    GangStopping {
        cause: Cause,
        grace_ms: u64,
    },
    /// Evidence that is older than the cause named so far: this came first.
    CauseRevised {
        cause: Cause,
    },
    PodEnded {
        node: NodeId,
        end: PodEnd,
    },
    /// The control link of its node is gone; these peers of the pod are asked about it.
    PodUnreachable {
        node: NodeId,
        peers: Vec<NodeId>,
    },
    /// A peer hears it on the data plane: it goes on, and so does the job.
    PodHeard {
        node: NodeId,
        peer: NodeId,
    },
    /// Neither the coordinator nor these peers hear its node.
    PodDead {
        node: NodeId,
        peers: Vec<NodeId>,
        /// Its ranks are waited for so long under strict fencing: by then their lease has lapsed.
        waits: Option<Duration>,
        /// A peer heard it before, and its lease may have lapsed since: it may well be its ranks alone that are gone.
        lapsed: bool,
    },
    /// The job's Python is not the same on all nodes, or not that of where it was submitted: versions, and
    /// who has them.
    InterpretersDiffer {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        submitter: Option<String>,
        versions: BTreeMap<String, Vec<NodeId>>,
    },
    /// A node's clock is off by so many milliseconds; negative: behind.
    NodeClockOff {
        node: NodeId,
        ahead_ms: i64,
    },
    /// A pod on a node that cannot be reached: it ends by its lease, nobody waits for it.
    PodAbandoned {
        node: NodeId,
    },
    GangRestarting {
        cause: Cause,
        restart: u32,
        max_restarts: u32,
        delay_ms: u64,
        free: bool,
    },
    /// Ranks of one node start again while the rest of their gang goes on.
    RanksRestarting {
        node: NodeId,
        ranks: Vec<Rank>,
        step: RestartScope,
        cause: Cause,
        restart: u32,
        max_restarts: u32,
        delay_ms: u64,
    },
    RankRestarted {
        node: NodeId,
        rank: Rank,
        attempt: u32,
        pid: u32,
    },
    /// What happened to nodes of the gang around its first cause, which arose at `cause_at`.
    NodesAround {
        cause_at: Timestamp,
        notes: Vec<NodeNote>,
    },
    JobSuspended,
    JobResumed,
    JobEnded {
        outcome: Outcome,
    },
    /// It ended long ago, or too many ended after it: nothing is known of it any more.
    JobForgotten,
    ClockJumped {
        by_ms: i64,
    },
    Notice {
        notice: Notice,
    },
    /// An input that makes no sense here: refused, and said so.
    Ignored {
        what: String,
    },
}

/// Something that happened to a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeNote {
    pub at: Timestamp,
    pub node: NodeId,
    pub what: String,
}

impl NodeNote {
    /// With how long before or after the first cause it was.
    pub fn beside(&self, cause: Timestamp) -> String {
        let (before, after) = (cause.since(self.at), self.at.since(cause));
        let when = match before.is_zero() {
            true if after.is_zero() => "at the same moment".to_owned(),
            true => format!("{:.1} s after", after.as_secs_f64()),
            false => format!("{:.1} s before", before.as_secs_f64()),
        };
        format!("node {}, {when}: {}", self.node, one_line(&self.what))
    }
}
