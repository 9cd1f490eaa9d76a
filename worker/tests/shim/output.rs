//! Output: every byte in the files, nobody stalled, and what was lost is told.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use phalanx_common::report::Notice;
use phalanx_worker_core::shim::{ShimReport, Stream};

use crate::support::{Scratch, Shim, command, eventually, is_root, output, shell, text};

#[test]
fn bytes_are_kept_as_they_are() {
    let scratch = Scratch::new();
    let plan = shell(&scratch, 1, "head -c 300000 /dev/urandom | tee \"$0\"; printf 'no newline' >&2");
    let mut plan = plan;
    plan.command.push(scratch.path("copy"));
    let mut shim = Shim::prepared(&plan);
    let (exits, _) = shim.run_to_end();
    let copy = fs::read(scratch.path("copy")).unwrap();
    assert_eq!(copy.len(), 300_000);
    assert!(output(&plan, 0, Stream::Stdout) == copy);
    assert!(exits[0].stdout_tail == copy[copy.len() - 65536..]);
    assert_eq!(output(&plan, 0, Stream::Stderr), b"no newline");
    assert_eq!(shim.written(0, Stream::Stdout), 300_000);
    assert_eq!(shim.written(0, Stream::Stderr), 10);
    shim.exit(false);
}

#[test]
fn the_last_bytes_before_an_exit_are_in_its_report_although_the_shim_was_late() {
    let scratch = Scratch::new();
    let script = "while ! test -e \"$0\"; do sleep 0.01; done; \
                  dd if=/dev/zero bs=200000 count=1 status=none; printf 'last words'";
    let mut plan = shell(&scratch, 1, script);
    plan.command.push(scratch.path("go on"));
    let mut shim = Shim::started(&plan);
    let (pid, own) = (shim.pids()[0], shim.process.pid());
    crate::support::kill(own, "STOP");
    fs::write(scratch.path("go on"), "").unwrap();
    eventually("the rank has ended", || (!crate::support::is_alive(pid)).then_some(()));
    crate::support::kill(own, "CONT");
    let tail = shim.exit_of(0).stdout_tail;
    assert!(tail.ends_with(b"last words"));
    assert_eq!(tail.len(), 64 << 10);
    assert_eq!(shim.written(0, Stream::Stdout), 200_010, "the files are ahead of the report");
    shim.ended();
    shim.exit(false);
}

#[test]
fn a_burst_of_one_rank_does_not_stall_another() {
    const BURST: usize = 100 << 20;
    let scratch = Scratch::new();
    let script = "if test $RANK = 0; then head -c 104857600 /dev/zero; \
                  else i=0; while test $i -lt 200; do echo line $i; i=$((i+1)); done; fi";
    let plan = shell(&scratch, 3, script);
    let mut shim = Shim::prepared(&plan);
    shim.run_to_end();
    let file = Path::new(&plan.ranks[0].log_dir).join("stdout.log");
    assert_eq!(fs::metadata(file).unwrap().len(), BURST as u64);
    let lines: String = (0..200).map(|i| format!("line {i}\n")).collect();
    assert_eq!(text(&plan, 1), lines);
    assert_eq!(text(&plan, 2), lines);
    let ended = |rank: u32| {
        let found = shim
            .heard
            .iter()
            .position(|report| matches!(report, ShimReport::Exited { exit, .. } if exit.rank.0 == rank));
        found.unwrap()
    };
    assert!(ended(1) < ended(0) && ended(2) < ended(0), "the chatter waited for the burst");
    shim.exit(false);
}

