//! What a client does before it asks anybody.

use crate::lab::Lab;
use crate::support::{Running, binary};

#[test]
fn check_shows_what_would_come_with_a_job_and_what_would_stop_it_and_asks_nobody() {
    let Some(mut lab) = Lab::served(0) else { return };
    lab.kill("coordinator");
    let code = lab.dir.join("code");
    std::fs::create_dir_all(code.join("sub")).unwrap();
    std::fs::write(code.join("sub/train.py"), "x".repeat(3000)).unwrap();
    let file = code.join("job.yaml").to_string_lossy().into_owned();
    let text = "ranks: 64\ncommand: [a]\nship: .\nenv: {A: {secret: KEY}, B: {secret: OTHER}}\n";
    std::fs::write(&file, text).unwrap();
    let key = lab.dir.join("key");
    std::fs::write(&key, "hush-hush").unwrap();
    let secret = format!("OTHER={}", key.display());
    let check = |args: &[&str]| {
        let mut command = lab.phalanx(&[&["check", "-f", &file], args].concat());
        command.env("KEY", "hush-hush").env("VIRTUAL_ENV", "/opt/venv").env_remove("CONDA_PREFIX");
        Running::start(command).finish()
    };
    let done = check(&["--secret", &secret]);
    done.assert_code(0)
        .assert_says("phalanx: for cluster ")
        .assert_says(&format!("  directory    {}: 2 files, 6 KiB packed\n", code.display()))
        .assert_says("  secret       A, from your variable KEY\n")
        .assert_says(&format!("  secret       B, from the file {}\n", key.display()))
        .assert_says("  environment  /opt/venv, Python of a version that is not known here\n");
    assert!(!format!("{}{}", done.out(), done.err()).contains("hush-hush"));
    // The job is a job file, and means the same.
    let again = lab.dir.join("again.json");
    std::fs::write(&again, done.out()).unwrap();
    let again = lab.run(&[
        "check",
        "-f",
        &again.to_string_lossy(),
        "--secret",
        &secret,
        "--secret",
        &format!("KEY={}", key.display()),
    ]);
    assert_eq!(again.assert_code(0).out(), done.out());
    let missing = check(&[]);
    missing
        .assert_code(125)
        .assert_says("  secret       B, not given\n")
        .assert_says("the secret OTHER is not given");
    std::os::unix::fs::symlink("/etc", code.join("escape")).unwrap();
    check(&["--secret", &secret]).assert_code(125).assert_says("leads outside of the directory, to /etc");
    let local = check(&["--local", "--secret", &secret]);
    local.assert_code(0).assert_says("phalanx: for this machine: with the job come\n  secret       A");
    assert!(local.out().contains(&format!("\"workingDir\": \"{}\"", code.display())), "{}", local.out());
}

#[test]
fn a_configuration_says_where_the_coordinator_is_and_as_whom_unless_a_flag_or_a_variable_does() {
    let Some(mut lab) = Lab::new(0) else { return };
    lab.serve();
    let config = lab.dir.join("home/.config/phalanx/config.yaml");
    std::fs::create_dir_all(config.parent().unwrap()).unwrap();
    let write = |coordinator: &str| {
        let text = format!("coordinator: {coordinator}\nidentity: ~/me.json\n");
        std::fs::write(&config, text).unwrap();
    };
    let binary = binary().to_string_lossy().into_owned();
    let phalanx = |args: &[&str], env: &[(&str, &str)]| {
        let mut command = lab.on("head", &binary, args);
        command.env_remove("PHALANX_CONFIG").env_remove("XDG_CONFIG_HOME").envs(env.iter().copied());
        Running::start(command).finish()
    };
    write("10.77.0.1");
    let socket = lab.dir.join("coordinator/login.sock").to_string_lossy().into_owned();
    phalanx(&["login", "--socket", &socket], &[]).assert_code(0);
    assert!(lab.dir.join("home/me.json").exists(), "login writes the identity where the configuration says");
    phalanx(&["ps"], &[]).assert_code(0);
    let nobody = "127.0.0.1:9";
    write(nobody);
    phalanx(&["ps"], &[]).assert_code(125).assert_says("cannot reach the coordinator at 127.0.0.1:9");
    phalanx(&["ps"], &[("PHALANX_COORDINATOR", "10.77.0.1")]).assert_code(0);
    let flag = phalanx(&["ps", "--coordinator", nobody], &[("PHALANX_COORDINATOR", "10.77.0.1")]);
    flag.assert_code(125).assert_says("127.0.0.1:9");
    phalanx(&["ps"], &[("PHALANX_CONFIG", "/dev/null")])
        .assert_code(125)
        .assert_says("logged in to no cluster");
}
