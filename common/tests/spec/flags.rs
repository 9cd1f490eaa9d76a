use phalanx_common::spec::{
    Fencing, Flags, JobFile, Ranks, RestartPolicy, RestartScope, Shape, StopScope, Surroundings,
};

use crate::{around, run, some};

const FILE: &str = "\
name: file
ranks: 2
command: [python, train.py]
workingDir: src
env: {A: file, B: file}
startTimeoutSeconds: 60
terminationGracePeriodSeconds: 5
maxRestarts: 1
stopScope: group
keep: never
output: {mode: raw, logDir: logs, maxFileSize: 1Mi, keepFiles: 1}
";

#[test]
fn each_flag_wins_over_its_key() {
    let flags = Flags {
        name: some("flag"),
        ranks: some("cpu"),
        nodes: some("1"),
        ranks_per_node: None,
        needs: Default::default(),
        working_dir: some("./here/"),
        ship: None,
        env: vec!["B=flag".into(), "C=x=y".into(), "TOKEN".into()],
        env_file: vec!["B=line".into(), "D=line".into()],
        secret: Vec::new(),
        start_timeout: some("1.5"),
        grace: some("0"),
        max_restarts: some("7"),
        restart_policy: some("Always"),
        restart_scope: some("pod"),
        deadline: some("3600"),
        suspend: some("true"),
        fencing: some("strict"),
        unreachable: some("30"),
        lease: some("20"),
        stop_scope: some("process"),
        keep: some("always"),
        output: some("rank0"),
        log_dir: some("/var/logs"),
        max_file_size: some("2Mi"),
        keep_files: some("9"),
        command: vec!["echo".into(), "hello".into()],
    };
    let job = run(FILE, &flags).unwrap();
    assert_eq!((job.name.as_str(), job.shape), ("flag", Shape::Nodes { nodes: 1, ranks_per_node: 8 }));
    assert_eq!(job.command, ["echo", "hello"]);
    assert_eq!(job.working_dir.as_deref(), Some("/home/ada/here"), "relative to the launcher");
    let env: Vec<_> = job.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(env, ["A=file", "B=flag", "C=x=y", "D=line", "TOKEN=from the shell"]);
    assert_eq!((job.start_timeout.as_millis(), job.termination_grace.as_millis()), (1500, 0));
    assert_eq!((job.max_restarts, job.stop_scope), (7, StopScope::Process));
    assert_eq!(job.recovery.policy, RestartPolicy::Always);
    assert_eq!(
        (job.lifetime.active_deadline.map(|it| it.as_secs()), job.lifetime.suspend),
        (Some(3600), true)
    );
    assert_eq!(job.recovery.scope, RestartScope::Pod);
    assert_eq!((job.fencing, job.unreachable.as_secs(), job.lease.as_secs()), (Fencing::Strict, 30, 20));
    assert_eq!(format!("{:?} {:?}", job.keep, job.output.mode), "Always Rank0");
    assert_eq!(job.output.log_dir, some("/var/logs"));
    assert_eq!((job.output.max_file_bytes, job.output.keep_files), (2 << 20, 9));
}

#[test]
fn a_directory_by_flag_replaces_both_of_the_files() {
    let flags = |working_dir, ship| Flags { working_dir, ship, ..Flags::default() };
    let start = |text: &str, flags: &Flags| {
        let around = Surroundings { cluster: true, ..around() };
        let file = JobFile::parse("job.yaml", text.as_bytes()).unwrap().overlay(flags, &around).unwrap();
        (file.resolve(&around).unwrap().working_dir, file.ship_dir(&around))
    };
    assert_eq!(start(FILE, &flags(None, some("code"))), (None, some("/home/ada/code")));
    let ships = "command: [a]\nship: ../code\n";
    assert_eq!(start(ships, &flags(None, None)), (None, some("/home/ada/jobs/../code")), "from the file");
    assert_eq!(start(ships, &flags(None, some("/b"))), (None, some("/b")));
    assert_eq!(start(ships, &flags(some("w"), None)), (some("/home/ada/w"), None));
    let here = run(ships, &flags(None, None)).unwrap();
    assert_eq!((here.working_dir, here.ship), (some("/home/ada/jobs/../code"), None), "it is there already");
}

#[test]
fn a_number_of_ranks_by_flag_replaces_both_of_the_files() {
    let flags = |ranks, ranks_per_node| Flags { ranks, ranks_per_node, ..Flags::default() };
    let by_node = "ranksPerNode: 8\nnodes: 1\ncommand: [a]\n";
    assert_eq!(run(by_node, &flags(some("3"), None)).unwrap().world_size(), 3);
    assert_eq!(run(FILE, &flags(None, some("5"))).unwrap().world_size(), 5);
    assert_eq!(run(FILE, &flags(some("4"), some("4"))).unwrap().world_size(), 4);
    assert_eq!(
        run(FILE, &flags(some("4"), some("8"))).unwrap_err(),
        "--ranks 4: 4 ranks contradict nodes 1 x ranksPerNode 8 = 8"
    );
}

