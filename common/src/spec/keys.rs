//! The keys of a job file: those that work, and those of later versions.

use crate::text::fold;
pub(super) use crate::text::nearest;

const PROCESSES: &str = "this version runs plain processes";
const ROLES: &str = "this version runs ranks only";
const QUEUE: &str = "this version runs one job, at once";

/// Keys at the top level, in the order of the documentation.
pub(super) const SUPPORTED: &[&str] = &[
    "name",
    "ranks",
    "nodes",
    "ranksPerNode",
    "resources",
    "parallelism",
    "placement",
    "elastic",
    "command",
    "workingDir",
    "ship",
    "env",
    "startTimeoutSeconds",
    "terminationGracePeriodSeconds",
    "stopSignal",
    "startupProbe",
    "readinessProbe",
    "livenessProbe",
    "lifecycle",
    "initContainers",
    "initOnce",
    "maxRestarts",
    "restartPolicy",
    "restartScope",
    "restartBudget",
    "failureRules",
    "successPolicy",
    "activeDeadlineSeconds",
    "ttlSecondsAfterFinished",
    "suspend",
    "fencing",
    "unreachableSeconds",
    "leaseSeconds",
    "stopScope",
    "keep",
    "output",
];

/// Keys in `output`.
pub(super) const OUTPUT: &[&str] = &["mode", "logDir", "maxFileSize", "keepFiles"];

pub(super) const RESOURCES: &[&str] = &["devices", "cpus", "memory", "memoryLimit", "nics"];

/// Keys in `resources.devices`.
pub(super) const DEVICES: &[&str] = &["kind", "count", "model", "memory", "mig"];

pub(super) const PARALLELISM: &[&str] = &["tp", "cp", "ep", "dp", "pp", "order", "groups"];

/// Keys of a group in `parallelism.groups`.
pub(super) const GROUP: &[&str] = &["size", "pattern", "volume"];

pub(super) const PLACEMENT: &[&str] = &[
    "require",
    "prefer",
    "spares",
    "spread",
    "nodeSelector",
    "nodes",
    "avoid",
    "exclusive",
    "uneven",
    "mixed",
    "deviceView",
    "memoryBinding",
    "cpuBinding",
    "ncclTopology",
];

pub(super) const ELASTIC: &[&str] = &["min", "max", "step"];

/// Keys in `restartBudget`.
pub(super) const BUDGET: &[&str] = &["gang", "pod", "rank", "replaceNode", "noProgress"];

/// Keys in `restartBudget.gang`, `restartBudget.pod` and `restartBudget.rank`.
pub(super) const STEP: &[&str] = &["max", "window", "backoff"];

/// Keys in `restartBudget.replaceNode`.
pub(super) const REPLACE: &[&str] = &["max"];

/// Keys in `backoff` of a step.
pub(super) const BACKOFF: &[&str] = &["initial", "max"];

/// Keys of a rule in `failureRules`.
pub(super) const RULE: &[&str] = &["exitCodes", "signals", "reasons", "action"];

/// Keys in `exitCodes` of a rule, if it is no list.
pub(super) const CODES: &[&str] = &["operator", "values"];

/// Keys in `successPolicy`.
pub(super) const SUCCESS: &[&str] = &["rules"];

/// Keys of a rule in `successPolicy`.
pub(super) const SUCCESS_RULE: &[&str] = &["succeededIndexes", "succeededCount"];
/// Keys of `startupProbe`, `readinessProbe` and `livenessProbe`.
pub(super) const PROBE: &[&str] = &[
    "exec",
    "httpGet",
    "tcpSocket",
    "notify",
    "log",
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
    "terminationGracePeriodSeconds",
];

/// Keys in `exec` of a probe.
pub(super) const EXEC: &[&str] = &["command"];

/// Keys in `httpGet` of a probe.
pub(super) const HTTP_GET: &[&str] = &["path", "port", "portPerLocalRank", "host", "scheme", "httpHeaders"];

/// Keys of a header in `httpGet.httpHeaders`.
pub(super) const HEADER: &[&str] = &["name", "value"];

/// Keys in `tcpSocket` of a probe.
pub(super) const TCP_SOCKET: &[&str] = &["port", "portPerLocalRank", "host"];

/// Keys in `log` of a probe.
pub(super) const LOG: &[&str] = &["pattern"];

/// Keys in `lifecycle`.
pub(super) const LIFECYCLE: &[&str] = &["postStart", "preStop"];

/// Keys of a hook.
pub(super) const HOOK: &[&str] = &["exec", "httpGet", "sleep"];

/// Keys in `sleep` of a hook.
pub(super) const SLEEP: &[&str] = &["seconds"];

/// Keys of an item of `initContainers`.
pub(super) const INIT: &[&str] = &["name", "command", "env", "restartPolicy", "startupProbe"];

/// Keys of a variable in `env` that is no text.
pub(super) const VARIABLE: &[&str] = &["secret"];

/// Keys of a client's configuration.
pub(super) const CLIENT: &[&str] = &["coordinator", "identity", "output", "color"];

/// Keys of later versions: the key, and what this version does instead.
pub(super) const NOT_YET: &[(&str, &str)] = &[
    ("image", PROCESSES),
    ("priority", QUEUE),
    ("queue", QUEUE),
    ("roles", ROLES),
    ("runtime", PROCESSES),
    ("secrets", "a secret is a variable: `env: {NAME: {secret: KEY}}`"),
    ("securityContext", PROCESSES),
    ("store", "rank 0 serves the rendezvous itself"),
    ("volumes", PROCESSES),
];

