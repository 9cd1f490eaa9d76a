//! Hooks of ranks and their stop signal, with real processes.

use std::time::Duration;

use phalanx_common::exit::ExitStatus;
use phalanx_common::health::Question;
use phalanx_common::id::Rank;
use phalanx_common::report::{Notice, PrepareFailureKind};
use phalanx_common::spec::{Hook, Probes};
use phalanx_worker_core::shim::{ShimPlan, ShimReport};

use crate::probes::{end, exec, health, log};
use crate::support::{Scratch, Shim, eventually, nothing_left, shell, text};

const LONG: Duration = Duration::from_secs(60);
/// A program that says when it runs and when it is told to end.
const TELLS: &str = "trap 'echo told; exit 0' TERM; echo up; while :; do sleep 0.05; done";

fn run(script: &str) -> Option<Hook> {
    Some(Hook::Exec { command: ["sh", "-c", script].map(str::to_owned).to_vec() })
}

/// A shim whose ranks have said that they are up.
fn up(plan: &ShimPlan) -> Shim {
    let shim = Shim::started(plan);
    for rank in 0..plan.ranks.len() {
        eventually("it is up", || text(plan, rank).contains("up").then_some(()));
    }
    shim
}

/// Why preStop hooks failed, by rank.
fn failed(shim: &mut Shim) -> (Rank, String) {
    shim.until("a notice", |report| match report {
        ShimReport::Notice { notice: Notice::PreStopFailed { rank, why } } => Some((*rank, why.clone())),
        _ => None,
    })
}

#[test]
fn a_rank_is_stopped_by_the_signal_that_it_asks_for() {
    let scratch = Scratch::new();
    let script = "trap 'echo saved; exit 0' USR1; echo up; while :; do sleep 0.05; done";
    let plan = ShimPlan { stop_signal: 10, ..shell(&scratch, 2, script) };
    let mut shim = up(&plan);
    shim.stop(LONG);
    shim.ended();
    assert_eq!(shim.exits().len(), 2);
    for exit in shim.exits() {
        assert_eq!((exit.status, exit.stdout_tail.as_slice()), (ExitStatus::SUCCESS, &b"up\nsaved\n"[..]));
    }
    nothing_left(&plan);
}

#[test]
fn before_the_stop_signal_each_rank_does_its_hook_with_its_own_environment_if_its_end_is_a_wish() {
    let scratch = Scratch::new();
    let save = format!("sleep 0.2; echo $RANK >> {}", scratch.path("saved"));
    let script =
        format!("trap 'sort {}; exit 0' TERM; echo up; while :; do sleep 0.05; done", scratch.path("saved"));
    let plan = ShimPlan { pre_stop: run(&save), ..shell(&scratch, 2, &script) };
    let mut shim = up(&plan);
    shim.stop_by_wish(LONG);
    shim.ended();
    for exit in shim.exits() {
        let said = String::from_utf8(exit.stdout_tail).unwrap();
        assert!(said.contains(&format!("\n{}\n", exit.rank)), "{said:?} was saved before its signal");
        assert!(exit.after_stop);
    }
    nothing_left(&plan);

    let scratch = Scratch::new();
    let save = format!("touch {}", scratch.path("saved"));
    let plan = ShimPlan { pre_stop: run(&save), ..shell(&scratch, 1, TELLS) };
    let mut shim = up(&plan);
    shim.stop(LONG);
    shim.ended();
    assert!(
        !std::path::Path::new(&scratch.path("saved")).exists(),
        "after a failure there is nothing to save"
    );
    nothing_left(&plan);
}

#[test]
fn a_hook_that_fails_is_told_and_its_rank_stopped() {
    let scratch = Scratch::new();
    let plan = ShimPlan { pre_stop: run("echo disk is full; exit 3"), ..shell(&scratch, 1, TELLS) };
    let mut shim = up(&plan);
    shim.stop_by_wish(LONG);
    assert_eq!(failed(&mut shim), (Rank(0), "exit code 3: disk is full".to_owned()));
    assert_eq!(shim.exit_of(0).stdout_tail, b"up\ntold\n");
    shim.ended();
    nothing_left(&plan);
}

#[test]
fn a_hook_that_hangs_takes_the_grace_and_its_rank_has_a_moment_after_it() {
    let scratch = Scratch::new();
    let plan = ShimPlan { pre_stop: run("sleep 600 & sleep 600"), ..shell(&scratch, 1, TELLS) };
    let mut shim = up(&plan);
    shim.stop_by_wish(Duration::from_millis(300));
    assert_eq!(failed(&mut shim), (Rank(0), "it was not done within the grace".to_owned()));
    let exit = shim.exit_of(0);
    assert_eq!((exit.status, exit.stdout_tail.as_slice()), (ExitStatus::SUCCESS, &b"up\ntold\n"[..]));
    shim.ended();
    nothing_left(&plan);

    let scratch = Scratch::new();
    let stubborn = ShimPlan {
        pre_stop: Some(Hook::Sleep(LONG)),
        ..shell(&scratch, 1, "trap '' TERM; echo up; while :; do sleep 0.05; done")
    };
    let mut shim = up(&stubborn);
    shim.stop_by_wish(Duration::from_millis(300));
    assert_eq!(shim.exit_of(0).status, ExitStatus::Signal(9), "but not for ever");
    shim.ended();
    nothing_left(&stubborn);
}

