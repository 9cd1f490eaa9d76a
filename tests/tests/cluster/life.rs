//! A job's life over two nodes.

use std::time::{Duration, Instant};

use crate::lab::{Lab, Plane};
use crate::support::{Running, kill, python, wait_for};

/// Counts seconds into a file of each rank, until there are so many.
fn counting(seconds: u32) -> String {
    format!(
        "i=0; while [ $i -lt {seconds} ]; do i=$((i+1)); echo $i > count-$RANK; echo $RANK counts $i; sleep 1; done"
    )
}

#[test]
fn ranks_over_two_nodes_meet_on_the_data_network_and_show_their_output() {
    let Some(lab) = Lab::joined(2) else { return };
    let script = "echo $RANK of $WORLD_SIZE on $(hostname) local $LOCAL_RANK at $MASTER_ADDR";
    let done = lab.run(&["run", "--nodes", "2", "--ranks-per-node", "2", "--", "sh", "-c", script]);
    done.assert_code(0);
    assert_eq!(
        done.sorted(),
        [
            "[0] 0 of 4 on node1 local 0 at 10.78.0.11",
            "[1] 1 of 4 on node1 local 1 at 10.78.0.11",
            "[2] 2 of 4 on node2 local 0 at 10.78.0.11",
            "[3] 3 of 4 on node2 local 1 at 10.78.0.11",
        ]
    );
    // The files of the job are read again from the nodes after its end.
    let job = lab.only_job();
    let logs = lab.run(&["logs", &job]);
    assert_eq!(logs.assert_code(0).sorted(), done.sorted());
    let one = lab.run(&["logs", &job, "--rank", "3"]);
    assert_eq!(one.assert_code(0).out(), "3 of 4 on node2 local 1 at 10.78.0.11\n");
}

#[test]
fn a_real_training_job_over_two_nodes_survives_the_death_of_a_rank() {
    let Some(python) = python() else {
        crate::support::skipped("PHALANX_TEST_PYTHON names no interpreter with PyTorch");
        return;
    };
    let Some(lab) = Lab::joined(2) else { return };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/examples/digits/train.py");
    let checkpoints = format!("CHECKPOINTS={}", lab.dir.join("checkpoints").display());
    let python = python.to_string_lossy();
    let done = lab.run(&[
        "run",
        "--nodes",
        "2",
        "--ranks-per-node",
        "2",
        "--max-restarts",
        "1",
        "--grace",
        "5",
        "-e",
        &checkpoints,
        "--",
        &python,
        script,
        "--epochs",
        "3",
        "--crash-rank",
        "3",
        "--crash-epoch",
        "2",
    ]);
    done.assert_code(0).assert_says("rank 3").assert_says("restarting the gang");
    assert!(done.out().contains("resumed from epoch 1"), "{}", done.out());
    assert!(done.out().contains("[0] accuracy 0.9"), "{}", done.out());
}

/// How long a control link is away, and a job that lasts beyond that.
const CUT: Duration = Duration::from_secs(30);
const SECONDS: u32 = 40;

#[test]
fn a_control_link_that_is_cut_does_not_disturb_the_ranks() {
    let Some(lab) = Lab::joined(2) else { return };
    let script = counting(SECONDS);
    let running = Running::start(lab.phalanx(&[
        "run",
        "--nodes",
        "2",
        "--ranks-per-node",
        "1",
        "--",
        "sh",
        "-c",
        &script,
    ]));
    lab.wait_for_file("count-1", "2");
    let cut = Instant::now();
    lab.link("node2", Plane::Control, false);
    wait_for("node2 to be unreachable", || {
        lab.operate(&["nodes"])
            .out()
            .lines()
            .any(|line| line.starts_with("node2-") && line.contains("unreachable"))
            .then_some(())
    });
    let before: u32 = lab.wait_for_file("count-1", "").trim().parse().unwrap();
    wait_for("the cut-off rank to count on", || {
        let count = std::fs::read_to_string(lab.dir.join("count-1")).ok()?.trim().parse::<u32>().ok()?;
        (count > before + 3 && cut.elapsed() >= CUT).then_some(())
    });
    lab.link("node2", Plane::Control, true);
    let done = running.finish();
    done.assert_code(0);
    // Every line once and in order, from both sides of the cut.
    for rank in 0..2 {
        let lines: Vec<String> = done
            .out()
            .lines()
            .filter(|line| line.starts_with(&format!("[{rank}]")))
            .map(str::to_owned)
            .collect();
        let wanted: Vec<String> = (1..=SECONDS).map(|i| format!("[{rank}] {rank} counts {i}")).collect();
        assert_eq!(lines, wanted);
    }
}

