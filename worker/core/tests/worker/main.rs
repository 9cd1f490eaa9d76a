//! The worker alone, fed by hand: what it asks of shims and reports, in which order.

use std::time::Duration;

use phalanx_common::defaults;
use phalanx_common::exit::ExitStatus;
use phalanx_common::id::{Epoch, Generation, NodeId, Rank};
use phalanx_common::order::OrderKind;
use phalanx_common::plan::PodPlan;
use phalanx_common::report::{Notice, PodEnd, PodPhase, PrepareFailureKind, RankExit, Report};
use phalanx_common::spec::Keep;
use phalanx_common::time::Timestamp;
use phalanx_common::wire::codec;
use phalanx_common::wire::v1::FromWorker;
use phalanx_worker_core::shim::{Secrets, ShimOrder, ShimPlan, ShimReport};
use phalanx_worker_core::{Command, Confidential, Input, ProbeKey, Unfit, shim_plan};

use bench::{Bench, config, ends, exit, facts, job, plan, prepares, refused};

mod again;
mod bench;
mod binding;

#[test]
fn a_newer_generation_begins_only_when_nothing_is_left_of_the_older_one() {
    let mut bench = Bench::started();
    let commands = bench.prepare(2);
    let stop = ShimOrder::Stop { generation: Generation(1), grace: Duration::ZERO, pre_stop: false };
    assert_eq!(commands, [Command::ToShim { job: job(), order: stop }]);
    let commands = bench.ended(1);
    assert_eq!((ends(&commands), prepares(&commands)), (vec![1], vec![2]));
}

#[test]
fn a_generation_that_is_stopped_while_it_waits_ends_with_the_one_before_it() {
    let mut bench = Bench::started();
    bench.prepare(2);
    assert_eq!(bench.stop(2), [], "the older one lives, so nothing has ended");
    let commands = bench.ended(1);
    assert_eq!((ends(&commands), prepares(&commands)), (vec![1, 2], vec![]));
}

#[test]
fn a_repeated_prepare_is_answered_and_not_done_again() {
    let mut bench = Bench::prepared();
    let commands = bench.prepare(1);
    assert_eq!(
        commands,
        [Command::ToCoordinator(Report::Prepared {
            job: job(),
            generation: Generation(1),
            interpreter: None
        })]
    );
}

#[test]
fn lower_epochs_and_generations_are_refused() {
    let mut bench = Bench::started();
    bench.order_of(Epoch(5), OrderKind::Renew);
    let stop =
        || OrderKind::Stop { job: job(), generation: Generation(1), grace: Duration::ZERO, pre_stop: false };
    assert!(refused(&bench.order_of(Epoch(4), stop())));
    assert_eq!(bench.0.epoch(), Epoch(5));
    bench.order_of(Epoch(5), OrderKind::Prepare(Box::new(plan(3, None))));
    bench.ended(1);
    for kind in [
        OrderKind::Prepare(Box::new(plan(2, None))),
        OrderKind::Go { job: job(), generation: Generation(2) },
        stop(),
    ] {
        assert!(refused(&bench.order_of(Epoch(5), kind.clone())), "{kind:?}");
    }
}

#[test]
fn go_before_prepared_is_refused() {
    let mut bench = Bench::new();
    bench.prepare(1);
    bench.input(Input::ShimUp { job: job() });
    assert!(refused(&bench.order(OrderKind::Go { job: job(), generation: Generation(1) })));
}

#[test]
fn a_pod_that_was_stopped_before_its_shim_was_up_has_ended_and_its_shim_is_used_again() {
    let mut bench = Bench::new();
    bench.prepare(1);
    assert_eq!(ends(&bench.stop(1)), [1]);
    assert_eq!(bench.prepare(2), [], "the shim is on its way");
    let commands = bench.input(Input::ShimUp { job: job() });
    assert_eq!(prepares(&commands), [2]);
}

#[test]
fn forget_ends_the_shim_and_what_lives_is_stopped_first() {
    let mut bench = Bench::started();
    let forget = OrderKind::Forget { job: job(), failed: true };
    let stop = ShimOrder::Stop { generation: Generation(1), grace: Duration::ZERO, pre_stop: false };
    assert_eq!(bench.order(forget), [Command::ToShim { job: job(), order: stop }]);
    let commands = bench.ended(1);
    let exit = Command::ToShim { job: job(), order: ShimOrder::Exit { failed: true } };
    assert_eq!(commands[1..], [exit, Command::CloseShim { job: job() }]);
    assert!(bench.0.report(Timestamp(1)).pods.is_empty());
}

