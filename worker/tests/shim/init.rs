//! Init containers and sidecars, with real processes.

use std::path::Path;
use std::time::Duration;

use phalanx_common::exit::ExitStatus;
use phalanx_common::health::Question;
use phalanx_common::id::Generation;
use phalanx_common::report::PrepareFailureKind;
use phalanx_common::spec::Probe;
use phalanx_worker_core::shim::{ShimInit, ShimOrder, ShimPlan, ShimReport};

use crate::probes::{end, exec};
use crate::support::{GENERATION, Scratch, Shim, eventually, nothing_left, shell, text};

const LONG: Duration = Duration::from_secs(60);

fn init(scratch: &Scratch, name: &str, script: &str) -> ShimInit {
    ShimInit {
        name: name.to_owned(),
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        env: vec![("PHALANX_POD".into(), shell(scratch, 0, "").mark)],
        log_dir: scratch.path(&format!("logs/1/{name}@0")),
        sidecar: false,
        startup: None,
    }
}

fn sidecar(scratch: &Scratch, name: &str, script: &str, startup: Option<Probe>) -> ShimInit {
    ShimInit { sidecar: true, startup, ..init(scratch, name, script) }
}

/// What is in the file, once there is something.
fn lines(path: &str) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// What the ranks of the pod wait for, if this says so.
fn waited_for(report: &ShimReport) -> Option<String> {
    let ShimReport::Health { ranks, .. } = report else { return None };
    let waits = ranks.first()?.waits.clone().filter(|waits| waits.probe == Question::Init)?;
    assert!(ranks.iter().all(|rank| !rank.ready && rank.waits.as_ref() == Some(&waits)));
    Some(waits.message)
}

fn prepared(shim: &mut Shim, plan: &ShimPlan) {
    shim.prepare(plan);
    let early =
        shim.heard.iter().any(|it| matches!(it, ShimReport::Exited { .. } | ShimReport::Ended { .. }));
    assert!(!early);
}

#[test]
fn they_run_one_after_another_and_to_their_end_before_there_are_ranks() {
    let scratch = Scratch::new();
    let told = scratch.path("told");
    let say = |what: &str| format!("echo {what} begins >> {told}; sleep 0.2; echo {what} ends >> {told}");
    // Even the program of the ranks may come from one.
    let program = scratch.path("program");
    let make = format!("printf '#!/bin/sh\necho rank >> {told}\n' > {program}; chmod +x {program}");
    let plan = ShimPlan {
        init: vec![
            init(&scratch, "a", &say("a")),
            init(&scratch, "b", &say("b")),
            init(&scratch, "c", &make),
        ],
        command: vec![program],
        ..shell(&scratch, 1, "")
    };
    let mut shim = Shim::start();
    prepared(&mut shim, &plan);
    assert_eq!(lines(&told), ["a begins", "a ends", "b begins", "b ends"]);
    let waited: Vec<String> = shim.heard.iter().filter_map(waited_for).collect();
    assert_eq!(waited, ["a, 1 of 3", "b, 2 of 3", "c, 3 of 3"], "each is told once");
    shim.run_to_end();
    assert_eq!(lines(&told).last().unwrap(), "rank");
    nothing_left(&plan);
}

#[test]
fn one_that_fails_ends_the_preparation_with_what_it_said_and_leaves_nothing() {
    let scratch = Scratch::new();
    let never = scratch.path("never");
    let mut plan = shell(&scratch, 2, "true");
    plan.init = vec![
        sidecar(&scratch, "beside", "sleep 600", None),
        init(&scratch, "fetch", "echo no such set >&2; sleep 600 & exit 4"),
        init(&scratch, "after", &format!("touch {never}")),
    ];
    let mut shim = Shim::start();
    let refused = shim.refused(&plan);
    assert_eq!(refused.kind, PrepareFailureKind::Init);
    let wanted = "the init container fetch ended with exit code 4: no such set; all that it wrote is in ";
    assert!(refused.message.starts_with(wanted), "{}", refused.message);
    assert!(!Path::new(&never).exists());
    nothing_left(&plan);
    // And the next generation may do better.
    plan.generation = Generation(2);
    plan.init.truncate(1);
    shim.heard.clear();
    shim.prepare(&plan);
    shim.go(plan.generation);
    shim.ended_of(plan.generation);
    nothing_left(&plan);
}

#[test]
fn a_program_that_is_missing_is_refused_before_anything_runs() {
    let scratch = Scratch::new();
    let began = scratch.path("began");
    let mut missing = init(&scratch, "b", "");
    missing.command = vec!["no-such-program".to_owned()];
    let plan = ShimPlan {
        init: vec![init(&scratch, "a", &format!("touch {began}")), missing],
        ..shell(&scratch, 1, "true")
    };
    let refused = Shim::start().refused(&plan);
    assert_eq!(refused.kind, PrepareFailureKind::CommandNotFound);
    assert!(refused.message.starts_with("the init container b: "), "{}", refused.message);
    assert!(!Path::new(&began).exists());
}

#[test]
fn a_stop_ends_one_that_runs_and_is_the_end_of_the_generation() {
    let scratch = Scratch::new();
    let began = scratch.path("began");
    let wait = format!("touch {began}; exec sleep 600");
    let plan = ShimPlan { init: vec![init(&scratch, "a", &wait)], ..shell(&scratch, 1, "true") };
    let mut shim = Shim::start();
    shim.order(ShimOrder::Prepare(Box::new(plan.clone())));
    eventually("it runs", || Path::new(&began).exists().then_some(()));
    shim.order(ShimOrder::Go { generation: GENERATION });
    shim.stop(LONG);
    shim.ended();
    assert!(shim.exits().is_empty());
    nothing_left(&plan);
}

