use std::time::Duration;

use phalanx_common::defaults;
use phalanx_common::spec::{
    Document, Fencing, Flags, JobFile, JobSpec, Keep, NeedsFlags, OutputMode, OutputSpec, Shape, StopScope,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::needs::{needing, seed};
use crate::{around, run};

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = JobFile::parse("job.yaml", &bytes).map_err(|error| error.to_string());
    }

    #[test]
    fn no_text_of_yaml_pieces_makes_the_parser_panic(pieces in prop::collection::vec(piece(), 0..60)) {
        let around = around();
        let result = JobFile::parse("job.yaml", pieces.concat().as_bytes())
            .and_then(|file| file.resolve(&around));
        if let Err(error) = result {
            prop_assert!(!error.problems().is_empty());
            prop_assert!(error.to_string().starts_with("job.yaml:"), "{error}");
        }
    }

    #[test]
    fn no_text_of_a_flag_makes_overlay_panic(text in any::<String>()) {
        let flag = Some(text.clone());
        let needs = NeedsFlags {
            gpus: flag.clone(), npus: flag.clone(), gpus_per_rank: flag.clone(), npus_per_rank: flag.clone(),
            device_model: flag.clone(), device_memory: flag.clone(), mig: flag.clone(),
            cpus_per_rank: flag.clone(), memory_per_rank: flag.clone(), nics_per_rank: flag.clone(),
            groups: std::array::from_fn(|_| flag.clone()), require_tier: vec![text.clone()],
            prefer_tier: vec![text.clone()], spares: flag.clone(), spread: flag.clone(),
            node_selector: vec![text.clone()], use_nodes: vec![text.clone()], avoid_nodes: vec![text.clone()],
            exclusive: flag.clone(), uneven: flag.clone(), mixed: flag.clone(), device_view: flag.clone(),
            memory_binding: flag.clone(), cpu_binding: flag.clone(), nccl_topology: flag.clone(),
        };
        let flags = Flags {
            name: flag.clone(), ranks: flag.clone(), nodes: flag.clone(), ranks_per_node: flag.clone(), needs,
            working_dir: flag.clone(), ship: flag.clone(), env: vec![text.clone()], env_file: vec![text.clone()], secret: vec![text.clone()], start_timeout: flag.clone(),
            grace: flag.clone(), max_restarts: flag.clone(), restart_policy: flag.clone(), restart_scope: flag.clone(), deadline: flag.clone(), suspend: flag.clone(), fencing: flag.clone(), unreachable: flag.clone(),
            lease: flag.clone(), stop_scope: flag.clone(), keep: flag.clone(),
            output: flag.clone(), log_dir: flag.clone(), max_file_size: flag.clone(), keep_files: flag,
            command: vec![text],
        };
        let _ = JobFile::default().overlay(&flags, &around()).map_err(|error| error.to_string());
    }

    #[test]
    fn a_job_printed_as_a_file_resolves_to_itself(job in job()) {
        prop_assert_eq!(run(&print(&job), &Flags::default()), Ok(job));
    }
}

/// What YAML is made of, so that random texts get past the first token.
fn piece() -> impl Strategy<Value = String> {
    const PIECES: &[&str] = &[
        "\n",
        "\n  ",
        "\n- ",
        ": ",
        ":",
        ", ",
        "[",
        "]",
        "{",
        "}",
        "'",
        "\"",
        "#",
        "|",
        ">",
        "&a ",
        "*a",
        "!t ",
        "? ",
        "---\n",
        "...\n",
        "\t",
        "\r\n",
        "%",
        "@",
        "~",
        "\\",
        "é",
        "\u{2028}",
        "ranks",
        "command",
        "env",
        "output",
        "mode",
        "name",
        "nodes",
        "ranksPerNode",
        "placement",
        "require",
        "all",
        "leaf",
        "parallelism",
        "tp",
        "dp",
        "order",
        "groups",
        "resources",
        "devices",
        "elastic",
        "min",
        "secret",
        "ship",
        "1",
        "-3",
        "1e9",
        "gpu",
        "null",
        "a",
    ];
    prop::sample::select(PIECES).prop_map(str::to_string)
}

