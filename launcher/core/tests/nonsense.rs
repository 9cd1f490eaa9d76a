//! Whatever a worker, a user or a clock may say: the coordinator stands, and its records tell its state.

use std::net::IpAddr;
use std::time::Duration;

use phalanx_common::exit::ExitStatus;
use phalanx_common::health::{ProbeFailure, ProbeWord, Question, RankHealth};
use phalanx_common::id::{Epoch, Generation, Incarnation, JobId, NodeId, Rank};
use phalanx_common::identity::Owner;
use phalanx_common::order::OrderKind;
use phalanx_common::report::{
    NodeReport, PodEnd, PodPhase, PodStatus, PrepareFailure, PrepareFailureKind, RankExit, Report,
};
use phalanx_common::spec::{
    ExitCodes, FailureAction, FailureReason, FailureRule, JobSpec, Probe, ProbeHandler, Probes, Recovery,
    RestartPolicy, Shape,
};
use phalanx_common::time::Timestamp;
use phalanx_launcher_core::{Command, Config, Coordinator, Durable, Input, Record};
use proptest::prelude::*;

fn node() -> impl Strategy<Value = NodeId> {
    prop_oneof![Just("a"), Just("b"), Just("c")].prop_map(NodeId::new)
}

fn job() -> impl Strategy<Value = JobId> {
    prop_oneof![4 => Just("j"), 2 => Just("k"), 1 => Just("never")].prop_map(JobId::from_existing)
}

fn generation() -> impl Strategy<Value = Generation> {
    prop_oneof![5 => Just(1), 3 => Just(2), 1 => Just(3), 1 => Just(u32::MAX)].prop_map(Generation)
}

fn status() -> impl Strategy<Value = ExitStatus> {
    prop_oneof![3 => Just(ExitStatus::SUCCESS), 1 => any::<u8>().prop_map(ExitStatus::Code), 1 => Just(ExitStatus::Signal(9))]
}

fn exit() -> impl Strategy<Value = RankExit> {
    let probe = proptest::option::weighted(
        0.2,
        any::<u32>().prop_map(|at| ProbeFailure {
            probe: Question::Liveness,
            message: String::new(),
            at: Timestamp(u64::from(at)),
        }),
    );
    (0..4u32, status(), any::<u32>(), any::<bool>(), any::<bool>(), probe).prop_map(
        |(rank, status, at, after_stop, port_conflict, probe)| RankExit {
            rank: Rank(rank),
            attempt: 0,
            status,
            at: Timestamp(u64::from(at)),
            after_stop,
            port_conflict,
            stderr_tail: Vec::new(),
            stdout_tail: Vec::new(),
            error_file: None,
            probe,
            oom: None,
        },
    )
}

fn healths() -> impl Strategy<Value = Vec<RankHealth>> {
    let health = (0..5u32, any::<bool>(), any::<bool>()).prop_map(|(rank, ready, waits)| RankHealth {
        rank: Rank(rank),
        ready,
        waits: waits.then(|| ProbeWord { probe: Question::Readiness, message: String::new() }),
        status: None,
    });
    proptest::collection::vec(health, 0..3)
}

fn failure() -> impl Strategy<Value = PrepareFailure> {
    let kinds = prop_oneof![
        Just(PrepareFailureKind::CommandNotFound),
        Just(PrepareFailureKind::Init),
        any::<u16>().prop_map(PrepareFailureKind::PortTaken),
        Just(PrepareFailureKind::Node),
    ];
    kinds.prop_map(|kind| PrepareFailure { kind, message: String::new() })
}

fn phase() -> impl Strategy<Value = PodPhase> {
    prop_oneof![
        Just(PodPhase::Preparing),
        Just(PodPhase::Prepared),
        Just(PodPhase::Releasing),
        Just(PodPhase::Started),
        Just(PodPhase::Stopping),
        Just(PodPhase::Ended),
    ]
}

fn end() -> impl Strategy<Value = PodEnd> {
    (any::<bool>(), any::<bool>()).prop_map(|(shim_lost, lease_lapsed)| PodEnd {
        shim_lost,
        lease_lapsed,
        ..PodEnd::default()
    })
}

fn pod_status() -> impl Strategy<Value = PodStatus> {
    let exits = proptest::collection::vec(exit(), 0..3);
    let pids = proptest::collection::vec(any::<u32>(), 0..3);
    let not_prepared = proptest::option::weighted(0.2, failure());
    let attempts = proptest::collection::vec(((0..5u32).prop_map(Rank), 0..4u32), 0..3);
    let told = (pids, healths(), attempts);
    (job(), generation(), phase(), not_prepared, any::<bool>(), exits, proptest::option::of(end()), told)
        .prop_map(
            |(job, generation, phase, not_prepared, suspended, exits, end, (pids, health, attempts))| {
                PodStatus {
                    job,
                    generation,
                    phase,
                    not_prepared,
                    suspended,
                    exits,
                    end,
                    pids,
                    health,
                    attempts,
                }
            },
        )
}

