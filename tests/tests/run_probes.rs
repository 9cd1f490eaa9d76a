//! `phalanx run` of jobs with probes: when a job is running, and what ends one that is not well.

mod support;

use std::time::Duration;

use serde_json::Value;
use support::{Finished, Running, Sandbox, wait_for};

/// Says its arguments on NOTIFY_SOCKET, each as a message.
const SAY: &str = r#"say() { perl -MSocket -e 'my $name = $ENV{NOTIFY_SOCKET}; $name =~ s/^@/\0/; socket(S, AF_UNIX, SOCK_DGRAM, 0) or die; send(S, $_, 0, pack_sockaddr_un($name)) or die "send: $!" for @ARGV' -- "$@"; }; "#;

/// Writes a job of a shell script, with these lines besides.
fn write(sandbox: &Sandbox, ranks: u32, script: &str, lines: &str) {
    let script = serde_json::to_string(&format!("{SAY}{script}")).expect("text");
    sandbox
        .file("job.yaml", &format!("name: probed\nranks: {ranks}\ncommand: [sh, -c, {script}]\n{lines}\n"));
}

fn run(sandbox: &Sandbox, ranks: u32, script: &str, lines: &str, flags: &[&str]) -> Finished {
    write(sandbox, ranks, script, lines);
    sandbox.run(&[&["run", "-f", "job.yaml"], flags].concat())
}

/// Starts it; its events go to a file.
fn start(sandbox: &Sandbox) -> Running {
    let mut command = sandbox.phalanx(&["run", "-f", "job.yaml", "--json"]);
    command.stdout(std::fs::File::create(sandbox.dir.join("events")).expect("a file for the test"));
    Running::start(command)
}

/// Events so far of ranks that are ready or not, of the gang that runs, and of exits.
fn events(sandbox: &Sandbox) -> Vec<Value> {
    let text = std::fs::read_to_string(sandbox.dir.join("events")).unwrap_or_default();
    let all = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let wanted = ["ranks_ready", "rank_not_ready", "gang_running", "gang_restarting", "rank_exited"];
    all.filter(|event| wanted.contains(&event["event"].as_str().unwrap_or_default())).collect()
}

/// The event that is the `count`th of them, which has to be of this kind.
fn wait_for_event(sandbox: &Sandbox, count: usize, kind: &str) -> Value {
    let event = wait_for(kind, || events(sandbox).into_iter().nth(count));
    assert_eq!(event["event"], kind, "{event:#}");
    event
}

#[test]
fn a_job_is_running_once_every_rank_says_that_it_is_ready() {
    let sandbox = Sandbox::new();
    let script =
        "until test -e ready-$RANK; do sleep 0.02; done; say READY=1; until test -e go; do sleep 0.02; done";
    write(&sandbox, 2, script, "readinessProbe: {notify: {}}");
    let running = start(&sandbox);
    for (count, rank) in [1, 0].into_iter().enumerate() {
        sandbox.file(&format!("ready-{rank}"), "");
        assert_eq!(wait_for_event(&sandbox, count, "ranks_ready")["ranks"], serde_json::json!([rank]));
    }
    wait_for_event(&sandbox, 2, "gang_running");
    sandbox.file("go", "");
    running.finish().assert_code(0);
}

#[test]
fn a_job_that_is_not_ready_in_time_names_ranks_probe_message_and_last_words() {
    let sandbox = Sandbox::new();
    let lines = "startTimeoutSeconds: 3\nstartupProbe: {log: {pattern: \"^step [0-9]+\"}, periodSeconds: 0.5, failureThreshold: 100}\n\
                 readinessProbe: {exec: {command: [sh, -c, \"test $RANK != 1 || { echo no shard; exit 4; }\"]}, periodSeconds: 0.2}";
    let script = "echo step 1; echo waiting for shard $RANK >&2; exec sleep 1000";
    let done = run(&sandbox, 3, script, lines, &[]);
    done.assert_code(125)
        .assert_says("not ready before the start deadline: rank 1 (started, not ready)")
        .assert_says("readiness probe: exit code 4: no shard")
        .assert_says("last lines of rank 1's stderr:\n    waiting for shard 1");
    sandbox.assert_empty_within(Duration::ZERO);
}

#[test]
fn a_rank_that_is_not_alive_fails_the_job_with_its_probe_and_a_restart_mends_it() {
    let sandbox = Sandbox::new();
    let lines =
        "startupProbe: {notify: {}}\nlivenessProbe: {notify: {}, periodSeconds: 1, failureThreshold: 2}";
    let script = "say READY=1; test $RANK.$TORCHELASTIC_RESTART_COUNT = 1.0 && exec sleep 1000; \
                  for beat in 1 2 3 4 5 6 7 8; do say WATCHDOG=1; sleep 0.3; done";
    let what = "was ended, its liveness probe failed: no WATCHDOG=1 was heard within 1 s";
    run(&sandbox, 2, script, lines, &[]).assert_code(143).assert_says("rank 1 on ").assert_says(what);
    run(&sandbox, 2, script, lines, &["--max-restarts", "1"])
        .assert_code(0)
        .assert_says(what)
        .assert_says("restarting the gang at once (restart 1 of 1)");
}

#[test]
fn readiness_that_is_lost_is_said_and_the_job_goes_on() {
    let sandbox = Sandbox::new();
    let lines = "readinessProbe: {exec: {command: [sh, -c, \"test -e ready-$RANK || { echo gone; false; }\"]}, \
                 periodSeconds: 0.1, failureThreshold: 1}";
    sandbox.file("ready-0", "");
    write(&sandbox, 1, "until test -e go; do sleep 0.02; done", lines);
    let running = start(&sandbox);
    wait_for_event(&sandbox, 0, "ranks_ready");
    wait_for_event(&sandbox, 1, "gang_running");
    std::fs::remove_file(sandbox.dir.join("ready-0")).unwrap();
    let lost = wait_for_event(&sandbox, 2, "rank_not_ready");
    assert_eq!(lost["waits"], serde_json::json!({"probe": "readiness", "message": "exit code 1: gone"}));
    sandbox.file("ready-0", "");
    wait_for_event(&sandbox, 3, "ranks_ready");
    sandbox.file("go", "");
    running.finish().assert_code(0);
    wait_for_event(&sandbox, 4, "rank_exited");
    assert_eq!(events(&sandbox).len(), 5);
}

#[test]
fn check_prints_probes_with_nothing_left_out() {
    let sandbox = Sandbox::new();
    sandbox
        .file("job.yaml", "command: [a]\nlivenessProbe: {tcpSocket: {port: 8000, portPerLocalRank: true}}\n");
    let done = sandbox.run(&["check", "-f", "job.yaml"]);
    done.assert_code(0);
    sandbox.file("again.yaml", &done.out());
    let again = sandbox.run(&["check", "-f", "again.yaml"]);
    again.assert_code(0);
    assert_eq!(done.out(), again.out());
    for line in ["\"periodSeconds\": 10", "\"portPerLocalRank\": true", "\"failureThreshold\": 3"] {
        assert!(done.out().contains(line), "{}", done.out());
    }
}
