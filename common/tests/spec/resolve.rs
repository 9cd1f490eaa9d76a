use std::time::Duration;

use phalanx_common::defaults;
use phalanx_common::spec::{
    Fencing, Flags, JobFile, JobSpec, Keep, OutputMode, OutputSpec, Shape, StopScope, Surroundings,
};

use crate::{around, run, some};

#[test]
fn a_command_alone_makes_a_job() {
    let flags = Flags { command: vec!["python".into(), "train.py".into()], ..Flags::default() };
    let around = Surroundings { file_dir: None, ..around() };
    let job = JobFile::default().overlay(&flags, &around).unwrap().resolve(&around).unwrap();
    let shape = Shape::Nodes { nodes: 1, ranks_per_node: 1 };
    let mut plain = JobSpec::of("train", shape, &["python", "train.py"]);
    plain.output.log_dir = job.output.log_dir.clone();
    assert_eq!(job, plain, "what a program makes has the same defaults");
    assert_eq!(
        job,
        JobSpec {
            name: "train".into(),
            shape: Shape::Nodes { nodes: 1, ranks_per_node: 1 },
            resources: Default::default(),
            parallelism: Default::default(),
            placement: Default::default(),
            elastic: None,
            command: vec!["python".into(), "train.py".into()],
            working_dir: None,
            ship: None,
            virtual_env: None,
            env: Default::default(),
            secrets: Default::default(),
            start_timeout: defaults::START_TIMEOUT,
            termination_grace: defaults::TERMINATION_GRACE,
            probes: Default::default(),
            lifecycle: Default::default(),
            max_restarts: defaults::MAX_RESTARTS,
            recovery: Default::default(),
            lifetime: Default::default(),
            unreachable: defaults::UNREACHABLE,
            lease: defaults::LEASE,
            fencing: Fencing::Lenient,
            stop_scope: StopScope::Group,
            keep: Keep::Never,
            output: OutputSpec {
                mode: OutputMode::Label,
                log_dir: some("/home/ada/phalanx-logs"),
                max_file_bytes: defaults::LOG_FILE_CAP,
                keep_files: defaults::LOG_FILES_KEPT,
            },
        }
    );
}

#[test]
fn a_file_with_every_key_is_read() {
    let text = "\
%YAML 1.2
---
# A comment.
name: \"digits-2\"
nodes: 1
ranksPerNode: 4
command:
  - python
  - -u
  - train.py
  - --epochs
  - 3
  - --lr
  - 1e-3
  - --amp
  - true
  - \"\"
workingDir: ../src/./x
env:
  OMP_NUM_THREADS: 8
  VERSION: 1.10
  FLAG: yes
  MODE: 0o755
  QUOTED: '3'
  LONG: |
    two
    lines
startTimeoutSeconds: 0.25
terminationGracePeriodSeconds: 0
maxRestarts: 3
stopScope: process
keep: onFailure
output:
  mode: files
  logDir: logs
  maxFileSize: 64Mi
  keepFiles: 0
";
    let job = run(text, &Flags::default()).unwrap();
    assert_eq!((job.name.as_str(), job.world_size()), ("digits-2", 4));
    assert_eq!(
        job.command,
        ["python", "-u", "train.py", "--epochs", "3", "--lr", "1e-3", "--amp", "true", ""]
    );
    assert_eq!(job.working_dir.as_deref(), Some("/home/ada/jobs/../src/x"), "relative to the file");
    let env: Vec<_> = job.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(
        env,
        ["FLAG=yes", "LONG=two\nlines\n", "MODE=0o755", "OMP_NUM_THREADS=8", "QUOTED=3", "VERSION=1.10"],
        "as written, whatever YAML makes of it"
    );
    assert_eq!((job.start_timeout, job.termination_grace), (Duration::from_millis(250), Duration::ZERO));
    assert_eq!((job.max_restarts, job.stop_scope, job.keep), (3, StopScope::Process, Keep::OnFailure));
    assert_eq!(
        job.output,
        OutputSpec {
            mode: OutputMode::Files,
            log_dir: some("/home/ada/jobs/logs"),
            max_file_bytes: 64 << 20,
            keep_files: 0,
        }
    );
}

#[test]
fn output_may_be_a_mode_alone_and_a_file_may_be_json() {
    assert_eq!(run("command: [a]\noutput: raw\n", &Flags::default()).unwrap().output.mode, OutputMode::Raw);
    let json = "\u{feff}{\"command\": [\"a\", \"b\\u00e9\"], \"ranks\": 2,\r\n \"output\": {\"mode\": \"rank0\"}}\r\n";
    let job = run(json, &Flags::default()).unwrap();
    assert_eq!((job.command[1].as_str(), job.world_size()), ("bé", 2));
}

