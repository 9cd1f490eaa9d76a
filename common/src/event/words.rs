//! What events say to people who wait for a job.

use super::{Cause, EventKind};
use crate::report::PrepareFailureKind;
use crate::spec::RestartScope;

impl EventKind {
    /// In a line; `None`: nothing, or more is needed to say it than the event. `local`: there is one node, and its name
    /// says nothing new.
    pub fn said(&self, local: bool) -> Option<String> {
        let said_of = |cause: &Cause| if local { cause.to_string() } else { cause.with_node() };
        Some(match self {
            EventKind::JobQueued { why } => format!("waiting: {why}"),
            EventKind::GangRestarting { cause, free: true, .. } if placed_again(cause) => {
                format!("{}; no rank ran yet, placing them again without it", cause.with_node())
            }
            EventKind::GangRestarting { cause, restart, max_restarts, delay_ms, free } => {
                let budget = match free {
                    _ if *cause == Cause::Completed => "restartPolicy: Always".to_owned(),
                    true => "restart at no cost".to_owned(),
                    false => format!("restart {restart} of {max_restarts}"),
                };
                format!("{}; restarting the gang {} ({budget})", said_of(cause), when(*delay_ms))
            }
            EventKind::RanksRestarting { node, ranks, step, cause, restart, max_restarts, delay_ms } => {
                let what = match (step, ranks.as_slice()) {
                    (RestartScope::Rank, [rank]) => format!("rank {rank} starts again"),
                    _ => format!("the {} ranks on {node} start again", ranks.len()),
                };
                let step = if *step == RestartScope::Rank { "rank" } else { "pod" };
                let (cause, when) = (said_of(cause), when(*delay_ms));
                format!("{cause}; {what} {when} ({step} restart {restart} of {max_restarts})")
            }
            EventKind::NodesAround { cause_at, notes } => {
                let notes: Vec<String> = notes.iter().map(|note| note.beside(*cause_at)).collect();
                format!("around the failure: {}", notes.join("; "))
            }
            EventKind::PodEnded { end, .. } if !end.survivors.is_empty() => {
                let names: Vec<String> =
                    end.survivors.iter().map(|(pid, name)| format!("{name} (pid {pid})")).collect();
                format!("these processes do not end, the kernel holds them: {}", names.join(", "))
            }
            EventKind::PodUnreachable { node, peers } => {
                let asked =
                    if peers.is_empty() { "none of its peers can be asked" } else { "its peers are asked" };
                format!("{node} is not heard by the coordinator; {asked}")
            }
            EventKind::PodHeard { node, peer } => {
                format!("{node} is alive, {peer} hears it: the job goes on")
            }
            EventKind::PodDead { lapsed: true, node, .. } => format!(
                "the ranks on {node} have ended, or will not be heard again: the coordinator was out of reach there for \
                 longer than their lease (leaseSeconds)"
            ),
            EventKind::PodDead { node, waits, .. } => {
                let waits = waits.map(|waits| {
                    let seconds = waits.as_secs();
                    format!("; its ranks end by their lease, and the job goes on without it in {seconds} s")
                });
                let waits = waits.unwrap_or_default();
                format!("{node} is dead: neither the coordinator nor its peers hear it{waits}")
            }
            _ => return None,
        })
    }
}

/// When a restart comes that waits so long.
fn when(delay_ms: u64) -> String {
    match delay_ms {
        0 => "at once".to_owned(),
        millis => format!("in {:.1} s", millis as f64 / 1e3),
    }
}

/// A node was left out before any rank was released: the job begins only now.
fn placed_again(cause: &Cause) -> bool {
    match cause {
        Cause::NodeLost { .. } => true,
        Cause::NotPrepared { reason, .. } => reason.kind == PrepareFailureKind::Node,
        _ => false,
    }
}
