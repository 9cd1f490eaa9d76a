//! One job on one node, whose link comes and goes.

use phalanx_common::event::Outcome;
use phalanx_common::id::{Generation, JobId};
use phalanx_common::time::Timestamp;
use phalanx_common::wire::bytes::Bytes;
use phalanx_common::wire::v1::{LogRequest, Stream, TailFrame};

use super::*;
use crate::driver::pass_on;
use crate::server::hub::Answer;

fn job() -> JobId {
    JobId::from_existing("train-1")
}

fn node() -> NodeId {
    NodeId::new("a")
}

fn wanted(follow: bool) -> (Wanted, Places) {
    let request = LogRequest {
        job: job().to_string(),
        user: None,
        log_dir: None,
        max_file_bytes: 1,
        generation: None,
        rank: None,
        follow,
    };
    let placed = BTreeMap::from([(1, BTreeMap::from([(node(), 0..1)]))]);
    let places = Places { request, generation: 1, placed, held: None, ended: false };
    (Wanted { job: job(), generation: None, rank: None, follow }, places)
}

fn chunk(rank: u32, text: &str) -> LogFrame {
    let bytes = Bytes(text.as_bytes().to_vec());
    LogFrame::Chunk { generation: 1, rank, stream: Stream::Stdout, bytes }
}

fn back() -> Event {
    let kind = EventKind::NodeReachable { node: node() };
    Event { at: Timestamp(0), job: None, generation: None, kind }
}

fn event(generation: u32, kind: EventKind) -> Event {
    Event { at: Timestamp(0), job: Some(job()), generation: Some(Generation(generation)), kind }
}

fn placed(generation: u32, nodes: &[(&str, u32)]) -> Event {
    let ranks = nodes.iter().map(|(_, ranks)| *ranks).collect();
    let nodes = nodes.iter().map(|(node, _)| NodeId::new(*node)).collect();
    event(generation, EventKind::GangPlaced { nodes, ranks, master_port: 20_000 })
}

fn released(generation: u32) -> Event {
    event(generation, EventKind::GangReleased)
}

fn ended() -> Event {
    event(1, EventKind::JobEnded { outcome: Outcome::Succeeded })
}

/// A driver that gives one answer after the other, and tells which requests went out.
fn driver(answers: Vec<Relayed>) -> (mpsc::Sender<Message>, mpsc::UnboundedReceiver<u64>) {
    let (inbox, mut messages) = mpsc::channel(8);
    let (asked_in, asked) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut answers = answers.into_iter();
        while let Some(Message::Relay { message: ToWorker::Logs { id, .. }, relayed, .. }) =
            messages.recv().await
        {
            let answer = answers.next().unwrap();
            if matches!(answer, Relayed::Sent(_)) {
                asked_in.send(id).unwrap();
            }
            relayed.send(answer).unwrap();
        }
    });
    (inbox, asked)
}

/// All that there is to say without anybody's answer.
async fn due(relay: &mut Relay<'_>) -> Vec<LogFrame> {
    let mut due = Vec::new();
    while let Some(frames) = relay.next_due().await {
        due.extend(frames);
    }
    due
}

fn link() -> (mpsc::Sender<ToWorker>, mpsc::Receiver<ToWorker>) {
    mpsc::channel(8)
}

async fn next(came: &mut mpsc::Receiver<(NodeId, Came)>) -> Came {
    let next = tokio::time::timeout(std::time::Duration::from_secs(10), came.recv());
    next.await.expect("something comes").unwrap().1
}

