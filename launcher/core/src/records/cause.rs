//! Causes and outcomes as they are stored.

use std::time::Duration;

use phalanx_common::event::{Cause, NoRestart, Outcome};
use phalanx_common::exit::ExitStatus;
use phalanx_common::health::{Culprit, Question};
use phalanx_common::id::{NodeId, Rank};
use phalanx_common::report::{OutOfMemory, PrepareFailure};
use serde::{Deserialize, Serialize};

/// Why a gang stops, as stored; see [`Cause`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CauseRecord {
    RankFailed { rank: Rank, node: NodeId, status: ExitStatus },
    NotPrepared { node: NodeId, reason: PrepareFailure },
    StartTimeout { missing: Vec<Rank>, phase: String, culprits: Vec<Culprit> },
    NodeLost { node: NodeId },
    NodeRestarted { node: NodeId },
    ShimLost { node: NodeId },
    LeaseLapsed { node: NodeId },
    PodLost { node: NodeId },
    Requested { by: String, status: ExitStatus },
    Completed,
    Enough { rule: u32 },
    DeadlineExceeded { after: Duration },
    ProbeFailed { rank: Rank, node: NodeId, probe: Question, message: String, status: ExitStatus },
    Drained { node: NodeId },
    OutOfMemory { rank: Rank, node: NodeId, status: ExitStatus, limit: Option<u64>, peak: Option<u64> },
    DeviceFailed { node: NodeId, device: String, what: String },
    LeafLost { leaf: String, nodes: Vec<NodeId> },
}

/// How a job ended, as stored; see [`Outcome`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeRecord {
    Succeeded,
    Failed { first_cause: CauseRecord, exit_code: u8, no_restart: Option<NoRestartRecord> },
    Stopped { first_cause: CauseRecord, exit_code: u8 },
}

/// Why a job is not started again, as stored; see [`NoRestart`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoRestartRecord {
    Policy,
    Rule { rule: u32 },
    ExitCode { code: u8 },
    Budget { max: u32, window: Option<Duration> },
    NoProgress { generations: u32 },
    Deadline,
    Hopeless,
}

impl From<&NoRestart> for NoRestartRecord {
    fn from(why: &NoRestart) -> NoRestartRecord {
        match *why {
            NoRestart::Policy => NoRestartRecord::Policy,
            NoRestart::Rule { rule } => NoRestartRecord::Rule { rule },
            NoRestart::ExitCode { code } => NoRestartRecord::ExitCode { code },
            NoRestart::Budget { max, window } => NoRestartRecord::Budget { max, window },
            NoRestart::NoProgress { generations } => NoRestartRecord::NoProgress { generations },
            NoRestart::Deadline => NoRestartRecord::Deadline,
            NoRestart::Hopeless => NoRestartRecord::Hopeless,
        }
    }
}

impl From<&NoRestartRecord> for NoRestart {
    fn from(record: &NoRestartRecord) -> NoRestart {
        match *record {
            NoRestartRecord::Policy => NoRestart::Policy,
            NoRestartRecord::Rule { rule } => NoRestart::Rule { rule },
            NoRestartRecord::ExitCode { code } => NoRestart::ExitCode { code },
            NoRestartRecord::Budget { max, window } => NoRestart::Budget { max, window },
            NoRestartRecord::NoProgress { generations } => NoRestart::NoProgress { generations },
            NoRestartRecord::Deadline => NoRestart::Deadline,
            NoRestartRecord::Hopeless => NoRestart::Hopeless,
        }
    }
}

