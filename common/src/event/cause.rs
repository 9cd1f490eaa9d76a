//! Why a gang stops, why nothing follows, and how a job ends.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::exit::ExitStatus;
use crate::health::{Culprit, Question, one_line};
use crate::id::{NodeId, Rank};
use crate::report::{OutOfMemory, PrepareFailure, PrepareFailureKind};
use crate::text;

/// Why a gang stops, restarts or fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum Cause {
    RankFailed {
        rank: Rank,
        node: NodeId,
        status: ExitStatus,
    },
    NotPrepared {
        node: NodeId,
        reason: PrepareFailure,
    },
    /// The deadline passed before every rank was ready; these ranks were not.
    StartTimeout {
        missing: Vec<Rank>,
        phase: String,
        /// The first of them, and what kept them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        culprits: Vec<Culprit>,
    },
    /// A rank was ended because its startup or liveness probe was bad, or its postStart hook failed.
    ProbeFailed {
        rank: Rank,
        node: NodeId,
        probe: Question,
        message: String,
        /// How it ended.
        status: ExitStatus,
    },
    NodeLost {
        node: NodeId,
    },
    /// Its worker came back without the pods it had: the machine or the worker restarted.
    NodeRestarted {
        node: NodeId,
    },
    ShimLost {
        node: NodeId,
    },
    /// The pod heard from no coordinator for as long as its lease.
    LeaseLapsed {
        node: NodeId,
    },
    /// The pod ended before its ranks told how.
    PodLost {
        node: NodeId,
    },
    /// The user asked: Ctrl-C, a signal, `stop`.
    Requested {
        by: String,
        status: ExitStatus,
    },
    /// Every rank ended with 0, and the job is to run always.
    Completed,
    /// One of its success rules, counted from 0, is fulfilled: what still runs is not needed.
    Enough {
        rule: u32,
    },
    /// It was active for as long as it may be.
    DeadlineExceeded {
        after: Duration,
    },
    /// An operator wants the node for something else.
    Drained {
        node: NodeId,
    },
    /// The kernel ended a rank for want of memory.
    OutOfMemory {
        rank: Rank,
        node: NodeId,
        status: ExitStatus,
        figures: OutOfMemory,
    },
    /// A device of the job's failed.
    DeviceFailed {
        node: NodeId,
        device: String,
        what: String,
    },
    /// Nodes under one access switch went at once: what they share is blamed, and none of them.
    LeafLost {
        leaf: String,
        nodes: Vec<NodeId>,
    },
}

impl Cause {
    /// What `phalanx run` exits with when a job ends for this: the rank's own code as a shell gives it,
    /// 127 and 126 for a command that cannot be found or executed, 125 for all that is not the command's.
    pub fn exit_code(&self) -> u8 {
        match self {
            Cause::RankFailed { status, .. }
            | Cause::OutOfMemory { status, .. }
            | Cause::Requested { status, .. } => status.shell_code(),
            // A rank that takes its end well has failed all the same.
            Cause::ProbeFailed { status, .. } => status.shell_code().max(1),
            Cause::NotPrepared { reason, .. } => match reason.kind {
                PrepareFailureKind::CommandNotFound => 127,
                PrepareFailureKind::CommandNotExecutable => 126,
                PrepareFailureKind::PortTaken(_)
                | PrepareFailureKind::Node
                | PrepareFailureKind::Job
                | PrepareFailureKind::Init => 125,
            },
            Cause::StartTimeout { .. }
            | Cause::NodeLost { .. }
            | Cause::NodeRestarted { .. }
            | Cause::ShimLost { .. }
            | Cause::LeaseLapsed { .. }
            | Cause::PodLost { .. }
            | Cause::DeviceFailed { .. }
            | Cause::LeafLost { .. }
            | Cause::Drained { .. } => 125,
            Cause::Completed | Cause::Enough { .. } => 0,
            // As `timeout` has it.
            Cause::DeadlineExceeded { .. } => 124,
        }
    }

    /// The rank whose last output tells more.
    pub fn rank(&self) -> Option<Rank> {
        match self {
            Cause::RankFailed { rank, .. }
            | Cause::ProbeFailed { rank, .. }
            | Cause::OutOfMemory { rank, .. } => Some(*rank),
            Cause::StartTimeout { culprits, .. } => culprits.first().map(|culprit| culprit.rank),
            _ => None,
        }
    }

