//! What a client sends to a coordinator, and what the coordinator makes of it.

use std::time::Duration;

use phalanx_common::defaults::MIN_LEASE;
use phalanx_common::spec::{Fencing, JobSpec, Shape, Ship, VirtualEnv};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::needs::{needing, seed};
use crate::properties;

proptest! {
    #[test]
    fn a_job_comes_out_of_its_document_as_it_went_in(job in job()) {
        let document = job.to_document();
        let read = JobSpec::from_document(document.as_bytes()).map_err(|error| error.to_string());
        prop_assert_eq!(read, Ok(job));
    }

    #[test]
    fn no_bytes_make_the_coordinator_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = JobSpec::from_document(&bytes);
    }

    #[test]
    fn no_value_in_the_place_of_another_makes_the_coordinator_panic(
        job in job(), key in any::<prop::sample::Index>(), value in value(),
    ) {
        let mut document: Value = serde_json::from_str(&job.to_document()).unwrap();
        let keys: Vec<String> = document["job"].as_object().unwrap().keys().cloned().collect();
        document["job"][key.get(&keys)] = value;
        if let Err(error) = JobSpec::from_document(document.to_string().as_bytes()) {
            prop_assert!(!error.to_string().contains(":0:0"), "{}", error);
        }
    }
}

fn job() -> impl Strategy<Value = JobSpec> {
    let shape = prop_oneof![
        (1..=1024u32, 1..=1024u32).prop_map(|(nodes, ranks_per_node)| Shape::Nodes { nodes, ranks_per_node }),
        (1..=1_048_576u32).prop_map(Shape::Ranks),
    ];
    let ship = prop::option::of(("[0-9a-f]{64}", 0..=256u64 << 20))
        .prop_map(|ship| ship.map(|(digest, bytes)| Ship { digest, bytes }));
    let virtual_env = prop::option::of(("/[^\\x00]{0,20}", prop::option::of("[0-9]\\.[0-9]{1,2}\\.[0-9]")))
        .prop_map(|found| found.map(|(prefix, version)| VirtualEnv { prefix, version }));
    let secrets = prop::collection::btree_set("SECRET_[^\\x00=]{1,10}", 0..3);
    let lease = MIN_LEASE.as_micros() as u64..=1_000_000_000_000_000;
    let times = (1..=1_000_000_000_000_000u64, lease, any::<bool>(), any::<bool>());
    (properties::job(), shape, ship, virtual_env, secrets, times, seed()).prop_map(
        |(mut job, shape, ship, virtual_env, secrets, times, seed)| {
            if times.3 {
                job.output.log_dir = None;
            }
            let job = JobSpec {
                shape,
                ship,
                virtual_env,
                secrets,
                unreachable: Duration::from_micros(times.0),
                lease: Duration::from_micros(times.1),
                fencing: if times.2 { Fencing::Strict } else { Fencing::Lenient },
                ..job
            };
            needing(job, seed)
        },
    )
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 8, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-zA-Z]{0,6}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

#[test]
fn a_document_that_is_no_job_is_refused_in_these_words() {
    let whole = json!({"job": {"command": ["a"], "ranks": 2}});
    let with = |key: &str, value: Value| {
        let mut document = whole.clone();
        *document.pointer_mut(key).unwrap() = value;
        document
    };
    let beside = |key: &str, value: Value| {
        let mut document = whole.clone();
        document[key] = value;
        document
    };
    let long = "x".repeat(300 << 10);
    let table: &[(Value, &str)] = &[
        (
            json!({"job": {"command": ["a", long]}, "virtualEnv": {"prefix": format!("/{long}"), "version": null}}),
            "the job's text is 614",
        ),
        (json!({}), "the job's document is not JSON of this version: missing field `job` at line 1 column 2"),
        (
            with("/job", json!(null)),
            "the job: expected a mapping of keys such as `command: [python, train.py]`, found null",
        ),
        (
            with("/job", json!({})),
            "the job: no command: write it after `--`, or as `command: [program, argument]` in a job file",
        ),
        (
            with("/job/ranks", json!("gpu")),
            "the job: ranks: gpu means one machine's, and a cluster has several: write a number",
        ),
        (
            with("/job/ranks", json!(1e20)),
            "the job: ranks: expected a whole number from 1 to 1048576, `gpu` or `cpu`, found 100000000000000000000",
        ),
        (
            with("/job/command", json!(["a\u{0}"])),
            "the job: command[0]: a NUL character cannot be passed to a process",
        ),
        (with("/job", json!({"command": ["a"], "later": 1})), "the job: unknown key \"later\"; "),
        (
            with("/job", json!({"command": ["a"], "workingDir": "x"})),
            "workingDir x of a job in a cluster has to be an absolute path",
        ),
        (
            with("/job", json!({"command": ["a"], "output": {"logDir": "x"}})),
            "output.logDir x of a job in a cluster has to be an absolute path",
        ),
        (
            with("/job", json!({"command": ["a"], "ship": "/code"})),
            "the directory `ship` of a job file is for its submitter, and a coordinator makes nothing of it",
        ),
        (
            with("/job", json!({"command": ["a"], "env": {"A": {"secret": "B"}}})),
            "a secret in `env` of a job file is for its submitter, and a coordinator makes nothing of it",
        ),
        (
            beside("ship", json!({"digest": "AB", "bytes": 1})),
            "the job's directory does not travel as AB, 1 bytes: a SHA-256 in hexadecimal, at most 268435456 bytes",
        ),
        (
            beside("virtualEnv", json!({"prefix": "v", "version": null})),
            "v is no absolute path of a virtual environment",
        ),
        (
            json!({"job": {"command": ["a"], "env": {"A": "1"}}, "secrets": ["A"]}),
            "A is a variable of the job and a secret too, and only one of the two can be its value",
        ),
        (beside("secrets", json!(["A=B"])), "\"A=B\" is not a name for a secret variable"),
        (beside("more", json!(1)), "the job's document is not JSON of this version: unknown field `more`, "),
    ];
    for (document, expected) in table {
        let error = JobSpec::from_document(document.to_string().as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    let digest = "a".repeat(64);
    let ship = |bytes: u64| beside("ship", json!({"digest": digest, "bytes": bytes})).to_string();
    assert!(JobSpec::from_document(ship(256 << 20).as_bytes()).is_ok());
    assert!(JobSpec::from_document(ship((256 << 20) + 1).as_bytes()).is_err());
}