#[tokio::test]
async fn a_request_that_is_lost_with_its_link_is_asked_again_by_who_follows() {
    let (hub, tails) = (LogHub::default(), Tails::new("/nonexistent".into()));
    let (first, first_end) = link();
    let (second, second_end) = link();
    let (driver, mut asked) = driver(vec![Relayed::Sent(first), Relayed::NoLink, Relayed::Sent(second)]);
    let (wanted, places) = wanted(true);
    let (mut relay, mut came) = Relay::new(wanted, places, &driver, (&hub, &tails));
    relay.ask(node()).await;
    let id = asked.recv().await.unwrap();

    // Nobody had taken it up.
    drop(first_end);
    let lost = next(&mut came).await;
    assert!(matches!(lost, Came::Lost), "{lost:?}");
    assert!(hub.take(id, &node()).is_none());
    assert_eq!(relay.on_came(&node(), lost).await, []);
    assert!(!relay.done());

    relay.on_event(back()).await;
    let id = asked.recv().await.unwrap();
    let sink = hub.take(id, &node()).unwrap();
    sink.send(Answer::Frame(chunk(0, "abc"))).await.unwrap();
    let frame = next(&mut came).await;
    assert_eq!(relay.on_came(&node(), frame).await, [chunk(0, "abc")]);

    // It breaks off half way, before anybody knows that the link is gone.
    drop(sink);
    tokio::time::timeout(std::time::Duration::from_millis(50), came.recv()).await.unwrap_err();
    drop(second_end);
    assert!(matches!(next(&mut came).await, Came::Lost));
}

#[tokio::test]
async fn who_does_not_follow_gets_the_last_words_of_a_node_that_is_gone_half_way() {
    let dir = tempfile::tempdir().unwrap();
    let (hub, tails) = (LogHub::default(), Tails::new(dir.path().to_owned()));
    let bytes = Bytes(b"abcdef".to_vec());
    let stream = Stream::Stdout;
    let tail = TailFrame { job: job().to_string(), generation: 1, rank: 0, stream, written: 6, bytes };
    tails.keep(&tail).unwrap();
    let (first, first_end) = link();
    let (driver, mut asked) = driver(vec![Relayed::Sent(first), Relayed::NoLink]);
    let (wanted, places) = wanted(false);
    let (mut relay, mut came) = Relay::new(wanted, places, &driver, (&hub, &tails));
    relay.ask(node()).await;
    let sink = hub.take(asked.recv().await.unwrap(), &node()).unwrap();
    sink.send(Answer::Frame(chunk(0, "abc"))).await.unwrap();
    drop((sink, first_end));
    let frame = next(&mut came).await;
    assert_eq!(relay.on_came(&node(), frame).await, [chunk(0, "abc")]);
    let lost = next(&mut came).await;
    relay.on_came(&node(), lost).await;
    let due = due(&mut relay).await;
    assert!(due.contains(&chunk(0, "def")), "{due:?}");
    assert!(relay.done());
}

#[tokio::test]
async fn no_other_node_answers_a_request_nor_sends_output_of_a_rank_it_does_not_have() {
    let (hub, tails) = (LogHub::default(), Tails::new("/nonexistent".into()));
    let (first, _first_end) = link();
    let (driver, mut asked) = driver(vec![Relayed::Sent(first)]);
    let (wanted, places) = wanted(true);
    let (mut relay, _came) = Relay::new(wanted, places, &driver, (&hub, &tails));
    relay.ask(node()).await;
    let id = asked.recv().await.unwrap();
    assert!(hub.take(id, &NodeId::new("b")).is_none());
    assert!(hub.take(id, &node()).is_some());
    assert_eq!(relay.on_frame(&node(), chunk(7, "x")), []);
    assert_eq!(relay.on_frame(&node(), chunk(0, "x")), [chunk(0, "x")]);
}

#[tokio::test]
async fn a_node_that_takes_no_more_requests_is_named_and_not_waited_for() {
    let (hub, tails) = (LogHub::default(), Tails::new("/nonexistent".into()));
    let (driver, _asked) = driver(vec![Relayed::Busy]);
    let (wanted, places) = wanted(false);
    let (mut relay, _came) = Relay::new(wanted, places, &driver, (&hub, &tails));
    relay.ask(node()).await;
    let why = "a: it takes no more requests at this moment; ask again".to_owned();
    assert_eq!(due(&mut relay).await, [LogFrame::Refused { why }]);
    assert!(relay.done());
}