fn report() -> impl Strategy<Value = (NodeId, Report)> {
    let pods = proptest::collection::vec(pod_status(), 0..3);
    let hello = (node(), 1..3u64, pods, 1..5u16).prop_map(|(node, incarnation, pods, ports)| {
        let report = NodeReport {
            node: node.clone(),
            incarnation: Incarnation(incarnation),
            host_name: "host".into(),
            cores: 1,
            slots: 4,
            user: None,
            clock: Timestamp(0),
            version: "1".into(),
            ports: (100, 100 + ports),
            address: IpAddr::from([127, 0, 0, 1]),
            interface: None,
            networks: Vec::new(),
            pods,
        };
        (node, Report::Hello(Box::new(report)))
    });
    let about = || (job(), generation());
    let told = prop_oneof![
        about().prop_map(|(job, generation)| Report::Prepared { job, generation, interpreter: None }),
        (about(), failure()).prop_map(|((job, generation), reason)| Report::NotPrepared {
            job,
            generation,
            reason
        }),
        about().prop_map(|(job, generation)| Report::Started { job, generation, pids: vec![1] }),
        (about(), exit()).prop_map(|((job, generation), exit)| Report::Exited { job, generation, exit }),
        (about(), end()).prop_map(|((job, generation), end)| Report::PodEnded { job, generation, end }),
        (about(), healths()).prop_map(|((job, generation), ranks)| Report::Health { job, generation, ranks }),
    ];
    prop_oneof![1 => hello, 4 => (node(), told)]
}

fn gated() -> Probes {
    let readiness = Probe {
        handler: ProbeHandler::Notify,
        initial_delay: Duration::ZERO,
        timeout: Duration::from_secs(1),
        period: Duration::from_secs(1),
        success_threshold: 1,
        failure_threshold: 1,
        grace: None,
    };
    Probes { readiness: Some(readiness), ..Probes::default() }
}

fn spec() -> impl Strategy<Value = Box<JobSpec>> {
    (0..3u32, 0..3u32, 0..3u32, recovery()).prop_map(|(nodes, ranks_per_node, max_restarts, recovery)| {
        Box::new(JobSpec {
            start_timeout: Duration::from_secs(10),
            termination_grace: Duration::from_secs(1),
            max_restarts,
            recovery,
            probes: if max_restarts == 1 { gated() } else { Probes::default() },
            ..JobSpec::of("j", Shape::Nodes { nodes, ranks_per_node }, &["true"])
        })
    })
}

fn recovery() -> impl Strategy<Value = Recovery> {
    let policy =
        prop::sample::select(vec![RestartPolicy::Never, RestartPolicy::OnFailure, RestartPolicy::Always]);
    let action = prop::sample::select(vec![
        FailureAction::RestartGang,
        FailureAction::ReplaceNode,
        FailureAction::FailJob,
        FailureAction::Ignore,
    ]);
    let rule = (action, any::<bool>()).prop_map(|(action, lost)| FailureRule {
        exit_codes: Some(ExitCodes::NotIn([7].into())),
        signals: [9].into(),
        reasons: if lost { [FailureReason::NodeLost].into() } else { [].into() },
        action,
    });
    let window = prop::option::of(Just(Duration::from_secs(30)));
    (policy, prop::collection::vec(rule, 0..2), window, 0..3u32, prop::option::of(0..2u32)).prop_map(
        |(policy, rules, window, no_progress, replace_node)| Recovery {
            policy,
            rules,
            window,
            no_progress,
            replace_node,
            ..Recovery::default()
        },
    )
}

/// An input, or the passing of time until deadlines are due.
fn step() -> impl Strategy<Value = Option<Input>> {
    prop_oneof![
        2 => (job(), spec()).prop_map(|(job, spec)| Some(Input::Submit {
            job,
            spec,
            owner: Owner { name: "ann".into(), unix_user: None }, attached: false
        })),
        12 => report().prop_map(|(node, report)| Some(Input::Report { node, report })),
        2 => node().prop_map(|node| Some(Input::NodeDisconnected { node })),
        1 => (job(), status(), any::<bool>())
            .prop_map(|(job, status, force)| Some(Input::Stop { job, by: "x".into(), status, force })),
        1 => job().prop_map(|job| Some(Input::Suspend { job })),
        1 => job().prop_map(|job| Some(Input::Resume { job })),
        1 => any::<i64>().prop_map(|by_micros| Some(Input::ClockJumped { by_micros })),
        3 => Just(None),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn nothing_said_breaks_the_coordinator(steps in proptest::collection::vec(step(), 1..60), lease in any::<bool>()) {
        let config = Config { cluster: lease, port_salt: u64::MAX, ended_kept: Duration::from_secs(5), ended_kept_most: 1 };
        let mut coordinator = Coordinator::new(config.clone(), Epoch(1), &[]);
        let mut records: Vec<Record> = Vec::new();
        let mut now = Timestamp(1_000_000_000);
        for (number, step) in steps.into_iter().enumerate() {
            now = now + Duration::from_millis(700);
            match step {
                Some(input) => coordinator.handle(now, input),
                None => coordinator.handle_timeout(now + Duration::from_secs(8)),
            }
            while let Some(command) = coordinator.poll_command() {
                match command {
                    Command::Persist(record) => records.push(record),
                    Command::Send { order, .. } => {
                        prop_assert_eq!(order.epoch, coordinator.epoch());
                        if let OrderKind::Go { job, generation } = order.kind {
                            let released = records.iter().any(|record| matches!(record,
                                Record::Released { job: j, generation: g, .. } if *j == job && *g == generation));
                            prop_assert!(released, "Go of {} {} without its record", job, generation);
                        }
                    }
                }
            }
            while coordinator.poll_event().is_some() {}
            prop_assert_eq!(&Durable::replay(&records), coordinator.durable());
            if number % 16 == 15 {
                coordinator = Coordinator::new(config.clone(), coordinator.epoch(), &records);
            }
        }
    }
}
