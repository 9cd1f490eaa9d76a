//! `phalanx run`: how ranks start and what they get.

mod support;

use std::process::Command;

use support::{Running, Sandbox, binary};

#[test]
fn every_rank_gets_its_place_in_the_gang() {
    let sandbox = Sandbox::new();
    let script = "echo $RANK $LOCAL_RANK $WORLD_SIZE $LOCAL_WORLD_SIZE $GROUP_RANK $GROUP_WORLD_SIZE $ROLE_NAME \
                  $ROLE_RANK $ROLE_WORLD_SIZE $MASTER_ADDR $TORCHELASTIC_RESTART_COUNT \
                  $TORCHELASTIC_MAX_RESTARTS $TORCHELASTIC_USE_AGENT_STORE $GLOO_SOCKET_IFNAME $PYTHONUNBUFFERED";
    let done = sandbox.shell(3, &[], script);
    done.assert_code(0);
    let expected =
        |rank: u32| format!("[{rank}] {rank} {rank} 3 3 0 1 default {rank} 3 127.0.0.1 0 0 False lo 1");
    assert_eq!(done.sorted(), [expected(0), expected(1), expected(2)]);
}

#[test]
fn all_ranks_of_a_launch_agree_on_one_port_outside_the_ephemeral_range() {
    let sandbox = Sandbox::new();
    let done = sandbox.shell(4, &["--output", "raw"], "echo $MASTER_PORT");
    done.assert_code(0);
    let mut ports = done.sorted();
    ports.dedup();
    assert_eq!(ports.len(), 1, "{ports:?}");
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let bounds: Vec<u16> = range.split_whitespace().map(|n| n.parse().unwrap()).collect();
    let port: u16 = ports[0].parse().unwrap();
    assert!(!(bounds[0]..=bounds[1]).contains(&port), "{port} is ephemeral");
}

#[test]
fn the_environment_directory_and_umask_are_inherited() {
    let sandbox = Sandbox::new();
    let mut command = Command::new("/bin/sh");
    let script = "umask 027; ulimit -n 123; exec \"$0\" run --output raw -- /bin/sh -c 'echo $HERE; umask; ulimit -n; pwd'";
    command.args(["-c", script]).arg(binary());
    let reference = sandbox.phalanx(&[]);
    command
        .envs(reference.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env("HERE", "it is inherited")
        .current_dir(&sandbox.dir)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let done = Running::start(command).finish();
    done.assert_code(0);
    let here = sandbox.dir.display();
    assert_eq!(done.out(), format!("it is inherited\n0027\n123\n{here}\n"));
}

#[test]
fn what_the_user_sets_wins() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.phalanx(&[
        "run",
        "--output",
        "raw",
        "-e",
        "OMP_NUM_THREADS=7",
        "--env",
        "MASTER_PORT=12345",
        "-e",
        "FROM_OUTSIDE",
        "--",
        "/bin/sh",
        "-c",
        "echo $OMP_NUM_THREADS $MASTER_PORT $FROM_OUTSIDE $PYTHONUNBUFFERED",
    ]);
    command.env("FROM_OUTSIDE", "yes").env("PYTHONUNBUFFERED", "0").env("OMP_NUM_THREADS", "3");
    let done = Running::start(command).finish();
    done.assert_code(0);
    assert_eq!(done.out(), "7 12345 yes 0\n");
}

#[test]
fn cores_are_shared_out_to_openmp() {
    let sandbox = Sandbox::new();
    let cores = std::thread::available_parallelism().unwrap().get();
    let mut command = sandbox.phalanx(&[
        "run",
        "-n",
        "cpu",
        "--output",
        "raw",
        "--",
        "/bin/sh",
        "-c",
        "echo $OMP_NUM_THREADS $WORLD_SIZE",
    ]);
    command.env_remove("OMP_NUM_THREADS");
    let done = Running::start(command).finish();
    done.assert_code(0);
    assert_eq!(done.sorted(), vec![format!("1 {cores}"); cores]);
}

#[test]
fn an_outer_affinity_mask_is_the_allowed_set() {
    let sandbox = Sandbox::new();
    let inner =
        sandbox.phalanx(&["run", "-n", "cpu", "--output", "raw", "--", "/bin/sh", "-c", "echo $WORLD_SIZE"]);
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).arg(inner.get_program()).args(inner.get_args());
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(&sandbox.dir);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let done = Running::start(command).finish();
    done.assert_code(0);
    assert_eq!(done.out(), "1\n");
}

#[test]
fn a_rank_has_no_input_and_no_descriptor_but_its_own_three() {
    let sandbox = Sandbox::new();
    // The descriptors of the shell, seen by a child of it: without a pipeline, which the shell would hold open.
    let script = "wc -c < /dev/stdin; readlink /proc/$$/fd/0; ls /proc/$$/fd";
    let done = sandbox.shell(2, &["--output", "rank0"], script);
    done.assert_code(0);
    let out = done.out();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(&lines[..2], ["0", "/dev/null"]);
    // 10 and 255 are where shells keep their own script.
    let descriptors: Vec<&str> =
        lines[2..].iter().copied().filter(|fd| *fd != "255" && *fd != "10").collect();
    assert_eq!(descriptors, ["0", "1", "2"]);
}

