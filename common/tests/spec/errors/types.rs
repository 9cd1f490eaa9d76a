/// Values of a wrong type.
pub(super) const TYPES: &[(&str, &str)] = &[
    (
        "- a\n- b",
        "\
job.yaml:1:1: expected a mapping of keys such as `command: [python, train.py]`, found a list
  1 | - a
    | ^",
    ),
    (
        "python train.py",
        "\
job.yaml:1:1: expected a mapping of keys such as `command: [python, train.py]`, found the string \"python train.py\"
  1 | python train.py
    | ^^^^^^^^^^^^^^^",
    ),
    (
        "42",
        "\
job.yaml:1:1: expected a mapping of keys such as `command: [python, train.py]`, found 42
  1 | 42
    | ^^",
    ),
    (
        "command: python train.py --lr 0.1 --x [1]",
        "\
job.yaml:1:10: command: expected a list, found one string; no shell reads it: write [python, train.py, --lr, \"0.1\", --x, \"[1]\"]
  1 | command: python train.py --lr 0.1 --x [1]
    |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^",
    ),
    (
        "command: python train.py > log",
        "\
job.yaml:1:10: command: expected a list, found one string; no shell reads it: write [sh, -c, \"…\"] to have one read it
  1 | command: python train.py > log
    |          ^^^^^^^^^^^^^^^^^^^^^",
    ),
    (
        "command: {a: b}",
        "\
job.yaml:1:10: command: expected a list of strings, found a mapping
  1 | command: {a: b}
    |          ^",
    ),
    (
        "command: 3",
        "\
job.yaml:1:10: command: expected a list of strings, found 3
  1 | command: 3
    |          ^",
    ),
    (
        "command:",
        "\
job.yaml:1:1: command: expected a list of strings, found nothing
  1 | command:
    | ^^^^^^^",
    ),
    (
        "command: [a, [b], null, {c: d}]",
        "\
job.yaml:1:14: command[1]: expected a string, a number or a boolean, found a list
  1 | command: [a, [b], null, {c: d}]
    |              ^
job.yaml:1:19: command[2]: expected a string, a number or a boolean, found null
  1 | command: [a, [b], null, {c: d}]
    |                   ^^^^
job.yaml:1:25: command[3]: expected a string, a number or a boolean, found a mapping
  1 | command: [a, [b], null, {c: d}]
    |                         ^",
    ),
    (
        "command: [a,\n  ~]",
        "\
job.yaml:2:3: command[1]: expected a string, a number or a boolean, found ~
  2 |   ~]
    |   ^",
    ),
    (
        "name: 3\ncommand: [a]",
        "\
job.yaml:1:7: name: expected a name of at most 40 lower-case letters, digits and `-`, with a letter or digit at both ends, found 3, which is text only in quotes
  1 | name: 3
    |       ^",
    ),
    (
        "name:\ncommand: [a]",
        "\
job.yaml:1:1: name: expected a name of at most 40 lower-case letters, digits and `-`, with a letter or digit at both ends, found nothing
  1 | name:
    | ^^^^",
    ),
    (
        "name: true\ncommand: [a]",
        "\
job.yaml:1:7: name: expected a name of at most 40 lower-case letters, digits and `-`, with a letter or digit at both ends, found true, which is text only in quotes
  1 | name: true
    |       ^^^^",
    ),
    (
        "name: [x]\ncommand: [a]",
        "\
job.yaml:1:7: name: expected a name of at most 40 lower-case letters, digits and `-`, with a letter or digit at both ends, found a list
  1 | name: [x]
    |       ^",
    ),
    (
        "ranks: \"4\"\ncommand: [a]",
        "\
job.yaml:1:8: ranks: expected a whole number from 1 to 1048576, `gpu` or `cpu`, found the string \"4\"
  1 | ranks: \"4\"
    |        ^^^",
    ),
    (
        "ranks: four\ncommand: [a]",
        "\
job.yaml:1:8: ranks: expected a whole number from 1 to 1048576, `gpu` or `cpu`, found the string \"four\"
  1 | ranks: four
    |        ^^^^",
    ),
    (
        "ranks: 2.5\ncommand: [a]",
        "\
job.yaml:1:8: ranks: expected a whole number from 1 to 1048576, `gpu` or `cpu`, found 2.5
  1 | ranks: 2.5
    |        ^^^",
    ),
    (
        "ranks: [4]\ncommand: [a]",
        "\
job.yaml:1:8: ranks: expected a whole number from 1 to 1048576, `gpu` or `cpu`, found a list
  1 | ranks: [4]
    |        ^",
    ),
    (
        "ranks:\ncommand: [a]",
        "\
job.yaml:1:1: ranks: expected a whole number from 1 to 1048576, `gpu` or `cpu`, found nothing
  1 | ranks:
    | ^^^^^",
    ),
    (
        "workingDir: 3\ncommand: [a]",
        "\
job.yaml:1:13: workingDir: expected the path of a directory, found 3, which is text only in quotes
  1 | workingDir: 3
    |             ^",
    ),
    (
        "workingDir: ~\ncommand: [a]",
        "\
job.yaml:1:13: workingDir: expected the path of a directory, found ~
  1 | workingDir: ~
    |             ^",
    ),
    (
        "workingDir: true\ncommand: [a]",
        "\
job.yaml:1:13: workingDir: expected the path of a directory, found true, which is text only in quotes
  1 | workingDir: true
    |             ^^^^",
    ),
    (
        "ship: ''\ncommand: [a]",
        "\
job.yaml:1:7: ship: expected the path of a directory, found the string \"\"
  1 | ship: ''
    |       ^^",
    ),
    (
        "env: [A=1]\ncommand: [a]",
        "\
job.yaml:1:6: env: expected a mapping of variables such as `OMP_NUM_THREADS: 8`, found a list
  1 | env: [A=1]
    |      ^",
    ),
    (
        "env: {A: [1], B: , C: {}}\ncommand: [a]",
        "\
job.yaml:1:10: env.A: expected a string, a number, a boolean or `{secret: KEY}`, found a list
  1 | env: {A: [1], B: , C: {}}
    |          ^
job.yaml:1:15: env.B: expected a string, a number, a boolean or `{secret: KEY}`, found nothing
  1 | env: {A: [1], B: , C: {}}
    |               ^
job.yaml:1:23: env.C: expected a string, a number, a boolean or `{secret: KEY}`, found a mapping
  1 | env: {A: [1], B: , C: {}}
    |                       ^",
    ),
    (
        "env:\n  A: {secrt: x}\n  B: {secret: }\n  C: {secret: 3}\n  D: {secret: a=b}\n  E: {secret: [x]}\n  F: {secret: x, from: y}\ncommand: [a]",
        "\
job.yaml:2:7: unknown key \"secrt\" in a variable; did you mean \"secret\"?
  2 |   A: {secrt: x}
    |       ^^^^^
job.yaml:3:7: env.B.secret: expected the name under which the secret is given, found nothing
  3 |   B: {secret: }
    |       ^^^^^^
job.yaml:4:15: env.C.secret: expected the name under which the secret is given, found 3, which is text only in quotes
  4 |   C: {secret: 3}
    |               ^
job.yaml:5:15: env.D.secret: \"a=b\" is not a name for a variable: it must not be empty nor contain `=` or NUL
  5 |   D: {secret: a=b}
    |               ^^^
job.yaml:6:15: env.E.secret: expected the name under which the secret is given, found a list
  6 |   E: {secret: [x]}
    |               ^
job.yaml:7:18: unknown key \"from\" in a variable; expected one of secret
  7 |   F: {secret: x, from: y}
    |                  ^^^^",
    ),
    (
        "env: A=1\ncommand: [a]",
        "\
job.yaml:1:6: env: expected a mapping of variables such as `OMP_NUM_THREADS: 8`, found the string \"A=1\"
  1 | env: A=1
    |      ^^^",
    ),
    (
        "startTimeoutSeconds: 10m\ncommand: [a]",
        "\
job.yaml:1:22: startTimeoutSeconds: expected a number of seconds above 0 and up to 1000000000, such as 600 or 1.5, found the string \"10m\"
  1 | startTimeoutSeconds: 10m
    |                      ^^^",
    ),
    (
        "terminationGracePeriodSeconds: \"30\"\ncommand: [a]",
        "\
job.yaml:1:32: terminationGracePeriodSeconds: expected a number of seconds from 0 to 1000000000, such as 30 or 1.5, found the string \"30\"
  1 | terminationGracePeriodSeconds: \"30\"
    |                                ^^^^",
    ),
    (
        "maxRestarts: many\ncommand: [a]",
        "\
job.yaml:1:14: maxRestarts: expected a whole number, 0 or more, found the string \"many\"
  1 | maxRestarts: many
    |              ^^^^",
    ),
    (
        "keep: true\ncommand: [a]",
        "\
job.yaml:1:7: keep: expected one of never, onFailure, always, found true
  1 | keep: true
    |       ^^^^",
    ),
    (
        "output: [raw]\ncommand: [a]",
        "\
job.yaml:1:9: output: expected a mode or a mapping of mode, logDir, maxFileSize and keepFiles, found a list
  1 | output: [raw]
    |         ^",
    ),
    (
        "output: 3\ncommand: [a]",
        "\
job.yaml:1:9: output: expected a mode or a mapping of mode, logDir, maxFileSize and keepFiles, found 3
  1 | output: 3
    |         ^",
    ),
    (
        "output: {maxFileSize: 1 GB, keepFiles: -1, logDir: [], mode: {}}\ncommand: [a]",
        "\
job.yaml:1:23: output.maxFileSize: expected a size of at least 4096 bytes, such as 512Mi or 1Gi, found the string \"1 GB\"
  1 | output: {maxFileSize: 1 GB, keepFiles: -1, logDir: [], mode: {}}
    |                       ^^^^
job.yaml:1:40: output.keepFiles: expected a whole number, 0 or more, found -1
  1 | output: {maxFileSize: 1 GB, keepFiles: -1, logDir: [], mode: {}}
    |                                        ^^
job.yaml:1:52: output.logDir: expected the path of a directory, found a list
  1 | output: {maxFileSize: 1 GB, keepFiles: -1, logDir: [], mode: {}}
    |                                                    ^
job.yaml:1:62: output.mode: expected one of label, raw, rank0, files, found a mapping
  1 | output: {maxFileSize: 1 GB, keepFiles: -1, logDir: [], mode: {}}
    |                                                              ^",
    ),
];
