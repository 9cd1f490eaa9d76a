//! What a run met: so that seeds that meet nothing any more are noticed.

use std::collections::{BTreeMap, BTreeSet};

use phalanx_common::event::{Cause, Event, EventKind, NoRestart, Outcome};
use phalanx_common::health::Question;
use phalanx_common::id::JobId;
use phalanx_common::report::{Notice, PrepareFailureKind};
use phalanx_common::spec::{Fencing, RestartScope};
use phalanx_launcher_core::restart::Charge;
use phalanx_launcher_core::{Durable, Job, Record};

use super::hardware::OUT_OF_MEMORY;
use super::world::World;

/// Every kind of fault, as [`World::injected`] counts them.
pub const FAULTS: [&str; 32] = [
    "clock jump",
    "coordinator crash",
    "cordon",
    "data plane cut",
    "deaf",
    "deaf for a moment",
    "deaf on the data plane",
    "device error",
    "drain",
    "error of the program",
    "flapping link",
    "hang",
    "isolation",
    "leaf switch lost",
    "leaf without power",
    "lost connection",
    "mute",
    "mute for a moment",
    "mute on the data plane",
    "out of memory",
    "port taken",
    "power loss",
    "shim killed",
    "slow node",
    "stale order",
    "stop",
    "suspension",
    "uncordon",
    "worker crash",
    "worker paused beyond the idle timeout",
    "worker paused for a second or more",
    "worker paused for half a minute or more",
];

/// What has to follow from them, now and then.
pub const CONSEQUENCES: [&str; 68] = [
    "a coordinator came back to a live generation",
    "a budget was used up",
    "a budget was used up within its window",
    "a coordinator came back to a queued job",
    "a deadline ended a job",
    "a deadline ended a job that was failing",
    "a gang restarted",
    "a gang stopped because enough ranks had ended well",
    "a gang that ended well ran again",
    "a gang was to leave a node",
    "a gang restarted at no cost",
    "a gang restarted without a lost node",
    "a gang whose ranks were held was placed again without a lost node",
    "a gang was placed again without a node that refused it",
    "a job came to nothing too often",
    "a job could never begin",
    "a rank could not be started again",
    "a job failed",
    "a job resumed",
    "a job succeeded",
    "a job was stopped",
    "a job was forgotten",
    "a job was forgotten, and a pod of it was alive",
    "a job was suspended",
    "a job waited for nodes",
    "nodes had met something before a gang failed",
    "a lease lapsed",
    "a liveness probe ended a rank",
    "a liveness probe ended a rank that hung",
    "a gang restarted after an init container failed",
    "a job ended for an init container that failed",
    "a node that flapped was quarantined",
    "a preStop hook outlasted the grace",
    "a preStop hook put off a stop signal",
    "a pod was to start again",
    "a rank started a third time",
    "a rank started again",
    "a rank was killed and nobody had asked",
    "a rank was to start again",
    "a rank was ready and not ready again and again",
    "a slow node answered a probe too late",
    "a stop ended an init container",
    "an init container was not run again",
    "an order ended a rank that hung",
    "several nodes were unreachable at once",
    "a node came back as it was",
    "a node got no new pods",
    "a node was drained",
    "a node was quarantined",
    "a job left a drained node",
    "replacement of nodes was paused",
    "replacement of nodes went on",
    "a node got pods again",
    "a node restarted",
    "a node was unreachable",
    "a pod was dead",
    "a policy of Never ended a job",
    "a rule ended a job",
    "an exit code ended a job",
    "a pod was given up",
    "a pod was heard by a peer",
    "a rank was not ready any more",
    "a shim was lost",
    "a stale order was refused",
    "a startup probe ended a rank",
    "ranks missed their start deadline",
    "strict fencing waited for a dead pod",
    "the clock jumped",
];

