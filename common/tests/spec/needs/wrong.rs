//! Needs that cannot be, and the message each gives.

use super::told;

/// What is said, without the excerpts. The command stands in the first line.
fn said(text: &str) -> Vec<String> {
    let error = match told(text) {
        Ok(job) => return vec![format!("{job:?}")],
        Err(error) => error,
    };
    let lines = error.lines().filter(|line| !line.starts_with("  "));
    lines.map(|line| line.strip_prefix("job.yaml:").unwrap_or(line).to_owned()).collect()
}

const RESOURCES: &[(&str, &[&str])] = &[
    ("resources: 8", &[]),
    ("resources: {cpu: 8}", &[]),
    ("resources: {devices: {kind: tpu, count: 0, memory: 0, model: '', mig: 3g}}", &[]),
    ("resources: {devices: {gpu: 1}}", &[]),
    ("resources: {devices: 8}", &[]),
    ("resources: {devices: {kind: npu, mig: 1g.10gb}}", &[]),
    ("resources: {devices: {mig: 1g.10gb/../x}}", &[]),
    ("resources: {cpus: 0, memory: 32GB, nics: 65}", &[]),
];

const GROUPS: &[(&str, &[&str])] = &[
    ("ranks: 64\nparallelism: {tp: 8, pp: 3}", &[]),
    ("ranks: 64\nparallelism: {tp: 8, dp: 3, pp: 2}", &[]),
    ("ranks: 64\nparallelism: {tp: 3}", &[]),
    ("ranks: 1\nparallelism: {tp: 8}", &[]),
    ("parallelism: {tp: 8, dp: 1}", &[]),
    ("ranks: 64\nparallelism: {tp: 128, pp: 128}", &[]),
    ("ranks: 64\nparallelism: {tp: 1048576, pp: 1048576, ep: 1048576, cp: 1048576}", &[]),
    ("ranks: 64\nparallelism: {order: [tp], tp: 8}", &[]),
    ("ranks: 64\nparallelism: {tp: 0}", &[]),
    ("ranks: 64\nparallelism: {TP: 8}", &[]),
    ("ranks: 64\nparallelism: {tensor: 8}", &[]),
    ("ranks: 64\nparallelism: {dpp: 8}", &[]),
    ("ranks: 64\nparallelism: {stage: 8}", &[]),
    ("ranks: 64\nparallelism: [tp, 8]", &[]),
    ("ranks: 64\nparallelism: {tp: 8, groups: {tp: 4}}", &[]),
    ("ranks: 64\nparallelism: {groups: {tp: 8, tp: 4}}", &[]),
    ("ranks: 64\nparallelism: {groups: {stage: 8}}", &[]),
    ("ranks: 64\nparallelism: {groups: {all: 8, Tensor: 8, a-name-far-too-long: 1}}", &[]),
    ("ranks: 64\nparallelism: {groups: {tp: {pattern: ring}}}", &[]),
    ("ranks: 64\nparallelism: {groups: {tp: {size: 8, pattern: all, volume: 2Pi, weight: 1}}}", &[]),
    ("ranks: 64\nparallelism: {groups: {tp: [8]}}", &[]),
    ("ranks: 64\nparallelism: {order: [tp, dp, tp], tp: 8}", &[]),
    ("ranks: 64\nparallelism: {order: [tp, tensor, dp], tp: 8}", &[]),
    ("ranks: 64\nparallelism: {order: [dp], tp: 8}", &[]),
    ("ranks: 64\nparallelism: {order: [], tp: 8}", &[]),
    ("ranks: 64\nparallelism: {order: tp, tp: 8}", &[]),
];

