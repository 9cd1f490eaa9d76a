//! Decided, durable facts. Replaying them decides nothing: every choice stands in the record itself.
//!
//! These are stored, so they are types of their own: a shape never changes, a new one becomes a variant at
//! the end (golden bytes below guard it). The small enums of `phalanx_common` that appear in them
//! (`ExitStatus`, `PrepareFailure`, `StopScope`, `Keep`, `OutputMode`, `Shape`, `Ship`, `VirtualEnv`, `Fencing`, `Tier`, `DeviceKind`,
//! `Pattern`, `Exclusive`, `DeviceView`, `MemoryBinding`, `CpuBinding`, `AcceleratorKind`, `RestartPolicy`, `ExitCodes`,
//! `FailureReason`, `FailureAction`, `RestartScope`, `Question`) are only ever appended to.

mod binding;
mod cause;
mod lifecycle;
mod lifetime;
mod needs;
mod probes;
mod recovery;
mod spec;
mod standing;

use std::net::IpAddr;
use std::time::Duration;

use phalanx_common::event::NodeNote;
use phalanx_common::exit::ExitStatus;
use phalanx_common::id::{Epoch, Generation, JobId, NodeId, Rank};
use phalanx_common::spec::RestartScope;
use phalanx_common::time::Timestamp;
use serde::{Deserialize, Serialize};

pub use binding::{BindingRecord, DeviceRecord, HeldRecord, RankBindingRecord};
pub use cause::{CauseRecord, NoRestartRecord, OutcomeRecord};
pub use lifecycle::{HookRecord, InitRecord, LifecycleRecord};
pub use lifetime::{LifetimeRecord, SuccessRecord};
pub use needs::{DevicesRecord, ElasticRecord, GroupRecord, NeedsRecord, WishesRecord};
pub use probes::{HandlerRecord, PortRecord, ProbeRecord, ProbesRecord};
pub use recovery::{RecoveryRecord, RuleRecord, StepRecord};
pub use spec::SpecRecord;
pub use standing::{BlameRecord, CordonRecord, DrainRecord, QuarantineRecord, StandingRecord};

use crate::restart::{Charge, Progress};

/// One decided, durable fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// A reign began: every order from here on carries this epoch.
    EpochStarted {
        epoch: Epoch,
    },
    JobSubmitted {
        job: JobId,
        at: Timestamp,
        spec: Box<SpecRecord>,
        /// Name of the user, and the Unix user its ranks run as.
        owner: String,
        unix_user: Option<String>,
        /// A client waits for it.
        attached: bool,
    },
    /// A generation got its nodes and ports; Prepare may be sent.
    GenerationPlanned(Box<GenerationRecord>),
    /// All pods are prepared; Go may be sent.
    Released {
        job: JobId,
        generation: Generation,
        at: Timestamp,
    },
    /// Every rank is ready.
    Running {
        job: JobId,
        generation: Generation,
        at: Timestamp,
    },
    /// The generation stops for this cause. A second one for the same generation is older evidence.
    Stopping(Box<StoppingRecord>),
    /// The user wants the job to end; a live generation that has no cause to stop yet stops for this.
    StopRequested {
        job: JobId,
        at: Timestamp,
        by: String,
        status: ExitStatus,
        force: bool,
    },
    Suspended {
        job: JobId,
    },
    Resumed {
        job: JobId,
    },
    /// Nothing of the generation is left, and another follows.
    GenerationEnded(Box<EndedRecord>),
    /// The job is over, and its last generation with it.
    JobEnded {
        job: JobId,
        at: Timestamp,
        outcome: OutcomeRecord,
    },
    /// The job ended long ago: all records of it say nothing any more, this one included.
    JobForgotten {
        job: JobId,
    },
    /// A client came that waits for it: from here on it depends on one.
    JobAttached {
        job: JobId,
    },
    /// The node cannot take a pod of the job, and why: the job goes elsewhere.
    NodeRefused {
        job: JobId,
        generation: Generation,
        node: NodeId,
        why: String,
    },
    /// It was active for as long as it may be.
    DeadlinePassed {
        job: JobId,
    },
    /// What stands against a node from here on: records of it before this one say nothing any more.
    NodeStands(Box<StandingRecord>),
    /// So much was left at this time of what the job may be active: from here on it runs, or stands still if the job is suspended.
    DeadlineLeft {
        job: JobId,
        at: Timestamp,
        left: Duration,
    },
    /// Ranks start again in their generation; the order to do so may be sent.
    RanksRestarted(Box<RestartedRecord>),
    /// What happened to the generation's nodes around its first cause.
    NodesAround {
        job: JobId,
        generation: Generation,
        notes: Vec<NodeNoteRecord>,
    },
}

