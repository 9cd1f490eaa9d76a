//! Stops, kills, deaths of the shim and of the worker: nothing of the pod is alive afterwards.

use std::time::{Duration, Instant};

use phalanx_common::exit::ExitStatus;
use phalanx_common::spec::{Keep, StopScope};
use phalanx_worker::shim::spawn::{Orphans, ShimProcess, SpawnOptions, spawn};
use phalanx_worker_core::shim::{ShimOrder, ShimReport, Stream};

use crate::support::{
    Scratch, Shim, children_called, code, cpu_ticks, eventually, guardian_of, is_alive, is_stopped, kill,
    line_in, marked, nothing_left, output, shell, state, text,
};

/// Ends only by SIGKILL, and says when it is ready for the rest of the test.
const STUBBORN: &str = "trap '' TERM; echo ready > $0.$RANK; while :; do sleep 0.1; done";
/// Grandchildren in sessions of their own, and a daemon whose parents are gone.
const RUNAWAYS: &str = "setsid sleep 1000 & \
     (setsid sh -c 'trap \"\" TERM HUP; sleep 1000 & sleep 1000' &) ; \
     sleep 0.1; echo ready > $0.$RANK; sleep 1000 & wait";

fn ready(scratch: &Scratch, ranks: u32) {
    for rank in 0..ranks {
        line_in(&scratch.path(&format!("ready.{rank}")));
    }
}

fn plan(scratch: &Scratch, ranks: u32, script: &str) -> phalanx_worker_core::shim::ShimPlan {
    let mut plan = shell(scratch, ranks, script);
    plan.command.push(scratch.path("ready"));
    plan
}

#[test]
fn a_rank_that_ignores_sigterm_is_killed_when_its_grace_is_over_and_not_before() {
    let scratch = Scratch::new();
    let plan = plan(&scratch, 2, STUBBORN);
    let mut shim = Shim::started(&plan);
    ready(&scratch, 2);
    let start = Instant::now();
    shim.stop(Duration::from_millis(400));
    shim.ended();
    assert!(start.elapsed() >= Duration::from_millis(400));
    for exit in shim.exits() {
        assert_eq!(exit.status, ExitStatus::Signal(9));
        assert!(exit.after_stop);
    }
    nothing_left(&plan);
    shim.exit(true);
}

#[test]
fn a_second_stop_with_a_shorter_grace_wins() {
    let scratch = Scratch::new();
    let plan = plan(&scratch, 1, STUBBORN);
    let mut shim = Shim::started(&plan);
    ready(&scratch, 1);
    let start = Instant::now();
    shim.stop(Duration::from_secs(600));
    shim.stop(Duration::from_secs(900));
    shim.stop(Duration::ZERO);
    shim.ended();
    assert!(start.elapsed() < Duration::from_secs(10));
    shim.exit(true);
}

#[test]
fn a_stopped_rank_ends_by_its_own_handler() {
    let scratch = Scratch::new();
    let plan = plan(&scratch, 1, "trap 'exit 7' TERM; echo ready > $0.$RANK; while :; do sleep 0.05; done");
    let mut shim = Shim::started(&plan);
    ready(&scratch, 1);
    let pid = shim.pids()[0];
    kill(pid, "STOP");
    eventually("the rank is stopped", || (state(pid) == Some('T')).then_some(()));
    shim.stop(Duration::from_secs(30));
    assert_eq!(shim.exit_of(0).status, code(7));
    shim.ended();
    shim.exit(true);
}

#[test]
fn grandchildren_in_sessions_of_their_own_and_daemons_end_with_the_pod() {
    let scratch = Scratch::new();
    for without_cgroup in [false, true] {
        let plan = plan(&scratch, 2, RUNAWAYS);
        let shim = if without_cgroup { Shim::start_without_cgroup(&scratch) } else { Shim::start() };
        let mut shim = shim.and_started(&plan);
        ready(&scratch, 2);
        assert!(marked(&plan).len() >= 8, "the runaways run");
        shim.stop(Duration::from_millis(200));
        let end = shim.ended();
        assert_eq!(marked(&plan), [] as [u32; 0], "Ended means that nothing is alive");
        assert!(end.swept >= 4, "{end:?}");
        assert!(end.survivors.is_empty());
        shim.exit(true);
        for rank in 0..2 {
            std::fs::remove_file(scratch.path(&format!("ready.{rank}"))).unwrap();
        }
    }
}