/// How often each of [`CONSEQUENCES`] occurred.
pub(crate) fn consequences(world: &World) -> BTreeMap<&'static str, u64> {
    let mut met = BTreeMap::new();
    let mut add = |what| *met.entry(what).or_default() += 1;
    let strict = |job: &JobId| {
        let facts = world.witness.jobs.get(job);
        facts.is_some_and(|facts| facts.spec.fencing == Fencing::Strict)
    };
    let mut dead = BTreeSet::new();
    let mut unreachable = BTreeSet::new();
    let mut unready: BTreeMap<_, u32> = BTreeMap::new();
    for event in &world.events {
        match &event.kind {
            EventKind::NodeUnreachable { node } => {
                unreachable.insert(node);
                if unreachable.len() > 1 {
                    add("several nodes were unreachable at once");
                }
            }
            EventKind::NodeReachable { node } | EventKind::NodeRestarted { node } => {
                unreachable.remove(node);
            }
            _ => {}
        }
        let (Some(job), generation) = (&event.job, event.generation) else {
            of_event(event).into_iter().for_each(&mut add);
            continue;
        };
        match &event.kind {
            EventKind::PodDead { node, .. } if strict(job) => {
                dead.insert((job, generation, node));
            }
            EventKind::RankNotReady { rank, .. } => {
                let times = unready.entry((job, generation, rank)).or_default();
                *times += 1;
                if *times == 3 {
                    add("a rank was ready and not ready again and again");
                }
            }
            EventKind::PodAbandoned { node } if dead.contains(&(job, generation, node)) => {
                add("strict fencing waited for a dead pod");
            }
            _ => {}
        }
        of_event(event).into_iter().for_each(&mut add);
    }
    let mut durable = Durable::default();
    for record in &world.store {
        durable.apply(record);
        if let Record::GenerationEnded(ended) = record
            && ended.charge == Charge::Replacement
        {
            add("a gang was to leave a node");
        }
        if let Record::EpochStarted { .. } = record {
            let mut jobs = durable.jobs.values().filter(|job| !job.ended());
            if jobs.clone().any(|job| job.active().is_some()) {
                add("a coordinator came back to a live generation");
            }
            if jobs.any(|job: &Job| job.active().is_none()) {
                add("a coordinator came back to a queued job");
            }
        }
    }
    met
}

