use phalanx_common::id::Rank;
use phalanx_common::report::PrepareFailure;
use phalanx_common::spec::{Backoff, ExitCodes, FailureRule};

use super::*;
use crate::testing::job;

const NOW: Timestamp = Timestamp(1_000_000_000_000);

fn on(node: &str, status: ExitStatus) -> Cause {
    Cause::RankFailed { rank: Rank(0), node: NodeId::new(node), status }
}

fn failed() -> Cause {
    on("a", ExitStatus::Code(1))
}

fn lost() -> Cause {
    Cause::NodeLost { node: NodeId::new("a") }
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

fn spec(max_restarts: u32, change: impl FnOnce(&mut Recovery)) -> JobSpec {
    let mut spec = job("name: j");
    spec.max_restarts = max_restarts;
    change(&mut spec.recovery);
    spec
}

fn plain(max_restarts: u32) -> JobSpec {
    spec(max_restarts, |_| {})
}

fn rule(exit_codes: ExitCodes, action: FailureAction) -> FailureRule {
    FailureRule { exit_codes: Some(exit_codes), signals: [].into(), reasons: [].into(), action }
}

fn of(spec: &JobSpec, used: &Accounting, cause: &Cause, came: Came) -> Verdict {
    decide(spec, used, cause, came, NOW)
}

fn charge(verdict: &Verdict) -> Option<Charge> {
    match verdict {
        Verdict::Restart { charge, .. } => Some(*charge),
        Verdict::Fail(_) => None,
    }
}

#[test]
fn a_long_run_begins_the_backoff_anew() {
    let used = Accounting { restarts: 5, backoff_step: 5, ..Accounting::default() };
    let waits = |seconds| match of(&plain(9), &used, &failed(), ran(false, seconds)) {
        Verdict::Restart { delay, progress, charge: Charge::Budget, shun: None } => {
            (delay.as_secs(), progress)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!([599, 600].map(waits), [(16, Progress::Some), (0, Progress::Long)]);
}

#[test]
fn the_budget_holds_and_is_said_where_there_was_one() {
    let used = Accounting { restarts: 2, ..Accounting::default() };
    let over = NoRestart::Budget { max: 2, window: None };
    assert_eq!(of(&plain(2), &used, &failed(), ran(false, 0)), Verdict::Fail(Some(over)));
    assert_eq!(of(&plain(0), &Accounting::default(), &failed(), ran(false, 0)), Verdict::Fail(None));
    let missing = not_prepared(PrepareFailureKind::CommandNotFound);
    let hopeless = Verdict::Fail(Some(NoRestart::Hopeless));
    assert_eq!(of(&plain(9), &used, &missing, ran(false, 0)), hopeless);
    assert_eq!(of(&plain(0), &used, &missing, ran(false, 0)), Verdict::Fail(None));
}

#[test]
fn a_window_forgets_what_is_older_than_itself() {
    let window = Some(Duration::from_secs(3600));
    let spec = spec(2, |recovery| recovery.window = window);
    let at = |before: u64| Timestamp(NOW.0 - before * 1_000_000);
    let used = |recent: Vec<Timestamp>| Accounting { restarts: 7, recent, ..Accounting::default() };
    let full = of(&spec, &used(vec![at(3599), at(1)]), &failed(), ran(false, 60));
    assert_eq!(full, Verdict::Fail(Some(NoRestart::Budget { max: 2, window })));
    let free = of(&spec, &used(vec![at(3600), at(1)]), &failed(), ran(false, 60));
    assert_eq!(charge(&free), Some(Charge::Budget));
}

#[test]
fn port_trouble_is_free_until_its_own_bound() {
    let mut used = Accounting::default();
    let taken = not_prepared(PrepareFailureKind::PortTaken(1));
    assert_eq!(charge(&of(&plain(0), &used, &taken, held())), Some(Charge::PortRetry));
    assert_eq!(charge(&of(&plain(0), &used, &failed(), ran(true, 0))), Some(Charge::PortConflict));
    used.port_retries = defaults::PORT_RETRIES;
    used.port_conflicts = defaults::PORT_CONFLICT_RESTARTS;
    assert_eq!(of(&plain(0), &used, &taken, held()), Verdict::Fail(None));
    assert_eq!(of(&plain(0), &used, &failed(), ran(true, 0)), Verdict::Fail(None));
}

#[test]
fn a_node_that_goes_before_the_ranks_are_released_costs_nothing_until_its_own_bound() {
    let mut used = Accounting::default();
    let free = of(&plain(0), &used, &lost(), held());
    let (delay, progress) = (Duration::ZERO, Progress::Unknown);
    let shun = Some(NodeId::new("a"));
    assert_eq!(free, Verdict::Restart { charge: Charge::NodeGone, delay, progress, shun });
    assert_eq!(of(&plain(0), &used, &lost(), ran(false, 0)), Verdict::Fail(None));
    used.node_retries = defaults::NODE_RETRIES;
    assert_eq!(of(&plain(0), &used, &lost(), held()), Verdict::Fail(None));
}

#[test]
fn a_node_that_cannot_take_its_pod_costs_nothing_while_others_are_left() {
    let refused = not_prepared(PrepareFailureKind::Node);
    let used = Accounting::default();
    let free = of(&plain(0), &used, &refused, Came::Held { elsewhere: true });
    assert_eq!(charge(&free), Some(Charge::NodeRefused));
    assert_eq!(of(&plain(0), &used, &refused, held()), Verdict::Fail(None));
    assert_eq!(charge(&of(&plain(1), &used, &refused, held())), Some(Charge::Budget));
}

#[test]
fn code_93_ends_the_job_unless_a_rule_says_otherwise() {
    let asked = on("a", ExitStatus::Code(DO_NOT_RESTART));
    let used = Accounting::default();
    let end = Verdict::Fail(Some(NoRestart::ExitCode { code: 93 }));
    assert_eq!(of(&plain(3), &used, &asked, ran(false, 60)), end);
    let wanted = spec(3, |it| it.rules = vec![rule(ExitCodes::In([93].into()), FailureAction::RestartGang)]);
    assert_eq!(charge(&of(&wanted, &used, &asked, ran(false, 60))), Some(Charge::Budget));
}

#[test]
fn the_first_rule_that_matches_decides() {
    let rules = vec![
        FailureRule {
            exit_codes: None,
            signals: [9].into(),
            reasons: [FailureReason::NodeLost].into(),
            action: FailureAction::Ignore,
        },
        rule(ExitCodes::NotIn([7].into()), FailureAction::FailJob),
        rule(ExitCodes::In([7].into()), FailureAction::ReplaceNode),
    ];
    let spec = spec(1, |recovery| recovery.rules = rules);
    let used = Accounting { restarts: 1, ..Accounting::default() };
    let long = ran(false, 60);
    assert_eq!(charge(&of(&spec, &used, &on("a", ExitStatus::Signal(9)), long)), Some(Charge::Ignored));
    assert_eq!(charge(&of(&spec, &used, &lost(), long)), Some(Charge::Ignored));
    assert_eq!(of(&spec, &used, &failed(), long), Verdict::Fail(Some(NoRestart::Rule { rule: 1 })));
    // Matched by none: what is usual, and the budget is gone.
    let over = Verdict::Fail(Some(NoRestart::Budget { max: 1, window: None }));
    assert_eq!(of(&spec, &used, &on("a", ExitStatus::Signal(6)), long), over);
    match of(&spec, &Accounting::default(), &on("b", ExitStatus::Code(7)), long) {
        Verdict::Restart { charge: Charge::Replacement, shun: Some(node), .. } => {
            assert_eq!(node.as_str(), "b")
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_node_that_is_blamed_twice_in_a_row_is_left_as_often_as_it_may_be() {
    let blamed = |node: &str| Some((NodeId::new(node), 1));
    let leaves = |most: Option<u32>, replacements, before: &str, seconds| {
        let spec = spec(9, |recovery| recovery.replace_node = most);
        let used = Accounting { replacements, blamed: blamed(before), ..Accounting::default() };
        charge(&of(&spec, &used, &failed(), ran(false, seconds)))
    };
    assert_eq!(leaves(None, 5, "a", 60), Some(Charge::Replacement));
    assert_eq!(leaves(None, 5, "b", 60), Some(Charge::Budget));
    assert_eq!(leaves(Some(1), 0, "a", 60), Some(Charge::Replacement));
    assert_eq!(leaves(Some(1), 1, "a", 60), Some(Charge::Budget));
    // It ran long in between: what was before says nothing of it.
    assert_eq!(leaves(None, 0, "a", 600), Some(Charge::Budget));
}

#[test]
fn generations_that_come_to_nothing_end_the_job_and_lost_nodes_do_not_count() {
    let used = Accounting { barren: 2, ..Accounting::default() };
    let end = Verdict::Fail(Some(NoRestart::NoProgress { generations: 3 }));
    assert_eq!(of(&plain(9), &used, &failed(), ran(false, 9)), end);
    assert_eq!(charge(&of(&plain(9), &used, &failed(), ran(false, 10))), Some(Charge::Budget));
    assert_eq!(charge(&of(&plain(9), &used, &lost(), ran(false, 9))), Some(Charge::Budget));
    let endless = spec(9, |recovery| recovery.no_progress = 0);
    assert_eq!(charge(&of(&endless, &used, &failed(), ran(false, 9))), Some(Charge::Budget));
}

#[test]
fn a_policy_of_never_starts_nothing_that_ran_again() {
    let never = spec(0, |recovery| recovery.policy = RestartPolicy::Never);
    let used = Accounting::default();
    assert_eq!(of(&never, &used, &failed(), ran(false, 60)), Verdict::Fail(Some(NoRestart::Policy)));
    assert_eq!(charge(&of(&never, &used, &lost(), held())), Some(Charge::NodeGone));
}

#[test]
fn a_gang_that_ended_well_starts_again_only_if_it_is_to_run_always() {
    let used = Accounting { backoff_step: 3, ..Accounting::default() };
    assert_eq!(decide_completed(&plain(9), &used, Duration::ZERO), None);
    let always = spec(0, |recovery| {
        recovery.policy = RestartPolicy::Always;
        recovery.backoff = Backoff { initial: Duration::from_secs(5), max: Duration::from_secs(7) };
    });
    let (charge, progress) = (Charge::Completed, Progress::Some);
    let again = Verdict::Restart { charge, delay: Duration::from_secs(7), progress, shun: None };
    assert_eq!(decide_completed(&always, &used, Duration::ZERO), Some(again));
}