#[test]
fn children_that_a_rank_leaves_behind_are_swept_although_they_hold_its_pipes() {
    let scratch = Scratch::new();
    let plan = shell(&scratch, 1, "sleep 1000 & setsid sleep 1000 & echo bye");
    let mut shim = Shim::prepared(&plan);
    let start = Instant::now();
    let (exits, end) = shim.run_to_end();
    assert_eq!(exits[0].status, code(0));
    assert_eq!(end.swept, 2);
    assert_eq!(marked(&plan), [] as [u32; 0]);
    assert!(start.elapsed() < Duration::from_secs(2), "the pipes were not waited for");
    assert_eq!(text(&plan, 0), "bye\n");
    shim.exit(false);
}

#[test]
fn a_child_that_ends_by_itself_soon_after_its_rank_is_left_alone() {
    let scratch = Scratch::new();
    let plan = shell(&scratch, 1, "(sleep 0.02; echo late) &");
    let mut shim = Shim::prepared(&plan);
    let (_, end) = shim.run_to_end();
    assert_eq!(end.swept, 0);
    assert_eq!(text(&plan, 0), "late\n");
    assert_eq!(shim.written(0, Stream::Stdout), 5, "the last count covers what came after the exit");
    shim.exit(false);
}

#[test]
fn with_the_scope_process_only_the_rank_itself_gets_the_stop_signal() {
    let scratch = Scratch::new();
    let script = "trap 'echo rank got it; exit 0' TERM; \
                  sh -c 'trap \"echo child got it\" TERM; echo up; while :; do sleep 0.05; done' & \
                  while :; do sleep 0.05; done";
    for (scope, told) in [(StopScope::Process, false), (StopScope::Group, true)] {
        let mut plan = shell(&scratch, 1, script);
        plan.stop_scope = scope;
        let mut shim = Shim::started(&plan);
        eventually("both are up", || text(&plan, 0).contains("up").then_some(()));
        shim.stop(Duration::from_secs(5));
        shim.ended();
        let said = text(&plan, 0);
        assert!(said.contains("rank got it"), "{said}");
        assert_eq!(said.contains("child got it"), told, "{said}");
        shim.exit(true);
    }
}

#[test]
fn when_the_shim_is_killed_its_ranks_and_their_runaways_end_and_the_directory_goes() {
    let scratch = Scratch::new();
    for without_cgroup in [false, true] {
        let plan = plan(&scratch, 2, RUNAWAYS);
        let shim = if without_cgroup { Shim::start_without_cgroup(&scratch) } else { Shim::start() };
        let mut shim = shim.and_started(&plan);
        ready(&scratch, 2);
        let guardian = guardian_of(&shim);
        kill(shim.process.pid(), "KILL");
        shim.wait();
        nothing_left(&plan);
        eventually("the guardian goes", || (!is_alive(guardian)).then_some(()));
        assert!(!std::fs::exists(&plan.job_dir).unwrap());
        for rank in 0..2 {
            std::fs::remove_file(scratch.path(&format!("ready.{rank}"))).unwrap();
        }
    }
}

#[test]
fn a_new_shim_of_the_same_job_waits_for_the_guardian_of_the_old_one() {
    let scratch = Scratch::new();
    for _ in 0..3 {
        let mut plan = plan(&scratch, 1, RUNAWAYS);
        let mut shim = Shim::started(&plan);
        ready(&scratch, 1);
        guardian_of(&shim);
        kill(shim.process.pid(), "KILL");
        shim.wait();
        plan.command = vec!["true".into()];
        let mut next = Shim::prepared(&plan);
        let (exits, _) = next.run_to_end();
        assert!(exits[0].status.success());
        assert_eq!(marked(&plan), [] as [u32; 0]);
        next.exit(false);
        assert!(!std::fs::exists(&plan.job_dir).unwrap());
        std::fs::remove_file(scratch.path("ready.0")).unwrap();
    }
}

#[test]
fn when_the_shim_is_killed_held_ranks_end_without_having_run() {
    let scratch = Scratch::new();
    let plan = plan(&scratch, 2, "echo ran > $0");
    let mut shim = Shim::prepared(&plan);
    guardian_of(&shim);
    let held = children_called(shim.process.pid(), "phalanx-shim");
    assert_eq!(held.len(), 2);
    kill(shim.process.pid(), "KILL");
    shim.wait();
    eventually("held ranks end", || held.iter().all(|pid| !is_alive(*pid)).then_some(()));
    assert!(!std::fs::exists(scratch.path("ready")).unwrap());
}

