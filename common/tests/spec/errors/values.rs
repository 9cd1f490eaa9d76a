/// Values of the right type that cannot be.
pub(super) const VALUES: &[(&str, &str)] = &[
    (
        "ranks: 0\ncommand: [a]",
        "\
job.yaml:1:8: ranks: expected a whole number from 1 to 1048576, `gpu` or `cpu`, found 0
  1 | ranks: 0
    |        ^",
    ),
    (
        "ranks: -4\ncommand: [a]",
        "\
job.yaml:1:8: ranks: expected a whole number from 1 to 1048576, `gpu` or `cpu`, found -4
  1 | ranks: -4
    |        ^^",
    ),
    (
        "ranks: 5000\ncommand: [a]",
        "\
job.yaml:1:8: ranks: 5000 ranks on one machine; at most 1024 can run on a node
  1 | ranks: 5000
    |        ^^^^",
    ),
    (
        "ranks: 99999999999999999999\ncommand: [a]",
        "\
job.yaml:1:8: ranks: expected a whole number from 1 to 1048576, `gpu` or `cpu`, found 99999999999999999999
  1 | ranks: 99999999999999999999
    |        ^^^^^^^^^^^^^^^^^^^^",
    ),
    (
        "ranks: 0x10\ncommand: [a]",
        "\
job.yaml:1:8: ranks: expected a whole number from 1 to 1048576, `gpu` or `cpu`, found 0x10
  1 | ranks: 0x10
    |        ^^^^",
    ),
    (
        "nodes: 0\ncommand: [a]",
        "\
job.yaml:1:8: nodes: expected a whole number from 1 to 8192, found 0
  1 | nodes: 0
    |        ^",
    ),
    (
        "ranksPerNode: 0\ncommand: [a]",
        "\
job.yaml:1:15: ranksPerNode: expected a whole number from 1 to 1024, found 0
  1 | ranksPerNode: 0
    |               ^",
    ),
    (
        "nodes: 1\nranks: 4\nranksPerNode: 8\ncommand: [a]",
        "\
job.yaml:2:8: ranks: 4 ranks contradict nodes 1 x ranksPerNode 8 = 8
  2 | ranks: 4
    |        ^",
    ),
    (
        "ranks: gpu\nranksPerNode: 8\ncommand: [a]",
        "\
job.yaml:1:8: ranks: 2 ranks contradict nodes 1 x ranksPerNode 8 = 8
  1 | ranks: gpu
    |        ^^^",
    ),
    (
        "name: My Job\ncommand: [a]",
        "\
job.yaml:1:7: name: expected a name of at most 40 lower-case letters, digits and `-`, with a letter or digit at both ends, found the string \"My Job\"
  1 | name: My Job
    |       ^^^^^^",
    ),
    (
        "name: -x\ncommand: [a]",
        "\
job.yaml:1:7: name: expected a name of at most 40 lower-case letters, digits and `-`, with a letter or digit at both ends, found the string \"-x\"
  1 | name: -x
    |       ^^",
    ),
    (
        "name: aaaaaaaaaabbbbbbbbbbccccccccccdddddddddde\ncommand: [a]",
        "\
job.yaml:1:7: name: expected a name of at most 40 lower-case letters, digits and `-`, with a letter or digit at both ends, found the string \"aaaaaaaaaabbbbbbbbbbccccccccccdddddddddde\"
  1 | name: aaaaaaaaaabbbbbbbbbbccccccccccdddddddddde
    |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^",
    ),
    (
        "name: \"a\\eb\"\ncommand: [a]",
        "\
job.yaml:1:7: name: expected a name of at most 40 lower-case letters, digits and `-`, with a letter or digit at both ends, found the string \"a\\u{1b}b\"
  1 | name: \"a\\eb\"
    |       ^^^^^^",
    ),
    (
        "command: []",
        "\
job.yaml:1:10: command: the list is empty; expected a program and its arguments
  1 | command: []
    |          ^",
    ),
    (
        "command: [\"\", x]",
        "\
job.yaml:1:11: command[0]: the program is an empty string
  1 | command: [\"\", x]
    |           ^^",
    ),
    (
        "command: [~, \"\", x]",
        "\
job.yaml:1:11: command[0]: expected a string, a number or a boolean, found ~
  1 | command: [~, \"\", x]
    |           ^",
    ),
    (
        "command: [a, \"b\\0c\"]",
        "\
job.yaml:1:14: command[1]: a NUL character cannot be passed to a process
  1 | command: [a, \"b\\0c\"]
    |              ^^^^^^",
    ),
    (
        "ranks: 4",
        "job.yaml: no command: write it after `--`, or as `command: [program, argument]` in a job file",
    ),
    (
        "ship: .\nworkingDir: src\ncommand: [a]",
        "\
job.yaml:1:7: ship: ranks start in the copy of this directory and in workingDir too; leave one of the two keys out
  1 | ship: .
    |       ^",
    ),
    (
        "env: {\"\": x, A=B: y, \"C\\0\": z, PHALANX_POD: w, D: \"x\\0\"}\ncommand: [a]",
        "\
job.yaml:1:7: env: \"\" is not a name for a variable: it must not be empty nor contain `=` or NUL
  1 | env: {\"\": x, A=B: y, \"C\\0\": z, PHALANX_POD: w, D: \"x\\0\"}
    |       ^^
job.yaml:1:14: env: \"A=B\" is not a name for a variable: it must not be empty nor contain `=` or NUL
  1 | env: {\"\": x, A=B: y, \"C\\0\": z, PHALANX_POD: w, D: \"x\\0\"}
    |              ^^^
job.yaml:1:22: env: \"C\\u{0}\" is not a name for a variable: it must not be empty nor contain `=` or NUL
  1 | env: {\"\": x, A=B: y, \"C\\0\": z, PHALANX_POD: w, D: \"x\\0\"}
    |                      ^^^^^
job.yaml:1:32: env.PHALANX_POD: this variable marks the processes of a pod and cannot be set
  1 | env: {\"\": x, A=B: y, \"C\\0\": z, PHALANX_POD: w, D: \"x\\0\"}
    |                                ^^^^^^^^^^^
job.yaml:1:51: env.D: a NUL character cannot be passed to a process
  1 | env: {\"\": x, A=B: y, \"C\\0\": z, PHALANX_POD: w, D: \"x\\0\"}
    |                                                   ^^^^^",
    ),
    (
        "workingDir: \"\"\ncommand: [a]",
        "\
job.yaml:1:13: workingDir: expected the path of a directory, found the string \"\"
  1 | workingDir: \"\"
    |             ^^",
    ),
    (
        "workingDir: \"a\\0\"\ncommand: [a]",
        "\
job.yaml:1:13: workingDir: a NUL character cannot be passed to a process
  1 | workingDir: \"a\\0\"
    |             ^^^^^",
    ),
    (
        "startTimeoutSeconds: 0\ncommand: [a]",
        "\
job.yaml:1:22: startTimeoutSeconds: expected a number of seconds above 0 and up to 1000000000, such as 600 or 1.5, found 0
  1 | startTimeoutSeconds: 0
    |                      ^",
    ),
    (
        "startTimeoutSeconds: -1\ncommand: [a]",
        "\
job.yaml:1:22: startTimeoutSeconds: expected a number of seconds above 0 and up to 1000000000, such as 600 or 1.5, found -1
  1 | startTimeoutSeconds: -1
    |                      ^^",
    ),
    (
        "startTimeoutSeconds: .inf\ncommand: [a]",
        "\
job.yaml:1:22: startTimeoutSeconds: expected a number of seconds above 0 and up to 1000000000, such as 600 or 1.5, found .inf
  1 | startTimeoutSeconds: .inf
    |                      ^^^^",
    ),
    (
        "startTimeoutSeconds: 1e3\ncommand: [a]",
        "\
job.yaml:1:22: startTimeoutSeconds: expected a number of seconds above 0 and up to 1000000000, such as 600 or 1.5, found 1e3
  1 | startTimeoutSeconds: 1e3
    |                      ^^^",
    ),
    (
        "terminationGracePeriodSeconds: 1000000001\ncommand: [a]",
        "\
job.yaml:1:32: terminationGracePeriodSeconds: expected a number of seconds from 0 to 1000000000, such as 30 or 1.5, found 1000000001
  1 | terminationGracePeriodSeconds: 1000000001
    |                                ^^^^^^^^^^",
    ),
    (
        "maxRestarts: -1\ncommand: [a]",
        "\
job.yaml:1:14: maxRestarts: expected a whole number, 0 or more, found -1
  1 | maxRestarts: -1
    |              ^^",
    ),
    (
        "maxRestarts: 4294967296\ncommand: [a]",
        "\
job.yaml:1:14: maxRestarts: expected a whole number, 0 or more, found 4294967296
  1 | maxRestarts: 4294967296
    |              ^^^^^^^^^^",
    ),
    (
        "stopScope: proces\ncommand: [a]",
        "\
job.yaml:1:12: stopScope: expected one of group, process, found the string \"proces\"; did you mean \"process\"?
  1 | stopScope: proces
    |            ^^^^^^",
    ),
    (
        "keep: on_failure\ncommand: [a]",
        "\
job.yaml:1:7: keep: expected one of never, onFailure, always, found the string \"on_failure\"; did you mean \"onFailure\"?
  1 | keep: on_failure
    |       ^^^^^^^^^^",
    ),
    (
        "output: lable\ncommand: [a]",
        "\
job.yaml:1:9: output: expected one of label, raw, rank0, files, found the string \"lable\"; did you mean \"label\"?
  1 | output: lable
    |         ^^^^^",
    ),
    (
        "output: {maxFileSize: 4095}\ncommand: [a]",
        "\
job.yaml:1:23: output.maxFileSize: expected a size of at least 4096 bytes, such as 512Mi or 1Gi, found 4095
  1 | output: {maxFileSize: 4095}
    |                       ^^^^",
    ),
    (
        "output: {maxFileSize: 9000000Ti}\ncommand: [a]",
        "\
job.yaml:1:23: output.maxFileSize: expected a size of at least 4096 bytes, such as 512Mi or 1Gi, found the string \"9000000Ti\"
  1 | output: {maxFileSize: 9000000Ti}
    |                       ^^^^^^^^^",
    ),
];
