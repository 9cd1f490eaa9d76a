//! The driver and its store: what an earlier reign left, and what is said before it is kept.

use phalanx_common::defaults::ENDED_KEPT;
use phalanx_common::event::Outcome;
use phalanx_common::id::Incarnation;
use phalanx_common::identity::Owner;
use phalanx_common::report::{NodeReport, Report};
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

#[tokio::test]
async fn who_attaches_to_a_job_that_ended_in_an_earlier_reign_is_told_its_end_and_no_more() {
    let spec = JobSpec::from_document(br#"{"job": {"ranks": 1, "command": ["true"]}}"#).unwrap();
    let (job, at) = (JobId::from_existing("old-1"), wall());
    let (spec, owner) = (Box::new((&spec).into()), "ann".to_owned());
    let submitted =
        Record::JobSubmitted { job: job.clone(), at, spec, owner, unix_user: None, attached: false };
    let records =
        [submitted, Record::JobEnded { job: job.clone(), at, outcome: (&Outcome::Succeeded).into() }];
    let coordinator = Coordinator::new(Config::default(), Default::default(), &records);
    let (inbox, messages) = mpsc::channel(INBOX);
    let driver = Driver::new(coordinator, MemoryStore::default(), messages, None, Confidence::default());
    tokio::spawn(driver.run());
    let (watcher, mut events) = mpsc::channel(8);
    inbox.send(Message::Watch { job: job.clone(), watcher }).await.unwrap();
    let within = Duration::from_secs(10);
    let told = tokio::time::timeout(within, events.recv()).await.unwrap();
    let kind = EventKind::JobEnded { outcome: Outcome::Succeeded };
    assert_eq!(told, Some(Event { at, job: Some(job), generation: None, kind }));
    assert_eq!(tokio::time::timeout(within, events.recv()).await, Ok(None));
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

/// Polls it once.
async fn is_pending<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> bool {
    tokio::select! {
        biased;
        _ = future => false,
        () = std::future::ready(()) => true,
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
        let looked = look(&inbox, |coordinator, _| coordinator.jobs().count());
        let mut looked = Box::pin(looked);
        assert!(is_pending(looked.as_mut()).await);
        // The driver has taken it once there is room for as many messages as ever.
        while inbox.capacity() < INBOX {
            tokio::task::yield_now().await;
        }
        assert!(matches!(told.try_recv(), Err(oneshot::error::TryRecvError::Empty)));
        assert!(is_pending(looked.as_mut()).await, "nobody is shown it, either");
        if stored {
            leave.add_permits(1);
            assert!(told.await.is_ok());
            assert_eq!(looked.await, Some(1));
            drop(inbox);
            running.await.unwrap().unwrap();
        } else {
            leave.close();
            assert!(running.await.unwrap().is_err());
            assert!(told.await.is_err());
            assert_eq!(looked.await, None);
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

/// A driver of a cluster without jobs, and every event.
fn idle() -> (mpsc::Sender<Message>, mpsc::UnboundedReceiver<Event>) {
    let config = Config { cluster: true, ..Config::default() };
    let coordinator = Coordinator::new(config, Default::default(), &[]);
    let (inbox, messages) = mpsc::channel(INBOX);
    let (events_in, events) = mpsc::unbounded_channel();
    let store = MemoryStore::default();
    tokio::spawn(Driver::new(coordinator, store, messages, Some(events_in), Confidence::default()).run());
    (inbox, events)
}

async fn hello(inbox: &mpsc::Sender<Message>, connection: usize, incarnation: u64) {
    let report = NodeReport {
        node: NodeId::new("a"),
        incarnation: Incarnation(incarnation),
        host_name: "a".to_owned(),
        cores: 8,
        slots: 64,
        user: None,
        clock: wall(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ports: (20_000, 20_999),
        address: std::net::Ipv4Addr::LOCALHOST.into(),
        interface: None,
        networks: Vec::new(),
        pods: Vec::new(),
    };
    let report = Report::Hello(Box::new(report));
    inbox.send(Message::Report { node: NodeId::new("a"), connection, report }).await.unwrap();
}

/// Node `a` connects; so many orders may wait for it. They come out here, and so does why it is closed.
async fn connect(
    inbox: &mpsc::Sender<Message>,
    connection: usize,
    orders: usize,
) -> (mpsc::Receiver<ToWorker>, mpsc::Receiver<Closing>) {
    let (orders_in, orders) = mpsc::channel(orders);
    let (close, closing) = mpsc::channel(1);
    let peer = Peer { connection, orders: orders_in, close, expires: None };
    inbox.send(Message::Connected { node: NodeId::new("a"), peer }).await.unwrap();
    hello(inbox, connection, 1).await;
    (orders, closing)
}

/// Of the node, so far.
async fn told(
    inbox: &mpsc::Sender<Message>,
    events: &mut mpsc::UnboundedReceiver<Event>,
) -> Vec<&'static str> {
    look(inbox, |_, _| ()).await.unwrap();
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        match event.kind {
            EventKind::NodeJoined { .. } => told.push("joined"),
            EventKind::NodeReachable { .. } => told.push("reachable"),
            EventKind::NodeUnreachable { .. } => told.push("unreachable"),
            EventKind::NodeRestarted { .. } => told.push("restarted"),
            _ => {}
        }
    }
    told
}

#[tokio::test]
async fn a_worker_that_takes_no_orders_is_unreachable_at_once_and_its_connection_ends() {
    let (inbox, mut events) = idle();
    let (_orders, mut closing) = connect(&inbox, 1, 1).await;
    assert_eq!(told(&inbox, &mut events).await, ["joined"]);
    for name in ["one-1", "two-1", "three-1"] {
        let spec =
            Box::new(JobSpec::from_document(br#"{"job": {"ranks": 1, "command": ["true"]}}"#).unwrap());
        let owner = Owner { name: "ann".to_owned(), unix_user: None };
        let (job, secrets) = (JobId::from_existing(name), Secrets::default());
        inbox.send(Message::Submit { job, spec, owner, secrets }).await.unwrap();
    }
    assert_eq!(told(&inbox, &mut events).await, ["unreachable"]);
    assert_eq!(closing.try_recv(), Ok(Closing::Deaf));
    // What it still says, and its end, change nothing; its next connection does.
    hello(&inbox, 1, 1).await;
    inbox.send(Message::Disconnected { node: NodeId::new("a"), connection: 1, left: false }).await.unwrap();
    assert_eq!(told(&inbox, &mut events).await, [""; 0]);
    let (_orders, _closing) = connect(&inbox, 2, 64).await;
    assert_eq!(told(&inbox, &mut events).await, ["reachable"]);
}

#[tokio::test]
async fn a_node_that_connects_again_ends_its_older_connection_which_counts_no_more() {
    let (inbox, mut events) = idle();
    let (_orders, mut older) = connect(&inbox, 1, 64).await;
    let (_orders, mut newer) = connect(&inbox, 2, 64).await;
    assert_eq!(told(&inbox, &mut events).await, ["joined", "reachable"]);
    assert_eq!(older.try_recv(), Ok(Closing::Replaced));
    hello(&inbox, 1, 7).await;
    inbox.send(Message::Disconnected { node: NodeId::new("a"), connection: 1, left: false }).await.unwrap();
    assert_eq!(told(&inbox, &mut events).await, [""; 0]);
    assert!(newer.try_recv().is_err());
}
