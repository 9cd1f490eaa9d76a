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
    ("resources: 8", &["2:12: resources: expected a mapping of keys such as `cpus: 8`, found 8"]),
    ("resources: {cpu: 8}", &["2:13: unknown key \"cpu\" in resources; did you mean \"cpus\"?"]),
    (
        "resources: {devices: {kind: tpu, count: 0, memory: 0, model: '', mig: 3g}}",
        &[
            "2:29: resources.devices.kind: expected one of gpu, npu, found the string \"tpu\"; did you mean \"gpu\"?",
            "2:41: resources.devices.count: expected a whole number from 1 to 256, found 0",
            "2:52: resources.devices.memory: expected a size of at least 1 byte, such as 512Mi or 1Gi, found 0",
            "2:62: resources.devices.model: expected a part of a model's name, such as H100, at most 64 bytes, found the string \"\"",
            "2:71: resources.devices.mig: expected a profile of MIG slices, such as 1g.10gb or 3g.40gb, found the string \"3g\"",
        ],
    ),
    (
        "resources: {devices: {gpu: 1}}",
        &["2:23: unknown key \"gpu\" in resources.devices; expected one of kind, count, model, memory, mig"],
    ),
    (
        "resources: {devices: 8}",
        &["2:22: resources.devices: expected a mapping of keys such as `count: 1`, found 8"],
    ),
    (
        "resources: {devices: {kind: npu, mig: 1g.10gb}}",
        &["2:39: resources.devices.mig: an NPU has no MIG slices; leave out mig, or take GPUs"],
    ),
    (
        "resources: {devices: {mig: 1g.10gb/../x}}",
        &[
            "2:28: resources.devices.mig: expected a profile of MIG slices, such as 1g.10gb or 3g.40gb, found the string \"1g.10gb/../x\"",
        ],
    ),
    (
        "resources: {cpus: 0, memory: 32GB, nics: 65}",
        &[
            "2:19: resources.cpus: expected a whole number from 1 to 8192, found 0",
            "2:30: resources.memory: expected a size of at least 1 byte, such as 512Mi or 1Gi, found the string \"32GB\"",
            "2:42: resources.nics: expected a whole number from 1 to 64, found 65",
        ],
    ),
];

