//! `phalanx run` of jobs with init containers, sidecars and hooks.

mod support;

use std::time::Duration;

use support::{Running, Sandbox, kill};

/// A program that ends well when it is told to.
const PATIENT: &str = "trap 'echo told; exit 0' TERM; echo up > up-$RANK; while :; do sleep 0.05; done";

fn write(sandbox: &Sandbox, script: &str, lines: &str) {
    let script = serde_json::to_string(script).expect("text");
    let text = format!("name: life\nranks: 2\ncommand: [sh, -c, {script}]\n{lines}\n");
    sandbox.file("job.yaml", &text);
}

#[test]
fn init_containers_come_before_the_ranks_sidecars_after_them_and_hooks_between() {
    let sandbox = Sandbox::new();
    let lines = "lifecycle:\n  postStart: {exec: {command: [sh, -c, \"echo post $RANK >> told\"]}}\n\
                 initContainers:\n\
                 - {name: fetch, command: [sh, -c, \"echo $GREETING > $TMPDIR/data; echo fetch $RANK >> told\"], env: {GREETING: hello}}\n\
                 - name: beside\n  command: [sh, -c, \"trap 'echo end >> told; exit 0' TERM; touch $TMPDIR/beside; while :; do sleep 0.02; done\"]\n  \
                   restartPolicy: Always\n  startupProbe: {exec: {command: [sh, -c, \"test -e $TMPDIR/beside\"]}, periodSeconds: 0.1}";
    let script =
        "cat $TMPDIR/data; until test $(grep -c post told) = 2; do sleep 0.02; done; echo rank >> told";
    write(&sandbox, script, lines);
    let done = sandbox.run(&["run", "-f", "job.yaml", "--output", "raw"]);
    done.assert_code(0);
    assert_eq!(done.sorted(), ["hello", "hello"]);
    let told = std::fs::read_to_string(sandbox.dir.join("told")).expect("what was told");
    let mut told: Vec<&str> = told.lines().map(str::trim).collect();
    // The hooks of two ranks are not one after another.
    told[1..3].sort_unstable();
    assert_eq!(told, ["fetch", "post 0", "post 1", "rank", "rank", "end"]);
    sandbox.assert_empty_within(Duration::ZERO);
}

#[test]
fn an_init_container_that_fails_is_the_reason_and_a_restart_may_mend_it() {
    let sandbox = Sandbox::new();
    let fails = "initContainers: [{name: fetch, command: [sh, -c, \"echo no such bucket >&2; exit 3\"]}]";
    write(&sandbox, "touch ran", fails);
    let done = sandbox.run(&["run", "-f", "job.yaml"]);
    done.assert_code(125).assert_says(
        "the init container fetch ended with exit code 3: no such bucket; all that it wrote is in ",
    );
    assert!(!sandbox.dir.join("ran").exists());
    let mended = "maxRestarts: 1\n\
                  initContainers: [{name: fetch, command: [sh, -c, \"test -e tried || { touch tried; exit 3; }\"]}]";
    write(&sandbox, "touch ran-$RANK", mended);
    sandbox.run(&["run", "-f", "job.yaml"]).assert_code(0).assert_says("restarting the gang");
    assert!(sandbox.dir.join("ran-1").exists());
    let ruled = "maxRestarts: 5\nfailureRules: [{reasons: [InitFailed], action: FailJob}]\n";
    write(&sandbox, "true", &format!("{ruled}{fails}"));
    sandbox
        .run(&["run", "-f", "job.yaml"])
        .assert_code(125)
        .assert_says("failureRules[0] of the job says FailJob");
    sandbox.assert_empty_within(Duration::ZERO);
}

#[test]
fn who_stops_a_job_lets_its_ranks_save_and_a_failure_does_not() {
    let sandbox = Sandbox::new();
    let lines = "lifecycle: {preStop: {exec: {command: [sh, -c, \"echo saved >> saved-$RANK\"]}}}";
    write(&sandbox, PATIENT, lines);
    let running = Running::start(sandbox.phalanx(&["run", "-f", "job.yaml"]));
    sandbox.wait_for_file("up-0");
    sandbox.wait_for_file("up-1");
    kill(running.pid(), "INT");
    running.finish().assert_code(130);
    for rank in 0..2 {
        assert_eq!(
            std::fs::read_to_string(sandbox.dir.join(format!("saved-{rank}"))).expect("it saved"),
            "saved\n"
        );
        std::fs::remove_file(sandbox.dir.join(format!("saved-{rank}"))).expect("it is there");
    }
    write(
        &sandbox,
        &format!("test $RANK = 0 && {{ until test -e up-1; do sleep 0.02; done; exit 7; }}; {PATIENT}"),
        lines,
    );
    std::fs::remove_file(sandbox.dir.join("up-1")).expect("it is there");
    sandbox.run(&["run", "-f", "job.yaml"]).assert_code(7);
    assert!(!sandbox.dir.join("saved-1").exists());
    sandbox.assert_empty_within(Duration::ZERO);
}

#[test]
fn a_pre_stop_hook_that_hangs_costs_no_more_than_the_grace_and_is_told() {
    let sandbox = Sandbox::new();
    let lines = "terminationGracePeriodSeconds: 1\nlifecycle: {preStop: {exec: {command: [sleep, \"600\"]}}}";
    write(&sandbox, PATIENT, lines);
    let running = Running::start(sandbox.phalanx(&["run", "-f", "job.yaml", "--output", "raw"]));
    sandbox.wait_for_file("up-0");
    sandbox.wait_for_file("up-1");
    kill(running.pid(), "INT");
    let done = running.finish();
    done.assert_code(130).assert_says("the preStop hook of rank 0 failed (it was not done within the grace)");
    assert_eq!(done.sorted(), ["told", "told"]);
    sandbox.assert_empty_within(Duration::ZERO);
}

#[test]
fn a_post_start_hook_that_fails_ends_its_rank_and_the_job_says_so() {
    let sandbox = Sandbox::new();
    let lines = "lifecycle: {postStart: {exec: {command: [sh, -c, \"echo no licence; test $RANK = 0\"]}}}";
    write(&sandbox, PATIENT, lines);
    let done = sandbox.run(&["run", "-f", "job.yaml"]);
    done.assert_says("its postStart hook failed: exit code 1: no licence");
    sandbox.assert_empty_within(Duration::ZERO);
}