#[test]
fn a_coordinator_that_is_killed_and_started_again_knows_its_jobs_and_nothing_is_doubled() {
    let Some(mut lab) = Lab::joined(2) else { return };
    let script = counting(15);
    let running = Running::start(lab.phalanx(&[
        "run",
        "--nodes",
        "2",
        "--ranks-per-node",
        "1",
        "--",
        "sh",
        "-c",
        &script,
    ]));
    lab.wait_for_file("count-1", "3");
    lab.kill("coordinator");
    std::thread::sleep(Duration::from_secs(1));
    lab.serve();
    lab.wait_ready("node1");
    lab.wait_ready("node2");
    let jobs = lab.operate(&["ps"]).out();
    assert!(jobs.contains("running"), "{jobs}");
    let done = running.finish();
    done.assert_code(0).assert_says("connected again");
    let lines = done.out().lines().filter(|line| line.starts_with("[1]")).count();
    assert_eq!(lines, 15, "{}", done.out());
}

/// Marks every moment of life of each incarnation of a rank.
const LIVING: &str = "while :; do date +%s%N >> life-$RANK-$$; sleep 0.2; done";

/// The lives of a rank that ran `LIVING`, the earliest first: the first and the last moment of each.
fn lives(lab: &Lab, rank: u32) -> Vec<(u64, u64)> {
    let files = std::fs::read_dir(&lab.dir).expect("the lab has a directory").flatten();
    let mut lives: Vec<(u64, u64)> = files
        .filter(|file| file.file_name().to_string_lossy().starts_with(&format!("life-{rank}-")))
        .filter_map(|file| {
            let text = std::fs::read_to_string(file.path()).ok()?;
            let mut times = text.lines().filter_map(|line| line.parse().ok());
            let first: u64 = times.next()?;
            Some((first, times.next_back().unwrap_or(first)))
        })
        .collect();
    lives.sort_unstable();
    lives
}

#[test]
fn ranks_outlive_a_worker_that_is_killed_until_the_next_one_ends_them_and_the_gang_starts_anew() {
    let Some(mut lab) = Lab::joined(2) else { return };
    let args =
        ["run", "--nodes", "2", "--ranks-per-node", "1", "--max-restarts", "1", "--", "sh", "-c", LIVING];
    let running = Running::start(lab.phalanx(&args));
    wait_for("both ranks to live", || (0..2).all(|rank| lives(&lab, rank).len() == 1).then_some(()));
    lab.kill("node2");
    let killed = lives(&lab, 1)[0].1;
    wait_for("the rank to live on without its worker", || {
        (lives(&lab, 1)[0].1 > killed + 3_000_000_000).then_some(())
    });
    lab.start_worker("node2");
    wait_for("the second life of both", || (0..2).all(|rank| lives(&lab, rank).len() == 2).then_some(()));
    assert!(lab.log("node2").contains("ended a pod of this worker's earlier life"), "{}", lab.log("node2"));
    let first = lives(&lab, 1)[0];
    let second = [lives(&lab, 0)[1], lives(&lab, 1)[1]];
    assert!(second.iter().all(|life| first.1 < life.0), "{first:?} ended before {second:?} began");
    let restarted = lives(&lab, 1)[1].1;
    wait_for("the second to go on", || (lives(&lab, 1)[1].1 > restarted + 1_000_000_000).then_some(()));
    assert_eq!(lives(&lab, 1)[0], first, "and the first is over");
    kill(running.pid(), "INT");
    running.finish().assert_code(130).assert_says("restarting the gang");
}

