//! `phalanx run`: how jobs end, by themselves and by others.

mod support;

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

use support::{Sandbox, children, kill, state, wait_for};

/// What the issue allows after a `kill -9`: the bound of the product, with room for a slow machine.
const GONE: Duration = Duration::from_secs(2 * 5);

#[test]
fn the_code_of_the_job_is_that_of_the_rank_that_failed_first() {
    let sandbox = Sandbox::new();
    sandbox.shell(3, &[], "exit 0").assert_code(0);
    sandbox
        .shell(3, &[], "[ $RANK = 1 ] && exit 7; exec sleep 1000")
        .assert_code(7)
        .assert_says("rank 1 on ")
        .assert_says(" ended with exit code 7");
    sandbox
        .shell(2, &[], "[ $RANK = 0 ] && kill -SEGV $$; exec sleep 1000")
        .assert_code(139)
        .assert_says("SIGSEGV");
    // One that ends with 0 early stops nobody.
    sandbox.shell(2, &[], "[ $RANK = 0 ] && exit 0; sleep 0.3; exit 0").assert_code(0);
}

#[test]
fn the_culprit_is_named_with_its_last_words() {
    let sandbox = Sandbox::new();
    let script = "[ $RANK = 2 ] && { echo 'cannot open data' >&2; exit 9; }; exec sleep 1000";
    let done = sandbox.shell(4, &["--output", "files"], script);
    done.assert_code(9)
        .assert_says("rank 2 on ")
        .assert_says(" ended with exit code 9")
        .assert_says("    cannot open data");
    assert_eq!(sandbox.log(1, 2, "stderr"), b"cannot open data\n");
}

#[test]
fn the_exception_in_the_error_file_is_shown() {
    let sandbox = Sandbox::new();
    let script = r#"printf %s '{"message": {"message": "ValueError: bad loss", "extraInfo": {"py_callstack": "Traceback (most recent call last):\n  in step\nValueError: bad loss", "timestamp": "0"}}}' > $TORCHELASTIC_ERROR_FILE; exit 1"#;
    sandbox
        .shell(1, &[], script)
        .assert_code(1)
        .assert_says("Python exception")
        .assert_says("    ValueError: bad loss");
}

#[test]
fn a_rank_that_ignores_the_stop_signal_is_killed_after_the_grace() {
    let sandbox = Sandbox::new();
    let script = "trap '' TERM; [ $RANK = 0 ] && { sleep 0.2; exit 4; }; while :; do sleep 0.05; done";
    let begun = std::time::Instant::now();
    sandbox.shell(3, &["--grace", "0.5"], script).assert_code(4);
    assert!(begun.elapsed() >= Duration::from_millis(700), "the grace was not given");
    sandbox.assert_empty_within(Duration::ZERO);
}

#[test]
fn a_stopped_rank_ends_with_the_others() {
    let sandbox = Sandbox::new();
    let script = "[ $RANK = 0 ] && { sleep 0.3; exit 4; }; kill -STOP $$; sleep 1000";
    sandbox.shell(2, &["--grace", "1"], script).assert_code(4);
    sandbox.assert_empty_within(Duration::ZERO);
}

#[test]
fn children_left_behind_are_gone_when_the_job_is() {
    let sandbox = Sandbox::new();
    sandbox
        .shell(2, &[], "setsid sleep 1000 & (setsid setsid sleep 1001 &) ; sleep 0.1; exit 0")
        .assert_code(0);
    sandbox.assert_empty_within(Duration::ZERO);
}

#[test]
fn a_restart_is_a_new_generation_with_a_new_port() {
    let sandbox = Sandbox::new();
    let script = "echo $TORCHELASTIC_RESTART_COUNT $PHALANX_GENERATION $MASTER_PORT; [ $TORCHELASTIC_RESTART_COUNT = 2 ] || exit 5";
    let done = sandbox.shell(1, &["--max-restarts", "2", "--output", "raw"], script);
    done.assert_code(0).assert_says("restart 1 of 2");
    let out = done.out();
    let lines: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        lines.iter().map(|line| (line[0], line[1])).collect::<Vec<_>>(),
        [("0", "1"), ("1", "2"), ("2", "3")]
    );
    let mut ports: Vec<&str> = lines.iter().map(|line| line[2]).collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 3, "every generation has a port of its own");
    for generation in 1..=3 {
        assert!(!sandbox.log(generation, 0, "stdout").is_empty());
    }
}

#[test]
fn without_restarts_left_the_job_fails_with_the_last_code() {
    let sandbox = Sandbox::new();
    sandbox.shell(2, &["--max-restarts", "1"], "exit $((10 + TORCHELASTIC_RESTART_COUNT))").assert_code(11);
}