#[test]
fn a_dead_shim_is_swept_before_its_pod_counts_as_ended() {
    let mut bench = Bench::started();
    let commands = bench.input(Input::ShimLost { job: job(), why: "killed".into() });
    assert_eq!(commands, [Command::Sweep { job: job(), mark: "digits-1@a/1".into() }]);
    let commands = bench.input(Input::Swept { job: job(), killed: 3, survivors: Vec::new() });
    let end = PodEnd { swept: 3, shim_lost: true, ..PodEnd::default() };
    let ended = Report::PodEnded { job: job(), generation: Generation(1), end };
    assert_eq!(commands, [Command::ToCoordinator(ended)]);
    assert_eq!(
        bench.prepare(2),
        [Command::SpawnShim { job: job(), user: None }],
        "the next generation gets a new shim"
    );
}

#[test]
fn a_shim_that_cannot_be_spawned_is_a_pod_that_cannot_be_prepared() {
    let mut bench = Bench::new();
    bench.prepare(1);
    let commands = bench.input(Input::ShimLost { job: job(), why: "no more processes".into() });
    let Command::ToCoordinator(Report::NotPrepared { reason, .. }) = &commands[0] else {
        panic!("{commands:?}")
    };
    assert_eq!(reason.kind, PrepareFailureKind::Node);
    assert!(reason.message.contains("no more processes"), "{}", reason.message);
}

#[test]
fn hello_tells_what_happened_while_nobody_listened() {
    let mut bench = Bench::started();
    bench.input(Input::LinkDown);
    let exit = exit(1);
    let commands = bench.shim(ShimReport::Exited { generation: Generation(1), exit: exit.clone() });
    assert_eq!(commands, [], "reports are not queued");
    let commands = bench.input(Input::LinkUp);
    let [Command::ToCoordinator(Report::Hello(hello))] = &commands[..] else { panic!("{commands:?}") };
    let status = &hello.pods[0];
    assert_eq!(
        (status.phase, &status.exits[..], &status.pids[..]),
        (PodPhase::Started, &[exit][..], &[7, 8][..])
    );
}

#[test]
fn a_hello_fits_one_frame_however_much_the_ranks_said_before_they_ended() {
    let ranks = defaults::MAX_RANKS_PER_NODE;
    let mut bench = Bench::started_with(PodPlan { local_ranks: ranks, ..plan(1, None) });
    for rank in 0..ranks {
        let mut stderr_tail = vec![b'.'; defaults::LOG_TAIL];
        stderr_tail.extend_from_slice(b"the end");
        let exit = RankExit {
            stderr_tail,
            stdout_tail: vec![b'.'; defaults::LOG_TAIL],
            error_file: Some(vec![b'.'; defaults::LOG_TAIL]),
            ..exit(rank)
        };
        bench.shim(ShimReport::Exited { generation: Generation(1), exit });
    }
    bench.input(Input::LinkDown);
    let commands = bench.input(Input::LinkUp);
    let [Command::ToCoordinator(report @ Report::Hello(hello))] = &commands[..] else { panic!() };
    assert_eq!(hello.pods[0].exits.len(), ranks as usize);
    assert!(hello.pods[0].exits.iter().all(|exit| exit.stderr_tail.ends_with(b"the end")));
    let frame: FromWorker = report.into();
    codec::encode(&frame, &mut Vec::new()).expect("the Hello fits a frame");
}

#[test]
fn only_the_coordinators_word_renews_a_lease() {
    let lease = Duration::from_secs(60);
    let mut bench = Bench::new();
    bench.order(OrderKind::Prepare(Box::new(plan(1, Some(lease)))));
    bench.input(Input::ShimUp { job: job() });
    assert_eq!(bench.shim(ShimReport::Prepared { generation: Generation(1), interpreter: None }).len(), 1);
    assert_eq!(bench.input(Input::LinkDown), []);
    assert_eq!(bench.input(Input::LinkUp).len(), 1, "a connection alone is not a word");
    let renewed = Command::ToShim { job: job(), order: ShimOrder::Lease { remaining: lease } };
    assert_eq!(bench.order(OrderKind::Renew), [renewed]);
    let mut local = Bench::started();
    assert_eq!(local.order(OrderKind::Renew), [], "no lease in local mode");
}

