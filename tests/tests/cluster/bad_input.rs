//! What goes wrong on one node of several is named, with the node.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::lab::{Lab, Plane};
use crate::strangers::{join_at, token};
use crate::support::{Finished, Running};

/// A cluster whose hosts are as `prepare` makes them before they join.
fn lab_of(nodes: u8, prepare: impl FnOnce(&mut Lab) -> bool) -> Option<Lab> {
    let mut lab = Lab::new(nodes)?;
    if !prepare(&mut lab) {
        return None;
    }
    lab.serve();
    lab.login();
    lab.join_all();
    Some(lab)
}

/// `phalanx` on a node, as the user who is logged in on the head.
fn client(lab: &Lab, host: &str, args: &[&str]) -> Finished {
    let mut command = lab.on(host, &crate::support::binary().to_string_lossy(), args);
    command.env("PHALANX_IDENTITY", lab.dir.join("user.json"));
    Running::start(command).finish()
}

const BOTH: [&str; 5] = ["run", "--nodes", "2", "--ranks-per-node", "1"];

fn on_both<'a>(args: &[&'a str]) -> Vec<&'a str> {
    [&BOTH[..], args].concat()
}

#[test]
fn a_coordinator_that_does_not_answer_is_asked_for_by_its_udp_port() {
    let Some(lab) = Lab::joined(1) else { return };
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
    let Some(lab) = Lab::joined(2) else { return };
    let done = lab.run(&["run", "--nodes", "2", "--ranks-per-node", "1", "--", "no-such-program"]);
    done.assert_code(127)
        .assert_says("no-such-program: command not found in PATH")
        .assert_says("failed: node");
}

#[test]
fn a_job_that_does_not_fit_waits_and_says_why_or_ends_if_it_must_not_wait() {
    let Some(lab) = Lab::joined(1) else { return };
    let done = lab.run(&["run", "--no-wait", "--nodes", "2", "--", "true"]);
    done.assert_code(125)
        .assert_says("was not started: there is no room for it now, and it does not wait: needs 2 nodes");
    assert_eq!(done.err().lines().count(), 1, "one story: {}", done.err());
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
    let done = lab.run(&["submit", "--", "true"]).assert_code(0).out().trim().to_owned();
    lab.run(&["attach", &done]).assert_code(0);
    lab.run(&["logs", &done, "--rank", "1"]).assert_code(125).assert_says("has no rank 1: its one rank is 0");
    lab.run(&["logs", &done, "--generation", "2"])
        .assert_code(125)
        .assert_says("it has had 1, counted from 1");
    lab.run(&["logs", &done, "--rank", "0", "--generation", "1"]).assert_code(0);
}

/// A Python environment that needs no Python.
fn environment(dir: &Path, version: &str) {
    fs::create_dir_all(dir.join("bin")).expect("a directory for the environment");
    fs::write(dir.join("bin/python"), format!("#!/bin/sh\necho python {version}\n")).expect("an interpreter");
    fs::set_permissions(dir.join("bin/python"), fs::Permissions::from_mode(0o755)).expect("chmod");
    fs::write(dir.join("pyvenv.cfg"), format!("home = /usr/bin\nversion = {version}\n"))
        .expect("its version");
}

#[test]
fn interpreters_that_differ_are_named_with_their_nodes_and_the_job_goes_on() {
    let venv = |lab: &Lab| lab.dir.join("venv").to_string_lossy().into_owned();
    let prepare = |lab: &mut Lab| {
        let other = lab.dir.join("other").to_string_lossy().into_owned();
        environment(Path::new(&venv(lab)), "3.11.2");
        environment(Path::new(&other), "3.12.1");
        lab.mount("node2", &["--bind", &other, &venv(lab)]);
        true
    };
    let Some(lab) = lab_of(2, prepare) else { return };
    let mut command = lab.phalanx(&on_both(&["--", "python"]));
    command.env("VIRTUAL_ENV", venv(&lab));
    let done = Running::start(command).finish();
    assert_eq!(done.assert_code(0).sorted(), ["[0] python 3.11.2", "[1] python 3.12.1"]);
    done.assert_says(
        "the job's Python is not the same everywhere: 3.11.2 where it was submitted; 3.11.2 on node1-",
    )
    .assert_says("; 3.12.1 on node2-");
}