impl From<&Cause> for CauseRecord {
    fn from(cause: &Cause) -> CauseRecord {
        match cause.clone() {
            Cause::RankFailed { rank, node, status } => CauseRecord::RankFailed { rank, node, status },
            Cause::NotPrepared { node, reason } => CauseRecord::NotPrepared { node, reason },
            Cause::StartTimeout { missing, phase, culprits } => {
                CauseRecord::StartTimeout { missing, phase, culprits }
            }
            Cause::ProbeFailed { rank, node, probe, message, status } => {
                CauseRecord::ProbeFailed { rank, node, probe, message, status }
            }
            Cause::NodeLost { node } => CauseRecord::NodeLost { node },
            Cause::NodeRestarted { node } => CauseRecord::NodeRestarted { node },
            Cause::ShimLost { node } => CauseRecord::ShimLost { node },
            Cause::LeaseLapsed { node } => CauseRecord::LeaseLapsed { node },
            Cause::PodLost { node } => CauseRecord::PodLost { node },
            Cause::Requested { by, status } => CauseRecord::Requested { by, status },
            Cause::Completed => CauseRecord::Completed,
            Cause::Enough { rule } => CauseRecord::Enough { rule },
            Cause::DeadlineExceeded { after } => CauseRecord::DeadlineExceeded { after },
            Cause::Drained { node } => CauseRecord::Drained { node },
            Cause::OutOfMemory { rank, node, status, figures: OutOfMemory { limit, peak } } => {
                CauseRecord::OutOfMemory { rank, node, status, limit, peak }
            }
            Cause::DeviceFailed { node, device, what } => CauseRecord::DeviceFailed { node, device, what },
            Cause::LeafLost { leaf, nodes } => CauseRecord::LeafLost { leaf, nodes },
        }
    }
}

impl From<&CauseRecord> for Cause {
    fn from(record: &CauseRecord) -> Cause {
        match record.clone() {
            CauseRecord::RankFailed { rank, node, status } => Cause::RankFailed { rank, node, status },
            CauseRecord::NotPrepared { node, reason } => Cause::NotPrepared { node, reason },
            CauseRecord::StartTimeout { missing, phase, culprits } => {
                Cause::StartTimeout { missing, phase, culprits }
            }
            CauseRecord::ProbeFailed { rank, node, probe, message, status } => {
                Cause::ProbeFailed { rank, node, probe, message, status }
            }
            CauseRecord::NodeLost { node } => Cause::NodeLost { node },
            CauseRecord::NodeRestarted { node } => Cause::NodeRestarted { node },
            CauseRecord::ShimLost { node } => Cause::ShimLost { node },
            CauseRecord::LeaseLapsed { node } => Cause::LeaseLapsed { node },
            CauseRecord::PodLost { node } => Cause::PodLost { node },
            CauseRecord::Requested { by, status } => Cause::Requested { by, status },
            CauseRecord::Completed => Cause::Completed,
            CauseRecord::Enough { rule } => Cause::Enough { rule },
            CauseRecord::DeadlineExceeded { after } => Cause::DeadlineExceeded { after },
            CauseRecord::Drained { node } => Cause::Drained { node },
            CauseRecord::OutOfMemory { rank, node, status, limit, peak } => {
                Cause::OutOfMemory { rank, node, status, figures: OutOfMemory { limit, peak } }
            }
            CauseRecord::DeviceFailed { node, device, what } => Cause::DeviceFailed { node, device, what },
            CauseRecord::LeafLost { leaf, nodes } => Cause::LeafLost { leaf, nodes },
        }
    }
}

impl From<&Outcome> for OutcomeRecord {
    fn from(outcome: &Outcome) -> OutcomeRecord {
        match outcome {
            Outcome::Succeeded => OutcomeRecord::Succeeded,
            Outcome::Failed { first_cause, exit_code, no_restart } => OutcomeRecord::Failed {
                first_cause: first_cause.into(),
                exit_code: *exit_code,
                no_restart: no_restart.as_ref().map(Into::into),
            },
            Outcome::Stopped { first_cause, exit_code } => {
                OutcomeRecord::Stopped { first_cause: first_cause.into(), exit_code: *exit_code }
            }
        }
    }
}

impl From<&OutcomeRecord> for Outcome {
    fn from(record: &OutcomeRecord) -> Outcome {
        match record {
            OutcomeRecord::Succeeded => Outcome::Succeeded,
            OutcomeRecord::Failed { first_cause, exit_code, no_restart } => Outcome::Failed {
                first_cause: first_cause.into(),
                exit_code: *exit_code,
                no_restart: no_restart.as_ref().map(Into::into),
            },
            OutcomeRecord::Stopped { first_cause, exit_code } => {
                Outcome::Stopped { first_cause: first_cause.into(), exit_code: *exit_code }
            }
        }
    }
}