#[test]
fn a_node_that_is_cut_off_from_everybody_is_dead_within_ten_seconds_and_the_job_ends_by_policy() {
    let Some(lab) = Lab::joined(2) else { return };
    let script = counting(600);
    let running = Running::start(lab.phalanx(&[
        "run",
        "--nodes",
        "2",
        "--ranks-per-node",
        "1",
        "--grace",
        "1",
        "--",
        "sh",
        "-c",
        &script,
    ]));
    lab.wait_for_file("count-1", "4");
    let cut = Instant::now();
    lab.link("node2", Plane::Control, false);
    lab.link("node2", Plane::Data, false);
    wait_for("node2 to be dead", || lab.log("coordinator").contains("PodDead").then_some(cut.elapsed()));
    let dead = cut.elapsed();
    assert!(dead < Duration::from_secs(10), "dead after {dead:?}");
    let done = running.finish();
    done.assert_code(125)
        .assert_says("is dead: neither the coordinator nor its peers hear it")
        .assert_says("node2-");
    // Its last words are there although it cannot be asked: as of its last second.
    let job = lab.only_job();
    let words = lab.run(&["logs", &job, "--rank", "1"]);
    assert!(words.assert_code(0).out().starts_with("1 counts 1\n1 counts 2\n"), "{}", words.out());
    // What stands on the far side of the cut is ended when the link is back.
    let count = || std::fs::read_to_string(lab.dir.join("count-1")).unwrap();
    let before = count();
    wait_for("the cut-off rank to count on", || (count() != before).then_some(()));
    lab.link("node2", Plane::Control, true);
    lab.link("node2", Plane::Data, true);
    lab.wait_ready("node2");
    wait_for("the stale rank to end", || {
        let before = count();
        std::thread::sleep(Duration::from_millis(1500));
        (count() == before).then_some(())
    });
}

#[test]
fn a_strictly_fenced_rank_lives_again_only_after_it_is_dead_where_nobody_hears_it() {
    let Some(lab) = Lab::joined(3) else { return };
    let running = Running::start(lab.phalanx(&[
        "run",
        "--nodes",
        "2",
        "--ranks-per-node",
        "1",
        "--max-restarts",
        "1",
        "--grace",
        "1",
        "--fencing",
        "strict",
        "--lease",
        "20",
        "--unreachable",
        "5",
        "--",
        "sh",
        "-c",
        LIVING,
    ]));
    wait_for("the second rank to live", || (lives(&lab, 1).len() == 1).then_some(()));
    lab.link("node2", Plane::Control, false);
    lab.link("node2", Plane::Data, false);
    // Somewhere else it lives again, and only after it is dead here.
    wait_for("its second life", || (lives(&lab, 1).len() == 2).then_some(()));
    let lives = lives(&lab, 1);
    assert!(lives[0].1 <= lives[1].0, "the lease of the first ended before the second began: {lives:?}");
    kill(running.pid(), "INT");
    running.finish().assert_code(130);
}

