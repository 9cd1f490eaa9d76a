//! Jobs before their first rank runs: which nodes take them, and what becomes of those that do not.

use std::time::{Duration, Instant};

use crate::lab::Lab;
use crate::support::{Running, wait_for};

#[test]
fn a_worker_that_was_told_to_end_is_gone_at_once_and_gets_no_job() {
    let Some(mut lab) = Lab::joined(2) else { return };
    lab.terminate("node1");
    assert!(lab.log("node1").contains("told to end"), "{}", lab.log("node1"));
    let ended = Instant::now();
    let nodes = lab.operate(&["nodes"]).out();
    let line = nodes.lines().find(|line| line.starts_with("node1-")).unwrap();
    assert!(line.contains("unreachable"), "{line}");
    let done = lab.run(&["run", "--", "hostname"]);
    assert_eq!(done.assert_code(0).out(), "[0] node2\n");
    assert!(ended.elapsed() < Duration::from_secs(5), "{:?}", ended.elapsed());
}

#[test]
fn a_job_goes_to_a_node_that_takes_it_and_names_those_that_do_not() {
    let Some(mut lab) = Lab::served(2) else { return };
    lab.join_plain("node1");
    lab.join_plain("node2");
    lab.terminate("node2");
    lab.start_worker("node2");
    lab.wait_ready("node2");
    let done = lab.run(&["run", "--", "hostname"]);
    assert_eq!(done.assert_code(0).out(), "[0] node2\n");
    done.assert_says("node1-").assert_says("placing them again without it");
    let nowhere = lab.run(&["run", "--nodes", "2", "--ranks-per-node", "1", "--", "hostname"]);
    nowhere.assert_code(125).assert_says("failed: node1-").assert_says("--allow-root-jobs");
    assert!(!nowhere.err().contains("output is missing"), "{}", nowhere.err());
    lab.operate(&["user", "add", "ghost", "--unix-user", "phx-ghost", "--out", "ghost.json"]).assert_code(0);
    let mut command = lab.phalanx(&["run", "--max-restarts", "0", "--", "true"]);
    command.env("PHALANX_IDENTITY", lab.dir.join("ghost.json"));
    let ghost = Running::start(command).finish();
    ghost.assert_code(125).assert_says("there is no user phx-ghost").assert_says("; the same on node");
    assert!(!ghost.err().contains("output is missing"), "{}", ghost.err());
}

#[test]
fn a_job_that_only_waits_is_given_up_by_ctrl_c_in_words_that_are_true() {
    let Some(lab) = Lab::served(0) else { return };
    let running = Running::start(lab.phalanx(&["run", "--", "true"]));
    wait_for("the job to wait", || lab.operate(&["ps"]).out().contains("queued").then_some(()));
    crate::support::kill(running.pid(), "INT");
    let done = running.finish();
    done.assert_code(130).assert_says("giving the job up, no rank of it runs");
    assert!(!done.err().contains("stopping the ranks"), "{}", done.err());
}

#[test]
fn ctrl_c_while_the_coordinator_is_down_says_so_and_a_second_one_leaves_the_job_alone() {
    let Some(mut lab) = Lab::joined(1) else { return };
    let running = Running::start(lab.phalanx(&["run", "--", "sh", "-c", "touch began; sleep 600"]));
    lab.wait_for_file("began", "");
    let job = lab.only_job();
    lab.kill("coordinator");
    let began = Instant::now();
    crate::support::kill(running.pid(), "INT");
    // Nothing says on standard error when it noticed: the second comes when the first must have been answered.
    while began.elapsed() < Duration::from_secs(4) {
        std::thread::sleep(Duration::from_millis(100));
    }
    crate::support::kill(running.pid(), "INT");
    let done = running.finish();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    done.assert_code(130)
        .assert_says("the coordinator does not answer: the job is stopped as soon as it does")
        .assert_says(&format!(
            "phalanx: {job} is left alone; it is stopped 60 s after the coordinator misses this client; to see what became of it: phalanx status {job}\n"
        ));
    assert!(!done.err().contains("stopping at once"), "{}", done.err());
}

#[test]
fn a_ctrl_c_that_the_coordinator_missed_is_told_to_the_next_one() {
    let Some(mut lab) = Lab::joined(1) else { return };
    let running = Running::start(lab.phalanx(&["run", "--", "sh", "-c", "touch began; sleep 600"]));
    lab.wait_for_file("began", "");
    lab.terminate("coordinator");
    crate::support::kill(running.pid(), "INT");
    lab.serve();
    running.finish().assert_code(130).assert_says("as soon as it does");
}

#[test]
fn a_kept_directory_is_named_with_its_node() {
    let Some(lab) = Lab::joined(2) else { return };
    let each = ["--nodes", "2", "--ranks-per-node", "1", "--", "sh", "-c"];
    let run = |keep: &str, script| lab.run(&[&["run", "--keep", keep][..], &each, &[script]].concat());
    let done = run("always", "echo $TMPDIR");
    done.assert_code(0);
    for (node, line) in ["node1", "node2"].into_iter().zip(done.sorted()) {
        let path = line.split_once(' ').unwrap().1.to_owned();
        assert!(std::path::Path::new(&path).is_dir(), "{path}");
        let said = done.err();
        let kept = said.lines().find(|line| line.contains(&format!("its TMPDIR on {node}-")));
        assert!(kept.is_some_and(|kept| kept.ends_with(&format!(" is kept: {path}"))), "{said}");
    }
    assert!(!run("onFailure", "exit 0").err().contains("is kept"));
    run("onFailure", "exit 3").assert_code(3).assert_says("its TMPDIR on node1-");
}
