//! Every file of `tests/scenarios` is played on the virtual cluster, and tells what it told before.
//!
//! `PHALANX_BLESS=1` writes what is told now into the files; whoever does that reads the difference.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where something is wrong")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use phalanx_common::spec::{
    Choice, FailureAction, FailureReason, Hook, ProbeHandler, ProbeKind, RestartPolicy, RestartScope,
};
use phalanx_tests::vcluster::scenario::Scenario;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

/// Each file with its name and its text.
fn files() -> Vec<(PathBuf, String, String)> {
    let entries = std::fs::read_dir(directory()).expect("tests/scenarios is there");
    let mut files: Vec<_> = entries
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            (path, name, text)
        })
        .collect();
    files.sort();
    files
}

fn scenarios() -> Vec<Scenario> {
    files()
        .iter()
        .map(|(_, name, text)| Scenario::read(name, text).unwrap_or_else(|e| panic!("{e}")))
        .collect()
}

/// Lines of one that are not in the other, and what stands around them.
fn difference(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let same = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let left = (old.len() - same).min(new.len() - same);
    let tail = (0..left).take_while(|back| old[old.len() - 1 - back] == new[new.len() - 1 - back]).count();
    let mut text = String::new();
    let mut add =
        |mark: char, lines: &[&str]| lines.iter().for_each(|line| writeln!(text, "{mark}{line}").unwrap());
    add(' ', &new[same.saturating_sub(3)..same]);
    add('-', &old[same..old.len() - tail]);
    add('+', &new[same..new.len() - tail]);
    add(' ', &new[new.len() - tail..(new.len() - tail + 3).min(new.len())]);
    text
}

#[test]
fn every_scenario_tells_what_its_file_says() {
    let bless = std::env::var_os("PHALANX_BLESS").is_some_and(|value| value == "1");
    let mut wrong = String::new();
    for (path, name, text) in files() {
        let played = Scenario::read(&name, &text).map_err(|error| error.to_string()).and_then(|scenario| {
            let told = scenario.play().map_err(|error| format!("{name}: {error}"))?;
            Ok((scenario, told))
        });
        match played {
            Err(error) => writeln!(wrong, "{error}").unwrap(),
            Ok((scenario, told)) if bless => {
                std::fs::write(&path, format!("{}---\n{told}", scenario.setting)).unwrap();
            }
            Ok((scenario, told)) if told != scenario.told => {
                writeln!(wrong, "{name}:\n{}", difference(&scenario.told, &told)).unwrap();
            }
            Ok(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{wrong}\nif that is right: PHALANX_BLESS=1, then read the difference");
}

fn names<T: Choice + PartialEq>(of: impl Iterator<Item = T>) -> BTreeSet<&'static str> {
    of.filter_map(|value| T::CHOICES.iter().find(|(_, choice)| *choice == value).map(|(name, _)| *name))
        .collect()
}

fn every<T: Choice>() -> BTreeSet<&'static str> {
    T::CHOICES.iter().map(|(name, _)| *name).collect()
}

#[test]
fn every_action_reason_scope_and_policy_has_a_scenario() {
    let jobs: Vec<_> = scenarios().into_iter().map(|scenario| scenario.job).collect();
    let rules = || jobs.iter().flat_map(|job| &job.recovery.rules);
    assert_eq!(names(rules().map(|rule| rule.action)), every::<FailureAction>());
    assert_eq!(names(rules().flat_map(|rule| rule.reasons.iter().copied())), every::<FailureReason>());
    assert_eq!(names(jobs.iter().map(|job| job.recovery.scope)), every::<RestartScope>());
    assert_eq!(names(jobs.iter().map(|job| job.recovery.policy)), every::<RestartPolicy>());
}

#[test]
fn every_probe_and_hook_has_a_scenario_with_every_way_to_ask() {
    let handler = |handler: &ProbeHandler| match handler {
        ProbeHandler::Exec { .. } => "exec",
        ProbeHandler::HttpGet { .. } => "httpGet",
        ProbeHandler::TcpSocket { .. } => "tcpSocket",
        ProbeHandler::Notify => "notify",
        ProbeHandler::Log { .. } => "log",
    };
    let hook = |hook: &Hook| match hook {
        Hook::Sleep(_) => "sleep",
        other => other.handler().map_or("", |it| handler(&it)),
    };
    let (mut kinds, mut handlers) = (BTreeSet::new(), BTreeSet::new());
    let (mut post_start, mut pre_stop) = (BTreeSet::new(), BTreeSet::new());
    for scenario in scenarios() {
        for (kind, probe) in scenario.job.probes.iter() {
            kinds.insert(kind);
            handlers.insert(handler(&probe.handler));
        }
        post_start.extend(scenario.job.lifecycle.post_start.as_ref().map(hook));
        pre_stop.extend(scenario.job.lifecycle.pre_stop.as_ref().map(hook));
    }
    assert_eq!(kinds, ProbeKind::ALL.into());
    assert_eq!(handlers, ["exec", "httpGet", "log", "notify", "tcpSocket"].into());
    assert_eq!(post_start, ["exec", "httpGet", "sleep"].into());
    assert_eq!(pre_stop, ["exec", "httpGet", "sleep"].into());
}

#[test]
fn a_line_that_makes_no_sense_is_named_with_its_file_and_number() {
    let start = "It shows.\n\nnodes: a b\njob:\n  command: [train]\n";
    let cases = [
        ("ranks:\n  rank 0: sings\n", "x.txt:7: no rank is known that does \"sings\""),
        ("ranks:\n  rank 3: runs on\n", "x.txt:7: the job has no rank 3"),
        ("ranks:\n  init fetch: fails\n", "x.txt:7: the job has no init container fetch"),
        ("happens:\n  at 5 s: rain\n", "x.txt:7: nothing is known that happens as \"rain\""),
        ("happens:\n  at noon: stop\n", "x.txt:7: \"noon\" is no time"),
        ("weather:\n", "x.txt:6: this belongs to no part: \"weather:\""),
        ("  nodes: 2\n  colour: red\n", "x.txt:7:1: unknown key \"colour\""),
    ];
    for (rest, wanted) in cases {
        let text = format!("{start}{rest}---\n");
        let told = Scenario::read("x.txt", &text).unwrap_err().to_string();
        assert!(told.contains(wanted), "{told}");
    }
}
