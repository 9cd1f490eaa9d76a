//! Ranks that start again in place.

use std::time::Duration;

use phalanx_common::id::{Generation, Rank};
use phalanx_common::order::OrderKind;
use phalanx_common::report::{RankExit, Report};
use phalanx_worker_core::shim::{ShimOrder, ShimReport};
use phalanx_worker_core::{Command, Input};

use crate::bench::{Bench, exit, job, refused};

const GENERATION: Generation = Generation(1);

fn restart(generation: u32, ranks: &[(u32, u32)]) -> OrderKind {
    OrderKind::Restart {
        job: job(),
        generation: Generation(generation),
        ranks: ranks.iter().map(|&(rank, attempt)| (Rank(rank), attempt)).collect(),
        delay: Duration::from_secs(1),
        grace: Duration::from_secs(30),
    }
}

/// What the shim is asked to start again.
fn asked(commands: &[Command]) -> Vec<(u32, u32)> {
    let orders = commands.iter().filter_map(|command| match command {
        Command::ToShim { order: ShimOrder::Restart { ranks, .. }, .. } => Some(ranks),
        _ => None,
    });
    orders.flatten().map(|(rank, attempt)| (rank.0, *attempt)).collect()
}

fn restarted(rank: u32, attempt: u32, pid: u32) -> ShimReport {
    ShimReport::Restarted { generation: GENERATION, rank: Rank(rank), attempt, pid }
}

#[test]
fn each_attempt_is_asked_of_the_shim_once() {
    let mut bench = Bench::started();
    assert_eq!(asked(&bench.order(restart(1, &[(1, 1)]))), [(1, 1)]);
    assert_eq!(bench.order(restart(1, &[(1, 1)])), [], "the order was repeated");
    assert_eq!(asked(&bench.order(restart(1, &[(0, 1), (1, 1)]))), [(0, 1)], "what is new of it");
    assert_eq!(asked(&bench.order(restart(1, &[(1, 2)]))), [(1, 2)]);
    assert_eq!(bench.order(restart(1, &[(1, 1)])), [], "an order that was overtaken");
    assert_eq!(bench.order(restart(1, &[(2, 1)])), [], "a rank of another pod");
}

#[test]
fn ranks_of_a_generation_that_is_not_here_are_refused() {
    let mut bench = Bench::started();
    assert!(refused(&bench.order(restart(2, &[(0, 1)]))));
    assert!(refused(&Bench::new().order(restart(1, &[(0, 1)]))), "no pod at all");
}

#[test]
fn a_pod_that_does_not_run_or_stops_starts_nothing_again() {
    assert_eq!(Bench::prepared().order(restart(1, &[(0, 1)])), []);
    let mut bench = Bench::started();
    bench.stop(1);
    assert_eq!(bench.order(restart(1, &[(0, 1)])), []);
    bench.ended(1);
    assert_eq!(bench.order(restart(1, &[(0, 1)])), []);
}

#[test]
fn a_start_that_nobody_ordered_is_not_passed_on() {
    let mut bench = Bench::started();
    assert_eq!(bench.shim(restarted(1, 1, 9)), []);
    bench.order(restart(1, &[(1, 1)]));
    assert_eq!(bench.shim(restarted(1, 2, 9)), []);
    assert_eq!(bench.shim(restarted(0, 1, 9)), []);
    let told = Report::Restarted { job: job(), generation: GENERATION, rank: Rank(1), attempt: 1, pid: 9 };
    assert_eq!(bench.shim(restarted(1, 1, 9)), [Command::ToCoordinator(told)]);
}

#[test]
fn what_an_earlier_attempt_left_behind_is_not_in_the_hello() {
    let mut bench = Bench::started();
    let exited = |exit: RankExit| ShimReport::Exited { generation: GENERATION, exit };
    bench.shim(exited(exit(0)));
    bench.shim(exited(exit(1)));
    bench.order(restart(1, &[(1, 1)]));
    bench.shim(restarted(1, 1, 9));
    assert_eq!(hello(&mut bench), (vec![(0, 0)], vec![7, 9], vec![(1, 1)]));

    // It ends once more, and that is told.
    let again = RankExit { attempt: 1, ..exit(1) };
    let told = Report::Exited { job: job(), generation: GENERATION, exit: again.clone() };
    assert_eq!(bench.shim(exited(again)), [Command::ToCoordinator(told)]);
    assert_eq!(hello(&mut bench), (vec![(0, 0), (1, 1)], vec![7, 9], vec![(1, 1)]));
}

#[test]
fn a_rank_that_could_not_be_started_again_ends_as_that_attempt() {
    let mut bench = Bench::started();
    let exited = |exit: RankExit| ShimReport::Exited { generation: GENERATION, exit };
    bench.shim(exited(exit(1)));
    let again = RankExit { attempt: 1, ..exit(1) };
    assert_eq!(bench.shim(exited(again.clone())), [], "nobody ordered that");
    bench.order(restart(1, &[(1, 1)]));
    let told = Report::Exited { job: job(), generation: GENERATION, exit: again.clone() };
    assert_eq!(bench.shim(exited(again.clone())), [Command::ToCoordinator(told)]);
    assert_eq!(bench.shim(exited(again)), [], "a rank ends once");
    assert_eq!(bench.shim(exited(exit(1))), [], "and not as what it was before");
    assert_eq!(hello(&mut bench), (vec![(1, 1)], vec![7, 8], vec![]));
}

type Told = (Vec<(u32, u32)>, Vec<u32>, Vec<(u32, u32)>);

/// Ranks and attempts that ended, process ids, and attempts that were started, as a coordinator hears of them that the worker
/// comes back to.
fn hello(bench: &mut Bench) -> Told {
    bench.input(Input::LinkDown);
    let commands = bench.input(Input::LinkUp);
    let [Command::ToCoordinator(Report::Hello(hello))] = &commands[..] else { panic!("{commands:?}") };
    let pod = &hello.pods[0];
    let exits = pod.exits.iter().map(|exit| (exit.rank.0, exit.attempt)).collect();
    (exits, pod.pids.clone(), pod.attempts.iter().map(|(rank, attempt)| (rank.0, *attempt)).collect())
}
