//! Pods of a cluster whose worker is gone: they run on for a while, and the next worker ends them.

use std::path::Path;
use std::time::{Duration, Instant};

use phalanx_common::spec::Keep;
use phalanx_worker::sweep;
use phalanx_worker_core::shim::{ProbePlan, ShimOrder, ShimPlan};

use crate::support::{
    Scratch, Shim, children_called, eventually, free_port, guardian_of, is_alive, is_stopped, marked,
    nothing_left, shell, text,
};

/// Longer than any test here runs.
const LONG: Duration = Duration::from_secs(600);
/// Writes lines for as long as it lives, and ends by its own handler.
const WRITER: &str =
    "trap 'echo termed; exit 0' TERM; i=0; while :; do i=$((i+1)); echo line $i; sleep 0.02; done";

fn lose_worker(shim: &Shim) {
    shim.process.socket.shutdown(std::net::Shutdown::Both).unwrap();
}

fn lines(plan: &ShimPlan) -> usize {
    text(plan, 0).lines().count()
}

#[test]
fn without_its_worker_a_pod_runs_on_until_the_limit_and_ends_with_the_grace_of_its_job() {
    let scratch = Scratch::new();
    let limit = Duration::from_millis(1500);
    // Rank 1 would go on for ever: the grace of the job ends it.
    let script =
        format!("test $RANK = 0 || trap '' TERM; test $RANK = 0 || while :; do sleep 0.1; done; {WRITER}");
    let mut plan = shell(&scratch, 2, &script);
    plan.termination_grace = Duration::from_millis(300);
    let mut shim = Shim::start_in_cluster(limit).and_started(&plan);
    let pids = shim.pids();
    eventually("the first line", || (lines(&plan) > 0).then_some(()));
    let begun = Instant::now();
    lose_worker(&shim);
    let written = lines(&plan);
    eventually("lines without a worker", || (lines(&plan) > written + 5).then_some(()));
    assert!(pids.iter().all(|pid| is_alive(*pid)), "nothing ends before the limit");
    assert!(shim.wait().success());
    let lasted = begun.elapsed();
    assert!(lasted >= limit + plan.termination_grace, "SIGKILL came after {lasted:?}");
    assert!(text(&plan, 0).ends_with("termed\n"), "SIGTERM came first, and the last line is there");
    assert_eq!(marked(&plan), [] as [u32; 0], "the shim left last");
    assert!(!std::fs::exists(&plan.job_dir).unwrap());
}

#[test]
fn without_its_worker_ranks_end_by_themselves_and_the_shim_follows_them() {
    let scratch = Scratch::new();
    let mut plan = shell(&scratch, 1, "until test -e $0; do sleep 0.02; done; echo bye");
    plan.command.push(scratch.path("go"));
    let mut shim = Shim::start_in_cluster(LONG).and_started(&plan);
    lose_worker(&shim);
    std::fs::write(scratch.path("go"), "").unwrap();
    assert!(shim.wait().success());
    assert_eq!(text(&plan, 0), "bye\n");
    assert!(!std::fs::exists(&plan.job_dir).unwrap());
}

#[test]
fn a_held_pod_does_not_wait_for_a_worker_that_could_release_it() {
    let scratch = Scratch::new();
    let mut plan = shell(&scratch, 2, "echo ran > $0");
    plan.command.push(scratch.path("ran"));
    let mut shim = Shim::start_in_cluster(LONG);
    shim.prepare(&plan);
    guardian_of(&shim);
    let held = children_called(shim.process.pid(), "phalanx-shim");
    lose_worker(&shim);
    assert!(shim.wait().success());
    assert!(held.iter().all(|pid| !is_alive(*pid)));
    assert!(!std::fs::exists(scratch.path("ran")).unwrap());
}

#[test]
fn a_lease_that_ends_before_the_limit_ends_the_pod() {
    let scratch = Scratch::new();
    let mut plan = shell(&scratch, 1, WRITER);
    plan.lease = Some(Duration::from_millis(500));
    let mut shim = Shim::start_in_cluster(LONG).and_started(&plan);
    lose_worker(&shim);
    assert!(shim.wait().success());
    nothing_left(&plan);
}

#[test]
fn without_its_worker_a_pod_still_answers_its_peers() {
    let scratch = Scratch::new();
    let key = [3; 32];
    let probe = |port| Some(ProbePlan { port, family: [127, 0, 0, 1].into(), key });
    let mut plan = shell(&scratch, 1, WRITER);
    let port = free_port();
    plan.probe = probe(port);
    let orphan = Shim::start_in_cluster(LONG).and_started(&plan);
    lose_worker(&orphan);
    let other = Scratch::new();
    let mut peers = shell(&other, 1, WRITER);
    peers.probe = probe(free_port());
    let mut peer = Shim::start_in_cluster(LONG).and_started(&peers);
    assert!(peer.hears(port));
    sweep::end_all(Path::new(&scratch.path("base")), None).unwrap();
    assert!(!peer.hears(port), "and no longer than it lives");
    peer.exit(true);
}

#[test]
fn the_next_worker_ends_a_pod_that_runs_on_and_its_log_is_whole() {
    let scratch = Scratch::new();
    for (keep, kept) in [(Keep::Never, false), (Keep::OnFailure, true)] {
        let mut plan =
            shell(&scratch, 2, &format!("setsid sleep 1000 & (env -i setsid sleep 1000 &); {WRITER}"));
        plan.keep = keep;
        let mut shim = Shim::start_in_cluster(LONG).and_started(&plan);
        eventually("lines", || (lines(&plan) > 5).then_some(()));
        let escaped = eventually("the daemon", || children_called(shim.process.pid(), "sleep").pop());
        lose_worker(&shim);
        let begun = Instant::now();
        let base = scratch.path("base");
        let ended = sweep::end_all(Path::new(&base), None).unwrap();
        assert!(begun.elapsed() < Duration::from_secs(5), "after {:?}", begun.elapsed());
        assert_eq!(ended.iter().map(|pod| &pod.job).collect::<Vec<_>>(), [&plan.job]);
        assert_eq!(marked(&plan), [] as [u32; 0], "nothing is alive when it says so");
        assert!(!is_alive(escaped), "nor what had left its session and its environment");
        assert!(shim.wait().success(), "the shim saw its ranks die and left by itself");
        assert_eq!(std::fs::exists(&plan.job_dir).unwrap(), kept);
        assert_eq!(sweep::end_all(Path::new(&base), None).unwrap(), [], "what is kept is no pod");
        assert_eq!(std::fs::exists(&plan.job_dir).unwrap(), kept);
        let said = text(&plan, 0);
        let whole = said.lines().zip(1..).all(|(line, i)| line == format!("line {i}"));
        assert!(whole && said.ends_with('\n'), "{said}");
    }
}

#[test]
fn a_suspended_pod_is_ended_by_the_next_worker_too() {
    let scratch = Scratch::new();
    let plan = shell(&scratch, 1, WRITER);
    let mut shim = Shim::start_in_cluster(LONG).and_started(&plan);
    let pid = shim.pids()[0];
    shim.order(ShimOrder::Suspend);
    eventually("it is stopped", || is_stopped(pid).then_some(()));
    lose_worker(&shim);
    sweep::end_all(Path::new(&scratch.path("base")), None).unwrap();
    assert!(shim.wait().success());
    nothing_left(&plan);
}
