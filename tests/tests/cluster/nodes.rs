//! Nodes that are to be left alone, on real workers.

use crate::lab::Lab;
use crate::support::wait_for;

/// The line of a node.
fn line(lab: &Lab, host: &str) -> String {
    let nodes = lab.operate(&["nodes"]).out();
    let begins = format!("{host}-");
    nodes.lines().find(|line| line.starts_with(&begins)).expect("the node is listed").to_owned()
}

#[test]
fn a_drain_moves_a_job_from_one_worker_to_the_other_and_the_node_takes_none_until_it_is_uncordoned() {
    let Some(mut lab) = Lab::joined(2) else { return };
    let script = "trap 'exit 0' TERM; hostname >> began; while :; do sleep 0.1; done";
    lab.run(&["submit", "--", "sh", "-c", script]).assert_code(0);
    lab.wait_for_file("began", "node1");
    let job = lab.only_job();
    lab.run(&["node", "drain", "node1"]).assert_code(125).assert_says("that takes an operator");
    let drained = lab.operate(&["node", "drain", "node1", "--reason", "new DIMM", "--grace", "5"]);
    let said = drained.assert_code(0).out();
    assert!(said.contains("is drained: nothing of any job is left there"), "{said}");
    lab.wait_for_file("began", "node2");
    assert!(line(&lab, "node1").contains("ready, drained"), "{}", line(&lab, "node1"));
    assert!(lab.operate(&["nodes"]).out().contains("is cordoned by operator: new DIMM"));
    let status = lab.run(&["status", &job]).out();
    assert!(status.contains("0 of 0 restarts"), "it cost nothing: {status}");
    let planned = lab.run(&["plan", "--nodes", "2", "--ranks-per-node", "1", "--", "true"]);
    let why = planned.assert_code(1).out();
    assert!(why.contains("cordoned by operator: new DIMM"), "{why}");
    // Its worker is stopped for the maintenance, and the coordinator as well: what was said holds.
    lab.terminate("node1");
    lab.terminate("coordinator");
    lab.serve();
    lab.start_worker("node1");
    wait_for("node1", || line(&lab, "node1").contains("ready, drained").then_some(()));
    lab.run(&["run", "--no-wait", "--nodes", "2", "--ranks-per-node", "1", "--", "true"]).assert_code(125);
    lab.operate(&["node", "uncordon", "node1"]).assert_code(0);
    lab.run(&["run", "--nodes", "2", "--ranks-per-node", "1", "--", "true"]).assert_code(0);
}

#[test]
fn a_forgotten_node_is_listed_no_more_and_its_certificate_counts_no_more() {
    let Some(mut lab) = Lab::joined(1) else { return };
    lab.operate(&["node", "forget", "node1"])
        .assert_code(125)
        .assert_says("is connected: stop its worker first");
    lab.terminate("node1");
    lab.operate(&["node", "forget", "node1"]).assert_code(0);
    assert!(lab.operate(&["nodes"]).out().contains("no nodes"));
    lab.start_worker("node1");
    wait_for("the refusal", || lab.log("node1").contains("was forgotten").then_some(()));
    assert!(lab.operate(&["nodes"]).out().contains("no nodes"));
    lab.operate(&["node", "resume-replacement"]).assert_code(125).assert_says("is not paused");
}
