//! Every wrong job file and the message it gives, to the letter.

mod keys;
mod lifecycle;
mod probes;
mod types;
mod values;
mod yaml;

use phalanx_common::spec::{Flags, JobFile, MAX_FILE_BYTES, Place, ProblemKind};

use crate::run;

#[test]
fn every_wrong_file_is_refused_in_these_words() {
    let tables = [
        keys::KEYS,
        keys::NOT_YET,
        lifecycle::LIFECYCLE,
        probes::PROBES,
        types::TYPES,
        values::VALUES,
        yaml::YAML,
        yaml::EXCERPTS,
    ];
    for (text, expected) in tables.into_iter().flatten() {
        let printed = run(text, &Flags::default()).map(|job| format!("{job:?}"));
        assert_eq!(printed.as_ref().map_err(String::as_str), Err(*expected), "{text}");
    }
}

#[test]
fn a_problem_can_be_read_by_a_program() {
    let error = JobFile::parse("job.yaml", b"ranks: 4\ncomand: [a]\n").unwrap_err();
    let [problem] = error.problems() else { panic!("{error}") };
    assert_eq!(problem.place, Place::File { file: "job.yaml".into(), line: 2, column: 1 });
    assert!(matches!(&problem.kind, ProblemKind::UnknownKey { nearest: Some("command"), .. }));
}

#[test]
fn a_file_that_is_no_text_is_refused_where_it_ends_to_be() {
    let error = |content: &[u8]| JobFile::parse("job.yaml", content).unwrap_err().to_string();
    assert_eq!(
        error(b"name: x\nranks: \xff\n"),
        "job.yaml:2:8: this is not UTF-8 text\n  2 | ranks: \u{fffd}\n    |        ^"
    );
    assert_eq!(
        error(&vec![b'#'; MAX_FILE_BYTES + 1]),
        "job.yaml: the file has 1048577 bytes, and at most 1048576 are read"
    );
}

#[test]
fn the_name_of_the_file_and_its_lines_cannot_move_the_cursor() {
    let error = JobFile::parse("a\u{1b}[2J", "name: \u{9b}x".as_bytes()).unwrap_err().to_string();
    assert!(!error.contains(['\u{1b}', '\u{9b}']), "{error:?}");
}

#[test]
fn the_largest_files_are_refused_without_delay() {
    // Quadratic work on these would take minutes, not seconds.
    let fill = |piece: &str| piece.repeat(MAX_FILE_BYTES / piece.len());
    let keys: String = (0..90_000).map(|n| format!("key{n}: 1\n")).collect();
    for text in
        [keys, fill("a: 1\n"), fill("["), fill("- "), fill("{a: "), fill("? "), fill("a"), fill("*a ")]
    {
        let error = JobFile::parse("job.yaml", text.as_bytes()).unwrap_err();
        assert!(error.problems().len() <= 20, "{}", error.problems().len());
        assert!(error.to_string().len() < 20_000);
    }
    let many = format!("command: [{}]", fill("[], ").get(..400_000).unwrap_or_default());
    let error = run(&many, &Flags::default()).unwrap_err();
    assert!(error.ends_with("\n… and 99980 more"), "{}", &error[error.len() - 60..]);
}
