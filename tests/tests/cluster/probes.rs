//! Probes of a job on several nodes, and what `status` shows of them.

use crate::lab::Lab;
use crate::support::wait_for;

/// Says its arguments on NOTIFY_SOCKET, each as a message.
const SAY: &str = r#"say() { perl -MSocket -e 'my $name = $ENV{NOTIFY_SOCKET}; $name =~ s/^@/\0/; socket(S, AF_UNIX, SOCK_DGRAM, 0) or die; send(S, $_, 0, pack_sockaddr_un($name)) or die "send: $!" for @ARGV' -- "$@"; }; "#;

#[test]
fn who_is_ready_and_what_ranks_say_is_shown_and_the_deadline_names_who_is_not() {
    let Some(lab) = Lab::joined(2) else { return };
    let script = format!(
        "{SAY} echo looking for shard $RANK >&2; say \"STATUS=epoch $RANK\"; test $RANK = 0 && say READY=1; exec sleep 1000"
    );
    let script = serde_json::to_string(&script).expect("text");
    let job = format!(
        "name: gated\nnodes: 2\nranksPerNode: 1\nstartTimeoutSeconds: 15\nterminationGracePeriodSeconds: 1\n\
         readinessProbe: {{notify: {{}}}}\nworkingDir: /\ncommand: [sh, -c, {script}]\n"
    );
    let file = lab.dir.join("gated.yaml");
    std::fs::write(&file, job).expect("a job file");
    lab.run(&["submit", "-f", &file.to_string_lossy()]).assert_code(0);
    let status = wait_for("rank 0 to be ready", || {
        let status = lab.run(&["status", "gated"]).assert_code(0).out();
        (status.contains("1 of 2 ranks") && status.contains("epoch 1")).then_some(status)
    });
    assert!(status.contains(": starting, 2 ranks of"), "{status}");
    assert!(status.contains("  rank 0       says: epoch 0\n"), "{status}");
    let waits =
        "  rank 1       not ready, readiness probe: no READY=1 was heard\n               says: epoch 1\n";
    assert!(status.contains(waits), "{status}");
    let json = lab.run(&["status", "gated", "--json"]).assert_code(0).out();
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&json["pods"][0]["ready"], &json["pods"][1]["ready"]), (&1.into(), &0.into()));

    let status = wait_for("the deadline, and last words", || {
        let status = lab.run(&["status", "gated"]).assert_code(0).out();
        status.contains("looking for shard 1").then_some(status)
    });
    let why = "why          not ready before the start deadline: rank 1 (started, not ready)\n                 rank 1 on node2-";
    assert!(status.contains(why), "{status}");
    assert!(status.contains(", readiness probe: no READY=1 was heard (exit code 125)"), "{status}");
    assert!(!status.contains("says:"), "{status}");
}

#[test]
fn a_rank_that_is_not_alive_is_ended_on_its_node_and_the_gang_starts_anew() {
    let Some(lab) = Lab::joined(2) else { return };
    let script = "test $PHALANX_GENERATION = 1 -a $RANK = 1 && exec sleep 1000; for i in 1 2 3 4 5 6 7 8; do echo step $i; sleep 0.3; done";
    let job = format!(
        "name: alive\nnodes: 2\nranksPerNode: 1\nmaxRestarts: 1\nworkingDir: /\ncommand: [sh, -c, {}]\n\
         livenessProbe: {{log: {{pattern: \"^step\"}}, periodSeconds: 1, failureThreshold: 2}}\n",
        serde_json::to_string(script).expect("text")
    );
    let file = lab.dir.join("alive.yaml");
    std::fs::write(&file, job).expect("a job file");
    lab.run(&["run", "-f", &file.to_string_lossy()])
        .assert_code(0)
        .assert_says("was ended, its liveness probe failed: no line of its output had the pattern within 1 s")
        .assert_says("restarting the gang at once (restart 1 of 1)");
}
