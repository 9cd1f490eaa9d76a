//! What is left behind by what did not work or is over, and what is said then.

use std::fs;

use crate::lab::Lab;
use crate::support::{Running, wait_for};

#[test]
fn a_worker_that_has_not_joined_or_may_not_leaves_no_directory() {
    let Some(mut lab) = Lab::new(1) else { return };
    lab.serve();
    let state = lab.dir.join("deep/down");
    let dir = state.to_string_lossy().into_owned();
    let worker = crate::lab::worker();
    let never = Running::start(lab.on("node1", &worker, &["run", "--state-dir", &dir])).finish();
    never.assert_code(125).assert_says("this node has not joined a cluster");
    let token = lab.operate(&["token", "create", "--quiet"]).out().trim().to_owned();
    let id = lab.operate(&["token", "list"]).out();
    let id = id.lines().nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    lab.operate(&["token", "revoke", &id]).assert_code(0);
    let mut join = lab.on("node1", &worker, &["join", &lab.coordinator(), "--state-dir", &dir]);
    join.env("PHALANX_TOKEN", token);
    Running::start(join).finish().assert_code(125);
    assert!(!lab.dir.join("deep").exists(), "a directory was left");
}

#[test]
fn a_coordinator_whose_port_is_taken_leaves_no_directory_and_one_that_ends_no_socket() {
    let Some(mut lab) = Lab::new(0) else { return };
    lab.serve();
    let socket = lab.dir.join("coordinator/login.sock");
    assert!(socket.exists());
    let other = lab.dir.join("other").to_string_lossy().into_owned();
    let address = lab.coordinator();
    let binary = crate::support::binary().to_string_lossy().into_owned();
    let taken = lab.on("head", &binary, &["serve", "--listen", &address, "--state-dir", &other]);
    Running::start(taken).finish().assert_code(125).assert_says("Address already in use");
    assert!(!lab.dir.join("other").exists(), "a directory was left");
    lab.terminate("coordinator");
    assert!(!socket.exists(), "nobody takes logins there");
    let log = lab.log("coordinator");
    assert!(log.contains(&format!("log in with: phalanx login --socket {}", socket.display())), "{log}");
    let login = lab.run(&["login"]);
    login.assert_code(125).assert_says("phalanx login --socket DIR/login.sock");
}

#[test]
fn the_mark_of_a_pod_goes_with_the_next_start_of_its_worker() {
    let Some(mut lab) = Lab::joined(1) else { return };
    let pods = lab.dir.join("node1/pods");
    lab.run(&["submit", "--", "sh", "-c", "touch began; exec sleep 600"]).assert_code(0);
    lab.wait_for_file("began", "");
    lab.terminate("node1");
    // What a shim of root leaves that came to its end without a worker.
    let job = lab.only_job();
    assert!(pods.join(format!("{job}.mark")).exists(), "root's job has its mark beside its directory");
    fs::write(pods.join("gone-1.mark"), "gone-1@node1/1").unwrap();
    lab.start_worker("node1");
    lab.wait_ready("node1");
    let left = || fs::read_dir(&pods).unwrap().flatten().map(|entry| entry.file_name()).collect::<Vec<_>>();
    wait_for("nothing to be left", || left().is_empty().then_some(()));
}

#[test]
fn a_job_that_has_no_output_yet_says_why_and_attempts_are_told_apart() {
    let Some(mut lab) = Lab::served(1) else { return };
    let waits = lab.run(&["submit", "--", "true"]).assert_code(0).out().trim().to_owned();
    lab.run(&["logs", &waits]).assert_code(0).assert_says(&format!("phalanx: {waits} waits: needs"));
    lab.run(&["stop", &waits]).assert_code(0);
    lab.join("node1");
    let script = "echo $PHALANX_GENERATION; exit 1";
    lab.run(&["run", "--max-restarts", "1", "--name", "twice", "--", "sh", "-c", script]).assert_code(1);
    let logs = lab.run(&["logs", "twice"]);
    assert_eq!(logs.assert_code(0).out(), "[0] 1\n[0] 2\n");
    assert_eq!(logs.err(), "phalanx: generation 1\nphalanx: generation 2\n");
    let status = lab.run(&["status", "twice"]).assert_code(0).out();
    assert!(status.contains("why          rank 0 on node1-"), "{status}");
    assert!(
        status.contains("last words   phalanx logs twice-") && !status.contains("(exit code"),
        "{status}"
    );
    let words = "echo begun; printf 'a loss of \\033[2Jnan\\nat step 7\\n' >&2; exit 3";
    lab.run(&["run", "--name", "words", "--", "sh", "-c", words]).assert_code(3);
    let status = wait_for("its last words", || {
        Some(lab.run(&["status", "words"]).assert_code(0).out()).filter(|status| status.contains("at step 7"))
    });
    let shown = " --rank 0\n                 a loss of [2Jnan\n                 at step 7\n";
    assert!(status.contains(shown) && !status.contains("  begun\n"), "{status}");
    let json = lab.run(&["status", "words", "--json"]).assert_code(0).out();
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&json["last_words"][1], &json["phase"]), (&"at step 7".into(), &"ended".into()));
}

#[test]
fn what_a_user_of_one_machine_takes_for_granted_is_explained() {
    let Some(lab) = Lab::joined(1) else { return };
    lab.run(&["run", "--", "no-such-program"]).assert_code(127).assert_says("your PATH does not travel");
    let nowhere = lab.run(&["run", "-C", "/no/such/directory", "--", "true"]);
    nowhere.assert_code(125).assert_says("share the path between the nodes, or send the directory along");
    let denied = lab.run(&["token", "create"]);
    denied
        .assert_code(125)
        .assert_says("--identity FILE")
        .assert_says("operator.json in the state directory");
    let bundle = lab.run(&["login", "--bundle", "/etc/passwd"]);
    bundle.assert_code(125).assert_says("not the JSON of an identity");
    lab.operate(&["token", "create", "--ttl", "10"])
        .assert_code(125)
        .assert_says("give a unit: 10s, 10m or 10h");
}