#[test]
fn the_shims_plan_has_a_port_only_on_the_first_node_and_paths_of_its_own_for_each_rank() {
    let first = shim_plan(&config(), &facts(), &plan(2, None), None).unwrap();
    let ShimPlan { ports, ranks, job_dir, mark, .. } = &first;
    assert_eq!(
        (&ports[..], job_dir.as_str(), mark.as_str()),
        (&[20_003][..], "/run/phalanx/digits-1", "digits-1@a/1")
    );
    let logs: Vec<&str> = ranks.iter().map(|rank| rank.log_dir.as_str()).collect();
    assert_eq!(logs, ["/logs/digits-1/2/0", "/logs/digits-1/2/1"]);
    assert_ne!(ranks[0].error_file, ranks[1].error_file);
    let second = PodPlan { node_rank: 1, first_rank: Rank(2), ..plan(2, None) };
    assert!(shim_plan(&config(), &facts(), &second, None).unwrap().ports.is_empty());
}

#[test]
fn secrets_and_the_probe_key_come_apart_from_the_plan_and_are_not_shown() {
    let mut plan = plan(2, None);
    plan.probe_port = Some(20_004);
    plan.body.secrets = vec!["KEY".into(), "OTHER".into()];
    let confidential = |names: &[&str]| Confidential {
        job: job(),
        generation: Generation(2),
        secrets: Secrets(names.iter().map(|name| ((*name).to_owned(), "hush".to_owned())).collect()),
        probe_key: ProbeKey([7; 32]),
    };
    let missing = |confidential: Option<&Confidential>| {
        shim_plan(&config(), &facts(), &plan, confidential).unwrap_err()
    };
    assert_eq!(missing(None), Unfit::MissingSecrets(vec!["KEY".into(), "OTHER".into()]));
    assert_eq!(missing(Some(&confidential(&["OTHER"]))), Unfit::MissingSecrets(vec!["KEY".into()]));
    let made = shim_plan(&config(), &facts(), &plan, Some(&confidential(&["KEY", "OTHER", "MORE"]))).unwrap();
    assert_eq!(made.secrets.0.len(), 2, "what the job did not ask for is not given");
    assert_eq!(made.probe.as_ref().map(|probe| (probe.port, probe.key)), Some((20_004, [7; 32])));
    assert_eq!(made.ports, [20_003, 20_004]);
    let shown = format!("{made:?} {:?}", Input::Confidential(confidential(&["KEY"])));
    assert!(shown.contains("KEY") && !shown.contains("hush") && !shown.contains("7, 7"), "{shown}");
}

#[test]
fn a_prepare_without_its_secrets_is_refused_by_their_names() {
    let mut bench = Bench::new();
    let mut plan = plan(1, None);
    plan.body.secrets = vec!["KEY".into()];
    bench.order(OrderKind::Prepare(Box::new(plan)));
    let commands = bench.input(Input::ShimUp { job: job() });
    let [Command::ToCoordinator(Report::NotPrepared { reason, .. })] = &commands[..] else {
        panic!("{commands:?}")
    };
    assert_eq!(reason.kind, PrepareFailureKind::Job);
    assert!(reason.message.contains("KEY") && reason.message.contains("--secret"), "{}", reason.message);
}

#[test]
fn a_probe_goes_to_the_shim_and_its_verdict_to_the_coordinator() {
    let mut bench = Bench::started();
    let address = ([10, 0, 0, 2], 20_004).into();
    let target = NodeId::new("b");
    let probe = |generation| OrderKind::Probe { job: job(), generation, target: target.clone(), address };
    let order = ShimOrder::Probe { generation: Generation(1), target: target.clone(), address };
    assert_eq!(bench.order(probe(Generation(1))), [Command::ToShim { job: job(), order }]);
    let verdict = |generation, heard| {
        Command::ToCoordinator(Report::Probed { job: job(), generation, target: target.clone(), heard })
    };
    let commands =
        bench.shim(ShimReport::Probed { generation: Generation(1), target: target.clone(), heard: true });
    assert_eq!(commands, [verdict(Generation(1), true)]);
    assert_eq!(bench.order(probe(Generation(9))), [verdict(Generation(9), false)], "nothing of it is here");
}

#[test]
fn a_forgotten_job_is_closed_although_its_shim_went_before() {
    let mut bench = Bench::started();
    bench.input(Input::ShimLost { job: job(), why: "killed".into() });
    bench.input(Input::Swept { job: job(), killed: 0, survivors: Vec::new() });
    let forget = || OrderKind::Forget { job: job(), failed: true };
    assert_eq!(bench.order(forget()), [Command::CloseShim { job: job() }]);
    let mut bench = Bench::started();
    bench.order(forget());
    bench.input(Input::ShimLost { job: job(), why: "killed".into() });
    let commands = bench.input(Input::Swept { job: job(), killed: 0, survivors: Vec::new() });
    assert_eq!(commands.last(), Some(&Command::CloseShim { job: job() }));
}