#[test]
fn when_the_worker_is_gone_the_pod_gets_sigterm_then_sigkill_and_the_shim_leaves() {
    let scratch = Scratch::new();
    for (keep, kept) in [(Keep::Never, false), (Keep::OnFailure, true)] {
        let script =
            "trap 'echo termed >> $0.term' TERM; echo ready > $0.$RANK; while :; do sleep 0.05; done";
        let mut plan = plan(&scratch, 1, script);
        plan.keep = keep;
        let mut shim = Shim::started(&plan);
        ready(&scratch, 1);
        shim.process.socket.shutdown(std::net::Shutdown::Both).unwrap();
        line_in(&scratch.path("ready.term"));
        assert!(shim.wait().success());
        assert_eq!(marked(&plan), [] as [u32; 0], "the shim left last");
        assert_eq!(std::fs::exists(&plan.job_dir).unwrap(), kept);
        for file in ["ready.term", "ready.0"] {
            std::fs::remove_file(scratch.path(file)).unwrap();
        }
    }
}

#[test]
fn a_shim_without_a_pod_leaves_with_its_worker() {
    let mut shim = Shim::start();
    shim.process.socket.shutdown(std::net::Shutdown::Both).unwrap();
    assert!(shim.wait().success());
}

#[test]
fn a_shim_that_learns_of_its_workers_end_by_writing_leaves_too() {
    for _ in 0..20 {
        let exe = env!("CARGO_BIN_EXE_phalanx-worker").into();
        let options = SpawnOptions { exe, orphans: Orphans::LOCAL };
        // Dead before the shim says hello, or while it does.
        let ShimProcess { socket, mut child, .. } = spawn(&options, None).unwrap();
        drop(socket);
        eventually("the shim leaves", || child.try_wait().unwrap());
    }
}

#[test]
fn a_shim_that_is_terminated_ends_its_pod_first() {
    let scratch = Scratch::new();
    let plan = plan(&scratch, 1, RUNAWAYS);
    let mut shim = Shim::started(&plan);
    ready(&scratch, 1);
    kill(shim.process.pid(), "TERM");
    assert!(shim.exit_of(0).after_stop);
    shim.ended();
    assert!(shim.wait().success());
    nothing_left(&plan);
}

#[test]
fn suspend_stops_every_process_and_resume_lets_them_go_on() {
    let scratch = Scratch::new();
    let plan = plan(&scratch, 2, RUNAWAYS);
    let mut shim = Shim::started(&plan);
    ready(&scratch, 2);
    let pids = marked(&plan);
    shim.order(ShimOrder::Suspend);
    eventually("all are stopped", || pids.iter().all(|pid| is_stopped(*pid)).then_some(()));
    shim.order(ShimOrder::Resume);
    eventually("all go on", || pids.iter().all(|pid| !is_stopped(*pid)).then_some(()));
    shim.order(ShimOrder::Suspend);
    shim.stop(Duration::ZERO);
    shim.ended();
    nothing_left(&plan);
    shim.exit(true);
}

#[test]
fn the_grace_of_a_stop_does_not_run_while_the_pod_is_suspended() {
    let scratch = Scratch::new();
    let plan = plan(&scratch, 1, STUBBORN);
    let mut shim = Shim::started(&plan);
    ready(&scratch, 1);
    let pid = shim.pids()[0];
    shim.stop(Duration::from_millis(300));
    shim.order(ShimOrder::Suspend);
    eventually("it is stopped", || is_stopped(pid).then_some(()));
    std::thread::sleep(Duration::from_millis(600));
    assert!(is_alive(pid), "the grace ran on");
    shim.order(ShimOrder::Resume);
    shim.ended();
    shim.exit(true);
}

#[test]
fn a_worker_that_goes_while_the_pod_is_suspended_takes_it_along() {
    let scratch = Scratch::new();
    for stopped_before in [false, true] {
        let plan = plan(&scratch, 1, STUBBORN);
        let mut shim = Shim::started(&plan);
        ready(&scratch, 1);
        let pid = shim.pids()[0];
        if stopped_before {
            shim.stop(Duration::from_secs(600));
        }
        shim.order(ShimOrder::Suspend);
        eventually("it is stopped", || is_stopped(pid).then_some(()));
        shim.process.socket.shutdown(std::net::Shutdown::Both).unwrap();
        assert!(shim.wait().success());
        assert_eq!(marked(&plan), [] as [u32; 0]);
        std::fs::remove_file(scratch.path("ready.0")).unwrap();
    }
}

