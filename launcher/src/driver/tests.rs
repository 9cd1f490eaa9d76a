//! The driver over records of an earlier reign.

use phalanx_common::defaults::ENDED_KEPT;
use phalanx_common::event::Outcome;
use phalanx_launcher_core::{Config, Record};

use super::*;
use crate::store::MemoryStore;

#[tokio::test]
async fn a_job_that_ended_long_ago_is_forgotten_and_told_and_its_old_deadline_is_no_clock_jump() {
    let spec = JobSpec::from_document(br#"{"job": {"ranks": 1, "command": ["true"]}}"#).unwrap();
    let ended = |name: &str, at: Timestamp| {
        let job = JobId::from_existing(name);
        let (spec, owner) = (Box::new((&spec).into()), "ann".to_owned());
        let submitted =
            Record::JobSubmitted { job: job.clone(), at, spec, owner, unix_user: None, attached: false };
        [submitted, Record::JobEnded { job, at, outcome: (&Outcome::Succeeded).into() }]
    };
    let hour = Duration::from_secs(3600);
    let long_ago = Timestamp(wall().0 - u64::try_from((ENDED_KEPT + hour).as_micros()).unwrap());
    let records = [ended("old-1", long_ago), ended("new-1", long_ago + hour * 2)].concat();
    let coordinator = Coordinator::new(Config::default(), Default::default(), &records);
    let (inbox, messages) = mpsc::channel(INBOX);
    let (events_in, mut events) = mpsc::unbounded_channel();
    let (forgotten_in, mut forgotten) = mpsc::unbounded_channel();
    let driver =
        Driver::new(coordinator, MemoryStore::default(), messages, Some(events_in), Confidence::default())
            .with_forgotten(forgotten_in);
    let running = tokio::spawn(driver.run());
    assert_eq!(forgotten.recv().await, Some(JobId::from_existing("old-1")));
    let known =
        look(&inbox, |coordinator, _| coordinator.jobs().map(|view| view.id.to_string()).collect::<Vec<_>>());
    assert_eq!(known.await, Some(vec!["new-1".to_owned()]));
    drop(inbox);
    running.await.unwrap().unwrap();
    assert_eq!(forgotten.recv().await, None);
    while let Some(event) = events.recv().await {
        assert!(!matches!(event.kind, EventKind::ClockJumped { .. }), "{event:?}");
    }
}
