//! Secrets of a job on this machine: its ranks have them, and nothing else shows them.

mod support;

use support::{Running, Sandbox};

const FILE: &str = "\
command: [sh, -c, 'echo ${#TOKEN} characters']
env: {TOKEN: {secret: KEY}}
output: raw
";

#[test]
fn a_secret_reaches_the_ranks_under_its_name_and_no_event_log_or_check() {
    let sandbox = Sandbox::new();
    let file = sandbox.file("job.yaml", FILE);
    let file = file.to_str().unwrap();
    let kinds = [&["run", "--json", "--log", "trace"][..], &["run", "--timings"], &["check"]];
    for (args, says) in kinds.into_iter().zip(["9 characters", "9 characters", "{#TOKEN}"]) {
        let mut command = sandbox.phalanx(&[args, &["-f", file]].concat());
        command.env("KEY", "hush-hush");
        let done = Running::start(command).finish();
        done.assert_code(0);
        let shown = format!("{}{}", done.out(), done.err());
        assert!(shown.contains(says) && !shown.contains("hush-hush"), "{shown}");
    }
}

#[test]
fn a_secret_comes_from_a_file_too_and_one_that_is_not_given_is_named_with_its_place() {
    let sandbox = Sandbox::new();
    let file = sandbox.file("job.yaml", FILE);
    let file = file.to_str().unwrap();
    sandbox.file("key", "hush-hush\n");
    sandbox.run(&["run", "-f", file, "--secret", "KEY=key"]).assert_code(0);
    let missing = sandbox.run(&["run", "-f", file]);
    missing
        .assert_code(125)
        .assert_says("job.yaml:2:23: env.TOKEN: the secret KEY is not given")
        .assert_says("--secret KEY=FILE");
    sandbox.run(&["run", "-f", file, "--secret", "KEY=nowhere"]).assert_code(125).assert_says("nowhere");
    let twice = sandbox.run(&["run", "-e", "A=hush-hush", "--secret", "A", "--", "true"]);
    twice.assert_code(125).assert_says("--secret A: A has a plain value too (--env A)");
    assert!(!twice.err().contains("hush-hush"), "{}", twice.err());
}