impl Record {
    /// The job it is about; `None`: about none.
    pub fn job(&self) -> Option<&JobId> {
        match self {
            Record::EpochStarted { .. } | Record::NodeStands(_) => None,
            Record::JobSubmitted { job, .. }
            | Record::Released { job, .. }
            | Record::Running { job, .. }
            | Record::StopRequested { job, .. }
            | Record::Suspended { job }
            | Record::Resumed { job }
            | Record::JobEnded { job, .. }
            | Record::JobForgotten { job }
            | Record::JobAttached { job }
            | Record::NodeRefused { job, .. }
            | Record::DeadlineLeft { job, .. }
            | Record::NodesAround { job, .. }
            | Record::DeadlinePassed { job } => Some(job),
            Record::GenerationPlanned(record) => Some(&record.job),
            Record::Stopping(record) => Some(&record.job),
            Record::GenerationEnded(record) => Some(&record.job),
            Record::RanksRestarted(record) => Some(&record.job),
        }
    }
}

/// Where a generation runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationRecord {
    pub job: JobId,
    pub generation: Generation,
    pub at: Timestamp,
    /// In NODE_RANK order.
    pub pods: Vec<PodRecord>,
    /// Nodes that are held back for the job.
    pub spares: Vec<NodeId>,
    pub master_addr: IpAddr,
    pub master_port: u16,
}

/// One pod of a generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodRecord {
    pub node: NodeId,
    pub first_rank: Rank,
    pub ranks: u32,
    pub interface: Option<String>,
    /// Where the pod answers probes; `None` in local mode.
    pub probe_port: Option<u16>,
    /// What the pod got of the node.
    pub binding: BindingRecord,
    /// What it holds of the node beside devices; `None`: nobody had told what is in the node.
    pub held: Option<HeldRecord>,
}

/// Why a generation stops, or what else failed of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoppingRecord {
    pub job: JobId,
    pub generation: Generation,
    pub cause: CauseRecord,
    /// When the evidence arose, which may be long before it was heard.
    pub at: Timestamp,
    /// The evidence names a port in use.
    pub port_conflict: bool,
    /// It says that a peer went.
    pub consequence: bool,
}

/// What a generation's end costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedRecord {
    pub job: JobId,
    pub generation: Generation,
    pub at: Timestamp,
    pub charge: Charge,
    pub progress: Progress,
    pub delay: Duration,
    /// The node where the failure was, if it was one.
    pub blamed: Option<NodeId>,
    /// The next generation goes here only if nothing else is left.
    pub shun: Option<NodeId>,
}

/// Something that happened to a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeNoteRecord {
    pub at: Timestamp,
    pub node: NodeId,
    pub what: String,
}

impl From<&NodeNote> for NodeNoteRecord {
    fn from(note: &NodeNote) -> NodeNoteRecord {
        NodeNoteRecord { at: note.at, node: note.node.clone(), what: note.what.clone() }
    }
}

impl From<&NodeNoteRecord> for NodeNote {
    fn from(record: &NodeNoteRecord) -> NodeNote {
        NodeNote { at: record.at, node: record.node.clone(), what: record.what.clone() }
    }
}

/// Ranks that start again while the rest of their gang goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartedRecord {
    pub job: JobId,
    pub generation: Generation,
    pub at: Timestamp,
    pub node: NodeId,
    pub ranks: Vec<Rank>,
    /// Whose budget it is: that of ranks, or of pods.
    pub step: RestartScope,
    pub delay: Duration,
    pub cause: CauseRecord,
}

#[cfg(test)]
mod tests;
