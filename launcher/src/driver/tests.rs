//! The driver and its store: what an earlier reign left, and what is said before it is kept.

use phalanx_common::defaults::ENDED_KEPT;
use phalanx_common::event::Outcome;
use phalanx_launcher_core::{Config, Record, Why};

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

/// A store that keeps nothing before it is let.
struct Reluctant(std::sync::Arc<tokio::sync::Semaphore>);

impl Store for Reluctant {
    async fn append(&mut self, records: Vec<Record>) -> Result<(), store::Error> {
        let submitted = records.iter().any(|record| matches!(record, Record::JobSubmitted { .. }));
        if submitted && self.0.acquire().await.is_err() {
            return Err(store::Error::Ending);
        }
        Ok(())
    }

    fn load(&mut self) -> Result<Vec<Record>, store::Error> {
        Ok(Vec::new())
    }
}

#[tokio::test]
async fn nobody_is_told_of_a_job_before_it_is_stored() {
    for stored in [true, false] {
        let leave = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
        let coordinator = Coordinator::new(Config::default(), Default::default(), &[]);
        let (inbox, messages) = mpsc::channel(INBOX);
        let store = Reluctant(leave.clone());
        let driver = Driver::new(coordinator, store, messages, None, Confidence::default());
        let running = tokio::spawn(driver.run());
        let spec = JobSpec::from_document(br#"{"job": {"ranks": 1, "command": ["true"]}}"#).unwrap();
        let owner = Owner { name: "ann".to_owned(), unix_user: None };
        let (watcher, _events) = mpsc::channel(8);
        let (reply, mut told) = oneshot::channel();
        let launch = Launch { spec, owner, waits: None, secrets: Secrets::default(), watcher, reply };
        inbox.send(Message::Launch(Box::new(launch))).await.unwrap();
        // The driver has taken it once there is room for as many messages as ever.
        while inbox.capacity() < INBOX {
            tokio::task::yield_now().await;
        }
        assert!(matches!(told.try_recv(), Err(oneshot::error::TryRecvError::Empty)));
        if stored {
            leave.add_permits(1);
            assert!(told.await.is_ok());
            drop(inbox);
            running.await.unwrap().unwrap();
        } else {
            leave.close();
            assert!(running.await.unwrap().is_err());
            assert!(told.await.is_err());
        }
    }
}

#[tokio::test]
async fn a_client_that_is_gone_before_it_was_told_of_its_job_counts_as_lost() {
    let coordinator = Coordinator::new(Config::default(), Default::default(), &[]);
    let (inbox, messages) = mpsc::channel(INBOX);
    let driver = Driver::new(coordinator, MemoryStore::default(), messages, None, Confidence::default());
    let running = tokio::spawn(driver.run());
    let spec = JobSpec::from_document(br#"{"job": {"ranks": 1, "command": ["true"]}}"#).unwrap();
    let owner = Owner { name: "ann".to_owned(), unix_user: None };
    let (watcher, _events) = mpsc::channel(8);
    let (reply, told) = oneshot::channel();
    drop(told);
    let waits = Some(inbox.clone());
    let launch = Launch { spec, owner, waits, secrets: Secrets::default(), watcher, reply };
    inbox.send(Message::Launch(Box::new(launch))).await.unwrap();
    let deadline = || look(&inbox, |coordinator, _| coordinator.poll_timeout());
    let is_waited_for =
        |deadline: Option<(Timestamp, Why)>| matches!(deadline, Some((_, Why::Client { .. })));
    let told_in_time = tokio::time::timeout(Duration::from_secs(30), async {
        while !is_waited_for(deadline().await.flatten()) {
            tokio::task::yield_now().await;
        }
    });
    told_in_time.await.unwrap();
    drop(inbox);
    running.await.unwrap().unwrap();
}
