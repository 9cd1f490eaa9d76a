//! Jobs before their first rank runs: which nodes take them, and what becomes of those that do not.

use std::time::{Duration, Instant};

use crate::lab::Lab;
use crate::support::{Running, wait_for};

/// A coordinator, a user who is logged in, and nodes that join as `join` says.
fn cluster(nodes: u8, join: impl Fn(&mut Lab, &str)) -> Option<Lab> {
    let mut lab = Lab::new(nodes)?;
    lab.serve();
    lab.login();
    for node in 1..=nodes {
        join(&mut lab, &format!("node{node}"));
    }
    Some(lab)
}

#[test]
fn a_worker_that_was_told_to_end_is_gone_at_once_and_gets_no_job() {
    let Some(mut lab) = cluster(2, |lab, host| lab.join(host)) else { return };
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
    let Some(mut lab) = cluster(2, |lab, host| lab.join_plain(host)) else { return };
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
    let _ = wait_for("both to be ready", || {
        (lab.operate(&["nodes"]).out().matches(" ready ").count() == 2).then_some(())
    });
}
