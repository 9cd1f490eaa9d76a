/// What is no YAML, or YAML that a job file does not take.
pub(super) const YAML: &[(&str, &str)] = &[
    (
        "",
        "job.yaml: the file has no content; a job file needs at least `command: [program, argument]`",
    ),
    (
        "# nothing\n",
        "job.yaml: the file has no content; a job file needs at least `command: [program, argument]`",
    ),
    (
        "---\n",
        "job.yaml: the file has no content; a job file needs at least `command: [program, argument]`",
    ),
    (
        "null",
        "job.yaml: the file has no content; a job file needs at least `command: [program, argument]`",
    ),
    (
        "a: [1, 2\n",
        "\
job.yaml:1:9: this is not YAML: while parsing a flow sequence, expected ',' or ']'
  1 | a: [1, 2
    |         ^",
    ),
    (
        "{a: 1",
        "\
job.yaml:1:6: this is not YAML: while parsing a flow mapping, did not find expected ',' or '}'
  1 | {a: 1
    |      ^",
    ),
    (
        "a: b: c\n",
        "\
job.yaml:1:5: this is not YAML: mapping values are not allowed in this context
  1 | a: b: c
    |     ^",
    ),
    (
        "name: x\n b: 3\n",
        "\
job.yaml:2:3: this is not YAML: mapping values are not allowed in this context
  2 |  b: 3
    |   ^",
    ),
    (
        "name: \"abc",
        "\
job.yaml:1:7: this is not YAML: while scanning a quoted scalar, found unexpected end of stream
  1 | name: \"abc
    |       ^",
    ),
    (
        "a: @x",
        "\
job.yaml:1:4: this is not YAML: unexpected character: `@'
  1 | a: @x
    |    ^",
    ),
    (
        "output:\n\tmode: raw\n",
        "\
job.yaml:2:1: a tab cannot indent a line in YAML; use spaces
  2 |  mode: raw
    | ^",
    ),
    (
        "\ta: b\n\tc: [\n",
        "\
job.yaml:1:1: a tab cannot indent a line in YAML; use spaces
  1 |  a: b
    | ^",
    ),
    (
        "name: x\n---\nname: y\n",
        "\
job.yaml:2:1: a second document starts here; the file has to be one
  2 | ---
    | ^^^",
    ),
    (
        "name: x\n...\nfoo: 3",
        "\
job.yaml:3:1: a second document starts here; the file has to be one
  3 | foo: 3
    | ^",
    ),
    (
        "a: &x [1]\nb: [*x, *x]\n",
        "\
job.yaml:1:4: an anchor (`&name`) cannot be used here; write the value out, or put text that begins so in quotes
  1 | a: &x [1]
    |    ^^^^",
    ),
    (
        "command: [ls, *.py]\n",
        "\
job.yaml:1:15: an alias (`*name`) cannot be used here; write the value out, or put text that begins so in quotes
  1 | command: [ls, *.py]
    |               ^",
    ),
    (
        "command: [ls, !x]\n",
        "\
job.yaml:1:15: a tag (`!name`) cannot be used here; write the value out, or put text that begins so in quotes
  1 | command: [ls, !x]
    |               ^^",
    ),
    (
        "name: !!str x\n",
        "\
job.yaml:1:7: a tag (`!name`) cannot be used here; write the value out, or put text that begins so in quotes
  1 | name: !!str x
    |       ^^^^^^^",
    ),
    (
        "name: !job x\n",
        "\
job.yaml:1:7: a tag (`!name`) cannot be used here; write the value out, or put text that begins so in quotes
  1 | name: !job x
    |       ^^^^^^",
    ),
    (
        "a: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
        "\
job.yaml:1:19: lists and mappings are nested more than 16 deep
  1 | a: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]
    |                   ^",
    ),
    (
        "name: x\u{7}y",
        "\
job.yaml:1:8: the control character '\\u{7}' cannot stand here
  1 | name: x�y
    |        ^",
    ),
    (
        "name: x\0\n",
        "\
job.yaml:1:8: the control character '\\0' cannot stand here
  1 | name: x�
    |        ^",
    ),
    (
        "%FOO\n",
        "\
job.yaml:1:5: this is not YAML: did not find expected <document start>
  1 | %FOO
    |     ^",
    ),
];

/// Lines that are long, not ASCII, or several.
pub(super) const EXCERPTS: &[(&str, &str)] = &[
    (
        "command: [aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb, [c], ddddddddddddddddddddddddddddddddddddddddddddd]",
        "\
job.yaml:1:152: command[2]: expected a string, a number or a boolean, found a list
  1 | …bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb, [c], ddddddddddddddddddddddddddddddddddddddddddddd]
    |                                   ^",
    ),
    (
        "env:\n  é: [ü: 1]\ncommand: [a]",
        "\
job.yaml:2:6: env.é: expected a string, a number, a boolean or `{secret: KEY}`, found a list
  2 |   é: [ü: 1]
    |      ^",
    ),
    (
        "name: |\n  two\n  lines\ncommand: [a]",
        "\
job.yaml:2:3: name: expected a name of at most 40 lower-case letters, digits and `-`, with a letter or digit at both ends, found the string \"two\\nlines\\n\"
  2 |   two
    |   ^^^",
    ),
];
