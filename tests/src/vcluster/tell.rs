//! Events as a person reads them who follows a job and its nodes.

use phalanx_common::event::{EventKind, Outcome};
use phalanx_common::id::{NodeId, Rank};
use phalanx_common::report::{Notice, RankExit};

/// What is told of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// Whom it befell, where it may befall several at once.
    pub(crate) whom: Option<String>,
    pub(crate) what: String,
}

/// `None`: nothing, another event says it.
pub(crate) fn tell(kind: &EventKind) -> Option<Told> {
    let of = |whom: String, what: &str| Some(Told { whom: Some(whom), what: what.to_owned() });
    let node = |node: &NodeId, what: &str| of(format!("node {node}"), what);
    let all = |what: String| Some(Told { whom: None, what });
    match kind {
        // As `phalanx run` says it.
        EventKind::JobQueued { .. }
        | EventKind::PodUnreachable { .. }
        | EventKind::PodHeard { .. }
        | EventKind::PodDead { .. }
        | EventKind::GangRestarting { .. }
        | EventKind::NodesAround { .. }
        | EventKind::RanksRestarting { .. } => kind.said(false).and_then(all),
        EventKind::NodeJoined { node: it, .. } => node(it, "joins"),
        EventKind::NodeUnreachable { node: it } => node(it, "cannot be reached by the coordinator"),
        EventKind::NodeReachable { node: it } => node(it, "can be reached again, its pods went on"),
        EventKind::NodeRestarted { node: it } => node(it, "restarted, what ran there is gone"),
        EventKind::NodeClockOff { node: it, ahead_ms } => {
            node(it, &format!("its clock is off by {ahead_ms} ms"))
        }
        EventKind::NodeCordoned { node: it, by, reason } => {
            node(it, &format!("cordoned by {by}{}", after_colon(reason)))
        }
        EventKind::NodeDraining { node: it, by, reason, jobs } => {
            let jobs: Vec<&str> = jobs.iter().map(|job| job.as_str()).collect();
            let there = match jobs.is_empty() {
                true => String::new(),
                false => format!(" (it has pods of {})", jobs.join(", ")),
            };
            node(it, &format!("drained by {by}{}{there}", after_colon(reason)))
        }
        EventKind::NodeUncordoned { node: it, by } => node(it, &format!("gets pods again, says {by}")),
        EventKind::NodeForgotten { node: it, by } => node(it, &format!("forgotten by {by}")),
        EventKind::NodeQuarantined { node: it, why, led_to } => {
            let led_to: String = led_to.iter().map(|line| format!("\n{line}")).collect();
            node(it, &format!("quarantined: {why}{led_to}"))
        }
        EventKind::ReplacementPaused { lost, of } => {
            let lost: Vec<&str> = lost.iter().map(|node| node.as_str()).collect();
            let lost = lost.join(", ");
            all(format!("no gang gets other nodes than it had: too many were lost at once, {lost} of {of}"))
        }
        EventKind::ReplacementResumed { by: Some(by) } => {
            all(format!("gangs get other nodes again, says {by}"))
        }
        EventKind::ReplacementResumed { by: None } => {
            all("gangs get other nodes again, none was lost for a while".to_owned())
        }
        EventKind::JobSubmitted { ranks } => all(format!("submitted: {ranks} ranks")),
        EventKind::GangPlaced { nodes, ranks, .. } => {
            let places = nodes.iter().zip(ranks).map(|(node, ranks)| format!("{node} ({ranks})"));
            all(format!("placed on {}", places.collect::<Vec<_>>().join(", ")))
        }
        EventKind::PodPrepared { node } => of(node.to_string(), "prepared"),
        EventKind::PodNotPrepared { node, reason } => {
            of(node.to_string(), &format!("not prepared: {}", reason.message))
        }
        EventKind::GangReleased => all("all are prepared: the ranks start".to_owned()),
        EventKind::PodStarted { node, .. } => of(node.to_string(), "started"),
        EventKind::RanksReady { ranks, .. } => of(ranks_in_words(ranks), "ready"),
        EventKind::RankNotReady { rank, node, waits } => {
            let why = waits.as_ref().map(|waits| format!(", {}: {}", waits.probe, waits.message));
            of(format!("rank {rank} on {node}"), &format!("not ready any more{}", why.unwrap_or_default()))
        }
        EventKind::GangRunning => all("running".to_owned()),
        EventKind::RankExited { node, exit } => of(format!("rank {} on {node}", exit.rank), &ended(exit)),
        EventKind::StopRequested { by, force } => {
            all(format!("{by} wants it stopped{}", if *force { " at once" } else { "" }))
        }
        EventKind::GangStopping { cause, grace_ms } => {
            all(format!("stopping, with {} s of grace: {}", *grace_ms as f64 / 1e3, cause.with_node()))
        }
        EventKind::CauseRevised { cause } => all(format!("this came first: {}", cause.with_node())),
        EventKind::PodEnded { node, end } => {
            let swept = match end.swept {
                0 => String::new(),
                1 => "; a process that was left behind was killed".to_owned(),
                swept => format!("; {swept} processes that were left behind were killed"),
            };
            let why = match (end.shim_lost, end.lease_lapsed) {
                (true, _) => ", its shim died",
                (_, true) => ", its lease lapsed",
                _ => "",
            };
            of(node.to_string(), &format!("nothing is left{why}{swept}"))
        }
        EventKind::PodAbandoned { node } => {
            all(format!("nobody waits for the pod on {node}, which ends by its lease"))
        }
        EventKind::RankRestarted { node, rank, attempt, .. } => {
            of(format!("rank {rank} on {node}"), &format!("started again, attempt {attempt}"))
        }
        EventKind::JobSuspended => all("suspended".to_owned()),
        EventKind::JobResumed => all("resumed".to_owned()),
        EventKind::JobForgotten => all("forgotten".to_owned()),
        EventKind::InterpretersDiffer { .. } => all("the job's Python is not the same everywhere".to_owned()),
        EventKind::ClockJumped { by_ms } => all(format!("the coordinator's clock jumped by {by_ms} ms")),
        EventKind::Notice { notice } => notice_in_words(notice),
        EventKind::Ignored { what } => all(format!("refused: {what}")),
        EventKind::JobEnded { outcome } => all(outcome_in_words(outcome)),
    }
}