#[test]
fn files_rotate_at_their_cap_and_the_oldest_go() {
    let scratch = Scratch::new();
    let mut plan =
        shell(&scratch, 1, "i=0; while test $i -lt 1000; do printf '%09d\\n' $i; i=$((i+1)); done");
    plan.max_file_bytes = 1000;
    plan.keep_files = 2;
    let mut shim = Shim::prepared(&plan);
    shim.run_to_end();
    let mut names: Vec<String> = fs::read_dir(&plan.ranks[0].log_dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("stdout"))
        .collect();
    names.sort();
    assert_eq!(names, ["stdout.7.log", "stdout.8.log", "stdout.9.log"]);
    let last = fs::read_to_string(Path::new(&plan.ranks[0].log_dir).join("stdout.9.log")).unwrap();
    assert!(last.starts_with("000000900\n") && last.ends_with("000000999\n"));
    assert_eq!(shim.written(0, Stream::Stdout), 10_000);
    let out: u64 = shim
        .notices()
        .iter()
        .map(|notice| match notice {
            Notice::OutputRotatedOut { bytes, .. } => *bytes,
            other => panic!("unexpected {other:?}"),
        })
        .sum();
    assert_eq!(out, 7000);
    shim.exit(false);
}

#[test]
fn times_stand_beside_the_files() {
    let scratch = Scratch::new();
    let plan = shell(&scratch, 1, "echo one; sleep 0.1; echo two >&2; sleep 0.1; echo three");
    let mut shim = Shim::prepared(&plan);
    shim.run_to_end();
    let times = fs::read_to_string(Path::new(&plan.ranks[0].log_dir).join("times.tsv")).unwrap();
    let lines: Vec<Vec<&str>> = times.lines().map(|line| line.split('\t').collect()).collect();
    let without_time: Vec<&[&str]> = lines.iter().map(|line| &line[1..]).collect();
    assert_eq!(without_time, [["stdout", "0"], ["stderr", "0"], ["stdout", "4"]]);
    let micros: Vec<u64> = lines.iter().map(|line| line[0].parse().unwrap()).collect();
    assert!(micros[0] + 90_000 <= micros[1] && micros[1] + 90_000 <= micros[2], "{times}");
    shim.exit(false);
}

#[test]
fn a_worker_that_does_not_read_stalls_no_rank_and_hears_the_last_count() {
    let scratch = Scratch::new();
    let script = "i=0; while test $i -lt 3000; do echo line; i=$((i+1)); done; echo done > \"$0\".$RANK";
    let mut plan = shell(&scratch, 4, script);
    plan.command.push(scratch.path("ready"));
    let mut shim = Shim::prepared(&plan);
    shim.go(plan.generation);
    // Nothing is read from the socket meanwhile.
    for rank in 0..4 {
        crate::support::line_in(&scratch.path(&format!("ready.{rank}")));
    }
    shim.ended();
    for rank in 0..4 {
        assert_eq!(shim.written(rank, Stream::Stdout), 15_000);
    }
    shim.exit(false);
}

#[test]
fn output_reports_are_few() {
    let scratch = Scratch::new();
    let plan = shell(&scratch, 1, "i=0; while test $i -lt 20000; do echo line; i=$((i+1)); done");
    let mut shim = Shim::prepared(&plan);
    let start = Instant::now();
    shim.run_to_end();
    let reports = shim.heard.iter().filter(|report| matches!(report, ShimReport::Output { .. })).count();
    let most = start.elapsed().as_millis() / 5 + 3;
    assert!(reports as u128 <= most, "{reports} reports in {:?}", start.elapsed());
    shim.exit(false);
}

/// A file system of 1 MiB, unmounted at the end.
struct Small(String);

impl Small {
    fn mount(path: String) -> Option<Small> {
        if !is_root() {
            crate::support::skipped("mounting a small tmpfs needs root");
            return None;
        }
        fs::create_dir_all(&path).unwrap();
        let args = ["-t", "tmpfs", "-o", "size=1m", "tmpfs", &path];
        if !Command::new("mount").args(args).status().unwrap().success() {
            crate::support::skipped("this host refuses to mount a tmpfs");
            return None;
        }
        Some(Small(path))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l", &self.0]).status();
    }
}