fn of_event(event: &Event) -> Vec<&'static str> {
    match &event.kind {
        EventKind::NodeUnreachable { .. } => vec!["a node was unreachable"],
        EventKind::NodeReachable { .. } => vec!["a node came back as it was"],
        EventKind::NodeRestarted { .. } => vec!["a node restarted"],
        EventKind::NodeCordoned { .. } => vec!["a node got no new pods"],
        EventKind::NodeDraining { .. } => vec!["a node was drained"],
        EventKind::NodeQuarantined { why, .. } if why.starts_with("unreachable") => {
            vec!["a node was quarantined", "a node that flapped was quarantined"]
        }
        EventKind::NodeQuarantined { .. } => vec!["a node was quarantined"],
        EventKind::ReplacementPaused { .. } => vec!["replacement of nodes was paused"],
        EventKind::ReplacementResumed { .. } => vec!["replacement of nodes went on"],
        EventKind::GangRestarting { cause: Cause::Drained { .. }, .. } => vec!["a job left a drained node"],
        EventKind::NodeUncordoned { .. } => vec!["a node got pods again"],
        EventKind::PodHeard { .. } => vec!["a pod was heard by a peer"],
        EventKind::PodDead { .. } => vec!["a pod was dead"],
        EventKind::PodAbandoned { .. } => vec!["a pod was given up"],
        EventKind::RankNotReady { .. } => vec!["a rank was not ready any more"],
        EventKind::RankExited { exit, .. } => match exit.probe.as_ref().map(|failure| failure.probe) {
            Some(Question::Startup) => vec!["a startup probe ended a rank"],
            Some(_) => vec!["a liveness probe ended a rank"],
            None if exit.status == OUT_OF_MEMORY && !exit.after_stop => {
                vec!["a rank was killed and nobody had asked"]
            }
            None => Vec::new(),
        },
        EventKind::RanksRestarting { step: RestartScope::Rank, .. } => vec!["a rank was to start again"],
        EventKind::RanksRestarting { .. } => vec!["a pod was to start again"],
        EventKind::RankRestarted { attempt: 1, .. } => vec!["a rank started again"],
        EventKind::RankRestarted { .. } => vec!["a rank started again", "a rank started a third time"],
        EventKind::PodEnded { end, .. } if end.lease_lapsed => vec!["a lease lapsed"],
        EventKind::PodEnded { end, .. } if end.shim_lost => vec!["a shim was lost"],
        EventKind::GangRestarting { free: true, cause: Cause::NodeLost { .. }, .. } => {
            vec!["a gang whose ranks were held was placed again without a lost node"]
        }
        EventKind::GangRestarting { free: true, cause: Cause::NotPrepared { reason, .. }, .. }
            if reason.kind == PrepareFailureKind::Node =>
        {
            vec!["a gang was placed again without a node that refused it"]
        }
        EventKind::GangRestarting { cause: Cause::NotPrepared { reason, .. }, .. }
            if reason.kind == PrepareFailureKind::Init =>
        {
            vec!["a gang restarted", "a gang restarted after an init container failed"]
        }
        EventKind::GangRestarting { cause: Cause::Completed, .. } => vec!["a gang that ended well ran again"],
        EventKind::GangRestarting { free: true, .. } => vec!["a gang restarted at no cost"],
        EventKind::GangRestarting { cause: Cause::NodeLost { .. }, .. } => {
            vec!["a gang restarted", "a gang restarted without a lost node"]
        }
        EventKind::GangRestarting { .. } => vec!["a gang restarted"],
        EventKind::GangStopping { cause: Cause::StartTimeout { .. }, .. } => {
            vec!["ranks missed their start deadline"]
        }
        EventKind::NodesAround { .. } => vec!["nodes had met something before a gang failed"],
        EventKind::JobQueued { .. } => vec!["a job waited for nodes"],
        EventKind::JobForgotten => vec!["a job was forgotten"],
        EventKind::JobSuspended => vec!["a job was suspended"],
        EventKind::JobResumed => vec!["a job resumed"],
        EventKind::JobEnded { outcome: Outcome::Succeeded } => vec!["a job succeeded"],
        EventKind::JobEnded {
            outcome: Outcome::Failed { first_cause: Cause::DeadlineExceeded { .. }, .. },
        } => vec!["a job failed", "a deadline ended a job"],
        EventKind::JobEnded {
            outcome: Outcome::Failed { first_cause: Cause::NotPrepared { reason, .. }, .. },
        } if reason.kind == PrepareFailureKind::Init => {
            vec!["a job failed", "a job ended for an init container that failed"]
        }
        EventKind::GangStopping { cause: Cause::Enough { .. }, .. } => {
            vec!["a gang stopped because enough ranks had ended well"]
        }
        EventKind::JobEnded { outcome: Outcome::Failed { no_restart, .. } } => {
            let why = no_restart.as_ref().map(|why| match why {
                NoRestart::Policy => "a policy of Never ended a job",
                NoRestart::Rule { .. } => "a rule ended a job",
                NoRestart::ExitCode { .. } => "an exit code ended a job",
                NoRestart::Budget { window: None, .. } => "a budget was used up",
                NoRestart::Budget { window: Some(_), .. } => "a budget was used up within its window",
                NoRestart::Deadline => "a deadline ended a job that was failing",
                NoRestart::NoProgress { .. } => "a job came to nothing too often",
                NoRestart::Hopeless => "a job could never begin",
            });
            ["a job failed"].into_iter().chain(why).collect()
        }
        EventKind::JobEnded { outcome: Outcome::Stopped { .. } } => vec!["a job was stopped"],
        EventKind::ClockJumped { .. } => vec!["the clock jumped"],
        EventKind::Notice { notice: Notice::Refused { what } } if what.contains("reigns") => {
            vec!["a stale order was refused"]
        }
        _ => Vec::new(),
    }
}
