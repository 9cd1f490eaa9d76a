//! What a generation's end costs, and whether there is another: the ladder.
//!
//! ```text
//! a rule of the job that matches, or else what is usual for the cause
//!   FailJob                                             -> the job fails
//!   Ignore                                              -> the gang again, at no cost
//!   RestartGang --- the same node was blamed before? --+
//!       | no                                           | yes
//!       v                                              v
//!   the gang again, where it was               the gang again, without that node
//!       \____________________ while there is budget ___/
//! ```

mod in_place;

use std::time::Duration;

use phalanx_common::defaults;
use phalanx_common::event::{Cause, NoRestart};
use phalanx_common::exit::ExitStatus;
use phalanx_common::id::NodeId;
use phalanx_common::report::PrepareFailureKind;
use phalanx_common::spec::{
    DO_NOT_RESTART, FailureAction, FailureReason, JobSpec, Recovery, RestartPolicy, RestartScope,
};
use phalanx_common::time::Timestamp;
use serde::{Deserialize, Serialize};

pub use in_place::{Again, Used, budget, decide_in_place};

use crate::records::EndedRecord;

/// What a job has used up. Changed by records alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounting {
    /// Restarts paid from `max_restarts`.
    pub restarts: u32,
    /// When those were that the job's window counts; empty without a window.
    pub recent: Vec<Timestamp>,
    /// Paid restarts that were to leave a node.
    pub replacements: u32,
    /// Restarts after a rank met a port in use.
    pub port_conflicts: u32,
    /// New generations because a port was taken before the ranks were released.
    pub port_retries: u32,
    /// New generations because a node went before the ranks were released.
    pub node_retries: u32,
    /// Restarts with a wait since the last generation that ran long enough.
    pub backoff_step: u32,
    /// Generations in a row, up to the last, that came to nothing.
    pub barren: u32,
    /// The node that was blamed last, and how often in a row.
    pub blamed: Option<(NodeId, u32)>,
    /// Restarts of single ranks in their generation.
    pub rank: Used,
    /// Restarts of all ranks of a node in their generation.
    pub pod: Used,
}

impl Accounting {
    /// Paid restarts that count at this time.
    pub fn counted(&self, window: Option<Duration>, now: Timestamp) -> u32 {
        counted(self.restarts, &self.recent, window, now)
    }

    /// How often ranks were started again so far, in place or with their gang: a rank's own count only grows from here.
    pub fn starts(&self) -> u32 {
        self.restarts.saturating_add(self.rank.restarts).saturating_add(self.pod.restarts)
    }

    /// What a step below the gang has used up.
    pub fn step(&self, step: RestartScope) -> &Used {
        if step == RestartScope::Rank { &self.rank } else { &self.pod }
    }

    /// Takes a restart of such a step into account. `window`: that of the step.
    pub(crate) fn count_in_place(&mut self, step: RestartScope, window: Option<Duration>, at: Timestamp) {
        let used = if step == RestartScope::Rank { &mut self.rank } else { &mut self.pod };
        used.count(window, at);
    }

    /// Takes the end of a generation into account that another follows. `window`: that of the job.
    pub(crate) fn count(&mut self, record: &EndedRecord, window: Option<Duration>) {
        match record.charge {
            Charge::Budget | Charge::Replacement => {
                self.restarts += 1;
                note(&mut self.recent, window, record.at);
            }
            Charge::PortConflict => self.port_conflicts += 1,
            Charge::PortRetry => self.port_retries += 1,
            Charge::NodeGone => self.node_retries += 1,
            // Each node refuses once.
            Charge::NodeRefused => {}
            Charge::Ignored | Charge::Completed | Charge::Drained => {}
        }
        if record.progress == Progress::Long {
            self.backoff_step = 0;
        }
        self.backoff_step += u32::from(record.charge.waits());
        match record.progress {
            Progress::Unknown => {}
            Progress::Barren => self.barren += 1,
            Progress::Some | Progress::Long => self.barren = 0,
        }
        if record.charge.waits() {
            self.blamed = record.blamed.clone().map(|node| match self.blamed.take() {
                Some((before, times)) if before == node => (node, times + 1),
                _ => (node, 1),
            });
        }
    }
}