/// What other tools call it, where likeness of letters would not find ours.
const ELSEWHERE: &[(&str, &str)] = &[
    ("args", "command"),
    ("chdir", "workingDir"),
    ("cmd", "command"),
    ("cpus", "resources"),
    ("cwd", "workingDir"),
    ("devices", "resources"),
    ("deviceview", "placement"),
    ("dp", "parallelism"),
    ("entrypoint", "command"),
    ("environment", "env"),
    ("exclusive", "placement"),
    ("gpus", "resources"),
    ("grace", "terminationGracePeriodSeconds"),
    ("logdir", "output"),
    ("memory", "resources"),
    ("n", "ranks"),
    ("np", "ranks"),
    ("nnodes", "nodes"),
    ("nodeselector", "placement"),
    ("nprocpernode", "ranksPerNode"),
    ("nprocs", "ranks"),
    ("numprocesses", "ranks"),
    ("poststart", "lifecycle"),
    ("pp", "parallelism"),
    ("prestop", "lifecycle"),
    ("replicas", "ranks"),
    ("restarts", "maxRestarts"),
    ("sidecars", "initContainers"),
    ("spares", "placement"),
    ("tp", "parallelism"),
    ("workdir", "workingDir"),
    ("worldsize", "ranks"),
];

/// Why a key of a later version is refused; `None` if it is no such key.
pub(super) fn not_yet(key: &str) -> Option<(&'static str, &'static str)> {
    NOT_YET.iter().find(|(name, _)| *name == key).copied()
}

/// The key at the top level that was probably meant.
pub(super) fn nearest_key(typed: &str) -> Option<&'static str> {
    let folded = fold(typed);
    let elsewhere = ELSEWHERE.iter().find(|(name, _)| *name == folded).map(|(_, ours)| *ours);
    let later: Vec<&'static str> = NOT_YET.iter().map(|(name, _)| *name).collect();
    nearest(typed, SUPPORTED).or(elsewhere).or_else(|| nearest(typed, &later))
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use serde::Serialize;

    use super::super::job::{Choice, Keep, OutputMode, StopScope};
    use super::*;

    #[test]
    fn the_schema_has_the_keys_that_work_and_no_others() {
        let schema = super::super::schema::json_schema();
        let sorted = |keys: &[&str]| {
            let mut keys: Vec<String> = keys.iter().map(|key| key.to_string()).collect();
            keys.sort();
            keys
        };
        let keys = |of: &serde_json::Value| of["properties"].as_object().unwrap().keys().cloned().collect();
        let top: Vec<String> = keys(&schema);
        assert_eq!(top, sorted(SUPPORTED));
        let output: Vec<String> = keys(&schema["properties"]["output"]["anyOf"][1]);
        assert_eq!(output, sorted(OUTPUT));
        let within = [
            ("resources", RESOURCES),
            ("placement", PLACEMENT),
            ("elastic", ELASTIC),
            ("restartBudget", BUDGET),
        ];
        for (of, known) in within {
            let found: Vec<String> = keys(&schema["properties"][of]);
            assert_eq!(found, sorted(known), "{of}");
        }
        let rule: Vec<String> = keys(&schema["properties"]["failureRules"]["items"]);
        assert_eq!(rule, sorted(RULE));
        let success: Vec<String> = keys(&schema["properties"]["successPolicy"]);
        assert_eq!(success, sorted(SUCCESS));
        let probe = &schema["properties"]["livenessProbe"];
        let handlers = &probe["properties"];
        for (of, known) in [
            (probe, PROBE),
            (&handlers["exec"], EXEC),
            (&handlers["httpGet"], HTTP_GET),
            (&handlers["httpGet"]["properties"]["httpHeaders"]["items"], HEADER),
            (&handlers["tcpSocket"], TCP_SOCKET),
            (&handlers["log"], LOG),
            (&schema["properties"]["lifecycle"], LIFECYCLE),
            (&schema["properties"]["lifecycle"]["properties"]["preStop"], HOOK),
            (&schema["properties"]["lifecycle"]["properties"]["preStop"]["properties"]["sleep"], SLEEP),
            (&schema["properties"]["initContainers"]["items"], INIT),
        ] {
            let found: Vec<String> = keys(of);
            assert_eq!(found, sorted(known));
        }
        assert!(NOT_YET.iter().all(|(key, _)| !SUPPORTED.contains(key)));
        assert!(NOT_YET.is_sorted(), "sorted, so that a key stands once");
        assert!(ELSEWHERE.iter().all(|(name, ours)| SUPPORTED.contains(ours) && fold(name) == **name));
    }

    #[test]
    fn words_are_the_ones_that_schema_and_events_use() {
        fn check<T: Choice + Serialize + Debug>() {
            for (word, value) in T::CHOICES {
                assert_eq!(serde_json::to_value(value).unwrap(), *word, "{value:?}");
            }
        }
        check::<StopScope>();
        check::<Keep>();
        check::<OutputMode>();
    }

    #[test]
    fn every_key_is_its_own_nearest_and_strangers_have_none() {
        for key in SUPPORTED {
            assert_eq!(nearest_key(key), Some(*key));
        }
        for stranger in ["", "x", "apiVersion", "metadata", "spec", &"name".repeat(20)] {
            assert_eq!(nearest_key(stranger), None, "{stranger}");
        }
    }
}
