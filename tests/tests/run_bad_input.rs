//! `phalanx run`: every bad input has its own clear end, and loses nothing.

mod support;

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use support::{Running, Sandbox};

#[test]
fn bad_flags_end_with_125_and_name_the_flag() {
    let sandbox = Sandbox::new();
    for (args, says) in [
        (&["run", "-n", "0", "--", "true"][..], "--ranks"),
        (&["run", "-n", "-3", "--", "true"], "--ranks"),
        (&["run", "-n", "many", "--", "true"], "--ranks"),
        (&["run", "-n", "100000", "--", "true"], "--ranks"),
        (&["run", "--nodes", "2", "--", "true"], "--nodes"),
        (&["run", "-n", "3", "--ranks-per-node", "2", "--", "true"], "ranksPerNode"),
        (&["run", "--grace", "soon", "--", "true"], "--grace"),
        (&["run", "--start-timeout", "0", "--", "true"], "--start-timeout"),
        (&["run", "--max-restarts", "-1", "--", "true"], "--max-restarts"),
        (&["run", "--stop-scope", "world", "--", "true"], "--stop-scope"),
        (&["run", "--keep", "maybe", "--", "true"], "--keep"),
        (&["run", "--output", "loud", "--", "true"], "--output"),
        (&["run", "--name", "No Spaces", "--", "true"], "--name"),
        (&["run", "-e", "=x", "--", "true"], "--env"),
        (&["run", "--no-such-flag", "--", "true"], "--no-such-flag"),
        (&["run"], "command"),
        (&["run", "--"], "command"),
        (&["runn"], "run"),
    ] {
        let done = sandbox.run(args);
        assert_eq!(done.status.code(), Some(125), "{args:?}: {}", done.err());
        assert!(done.err().contains(says), "{args:?} does not name {says}: {}", done.err());
        assert!(done.out().is_empty(), "{args:?} prints {}", done.out());
    }
}

#[test]
fn a_wrong_job_file_is_named_with_line_and_column() {
    let sandbox = Sandbox::new();
    for (text, says) in [
        ("comand: [true]\n", "job.yaml:1:1: unknown key \"comand\""),
        ("command: [true]\nranks: zero\n", "job.yaml:2:8:"),
        ("command: [true]\nimage: x\n", "job.yaml:2:1: image is not supported yet"),
        (
            "command: [true]\nranks: 4\nparallelism: {tp: 3}\n",
            "job.yaml:3:15: parallelism: tp 3 does not divide the 4 ranks of the job; tp 2 or 4, or 3 ranks, or 6 ranks would fit",
        ),
        ("command: [true\n", "job.yaml:"),
        ("", "command"),
    ] {
        let file = sandbox.file("job.yaml", text);
        let done = sandbox.run(&["run", "-f", file.to_str().unwrap()]);
        assert_eq!(done.status.code(), Some(125), "{text:?}: {}", done.err());
        assert!(done.err().contains(says), "{text:?} does not say {says}: {}", done.err());
    }
    let file = sandbox.file("job.yaml", "comand: [true]\nrank: 1\n");
    let several = sandbox.run(&["run", "-f", file.to_str().unwrap()]);
    for line in ["job.yaml:1:1: unknown key", "job.yaml:2:1: unknown key"] {
        let said = several.err();
        let found = said.lines().find(|said| said.contains(line)).unwrap_or_else(|| panic!("{line}: {said}"));
        assert!(found.starts_with("phalanx: "), "{found}");
    }
    sandbox.run(&["run", "-f", "no-such.yaml"]).assert_code(125).assert_says("no-such.yaml");
    sandbox.run(&["run", "-f", "."]).assert_code(125);
}

#[test]
fn flags_win_over_the_file_and_check_shows_the_result() {
    let sandbox = Sandbox::new();
    let file = sandbox.file(
        "job.yaml",
        "name: digits\nranks: 3\nmaxRestarts: 2\nenv: {A: file, B: file}\ncommand: [echo, hello]\n",
    );
    let done = sandbox.run(&["check", "-f", file.to_str().unwrap(), "-n", "5", "-e", "A=flag"]);
    done.assert_code(0);
    for part in ["digits", "5", "flag", "file", "hello"] {
        assert!(done.out().contains(part), "no {part} in {}", done.out());
    }
    // What it prints is a job file that means the same.
    let again = sandbox.file("again.yaml", &done.out());
    assert_eq!(sandbox.run(&["check", "-f", again.to_str().unwrap()]).out(), done.out());
}

#[test]
fn a_directory_that_a_file_ships_is_where_ranks_of_this_machine_start() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.dir.join("code")).unwrap();
    let file = sandbox.file("code/job.yaml", "ship: .\ncommand: [pwd]\noutput: raw\n");
    let file = file.to_str().unwrap();
    let code = format!("{}\n", sandbox.dir.join("code").display());
    assert_eq!(sandbox.run(&["run", "-f", file]).assert_code(0).out(), code);
    std::fs::create_dir(sandbox.dir.join("other")).unwrap();
    let other = sandbox.run(&["run", "-f", file, "--ship", "other"]);
    assert_eq!(other.assert_code(0).out(), format!("{}\n", sandbox.dir.join("other").display()));
}

