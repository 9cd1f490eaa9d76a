use phalanx_common::spec::{Flags, json_schema};
use serde_json::{Value, json};

use crate::run;

#[test]
fn the_schema_takes_and_refuses_what_the_decoder_does() {
    // Where a key or a word is concerned.
    let table: &[(&str, Value)] = &[
        ("name", json!("digits")),
        ("name", json!(3)),
        ("name", json!(null)),
        ("name", json!("Not a name")),
        ("ranks", json!(4)),
        ("ranks", json!("gpu")),
        ("ranks", json!("four")),
        ("ranks", json!("4")),
        ("nodes", json!(1)),
        ("nodes", json!(0)),
        ("nodes", json!(20_000)),
        ("fencing", json!("strict")),
        ("fencing", json!("yes")),
        ("leaseSeconds", json!(20)),
        ("unreachableSeconds", json!(0)),
        ("ranksPerNode", json!("cpu")),
        ("command", json!(["a", 1, true, 1.5])),
        ("command", json!([])),
        ("command", json!("python train.py")),
        ("command", json!([null])),
        ("workingDir", json!("")),
        ("workingDir", json!("src")),
        ("ship", json!("")),
        ("ship", json!(".")),
        ("ship", json!({"digest": "x", "bytes": 1})),
        ("env", json!({"A": "x", "B": 1, "C": false})),
        ("env", json!({"A": {"secret": "x"}})),
        ("env", json!({"A": {"secret": ""}})),
        ("env", json!({"A": {"secret": 3}})),
        ("env", json!({"A": {"secret": "a=b"}})),
        ("env", json!({"A": {}})),
        ("env", json!({"A": {"secret": "x", "from": "y"}})),
        ("env", json!(["A=1"])),
        ("startTimeoutSeconds", json!(0)),
        ("startTimeoutSeconds", json!(0.5)),
        ("terminationGracePeriodSeconds", json!(0)),
        ("terminationGracePeriodSeconds", json!("30")),
        ("startupProbe", json!({"exec": {"command": ["a"]}, "failureThreshold": 30})),
        ("startupProbe", json!({"exec": {"command": []}})),
        ("readinessProbe", json!({"notify": {}, "periodSeconds": 1})),
        ("readinessProbe", json!({"notify": {"socket": "x"}})),
        ("readinessProbe", json!({"notify": {}, "periodSeconds": 0})),
        ("readinessProbe", json!({"notify": {}, "successThreshold": 0})),
        ("readinessProbe", json!({"notify": {}, "failureThreshold": 1.5})),
        ("readinessProbe", json!({"notify": {}, "timeoutSeconds": 0})),
        ("readinessProbe", json!({"grpc": {"port": 1}})),
        (
            "livenessProbe",
            json!({"httpGet": {"path": "/x", "port": 80, "httpHeaders": [{"name": "a", "value": "b"}]}}),
        ),
        ("livenessProbe", json!({"httpGet": {"path": "x", "port": 80}})),
        ("livenessProbe", json!({"httpGet": {"port": 80, "scheme": "HTTPS"}})),
        ("livenessProbe", json!({"tcpSocket": {"port": 65536}})),
        ("livenessProbe", json!({"tcpSocket": {"port": 80, "portPerLocalRank": true, "host": "127.0.0.1"}})),
        ("livenessProbe", json!({"log": {"pattern": "step"}})),
        ("livenessProbe", json!({"log": {"pattern": ""}})),
        ("maxRestarts", json!(-1)),
        ("maxRestarts", json!(3)),
        ("stopScope", json!("process")),
        ("stopScope", json!("all")),
        ("keep", json!("onFailure")),
        ("keep", json!(true)),
        ("output", json!("raw")),
        ("output", json!("quiet")),
        ("output", json!({"mode": "raw", "logDir": "l", "maxFileSize": "1Gi", "keepFiles": 2})),
        ("output", json!({"maxFileSize": 4095})),
        ("output", json!({"mod": "raw"})),
        ("output", json!(null)),
        ("placement", json!({})),
        ("resources", json!({"cpus": 8, "memory": "32Gi", "nics": 1})),
        ("resources", json!({"cpus": 0})),
        ("resources", json!({"memory": 0})),
        ("resources", json!({"memory": "0.5Gi"})),
        ("resources", json!({"devices": {"kind": "gpu", "count": 2, "model": "H100", "memory": "80G"}})),
        ("resources", json!({"devices": {"mig": "1g.10gb"}})),
        ("resources", json!({"devices": {}})),
        ("resources", json!({"devices": 2})),
        ("resources", json!({"devices": {"count": 257}})),
        ("resources", json!({"devices": {"kind": "tpu"}})),
        ("resources", json!({"devices": {"model": ""}})),
        ("resources", json!({"gpus": 1})),
        ("parallelism", json!({"tp": 1, "dp": 1})),
        ("parallelism", json!({"tp": 0})),
        ("parallelism", json!({"stage": 1})),
        ("parallelism", json!({"order": ["stage", "dp"], "groups": {"stage": 1, "dp": {"pattern": "tree"}}})),
        ("parallelism", json!({"groups": {"dp": {"size": 1, "pattern": "ring", "volume": "2Gi"}}})),
        ("parallelism", json!({"groups": {"dp": {"pattern": "star"}}})),
        ("parallelism", json!({"groups": {"dp": {"weight": 1}}})),
        ("parallelism", json!({"groups": {"dp": "all"}})),
        ("parallelism", json!({"order": "dp"})),
        ("parallelism", json!({"order": []})),
        ("placement", json!({"require": {"all": "leaf"}, "prefer": {"all": "node"}, "spares": 0})),
        ("placement", json!({"require": {"all": "numa"}})),
        ("placement", json!({"require": {"tp": "device"}})),
        ("placement", json!({"require": "leaf"})),
        ("placement", json!({"spread": "leaf"})),
        ("placement", json!({"spread": "node"})),
        ("placement", json!({"nodeSelector": {"pool": "a", "tier": 1}})),
        ("placement", json!({"nodeSelector": {"pool": ["a"]}})),
        ("placement", json!({"nodes": ["a"], "avoid": ["b"]})),
        ("placement", json!({"nodes": []})),
        ("placement", json!({"avoid": []})),
        ("placement", json!({"nodes": "a"})),
        ("placement", json!({"exclusive": "numa", "uneven": true, "mixed": false})),
        ("placement", json!({"exclusive": true})),
        ("placement", json!({"uneven": "true"})),
        ("placement", json!({"deviceView": "rank", "memoryBinding": "strict", "cpuBinding": "none"})),
        ("placement", json!({"deviceView": "job"})),
        ("placement", json!({"memoryBinding": "cores"})),
        ("placement", json!({"cpuBinding": "numa"})),
        ("placement", json!({"spares": 8193})),
        ("placement", json!(null)),
        ("elastic", json!({"min": 1})),
        ("elastic", json!({"min": 0})),
        ("elastic", json!({"min": 1, "max": 1, "step": 1, "by": 1})),
        ("comand", json!(["a"])),
    ];
    let schema = json_schema();
    for (key, value) in table {
        let mut document = json!({"command": ["a"]});
        document[*key] = value.clone();
        let decoded = run(&document.to_string(), &Flags::default());
        assert_eq!(fits(&schema, &document), decoded.is_ok(), "{document}: {decoded:?}");
    }
}

