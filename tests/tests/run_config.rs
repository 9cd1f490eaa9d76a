//! The client's configuration file, on one machine.

mod support;

use support::{Finished, Running, Sandbox};

#[test]
fn output_is_what_the_configuration_says_where_nothing_else_does() {
    let sandbox = Sandbox::new();
    let config = sandbox.file("config.yaml", "output: raw\ncolor: always\n");
    let labelled = sandbox.file("job.yaml", "output: label\n");
    let file = labelled.to_str().unwrap();
    let run = |flags: &[&str], env: &[(&str, &str)]| {
        let mut command = sandbox.phalanx(&[&["run"], flags, &["--", "echo", "hello"]].concat());
        command.env("PHALANX_CONFIG", &config).envs(env.iter().copied());
        let done = Running::start(command).finish();
        done.assert_code(0).out()
    };
    assert_eq!(run(&[], &[]), "hello\n");
    let coloured = run(&["-f", file], &[]);
    assert!(coloured.contains("\u{1b}[") && coloured.contains("[0]"), "{coloured:?}");
    assert_eq!(run(&["-f", file], &[("PHALANX_COLOR", "never")]), "[0] hello\n");
    assert_eq!(run(&["--color", "never"], &[("PHALANX_OUTPUT", "label")]), "[0] hello\n");
    assert_eq!(run(&["--output", "files"], &[("PHALANX_OUTPUT", "label")]), "");
}

#[test]
fn a_configuration_that_is_wrong_or_cannot_be_read_is_named_and_stops_clients_alone() {
    let sandbox = Sandbox::new();
    let config = sandbox.file("config.yaml", "\ncordinator: head.lab\n");
    let run = |args: &[&str], config: &str| -> Finished {
        let mut command = sandbox.phalanx(args);
        command.env("PHALANX_CONFIG", config);
        Running::start(command).finish()
    };
    let config = config.to_str().unwrap();
    let said = format!("{config}:2:1: unknown key \"cordinator\"; did you mean \"coordinator\"?");
    for args in
        [&["run", "--", "true"][..], &["check", "--", "true"], &["ps"], &["token", "list"], &["login"]]
    {
        run(args, config).assert_code(125).assert_says(&said);
    }
    run(&["run", "--", "true"], "/nowhere.yaml")
        .assert_code(125)
        .assert_says("cannot read the configuration /nowhere.yaml; PHALANX_CONFIG names it");
    for args in [&["schema"][..], &["completions", "bash"], &["sweep"]] {
        run(args, config).assert_code(0);
    }
    // The user's own file, by its usual place.
    std::fs::create_dir_all(sandbox.dir.join("xdg/phalanx")).unwrap();
    let own = sandbox.file("xdg/phalanx/config.yaml", "output: lable\n");
    let mut command = sandbox.phalanx(&["run", "--", "true"]);
    command.env_remove("PHALANX_CONFIG").env("XDG_CONFIG_HOME", sandbox.dir.join("xdg"));
    Running::start(command).finish().assert_code(125).assert_says(&format!("{}:1:9: output", own.display()));
}

#[test]
fn a_job_whose_cluster_was_named_does_not_run_here_for_want_of_a_login() {
    let sandbox = Sandbox::new();
    let config = sandbox.file("config.yaml", "identity: nobodys.json\n");
    let run = |args: &[&str], config: &str| -> Finished {
        let mut command = sandbox.phalanx(args);
        command.env("PHALANX_CONFIG", config).env("XDG_CONFIG_HOME", sandbox.dir.join("xdg"));
        Running::start(command).finish()
    };
    let nowhere = ["run", "--coordinator", "head.lab", "--", "echo", "here"];
    let refused = run(&nowhere, "/dev/null");
    refused
        .assert_code(125)
        .assert_says("a coordinator is named, head.lab, and you are logged in to no cluster");
    assert_eq!(refused.out(), "");
    let refused = run(&["run", "--", "echo", "here"], config.to_str().unwrap());
    refused.assert_code(125).assert_says("nobodys.json, and you are logged in to no cluster");
    let here = ["run", "--local", "--coordinator", "head.lab", "--", "echo", "here"];
    assert_eq!(run(&here, config.to_str().unwrap()).assert_code(0).out(), "[0] here\n");
}
