//! `phalanx run`: what ranks write, on the screen and in the files.

mod support;

use support::{Running, Sandbox, python};

#[test]
fn lines_are_labelled_and_streams_kept_apart() {
    let sandbox = Sandbox::new();
    let done = sandbox.shell(11, &["-q"], "echo out; echo err >&2");
    done.assert_code(0);
    let expected: Vec<String> = (0..11).map(|rank| format!("[{rank:>2}] out")).collect();
    assert_eq!(done.sorted(), expected);
    assert_eq!(done.err().lines().filter(|line| line.ends_with("] err")).count(), 11);
}

#[test]
fn modes_show_what_they_say_and_files_have_it_all() {
    for (mode, shown) in [("raw", 2), ("rank0", 1), ("files", 0), ("label", 2)] {
        let sandbox = Sandbox::new();
        let done = sandbox.shell(2, &["--output", mode], "echo hello");
        done.assert_code(0);
        assert_eq!(done.out().lines().count(), shown, "--output {mode}");
        for rank in 0..2 {
            assert_eq!(sandbox.log(1, rank, "stdout"), b"hello\n");
            assert_eq!(sandbox.log(1, rank, "stderr"), b"");
        }
    }
}

#[test]
fn bytes_come_through_as_they_are() {
    let sandbox = Sandbox::new();
    let done = sandbox.shell(1, &["--output", "raw"], r"printf 'a\000b\377\r\n\tno newline'");
    done.assert_code(0);
    assert_eq!(done.stdout, b"a\0b\xff\r\n\tno newline");
    assert_eq!(sandbox.log(1, 0, "stdout"), done.stdout);
}

#[test]
fn a_missing_final_newline_keeps_its_line() {
    let sandbox = Sandbox::new();
    let done = sandbox.shell(2, &["-q"], "printf 'end of %s' $RANK");
    done.assert_code(0);
    assert_eq!(done.sorted(), ["[0] end of 0", "[1] end of 1"]);
}

#[test]
fn a_burst_of_100_megabytes_is_whole_and_stalls_nobody() {
    let sandbox = Sandbox::new();
    // Rank 0 floods; rank 1 must get its lines through meanwhile, each within the flood's time.
    let script = "if [ $RANK = 0 ]; then yes 0123456789abcdef0123456789abcdef | head -c 104857600; else i=0; while [ $i -lt 50 ]; do echo line $i; i=$((i+1)); done; fi";
    let done = sandbox.shell(2, &["-q"], script);
    done.assert_code(0);
    let log = sandbox.log(1, 0, "stdout");
    assert_eq!(log.len(), 104_857_600);
    assert!(log.chunks(33).all(|line| b"0123456789abcdef0123456789abcdef\n".starts_with(line)));
    let (mut flood, mut lines) = (0, Vec::new());
    for line in done.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match line.strip_prefix(b"[0] ") {
            Some(text) => flood += text.len(),
            None => lines.push(String::from_utf8_lossy(line).into_owned()),
        }
    }
    let ends = 104_857_600 / 33;
    assert_eq!(flood + ends, 104_857_600, "every byte of the flood was shown");
    assert_eq!(lines, (0..50).map(|i| format!("[1] line {i}")).collect::<Vec<_>>());
}

#[test]
fn a_reader_that_leaves_does_not_end_the_job() {
    let sandbox = Sandbox::new();
    let mut inner = sandbox.phalanx(&[
        "run",
        "-q",
        "--",
        "/bin/sh",
        "-c",
        "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; echo done > finished",
    ]);
    let mut child = inner.stderr(std::process::Stdio::null()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(sandbox.wait_for_file("finished"), "done\n");
}

#[test]
fn rotation_keeps_the_newest_and_says_what_went() {
    let sandbox = Sandbox::new();
    let job = sandbox.file(
        "job.yaml",
        "command: [/bin/sh, -c, 'seq 1 20000']\noutput: {mode: files, maxFileSize: 8Ki, keepFiles: 2}\n",
    );
    let done = sandbox.run(&["run", "-f", job.to_str().unwrap()]);
    done.assert_code(0).assert_says("removed by rotation");
    let dir = std::fs::read_dir(sandbox.logs()).unwrap().flatten().next().unwrap().path().join("1/0");
    let parts: Vec<_> = std::fs::read_dir(&dir)
        .unwrap()
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().starts_with("stdout"))
        .collect();
    assert_eq!(parts.len(), 3, "the current file and two before it: {parts:?}");
    assert!(parts.iter().all(|part| part.metadata().unwrap().len() <= 8192));
}

