//! A seed that broke an invariant leaves a file, and the file is that run again.

use std::path::PathBuf;

use phalanx_tests::vcluster::replay::{Ended, Error, Player, Replay};
use phalanx_tests::vcluster::{Profile, Sabotage, seeded};

/// A run that breaks I8: every fifth record is lost.
fn broken() -> Replay {
    Replay::of(&seeded::run(5, Profile::Mixed, Some(Sabotage::LoseRecords), true))
        .expect("a lost record is noticed")
}

fn directory(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

#[test]
fn a_run_that_breaks_nothing_leaves_no_file() {
    assert_eq!(Replay::of(&seeded::run(5, Profile::Mixed, None, true)), None);
}

#[test]
fn a_replay_from_its_file_breaks_the_same_at_the_same_event_with_the_same_trace() {
    let replay = broken();
    assert!(replay.invariant == "I8" && replay.events > 1 && !replay.trace.is_empty(), "{replay:?}");
    let path = replay.write(&directory("replays")).unwrap();
    assert_eq!(path.file_name().unwrap(), "replay-mixed-5.json");
    let read = Replay::read(&path).unwrap();
    assert_eq!(read, replay);
    let mut player = Player::new(read);
    let mut steps = Vec::new();
    steps.extend(std::iter::from_fn(|| player.step()));
    assert_eq!(player.ended(), Ended::BrokeAgain);
    let events: Vec<u64> = steps.iter().map(|step| step.event).collect();
    assert_eq!(events, Vec::from_iter(1..=replay.events), "each event is one step");
    let lines: Vec<String> = steps.into_iter().flat_map(|step| step.lines).collect();
    assert_eq!(lines, replay.trace);
}

#[test]
fn a_replay_of_what_was_mended_holds_and_one_that_breaks_otherwise_says_so() {
    let play = |replay| {
        let mut player = Player::new(replay);
        while player.step().is_some() {}
        player.ended()
    };
    assert_eq!(play(Replay { sabotage: None, ..broken() }), Ended::Holds);
    let at = broken().events;
    let otherwise = play(Replay { events: at + 1, ..broken() });
    assert!(matches!(otherwise, Ended::BrokeElse { events, .. } if events == at), "{otherwise:?}");
}

#[test]
fn what_is_no_replay_file_is_refused_with_the_key_that_is_wrong() {
    let path = broken().write(&directory("broken-replays")).unwrap();
    let good = std::fs::read_to_string(&path).unwrap();
    for (from, to, wrong) in [
        ("\"version\": 1", "\"version\": 2", "version"),
        ("\"mixed\"", "\"gone\"", "profile"),
        ("\"LoseRecords\"", "\"LoseAll\"", "sabotage"),
        ("\"events\"", "\"steps\"", "events"),
    ] {
        std::fs::write(&path, good.replace(from, to)).unwrap();
        let error = Replay::read(&path).unwrap_err();
        assert!(matches!(&error, Error::Key { key, .. } if *key == wrong), "{error}");
    }
}