fn after_colon(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

fn ranks_in_words(ranks: &[Rank]) -> String {
    let words: Vec<String> = ranks.iter().map(|rank| rank.to_string()).collect();
    format!("rank{} {}", if ranks.len() == 1 { "" } else { "s" }, words.join(", "))
}

fn ended(exit: &RankExit) -> String {
    let why = match (&exit.probe, &exit.oom, exit.after_stop) {
        (Some(failure), ..) => format!(", ended for its {}: {}", failure.probe, failure.message),
        (None, Some(_), _) => ", out of memory".to_owned(),
        (None, None, true) => ", as it was told to end".to_owned(),
        (None, None, false) if exit.port_conflict => ", a port was in use".to_owned(),
        (None, None, false) => String::new(),
    };
    format!("ended with {}{why}", exit.status)
}

fn notice_in_words(notice: &Notice) -> Option<Told> {
    let what = match notice {
        Notice::PreStopFailed { rank, why } => {
            format!("the preStop hook of rank {rank} failed ({why}); the rank is stopped all the same")
        }
        Notice::Refused { what } => format!("refused: {what}"),
        // The virtual cluster has neither output nor directories.
        Notice::OutputDropped { .. }
        | Notice::OutputRotatedOut { .. }
        | Notice::EnvironmentOverridden { .. }
        | Notice::Directory { .. }
        | Notice::MemoryNotPreferred { .. } => return None,
    };
    Some(Told { whom: None, what })
}

fn outcome_in_words(outcome: &Outcome) -> String {
    let code = outcome.exit_code();
    match outcome {
        Outcome::Succeeded => "SUCCEEDED, exit code 0".to_owned(),
        Outcome::Stopped { first_cause, .. } => {
            format!("STOPPED, exit code {code}: {}", first_cause.with_node())
        }
        Outcome::Failed { first_cause, no_restart, .. } => {
            let why = no_restart.as_ref().map(|why| format!("\n{why}"));
            format!("FAILED, exit code {code}: {}{}", first_cause.with_node(), why.unwrap_or_default())
        }
    }
}