const GROUPS: &[(&str, &[&str])] = &[
    (
        "ranks: 64\nparallelism: {tp: 8, pp: 3}",
        &[
            "3:22: parallelism: tp 8 x pp 3 = 24 does not divide the 64 ranks of the job; pp 2 or 4, or 48 ranks, or 72 ranks would fit",
        ],
    ),
    (
        "ranks: 64\nparallelism: {tp: 8, dp: 3, pp: 2}",
        &[
            "3:22: parallelism: tp 8 x dp 3 x pp 2 = 48, and the job has 64 ranks; dp 4, or 48 ranks would fit",
        ],
    ),
    (
        "ranks: 64\nparallelism: {tp: 3}",
        &[
            "3:15: parallelism: tp 3 does not divide the 64 ranks of the job; tp 2 or 4, or 63 ranks, or 66 ranks would fit",
        ],
    ),
    (
        "ranks: 1\nparallelism: {tp: 8}",
        &["3:15: parallelism: tp 8 does not divide the 1 rank of the job; tp 1, or 8 ranks would fit"],
    ),
    (
        "parallelism: {tp: 8, dp: 1}",
        &["2:15: parallelism: tp 8 x dp 1 = 8, and the job has 1 rank; tp 1, or 8 ranks would fit"],
    ),
    (
        "ranks: 64\nparallelism: {tp: 128, pp: 128}",
        &[
            "3:24: parallelism: tp 128 x pp 128 = 16384 does not divide the 64 ranks of the job; 16384 ranks would fit",
        ],
    ),
    (
        "ranks: 64\nparallelism: {tp: 1048576, pp: 1048576, ep: 1048576, cp: 1048576}",
        &[
            "3:28: parallelism: tp 1048576 x cp 1048576 x ep 1048576 x pp 1048576, more than can be counted, does not divide the 64 ranks of the job",
        ],
    ),
    (
        "ranks: 64\nparallelism: {order: [tp], tp: 8}",
        &["3:28: parallelism: tp 8, and the job has 64 ranks; tp 64, or 8 ranks would fit"],
    ),
    (
        "ranks: 64\nparallelism: {tp: 0}",
        &["3:19: parallelism.tp: expected a whole number from 1 to 1048576, found 0"],
    ),
    ("ranks: 64\nparallelism: {TP: 8}", &["3:15: unknown key \"TP\" in parallelism; did you mean \"tp\"?"]),
    (
        "ranks: 64\nparallelism: {tensor: 8}",
        &["3:15: unknown key \"tensor\" in parallelism; did you mean \"tp\"?"],
    ),
    (
        "ranks: 64\nparallelism: {dpp: 8}",
        &["3:15: unknown key \"dpp\" in parallelism; expected one of tp, cp, ep, dp, pp, order, groups"],
    ),
    (
        "ranks: 64\nparallelism: {stage: 8}",
        &["3:15: unknown key \"stage\" in parallelism; did you mean \"pp\"?"],
    ),
    (
        "ranks: 64\nparallelism: [tp, 8]",
        &["3:14: parallelism: expected a mapping of sizes such as `tp: 8`, found a list"],
    ),
    (
        "ranks: 64\nparallelism: {tp: 8, groups: {tp: 4}}",
        &["3:31: the group tp stands here a second time; the first is at job.yaml:3:15"],
    ),
    (
        "ranks: 64\nparallelism: {groups: {tp: 8, tp: 4}}",
        &["3:31: the key \"tp\" stands here a second time; the first is in line 3"],
    ),
    (
        "ranks: 64\nparallelism: {groups: {stage: 8}}",
        &[
            "3:24: parallelism: the group stage has no place among the others; write them all, fastest first: `order: [tp, dp, stage]`",
        ],
    ),
    (
        "ranks: 64\nparallelism: {groups: {all: 8, Tensor: 8, a-name-far-too-long: 1}}",
        &[
            "3:24: parallelism.groups: expected a kind of groups: tp, cp, ep, dp, pp or a name of at most 16 lower-case letters, digits and `-` that begins with a letter, found the string \"all\"",
            "3:32: parallelism.groups: expected a kind of groups: tp, cp, ep, dp, pp or a name of at most 16 lower-case letters, digits and `-` that begins with a letter, found the string \"Tensor\"; did you mean \"tp\"?",
            "3:43: parallelism.groups: expected a kind of groups: tp, cp, ep, dp, pp or a name of at most 16 lower-case letters, digits and `-` that begins with a letter, found the string \"a-name-far-too-long\"",
        ],
    ),
    (
        "ranks: 64\nparallelism: {groups: {tp: {pattern: ring}}}",
        &[
            "3:24: parallelism: the group tp has no size; dp alone may be left open, and is then what the others leave",
        ],
    ),
    (
        "ranks: 64\nparallelism: {groups: {tp: {size: 8, pattern: all, volume: 2Pi, weight: 1}}}",
        &[
            "3:47: parallelism.groups.tp.pattern: expected one of ring, allToAll, chain, tree, found the string \"all\"",
            "3:60: parallelism.groups.tp.volume: expected a size of 1 to 1125899906842624 bytes, such as 512Mi or 1Gi, found the string \"2Pi\"",
            "3:65: unknown key \"weight\" in a group; expected one of size, pattern, volume",
        ],
    ),
    (
        "ranks: 64\nparallelism: {groups: {tp: [8]}}",
        &[
            "3:28: parallelism.groups.tp: expected a size or a mapping of size, pattern and volume, found a list",
        ],
    ),
    (
        "ranks: 64\nparallelism: {order: [tp, dp, tp], tp: 8}",
        &["3:31: parallelism: tp stands in order a second time"],
    ),
    (
        "ranks: 64\nparallelism: {order: [tp, tensor, dp], tp: 8}",
        &["3:27: parallelism: order names tensor, and there is no such group; did you mean \"tp\"?"],
    ),
    (
        "ranks: 64\nparallelism: {order: [dp], tp: 8}",
        &["3:22: parallelism: order lacks the group tp (job.yaml:3:28), which needs a place in it"],
    ),
    (
        "ranks: 64\nparallelism: {order: [], tp: 8}",
        &["3:22: parallelism.order: a list of kinds of groups has from 1 to 16 items, and this one has 0"],
    ),
    (
        "ranks: 64\nparallelism: {order: tp, tp: 8}",
        &["3:22: parallelism.order: expected a list of kinds of groups, found the string \"tp\""],
    ),
];

