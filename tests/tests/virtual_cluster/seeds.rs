//! Seeds, as many as PHALANX_TEST_SEEDS says.

use std::collections::BTreeMap;

use phalanx_tests::vcluster::seeded;

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
