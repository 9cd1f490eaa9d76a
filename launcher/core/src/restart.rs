//! What a failed generation costs, and whether there is another.

use std::time::Duration;

use phalanx_common::defaults;
use phalanx_common::event::Cause;
use phalanx_common::report::PrepareFailureKind;
use serde::{Deserialize, Serialize};

/// What a job has used up. Changed by records alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accounting {
    /// Restarts paid from `max_restarts`.
    pub restarts: u32,
    /// Restarts after a rank met a port in use.
    pub port_conflicts: u32,
    /// New generations because a port was taken before the ranks were released.
    pub port_retries: u32,
    /// New generations because a node went before the ranks were released.
    pub node_retries: u32,
    /// Paid restarts since the last generation that ran long enough.
    pub backoff_step: u32,
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
}

impl Charge {
    /// Whether the job's budget stays as it is.
    pub fn free(self) -> bool {
        self != Charge::Budget
    }
}

/// What comes after a failed generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Another generation. `fresh` says that the last one ran long enough to begin the backoff anew.
    Restart {
        charge: Charge,
        delay: Duration,
        fresh: bool,
    },
    Fail,
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
pub fn decide(max_restarts: u32, used: &Accounting, cause: &Cause, came: Came) -> Verdict {
    let (conflict, ran) = match came {
        Came::Held { .. } => (false, Duration::ZERO),
        Came::Released { conflict, ran } => (conflict, ran),
    };
    let at_once = |charge| Verdict::Restart { charge, delay: Duration::ZERO, fresh: false };
    match cause {
        Cause::Requested { .. } => return Verdict::Fail,
        Cause::NotPrepared { reason, .. } => match reason.kind {
            // The next generation would meet the same.
            PrepareFailureKind::CommandNotFound
            | PrepareFailureKind::CommandNotExecutable
            | PrepareFailureKind::Job => {
                return Verdict::Fail;
            }
            PrepareFailureKind::PortTaken(_) if used.port_retries < defaults::PORT_RETRIES => {
                return at_once(Charge::PortRetry);
            }
            PrepareFailureKind::Node if came == (Came::Held { elsewhere: true }) => {
                return at_once(Charge::NodeRefused);
            }
            PrepareFailureKind::PortTaken(_) | PrepareFailureKind::Node => {}
        },
        Cause::NodeLost { .. }
            if matches!(came, Came::Held { .. }) && used.node_retries < defaults::NODE_RETRIES =>
        {
            return at_once(Charge::NodeGone);
        }
        Cause::RankFailed { .. } if conflict && used.port_conflicts < defaults::PORT_CONFLICT_RESTARTS => {
            return at_once(Charge::PortConflict);
        }
        _ => {}
    }
    if used.restarts >= max_restarts {
        return Verdict::Fail;
    }
    let fresh = ran >= defaults::BACKOFF_RESET;
    let step = if fresh { 0 } else { used.backoff_step };
    Verdict::Restart { charge: Charge::Budget, delay: backoff(step), fresh }
}

/// The wait before the restart that follows `step` paid ones.
pub fn backoff(step: u32) -> Duration {
    match step.checked_sub(1) {
        None => Duration::ZERO,
        Some(doublings) => {
            let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
            defaults::BACKOFF_INITIAL.saturating_mul(factor).min(defaults::BACKOFF_MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use phalanx_common::exit::ExitStatus;
    use phalanx_common::id::{NodeId, Rank};
    use phalanx_common::report::PrepareFailure;

    fn failed() -> Cause {
        Cause::RankFailed { rank: Rank(0), node: NodeId::new("a"), status: ExitStatus::Code(1) }
    }

    fn ran(conflict: bool, seconds: u64) -> Came {
        Came::Released { conflict, ran: Duration::from_secs(seconds) }
    }

    fn held() -> Came {
        Came::Held { elsewhere: false }
    }

    fn not_prepared(kind: PrepareFailureKind) -> Cause {
        let reason = PrepareFailure { kind, message: String::new() };
        Cause::NotPrepared { node: NodeId::new("a"), reason }
    }

    #[test]
    fn the_first_restart_comes_at_once_and_the_wait_doubles_to_its_cap() {
        let waits: Vec<u64> = (0..9).map(|step| backoff(step).as_secs()).collect();
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff(u32::MAX), defaults::BACKOFF_MAX);
    }

    #[test]
    fn a_long_run_begins_the_backoff_anew() {
        let used = Accounting { restarts: 5, backoff_step: 5, ..Accounting::default() };
        let short = decide(9, &used, &failed(), ran(false, 599));
        let long = decide(9, &used, &failed(), ran(false, 600));
        let delay = Duration::from_secs(16);
        assert_eq!(short, Verdict::Restart { charge: Charge::Budget, delay, fresh: false });
        assert_eq!(long, Verdict::Restart { charge: Charge::Budget, delay: Duration::ZERO, fresh: true });
    }

    #[test]
    fn the_budget_holds_and_a_missing_command_never_restarts() {
        let used = Accounting { restarts: 2, ..Accounting::default() };
        assert_eq!(decide(2, &used, &failed(), ran(false, 0)), Verdict::Fail);
        let missing = not_prepared(PrepareFailureKind::CommandNotFound);
        assert_eq!(decide(9, &used, &missing, ran(false, 0)), Verdict::Fail);
    }

    #[test]
    fn port_trouble_is_free_until_its_own_bound() {
        let mut used = Accounting::default();
        let taken = not_prepared(PrepareFailureKind::PortTaken(1));
        assert!(matches!(
            decide(0, &used, &taken, ran(false, 0)),
            Verdict::Restart { charge: Charge::PortRetry, .. }
        ));
        assert!(matches!(
            decide(0, &used, &failed(), ran(true, 0)),
            Verdict::Restart { charge: Charge::PortConflict, .. }
        ));
        used.port_retries = defaults::PORT_RETRIES;
        used.port_conflicts = defaults::PORT_CONFLICT_RESTARTS;
        assert_eq!(decide(0, &used, &taken, ran(false, 0)), Verdict::Fail);
        assert_eq!(decide(0, &used, &failed(), ran(true, 0)), Verdict::Fail);
    }

    #[test]
    fn a_node_that_goes_before_the_ranks_are_released_costs_nothing_until_its_own_bound() {
        let lost = Cause::NodeLost { node: NodeId::new("a") };
        let mut used = Accounting::default();
        let free = decide(0, &used, &lost, held());
        assert_eq!(free, Verdict::Restart { charge: Charge::NodeGone, delay: Duration::ZERO, fresh: false });
        assert_eq!(decide(0, &used, &lost, ran(false, 0)), Verdict::Fail);
        used.node_retries = defaults::NODE_RETRIES;
        assert_eq!(decide(0, &used, &lost, held()), Verdict::Fail);
    }

    #[test]
    fn a_node_that_cannot_take_its_pod_costs_nothing_while_others_are_left() {
        let refused = not_prepared(PrepareFailureKind::Node);
        let used = Accounting::default();
        assert!(matches!(
            decide(0, &used, &refused, Came::Held { elsewhere: true }),
            Verdict::Restart { charge: Charge::NodeRefused, delay: Duration::ZERO, .. }
        ));
        assert_eq!(decide(0, &used, &refused, held()), Verdict::Fail);
        assert!(matches!(
            decide(1, &used, &refused, held()),
            Verdict::Restart { charge: Charge::Budget, .. }
        ));
    }
}
