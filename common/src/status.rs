//! What a coordinator tells people about jobs, nodes, tokens and users: the documents of `ps`, `status`,
//! `nodes` and their `--json`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::event::{Cause, NodeNote, Outcome};
use crate::health::RankHealth;
use crate::id::{JobId, NodeId};
use crate::time::Timestamp;

/// A job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobStatus {
    pub job: JobId,
    pub owner: String,
    /// queued, preparing, starting, running, finishing, stopping or ended.
    pub phase: String,
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub suspended: bool,
    pub ranks: u32,
    pub generation: u32,
    /// Those that count: with a window, those within it.
    pub restarts: u32,
    pub max_restarts: u32,
    /// Restarts of single ranks in their generation.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub rank_restarts: u32,
    /// Restarts of all ranks of a node in their generation.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub pod_restarts: u32,
    /// The last restart of the gang.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub restart: Option<RestartStatus>,
    pub submitted_at: Timestamp,
    pub running_since: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ended_at: Option<Timestamp>,
    /// When it is ended, whatever it does by then.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub deadline_at: Option<Timestamp>,
    /// Why it waits, if it does.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub waits_for: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub outcome: Option<Outcome>,
    /// What failed last, if anything did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub failed: Option<FailureStatus>,
    pub pods: Vec<PodStatus>,
    pub command: Vec<String>,
}

/// A restart of a gang by its phases, milliseconds; those that have not come to an end are `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartStatus {
    /// When the first cause arose; after a good end, when nothing of the generation was left.
    pub at: Timestamp,
    /// Until nothing was left of the generation that failed.
    pub ending_ms: u64,
    /// The wait that was decided.
    pub backoff_ms: u64,
    /// From there until the next had its nodes, the wait included.
    pub waited_ms: Option<u64>,
    /// Until all its ranks were held.
    pub prepared_ms: Option<u64>,
    /// Until all its ranks were ready.
    pub ready_ms: Option<u64>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A failure of a gang.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureStatus {
    pub generation: u32,
    /// The first cause before the others.
    pub evidence: Vec<EvidenceStatus>,
    /// What happened to its nodes around that.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub around: Vec<NodeNote>,
}

/// Something of a gang that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceStatus {
    pub at: Timestamp,
    pub cause: Cause,
    /// Its rank says that a peer went: it followed from something else.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub consequence: bool,
}

/// The pod of a job on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodStatus {
    pub node: NodeId,
    pub first_rank: u32,
    pub ranks: u32,
    pub reachable: bool,
    /// When the job goes on without it if nobody hears of it before.
    pub given_up_at: Option<Timestamp>,
    /// How many of its ranks are ready; `None` if none runs.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ready: Option<u32>,
    /// Ranks that are not ready or say something of themselves, the first of them.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub health: Vec<RankHealth>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    pub node: NodeId,
    pub reachable: bool,
    /// Since when it is not.
    pub unreachable_since: Option<Timestamp>,
    pub host_name: String,
    pub address: Option<IpAddr>,
    pub cores: u32,
    pub slots: u32,
    pub slots_used: u32,
    /// The one user whose jobs it runs; `None`: everybody's.
    pub user: Option<String>,
    pub version: String,
    pub certificate_expires: Option<Timestamp>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub labels: BTreeMap<String, String>,
    pub jobs: Vec<JobId>,
    /// Why it gets no new pods, if it does not: `cordoned by ann: …`, `quarantined: …`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub closed: Option<String>,
    /// Its jobs are to go elsewhere.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub draining: bool,
}

/// A join token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenStatus {
    pub id: String,
    pub expires: Timestamp,
    pub uses: u32,
    pub used: u32,
    pub revoked: bool,
    pub created_by: String,
    pub note: String,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserStatus {
    pub name: String,
    pub role: String,
    pub unix_user: Option<String>,
}