/// Restarts that count at this time: all of them, or those within the window.
fn counted(all: u32, recent: &[Timestamp], window: Option<Duration>, now: Timestamp) -> u32 {
    let Some(window) = window else { return all };
    let within = recent.iter().filter(|at| now.since(**at) < window).count();
    u32::try_from(within).unwrap_or(u32::MAX)
}

/// Keeps the time of a restart where a window counts it; what has left that is out of it, wherever the clock jumps.
fn note(recent: &mut Vec<Timestamp>, window: Option<Duration>, at: Timestamp) {
    if let Some(window) = window {
        recent.retain(|before| at.since(*before) < window);
        recent.push(at);
    }
}

/// Who pays for a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Charge {
    /// The job's own budget.
    Budget,
    /// Nobody: a rank met a port in use.
    PortConflict,
    /// Nobody: a port was taken before the ranks were released.
    PortRetry,
    /// Nobody: a node went before the ranks were released.
    NodeGone,
    /// Nobody: a node cannot take its pod, and others are left.
    NodeRefused,
    /// The job's own budget, and that of nodes to be replaced.
    Replacement,
    /// Nobody: a rule of the job says so.
    Ignored,
    /// Nobody: the gang ended well, and is to run always.
    Completed,
    /// Nobody: an operator wants a node of it for something else.
    Drained,
}

impl Charge {
    /// Whether the job's budget stays as it is.
    pub fn free(self) -> bool {
        !matches!(self, Charge::Budget | Charge::Replacement)
    }

    /// Whether the next restart waits longer than this one.
    pub fn waits(self) -> bool {
        matches!(self, Charge::Budget | Charge::Replacement | Charge::Ignored | Charge::Completed)
    }
}

/// What a generation came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// Its fault or not, it says nothing of the job: a node went, or it was not counted.
    Unknown,
    /// It was over before it got anywhere.
    Barren,
    Some,
    /// It ran long enough for the backoff to begin anew.
    Long,
}

/// What comes after a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Restart {
        charge: Charge,
        delay: Duration,
        progress: Progress,
        /// Go here only if nothing else is left.
        shun: Option<NodeId>,
    },
    /// No other. `None` needs no saying: nobody asked for one.
    Fail(Option<NoRestart>),
}

/// How far a generation that failed had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// None of its ranks was released.
    Held {
        /// Nodes that did not refuse the job are left, with room for it.
        elsewhere: bool,
    },
    Released {
        /// The evidence names a port in use.
        conflict: bool,
        /// How long it was Running.
        ran: Duration,
    },
}

/// Decides after a generation that failed for `cause`.
pub fn decide(spec: &JobSpec, used: &Accounting, cause: &Cause, came: Came, now: Timestamp) -> Verdict {
    let (conflict, ran) = match came {
        Came::Held { .. } => (false, Duration::ZERO),
        Came::Released { conflict, ran } => (conflict, ran),
    };
    let at_once = |charge, shun: Option<&NodeId>| {
        let (delay, progress) = (Duration::ZERO, Progress::Unknown);
        Verdict::Restart { charge, delay, progress, shun: shun.cloned() }
    };
    match cause {
        Cause::Requested { .. } | Cause::DeadlineExceeded { .. } => return Verdict::Fail(None),
        // Announced: no failure of anybody's.
        Cause::Drained { node } => {
            let (charge, delay, progress) =
                (Charge::Drained, Duration::ZERO, came_to(ran).unwrap_or(Progress::Unknown));
            return Verdict::Restart { charge, delay, progress, shun: Some(node.clone()) };
        }
        Cause::NotPrepared { node, reason } => match reason.kind {
            PrepareFailureKind::CommandNotFound
            | PrepareFailureKind::CommandNotExecutable
            | PrepareFailureKind::Job => {
                return Verdict::Fail((spec.max_restarts > 0).then_some(NoRestart::Hopeless));
            }
            PrepareFailureKind::PortTaken(_) if used.port_retries < defaults::PORT_RETRIES => {
                return at_once(Charge::PortRetry, None);
            }
            PrepareFailureKind::Node if came == (Came::Held { elsewhere: true }) => {
                return at_once(Charge::NodeRefused, Some(node));
            }
            PrepareFailureKind::PortTaken(_) | PrepareFailureKind::Node | PrepareFailureKind::Init => {}
        },
        Cause::NodeLost { node }
            if matches!(came, Came::Held { .. }) && used.node_retries < defaults::NODE_RETRIES =>
        {
            return at_once(Charge::NodeGone, Some(node));
        }
        Cause::RankFailed { .. }
            if conflict
                && used.port_conflicts < defaults::PORT_CONFLICT_RESTARTS
                && no_restart(spec, cause).is_none() =>
        {
            return at_once(Charge::PortConflict, None);
        }
        _ => {}
    }
    climb(spec, used, cause, ran, now)
}