const PLACEMENT: &[(&str, &[&str])] = &[
    (
        "placement: {required: {all: leaf}}",
        &["2:13: unknown key \"required\" in placement; did you mean \"require\"?"],
    ),
    (
        "placement: {require: leaf}",
        &[
            "2:22: placement.require: expected a mapping of tiers such as `all: leaf`, found the string \"leaf\"",
        ],
    ),
    (
        "placement: {require: {all: device, tp: device}}",
        &[
            "2:28: placement.require.all: device is closer than a node, and a whole job takes one at least; expected one of node, nvlink, leaf, block, core, site",
            "2:40: placement.require.tp: no group of ranks is within one device; expected one of island, numa, node, nvlink, leaf, block, core, site",
        ],
    ),
    (
        "placement: {require: {all: laef}, prefer: {all: rack}}",
        &[
            "2:28: placement.require.all: expected one of device, island, numa, node, nvlink, leaf, block, core, site, found the string \"laef\"; did you mean \"leaf\"?",
            "2:49: placement.prefer.all: expected one of device, island, numa, node, nvlink, leaf, block, core, site, found the string \"rack\"; did you mean \"leaf\"?",
        ],
    ),
    (
        "placement: {require: {tp: node}, prefer: {Pipeline: leaf}}",
        &[
            "2:43: placement.prefer: expected a kind of groups: tp, cp, ep, dp, pp or a name of at most 16 lower-case letters, digits and `-` that begins with a letter, found the string \"Pipeline\"; did you mean \"pp\"?",
        ],
    ),
    (
        "ranks: 8\nparallelism: {tp: 8}\nplacement: {require: {pp: node, data: leaf}}",
        &[
            "4:23: placement.require: the job has no group pp: give its size, as `parallelism: {pp: 8}`",
            "4:33: placement.require: the job has no group data: give its size, as `parallelism: {data: 8}`; did you mean \"dp\"?",
        ],
    ),
    (
        "ranks: 8\nplacement: {require: {all: leaf}, prefer: {all: block}}",
        &[
            "3:49: placement.prefer.all: this prefers block, and leaf is required (job.yaml:3:28): only what is closer can be preferred",
        ],
    ),
    (
        "ranks: 8\nplacement:\n  require: {all: leaf}\n  spread: leaf",
        &[
            "5:11: placement.spread: nodes that share no leaf domain cannot be within one leaf, as is required (job.yaml:4:18)",
        ],
    ),
    (
        "ranks: 8\nplacement: {require: {all: node}, spread: nvlink}",
        &[
            "3:43: placement.spread: nodes that share no nvlink domain cannot be within one node, as is required (job.yaml:3:28)",
        ],
    ),
    (
        "ranks: 8\nplacement: {spread: numa}",
        &[
            "3:21: placement.spread: nodes share no numa domain anyway; expected one of nvlink, leaf, block, core, site",
        ],
    ),
    (
        "nodes: 2\nplacement: {require: {all: node}}",
        &["3:28: placement.require.all: the job takes 2 nodes, so it cannot be within one node"],
    ),
    (
        "nodes: 2\nranksPerNode: 4\nparallelism: {tp: 8}\nplacement: {require: {tp: node}}",
        &[
            "5:27: placement.require: a node has 4 ranks, and a tp group takes its 8 out of 8 in a row, so that some would be on two nodes; tp 4 would fit",
        ],
    ),
    (
        "nodes: 2\nranksPerNode: 6\nparallelism: {tp: 4}\nplacement: {require: {tp: island}}",
        &[
            "5:27: placement.require: a node has 6 ranks, and a tp group takes its 4 out of 4 in a row, so that some would be on two nodes; tp 6 would fit",
        ],
    ),
    (
        "nodes: 2\nranksPerNode: 4\nparallelism: {tp: 8}\nplacement: {require: {tp: leaf}, spread: leaf}",
        &[
            "5:42: placement.spread: nodes that share no leaf domain cannot be within one leaf, as is required (job.yaml:5:27)",
        ],
    ),
    (
        "placement:\n  nodes: [a, b]\n  avoid: [c, b]",
        &["4:14: placement.avoid: the node \"b\" is to be used (job.yaml:3:14) and to be avoided"],
    ),
    ("placement: {nodes: [a, b, a]}", &["2:27: placement.nodes: the node \"a\" stands here a second time"]),
    (
        "placement: {nodes: []}",
        &["2:20: placement.nodes: a list of nodes has from 1 to 8192 items, and this one has 0"],
    ),
    ("placement: {nodes: a}", &["2:20: placement.nodes: expected a list of nodes, found the string \"a\""]),
    (
        "placement: {nodes: [../x, '']}",
        &[
            "2:21: placement.nodes[0]: expected a node's id or the beginning of it: letters, digits, `.`, `_` and `-`, found the string \"../x\"",
            "2:27: placement.nodes[1]: expected a node's id or the beginning of it: letters, digits, `.`, `_` and `-`, found the string \"\"",
        ],
    ),
    (
        "nodes: 2\nplacement: {nodes: [a, b], spares: 1}",
        &[
            "3:20: placement.nodes: only 2 nodes are named to choose from, and the job takes 2 and a spare: name as many, or take fewer",
        ],
    ),
    (
        "placement: {nodeSelector: {a b: c, d: e f}}",
        &[
            "2:28: placement.nodeSelector: \"a b\": labels are made of letters, digits, `-`, `_`, `.` and `/`, 63 of them at most, and have a name",
            "2:39: placement.nodeSelector.d: expected the value of a label: letters, digits, `-`, `_`, `.` and `/`, 63 at most, found the string \"e f\"",
        ],
    ),
    (
        "placement: {exclusive: yes, uneven: yes, mixed: 1, deviceView: all, memoryBinding: strct, cpuBinding: numa}",
        &[
            "2:24: placement.exclusive: expected one of none, numa, node, found the string \"yes\"",
            "2:37: placement.uneven: expected true or false, found the string \"yes\"",
            "2:49: placement.mixed: expected true or false, found 1",
            "2:64: placement.deviceView: expected one of pod, rank, found the string \"all\"",
            "2:84: placement.memoryBinding: expected one of preferred, strict, none, found the string \"strct\"; did you mean \"strict\"?",
            "2:103: placement.cpuBinding: expected one of cores, none, found the string \"numa\"",
        ],
    ),
    (
        "placement: {spares: 9000}",
        &["2:21: placement.spares: expected a whole number from 0 to 8192, found 9000"],
    ),
];