#[test]
fn ctrl_c_is_graceful_first() {
    let sandbox = Sandbox::new();
    let script =
        "trap 'echo saved > saved-$RANK; exit 0' TERM; echo up > up-$RANK; while :; do sleep 0.05; done";
    let running = sandbox.start_shell(2, &[], script);
    sandbox.wait_for_file("up-0");
    sandbox.wait_for_file("up-1");
    kill(running.pid(), "INT");
    running.finish().assert_code(130);
    assert_eq!(sandbox.wait_for_file("saved-0"), "saved\n");
    assert_eq!(sandbox.wait_for_file("saved-1"), "saved\n");
}

#[test]
fn a_second_ctrl_c_ends_at_once() {
    let sandbox = Sandbox::new();
    let running = sandbox.start_shell(
        2,
        &["--grace", "1000"],
        "trap 'echo x > told-$RANK' TERM; echo up > up-$RANK; while :; do sleep 0.05; done",
    );
    sandbox.wait_for_file("up-0");
    sandbox.wait_for_file("up-1");
    kill(running.pid(), "INT");
    // Only once the first has been taken is another one a second: the ranks are told then.
    sandbox.wait_for_file("told-0");
    kill(running.pid(), "INT");
    running.finish().assert_code(130);
    sandbox.assert_empty_within(Duration::ZERO);
}

#[test]
fn sigterm_to_the_launcher_ends_the_job_with_its_code() {
    let sandbox = Sandbox::new();
    let running = sandbox.start_shell(1, &[], "echo up > up; exec sleep 1000");
    sandbox.wait_for_file("up");
    kill(running.pid(), "TERM");
    running.finish().assert_code(143);
}

const GRANDCHILDREN: &str =
    "setsid sh -c 'echo $$ > grandchild-'$RANK'; exec sleep 1000' & echo $$ > rank-$RANK; exec sleep 1000";

#[test]
fn nothing_is_left_after_the_launcher_is_killed() {
    let sandbox = Sandbox::new();
    let running = sandbox.start_shell(2, &["--grace", "1000"], GRANDCHILDREN);
    for name in ["rank-0", "rank-1", "grandchild-0", "grandchild-1"] {
        sandbox.wait_for_file(name);
    }
    kill(running.pid(), "KILL");
    sandbox.assert_empty_within(GONE);
    running.finish();
}

#[test]
fn nothing_is_left_after_the_shim_is_killed() {
    let sandbox = Sandbox::new();
    let running = sandbox.start_shell(2, &["--grace", "1000"], GRANDCHILDREN);
    for name in ["rank-0", "rank-1", "grandchild-0", "grandchild-1"] {
        sandbox.wait_for_file(name);
    }
    kill(running.shim(), "KILL");
    running.finish().assert_code(125).assert_says("shim");
    sandbox.assert_empty_within(GONE);
}

/// Starts ranks with grandchildren in sessions of their own, and kills launcher, shim and `also` at once.
fn kill_launcher_and_shim(sandbox: &Sandbox, also: impl Fn(u32) -> Vec<u32>) {
    let running = sandbox.start_shell(2, &["--grace", "1000"], GRANDCHILDREN);
    let ranks: Vec<u32> = ["rank-0", "rank-1"]
        .iter()
        .map(|name| sandbox.wait_for_file(name).trim().parse().expect("a pid"))
        .collect();
    for name in ["grandchild-0", "grandchild-1"] {
        sandbox.wait_for_file(name);
    }
    let shim = running.shim();
    let also = also(shim);
    kill(running.pid(), "STOP");
    for pid in also.into_iter().chain([shim, running.pid()]) {
        kill(pid, "KILL");
    }
    wait_for("the ranks to be gone", || {
        ranks.iter().all(|pid| matches!(state(*pid), None | Some('Z'))).then_some(())
    });
    running.finish();
}

fn assert_no_pod_directory_is_left(sandbox: &Sandbox) {
    let base = sandbox.dir.join("tmp").join(format!("phalanx-{}", nix::unistd::geteuid()));
    wait_for("the pod's directory to go", || {
        let mut left =
            std::fs::read_dir(&base).expect("the base directory").flatten().map(|entry| entry.file_name());
        left.all(|name| name == "logs").then_some(())
    });
}

#[test]
fn nothing_is_left_after_launcher_and_shim_are_killed_at_once() {
    let sandbox = Sandbox::new();
    kill_launcher_and_shim(&sandbox, |_| Vec::new());
    sandbox.assert_empty_within(GONE);
    assert_no_pod_directory_is_left(&sandbox);
}

#[test]
fn the_next_command_names_and_ends_what_even_the_guardian_could_not() {
    let sandbox = Sandbox::new();
    kill_launcher_and_shim(&sandbox, |shim| {
        let guardian = |pid: &u32| {
            std::fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|name| name.trim() == "phalanx-guard")
        };
        let found: Vec<u32> = children(shim).into_iter().filter(guardian).collect();
        assert_eq!(found.len(), 1, "one guardian");
        found
    });
    assert_eq!(sandbox.processes().len(), 2, "the grandchildren are left: {:?}", sandbox.processes());
    let named = sandbox.run(&["sweep", "--dry-run"]);
    named.assert_code(0);
    assert_eq!(named.out().matches("sleep (pid").count(), 2, "{}", named.out());
    sandbox.run(&["run", "--", "true"]).assert_code(0).assert_says("left behind");
    sandbox.assert_empty_within(Duration::ZERO);
    assert_no_pod_directory_is_left(&sandbox);
}