#[test]
fn the_schemas_own_example_is_a_job() {
    let example = json_schema()["examples"][0].clone();
    let job = run(&example.to_string(), &Flags::default()).unwrap();
    assert_eq!((job.name.as_str(), job.world_size()), ("digits", 4));
}

#[test]
fn the_schema_says_what_it_is() {
    let schema = json_schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["title"], "Phalanx job");
    assert_eq!(schema.get("required"), None, "flags can give what the file leaves out");
    for (key, property) in schema["properties"].as_object().unwrap() {
        assert!(property["description"].is_string(), "{key} has no description");
        assert!(!property.to_string().contains("null"), "{key} takes no null");
    }
}

/// As much of JSON Schema as ours uses; a keyword it does not know fails the test.
fn fits(schema: &Value, value: &Value) -> bool {
    let Value::Object(schema) = schema else { return schema == true };
    let number = value.as_f64();
    schema.iter().all(|(keyword, rule)| match keyword.as_str() {
        "$schema" | "title" | "description" | "examples" | "format" => true,
        "type" => match rule {
            Value::Array(types) => types.iter().any(|name| is(name, value)),
            name => is(name, value),
        },
        "const" => rule == value,
        "enum" => rule.as_array().unwrap().contains(value),
        "anyOf" => rule.as_array().unwrap().iter().any(|branch| fits(branch, value)),
        "oneOf" => rule.as_array().unwrap().iter().filter(|branch| fits(branch, value)).count() == 1,
        "minimum" => number.is_none_or(|n| n >= rule.as_f64().unwrap()),
        "maximum" => number.is_none_or(|n| n <= rule.as_f64().unwrap()),
        "exclusiveMinimum" => number.is_none_or(|n| n > rule.as_f64().unwrap()),
        "minLength" => value.as_str().is_none_or(|text| text.len() >= rule.as_u64().unwrap() as usize),
        "maxLength" => value.as_str().is_none_or(|text| text.len() <= rule.as_u64().unwrap() as usize),
        "maxItems" => value.as_array().is_none_or(|items| items.len() <= rule.as_u64().unwrap() as usize),
        "minItems" => value.as_array().is_none_or(|items| items.len() >= rule.as_u64().unwrap() as usize),
        "required" => value.as_object().is_none_or(|entries| {
            rule.as_array().unwrap().iter().all(|key| entries.contains_key(key.as_str().unwrap()))
        }),
        "items" => value.as_array().is_none_or(|items| items.iter().all(|item| fits(rule, item))),
        "pattern" => value.as_str().is_none_or(|text| matches_pattern(rule.as_str().unwrap(), text)),
        "properties" => value.as_object().is_none_or(|entries| {
            entries.iter().all(|(key, value)| rule.get(key).is_none_or(|rule| fits(rule, value)))
        }),
        "additionalProperties" => value.as_object().is_none_or(|entries| {
            let listed =
                |key: &String| schema.get("properties").is_some_and(|known| known.get(key).is_some());
            entries.iter().all(|(key, value)| listed(key) || fits(rule, value))
        }),
        other => panic!("the schema uses {other}"),
    })
}

fn is(name: &Value, value: &Value) -> bool {
    match name.as_str().unwrap() {
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("the schema uses the type {other}"),
    }
}

fn matches_pattern(pattern: &str, text: &str) -> bool {
    match pattern {
        "^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$" => {
            text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                && !text.is_empty()
        }
        "^/" => text.starts_with('/'),
        "^[^=]+$" => !text.is_empty() && !text.contains('='),
        "^[0-9]+(Ki|Mi|Gi|Ti|k|M|G|T)$" => {
            let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
            unit.len() < text.len() && ["Ki", "Mi", "Gi", "Ti", "k", "M", "G", "T"].contains(&unit)
        }
        other => panic!("the schema uses the pattern {other}"),
    }
}