#[test]
fn a_full_disk_is_named_with_its_node_whether_a_directory_or_output_fills_it() {
    let prepare = |lab: &mut Lab| {
        lab.mount_small("node2", &lab.dir.join("node2"), "900k");
        true
    };
    let Some(lab) = lab_of(2, prepare) else { return };
    let code = |name: &str, kib: usize| {
        let dir = lab.dir.join(name);
        fs::create_dir_all(&dir).expect("a directory to ship");
        fs::write(dir.join("data"), vec![7; kib << 10]).expect("its content");
        dir.to_string_lossy().into_owned()
    };
    let full = "No space left on device";
    // Too large to come, and too large to be unpacked; a restart meets the same.
    let coming = lab.run(&on_both(&["--max-restarts", "1", "--ship", &code("large", 2048), "--", "true"]));
    coming.assert_code(125).assert_says("the job's directory cannot be kept on this node").assert_says(full);
    let named = |line: &&str| line.contains(full) && line.contains("node2-");
    let told: Vec<bool> =
        coming.err().lines().filter(named).map(|line| line.contains("; restarting the gang")).collect();
    assert_eq!(told, [true, false], "{}", coming.err());
    let unpacked = lab.run(&on_both(&["--ship", &code("medium", 500), "--", "true"]));
    unpacked
        .assert_code(125)
        .assert_says("cannot unpack the job's directory")
        .assert_says(full)
        .assert_says("node2-");
    // Output costs the job nothing but its own bytes.
    let script = "head -c 3000000 /dev/zero | tr '\\0' x; echo; echo $RANK goes on >&2";
    let began = Instant::now();
    let output = lab.run(&on_both(&["--output", "files", "--", "sh", "-c", script]));
    assert!(began.elapsed() < Duration::from_secs(9), "no output is waited for that nobody asked for");
    output.assert_code(0).assert_says(&format!(" reached no file: {full}"));
    output.assert_says(" bytes of rank 1's output on node2-");
    assert!(!output.err().contains("rank 0's output"), "{}", output.err());
    // The next one would not be able to say a word there, and is not begun.
    let next = lab.run(&on_both(&["--", "true"]));
    next.assert_code(125).assert_says("cannot write logs to").assert_says(full).assert_says("node2-");
    lab.run(&["run", "-n", "1", "--", "true"]).assert_code(0);
}

#[test]
fn a_clock_that_is_off_is_named_with_both_times_and_one_too_far_behind_keeps_its_host_out() {
    let prepare = |lab: &mut Lab| {
        [("node1", "+70m"), ("node2", "+10s")].iter().all(|(host, off)| lab.set_clock(host, off))
    };
    let Some(mut lab) = lab_of(2, prepare) else { return };
    let log = lab.log("coordinator");
    for (node, off) in [("node1-", 4195.0..4201.0), ("node2-", 7.0..10.5)] {
        let line =
            log.lines().find(|line| line.contains("WARN") && line.contains("clock") && line.contains(node));
        let line = line.unwrap_or_else(|| panic!("a warning about {node}: {log}"));
        let seconds =
            line.split("the clock of this node is ").nth(1).and_then(|rest| rest.split(" s ahead").next());
        let seconds: f64 = seconds.and_then(|seconds| seconds.parse().ok()).expect("how far it is ahead");
        assert!(off.contains(&seconds), "{line}");
        assert!(line.contains("it says 20") && line.contains("the coordinator's 20"), "{line}");
    }
    lab.run(&on_both(&["--", "true"])).assert_code(0);
    // Before the coordinator's certificate begins: an hour is allowed for.
    lab.set_clock("node2", "-70m");
    let late = join_at(&lab, ("node2", "10.77.0.1"), &token(&lab, &[]), "w");
    for refused in [late, client(&lab, "node2", &["nodes"])] {
        refused.assert_code(125).assert_says("this host's clock says 20");
        refused
            .assert_says("its certificate is valid from 20")
            .assert_says("compare the clocks of both hosts");
    }
}

