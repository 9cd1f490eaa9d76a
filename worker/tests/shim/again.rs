//! Ranks that start again in their generation.

use std::fs;
use std::time::Duration;

use phalanx_common::exit::ExitStatus;
use phalanx_common::id::Rank;
use phalanx_common::report::RankExit;
use phalanx_worker_core::shim::{ShimOrder, ShimPlan, ShimReport};

use crate::probes as probe;
use crate::support::{GENERATION, Scratch, Shim, command, eventually, is_alive, is_stopped, shell, text};

/// Ranks that fail with 7 at their first start and run on at the second, each leaving a child behind at its first.
fn plan(scratch: &Scratch, ranks: u32) -> ShimPlan {
    let marks = scratch.path("marks");
    fs::create_dir(&marks).unwrap();
    let script = format!(
        "echo start $TORCHELASTIC_RESTART_COUNT; \
         if [ -e {marks}/$RANK ]; then touch {marks}/$RANK.again; exec sleep 1000; fi; \
         echo $$ > {marks}/$RANK; setsid sleep 1000 & echo $! > {marks}/$RANK.child; \
         if [ $RANK = 0 ]; then exit 7; fi; exec sleep 1000"
    );
    let mut plan = shell(scratch, ranks, &script);
    plan.in_place = true;
    plan.env.push(("TORCHELASTIC_RESTART_COUNT".into(), "2".into()));
    plan
}

fn restart(shim: &mut Shim, ranks: &[(u32, u32)], delay: Duration, grace: Duration) {
    let ranks = ranks.iter().map(|(rank, attempt)| (Rank(*rank), *attempt)).collect();
    shim.order(ShimOrder::Restart { generation: GENERATION, ranks, delay, grace });
}

fn restarted(shim: &mut Shim, rank: u32, attempt: u32) -> u32 {
    shim.until("Restarted", |report| match report {
        ShimReport::Restarted { rank: of, attempt: as_, pid, .. } if (of.0, *as_) == (rank, attempt) => {
            Some(*pid)
        }
        _ => None,
    })
}

fn exit_as(shim: &mut Shim, rank: u32, attempt: u32) -> RankExit {
    shim.until("Exited", |report| match report {
        ShimReport::Exited { exit, .. } if (exit.rank.0, exit.attempt) == (rank, attempt) => {
            Some(exit.clone())
        }
        _ => None,
    })
}

fn pid_in(path: &str) -> u32 {
    eventually("a pid in a file", || fs::read_to_string(path).ok()?.trim().parse().ok())
}

#[test]
fn a_rank_that_failed_starts_again_once_what_it_left_behind_is_gone_and_the_others_go_on() {
    let scratch = Scratch::new();
    let plan = plan(&scratch, 2);
    let mut shim = Shim::started(&plan);
    let first = shim.pids();
    let exit = exit_as(&mut shim, 0, 0);
    assert_eq!((exit.status, exit.after_stop), (ExitStatus::Code(7), false));
    let child = pid_in(&scratch.path("marks/0.child"));
    assert!(is_alive(child), "nobody ended it yet");
    restart(&mut shim, &[(0, 1)], Duration::ZERO, Duration::ZERO);
    let pid = restarted(&mut shim, 0, 1);
    assert!(!is_alive(child), "two starts of a rank never run at the same time");
    eventually("the second start runs", || fs::exists(scratch.path("marks/0.again")).unwrap().then_some(()));
    assert!(is_alive(pid) && is_alive(first[1]) && pid != first[0]);
    eventually("both starts in one log", || (text(&plan, 0) == "start 2\nstart 3\n").then_some(()));
    shim.stop(Duration::ZERO);
    let end = shim.ended();
    assert_eq!(end.survivors, []);
    assert!(!is_alive(pid) && !is_alive(first[1]));
    assert_eq!(exit_as(&mut shim, 0, 1).status, ExitStatus::Signal(9));
}