#[test]
fn json_events_are_one_object_a_line_and_tell_the_whole_story() {
    let sandbox = Sandbox::new();
    let done = sandbox.shell(
        2,
        &["--json", "--max-restarts", "1"],
        "echo hi; exit $((1 - TORCHELASTIC_RESTART_COUNT))",
    );
    done.assert_code(0);
    let events: Vec<serde_json::Value> =
        done.out().lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert!(events.iter().all(|event| event["v"] == 1));
    let names: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    let position = |name: &str| {
        names.iter().position(|n| *n == name).unwrap_or_else(|| panic!("no {name} in {names:?}"))
    };
    for pair in [
        "job_submitted",
        "gang_placed",
        "pod_prepared",
        "gang_released",
        "gang_stopping",
        "gang_restarting",
        "gang_running",
        "job_ended",
    ]
    .windows(2)
    {
        assert!(
            position(pair[0]) < names.iter().rposition(|n| *n == pair[1]).unwrap(),
            "{} before {}",
            pair[0],
            pair[1]
        );
    }
    assert_eq!(events.last().unwrap()["outcome"]["outcome"], "succeeded");
    // The first generation's other rank may be stopped before it says anything.
    let second = events.iter().filter(|event| event["event"] == "output" && event["generation"] == 2);
    let text: String = second.map(|event| event["text"].as_str().unwrap()).collect();
    assert_eq!(text, "hi\nhi\n");
}

#[test]
fn colours_are_for_terminals_unless_asked_for() {
    let sandbox = Sandbox::new();
    let plain = sandbox.shell(1, &[], "echo x");
    assert!(!plain.stdout.contains(&0x1b));
    let forced = sandbox.run(&["run", "--color", "always", "--", "echo", "x"]);
    assert_eq!(forced.out(), "\u{1b}[36m[0]\u{1b}[0m x\n");
}

#[test]
fn a_full_disk_drops_counts_and_says_so_and_the_job_goes_on() {
    let sandbox = Sandbox::new();
    let mount = sandbox.dir.join("small");
    std::fs::create_dir(&mount).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
        .arg(&mount)
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        assert!(!nix::unistd::geteuid().is_root(), "root may mount a tmpfs");
        crate::support::skipped("a full disk needs the right to mount a tmpfs");
        return;
    }
    let logs = mount.join("logs");
    let mut command = sandbox.phalanx(&[
        "run",
        "--output",
        "files",
        "--",
        "/bin/sh",
        "-c",
        "yes | head -c 4000000; echo done > finished",
    ]);
    command.env("PHALANX_LOG_DIR", &logs);
    let done = Running::start(command).finish();
    let umounted = std::process::Command::new("umount").arg("-l").arg(&mount).status();
    assert!(umounted.is_ok_and(|status| status.success()));
    done.assert_code(0).assert_says("No space left on device");
    assert_eq!(sandbox.wait_for_file("finished"), "done\n");
}

#[test]
fn real_ranks_meet_over_gloo() {
    let Some(python) = python() else {
        crate::support::skipped("PHALANX_TEST_PYTHON names no interpreter with PyTorch");
        return;
    };
    let sandbox = Sandbox::new();
    let script = "import torch, torch.distributed as d\nd.init_process_group('gloo')\nt = torch.tensor([d.get_rank() + 1.0])\nd.all_reduce(t)\nprint('sum', int(t.item()))\nd.destroy_process_group()\n";
    let file = sandbox.file("sum.py", script);
    let done = sandbox.run(&["run", "-n", "3", "-q", "--", python.to_str().unwrap(), file.to_str().unwrap()]);
    done.assert_code(0);
    assert_eq!(done.sorted(), ["[0] sum 6", "[1] sum 6", "[2] sum 6"]);
}

#[test]
fn a_standard_output_that_takes_nothing_is_said_to() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.phalanx(&["run", "-q", "--", "echo", "x"]);
    command.stdout(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    let done = Running::start(command).finish();
    done.assert_code(0).assert_says("standard output takes no more");
    assert_eq!(sandbox.log(1, 0, "stdout"), b"x\n");
}

#[test]
fn that_nobody_reads_the_output_any_more_is_said_and_the_job_goes_on() {
    let sandbox = Sandbox::new();
    let script = "echo one; sleep 0.2; echo two; echo done > finished";
    let mut command = sandbox.phalanx(&["run", "--", "sh", "-c", script]);
    let mut child =
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let done = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(0), "{said}");
    assert_eq!(said.matches("nobody reads standard output any more; the job goes on").count(), 1, "{said}");
    sandbox.wait_for_file("finished");
}
