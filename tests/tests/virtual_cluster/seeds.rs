//! Seeds, as many as PHALANX_TEST_SEEDS says.

use std::collections::BTreeMap;
use std::path::Path;

use phalanx_tests::vcluster::replay::Replay;
use phalanx_tests::vcluster::{Profile, coverage, seeded};

/// Seeds in which everything has to occur: the rarest does several times.
const COVERED: u64 = 300;

/// Runs this seed. If it breaks an invariant, fails with the replay file that it left and how to step through it.
fn run(profile: Profile, seed: u64) -> seeded::Run {
    let run = seeded::run(seed, profile, None, false);
    let Some(violation) = run.violations.first() else { return run };
    let replay =
        Replay::of(&seeded::run(seed, profile, None, true)).expect("the same seed breaks the same way");
    let path = replay.write(Path::new(env!("CARGO_TARGET_TMPDIR"))).expect("the directory of tests is there");
    panic!(
        "seed {seed} of {} broke {violation:?} after {} events\nstep through it: make replay FILE={}",
        profile.name(),
        run.steps,
        path.display()
    );
}

#[test]
fn seeds_break_nothing() {
    let seeds: u64 =
        std::env::var("PHALANX_TEST_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(300);
    for profile in Profile::ALL {
        let mut outcomes: BTreeMap<&str, u64> = BTreeMap::new();
        let (mut steps, mut restarts) = (0, 0);
        for seed in 0..seeds {
            let run = run(profile, seed);
            steps += run.steps;
            restarts += u64::from(run.restarts);
            run.outcomes.iter().for_each(|outcome| *outcomes.entry(outcome).or_default() += 1);
        }
        let name = profile.name();
        println!("{seeds} seeds of {name}: {steps} events, {restarts} restarts, jobs {outcomes:?}");
    }
}

#[test]
fn the_same_seed_runs_the_same_way() {
    for profile in Profile::ALL {
        for seed in [3, 17, 42] {
            let trace = || seeded::run(seed, profile, None, true).trace;
            assert_eq!(trace(), trace());
        }
    }
}

#[test]
fn every_fault_meets_something_and_every_consequence_occurs() {
    let mut met: BTreeMap<&str, u64> = BTreeMap::new();
    for profile in Profile::ALL {
        for seed in 0..COVERED {
            let run = seeded::run(seed, profile, None, false);
            for (what, times) in run.injected.into_iter().chain(run.consequences) {
                *met.entry(what).or_default() += times;
            }
        }
    }
    let listed = || coverage::FAULTS.into_iter().chain(coverage::CONSEQUENCES);
    let missing: Vec<&str> = listed().filter(|what| !met.contains_key(what)).collect();
    assert_eq!(missing, [""; 0], "in {COVERED} seeds of each profile; met: {met:#?}");
    let unlisted: Vec<&&str> = met.keys().filter(|what| !listed().any(|listed| listed == **what)).collect();
    assert_eq!(unlisted, [&""; 0], "met, and not in the list");
    println!("{met:#?}");
}
