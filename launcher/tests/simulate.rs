//! Runs the real `phalanx simulate` on a small cluster.
#![allow(clippy::unwrap_used, reason = "helpers of tests end where something is wrong")]

mod small;

use std::fs;
use std::path::Path;

use self::small::phalanx;

/// Exit code, standard output, standard error.
fn simulate(dir: &Path, args: &[&str]) -> (i32, String, String) {
    phalanx(dir, &[&["simulate"], args].concat())
}

/// The small cluster, and a trace of a hundred jobs.
fn cluster() -> tempfile::TempDir {
    let dir = small::cluster();
    let mut trace = String::from("job,submitted_at,duration,gpus\n");
    for job in 0..100 {
        trace += &format!("j{job},{},{},{}\n", job * 977, 600 + job * 131 % 4_000, [1, 8, 2, 32, 4][job % 5]);
    }
    fs::write(dir.path().join("jobs.csv"), trace).unwrap();
    dir
}

const BOTH: [&str; 4] = ["--topology", "hosts.csv", "--trace", "jobs.csv"];

#[test]
fn all_policies_are_compared_in_one_table_json_and_picture() {
    let dir = cluster();
    let args = [&BOTH[..], &["--load", "80", "--days", "3", "--svg", "it.svg"]].concat();
    let (code, out, err) = simulate(dir.path(), &args);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    for policy in ["phalanx", "random", "first-fit", "slurm", "volcano", "kueue", "asw"] {
        assert_eq!(
            out.lines().filter(|line| line.split(' ').next() == Some(policy)).count(),
            1,
            "{policy}: {out}"
        );
    }
    let svg = fs::read_to_string(dir.path().join("it.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("jobs at 80 % load"), "{svg}");

    let json =
        [&BOTH[..], &["--load", "50,80", "--days", "3", "--json", "--policy", "slurm,phalanx"]].concat();
    let (code, out, _) = simulate(dir.path(), &json);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, json["cases"].as_array().unwrap().len()), (0, 2));
    let policies = json["cases"][1]["policies"].as_array().unwrap();
    assert_eq!(
        policies.iter().map(|it| it["policy"].as_str().unwrap()).collect::<Vec<_>>(),
        ["phalanx", "slurm"]
    );
    assert_eq!(policies[0]["series"]["atSeconds"].as_array().unwrap().len(), 500);
}

#[test]
fn what_cannot_be_simulated_is_said_with_where_and_what_to_do() {
    let dir = cluster();
    fs::write(dir.path().join("bad.csv"), "job,submitted_at,duration,gpus\na,1,x,8\n").unwrap();
    let said = |args: &[&str]| {
        let (code, out, err) = simulate(dir.path(), args);
        assert_eq!((code, out.as_str()), (125, ""), "{err}");
        err
    };
    let bad = said(&["--topology", "hosts.csv", "--trace", "bad.csv"]);
    assert!(bad.contains("bad.csv: line 2: the duration is x"), "{bad}");
    let unknown = said(&[&BOTH[..], &["--policy", "best"]].concat());
    assert!(unknown.contains("there is no policy best; there are all, phalanx"), "{unknown}");
    assert!(said(&[&BOTH[..], &["--load", "120"]].concat()).contains("--load 120: a load is from 1 to 100"));
    let many = said(&[&BOTH[..], &["--jobs", "10"]].concat());
    assert!(many.contains("of which the bound allows 10: measure fewer days, or raise the bound"), "{many}");
    assert!(said(&["--topology", "none.csv", "--trace", "jobs.csv"]).contains("none.csv"));
}

#[test]
fn a_forecast_under_faults_is_a_table_or_json_of_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (code, out, err) = simulate(dir.path(), &["--faults", "default", "--nodes", "2048"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.starts_with("94.8 % of all time trains, on 2,048 nodes over 30 days; between "), "{out}");
    for row in ["waiting for nodes", "gpu ", "half the checkpoint interval  +"] {
        assert_eq!(out.lines().filter(|line| line.starts_with(row)).count(), 1, "{row}: {out}");
    }
    let (_, again, _) = simulate(dir.path(), &["--faults", "default", "--nodes", "2048", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&again).unwrap();
    let goodput = json["goodput"].as_f64().unwrap();
    assert_eq!(format!("{:.1}", goodput * 100.0), "94.8");
    let lost: f64 = json["lost"].as_object().unwrap().values().map(|share| share.as_f64().unwrap()).sum();
    assert!((goodput + lost - 1.0).abs() < 1e-6, "{json}");

    fs::write(dir.path().join("none.yaml"), "maxRestarts: 0\ncheckpointSeconds: 3600\n").unwrap();
    let (_, out, _) = simulate(dir.path(), &["--faults", "none.yaml", "--nodes", "2048"]);
    assert!(out.contains("used up its restarts") && out.contains("raise maxRestarts"), "{out}");
}

#[test]
fn what_is_wrong_with_a_forecast_is_said_with_where() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("bad.yaml"), "spares: 4\nspare: 3\n").unwrap();
    for (args, wanted) in [
        (&["--faults", "bad.yaml", "--nodes", "8"][..], "bad.yaml: line 2, column 1: there is no key spare"),
        (&["--faults", "gone.yaml", "--nodes", "8"], "cannot read the profile of faults gone.yaml"),
        (&["--faults", "default"], "--nodes <N>"),
        (&["--faults", "default", "--nodes", "0"], "--nodes 0: a job has from 1 to 1000000"),
        (&["--faults", "default", "--nodes", "8", "--days", "0"], "--days 0: from 1 to 36500 days"),
        (&["--faults", "default", "--nodes", "8", "--load", "80"], "cannot be used with '--load"),
    ] {
        let (code, out, err) = simulate(dir.path(), args);
        assert!(code == 125 && out.is_empty() && err.contains(wanted), "{args:?}: {err}");
    }
}