#[test]
fn of_a_name_with_several_addresses_the_last_one_does_and_if_none_does_all_are_named() {
    let Some(mut lab) = Lab::joined(1) else { return };
    // Addresses near the node's own, 10.77.0.11, come first (RFC 6724, rule 9): the coordinator's is the last.
    let near = [8, 9, 10, 12, 13, 14, 15];
    let silent: Vec<String> = near.iter().map(|number| format!("10.77.0.{number}")).collect();
    let names = |addresses: &[String]| {
        addresses.iter().map(|address| format!("{address} head.lab\n")).collect::<String>()
    };
    lab.names("node1", &names(&[&silent[..], &["10.77.0.1".to_owned()]].concat()));
    let joins = |lab: &Lab| join_at(lab, ("node1", "head.lab"), &token(lab, &[]), "w");
    let began = Instant::now();
    joins(&lab).assert_code(0);
    client(&lab, "node1", &["run", "--coordinator", "head.lab", "-n", "1", "--", "true"]).assert_code(0);
    // One after the other they would take half a minute each.
    let took = began.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
    lab.names("node1", &names(&silent));
    let nowhere = client(&lab, "node1", &["nodes", "--coordinator", "head.lab"]);
    for done in [joins(&lab), nowhere] {
        let said = done.assert_code(125).err();
        for address in &silent {
            assert_eq!(said.matches(&format!("is {address}:7429/udp open")).count(), 1, "once: {said}");
        }
    }
}

#[test]
fn a_client_whose_packets_or_whose_answers_are_dropped_is_asked_for_the_udp_port() {
    let Some(lab) = Lab::joined(2) else { return };
    lab.blackhole("head", 11);
    lab.blackhole("node2", 1);
    for host in ["node1", "node2"] {
        let began = Instant::now();
        let done = client(&lab, host, &["nodes"]);
        let said = done.assert_code(125).err();
        assert_eq!(said.matches("is 10.77.0.1:7429/udp open").count(), 1, "once: {said}");
        assert!(began.elapsed() < Duration::from_secs(20));
    }
}

#[test]
fn a_user_or_a_working_directory_that_one_node_lacks_is_named_with_that_node() {
    let prepare = |lab: &mut Lab| {
        let passwd = fs::read_to_string("/etc/passwd").expect("users");
        let others: String = passwd
            .lines()
            .filter(|line| !line.starts_with("games:"))
            .map(|line| format!("{line}\n"))
            .collect();
        if others == passwd {
            crate::support::skipped("this host has no user games");
            return false;
        }
        let file = lab.dir.join("passwd");
        fs::write(&file, others).expect("a file of users");
        lab.mount("node2", &["--bind", &file.to_string_lossy(), "/etc/passwd"]);
        lab.mount_small("node2", &lab.dir.join("share"), "64k");
        fs::create_dir(lab.dir.join("share/project")).expect("a working directory");
        true
    };
    let Some(lab) = lab_of(2, prepare) else { return };
    let bundle = lab.dir.join("gil.json").to_string_lossy().into_owned();
    lab.operate(&["user", "add", "gil", "--unix-user", "games", "--out", &bundle]).assert_code(0);
    let mut command = lab.phalanx(&on_both(&["-C", "/", "--", "true"]));
    command.env("PHALANX_IDENTITY", bundle);
    let done = Running::start(command).finish();
    done.assert_code(125).assert_says("there is no user games on this node").assert_says(": node2-");
    let project = lab.dir.join("share/project").to_string_lossy().into_owned();
    let done = lab.run(&on_both(&["-C", &project, "--", "true"]));
    done.assert_code(125)
        .assert_says(&format!("cannot enter the working directory {project}: No such file or directory"))
        .assert_says(": node2-");
}

#[test]
fn a_second_worker_on_one_state_directory_is_refused_and_the_first_ones_ranks_go_on() {
    let Some(lab) = Lab::joined(1) else { return };
    let job = lab.run(&["submit", "--", "sleep", "600"]).assert_code(0).out().trim().to_owned();
    let running = || lab.run(&["status", &job]).out().contains("running").then_some(());
    crate::support::wait_for("the job to run", running);
    let state = lab.dir.join("node1").to_string_lossy().into_owned();
    let again = ["run", "--state-dir", &state, "--interface", "data0"];
    let second = Running::start(lab.on("node1", &crate::lab::worker(), &again)).finish();
    second.assert_code(125).assert_says("a worker runs on ").assert_says(" already");
    // Nor does its identity become another's, and the token is not used up.
    let identity = || fs::read(lab.dir.join("node1/identity.json")).expect("the worker's identity");
    let before = identity();
    let token = lab.operate(&["token", "create", "--quiet"]);
    let join = ["join", "10.77.0.1", "--no-run", "--state-dir", &state, "--interface", "data0"];
    let mut command = lab.on("node1", &crate::lab::worker(), &join);
    command.env("PHALANX_TOKEN", token.out().trim());
    Running::start(command).finish().assert_code(125).assert_says("a worker runs on ");
    assert_eq!(identity(), before);
    assert!(running().is_some(), "{}", lab.run(&["status", &job]).out());
    lab.run(&["stop", &job]).assert_code(0);
}