#[test]
fn a_rank_that_runs_makes_way_within_the_grace_and_tells_of_both_ends() {
    let scratch = Scratch::new();
    let plan = plan(&scratch, 2);
    let mut shim = Shim::started(&plan);
    let first = shim.pids();
    exit_as(&mut shim, 0, 0);
    pid_in(&scratch.path("marks/1.child"));
    restart(&mut shim, &[(0, 1), (1, 1)], Duration::ZERO, Duration::from_secs(60));
    let made_way = exit_as(&mut shim, 1, 0);
    assert_eq!((made_way.status, made_way.after_stop), (ExitStatus::Signal(15), true));
    let pids = [restarted(&mut shim, 0, 1), restarted(&mut shim, 1, 1)];
    assert!(!is_alive(first[1]) && pids.iter().all(|pid| is_alive(*pid)));
    shim.stop(Duration::ZERO);
    shim.ended();
}

#[test]
fn an_order_that_comes_twice_starts_a_rank_once() {
    let scratch = Scratch::new();
    let plan = plan(&scratch, 1);
    let mut shim = Shim::started(&plan);
    exit_as(&mut shim, 0, 0);
    restart(&mut shim, &[(0, 1)], Duration::ZERO, Duration::ZERO);
    let pid = restarted(&mut shim, 0, 1);
    restart(&mut shim, &[(0, 1)], Duration::ZERO, Duration::ZERO);
    shim.stop(Duration::ZERO);
    shim.ended();
    let starts = shim.heard.iter().filter(|report| matches!(report, ShimReport::Restarted { .. }));
    assert_eq!(starts.count(), 1);
    assert!(!is_alive(pid));
}

#[test]
fn a_rank_that_cannot_be_started_again_has_failed_at_that_start() {
    let scratch = Scratch::new();
    let program = scratch.script("once", "#!/bin/sh\nrm \"$0\"\nexit 7\n");
    let mut plan = command(&scratch, 1, &[&program]);
    plan.in_place = true;
    let mut shim = Shim::started(&plan);
    exit_as(&mut shim, 0, 0);
    restart(&mut shim, &[(0, 1)], Duration::ZERO, Duration::ZERO);
    let exit = exit_as(&mut shim, 0, 1);
    assert_eq!((exit.status, exit.after_stop), (ExitStatus::Code(127), false));
    let said = String::from_utf8_lossy(&exit.stderr_tail).into_owned();
    assert!(said.contains("cannot be started again") && said.contains("once"), "{said}");
    shim.stop(Duration::ZERO);
    shim.ended();
}

#[test]
fn a_pod_whose_ranks_failed_waits_for_what_follows_and_ends_when_it_is_told() {
    let scratch = Scratch::new();
    let mut plan = shell(&scratch, 1, "exit 7");
    plan.in_place = true;
    let mut shim = Shim::started(&plan);
    exit_as(&mut shim, 0, 0);
    restart(&mut shim, &[(0, 1)], Duration::from_secs(600), Duration::ZERO);
    shim.stop(Duration::from_secs(600));
    assert_eq!(shim.ended().swept, 0);
    assert!(!shim.heard.iter().any(|report| matches!(report, ShimReport::Restarted { .. })));
}

#[test]
fn a_rank_that_starts_again_is_asked_anew_whether_it_is_ready() {
    let scratch = Scratch::new();
    let marks = scratch.path("up");
    let script = format!(
        "if [ -e {marks} ]; then sleep 0.3; echo model loaded; exec sleep 1000; fi; \
         touch {marks}; echo model loaded; sleep 0.3; exit 7"
    );
    let mut plan = shell(&scratch, 1, &script);
    plan.in_place = true;
    plan.probes.readiness = Some(probe::log("model loaded"));
    let mut shim = Shim::started(&plan);
    let ready = |shim: &mut Shim, wanted: bool| {
        shim.until("Health", |report| match report {
            ShimReport::Health { ranks, .. } => (ranks.last()?.ready == wanted).then_some(()),
            _ => None,
        });
        shim.heard.clear();
    };
    ready(&mut shim, true);
    exit_as(&mut shim, 0, 0);
    restart(&mut shim, &[(0, 1)], Duration::ZERO, Duration::ZERO);
    ready(&mut shim, false);
    ready(&mut shim, true);
    shim.stop(Duration::ZERO);
    shim.ended();
}

