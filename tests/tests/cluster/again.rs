//! A coordinator that is started again: what it waits for, and what it keeps.

use std::fs;

use crate::lab::{Lab, Plane};
use crate::support::{Running, wait_for};

/// The state of the one job.
fn state(lab: &Lab, job: &str) -> String {
    let jobs = lab.operate(&["ps", "--all"]).out();
    jobs.lines().find(|line| line.starts_with(job)).unwrap_or_default().to_owned()
}

#[test]
fn a_node_that_was_lost_while_there_was_no_coordinator_is_given_up_by_the_next_one() {
    let Some(mut lab) = Lab::joined(2) else { return };
    let script = "echo here; touch began-$RANK; sleep 600";
    let args = ["submit", "--nodes", "2", "--ranks-per-node", "1", "--unreachable", "8", "--grace", "1"];
    lab.run(&[&args[..], &["--", "sh", "-c", script]].concat()).assert_code(0);
    let job = lab.only_job();
    for rank in ["began-0", "began-1"] {
        lab.wait_for_file(rank, "");
    }
    wait_for("the job to run", || state(&lab, &job).contains("running").then_some(()));
    let tails = lab.dir.join("coordinator/tails");
    wait_for("the last words of its ranks", || tails.join(&job).exists().then_some(()));
    lab.kill("coordinator");
    lab.link("node2", Plane::Control, false);
    lab.link("node2", Plane::Data, false);
    // Of a job that nobody knows any more.
    let strange = tails.join("strange-1");
    fs::create_dir_all(&strange).unwrap();
    lab.serve();
    lab.wait_ready("node1");
    wait_for("the job to fail without node2", || state(&lab, &job).contains("failed").then_some(()));
    wait_for("the strange tails to go", || (!strange.exists()).then_some(()));
    assert!(tails.join(&job).exists(), "those of the known job stay");
}

#[test]
fn the_last_words_of_a_short_job_outlive_its_node() {
    let Some(mut lab) = Lab::joined(1) else { return };
    lab.run(&["run", "--", "sh", "-c", "echo first; sleep 0.1; echo last"]).assert_code(0);
    let job = lab.only_job();
    lab.wait_for_file(&format!("coordinator/tails/{job}/0.out"), "first\nlast\n");
    lab.kill("node1");
    wait_for("the node to be lost", || lab.operate(&["nodes"]).out().contains("unreachable").then_some(()));
    let logs = lab.run(&["logs", &job]);
    assert_eq!(logs.assert_code(0).out(), "[0] first\n[0] last\n");
    logs.assert_says("output is missing: node1-").assert_says("cannot be reached");
    // Whoever attaches is told the end, by the next reign as well, which has nothing but records.
    for _ in 0..2 {
        let attached = lab.run(&["attach", &job]);
        assert_eq!(attached.assert_code(0).out(), "[0] first\n[0] last\n");
        lab.kill("coordinator");
        lab.serve();
    }
}

#[test]
fn output_that_was_written_while_the_worker_was_away_reaches_whoever_follows() {
    let Some(mut lab) = Lab::joined(1) else { return };
    let script = "if [ -e first ]; then echo second life; exit; fi; echo before; touch first; \
         until [ -e go ]; do sleep 0.1; done; echo alone; touch alone; sleep 600";
    let running = Running::start(lab.phalanx(&["run", "--max-restarts", "1", "--", "sh", "-c", script]));
    lab.wait_for_file("first", "");
    lab.kill("node1");
    fs::write(lab.dir.join("go"), "").unwrap();
    lab.wait_for_file("alone", "");
    lab.start_worker("node1");
    let done = running.finish();
    assert_eq!(done.assert_code(0).out(), "[0] before\n[0] alone\n[0] second life\n");
}

#[test]
fn logs_have_the_attempts_of_a_workers_earlier_life_while_a_later_one_runs() {
    let Some(mut lab) = Lab::joined(1) else { return };
    let script = "if [ -e first ]; then echo second life; touch second; exec sleep 600; fi; \
         echo before; touch first; exec sleep 600";
    lab.run(&["submit", "--max-restarts", "1", "--grace", "1", "--", "sh", "-c", script]).assert_code(0);
    lab.wait_for_file("first", "");
    lab.kill("node1");
    lab.start_worker("node1");
    lab.wait_for_file("second", "");
    let job = lab.only_job();
    // Neither of the two followed from the beginning.
    let follower = Running::start(lab.phalanx(&["logs", "-f", &job]));
    let look = wait_for("the output of both lives", || {
        let out = lab.run(&["logs", &job]).assert_code(0).out();
        out.contains("second life").then_some(out)
    });
    assert_eq!(look, "[0] before\n[0] second life\n");
    lab.run(&["stop", &job]).assert_code(0);
    assert_eq!(follower.finish().out(), "[0] before\n[0] second life\n");
}
