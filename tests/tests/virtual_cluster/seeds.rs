//! Seeds, as many as PHALANX_TEST_SEEDS says.

use std::collections::BTreeMap;

use phalanx_tests::vcluster::{coverage, seeded};

/// Seeds in which everything has to occur: the rarest does several times.
const COVERED: u64 = 300;

#[test]
fn seeds_break_nothing() {
    let seeds: u64 =
        std::env::var("PHALANX_TEST_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(300);
    let mut outcomes: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut steps, mut restarts) = (0, 0);
    for seed in 0..seeds {
        let run = seeded::run(seed, None, false);
        if let Some(violation) = run.violations.first() {
            let trace = seeded::run(seed, None, true).trace.join("\n");
            panic!(
                "seed {seed} broke {violation:?}\n{trace}\nagain: cargo run -p phalanx-tests --bin vcluster -- --seed {seed} --trace"
            );
        }
        steps += run.steps;
        restarts += u64::from(run.restarts);
        run.outcomes.iter().for_each(|outcome| *outcomes.entry(outcome).or_default() += 1);
    }
    println!("{seeds} seeds: {steps} steps, {restarts} restarts, jobs {outcomes:?}");
}

#[test]
fn the_same_seed_runs_the_same_way() {
    for seed in [3, 17, 42] {
        assert_eq!(seeded::run(seed, None, true).trace, seeded::run(seed, None, true).trace);
    }
}

#[test]
fn every_fault_meets_something_and_every_consequence_occurs() {
    let mut met: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in 0..COVERED {
        let run = seeded::run(seed, None, false);
        for (what, times) in run.injected.into_iter().chain(run.consequences) {
            *met.entry(what).or_default() += times;
        }
    }
    let listed = || coverage::FAULTS.into_iter().chain(coverage::CONSEQUENCES);
    let missing: Vec<&str> = listed().filter(|what| !met.contains_key(what)).collect();
    assert_eq!(missing, [""; 0], "in {COVERED} seeds; met: {met:#?}");
    let unlisted: Vec<&&str> = met.keys().filter(|what| !listed().any(|listed| listed == **what)).collect();
    assert_eq!(unlisted, [&""; 0], "met, and not in the list");
    println!("{met:#?}");
}