#[test]
fn each_rank_of_a_pod_ends_once_and_no_other_does_whatever_its_shim_says() {
    let mut bench = Bench::started();
    let exit = |rank: u32| RankExit::new(Rank(rank), ExitStatus::Code(3), Timestamp(5));
    let mut said =
        |rank| bench.shim(ShimReport::Exited { generation: Generation(1), exit: exit(rank) }).len();
    assert_eq!([said(1), said(1), said(7), said(0)], [1, 0, 0, 1]);
}

#[test]
fn a_job_that_comes_back_waits_for_the_shim_of_its_former_pod_whose_end_is_no_loss() {
    let forget = || OrderKind::Forget { job: job(), failed: true };
    let left = || Input::ShimLost { job: job(), why: "exit status: 0".into() };
    let spawn = || Command::SpawnShim { job: job(), user: None };
    let forgotten = || {
        let mut bench = Bench::started();
        bench.stop(1);
        bench.ended(1);
        bench.order(forget());
        bench
    };
    let mut bench = forgotten();
    assert_eq!(bench.prepare(3), [], "the shim before it is not gone");
    let commands = bench.ended(3);
    assert_eq!(commands, [], "what that says is nothing of the new pod");
    assert_eq!(bench.input(left()), [spawn()]);
    assert_eq!(prepares(&bench.input(Input::ShimUp { job: job() })), [3]);
    let commands = bench.input(left());
    assert!(
        matches!(commands[..], [Command::ToCoordinator(Report::NotPrepared { .. }), _]),
        "its own end is"
    );

    // Stopped while it waits, it begins with the next order, and not before the old shim is gone.
    let mut bench = forgotten();
    bench.prepare(3);
    assert_eq!(ends(&bench.stop(3)), [3]);
    assert_eq!(bench.prepare(4), []);
    assert_eq!(bench.input(left()), [spawn()]);

    // Forgotten again while it waits.
    let mut bench = forgotten();
    bench.prepare(3);
    bench.stop(3);
    assert_eq!(bench.order(forget()), [Command::CloseShim { job: job() }]);
    assert_eq!(bench.prepare(5), []);
    assert_eq!(bench.input(left()), [spawn()]);
    let mut bench = forgotten();
    assert_eq!(bench.input(left()), []);
    assert_eq!(bench.prepare(3), [spawn()], "it is gone");
}

#[test]
fn where_a_kept_directory_is_is_told_once_the_pod_is_prepared() {
    let told = |keep, lease| {
        let mut bench = Bench::new();
        let mut plan = plan(1, lease);
        plan.body.keep = keep;
        bench.order(OrderKind::Prepare(Box::new(plan)));
        bench.input(Input::ShimUp { job: job() });
        let prepared = ShimReport::Prepared { generation: Generation(1), interpreter: None };
        bench.shim(prepared).into_iter().find_map(|command| match command {
            Command::ToCoordinator(Report::Notice { notice, .. }) => Some(notice),
            _ => None,
        })
    };
    let lease = Some(Duration::from_secs(600));
    let path = "/run/phalanx/digits-1/tmp".to_owned();
    let (node, keep) = (NodeId::new("a"), Keep::OnFailure);
    assert_eq!(told(keep, lease), Some(Notice::Directory { node, path, keep }));
    assert_eq!(told(Keep::Never, lease), None);
    assert_eq!(told(Keep::Always, None), None, "who launches on this machine knows");
}

#[test]
fn a_prepare_that_is_as_old_as_its_lease_prepares_nothing() {
    let lease = Duration::from_secs(30);
    let woken = |after: Duration| {
        let mut bench = Bench::new();
        bench.order(OrderKind::Prepare(Box::new(plan(1, Some(lease)))));
        // The worker was stopped before its shim was there, and its link with it.
        bench.0.handle(Timestamp(1) + after, Input::ShimUp { job: job() });
        std::iter::from_fn(|| bench.0.poll_command()).collect::<Vec<_>>()
    };
    assert_eq!(prepares(&woken(Duration::from_secs(29))), [1]);
    let late = woken(lease);
    let [Command::ToCoordinator(Report::PodEnded { end, .. })] = &late[..] else { panic!("{late:?}") };
    assert!(end.lease_lapsed, "{end:?}");
}