#[test]
fn no_rank_runs_before_all_are_prepared() {
    let sandbox = Sandbox::new();
    // The third rank of ten cannot be prepared: its command is found by a PATH of the job alone.
    let done = sandbox.run(&["run", "-n", "10", "-e", "PATH=/nowhere", "--", "touch", "it-ran"]);
    done.assert_code(127);
    assert!(!sandbox.dir.join("it-ran").exists(), "a rank ran although the gang was not prepared");
}

#[test]
fn each_pod_has_its_own_temporary_directory_which_is_gone_at_the_end() {
    let sandbox = Sandbox::new();
    let done = sandbox.shell(
        2,
        &["--output", "raw"],
        "touch $TMPDIR/file-$RANK; echo $TMPDIR; test -d $PHALANX_JOB_DIR",
    );
    done.assert_code(0);
    let mut dirs = done.sorted();
    dirs.dedup();
    assert_eq!(dirs.len(), 1);
    assert!(!std::path::Path::new(&dirs[0]).exists(), "{} is still there", dirs[0]);

    let kept = sandbox.shell(1, &["--output", "raw", "--keep", "onFailure"], "echo $TMPDIR; exit 3");
    kept.assert_code(3);
    assert!(std::path::Path::new(kept.out().trim()).exists(), "kept on failure");
}

#[test]
fn a_launch_inside_a_rank_is_a_job_of_its_own() {
    let sandbox = Sandbox::new();
    let inner = format!(
        "{} run --local -n 2 --output raw -- /bin/sh -c 'echo $RANK/$WORLD_SIZE $MASTER_PORT'; echo outer $MASTER_PORT",
        binary().display()
    );
    let done = sandbox.shell(1, &["--output", "raw"], &inner);
    done.assert_code(0);
    let lines = done.sorted();
    assert_eq!(lines.len(), 3, "{lines:?}");
    let port = |line: &str| line.split_whitespace().last().unwrap().to_owned();
    assert!(lines[0].starts_with("0/2 ") && lines[1].starts_with("1/2 "), "{lines:?}");
    assert_eq!(port(&lines[0]), port(&lines[1]));
    assert_ne!(port(&lines[0]), port(&lines[2]), "the inner job met the outer one's rendezvous");
}

#[test]
fn an_override_that_decides_where_ranks_meet_is_told() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.phalanx(&[
        "run",
        "-e",
        "RANK=9",
        "--output",
        "raw",
        "--",
        "/bin/sh",
        "-c",
        "echo $RANK $MASTER_PORT",
    ]);
    command.env("MASTER_PORT", "23456");
    let done = Running::start(command).finish();
    done.assert_code(0)
        .assert_says("RANK as the job sets it")
        .assert_says("MASTER_PORT as the environment of this launch");
    assert_eq!(done.out(), "9 23456\n");
}

#[test]
fn a_relative_tmpdir_holds_wherever_ranks_start() {
    let sandbox = Sandbox::new();
    let script = "test -d $TMPDIR && echo $TMPDIR";
    let mut command = sandbox.phalanx(&["run", "-C", "/", "--output", "raw", "--", "/bin/sh", "-c", script]);
    command.env("TMPDIR", "tmp");
    let done = Running::start(command).finish();
    done.assert_code(0);
    assert!(done.out().starts_with('/'), "{}", done.out());
}

#[test]
fn many_ranks_start_under_a_low_limit_of_open_files_and_have_that_limit() {
    let sandbox = Sandbox::new();
    let reference = sandbox.phalanx(&[]);
    let mut command = Command::new("/bin/sh");
    let script = "ulimit -Sn 100; exec \"$0\" run -q -n 60 --max-restarts 1 --output rank0 -- \
                  /bin/sh -c 'ulimit -Sn; exit $((1 - TORCHELASTIC_RESTART_COUNT))'";
    command.args(["-c", script]).arg(binary());
    command
        .envs(reference.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .current_dir(&sandbox.dir)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let done = Running::start(command).finish();
    done.assert_code(0);
    assert!(done.out().ends_with("100\n") && done.out().lines().all(|line| line == "100"), "{}", done.out());
}

/// What is read below a /sys of a few files, as times of access tell it: by a local job, and by a look at the machine.
const READ_BELOW_SYS: &str = r#"
mount -t tmpfs -o strictatime none /sys || exit
cd /sys && mkdir -p devices/system/cpu/cpu0/topology devices/system/node/node0 bus/pci/devices class/net || exit
for file in cpu/online cpu/cpu0/topology/package_cpus_list node/node0/cpulist; do echo 0 >devices/system/$file; done
untouched() { find /sys -depth -exec touch -a -d 2000-01-01 {} +; }
read_since() { find /sys -newerat 2000-01-02 -printf "$1 %P\n"; }
untouched && "$0" run -q -n 2 -- true && read_since run
untouched && "$0" topo --from / >/dev/null && read_since topo
"#;

#[test]
fn a_local_job_does_not_look_at_the_machine() {
    if !nix::unistd::Uid::effective().is_root() {
        support::skipped("only root can put another /sys in the place of this machine's");
        return;
    }
    let sandbox = Sandbox::new();
    let reference = sandbox.phalanx(&[]);
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", READ_BELOW_SYS])
        .arg(binary())
        .envs(reference.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let done = Running::start(command).finish();
    done.assert_code(0);
    let read = done.out();
    assert!(read.lines().any(|line| line == "topo devices/system/cpu/online"), "{read}{}", done.err());
    assert_eq!(read.lines().filter(|line| line.starts_with("run ")).count(), 0, "{read}");
}