/// The first rule of the job that matches.
fn rule_of(recovery: &Recovery, cause: &Cause) -> Option<usize> {
    recovery.rules.iter().position(|rule| match cause {
        Cause::RankFailed { status, .. } => rule.matches_exit(*status),
        // Its reason, or the code or signal with which it ended.
        Cause::OutOfMemory { status, .. } => {
            rule.reasons.contains(&FailureReason::OomKilled) || rule.matches_exit(*status)
        }
        cause => reason_of(cause).is_some_and(|reason| rule.reasons.contains(&reason)),
    })
}

/// Why a job that failed for this is not started again, whatever its budget.
fn no_restart(spec: &JobSpec, cause: &Cause) -> Option<NoRestart> {
    let recovery = &spec.recovery;
    let rule = rule_of(recovery, cause);
    match (rule, rule.map(|rule| recovery.rules[rule].action), cause) {
        (Some(rule), Some(FailureAction::FailJob), _) => {
            Some(NoRestart::Rule { rule: u32::try_from(rule).unwrap_or(u32::MAX) })
        }
        (None, _, Cause::RankFailed { status: ExitStatus::Code(DO_NOT_RESTART), .. }) => {
            Some(NoRestart::ExitCode { code: DO_NOT_RESTART })
        }
        _ => (recovery.policy == RestartPolicy::Never).then_some(NoRestart::Policy),
    }
}

/// What a generation came to that ran for so long; `None`: to nothing.
fn came_to(ran: Duration) -> Option<Progress> {
    match ran {
        ran if ran >= defaults::BACKOFF_RESET => Some(Progress::Long),
        ran if ran >= defaults::PROGRESS => Some(Progress::Some),
        _ => None,
    }
}

/// The steps that a failure of the job itself, or of its nodes, may take.
fn climb(spec: &JobSpec, used: &Accounting, cause: &Cause, ran: Duration, now: Timestamp) -> Verdict {
    let recovery = &spec.recovery;
    if let Some(why) = no_restart(spec, cause) {
        return Verdict::Fail(Some(why));
    }
    let action = rule_of(recovery, cause).map(|rule| recovery.rules[rule].action);
    let free = action == Some(FailureAction::Ignore);
    if !free && used.counted(recovery.window, now) >= spec.max_restarts {
        let asked = (spec.max_restarts > 0)
            .then_some(NoRestart::Budget { max: spec.max_restarts, window: recovery.window });
        return Verdict::Fail(asked);
    }
    let progress = came_to(ran).unwrap_or(match reason_of(cause) {
        Some(FailureReason::NodeLost) => Progress::Unknown,
        _ => Progress::Barren,
    });
    let barren = used.barren + 1;
    if progress == Progress::Barren && recovery.no_progress > 0 && barren >= recovery.no_progress {
        return Verdict::Fail(Some(NoRestart::NoProgress { generations: barren }));
    }
    let shun = leaves(recovery, used, cause, action, progress);
    let charge = match (free, &shun) {
        (true, _) => Charge::Ignored,
        (false, Some(_)) => Charge::Replacement,
        (false, None) => Charge::Budget,
    };
    Verdict::Restart { charge, delay: wait(recovery, used, progress), progress, shun }
}

