//! How long a job lasts, and when it has succeeded: what is meant, and what cannot be.

use phalanx_common::spec::{Flags, JobSpec, Lifetime, SuccessRule};

use crate::run_in_cluster;

fn told(text: &str) -> Result<JobSpec, String> {
    run_in_cluster(&format!("command: [a]\n{text}\n"), &Flags::default())
}

/// What is said, without the excerpts. The command stands in the first line.
fn said(text: &str) -> String {
    let error = match told(text) {
        Ok(job) => return format!("{:?}", job.lifetime),
        Err(error) => error,
    };
    let lines = error.lines().filter(|line| !line.starts_with("  "));
    lines.map(|line| line.strip_prefix("job.yaml:").unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

#[test]
fn everything_that_can_be_said_of_a_lifetime_is_read_and_comes_back_as_it_was() {
    let text = "\
ranks: 8
activeDeadlineSeconds: 3600
ttlSecondsAfterFinished: 0
suspend: true
output: {logDir: /l}
successPolicy:
  rules:
    - {succeededIndexes: \"0,2-4\", succeededCount: 1}
    - {succeededIndexes: 7}
    - {succeededCount: 8}
";
    let job = told(text).unwrap();
    let rule = |ranks: &[(u32, u32)], count| SuccessRule { ranks: ranks.to_vec(), count };
    assert_eq!(
        job.lifetime,
        Lifetime {
            active_deadline: Some(std::time::Duration::from_secs(3600)),
            ttl_after_finished: Some(std::time::Duration::ZERO),
            suspend: true,
            success: vec![rule(&[(0, 0), (2, 4)], Some(1)), rule(&[(7, 7)], None), rule(&[], Some(8))],
        }
    );
    let needed: Vec<u32> = job.lifetime.success.iter().map(|rule| rule.needed(8)).collect();
    assert_eq!(needed, [1, 1, 8]);
    assert_eq!(JobSpec::from_document(job.to_document().as_bytes()).unwrap(), job);
}

#[test]
fn what_cannot_be_is_refused_with_its_place() {
    let cases = [
        (
            "activeDeadlineSeconds: 0\nttlSecondsAfterFinished: -1\nsuspend: yes",
            "2:24: activeDeadlineSeconds: expected a number of seconds above 0 and up to 1000000000, such as 600 or 1.5, found 0\n\
             3:26: ttlSecondsAfterFinished: expected a number of seconds from 0 to 1000000000, such as 30 or 1.5, found -1\n\
             4:10: suspend: expected true or false, found the string \"yes\"",
        ),
        (
            "successPolicy: {}",
            "2:1: successPolicy: a success policy needs rules: `rules: [{succeededIndexes: \"0\"}]`",
        ),
        (
            "successPolicy: {rules: [{}]}",
            "2:25: successPolicy.rules[0]: a rule needs succeededIndexes, succeededCount or both",
        ),
        (
            "ranks: 4\nsuccessPolicy: {rules: [{succeededIndexes: 4}, {succeededIndexes: \"2-1\"}, {succeededIndexes: 0-1, succeededCount: 3}]}",
            "3:44: successPolicy.rules[0].succeededIndexes: rank 4 is none of the job's, which are 0 to 3\n\
             3:67: successPolicy.rules[1].succeededIndexes: \"2-1\" is no list of ranks such as 0,2-4, rising and at most 1024 ranges\n\
             3:115: successPolicy.rules[2].succeededCount: 3 of 2 ranks cannot end well",
        ),
        (
            "ranks: 4\nelastic: {min: 2}\nsuccessPolicy: {rules: [{succeededIndexes: 0}, {succeededCount: 3}]}",
            "4:25: successPolicy.rules[0]: a job with `elastic` has ranks that come and go: give a succeededCount alone, of 2 at most\n\
             4:48: successPolicy.rules[1]: a job with `elastic` has ranks that come and go: give a succeededCount alone, of 2 at most",
        ),
        (
            "restartPolicy: Always\nsuccessPolicy: {rules: [{succeededIndexes: 0}]}",
            "3:1: successPolicy: restartPolicy is Always: the job goes on until it is stopped, and does not succeed",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(said(text), expected, "{text}");
    }
}