#[test]
fn sidecars_run_beside_the_ranks_and_end_after_them_the_last_one_first() {
    let scratch = Scratch::new();
    let told = scratch.path("told");
    let beside = |name: &str| {
        let script = format!(
            "trap 'echo {name} ends >> {told}; exit 1' TERM; echo {name} >> {told}; while :; do sleep 0.02; done"
        );
        let startup = exec(&format!("grep -q {name} {told}"));
        sidecar(&scratch, name, &script, Some(Probe { failure_threshold: 600, ..startup }))
    };
    let plan = ShimPlan {
        init: vec![beside("one"), beside("two")],
        ..shell(&scratch, 2, &format!("sleep 0.2; echo rank >> {told}"))
    };
    let mut shim = Shim::start();
    prepared(&mut shim, &plan);
    assert_eq!(lines(&told), ["one", "two"]);
    let (exits, end) = shim.run_to_end();
    assert!(exits.iter().all(|exit| exit.status == ExitStatus::SUCCESS));
    assert_eq!(end.swept, 0);
    assert_eq!(lines(&told), ["one", "two", "rank", "rank", "two ends", "one ends"]);
    nothing_left(&plan);
}

#[test]
fn a_sidecar_that_ends_is_started_again_and_one_that_ignores_its_end_is_killed() {
    let scratch = Scratch::new();
    let told = scratch.path("told");
    let falls =
        format!("echo up >> {told}; test $(wc -l < {told}) -ge 3 || exit 1; trap '' TERM; exec sleep 600");
    let plan = ShimPlan {
        init: vec![sidecar(&scratch, "falls", &falls, None)],
        termination_grace: Duration::from_millis(300),
        // A sidecar that has begun may not have said anything yet.
        ..shell(&scratch, 1, &format!("until test $(cat {told} 2>&1 | wc -l) -ge 3; do sleep 0.05; done"))
    };
    let mut shim = Shim::start();
    prepared(&mut shim, &plan);
    let (exits, _) = shim.run_to_end();
    assert_eq!(exits[0].status, ExitStatus::SUCCESS);
    assert_eq!(lines(&told).len(), 3);
    nothing_left(&plan);
}

#[test]
fn ranks_wait_for_the_startup_probe_of_a_sidecar() {
    let scratch = Scratch::new();
    let (ready, asked, early) = (scratch.path("ready"), scratch.path("asked"), scratch.path("early"));
    let startup = Probe { failure_threshold: 600, ..exec(&format!("touch {asked}; test -e {ready}")) };
    let plan = ShimPlan {
        init: vec![
            sidecar(&scratch, "slow", "exec sleep 600", Some(startup)),
            init(&scratch, "after", &format!("test -e {ready} || touch {early}")),
        ],
        ..shell(&scratch, 1, "echo up; exec sleep 600")
    };
    let mut shim = Shim::start();
    shim.order(ShimOrder::Prepare(Box::new(plan.clone())));
    eventually("it is asked", || Path::new(&asked).exists().then_some(()));
    std::fs::write(&ready, "").unwrap();
    shim.until("Prepared", |report| matches!(report, ShimReport::Prepared { .. }).then_some(()));
    assert!(!Path::new(&early).exists(), "what comes after it began before it was ready");
    shim.go(GENERATION);
    eventually("the rank runs", || text(&plan, 0).contains("up").then_some(()));
    end(shim, &plan);
}

#[test]
fn what_is_to_be_done_once_is_not_done_again_for_the_next_generation() {
    let scratch = Scratch::new();
    let told = scratch.path("told");
    let mut plan = shell(&scratch, 1, "");
    let tmp = format!("{}/tmp", plan.job_dir);
    plan.command = ["cat".to_owned(), format!("{tmp}/set")].to_vec();
    plan.init = vec![init(&scratch, "fetch", &format!("echo fetched >> {told}; echo data > {tmp}/set"))];
    plan.init_once = true;
    let mut shim = Shim::start();
    for generation in [1, 2] {
        plan.generation = Generation(generation);
        shim.prepare(&plan);
        shim.go(plan.generation);
        shim.ended_of(plan.generation);
    }
    assert_eq!(lines(&told).len(), 1);
    let ends = shim.exits();
    assert!(ends.len() == 2 && ends.iter().all(|exit| exit.stdout_tail == b"data\n"), "{ends:?}");
    plan.init_once = false;
    plan.generation = Generation(3);
    shim.prepare(&plan);
    assert_eq!(lines(&told).len(), 2);
    shim.order(ShimOrder::Stop { generation: plan.generation, grace: Duration::ZERO, pre_stop: false });
    shim.ended_of(plan.generation);
    nothing_left(&plan);
}

#[test]
fn what_they_write_is_in_files_of_their_own() {
    let scratch = Scratch::new();
    let plan = ShimPlan {
        init: vec![init(&scratch, "says", "echo out; echo err >&2")],
        ..shell(&scratch, 1, "true")
    };
    let mut shim = Shim::start();
    prepared(&mut shim, &plan);
    let read = |name: &str| std::fs::read_to_string(scratch.path(&format!("logs/1/says@0/{name}"))).unwrap();
    assert_eq!((read("stdout.log").as_str(), read("stderr.log").as_str()), ("out\n", "err\n"));
    shim.run_to_end();
    nothing_left(&plan);
}
