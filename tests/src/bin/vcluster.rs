//! Runs seeds of the virtual cluster by hand: `vcluster --seed 17 --trace`, `vcluster --seeds 0..10000`.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use phalanx_tests::vcluster::seeded;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(arguments) = Arguments::parse(&args) else {
        let _ = writeln!(io::stderr(), "usage: vcluster (--seed N [--trace] | --seeds FROM..TO)");
        return ExitCode::from(2);
    };
    match run(&arguments, &mut io::stdout().lock()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) | Err(_) => ExitCode::FAILURE,
    }
}

struct Arguments {
    from: u64,
    to: u64,
    trace: bool,
}

impl Arguments {
    fn parse(args: &[String]) -> Option<Arguments> {
        let mut range = None;
        let mut trace = false;
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--seed" => {
                    let seed: u64 = args.next()?.parse().ok()?;
                    range = Some((seed, seed + 1));
                }
                "--seeds" => {
                    let (from, to) = args.next()?.split_once("..")?;
                    range = Some((from.parse().ok()?, to.parse().ok()?));
                }
                "--trace" => trace = true,
                _ => return None,
            }
        }
        range.map(|(from, to)| Arguments { from, to, trace })
    }
}

/// Whether every seed held.
fn run(arguments: &Arguments, out: &mut impl Write) -> io::Result<bool> {
    let began = Instant::now();
    let (mut failed, mut steps, mut restarts) = (0u64, 0u64, 0u64);
    let mut outcomes: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in arguments.from..arguments.to {
        let run = seeded::run(seed, None, arguments.trace);
        steps += run.steps;
        restarts += u64::from(run.restarts);
        for outcome in &run.outcomes {
            *outcomes.entry(outcome).or_default() += 1;
        }
        if arguments.trace {
            run.trace.iter().try_for_each(|line| writeln!(out, "{line}"))?;
        }
        if let Some(violation) = run.violations.first() {
            failed += 1;
            writeln!(out, "seed {seed}: {:?} at {}: {}", violation.invariant, violation.at, violation.what)?;
        }
    }
    let seeds = arguments.to.saturating_sub(arguments.from);
    let took = began.elapsed().as_secs_f64();
    writeln!(
        out,
        "{seeds} seeds, {steps} steps, {restarts} restarts, jobs {outcomes:?}, {failed} failed, {took:.1} s, {:.0} seeds/s",
        seeds as f64 / took
    )?;
    Ok(failed == 0)
}