#[test]
fn what_another_rank_started_goes_on_whatever_rank_it_calls_itself() {
    let scratch = Scratch::new();
    let child = scratch.path("child");
    let script = format!(
        "if [ $RANK = 1 ]; then RANK=0 sleep 1000 & echo $! > {child}; exec sleep 1000; fi; \
         while [ ! -s {child} ]; do sleep 0.01; done; exit 7"
    );
    let mut plan = shell(&scratch, 2, &script);
    plan.in_place = true;
    let mut shim = Shim::started(&plan);
    exit_as(&mut shim, 0, 0);
    let child = pid_in(&child);
    restart(&mut shim, &[(0, 1)], Duration::ZERO, Duration::ZERO);
    restarted(&mut shim, 0, 1);
    exit_as(&mut shim, 0, 1);
    assert!(is_alive(child));
    shim.stop(Duration::ZERO);
    shim.ended();
    assert!(!is_alive(child));
}

/// A rank that takes its time to leave, and one that fails: what each says it found.
fn slow_and_failing(scratch: &Scratch) -> ShimPlan {
    let marks = scratch.path("marks");
    fs::create_dir(&marks).unwrap();
    let script = format!(
        "if [ $TORCHELASTIC_RESTART_COUNT = 1 ]; then ls {marks} > {marks}/../$RANK.found; exec sleep 1000; fi; \
         if [ $RANK = 1 ]; then echo up; exit 7; fi; \
         trap 'sleep 0.5; touch {marks}/left; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    );
    let mut plan = shell(scratch, 2, &script);
    plan.in_place = true;
    plan.env.push(("TORCHELASTIC_RESTART_COUNT".into(), "0".into()));
    plan
}

#[test]
fn of_ranks_that_start_again_together_none_does_before_all_have_ended() {
    let scratch = Scratch::new();
    let plan = slow_and_failing(&scratch);
    let mut shim = Shim::started(&plan);
    exit_as(&mut shim, 1, 0);
    eventually("the other listens", || (text(&plan, 0) == "up\n").then_some(()));
    restart(&mut shim, &[(0, 1), (1, 1)], Duration::ZERO, Duration::from_secs(60));
    for rank in [0, 1] {
        restarted(&mut shim, rank, 1);
        let found = scratch.path(&format!("{rank}.found"));
        let found =
            eventually("what it found", || fs::read_to_string(&found).ok().filter(|found| !found.is_empty()));
        assert_eq!(found, "left\n", "rank {rank} meets nobody of the start before");
    }
    shim.stop(Duration::ZERO);
    shim.ended();
}

#[test]
fn nobody_makes_way_while_the_pod_is_suspended() {
    let scratch = Scratch::new();
    let plan = slow_and_failing(&scratch);
    let mut shim = Shim::started(&plan);
    exit_as(&mut shim, 1, 0);
    eventually("the other listens", || (text(&plan, 0) == "up\n").then_some(()));
    let pid = shim.pids()[0];
    shim.order(ShimOrder::Suspend);
    eventually("it is stopped", || is_stopped(pid).then_some(()));
    restart(&mut shim, &[(0, 1), (1, 1)], Duration::ZERO, Duration::ZERO);
    // Nothing tells that an order was put off; one that is not ends the rank in less.
    std::thread::sleep(Duration::from_millis(300));
    assert!(is_stopped(pid), "it neither runs nor has ended");
    shim.order(ShimOrder::Resume);
    restarted(&mut shim, 0, 1);
    restarted(&mut shim, 1, 1);
    shim.stop(Duration::ZERO);
    shim.ended();
}

#[test]
fn what_asks_a_rank_by_a_program_has_the_environment_of_the_start_that_it_asks() {
    let scratch = Scratch::new();
    let asked = scratch.path("asked");
    let mut plan = plan(&scratch, 1);
    let script = format!("echo $TORCHELASTIC_RESTART_COUNT $NOTIFY_SOCKET >> {asked}");
    plan.probes.readiness = Some(probe::exec(&script));
    let mut shim = Shim::started(&plan);
    exit_as(&mut shim, 0, 0);
    restart(&mut shim, &[(0, 1)], Duration::ZERO, Duration::ZERO);
    restarted(&mut shim, 0, 1);
    eventually("a question to the second start", || {
        let lines = fs::read_to_string(&asked).unwrap_or_default();
        lines.lines().any(|line| line.starts_with("3 ")).then_some(())
    });
    shim.stop(Duration::ZERO);
    shim.ended();
}
