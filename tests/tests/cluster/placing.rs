//! Jobs are placed by the network that the cluster found, and what ranks get of their nodes is what the plan says.

use serde_json::Value;

use crate::lab::Lab;
use crate::support::wait_for;

/// Three nodes, of which the first and the third hang on one leaf.
const SITE: &str = "\
nodes:
  node1: {leaf: s1, block: b1}
  node2: {leaf: s2, block: b1}
  node3: {leaf: s1, block: b1}
";

fn lab() -> Option<Lab> {
    let mut lab = Lab::new(3)?;
    let site = lab.dir.join("site.yaml");
    std::fs::write(&site, SITE).expect("a statement");
    lab.serve_with(&["--topology", &site.to_string_lossy()]);
    lab.join_all();
    lab.login();
    Some(lab)
}

/// What `phalanx plan` says of a job, once all of the cluster is known.
fn plan(lab: &Lab, args: &[&str]) -> (Option<i32>, Value) {
    let planned = lab.run(&[&["plan", "--json"], args, &["--", "true"]].concat());
    (
        planned.status.code(),
        serde_json::from_str(&planned.out()).unwrap_or_else(|_| panic!("{}", planned.err())),
    )
}

fn names(placed: &Value) -> Vec<&str> {
    placed["pods"].as_array().into_iter().flatten().filter_map(|pod| pod["name"].as_str()).collect()
}

#[test]
fn a_gang_goes_to_the_leaf_that_holds_it_and_is_explained() {
    let Some(lab) = lab() else { return };
    let on_one_leaf = ["--nodes", "2", "--ranks-per-node", "1", "--require-tier", "leaf"];
    let placed = wait_for("the leaf to be known", || {
        let (code, planned) = plan(&lab, &on_one_leaf);
        (code == Some(0)).then_some(planned)
    });
    assert_eq!(names(&placed), ["node1", "node3"], "{placed:#}");
    assert_eq!((&placed["tier"], &placed["cost"]["cost"]), (&"leaf".into(), &0.into()));

    let (code, refused) = plan(&lab, &["--nodes", "3", "--ranks-per-node", "1", "--require-tier", "leaf"]);
    assert_eq!((code, &refused["placement"]), (Some(1), &"refused".into()));
    let why = refused["why"].as_str().unwrap_or_default();
    assert!(why.contains("the largest leaf, s1, has 2 that can take a share"), "{why}");
    let changes: Vec<&str> =
        refused["changes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    assert_eq!(
        changes,
        [
            "it fits with --require-tier block (`require: {all: block}`)",
            "it fits with --nodes 2 (`nodes: 2`)"
        ]
    );

    let script = "echo $RANK $(hostname); until [ -e go ]; do sleep 0.05; done";
    let command = ["--", "sh", "-c", script];
    let running =
        crate::support::Running::start(lab.phalanx(&[&["run"][..], &on_one_leaf, &command].concat()));
    let job = wait_for("the job", || {
        let jobs: Value = serde_json::from_str(&lab.run(&["ps", "--json"]).out()).ok()?;
        let job = &jobs.as_array()?.first()?;
        (job["phase"] == "running").then(|| job["job"].as_str().map(ToOwned::to_owned))?
    });
    let explained = lab.run(&["explain", &job]).assert_code(0).out();
    assert!(explained.starts_with("2 ranks on 2 nodes, all within one leaf\n"), "{explained}");
    std::fs::write(lab.dir.join("go"), "").expect("a file");
    let done = running.finish();
    done.assert_code(0);
    assert_eq!(done.sorted(), ["[0] 0 node1", "[1] 1 node3"]);
    let ended = lab.run(&["explain", &job]).assert_code(0).out();
    assert_eq!(ended, "it is over: it succeeded\n");
}

#[test]
fn nodes_are_chosen_by_their_labels_and_by_name() {
    let Some(lab) = lab() else { return };
    lab.operate(&["node", "label", "node2", "pool=a"]).assert_code(0);
    let by_label = wait_for("the label to count", || {
        let (code, planned) = plan(&lab, &["-n", "1", "--node-selector", "pool=a"]);
        (code == Some(0)).then_some(planned)
    });
    assert_eq!(names(&by_label), ["node2"]);
    let (code, without) = plan(&lab, &["-n", "1", "--avoid-nodes", "node1"]);
    assert_eq!((code, names(&without).len()), (Some(0), 1), "{without:#}");
    assert_ne!(names(&without), ["node1"]);
    let (code, refused) = plan(&lab, &["-n", "1", "--node-selector", "pool=b"]);
    assert_eq!(code, Some(1));
    let why: Vec<&str> =
        refused["nodes"].as_array().into_iter().flatten().filter_map(|node| node["why"].as_str()).collect();
    assert_eq!(why, ["has not the label pool=b"; 3]);
}

#[test]
fn ranks_run_on_the_cores_that_the_plan_says() {
    let Some(lab) = lab() else { return };
    let asks = ["-n", "1", "--cpus-per-rank", "1", "--use-nodes", "node2"];
    let placed = wait_for("the machine to be known", || {
        let (code, planned) = plan(&lab, &asks);
        (code == Some(0)).then_some(planned)
    });
    let planned = placed["pods"][0]["ranks"][0]["cpus"].as_str().unwrap_or_default().to_owned();
    assert!(!planned.is_empty(), "{placed:#}");
    let script = "sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' /proc/self/status";
    let ran = lab.run(&[&["run"], &asks[..], &["--", "sh", "-c", script]].concat());
    assert_eq!(ran.assert_code(0).out(), format!("[0] {planned}\n"));
    let too_many = lab.run(&["run", "--no-wait", "-n", "1", "--cpus-per-rank", "8000", "--", "true"]);
    too_many.assert_code(125).assert_says("cores");
}

#[test]
fn a_job_that_never_fits_is_taken_with_a_warning_and_waits_for_one_reason() {
    let Some(lab) = lab() else { return };
    let never = "it does not fit even when every other job has ended";
    let submitted =
        lab.run(&["submit", "--name", "large", "--nodes", "4", "--ranks-per-node", "1", "--", "true"]);
    submitted.assert_code(0).assert_says(&format!("{never}, and jobs submitted after it wait for it"));
    let job = submitted.out().trim().to_owned();
    let status: Value = serde_json::from_str(&lab.run(&["status", &job, "--json"]).out()).unwrap();
    let explained: Value = serde_json::from_str(&lab.run(&["explain", &job, "--json"]).out()).unwrap();
    let why = explained["why"].as_str().unwrap_or_default();
    assert!(why.contains(never), "{explained:#}");
    assert!(status["waits_for"].as_str().is_some_and(|waits| waits.starts_with(why)), "{status:#}");

    let behind = lab.run(&["submit", "-n", "1", "--avoid-nodes", "nodee1", "--", "true"]);
    behind.assert_code(0).assert_says("no node is called nodee1 (is node1 meant?)");
    let told = lab.run(&["status", behind.out().trim()]).out();
    assert!(told.contains(&format!("waits behind job {job}")) && told.contains(never), "{told}");
    lab.run(&["stop", &job]).assert_code(0);
}