    /// In words that name the node, which the plain ones leave out where there may be one node alone.
    pub fn with_node(&self) -> String {
        match self {
            Cause::RankFailed { rank, node, .. } | Cause::OutOfMemory { rank, node, .. } => {
                let rank = format!("rank {rank}");
                self.to_string().replacen(&rank, &format!("{rank} on {node}"), 1)
            }
            Cause::ProbeFailed { rank, node, probe, message, .. } => {
                format!("rank {rank} on {node} was ended, its {probe} failed: {}", one_line(message))
            }
            // Before the reason, which may end in advice.
            Cause::NotPrepared { node, .. } => format!("{node}: {self}"),
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::RankFailed { rank, status, .. } => write!(f, "rank {rank} ended with {status}"),
            Cause::NotPrepared { reason, .. } => f.write_str(&reason.message),
            Cause::ProbeFailed { rank, probe, message, .. } => {
                write!(f, "rank {rank} was ended, its {probe} failed: {}", one_line(message))
            }
            Cause::StartTimeout { missing, phase, culprits } => {
                let ranks: Vec<String> = missing.iter().take(16).map(|rank| rank.to_string()).collect();
                let more = if missing.len() > 16 { ", …" } else { "" };
                let s = if missing.len() == 1 { "" } else { "s" };
                write!(
                    f,
                    "not ready before the start deadline: rank{s} {}{more} ({phase})",
                    ranks.join(", ")
                )?;
                let alike = |a: &Culprit, b: &Culprit| (&a.node, &a.waits) == (&b.node, &b.waits);
                culprits.chunk_by(alike).try_for_each(|alike| {
                    let [culprit, ..] = alike else { return Ok(()) };
                    let ranks: Vec<String> = alike.iter().map(|it| it.rank.to_string()).collect();
                    let s = if ranks.len() == 1 { "" } else { "s" };
                    write!(f, "\n  rank{s} {} on {}", ranks.join(", "), culprit.node)?;
                    match &culprit.waits {
                        Some(waits) => write!(f, ", {}: {}", waits.probe, one_line(&waits.message)),
                        None => Ok(()),
                    }
                })
            }
            Cause::NodeLost { node } => write!(f, "node {node} is lost"),
            Cause::NodeRestarted { node } => write!(f, "node {node} restarted, its ranks are gone"),
            Cause::LeaseLapsed { node } => {
                write!(f, "the pod on node {node} ended itself: its lease lapsed without a coordinator")
            }
            Cause::PodLost { node } => write!(f, "the pod on node {node} is gone, and its ranks with it"),
            Cause::ShimLost { node } => write!(f, "the shim on node {node} died, its ranks with it"),
            Cause::Requested { by, .. } => write!(f, "stopped by {by}"),
            Cause::Drained { node } => write!(f, "node {node} is drained"),
            Cause::OutOfMemory { rank, status, figures: OutOfMemory { limit, peak }, .. } => {
                write!(f, "rank {rank} was out of memory (OOMKilled), and ended with {status}")?;
                match (limit, peak) {
                    (Some(limit), Some(peak)) => {
                        write!(f, ": it had {} of at most {}", text::memory(*peak), text::memory(*limit))
                    }
                    (Some(limit), None) => write!(f, ": its limit is {}", text::memory(*limit)),
                    (None, Some(peak)) => write!(f, ": the node had no more; it had {}", text::memory(*peak)),
                    (None, None) => f.write_str(": the node had no more"),
                }
            }
            Cause::LeafLost { leaf, nodes } => {
                let named: Vec<&str> = nodes.iter().take(8).map(NodeId::as_str).collect();
                let more = if nodes.len() > 8 { ", …" } else { "" };
                write!(f, "leaf {leaf} is lost, and with it nodes {}{more}", named.join(", "))
            }
            Cause::DeviceFailed { node, device, what } => {
                write!(f, "device {device} of node {node} failed: {}", one_line(what))
            }
            Cause::Completed => f.write_str("every rank ended with exit code 0"),
            Cause::Enough { rule } => write!(f, "successPolicy.rules[{rule}] of the job is fulfilled"),
            Cause::DeadlineExceeded { after } => {
                write!(
                    f,
                    "it was active for {}, and may be no longer (activeDeadlineSeconds)",
                    text::lasting(*after)
                )
            }
        }
    }
}

/// Why a job that failed is not started again, where somebody may have expected it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "no_restart", rename_all = "snake_case")]
pub enum NoRestart {
    /// Its restart policy is Never.
    Policy,
    /// One of its failure rules, counted from 0, ends it.
    Rule { rule: u32 },
    /// The code with which the rank ended says so.
    ExitCode { code: u8 },
    /// It had as many restarts as it may have, within `window` if it has one.
    Budget { max: u32, window: Option<Duration> },
    /// So many generations in a row came to nothing.
    NoProgress { generations: u32 },
    /// It was active for as long as it may be.
    Deadline,
    /// Its command cannot be run, or something else of it is not there: another attempt would meet the same.
    Hopeless,
}

impl fmt::Display for NoRestart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoRestart::Policy => f.write_str("not started again: its restartPolicy is Never"),
            NoRestart::Rule { rule } => {
                write!(f, "not started again: failureRules[{rule}] of the job says FailJob")
            }
            NoRestart::ExitCode { code } => {
                write!(
                    f,
                    "not started again: exit code {code} says so, and no rule of the job says otherwise"
                )
            }
            NoRestart::Budget { max: 1, window: None } => {
                f.write_str("not started again: it had its 1 restart")
            }
            NoRestart::Budget { max, window: None } => {
                write!(f, "not started again: it had its {max} restarts")
            }
            NoRestart::Budget { max, window: Some(window) } => {
                write!(
                    f,
                    "not started again: it had {max} of {max} restarts within {}",
                    text::lasting(*window)
                )
            }
            NoRestart::Hopeless => f.write_str("not started again: another attempt would meet the same"),
            NoRestart::Deadline => f.write_str("not started again: its activeDeadlineSeconds are over"),
            NoRestart::NoProgress { generations } => write!(
                f,
                "not started again: {generations} generations in a row ended within {} of running (restartBudget.noProgress)",
                text::lasting(crate::defaults::PROGRESS)
            ),
        }
    }
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// Every rank ended with 0.
    Succeeded,
    Failed {
        first_cause: Cause,
        exit_code: u8,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        no_restart: Option<NoRestart>,
    },
    Stopped {
        first_cause: Cause,
        exit_code: u8,
    },
}

impl Outcome {
    /// What `phalanx run` exits with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Outcome::Succeeded => 0,
            Outcome::Failed { exit_code, .. } | Outcome::Stopped { exit_code, .. } => *exit_code,
        }
    }
}
