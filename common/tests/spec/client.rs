//! A client's configuration file.

use phalanx_common::spec::{ClientFile, Color, OutputMode};

const EXAMPLE: &str = include_str!("../../../deploy/client/config.yaml");

fn parse(text: &str) -> Result<ClientFile, String> {
    ClientFile::parse("config.yaml", text.as_bytes()).map_err(|error| error.to_string())
}

#[test]
fn a_configuration_is_read() {
    let text =
        "coordinator: [head.lab, '[fd00::1]:7429']\nidentity: ~/me.json\noutput: rank0\ncolor: never\n";
    let wanted = ClientFile {
        coordinator: vec!["head.lab".into(), "[fd00::1]:7429".into()],
        identity: Some("~/me.json".into()),
        output: Some(OutputMode::Rank0),
        color: Some(Color::Never),
    };
    assert_eq!(parse(text), Ok(wanted));
    assert_eq!(parse("coordinator: 10.0.0.1:7429").unwrap().coordinator, ["10.0.0.1:7429"]);
    for nothing in ["", "# nothing\n", "---\n"] {
        assert_eq!(parse(nothing), Ok(ClientFile::default()));
    }
}

#[test]
fn everything_wrong_with_it_is_named_with_its_place_and_the_nearest_key() {
    let text = "cordinator: a\ncoordinator: {}\nidentity: 3\noutput: lable\ncolor: yes\n";
    assert_eq!(
        parse(text).unwrap_err(),
        "\
config.yaml:1:1: unknown key \"cordinator\"; did you mean \"coordinator\"?
  1 | cordinator: a
    | ^^^^^^^^^^
config.yaml:2:14: coordinator: expected an address such as head.lab:7429, or a list of addresses, found a mapping
  2 | coordinator: {}
    |              ^
config.yaml:3:11: identity: expected the path of a file, found 3, which is text only in quotes
  3 | identity: 3
    |           ^
config.yaml:4:9: output: expected one of label, raw, rank0, files, found the string \"lable\"; did you mean \"label\"?
  4 | output: lable
    |         ^^^^^
config.yaml:5:8: color: expected one of auto, always, never, found the string \"yes\"
  5 | color: yes
    |        ^^^"
    );
    assert_eq!(
        parse("coordinator: [a, 'b, c']").unwrap_err(),
        "\
config.yaml:1:18: coordinator[1]: expected an address: HOST, HOST:PORT or \"[IPV6]:PORT\", found the string \"b, c\"
  1 | coordinator: [a, 'b, c']
    |                  ^^^^^^"
    );
}

#[test]
fn the_example_sets_nothing_as_it_is_and_every_key_once_its_comments_are_lifted() {
    assert_eq!(parse(EXAMPLE), Ok(ClientFile::default()));
    let lifted: Vec<&str> = EXAMPLE.lines().filter_map(|line| line.strip_prefix('#')).collect();
    let settings: Vec<&str> = lifted.into_iter().filter(|line| !line.starts_with(' ')).collect();
    let file = parse(&settings.join("\n")).unwrap();
    assert!(!file.coordinator.is_empty() && file.identity.is_some());
    assert!(file.output.is_some() && file.color.is_some());
}