#[tokio::test]
async fn a_request_that_nobody_waits_for_any_more_ends_at_the_worker() {
    let (hub, tails) = (LogHub::default(), Tails::new("/nonexistent".into()));
    let (first, mut orders) = link();
    let (driver, mut asked) = driver(vec![Relayed::Sent(first)]);
    let (wanted, places) = wanted(true);
    let (mut relay, came) = Relay::new(wanted, places, &driver, (&hub, &tails));
    relay.ask(node()).await;
    let id = asked.recv().await.unwrap();
    // The worker has taken it up, and the job says nothing.
    let sink = hub.take(id, &node()).unwrap();
    drop((relay, came));
    let end = tokio::time::timeout(Duration::from_secs(10), orders.recv()).await;
    assert_eq!(end.expect("the worker is told"), Some(ToWorker::EndLogs { id }));
    sink.closed().await;
}

#[tokio::test]
async fn a_node_that_ends_its_answer_while_more_is_placed_on_it_is_asked_again() {
    let (hub, tails) = (LogHub::default(), Tails::new("/nonexistent".into()));
    let ((first, _first_end), (second, _second_end)) = (link(), link());
    let (driver, mut asked) = driver(vec![Relayed::Sent(first), Relayed::Sent(second)]);
    let (wanted, places) = wanted(true);
    let (mut relay, mut came) = Relay::new(wanted, places, &driver, (&hub, &tails));
    relay.ask(node()).await;
    let sink = hub.take(asked.recv().await.unwrap(), &node()).unwrap();
    relay.on_event(placed(2, &[("a", 1)])).await;
    relay.on_event(released(2)).await;
    asked.try_recv().unwrap_err();
    // It had forgotten the job before that.
    sink.send(Answer::Over).await.unwrap();
    let over = next(&mut came).await;
    relay.on_came(&node(), over).await;
    let sink = hub.take(asked.recv().await.unwrap(), &node()).unwrap();

    // The worker says at once that there is no more, and nothing more is waited for.
    sink.send(Answer::Over).await.unwrap();
    let over = next(&mut came).await;
    relay.on_came(&node(), over).await;
    assert!(!relay.done(), "the job may be started again");
    relay.on_event(ended()).await;
    assert!(relay.done());
}

#[tokio::test]
async fn who_follows_one_rank_follows_it_to_the_node_that_has_it_next() {
    let (hub, tails) = (LogHub::default(), Tails::new("/nonexistent".into()));
    let links: Vec<_> = (0..2).map(|_| link()).collect();
    let answers = links.iter().map(|(link, _)| Relayed::Sent(link.clone())).collect();
    let (driver, mut asked) = driver(answers);
    let (mut wanted, mut places) = wanted(true);
    wanted.rank = Some(1);
    places.placed = BTreeMap::from([(0, BTreeMap::new())]);
    places.generation = 0;
    // It waited for room when it was asked for.
    let (mut relay, _came) = Relay::new(wanted, places, &driver, (&hub, &tails));
    relay.ask_holders(0).await;
    relay.on_event(placed(1, &[("a", 1), ("b", 1)])).await;
    asked.try_recv().unwrap_err();
    relay.on_event(released(1)).await;
    assert!(hub.take(asked.recv().await.unwrap(), &NodeId::new("b")).is_some());
    relay.on_event(placed(2, &[("c", 2), ("b", 1)])).await;
    relay.on_event(released(2)).await;
    assert!(hub.take(asked.recv().await.unwrap(), &NodeId::new("c")).is_some());
    asked.try_recv().unwrap_err();
    assert_eq!(relay.places.generation, 2);
    let of = |generation, rank| match chunk(rank, "x") {
        LogFrame::Chunk { stream, bytes, .. } => LogFrame::Chunk { generation, rank, stream, bytes },
        other => other,
    };
    assert_eq!(relay.on_frame(&NodeId::new("c"), of(2, 1)), [of(2, 1)]);
    assert_eq!(relay.on_frame(&NodeId::new("b"), of(2, 1)), []);
    assert_eq!(relay.on_frame(&NodeId::new("b"), of(1, 1)), [of(1, 1)]);
}