#[test]
fn ranks_may_be_counted_by_the_machine() {
    let ranks = |ranks: &str| run(&format!("command: [a]\n{ranks}\n"), &Flags::default());
    assert_eq!(ranks("ranks: gpu").unwrap().world_size(), 2);
    assert_eq!(ranks("ranks: \"cpu\"").unwrap().world_size(), 8);
    assert_eq!(ranks("ranks: gpu\nranksPerNode: 2").unwrap().world_size(), 2);
    assert_eq!(ranks("ranks: 1024\nnodes: 1").unwrap().world_size(), 1024);
}

#[test]
fn gpus_are_counted_only_when_the_job_asks_for_them() {
    let around = Surroundings { gpus: &|| panic!("nobody asked"), ..around() };
    let flags = Flags { ranks: some("cpu"), command: vec!["a".into()], ..Flags::default() };
    let job = JobFile::default().overlay(&flags, &around).unwrap().resolve(&around).unwrap();
    assert_eq!(job.world_size(), 8);
}

#[test]
fn a_machine_that_cannot_give_the_ranks_is_named() {
    let gpus = |gpus: &dyn Fn() -> Result<u32, phalanx_common::spec::CountError>, ranks: &str| {
        let around = Surroundings { gpus, cpus: 5000, ..around() };
        let flags = Flags { ranks: some(ranks), command: vec!["a".into()], ..Flags::default() };
        JobFile::default().overlay(&flags, &around).unwrap().resolve(&around).unwrap_err().to_string()
    };
    assert_eq!(gpus(&|| Ok(0), "gpu"), "--ranks gpu: this machine has no GPU that the launcher may use");
    assert_eq!(
        gpus(&|| Err("libnvidia-ml.so.1 is missing".into()), "gpu"),
        "--ranks gpu: the GPUs cannot be counted: libnvidia-ml.so.1 is missing"
    );
    assert_eq!(
        gpus(&|| Ok(0), "cpu"),
        "--ranks cpu: one rank per core would be 5000 ranks; at most 1024 can run on a node"
    );
}

#[test]
fn a_job_without_a_name_is_named_by_its_command() {
    let table: &[(&[&str], &str)] = &[
        (&["python", "train.py"], "train"),
        (&["/usr/bin/python3.11", "-u", "-W", "ignore", "dir/Train_DDP.v2.py"], "train-ddp-v2"),
        (&["python", "-m", "pkg.mod", "--x"], "mod"),
        (&["python", "-m", "pkg.__main__"], "pkg"),
        (&["python", "-c", "print()"], "python"),
        (&["python3.11"], "python3-11"),
        (&["bash", "-c", "echo"], "bash"),
        (&["sh", "run.sh"], "run"),
        (&["./a.out"], "a"),
        (&["/opt/x/"], "x"),
        (&["./--weird__name--"], "weird-name"),
        (&["./ünïcode"], "n-code"),
        (&["./é"], "job"),
        (&["."], "job"),
        (&["aaaaaaaaaabbbbbbbbbbccccccccccddddddddd_eeee"], "aaaaaaaaaabbbbbbbbbbccccccccccddddddddd"),
    ];
    for (command, expected) in table {
        let command: Vec<String> = command.iter().map(|word| word.to_string()).collect();
        let flags = Flags { command, ..Flags::default() };
        let job = JobFile::default().overlay(&flags, &around()).unwrap().resolve(&around()).unwrap();
        assert_eq!(job.name, *expected, "{:?}", job.command);
    }
}

#[test]
fn times_and_sizes_are_exact() {
    let time = |text: &str| {
        run(&format!("command: [a]\nterminationGracePeriodSeconds: {text}"), &Flags::default())
            .map(|job| job.termination_grace.as_nanos())
    };
    assert_eq!(time("0.1"), Ok(100_000_000));
    assert_eq!(time("999999999.123456789"), Ok(999_999_999_123_456_000), "a timestamp counts microseconds");
    assert_eq!(time("1."), Ok(1_000_000_000));
    assert_eq!(time("1000000000"), Ok(1_000_000_000_000_000_000));
    let size = |text: &str| {
        run(&format!("command: [a]\noutput: {{maxFileSize: {text}}}"), &Flags::default())
            .map(|job| job.output.max_file_bytes)
    };
    assert_eq!(size("4096"), Ok(4096));
    assert!(size("4k").is_err(), "4,000 bytes are too few");
    assert_eq!(size("5k"), Ok(5000));
    assert_eq!(size("\"1Gi\""), Ok(1 << 30));
    assert_eq!(size("2T"), Ok(2_000_000_000_000));
}
