//! Many runs together, and what other settings would give.

use std::collections::BTreeMap;

use super::profile::Profile;
use super::run::{Lost, Run, run};

/// Runs of which a forecast is made: enough that the mean of 30 days is known to a tenth of a point or so.
pub const RUNS: u32 = 100;
/// Of 1: how many runs lie below and above the bounds that are shown.
const TAIL: f64 = 0.05;
/// Hangs are known after so many seconds where a liveness probe is on.
const PROBED: f64 = 60.0;
/// Spares that a what-if adds.
const MORE_SPARES: u32 = 2;

/// What to expect.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    pub nodes: u32,
    pub days: u32,
    /// Mean effective training time ratio, from 0 to 1.
    pub goodput: f64,
    /// Nine runs of ten lie between these.
    pub low: f64,
    pub high: f64,
    /// Per run, by class.
    pub interruptions: BTreeMap<&'static str, f64>,
    /// Shares of all time, from 0 to 1.
    pub lost: Lost,
    /// How often a run's restarts were used up.
    pub given_up: f64,
    /// The one with the largest gain first.
    pub what_if: Vec<WhatIf>,
}

/// One setting, changed.
#[derive(Clone, Debug, PartialEq)]
pub struct WhatIf {
    pub change: &'static str,
    /// What becomes of the goodput, from -1 to 1.
    pub gain: f64,
}

/// What a job on so many nodes can expect, over runs of so many days whose seeds begin with this one.
pub fn forecast(profile: &Profile, nodes: u32, days: u32, seed: u64) -> Forecast {
    let runs = runs(profile, nodes, days, seed);
    let count = f64::from(RUNS);
    let mut ratios: Vec<f64> = runs.iter().map(Run::goodput).collect();
    ratios.sort_by(f64::total_cmp);
    let at = |share: f64| ratios[((count - 1.0) * share).round() as usize];
    let goodput = mean(&runs);
    let mut interruptions = BTreeMap::new();
    for (class, times) in runs.iter().flat_map(|run| &run.interruptions) {
        *interruptions.entry(*class).or_default() += f64::from(*times) / count;
    }
    let elapsed: f64 = runs.iter().map(|run| run.elapsed).sum();
    let share = |of: fn(&Lost) -> f64| runs.iter().map(|run| of(&run.lost)).sum::<f64>() / elapsed;
    let mut what_if: Vec<WhatIf> = changes(profile)
        .into_iter()
        .map(|(change, changed)| WhatIf {
            change,
            gain: mean(&self::runs(&changed, nodes, days, seed)) - goodput,
        })
        .collect();
    what_if.sort_by(|one, other| other.gain.total_cmp(&one.gain));
    Forecast {
        nodes,
        days,
        goodput,
        low: at(TAIL),
        high: at(1.0 - TAIL),
        interruptions,
        lost: Lost {
            detect: share(|lost| lost.detect),
            restart: share(|lost| lost.restart),
            work: share(|lost| lost.work),
            nodes: share(|lost| lost.nodes),
            checkpoints: share(|lost| lost.checkpoints),
            given_up: share(|lost| lost.given_up),
        },
        given_up: runs.iter().map(|run| f64::from(run.given_up)).sum::<f64>() / count,
        what_if,
    }
}

fn runs(profile: &Profile, nodes: u32, days: u32, seed: u64) -> Vec<Run> {
    (0..RUNS).map(|number| run(profile, nodes, days, seed.wrapping_add(u64::from(number)))).collect()
}

fn mean(runs: &[Run]) -> f64 {
    runs.iter().map(Run::goodput).sum::<f64>() / runs.len() as f64
}

/// Settings that somebody could change.
fn changes(profile: &Profile) -> [(&'static str, Profile); 4] {
    let changed = |change: fn(&mut Profile)| {
        let mut profile = profile.clone();
        change(&mut profile);
        profile
    };
    [
        ("half the checkpoint interval", changed(|profile| profile.checkpoint /= 2.0)),
        ("two more spares", changed(|profile| profile.spares += MORE_SPARES)),
        ("hangs known after 60 s", changed(|profile| profile.detect_hang = profile.detect_hang.min(PROBED))),
        (
            "restarts twice as fast",
            changed(|profile| {
                profile.stop /= 2.0;
                profile.start /= 2.0;
                profile.load /= 2.0;
            }),
        ),
    ]
}