#[test]
fn secrets_and_the_python_environment_reach_the_ranks_and_no_log() {
    let Some(lab) = Lab::joined(1) else { return };
    let venv = lab.dir.join("venv");
    std::fs::create_dir_all(venv.join("bin")).unwrap();
    std::fs::write(venv.join("bin/python"), "#!/bin/sh\necho the right python\n").unwrap();
    std::os::unix::fs::symlink("/bin/sh", venv.join("bin/other")).unwrap();
    std::fs::set_permissions(venv.join("bin/python"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let run = |venv: &std::path::Path, args: &[&str]| {
        let mut command = lab.phalanx(&[&["run", "--secret", "KEY"], args].concat());
        command.env("KEY", "hush-hush").env("VIRTUAL_ENV", venv);
        Running::start(command).finish()
    };
    let done = run(&venv, &["--", "sh", "-c", "python; echo $KEY $VIRTUAL_ENV"]);
    let wanted = format!("[0] the right python\n[0] hush-hush {}\n", venv.display());
    assert_eq!(done.assert_code(0).out(), wanted);
    for daemon in ["coordinator", "node1"] {
        assert!(!lab.log(daemon).contains("hush-hush"), "a secret in the log of {daemon}");
    }
    for private in ["tails", "ship"] {
        let mode = std::fs::metadata(lab.dir.join("coordinator").join(private)).unwrap().permissions();
        let mode = std::os::unix::fs::PermissionsExt::mode(&mode);
        assert_eq!(mode & 0o777, 0o700, "{private} is the coordinator's alone");
    }
    let store = std::fs::read(lab.dir.join("coordinator/cluster.redb")).unwrap();
    assert!(!store.windows(9).any(|window| window == b"hush-hush"), "a secret in the store");
    let file = lab.dir.join("job.yaml").to_string_lossy().into_owned();
    std::fs::write(&file, "command: [sh, -c, 'echo $TOKEN']\nenv: {TOKEN: {secret: KEY}}\n").unwrap();
    assert_eq!(run(&venv, &["-f", &file]).assert_code(0).out(), "[0] hush-hush\n");
    // Where the job is submitted the same path is another Python.
    for (name, version) in [("venv/pyvenv.cfg", "3.11.2"), ("other.cfg", "3.12.4.final.0")] {
        std::fs::write(lab.dir.join(name), format!("version_info = {version}\n")).unwrap();
    }
    let script = "mount --bind other.cfg venv/pyvenv.cfg && exec \"$0\" run -- true";
    let phalanx = crate::support::binary();
    let mut command = lab.on("head", "unshare", &["--mount", "sh", "-c", script, &phalanx.to_string_lossy()]);
    command.env("PHALANX_IDENTITY", lab.dir.join("user.json")).env("VIRTUAL_ENV", &venv);
    let differs = Running::start(command).finish();
    differs.assert_code(0).assert_says("3.12.4 where it was submitted; 3.11.2 on node1-");
    assert!(!run(&venv, &["--", "true"]).err().contains("not the same everywhere"));
    let missing = run(&lab.dir.join("elsewhere"), &["--", "true"]);
    missing
        .assert_code(125)
        .assert_says("the job's Python environment is not on this node")
        .assert_says("node1-");
}

#[test]
fn a_directory_travels_with_its_job_once_and_is_the_users_on_each_node() {
    let Some(lab) = Lab::joined(2) else { return };
    let code = lab.dir.join("code");
    std::fs::create_dir_all(code.join("pkg")).unwrap();
    std::fs::write(code.join("pkg/data"), "shipped").unwrap();
    std::fs::write(
        code.join("run.sh"),
        "#!/bin/sh\npwd; cat pkg/data; echo; ls secret 2>/dev/null; touch made-$RANK\n",
    )
    .unwrap();
    std::fs::set_permissions(code.join("run.sh"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    std::fs::write(code.join(".gitignore"), "secret\n").unwrap();
    std::fs::write(code.join("secret"), "").unwrap();
    let ship = code.to_string_lossy().into_owned();
    let file = code.join("job.yaml").to_string_lossy().into_owned();
    std::fs::write(&file, "nodes: 2\nranksPerNode: 1\ncommand: [./run.sh]\nship: .\n").unwrap();
    let by_flag = ["run", "--nodes", "2", "--ranks-per-node", "1", "--ship", &ship, "--", "./run.sh"];
    for args in [&by_flag[..], &["run", "-f", &file]] {
        let done = lab.run(args);
        let lines = done.assert_code(0).sorted();
        let at = |rank: usize| {
            let begins = format!("[{rank}] {}/node{}/pods/", lab.dir.display(), rank + 1);
            lines.iter().any(|line| line.starts_with(&begins) && line.ends_with("/code"))
        };
        assert!(at(0) && at(1), "{lines:?}");
        assert_eq!(lines.iter().filter(|line| line.ends_with("] shipped")).count(), 2, "{lines:?}");
        assert!(!lines.iter().any(|line| line.contains("secret")), "{lines:?}");
    }
    assert!(!code.join("made-0").exists(), "the submitter's own directory is left alone");
    let count = |dir: &std::path::Path| std::fs::read_dir(dir).unwrap().count();
    assert_eq!(count(&lab.dir.join("coordinator/ship")), 1, "the same content is one archive");
    let archives = lab.dir.join("node1/ship/root");
    assert_eq!(count(&archives), 1, "and came once");
    // An archive that no job used for long goes when another comes; one that was used again does not.
    let used = std::fs::read_dir(&archives).unwrap().flatten().next().unwrap().path();
    let unused = archives.join(format!("{}.tar", "a".repeat(64)));
    std::fs::write(&unused, "").unwrap();
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(8 * 24 * 3600);
    for path in [&used, &unused] {
        std::fs::File::options().write(true).open(path).unwrap().set_modified(long_ago).unwrap();
    }
    lab.run(&by_flag).assert_code(0);
    std::fs::write(code.join("pkg/data"), "something else").unwrap();
    lab.run(&by_flag).assert_code(0);
    assert!(used.exists() && !unused.exists());
    assert_eq!(count(&archives), 2);
    let missing = lab.run(&["run", "--ship", "/nowhere", "--", "true"]);
    missing.assert_code(125).assert_says("ship /nowhere: it is not a directory");
}