const PLACEMENT: &[(&str, &[&str])] = &[
    ("placement: {required: {all: leaf}}", &[]),
    ("placement: {require: leaf}", &[]),
    ("placement: {require: {all: device, tp: device}}", &[]),
    ("placement: {require: {all: laef}, prefer: {all: rack}}", &[]),
    ("placement: {require: {tp: node}, prefer: {Pipeline: leaf}}", &[]),
    ("ranks: 8\nparallelism: {tp: 8}\nplacement: {require: {pp: node, data: leaf}}", &[]),
    ("ranks: 8\nplacement: {require: {all: leaf}, prefer: {all: block}}", &[]),
    ("ranks: 8\nplacement:\n  require: {all: leaf}\n  spread: leaf", &[]),
    ("ranks: 8\nplacement: {require: {all: node}, spread: nvlink}", &[]),
    ("ranks: 8\nplacement: {spread: numa}", &[]),
    ("nodes: 2\nplacement: {require: {all: node}}", &[]),
    ("nodes: 2\nranksPerNode: 4\nparallelism: {tp: 8}\nplacement: {require: {tp: node}}", &[]),
    ("nodes: 2\nranksPerNode: 6\nparallelism: {tp: 4}\nplacement: {require: {tp: island}}", &[]),
    ("nodes: 2\nranksPerNode: 4\nparallelism: {tp: 8}\nplacement: {require: {tp: leaf}, spread: leaf}", &[]),
    ("placement:\n  nodes: [a, b]\n  avoid: [c, b]", &[]),
    ("placement: {nodes: [a, b, a]}", &[]),
    ("placement: {nodes: []}", &[]),
    ("placement: {nodes: a}", &[]),
    ("placement: {nodes: [../x, '']}", &[]),
    ("nodes: 2\nplacement: {nodes: [a, b], spares: 1}", &[]),
    ("placement: {nodeSelector: {a b: c, d: e f}}", &[]),
    (
        "placement: {exclusive: yes, uneven: yes, mixed: 1, deviceView: all, memoryBinding: strct, cpuBinding: numa}",
        &[],
    ),
    ("placement: {spares: 9000}", &[]),
];

const ELASTIC: &[(&str, &[&str])] = &[
    ("ranks: 8\nelastic: {max: 16}", &[]),
    ("ranks: 8\nelastic: {min: 16, max: 4}", &[]),
    ("ranks: 8\nelastic: {min: 4, max: 6}", &[]),
    ("ranks: 8\nelastic: {min: 4, max: 16, step: 3}", &[]),
    ("ranks: 8\nelastic: {min: 4, max: 10, step: 4}", &[]),
    ("ranks: 8\nparallelism: {tp: 4}\nelastic: {min: 6, step: 2}", &[]),
    ("ranks: 8\nparallelism: {tp: 4}\nelastic: {min: 4, step: 2}", &[]),
    ("ranks: 8\nelastic: {min: 0}", &[]),
    ("ranks: 8\nelastic: {least: 4}", &[]),
];

#[test]
fn needs_that_cannot_be_are_refused_in_these_words() {
    for (text, expected) in [RESOURCES, GROUPS, PLACEMENT, ELASTIC].into_iter().flatten() {
        println!("@@{:?}", (text, said(text)));
    }
}

#[test]
fn more_than_a_job_has_is_refused_and_not_counted_out() {
    let list = |count: usize| (0..count).map(|n| format!("n{n}")).collect::<Vec<_>>().join(", ");
    let nodes = |count| said(&format!("placement: {{nodes: [{}]}}", list(count)));
    assert_eq!(
        nodes(8193),
        ["2:20: placement.nodes: a list of nodes has from 1 to 8192 items, and this one has 8193"]
    );
    assert!(told(&format!("placement: {{nodes: [{}]}}", list(8192))).is_ok());
    let groups = |count: usize| {
        let sizes: Vec<String> = (0..count).map(|n| format!("n{n}: 1")).collect();
        format!("parallelism: {{order: [{}], groups: {{{}}}}}", list(count), sizes.join(", "))
    };
    assert!(told(&groups(16)).is_ok());
    assert!(said(&groups(17)).iter().any(|line| line.contains("at most 16 kinds of groups")));
    let labels = |count: usize| {
        let labels: Vec<String> = (0..count).map(|n| format!("l{n}: a")).collect();
        told(&format!("placement: {{nodeSelector: {{{}}}}}", labels.join(", ")))
    };
    assert!(labels(64).is_ok());
    assert!(labels(65).unwrap_err().contains("65 labels, and a node has 64 at most"));
    let tiers: Vec<String> = (0..100_000).map(|n| format!("t{n}: leaf")).collect();
    assert!(told(&format!("placement: {{require: {{{}}}}}", tiers.join(", "))).unwrap_err().len() < 20_000);
}

#[test]
fn names_of_nodes_count_as_text_that_travels() {
    let name = "x".repeat(60);
    let nodes: Vec<String> = (0..8192).map(|n| format!("{name}{n:04}")).collect();
    let both = format!("placement: {{nodes: [{}], avoid: [y{}]}}", nodes.join(", "), nodes.join(", y"));
    let error = told(&both.replace(&format!("y{name}"), &format!("y{}", "x".repeat(59)))).unwrap_err();
    assert!(error.contains("the names of nodes are 1048577 bytes together, at most 524288"), "{error}");
}