const ELASTIC: &[(&str, &[&str])] = &[
    (
        "ranks: 8\nelastic: {max: 16}",
        &["3:1: elastic.min: `min` is missing, the least ranks that the job can train with"],
    ),
    (
        "ranks: 8\nelastic: {min: 16, max: 4}",
        &[
            "3:16: elastic.min: elastic from 16 to 4 ranks, and the job has 8; its number lies between the two",
        ],
    ),
    (
        "ranks: 8\nelastic: {min: 4, max: 6}",
        &["3:24: elastic.max: elastic from 4 to 6 ranks, and the job has 8; its number lies between the two"],
    ),
    (
        "ranks: 8\nelastic: {min: 4, max: 16, step: 3}",
        &["3:34: elastic.step: from min 4 by steps of 3 there is no way to 8 ranks"],
    ),
    (
        "ranks: 8\nelastic: {min: 4, max: 10, step: 4}",
        &["3:24: elastic.max: from min 4 by steps of 4 there is no way to 10 ranks"],
    ),
    (
        "ranks: 8\nparallelism: {tp: 4}\nelastic: {min: 6, step: 2}",
        &[
            "4:16: elastic.min: 6 ranks are no whole replicas: the groups other than dp take 4 ranks each time",
        ],
    ),
    (
        "ranks: 8\nparallelism: {tp: 4}\nelastic: {min: 4, step: 2}",
        &[
            "4:25: elastic.step: 2 ranks are no whole replicas: the groups other than dp take 4 ranks each time",
        ],
    ),
    (
        "ranks: 8\nelastic: {min: 0}",
        &["3:16: elastic.min: expected a whole number from 1 to 1048576, found 0"],
    ),
    (
        "ranks: 8\nelastic: {least: 4}",
        &["3:11: unknown key \"least\" in elastic; expected one of min, max, step"],
    ),
];

#[test]
fn needs_that_cannot_be_are_refused_in_these_words() {
    for (text, expected) in [RESOURCES, GROUPS, PLACEMENT, ELASTIC].into_iter().flatten() {
        assert_eq!(said(text), *expected, "{text}");
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
    let error = told(&format!("placement: {{nodes: [{}]}}\nname: x", nodes.join(", "))).unwrap_err();
    assert!(error.contains("the names of nodes are 524289 bytes together, at most 524288"), "{error}");
}