#[test]
fn a_second_order_without_grace_waits_for_no_hook() {
    let scratch = Scratch::new();
    let plan = ShimPlan { pre_stop: run("sleep 600"), ..shell(&scratch, 1, TELLS) };
    let mut shim = up(&plan);
    shim.stop_by_wish(LONG);
    shim.stop(Duration::ZERO);
    assert_eq!(shim.exit_of(0).status, ExitStatus::Signal(9));
    shim.ended();
    nothing_left(&plan);
}

#[test]
fn a_rank_that_ends_while_it_does_its_hook_is_waited_for_no_longer() {
    let scratch = Scratch::new();
    let plan = ShimPlan {
        pre_stop: run(&format!("touch {}; sleep 600", scratch.path("leave"))),
        ..shell(
            &scratch,
            1,
            &format!("echo up; while ! test -e {}; do sleep 0.05; done", scratch.path("leave")),
        )
    };
    let mut shim = up(&plan);
    shim.stop_by_wish(LONG);
    assert_eq!(shim.exit_of(0).status, ExitStatus::SUCCESS);
    shim.ended();
    nothing_left(&plan);
}

#[test]
fn a_rank_is_not_ready_and_not_probed_before_its_post_start_hook_is_done() {
    let scratch = Scratch::new();
    let go = scratch.path("go");
    let hook = format!("while ! test -e {go}; do sleep 0.05; done");
    let readiness = Some(exec(&format!("test -e {go} || touch {}", scratch.path("early"))));
    let plan = ShimPlan {
        post_start: run(&hook),
        probes: Probes { readiness, ..Probes::default() },
        ..shell(&scratch, 1, TELLS)
    };
    let mut shim = up(&plan);
    let waits = health(&mut shim, 0, "that it waits", |health| !health.ready).waits.unwrap();
    assert_eq!((waits.probe, waits.message.as_str()), (Question::PostStart, "not done yet"));
    std::fs::write(&go, "").unwrap();
    health(&mut shim, 0, "that it is ready", |health| health.ready);
    assert!(!std::path::Path::new(&scratch.path("early")).exists());
    end(shim, &plan);
}

#[test]
fn a_rank_whose_post_start_hook_fails_is_ended_for_that() {
    let scratch = Scratch::new();
    let plan = ShimPlan { post_start: run("echo no licence; exit 1"), ..shell(&scratch, 1, TELLS) };
    let mut shim = Shim::started(&plan);
    let failure = shim.exit_of(0).probe.unwrap();
    assert_eq!((failure.probe, failure.message.as_str()), (Question::PostStart, "exit code 1: no licence"));
    shim.ended();
    nothing_left(&plan);
}

#[test]
fn a_rank_that_its_liveness_probe_ends_does_its_hook_before() {
    let scratch = Scratch::new();
    let mut liveness = exec("exit 1");
    liveness.grace = Some(LONG);
    let plan = ShimPlan {
        pre_stop: run(&format!("touch {}", scratch.path("saved"))),
        probes: Probes { startup: Some(log("up")), liveness: Some(liveness), ..Probes::default() },
        ..shell(&scratch, 1, TELLS)
    };
    let mut shim = Shim::started(&plan);
    assert_eq!(shim.exit_of(0).probe.unwrap().probe, Question::Liveness);
    assert!(std::path::Path::new(&scratch.path("saved")).exists());
    shim.ended();
    nothing_left(&plan);
}

#[test]
fn a_hook_whose_program_is_missing_is_refused_before_anything_runs() {
    let scratch = Scratch::new();
    let missing = Some(Hook::Exec { command: vec!["no-such-program".to_owned()] });
    let plan = ShimPlan { pre_stop: missing, ..shell(&scratch, 1, "true") };
    let refused = Shim::start().refused(&plan);
    assert_eq!(refused.kind, PrepareFailureKind::CommandNotFound);
    assert!(refused.message.starts_with("the preStop hook: "), "{}", refused.message);
}

#[test]
fn a_rank_that_a_probe_ends_has_a_moment_after_a_hook_that_hangs() {
    let scratch = Scratch::new();
    let mut liveness = exec("false");
    liveness.failure_threshold = 1;
    liveness.grace = Some(Duration::from_millis(300));
    let script = "trap 'sleep 0.5; echo saved; exit 0' TERM; echo up; while :; do sleep 0.05; done";
    let plan = ShimPlan {
        pre_stop: run("sleep 1000"),
        probes: Probes { liveness: Some(liveness), ..Probes::default() },
        ..shell(&scratch, 1, script)
    };
    let mut shim = Shim::started(&plan);
    let (rank, why) = failed(&mut shim);
    assert_eq!((rank, why.as_str()), (Rank(0), "it was not done within the grace"));
    let exit = shim.exit_of(0);
    assert_eq!(exit.status, ExitStatus::SUCCESS, "it had the time to save");
    assert!(String::from_utf8_lossy(&exit.stdout_tail).ends_with("saved\n"));
    assert_eq!(exit.probe.map(|failure| failure.probe), Some(Question::Liveness));
    shim.ended();
    nothing_left(&plan);
}