pub(crate) fn job() -> impl Strategy<Value = JobSpec> {
    let text = "[^\\x00]{0,20}";
    let path = "(/[a-z.][a-zé \"':#]{1,6}){1,3}";
    let head = (
        "[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?",
        1..=1024u32,
        "[^\\x00]{1,20}",
        prop::collection::vec(text, 0..5),
    );
    let places = (prop::option::of(path), path, prop::collection::btree_map("[^\\x00=]{1,10}", text, 0..5));
    let times = (1..=1_000_000_000_000_000u64, 0..=1_000_000_000_000_000u64, any::<u32>());
    let words = (
        prop::sample::select([StopScope::Group, StopScope::Process].as_slice()),
        prop::sample::select([Keep::Never, Keep::OnFailure, Keep::Always].as_slice()),
        prop::sample::select(
            [OutputMode::Label, OutputMode::Raw, OutputMode::Rank0, OutputMode::Files].as_slice(),
        ),
    );
    let sizes = (4096..=i64::MAX as u64, any::<u32>());
    let job = (head, places, times, words, sizes).prop_map(|(head, places, times, words, sizes)| JobSpec {
        name: head.0,
        shape: Shape::Nodes { nodes: 1, ranks_per_node: head.1 },
        resources: Default::default(),
        parallelism: Default::default(),
        placement: Default::default(),
        elastic: None,
        command: std::iter::once(head.2).chain(head.3).collect(),
        working_dir: places.0,
        ship: None,
        virtual_env: None,
        secrets: Default::default(),
        unreachable: defaults::UNREACHABLE,
        lease: defaults::LEASE,
        fencing: Fencing::Lenient,
        env: places.2,
        start_timeout: Duration::from_micros(times.0),
        termination_grace: Duration::from_micros(times.1),
        probes: Default::default(),
        lifecycle: Default::default(),
        max_restarts: times.2,
        recovery: Default::default(),
        lifetime: Default::default(),
        stop_scope: words.0,
        keep: words.1,
        output: OutputSpec {
            mode: words.2,
            log_dir: Some(places.1),
            max_file_bytes: sizes.0,
            keep_files: sizes.1,
        },
    });
    (job, seed()).prop_map(|(job, seed)| needing(job, seed))
}

/// A job as a file. Times are written by hand: no float holds their nanoseconds.
fn print(job: &JobSpec) -> String {
    let mut document = json!({
        "name": job.name, "ranks": job.world_size(), "command": job.command, "env": job.env,
        "maxRestarts": job.max_restarts, "stopScope": job.stop_scope, "keep": job.keep,
        "output": {
            "mode": job.output.mode, "logDir": job.output.log_dir, "maxFileSize": job.output.max_file_bytes,
            "keepFiles": job.output.keep_files,
        },
    });
    if let Some(dir) = &job.working_dir {
        document["workingDir"] = Value::String(dir.clone());
    }
    let needs = serde_json::to_value(Document::from(job)).unwrap();
    for key in ["resources", "parallelism", "placement", "elastic"] {
        if let Some(value) = needs.get(key) {
            document[key] = value.clone();
        }
    }
    let mut text = String::new();
    for (key, value) in document.as_object().unwrap() {
        text += &format!("{key}: {}\n", yaml(value));
    }
    let seconds = |time: Duration| format!("{}.{:09}", time.as_secs(), time.subsec_nanos());
    text += &format!("startTimeoutSeconds: {}\n", seconds(job.start_timeout));
    text + &format!("terminationGracePeriodSeconds: {}\n", seconds(job.termination_grace))
}

/// JSON is YAML, but for characters that JSON leaves as they are and YAML does not print.
fn yaml(value: &Value) -> String {
    let escape = |c: char| match c {
        '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    };
    value.to_string().chars().map(escape).collect()
}