#[test]
fn ctrl_z_stops_the_ranks_and_fg_lets_them_go_on() {
    let sandbox = Sandbox::new();
    // Ranks that wait without children: a shell that is stopped while it forks counts as in D, not in T.
    let running = sandbox.start_shell(
        2,
        &["--start-timeout", "2"],
        "mkfifo go-$RANK; echo $$ > pid-$RANK; read -r line < go-$RANK",
    );
    let ranks: Vec<u32> =
        ["pid-0", "pid-1"].iter().map(|name| sandbox.wait_for_file(name).trim().parse().unwrap()).collect();
    kill(running.pid(), "TSTP");
    wait_for("the launcher to stop", || (state(running.pid()) == Some('T')).then_some(()));
    wait_for("the ranks to stop", || ranks.iter().all(|rank| state(*rank) == Some('T')).then_some(()));
    // Longer than the start timeout and the clock-jump bound: nothing may time out meanwhile.
    std::thread::sleep(Duration::from_secs(6));
    kill(running.pid(), "CONT");
    wait_for("the ranks to go on", || ranks.iter().all(|rank| state(*rank) != Some('T')).then_some(()));
    // Opened for both, so that the test does not wait for a rank that is gone.
    let _words: Vec<_> = ["go-0", "go-1"]
        .iter()
        .map(|name| {
            let mut word = OpenOptions::new().read(true).write(true).open(sandbox.dir.join(name)).unwrap();
            word.write_all(b"go\n").unwrap();
            word
        })
        .collect();
    running.finish().assert_code(0);
}

#[test]
fn a_launcher_that_was_stopped_for_long_times_nothing_out() {
    let sandbox = Sandbox::new();
    let running = sandbox.start_shell(
        1,
        &["--grace", "2"],
        "trap 'sleep 1; exit 0' TERM; echo up > up; while :; do sleep 0.05; done",
    );
    sandbox.wait_for_file("up");
    kill(running.pid(), "STOP");
    std::thread::sleep(Duration::from_secs(6));
    kill(running.pid(), "CONT");
    kill(running.pid(), "INT");
    running.finish().assert_code(130);
}

#[test]
fn a_launch_has_one_shim_and_its_ranks_below_it() {
    let sandbox = Sandbox::new();
    let running = sandbox.start_shell(3, &[], "echo up > up-$RANK; exec sleep 1000");
    for rank in 0..3 {
        sandbox.wait_for_file(&format!("up-{rank}"));
    }
    assert!(children(running.shim()).len() >= 3);
    kill(running.pid(), "INT");
    running.finish().assert_code(130);
}

#[test]
fn what_is_kept_outlives_later_launches_and_sweeps() {
    let sandbox = Sandbox::new();
    let kept =
        sandbox.shell(1, &["--keep", "always", "--output", "raw"], "echo mine > $TMPDIR/file; echo $TMPDIR");
    kept.assert_code(0).assert_says(&format!("its TMPDIR is kept: {}", kept.out().trim()));
    let file = std::path::Path::new(kept.out().trim()).join("file");
    sandbox.run(&["run", "--", "true"]).assert_code(0);
    sandbox.run(&["sweep"]).assert_code(0);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine\n");
}

#[test]
fn a_reader_that_does_not_read_does_not_keep_an_interrupted_launch() {
    let sandbox = Sandbox::new();
    let script = "echo up > up; yes";
    let mut command =
        sandbox.phalanx(&["run", "--output", "raw", "--grace", "1", "--", "/bin/sh", "-c", script]);
    let mut child = command.spawn().unwrap();
    // Held and never read: the pipe fills, and the launcher's output with it.
    let unread = child.stdout.take();
    sandbox.wait_for_file("up");
    std::thread::sleep(Duration::from_millis(300));
    kill(child.id(), "INT");
    let status = wait_for("the launcher to end", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(130));
    drop(unread);
    sandbox.assert_empty_within(Duration::ZERO);
}

#[test]
fn only_the_jobs_own_port_taken_by_others_is_a_restart_at_no_cost() {
    let sandbox = Sandbox::new();
    let script = "echo run >> runs; echo 'tensorboard: port 6006: Address already in use' >&2; exit 4";
    sandbox.shell(1, &[], script).assert_code(4);
    assert_eq!(std::fs::read_to_string(sandbox.dir.join("runs")).unwrap(), "run\n");
    let script = "[ $PHALANX_GENERATION = 2 ] && exit 0; echo \"port $MASTER_PORT: EADDRINUSE\" >&2; exit 4";
    sandbox.shell(1, &[], script).assert_code(0).assert_says("at no cost");
}