#[test]
fn a_missing_command_is_127_and_one_that_cannot_run_126() {
    let sandbox = Sandbox::new();
    let script = |name: &str, text: &str, mode: u32| {
        let path = sandbox.file(name, text);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let plain = script("plain.py", "print(1)\n", 0o644);
    let bad_interpreter = script("bad.sh", "#!/no/such/interpreter\n", 0o755);
    let dos = script("dos.sh", "#!/bin/sh\r\necho hi\r\n", 0o755);
    for (command, code, says) in [
        ("no-such-command", 127, "no-such-command"),
        ("./no/such/file", 127, "no/such/file"),
        (plain.as_str(), 126, "python"),
        ("/tmp", 126, "/tmp"),
        (bad_interpreter.as_str(), 127, "/no/such/interpreter"),
        (dos.as_str(), 127, "line"),
    ] {
        // Restarts do not help: none is tried.
        let done = sandbox.run(&["run", "-n", "2", "--max-restarts", "3", "--", command]);
        assert_eq!(done.status.code(), Some(code), "{command}: {}", done.err());
        assert!(done.err().contains(says), "{command} does not say {says}: {}", done.err());
        assert!(!done.err().contains("restart"), "{command}: {}", done.err());
    }
    sandbox.run(&["run", "-C", "/no/such/dir", "--", "true"]).assert_code(125).assert_says("/no/such/dir");
}

#[test]
fn an_unusable_log_directory_is_named_before_any_rank_runs() {
    let sandbox = Sandbox::new();
    sandbox.file("a-file", "");
    let done = sandbox.run(&["run", "--log-dir", "a-file/logs", "--", "touch", "it-ran"]);
    done.assert_code(125).assert_says("a-file").assert_says("--log-dir");
    assert!(!sandbox.dir.join("it-ran").exists());
}

#[test]
fn a_full_temporary_directory_is_named() {
    let sandbox = Sandbox::new();
    let mount = sandbox.dir.join("full");
    std::fs::create_dir(&mount).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k,nr_inodes=2", "tmpfs"])
        .arg(&mount)
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        assert!(!nix::unistd::geteuid().is_root(), "root may mount a tmpfs");
        crate::support::skipped("a full TMPDIR needs the right to mount a tmpfs");
        return;
    }
    let mut command = sandbox.phalanx(&["run", "--", "true"]);
    command.env("TMPDIR", &mount);
    let done = Running::start(command).finish();
    assert!(Command::new("umount").arg("-l").arg(&mount).status().is_ok_and(|status| status.success()));
    done.assert_code(125).assert_says("full").assert_says("TMPDIR");
}

#[test]
fn a_temporary_directory_of_somebody_else_is_refused() {
    let sandbox = Sandbox::new();
    let base = sandbox.dir.join("tmp").join(format!("phalanx-{}", nix::unistd::geteuid()));
    std::os::unix::fs::symlink("/", &base).unwrap();
    sandbox.run(&["run", "--", "true"]).assert_code(125).assert_says("TMPDIR");
    std::fs::remove_file(&base).unwrap();
}

#[test]
fn more_ranks_than_cores_warns_once_and_runs() {
    let sandbox = Sandbox::new();
    let ranks = std::thread::available_parallelism().unwrap().get() as u32 + 1;
    let done = sandbox.shell(ranks, &["--output", "files"], "true");
    done.assert_code(0);
    assert_eq!(done.err().matches("warning").count(), 1, "{}", done.err());
}

#[test]
fn a_start_deadline_that_passes_names_the_ranks() {
    let sandbox = Sandbox::new();
    // Less than any start takes.
    let done = sandbox.shell(4, &["--start-timeout", "0.000001"], "exec sleep 1000");
    done.assert_code(125).assert_says("not ready before the start deadline").assert_says("ranks 0, 1, 2, 3");
    sandbox.assert_empty_within(std::time::Duration::ZERO);
}

#[test]
fn gpus_that_are_not_there_are_said_to_be_missing() {
    let sandbox = Sandbox::new();
    if std::path::Path::new("/dev/nvidiactl").exists() {
        crate::support::skipped("this machine has an NVIDIA driver");
        return;
    }
    sandbox.run(&["run", "-n", "gpu", "--", "true"]).assert_code(125).assert_says("no NVIDIA driver");
}

#[test]
fn the_schema_is_json_and_knows_the_keys() {
    let sandbox = Sandbox::new();
    let done = sandbox.run(&["schema"]);
    done.assert_code(0);
    let schema: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    for key in ["name", "ranks", "command", "maxRestarts", "output"] {
        assert!(schema["properties"][key].is_object(), "no {key}");
    }
    assert!(schema["properties"]["roles"].is_null(), "keys of later versions are not in the schema");
}

#[test]
fn a_large_environment_reaches_many_ranks_and_one_that_is_too_large_is_named() {
    let sandbox = Sandbox::new();
    let large = format!("LARGE={}", "x".repeat(100_000));
    let done = sandbox.shell(64, &["-q", "--output", "rank0", "-e", &large], "echo ${#LARGE}");
    done.assert_code(0);
    assert_eq!(done.out(), "100000\n");
    let pieces: Vec<String> = (0..6).map(|i| format!("L{i}={}", "x".repeat(100_000))).collect();
    let mut args = vec!["run"];
    args.extend(pieces.iter().flat_map(|piece| ["-e", piece.as_str()]));
    args.extend(["--", "true"]);
    sandbox.run(&args).assert_code(125).assert_says("travel with a job");
}
