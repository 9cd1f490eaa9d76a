/// Keys that nobody knows, and keys that stand twice.
pub(super) const KEYS: &[(&str, &str)] = &[
    (
        "comand: [a]",
        "\
job.yaml:1:1: unknown key \"comand\"; did you mean \"command\"?
  1 | comand: [a]
    | ^^^^^^",
    ),
    (
        "working_dir: x",
        "\
job.yaml:1:1: unknown key \"working_dir\"; did you mean \"workingDir\"?
  1 | working_dir: x
    | ^^^^^^^^^^^",
    ),
    (
        "nproc_per_node: 4",
        "\
job.yaml:1:1: unknown key \"nproc_per_node\"; did you mean \"ranksPerNode\"?
  1 | nproc_per_node: 4
    | ^^^^^^^^^^^^^^",
    ),
    (
        "replicas: 4",
        "\
job.yaml:1:1: unknown key \"replicas\"; did you mean \"ranks\"?
  1 | replicas: 4
    | ^^^^^^^^",
    ),
    (
        "placment: {}",
        "\
job.yaml:1:1: unknown key \"placment\"; did you mean \"placement\"?
  1 | placment: {}
    | ^^^^^^^^",
    ),
    (
        "foo: 1",
        "\
job.yaml:1:1: unknown key \"foo\"; expected one of name, ranks, nodes, ranksPerNode, resources, parallelism, placement, elastic, command, workingDir, ship, env, startTimeoutSeconds, terminationGracePeriodSeconds, stopSignal, startupProbe, readinessProbe, livenessProbe, lifecycle, initContainers, initOnce, maxRestarts, restartPolicy, restartScope, restartBudget, failureRules, successPolicy, activeDeadlineSeconds, ttlSecondsAfterFinished, suspend, fencing, unreachableSeconds, leaseSeconds, stopScope, keep, output
  1 | foo: 1
    | ^^^",
    ),
    (
        "Name: x",
        "\
job.yaml:1:1: unknown key \"Name\"; did you mean \"name\"?
  1 | Name: x
    | ^^^^",
    ),
    (
        "<<: {}",
        "\
job.yaml:1:1: unknown key \"<<\"; expected one of name, ranks, nodes, ranksPerNode, resources, parallelism, placement, elastic, command, workingDir, ship, env, startTimeoutSeconds, terminationGracePeriodSeconds, stopSignal, startupProbe, readinessProbe, livenessProbe, lifecycle, initContainers, initOnce, maxRestarts, restartPolicy, restartScope, restartBudget, failureRules, successPolicy, activeDeadlineSeconds, ttlSecondsAfterFinished, suspend, fencing, unreachableSeconds, leaseSeconds, stopScope, keep, output
  1 | <<: {}
    | ^^",
    ),
    (
        "output: {mod: raw}",
        "\
job.yaml:1:10: unknown key \"mod\" in output; did you mean \"mode\"?
  1 | output: {mod: raw}
    |          ^^^",
    ),
    (
        "output: {colour: red}",
        "\
job.yaml:1:10: unknown key \"colour\" in output; expected one of mode, logDir, maxFileSize, keepFiles
  1 | output: {colour: red}
    |          ^^^^^^",
    ),
    (
        "command: [a]\nname: x\ncommand: [b]",
        "\
job.yaml:3:1: the key \"command\" stands here a second time; the first is in line 1
  3 | command: [b]
    | ^^^^^^^",
    ),
    (
        "env: {A: 1, A: 2}\ncommand: [a]",
        "\
job.yaml:1:13: the key \"A\" stands here a second time; the first is in line 1
  1 | env: {A: 1, A: 2}
    |             ^",
    ),
    (
        "? [a]\n: b\n",
        "\
job.yaml:1:3: expected a key, found a list
  1 | ? [a]
    |   ^",
    ),
    (
        "ranks: 0\nkeep: no\nfoo: 1\nranks: 1\noutput: {mode: x, mode: y}\nnodes: 0\ncommand: []",
        "\
job.yaml:1:8: ranks: expected a whole number from 1 to 1048576, `gpu` or `cpu`, found 0
  1 | ranks: 0
    |        ^
job.yaml:2:7: keep: expected one of never, onFailure, always, found the string \"no\"
  2 | keep: no
    |       ^^
job.yaml:3:1: unknown key \"foo\"; expected one of name, ranks, nodes, ranksPerNode, resources, parallelism, placement, elastic, command, workingDir, ship, env, startTimeoutSeconds, terminationGracePeriodSeconds, stopSignal, startupProbe, readinessProbe, livenessProbe, lifecycle, initContainers, initOnce, maxRestarts, restartPolicy, restartScope, restartBudget, failureRules, successPolicy, activeDeadlineSeconds, ttlSecondsAfterFinished, suspend, fencing, unreachableSeconds, leaseSeconds, stopScope, keep, output
  3 | foo: 1
    | ^^^
job.yaml:4:1: the key \"ranks\" stands here a second time; the first is in line 1
  4 | ranks: 1
    | ^^^^^
job.yaml:5:16: output.mode: expected one of label, raw, rank0, files, found the string \"x\"
  5 | output: {mode: x, mode: y}
    |                ^
job.yaml:5:19: the key \"mode\" stands here a second time; the first is in line 5
  5 | output: {mode: x, mode: y}
    |                   ^^^^
job.yaml:6:8: nodes: expected a whole number from 1 to 8192, found 0
  6 | nodes: 0
    |        ^
job.yaml:7:10: command: the list is empty; expected a program and its arguments
  7 | command: []
    |          ^",
    ),
    (
        "\"\": 1",
        "\
job.yaml:1:1: unknown key \"\"; expected one of name, ranks, nodes, ranksPerNode, resources, parallelism, placement, elastic, command, workingDir, ship, env, startTimeoutSeconds, terminationGracePeriodSeconds, stopSignal, startupProbe, readinessProbe, livenessProbe, lifecycle, initContainers, initOnce, maxRestarts, restartPolicy, restartScope, restartBudget, failureRules, successPolicy, activeDeadlineSeconds, ttlSecondsAfterFinished, suspend, fencing, unreachableSeconds, leaseSeconds, stopScope, keep, output
  1 | \"\": 1
    | ^^",
    ),
];

