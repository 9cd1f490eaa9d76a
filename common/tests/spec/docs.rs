//! `docs/job-file.md` says what the code does.

use phalanx_common::spec::{Flags, json_schema};

use crate::run;

const PAGE: &str = include_str!("../../../docs/job-file.md");

#[test]
fn every_example_is_a_job() {
    let examples: Vec<&str> =
        PAGE.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(examples.len() >= 4);
    for example in examples {
        run(example, &Flags::default()).unwrap();
    }
}

#[test]
fn every_key_has_its_row() {
    let row = |key: &str| {
        let begins = ["|", "and"].map(|next| format!("\n| `{key}` {next}"));
        assert!(begins.iter().any(|row| PAGE.contains(row)), "{key}");
    };
    let schema = json_schema();
    for key in schema["properties"].as_object().unwrap().keys() {
        row(key);
    }
    let keys = |path: &str, of: &serde_json::Value| {
        for key in of["properties"].as_object().unwrap().keys() {
            match PAGE.contains(&format!("`.{key}`")) && path == "parallelism" {
                // Groups share a row.
                true => {}
                false => row(&format!("{path}.{key}")),
            }
        }
    };
    let top = &schema["properties"];
    keys("output", &top["output"]["anyOf"][1]);
    keys("resources", &top["resources"]);
    keys("resources.devices", &top["resources"]["properties"]["devices"]);
    keys("parallelism", &top["parallelism"]);
    keys("placement", &top["placement"]);
    keys("elastic", &top["elastic"]);
}

#[test]
fn every_key_said_to_be_of_a_later_version_is() {
    let section = PAGE.split("## Not yet").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    let keys: Vec<&str> = section.split('`').skip(1).step_by(2).collect();
    assert!(keys.len() > 5);
    for key in keys {
        let error = run(&format!("{key}: x\n"), &Flags::default()).unwrap_err();
        assert!(error.starts_with(&format!("job.yaml:1:1: {key} is not supported yet: ")), "{error}");
    }
}