#[tokio::test]
async fn who_did_not_keep_up_with_the_events_looks_how_things_are() {
    let (hub, tails) = (LogHub::default(), Tails::new("/nonexistent".into()));
    let (second, _second_end) = link();
    let (driver, mut asked) = driver(vec![Relayed::NoLink, Relayed::Sent(second), Relayed::NoLink]);
    let (first, places) = wanted(true);
    let (mut relay, _came) = Relay::new(first, places, &driver, (&hub, &tails));
    relay.ask(node()).await;
    // The gang was placed elsewhere meanwhile.
    let (_, mut places) = wanted(true);
    places.generation = 2;
    places.placed = BTreeMap::from([(2, BTreeMap::from([(NodeId::new("b"), 0..1)]))]);
    relay.on_looked_up(Some(places)).await;
    assert!(hub.take(asked.recv().await.unwrap(), &NodeId::new("b")).is_some());
    assert!(!relay.done());
    // The job has ended, and is forgotten: whoever does not answer is not waited for.
    relay.on_looked_up(None).await;
    let silent: Vec<_> = relay.sources.iter().filter(|(_, source)| !source.over).collect();
    assert_eq!(silent.len(), 1, "b goes on to its end");
    assert!(!relay.goes_on());
}

#[tokio::test]
async fn last_words_are_read_rank_by_rank_as_they_are_sent() {
    let dir = tempfile::tempdir().unwrap();
    let (hub, tails) = (LogHub::default(), Tails::new(dir.path().to_owned()));
    for rank in 0..3 {
        let bytes = Bytes(b"abc".to_vec());
        let stream = Stream::Stdout;
        let tail = TailFrame { job: job().to_string(), generation: 1, rank, stream, written: 3, bytes };
        tails.keep(&tail).unwrap();
    }
    let (driver, _asked) = driver(vec![Relayed::NoLink]);
    let (wanted, mut places) = wanted(false);
    places.placed = BTreeMap::from([(1, BTreeMap::from([(node(), 0..3)]))]);
    let (mut relay, _came) = Relay::new(wanted, places, &driver, (&hub, &tails));
    relay.ask(node()).await;
    for rank in 0..2 {
        assert_eq!(relay.next_due().await, Some(vec![chunk(rank, "abc")]));
        assert!(!relay.done());
    }
    let last = relay.next_due().await.unwrap();
    assert!(
        matches!(&last[..], [said, LogFrame::Refused { .. }, LogFrame::End { generation: 1 }] if *said == chunk(2, "abc")),
        "{last:?}"
    );
    assert_eq!(relay.next_due().await, None);
    assert!(relay.done());
}

#[tokio::test]
async fn a_follower_asks_a_node_again_that_took_no_more_requests() {
    let (hub, tails) = (LogHub::default(), Tails::new("/nonexistent".into()));
    let (first, _first_end) = link();
    let (driver, mut asked) = driver(vec![Relayed::Busy, Relayed::Sent(first)]);
    let (wanted, places) = wanted(true);
    let (mut relay, _came) = Relay::new(wanted, places, &driver, (&hub, &tails));
    relay.ask(node()).await;
    assert_eq!(due(&mut relay).await, []);
    assert!(relay.ask_busy.is_some());
    relay.ask_busy().await;
    assert!(hub.take(asked.recv().await.unwrap(), &node()).is_some());
    assert_eq!(relay.ask_busy, None);
}

#[test]
fn requests_for_output_leave_the_orders_of_a_worker_half_of_their_queue() {
    let (orders, _queue) = mpsc::channel(8);
    let end = || ToWorker::EndLogs { id: 1 };
    let taken = (0..8).take_while(|_| pass_on(&orders, end()).is_ok()).count();
    assert_eq!(taken, 4);
    for _ in 0..4 {
        orders.try_send(end()).unwrap();
    }
}

#[tokio::test]
async fn a_node_is_asked_for_output_once_the_ranks_are_released_and_not_before() {
    let (hub, tails) = (LogHub::default(), Tails::new("/nonexistent".into()));
    let (link, _end) = link();
    let (driver, mut asked) = driver(vec![Relayed::Sent(link)]);
    let (wanted, mut places) = wanted(true);
    places.placed.clear();
    let (mut relay, _came) = Relay::new(wanted, places, &driver, (&hub, &tails));
    relay.on_event(placed(2, &[("a", 1)])).await;
    assert_eq!((relay.complete(), asked.try_recv().ok()), (None, None));
    relay.on_event(released(2)).await;
    assert!(asked.recv().await.is_some());
}