#[test]
fn a_full_log_directory_is_refused_before_anything_starts() {
    let scratch = Scratch::new();
    let Some(small) = Small::mount(scratch.path("logs")) else { return };
    let _ = fs::write(Path::new(&small.0).join("filler"), vec![0; 2 << 20]);
    let plan = shell(&scratch, 1, "true");
    let mut shim = Shim::start();
    let reason = shim.refused(&plan);
    for word in ["No space left on device", "logs/1", "--log-dir"] {
        assert!(reason.message.contains(word), "{}", reason.message);
    }
    shim.exit(true);
}

#[test]
fn a_disk_that_fills_up_loses_output_in_the_middle_and_says_so() {
    let scratch = Scratch::new();
    let Some(small) = Small::mount(scratch.path("logs")) else { return };
    // More than the disk and the ring hold, then a pause in which the disk is emptied, then more.
    let script = "head -c 4000000 /dev/zero | tr '\\0' 'a'; echo; echo waiting > \"$0\"; \
                  while ! test -e \"$0.go\"; do sleep 0.05; done; echo the end";
    let mut plan = shell(&scratch, 1, script);
    plan.command.push(scratch.path("signal"));
    let filler = Path::new(&small.0).join("filler");
    fs::write(&filler, vec![0; 500 << 10]).unwrap();
    let start = Instant::now();
    let mut shim = Shim::started(&plan);
    crate::support::line_in(&scratch.path("signal"));
    assert!(start.elapsed() < Duration::from_secs(10), "the rank was blocked");
    fs::remove_file(&filler).unwrap();
    // Half of the ring fits at best: the rest follows when the disk is larger.
    assert!(Command::new("mount").args(["-o", "remount,size=64m", &small.0]).status().unwrap().success());
    let dropped = shim.until("OutputDropped", |report| match report {
        ShimReport::Notice { notice: Notice::OutputDropped { bytes, why, .. } } => {
            Some((*bytes, why.clone()))
        }
        _ => None,
    });
    assert_eq!(dropped.1, "No space left on device");
    fs::write(scratch.path("signal.go"), "").unwrap();
    shim.ended();
    let log = text(&plan, 0);
    let marker = format!("\n[phalanx: {} bytes of output dropped: No space left on device]\n", dropped.0);
    assert_eq!(log.matches(&marker).count(), 1);
    assert!(log.ends_with("the end\n"));
    let kept = log.len() - marker.len();
    assert_eq!(kept as u64 + dropped.0, 4_000_001 + 8, "every byte is in the file or counted");
    assert_eq!(shim.written(0, Stream::Stdout), log.len() as u64, "counts are of bytes in the file");
    shim.exit(false);
}

#[test]
fn a_disk_that_stays_full_ends_with_a_count_of_what_was_lost() {
    let scratch = Scratch::new();
    let Some(_small) = Small::mount(scratch.path("logs")) else { return };
    let plan = command(&scratch, 1, &["head", "-c", "3000000", "/dev/zero"]);
    let mut shim = Shim::prepared(&plan);
    shim.run_to_end();
    let lost: u64 = shim
        .notices()
        .iter()
        .map(|notice| match notice {
            Notice::OutputDropped { bytes, .. } => *bytes,
            other => panic!("unexpected {other:?}"),
        })
        .sum();
    let written = shim.written(0, Stream::Stdout);
    assert_eq!(written, output(&plan, 0, Stream::Stdout).len() as u64);
    assert_eq!(written + lost, 3_000_000);
    shim.exit(false);
}

#[test]
fn output_is_in_the_file_soon_and_not_only_at_the_end() {
    let scratch = Scratch::new();
    let plan = shell(&scratch, 1, "echo early; sleep 1000");
    let mut shim = Shim::started(&plan);
    eventually("the line is in the file", || (text(&plan, 0) == "early\n").then_some(()));
    let written = shim.until("Output", |report| match report {
        ShimReport::Output { written, .. } => Some(*written),
        _ => None,
    });
    assert_eq!(written, 6);
    shim.stop(Duration::ZERO);
    shim.ended();
    shim.exit(true);
}
