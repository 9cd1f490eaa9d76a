//! One job on one node, whose link comes and goes.

use phalanx_common::time::Timestamp;
use phalanx_common::wire::bytes::Bytes;
use phalanx_common::wire::v1::{Stream, TailFrame};

use super::*;

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
    let places = Places {
        request,
        generation: 1,
        nodes: vec![node()],
        ranks: BTreeMap::from([(node(), (0, 1))]),
        ran: true,
        ended: false,
    };
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
    assert!(relay.last_words.contains(&chunk(0, "def")), "{:?}", relay.last_words);
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
    assert_eq!(relay.last_words, [LogFrame::Refused { why }]);
    assert!(relay.done());
}

#[tokio::test]
async fn a_node_is_asked_for_output_once_the_ranks_are_released_and_not_before() {
    let (hub, tails) = (LogHub::default(), Tails::new("/nonexistent".into()));
    let (link, _end) = link();
    let (driver, mut asked) = driver(vec![Relayed::Sent(link)]);
    let (wanted, places) = wanted(true);
    let (mut relay, _came) = Relay::new(wanted, places, &driver, (&hub, &tails));
    let event = |kind| Event { at: Timestamp(0), job: Some(job()), generation: Some(Generation(2)), kind };
    let placed = EventKind::GangPlaced { nodes: vec![node()], ranks: vec![1], master_port: 1 };
    relay.on_event(event(placed)).await;
    assert_eq!((relay.complete(), asked.try_recv().ok()), (None, None));
    relay.on_event(event(EventKind::GangReleased)).await;
    assert!(asked.recv().await.is_some());
}
