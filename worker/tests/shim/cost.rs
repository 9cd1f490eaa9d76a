//! What a pod costs. Figures for people, run by hand in a release build:
//! `cargo test --release -p phalanx-worker --test shim -- --ignored --nocapture cost`

use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};

use phalanx_worker_core::shim::{ShimOrder, ShimReport};

use crate::support::{Scratch, Shim, command, guardian_of, shell};

const ROUNDS: usize = 40;

fn say(line: String) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

fn show(what: &str, times: &mut [Duration]) {
    times.sort();
    let (best, median) = (times[0], times[times.len() / 2]);
    say(format!(
        "{what}: median {:.2} ms, best {:.2} ms",
        median.as_secs_f64() * 1e3,
        best.as_secs_f64() * 1e3
    ));
}

/// Proportional set size in kB.
fn pss(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
#[ignore = "measures; run by hand"]
fn cost_of_eight_ranks_that_do_nothing() {
    let mut times: [Vec<Duration>; 5] = Default::default();
    for _ in 0..ROUNDS {
        let scratch = Scratch::new();
        let plan = command(&scratch, 8, &["true"]);
        let mut at = vec![Instant::now()];
        let mut shim = Shim::start();
        at.push(Instant::now());
        shim.prepare(&plan);
        at.push(Instant::now());
        shim.go(plan.generation);
        shim.ended();
        at.push(Instant::now());
        shim.order(ShimOrder::Exit { failed: false });
        shim.process.child.wait().unwrap();
        at.push(Instant::now());
        for (list, pair) in times.iter_mut().zip(at.windows(2)) {
            list.push(pair[1] - pair[0]);
        }
        times[4].push(at[3] - at[1]);
    }
    let mut loops: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            let script = "for i in 1 2 3 4 5 6 7 8; do /bin/true & done; wait";
            std::process::Command::new("sh").args(["-c", script]).status().unwrap();
            start.elapsed()
        })
        .collect();
    show("beside it: a shell that starts 8 x /bin/true and waits", &mut loops);
    for (what, list) in
        ["spawn to hello", "prepare", "go to ended", "exit", "prepare to ended"].iter().zip(&mut times)
    {
        show(what, list);
    }
}

#[test]
#[ignore = "measures; run by hand"]
fn cost_in_memory() {
    let scratch = Scratch::new();
    let plan = shell(&scratch, 8, "head -c 1000000 /dev/zero; sleep 1000");
    let mut shim = Shim::started(&plan);
    let guardian = guardian_of(&shim);
    shim.until("output of the last rank", |report| match report {
        ShimReport::Output { written: 1_000_000, rank, .. } => (rank.0 == 7).then_some(()),
        _ => None,
    });
    say(format!(
        "PSS after 8 x 1 MB of output: shim {} kB, guardian {} kB",
        pss(shim.process.pid()),
        pss(guardian)
    ));
    shim.stop(Duration::ZERO);
    shim.ended();
    shim.exit(true);
}