/// Keys and values of later versions.
pub(super) const NOT_YET: &[(&str, &str)] = &[
    (
        "command: [a]\n\n\n\n\n\nroles: {ps: {ranks: 2}}",
        "\
job.yaml:7:1: roles is not supported yet: this version runs ranks only
  7 | roles: {ps: {ranks: 2}}
    | ^^^^^",
    ),
    (
        "deviceView: rank",
        "\
job.yaml:1:1: unknown key \"deviceView\"; did you mean \"placement\"?
  1 | deviceView: rank
    | ^^^^^^^^^^",
    ),
    (
        "gpus: 8",
        "\
job.yaml:1:1: unknown key \"gpus\"; did you mean \"resources\"?
  1 | gpus: 8
    | ^^^^",
    ),
    (
        "nodes: 2\ncommand: [a]",
        "\
job.yaml:1:8: nodes: 2 nodes take a cluster, and this is one machine: start one with `phalanx serve`, or use `--nodes 1`
  1 | nodes: 2
    |        ^",
    ),
    (
        "queue: q\nimage: x\nroles: {}\nvolumes: .",
        "\
job.yaml:1:1: queue is not supported yet: this version runs one job, at once
  1 | queue: q
    | ^^^^^
job.yaml:2:1: image is not supported yet: this version runs plain processes
  2 | image: x
    | ^^^^^
job.yaml:3:1: roles is not supported yet: this version runs ranks only
  3 | roles: {}
    | ^^^^^
job.yaml:4:1: volumes is not supported yet: this version runs plain processes
  4 | volumes: .
    | ^^^^^^^",
    ),
];
