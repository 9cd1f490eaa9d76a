//! What a job says of failures: what it means, what cannot be, and that it comes back as it was sent.

use std::collections::BTreeSet;
use std::time::Duration;

use phalanx_common::spec::{
    Backoff, ExitCodes, FailureAction, FailureReason, FailureRule, Flags, InPlace, JobSpec, Recovery,
    RestartPolicy, RestartScope,
};
use proptest::prelude::*;

use crate::{run_in_cluster, some};

fn job(text: &str) -> JobSpec {
    told(text, &Flags::default()).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

fn told(text: &str, flags: &Flags) -> Result<JobSpec, String> {
    run_in_cluster(&format!("command: [a]\n{text}\n"), flags)
}

/// What is said, without the excerpts. The command stands in the first line.
fn said(text: &str) -> Vec<String> {
    let error = match told(text, &Flags::default()) {
        Ok(job) => return vec![format!("{:?}", job.recovery)],
        Err(error) => error,
    };
    let lines = error.lines().filter(|line| !line.starts_with("  "));
    lines.map(|line| line.strip_prefix("job.yaml:").unwrap_or(line).to_owned()).collect()
}

#[test]
fn everything_that_can_be_said_of_failures_is_read() {
    let text = "\
resources: {devices: {count: 1}, memoryLimit: 1Gi}
restartPolicy: Always
restartScope: rank
restartBudget:
  gang: {max: 5, window: 1.5h, backoff: {initial: 250ms, max: 2m}}
  rank: {max: 9, window: 1m, backoff: {max: 4s}}
  pod: {max: 0}
  replaceNode: {max: 2}
  noProgress: 0
failureRules:
  - {exitCodes: [93, 94], action: FailJob}
  - {signals: [KILL, sigsegv], reasons: [NodeLost], action: ReplaceNode}
  - {exitCodes: [5], action: RestartRank}
  - {reasons: [OOMKilled, DeviceError], action: RestartGang}
  - {exitCodes: {operator: NotIn, values: [1]}, action: Ignore}
";
    let job = job(text);
    assert_eq!(job.max_restarts, 5);
    let rule = |exit_codes, signals: &[u8], reasons: &[FailureReason], action| FailureRule {
        exit_codes,
        signals: signals.iter().copied().collect(),
        reasons: reasons.iter().copied().collect(),
        action,
    };
    assert_eq!(
        job.recovery,
        Recovery {
            policy: RestartPolicy::Always,
            rules: vec![
                rule(Some(ExitCodes::In([93, 94].into())), &[], &[], FailureAction::FailJob),
                rule(None, &[9, 11], &[FailureReason::NodeLost], FailureAction::ReplaceNode),
                rule(Some(ExitCodes::In([5].into())), &[], &[], FailureAction::RestartRank),
                rule(
                    None,
                    &[],
                    &[FailureReason::OomKilled, FailureReason::DeviceError],
                    FailureAction::RestartGang
                ),
                rule(Some(ExitCodes::NotIn([1].into())), &[], &[], FailureAction::Ignore),
            ],
            window: Some(Duration::from_secs(5400)),
            backoff: Backoff { initial: Duration::from_millis(250), max: Duration::from_secs(120) },
            scope: RestartScope::Rank,
            rank: InPlace {
                max: Some(9),
                window: Some(Duration::from_secs(60)),
                backoff: Backoff { initial: Duration::from_secs(1), max: Duration::from_secs(4) },
            },
            pod: InPlace { max: Some(0), ..InPlace::default() },
            replace_node: Some(2),
            no_progress: 0,
        }
    );
}

#[test]
fn flags_win_and_a_short_longest_wait_shortens_the_first() {
    let flags = Flags { max_restarts: some("7"), restart_policy: some("OnFailure"), ..Flags::default() };
    let text = "restartBudget: {gang: {max: 5, backoff: {max: 200ms}}}\nrestartPolicy: Always";
    let job = told(text, &flags).unwrap();
    assert_eq!((job.max_restarts, job.recovery.policy), (7, RestartPolicy::OnFailure));
    let short = Duration::from_millis(200);
    assert_eq!(job.recovery.backoff, Backoff { initial: short, max: short });
    let never = Flags { restart_policy: some("never"), ..Flags::default() };
    assert_eq!(
        told("", &never).unwrap_err(),
        "--restart-policy never: expected one of Never, OnFailure, Always; did you mean \"Never\"?"
    );
}

const WRONG: &[(&str, &[&str])] = &[
    (
        "restartPolicy: Sometimes",
        &["2:16: restartPolicy: expected one of Never, OnFailure, Always, found the string \"Sometimes\""],
    ),
    (
        "maxRestarts: 3\nrestartPolicy: Never",
        &["2:14: maxRestarts: restartPolicy is Never (job.yaml:3:16), so there are no restarts to count"],
    ),
    (
        "maxRestarts: 3\nrestartBudget: {gang: {max: 4}}",
        &[
            "3:29: restartBudget.gang.max: maxRestarts is 3 (job.yaml:2:14), and this says 4; leave one of the two out",
        ],
    ),
    (
        "restartBudget: {gang: {window: 1h}}",
        &[
            "2:32: restartBudget.gang.window: the window has nothing to count: give the restarts within it, as `max` beside it",
        ],
    ),
    (
        "restartBudget: {gang: {max: 20000, window: -1}}",
        &[
            "2:44: restartBudget.gang.window: expected a time above 0: seconds, or a number with ms, s, m, h or d, such as 1h, found -1",
        ],
    ),
    (
        "restartBudget: {gang: {max: 20000, window: 1h}}",
        &["2:44: restartBudget.gang.window: 20000 restarts within a window; at most 10000 are counted"],
    ),
    (
        "maxRestarts: 1\nrestartBudget: {gang: {backoff: {initial: 2m, max: 60}}}",
        &[
            "3:43: restartBudget.gang.backoff.initial: the first wait is longer than the longest one (job.yaml:3:52)",
        ],
    ),
    (
        "failureRules: []",
        &[
            "2:15: failureRules: a list of rules such as `{exitCodes: [93], action: FailJob}` has from 1 to 20 items, and this one has 0",
        ],
    ),
    (
        "failureRules: [{action: FailJob}]",
        &["2:16: failureRules[0]: a rule needs what it matches: exitCodes, signals or reasons"],
    ),
    (
        "failureRules: [{exitCodes: [1]}]",
        &[
            "2:16: failureRules[0]: a rule needs an action: one of RestartGang, ReplaceNode, FailJob, Ignore, RestartRank, RestartPod",
        ],
    ),
    (
        "failureRules: [{exitCodes: [0, 256, -1], action: FailJob}]",
        &[
            "2:29: failureRules[0].exitCodes[0]: expected a whole number from 1 to 255, found 0",
            "2:32: failureRules[0].exitCodes[1]: expected a whole number from 1 to 255, found 256",
            "2:37: failureRules[0].exitCodes[2]: expected a whole number from 1 to 255, found -1",
        ],
    ),
    (
        "failureRules: [{exitCodes: [7, 7], action: FailJob}]",
        &["2:32: failureRules[0].exitCodes: 7 stands in the list a second time"],
    ),
    (
        "failureRules: [{exitCodes: {values: [7]}, action: FailJob}]",
        &[
            "2:28: failureRules[0].exitCodes: the operator is missing: write `{operator: In, values: [93]}` or a list alone",
        ],
    ),
    (
        "failureRules: [{signals: [SIGKIL], reasons: [NodeLos], action: Stop}]",
        &[
            "2:27: failureRules[0].signals[0]: expected the name of a signal, such as SIGKILL, found the string \"SIGKIL\"; did you mean \"SIGKILL\"?",
            "2:46: failureRules[0].reasons[0]: expected one of NodeLost, StartTimeout, ProbeFailed, InitFailed, OOMKilled, DeviceError, found the string \"NodeLos\"; did you mean \"NodeLost\"?",
            "2:64: failureRules[0].action: expected one of RestartGang, ReplaceNode, FailJob, Ignore, RestartRank, RestartPod, found the string \"Stop\"",
        ],
    ),
    (
        "maxRestarts: 1\nfailureRules:\n- {exitCodes: {operator: NotIn, values: [7]}, action: FailJob}\n- {exitCodes: [6], signals: [SIGKILL], action: FailJob}\n- {exitCodes: [5, 6], action: RestartGang}",
        &["6:3: failureRules[2]: this can never match: the rule at job.yaml:4:3 takes all of it"],
    ),
    (
        "failureRules: [{exitCodes: [7], action: RestartGang}]",
        &[
            "2:41: failureRules[0].action: RestartGang is a restart, and the job may have none: give it some with maxRestarts",
        ],
    ),
    (
        "restartPolicy: Never\nfailureRules: [{exitCodes: [7], action: Ignore}]",
        &[
            "3:41: failureRules[0].action: Ignore starts ranks again, and restartPolicy is Never (job.yaml:2:16)",
        ],
    ),
    (
        "failureRules: [{reasons: [ProbeFailed], action: FailJob}]",
        &[
            "2:27: failureRules[0].reasons: no rank is ended for a probe: the job has neither startupProbe nor livenessProbe, and no postStart hook",
        ],
    ),
    (
        "restartScope: node",
        &["2:15: restartScope: expected one of rank, pod, gang, found the string \"node\""],
    ),
    (
        "restartScope: rank",
        &[
            "2:15: restartScope: no rank can start again: give the job restarts with maxRestarts, or the step with restartBudget.rank.max",
        ],
    ),
    (
        "restartScope: pod\nrestartPolicy: Never",
        &[
            "2:15: restartScope: restartPolicy is Never (job.yaml:3:16), so nothing starts again",
            "2:15: restartScope: no pod can start again: give the job restarts with maxRestarts, or the step with restartBudget.pod.max",
        ],
    ),
    (
        "maxRestarts: 1\nrestartBudget: {rank: {max: 3}, pod: {window: 1h, backoff: {initial: 2m}}}",
        &[
            "3:29: restartBudget.rank: no rank starts again by itself: this counts with `restartScope: rank`, or with a rule for it",
            "3:47: restartBudget.pod: no pod starts again by itself: this counts with `restartScope: pod`, or with a rule for it",
        ],
    ),
    (
        "failureRules: [{exitCodes: [7], action: RestartRank}]",
        &[
            "2:41: failureRules[0].action: RestartRank is a restart, and the job may have none: give it some with maxRestarts",
        ],
    ),
    (
        "maxRestarts: 1\nfailureRules: [{exitCodes: [7], reasons: [NodeLost], action: RestartPod}]",
        &[
            "3:62: failureRules[0].action: RestartPod is for ranks that ended, and after NodeLost none is left to be started again where it was; RestartGang is",
        ],
    ),
    (
        "failureRules: [{reasons: [OOMKilled, DeviceError], action: FailJob}]",
        &[
            "2:27: failureRules[0].reasons: no rank is ended for want of memory: give each its limit, with resources.memoryLimit",
            "2:38: failureRules[0].reasons: no device is the job's: ask for some with resources.devices",
        ],
    ),
    (
        "maxRestarts: 1\nfailureRules: [{reasons: [StartTimeout], action: ReplaceNode}]",
        &[
            "3:50: failureRules[0].action: after StartTimeout no node is blamed that another could replace; RestartGang is",
        ],
    ),
    (
        "restartBudget: {replaceNode: {max: 1}}",
        &[
            "2:36: restartBudget.replaceNode.max: no node is replaced in a job that never starts again: give it restarts with maxRestarts",
        ],
    ),
    (
        "resources: {memoryLimit: 1Mi}",
        &["2:26: resources.memoryLimit: no program runs in so little; a limit is at least 4.0 MiB"],
    ),
    (
        "resources: {memory: 2Gi, memoryLimit: 1Gi}",
        &[
            "2:39: resources.memoryLimit: the limit is below the memory that each rank is given (job.yaml:2:21)",
        ],
    ),
    (
        "restartBudget: {gangs: 1, replaceNode: {window: 1h}}",
        &[
            "2:17: unknown key \"gangs\" in restartBudget; did you mean \"gang\"?",
            "2:41: unknown key \"window\" in restartBudget.replaceNode; expected one of max",
        ],
    ),
];

#[test]
fn what_cannot_be_is_refused_with_its_place() {
    for (text, expected) in WRONG {
        assert_eq!(said(text), *expected, "{text}");
    }
}

fn recovery() -> impl Strategy<Value = (Recovery, u32)> {
    let micros = || (1..=1_000_000_000_000_000u64).prop_map(Duration::from_micros);
    let policy = prop::sample::select(vec![RestartPolicy::OnFailure, RestartPolicy::Always]);
    let scope = prop::sample::select(vec![RestartScope::Gang, RestartScope::Pod, RestartScope::Rank]);
    let backoff = (micros(), micros()).prop_map(|(a, b)| Backoff { initial: a.min(b), max: a.max(b) });
    let step = (prop::option::of(1..=10_000u32), prop::option::of(micros()), backoff)
        .prop_map(|(max, window, backoff)| InPlace { max, window, backoff });
    let in_place = (scope, step.clone(), step);
    let action = prop::sample::select(vec![
        FailureAction::RestartGang,
        FailureAction::ReplaceNode,
        FailureAction::FailJob,
        FailureAction::Ignore,
    ]);
    // Each rule has codes of its own, so that none is in another's shadow.
    let rules = prop::collection::vec((any::<bool>(), any::<bool>(), action), 0..8).prop_map(|rules| {
        let rule = |(first, (signal, lost, action)): (u8, (bool, bool, FailureAction))| FailureRule {
            exit_codes: Some(ExitCodes::In(BTreeSet::from([first, first + 100]))),
            signals: if signal { [first].into() } else { [].into() },
            reasons: if lost { [FailureReason::NodeLost].into() } else { [].into() },
            action,
        };
        (1..).zip(rules).map(rule).collect::<Vec<_>>()
    });
    let times = (prop::option::of(micros()), micros(), micros());
    let counts = (1..=10_000u32, prop::option::of(any::<u32>()), any::<u32>());
    (policy, rules, times, counts, in_place).prop_map(
        |(policy, rules, (window, a, b), (max, replace_node, no_progress), (scope, rank, pod))| {
            let backoff = Backoff { initial: a.min(b), max: a.max(b) };
            // A budget that no scope and no rule uses is refused.
            let rank = if scope == RestartScope::Rank { rank } else { InPlace::default() };
            let pod = if scope == RestartScope::Gang { InPlace::default() } else { pod };
            (Recovery { policy, rules, window, backoff, scope, rank, pod, replace_node, no_progress }, max)
        },
    )
}

proptest! {
    #[test]
    fn what_a_client_sends_comes_back_as_it_was((recovery, max_restarts) in recovery()) {
        let sent = JobSpec { recovery, max_restarts, ..job("output: {logDir: /l}") };
        let document = sent.to_document();
        prop_assert_eq!(JobSpec::from_document(document.as_bytes()).map_err(|error| error.to_string()), Ok(sent));
    }
}
