//! What goes wrong on one node of several is named, with the node.

use crate::lab::{Lab, Plane};
use crate::support::Running;

fn lab(nodes: u8) -> Option<Lab> {
    let mut lab = Lab::new(nodes)?;
    lab.serve();
    lab.login();
    for node in 1..=nodes {
        lab.join(&format!("node{node}"));
    }
    Some(lab)
}

#[test]
fn a_coordinator_that_does_not_answer_is_asked_for_by_its_udp_port() {
    let Some(lab) = lab(1) else { return };
    lab.link("node1", Plane::Control, false);
    let worker = crate::lab::worker();
    let token = lab.operate(&["token", "create", "--quiet"]);
    let state = lab.dir.join("cut-off").to_string_lossy().into_owned();
    let args = ["join", "10.77.0.1", "--no-run", "--state-dir", &state, "--interface", "data0"];
    let mut command = lab.on("node1", &worker, &args);
    command.env("PHALANX_TOKEN", token.out().trim());
    Running::start(command).finish().assert_code(125).assert_says("is 10.77.0.1:7429/udp open");
}

#[test]
fn a_command_that_a_node_lacks_ends_with_127_and_names_the_node() {
    let Some(lab) = lab(2) else { return };
    let done = lab.run(&["run", "--nodes", "2", "--ranks-per-node", "1", "--", "no-such-program"]);
    done.assert_code(127).assert_says("no-such-program: command not found in PATH").assert_says(" on node");
}

#[test]
fn a_job_that_does_not_fit_waits_and_says_why_or_ends_if_it_must_not_wait() {
    let Some(lab) = lab(1) else { return };
    let done = lab.run(&["run", "--no-wait", "--nodes", "2", "--", "true"]);
    done.assert_code(125).assert_says("waiting: ").assert_says("was not started: --no-wait");
    let id = lab.run(&["submit", "-n", "9", "--", "true"]);
    let id = id.assert_code(0).out().trim().to_owned();
    let status = lab.run(&["status", &id]);
    assert!(status.assert_code(0).out().contains("  waits        "), "{}", status.out());
    // Strict order: what would fit waits behind it.
    let behind = lab.run(&["run", "--no-wait", "-n", "1", "--", "true"]);
    behind.assert_code(125).assert_says(&format!("waits behind job {id}"));
    lab.run(&["stop", &id]).assert_code(0);
    lab.run(&["run", "-n", "1", "--", "true"]).assert_code(0);
    lab.run(&["stop", &id]).assert_code(0);
    lab.run(&["status", "nonsense"]).assert_code(125).assert_says("there is no job nonsense");
}