#[test]
fn a_lease_that_lapses_ends_the_pod_and_one_that_is_renewed_does_not() {
    let scratch = Scratch::new();
    let mut plan = plan(&scratch, 1, STUBBORN);
    plan.lease = Some(Duration::from_millis(300));
    let mut shim = Shim::prepared(&plan);
    shim.order(ShimOrder::Lease { remaining: Duration::from_secs(600) });
    shim.go(plan.generation);
    let pid = shim.pids()[0];
    std::thread::sleep(Duration::from_millis(500));
    assert!(is_alive(pid));
    shim.order(ShimOrder::Lease { remaining: Duration::from_millis(1) });
    assert!(shim.ended().lease_lapsed);
    assert!(shim.exit_of(0).after_stop);
    shim.exit(true);
}

#[test]
fn exit_in_the_middle_of_a_generation_ends_it_at_once() {
    let scratch = Scratch::new();
    let plan = plan(&scratch, 2, STUBBORN);
    let shim = Shim::started(&plan);
    ready(&scratch, 2);
    shim.exit(true);
    nothing_left(&plan);
    assert!(!std::fs::exists(&plan.job_dir).unwrap());
}

#[test]
fn a_directory_is_kept_as_the_plan_says() {
    let scratch = Scratch::new();
    let table = [
        (Keep::Never, true, false),
        (Keep::OnFailure, true, true),
        (Keep::OnFailure, false, false),
        (Keep::Always, false, true),
    ];
    for (keep, failed, kept) in table {
        let mut plan = shell(&scratch, 1, "echo data > $0/tmp/file");
        plan.command.push(plan.job_dir.clone());
        plan.keep = keep;
        let mut shim = Shim::prepared(&plan);
        shim.run_to_end();
        shim.exit(failed);
        let file = std::path::Path::new(&plan.job_dir).join("tmp/file");
        assert_eq!(file.exists(), kept, "{keep:?}, failed: {failed}");
        assert_eq!(std::fs::exists(&plan.job_dir).unwrap(), kept);
    }
}

#[test]
fn an_exit_tells_the_last_output_the_error_file_and_a_port_conflict() {
    let scratch = Scratch::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let script = format!(
        "echo out; echo 'OSError: port {port}: Address already in use' >&2; \
         echo '{{\"message\":\"boom\"}}' > \"$0\"; exit 3"
    );
    let mut plan = shell(&scratch, 1, &script);
    plan.ports = vec![port];
    plan.command.push(plan.ranks[0].error_file.clone());
    let mut shim = Shim::prepared(&plan);
    let (exits, _) = shim.run_to_end();
    let exit = &exits[0];
    assert_eq!(exit.status, code(3));
    assert!(exit.port_conflict);
    assert_eq!(exit.stdout_tail, b"out\n");
    assert!(exit.stderr_tail.starts_with(b"OSError"));
    assert_eq!(exit.error_file.as_deref(), Some(b"{\"message\":\"boom\"}\n".as_slice()));
    assert!(exit.at.0 > 1_700_000_000_000_000);
    shim.exit(true);
}

#[test]
fn an_error_file_that_is_a_link_or_a_fifo_is_not_followed() {
    let scratch = Scratch::new();
    let script =
        "if test $RANK = 0; then ln -s /etc/passwd \"$0/0.json\"; else mkfifo \"$0/1.json\"; fi; exit 1";
    let mut plan = shell(&scratch, 2, script);
    plan.command.push(scratch.path("base/test-job/errors"));
    let mut shim = Shim::prepared(&plan);
    let (exits, _) = shim.run_to_end();
    assert!(exits.iter().all(|exit| exit.error_file.is_none()), "{exits:?}");
    shim.exit(true);
}

#[test]
fn a_rank_that_dies_while_it_is_held_is_told() {
    let scratch = Scratch::new();
    let plan = shell(&scratch, 2, "true");
    let mut shim = Shim::prepared(&plan);
    guardian_of(&shim);
    let held = children_called(shim.process.pid(), "phalanx-shim");
    kill(held[0], "KILL");
    let exit = shim.until("Exited", |report| match report {
        ShimReport::Exited { exit, .. } => Some(exit.clone()),
        _ => None,
    });
    assert_eq!(exit.status, ExitStatus::Signal(9));
    assert!(!exit.after_stop);
    let before = cpu_ticks(shim.process.pid());
    std::thread::sleep(Duration::from_millis(300));
    assert!(cpu_ticks(shim.process.pid()) < before + 10, "the shim spins on the dead rank's pipes");
    shim.run_to_end();
    assert_eq!(output(&plan, 0, Stream::Stdout), b"");
    shim.exit(true);
}
