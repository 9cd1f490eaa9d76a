use super::*;

/// One class of faults that takes no node away, at this rate per 1,000 node-days, with this time from fault to training.
fn plain(rate: f64, restart: f64) -> Profile {
    Profile {
        classes: vec![Class { name: "device", effect: Effect::Program, rate }],
        job_failures_per_day: 0.0,
        detect_exit: 0.0,
        stop: restart / 3.0,
        start: restart / 3.0,
        load: restart / 3.0,
        max_restarts: u32::MAX,
        ..Profile::default()
    }
}

/// E[ETTR] of "Revisiting Reliability in Large-Scale Machine Learning Research Clusters" (arXiv 2410.21680).
fn formula(nodes: u32, rate: f64, restart: f64, interval: f64, stall: f64) -> f64 {
    let per_second = f64::from(nodes) * rate / 1000.0 / 86_400.0;
    (1.0 - per_second * (restart + interval / 2.0)) / (1.0 + stall / interval)
}

#[test]
fn the_closed_formula_is_met_within_a_point() {
    for nodes in [128, 512, 2048] {
        for rate in [3.8, 6.5] {
            for restart in [15.0, 60.0, 300.0] {
                let told = forecast(&plain(rate, restart), nodes, 30, 1).goodput;
                let wanted = formula(nodes, rate, restart, 600.0, 1.0);
                let off = (told - wanted).abs();
                assert!(
                    off < 0.01,
                    "{nodes} nodes, {rate}, {restart} s: {told:.4}, the formula says {wanted:.4}"
                );
            }
        }
    }
}

#[test]
fn every_second_is_useful_or_lost_to_one_cause() {
    for seed in 0..50 {
        let run = run(&Profile::default(), 2048, 30, seed);
        let all = run.useful + run.lost.total();
        assert!((all - run.elapsed).abs() < 1.0 && (run.elapsed - 30.0 * 86_400.0).abs() < 1.0, "{run:?}");
    }
}

#[test]
fn the_same_seed_is_the_same_forecast_and_another_is_not() {
    let told = |seed| forecast(&Profile::default(), 2048, 30, seed);
    assert_eq!(told(1), told(1));
    assert_ne!(told(1).goodput, told(1000).goodput);
}

#[test]
fn the_default_profile_has_as_many_interruptions_as_were_observed() {
    let told = forecast(&Profile::default(), 2048, 54, 1);
    let all: f64 = told.interruptions.values().sum();
    // Faults come in the time that is left beside waiting and stopping alone.
    assert!((380.0..=419.0).contains(&all), "{all}");
    let gpu = told.interruptions["gpu"];
    assert!((140.0..=152.0).contains(&gpu), "{gpu}");
    assert!(told.low < told.goodput && told.goodput < told.high);
}

#[test]
fn each_setting_pays_where_it_is_what_is_missing() {
    let gain = |profile: &Profile, change: &str| {
        let told = forecast(profile, 2048, 30, 1);
        told.what_if.iter().find(|what_if| what_if.change.contains(change)).expect("it is asked").gain
    };
    let default = Profile::default();
    assert!(gain(&default, "hangs") > 0.002);
    assert!(gain(&Profile { detect_hang: 30.0, ..default.clone() }, "hangs").abs() < 1e-9, "on already");
    assert!(
        gain(&Profile { spares: 0, ..default.clone() }, "spares") > 0.05,
        "half a day for each node that is gone"
    );
    assert!(gain(&Profile { spares: 500, ..default.clone() }, "spares").abs() < 1e-9, "enough already");
    assert!(gain(&default, "checkpoint") > 0.01);
    let dear = Profile { stall: 120.0, ..default.clone() };
    assert!(gain(&dear, "checkpoint") < -0.05, "two minutes each five");
    assert!(gain(&default, "restarts") > 0.005);
}

#[test]
fn a_leaf_that_goes_needs_as_many_spares_as_it_has_nodes() {
    let leaf = |spares| {
        let classes = vec![Class { name: "network", effect: Effect::Network, rate: 1.0 }];
        let profile =
            Profile { classes, job_failures_per_day: 0.0, leaf_share: 1.0, spares, ..Profile::default() };
        forecast(&profile, 2048, 30, 1).lost.nodes
    };
    assert!(leaf(15) > 0.005 && leaf(64) < 0.001, "{} {}", leaf(15), leaf(64));
}

#[test]
fn without_restarts_a_job_is_given_up_at_its_first_fault() {
    let told = run(&Profile { max_restarts: 0, ..Profile::default() }, 2048, 30, 1);
    let planned = told.interruptions.get("maintenance").copied().unwrap_or(0);
    let all: u32 = told.interruptions.values().sum();
    assert_eq!(told.given_up, all - planned, "announced maintenance costs no restart");
    assert!(told.lost.given_up > 0.9 * f64::from(told.given_up) * 900.0);
}

#[test]
fn a_profile_changes_what_it_names_and_nothing_else() {
    let text =
        "spares: 4\ncheckpointSeconds: 1800 # half an hour\nratesPer1000NodeDays:\n  gpu: 2.5\n  nic: 0\n";
    let read = Profile::read(text.as_bytes()).unwrap();
    let mut wanted = Profile { spares: 4, checkpoint: 1800.0, ..Profile::default() };
    for class in &mut wanted.classes {
        match class.name {
            "gpu" => class.rate = 2.5,
            "nic" => class.rate = 0.0,
            _ => {}
        }
    }
    assert_eq!(read, wanted);
    assert_eq!(Profile::read(b"# nothing\n").unwrap(), Profile::default());
}

#[test]
fn what_is_wrong_in_a_profile_is_said_with_its_line() {
    for (text, wanted) in [
        (
            "spares: 4\nspare: 1\n",
            "line 2, column 1: there is no key spare; there are ratesPer1000NodeDays, ",
        ),
        (
            "ratesPer1000NodeDays:\n  gpus: 1\n",
            "line 2, column 3: there is no key gpus; there are gpu, hbm, ",
        ),
        (
            "spares: 4\nspares: 5\n",
            "line 2, column 1: the key \"spares\" stands here a second time; the first is in line 1",
        ),
        ("spares: many\n", "line 1, column 9: spares is a whole number up to 1000000, found the string"),
        ("stopSeconds: -1\n", "line 1, column 14: stopSeconds is a number from 0 to 3200000000, found -1"),
        ("checkpointSeconds: 0\n", "line 1, column 20: checkpointSeconds is a number from 1 to"),
        ("leafShare: .nan\n", "line 1, column 12: leafShare is a number from 0 to 1, found .nan"),
        ("- spares\n", "line 1, column 1: a profile is a mapping of keys to numbers"),
        ("spares: [\n", "line "),
    ] {
        let error = Profile::read(text.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with(wanted), "{text:?}: {error}");
    }
}