/// Decides after a generation whose ranks all ended with 0.
pub fn decide_completed(spec: &JobSpec, used: &Accounting, ran: Duration) -> Option<Verdict> {
    if spec.recovery.policy != RestartPolicy::Always {
        return None;
    }
    let progress = if ran >= defaults::BACKOFF_RESET { Progress::Long } else { Progress::Some };
    let delay = wait(&spec.recovery, used, progress);
    Some(Verdict::Restart { charge: Charge::Completed, delay, progress, shun: None })
}

fn wait(recovery: &Recovery, used: &Accounting, progress: Progress) -> Duration {
    let step = if progress == Progress::Long { 0 } else { used.backoff_step };
    recovery.backoff.wait(step)
}

/// The node that the next generation is to leave: that of a rule, or one that is blamed again.
fn leaves(
    recovery: &Recovery,
    used: &Accounting,
    cause: &Cause,
    action: Option<FailureAction>,
    progress: Progress,
) -> Option<NodeId> {
    let node = blames(cause)?;
    let again = used.blamed.as_ref().is_some_and(|(before, _)| before == node) && progress != Progress::Long;
    let wanted = match action {
        Some(FailureAction::ReplaceNode) => true,
        Some(FailureAction::Ignore) => false,
        // It has fewer devices than the job was placed for.
        None if matches!(cause, Cause::DeviceFailed { .. }) => true,
        _ => again,
    };
    let left = recovery.replace_node.is_none_or(|max| used.replacements < max);
    (wanted && left).then(|| node.clone())
}

/// The kind of failure that no exit code tells.
pub fn reason_of(cause: &Cause) -> Option<FailureReason> {
    match cause {
        Cause::NodeLost { .. }
        | Cause::LeafLost { .. }
        | Cause::NodeRestarted { .. }
        | Cause::ShimLost { .. }
        | Cause::LeaseLapsed { .. }
        | Cause::PodLost { .. } => Some(FailureReason::NodeLost),
        Cause::StartTimeout { .. } => Some(FailureReason::StartTimeout),
        Cause::ProbeFailed { .. } => Some(FailureReason::ProbeFailed),
        Cause::OutOfMemory { .. } => Some(FailureReason::OomKilled),
        Cause::DeviceFailed { .. } => Some(FailureReason::DeviceError),
        Cause::NotPrepared { reason, .. } if reason.kind == PrepareFailureKind::Init => {
            Some(FailureReason::InitFailed)
        }
        Cause::RankFailed { .. }
        | Cause::NotPrepared { .. }
        | Cause::Requested { .. }
        | Cause::Enough { .. }
        | Cause::DeadlineExceeded { .. }
        | Cause::Drained { .. }
        | Cause::Completed => None,
    }
}

/// The node where it happened, if it was one.
pub fn blames(cause: &Cause) -> Option<&NodeId> {
    match cause {
        Cause::RankFailed { node, .. }
        | Cause::ProbeFailed { node, .. }
        | Cause::OutOfMemory { node, .. }
        | Cause::DeviceFailed { node, .. }
        | Cause::NotPrepared { node, .. }
        | Cause::NodeLost { node }
        | Cause::NodeRestarted { node }
        | Cause::ShimLost { node }
        | Cause::LeaseLapsed { node }
        | Cause::PodLost { node } => Some(node),
        Cause::LeafLost { .. }
        | Cause::StartTimeout { .. }
        | Cause::Requested { .. }
        | Cause::Enough { .. }
        | Cause::DeadlineExceeded { .. }
        | Cause::Drained { .. }
        | Cause::Completed => None,
    }
}

#[cfg(test)]
mod tests;