#[test]
fn every_wrong_flag_is_named_with_what_was_typed() {
    type Set = fn(&mut Flags);
    let flags = |set: Set| {
        let mut flags = Flags::default();
        set(&mut flags);
        flags
    };
    let table: &[(Set, &str)] = &[
        (
            |f| f.name = some("My Job"),
            "--name \"My Job\": expected a name of at most 40 lower-case letters, digits and `-`, with a letter or digit at both ends",
        ),
        (|f| f.ranks = some("0"), "--ranks 0: expected a whole number from 1 to 1048576, `gpu` or `cpu`"),
        (|f| f.ranks = some("-4"), "--ranks -4: expected a whole number from 1 to 1048576, `gpu` or `cpu`"),
        (
            |f| f.ranks = some("5000"),
            "--ranks 5000: 5000 ranks on one machine; at most 1024 can run on a node",
        ),
        (
            |f| f.ranks = some("gpus"),
            "--ranks gpus: expected a whole number from 1 to 1048576, `gpu` or `cpu`",
        ),
        (|f| f.ranks = some(""), "--ranks \"\": expected a whole number from 1 to 1048576, `gpu` or `cpu`"),
        (
            |f| f.nodes = some("2"),
            "--nodes 2: 2 nodes take a cluster, and this is one machine: start one with `phalanx serve`, or use `--nodes 1`",
        ),
        (|f| f.nodes = some("0"), "--nodes 0: expected a whole number from 1 to 8192"),
        (|f| f.ranks_per_node = some("x"), "--ranks-per-node x: expected a whole number from 1 to 1024"),
        (|f| f.working_dir = some(""), "--working-dir \"\": expected the path of a directory"),
        (
            |f| f.env = vec!["=x".into()],
            "--env =x: \"\" is not a name for a variable: it must not be empty nor contain `=` or NUL",
        ),
        (
            |f| f.env = vec!["NOT_SET".into()],
            "--env NOT_SET: the variable is not set here, so there is no value to pass on; write NAME=VALUE",
        ),
        (
            |f| f.env = vec!["PHALANX_POD=x".into()],
            "--env PHALANX_POD=x: this variable marks the processes of a pod and cannot be set",
        ),
        (
            |f| f.start_timeout = some("0"),
            "--start-timeout 0: expected a number of seconds above 0 and up to 1000000000, such as 600 or 1.5",
        ),
        (
            |f| f.grace = some("30s"),
            "--grace 30s: expected a number of seconds from 0 to 1000000000, such as 30 or 1.5",
        ),
        (|f| f.max_restarts = some("-1"), "--max-restarts -1: expected a whole number, 0 or more"),
        (
            |f| f.stop_scope = some("proces"),
            "--stop-scope proces: expected one of group, process; did you mean \"process\"?",
        ),
        (
            |f| f.keep = some("onfailure"),
            "--keep onfailure: expected one of never, onFailure, always; did you mean \"onFailure\"?",
        ),
        (|f| f.output = some("quiet"), "--output quiet: expected one of label, raw, rank0, files"),
        (|f| f.log_dir = some(""), "--log-dir \"\": expected the path of a directory"),
        (
            |f| f.max_file_size = some("1GB"),
            "--max-file-size 1GB: expected a size of at least 4096 bytes, such as 512Mi or 1Gi",
        ),
        (|f| f.keep_files = some("1.5"), "--keep-files 1.5: expected a whole number, 0 or more"),
        (|f| f.command = vec![String::new()], "command: the program is an empty string"),
        (
            |f| f.command = vec!["a".into(), "b\0".into()],
            "command: a NUL character cannot be passed to a process",
        ),
    ];
    for (set, expected) in table {
        assert_eq!(run(FILE, &flags(*set)).unwrap_err(), *expected);
    }
}

#[test]
fn several_wrong_flags_are_reported_at_once() {
    let flags = Flags { ranks: some("0"), keep: some("no"), ..Flags::default() };
    let error = JobFile::default().overlay(&flags, &around()).unwrap_err();
    assert_eq!(error.problems().len(), 2);
}

#[test]
fn the_counting_flags_are_kept_as_asked_until_they_are_resolved() {
    let flags = Flags { ranks: some("gpu"), ..Flags::default() };
    let file = JobFile::default().overlay(&flags, &around()).unwrap();
    assert_eq!(file.ranks.map(|ranks| ranks.value), Some(Ranks::Gpu));
}
