//! One stream of output, and one reader.

use std::time::Duration;

use phalanx_common::wire::v1::LogCredit;
use tokio::sync::mpsc;

use super::*;

/// Longer than anything here takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A log stream whose other end a test holds.
struct Wire {
    frames: mpsc::UnboundedSender<LogFrame>,
    credit: mpsc::UnboundedReceiver<LogCredit>,
}

impl LogLink for Wire {
    async fn send(&mut self, frame: LogFrame) -> Result<(), Error> {
        self.frames.send(frame).map_err(|_| Error::Stream(phalanx_net::frames::Error::Closed))
    }

    async fn credit(&mut self) -> Result<LogCredit, Error> {
        self.credit.recv().await.ok_or(Error::Stream(phalanx_net::frames::Error::Closed))
    }
}

fn request(follow: bool) -> LogRequest {
    LogRequest {
        job: "digits-1".into(),
        user: None,
        log_dir: None,
        max_file_bytes: 10,
        generation: None,
        rank: None,
        follow,
    }
}

/// What a reader from the beginning gets of a stream that has these files, of ten bytes at most.
async fn read(files: &[(&str, &str)], written: u64) -> Vec<LogFrame> {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let source = Source { dir: dir.path().to_owned(), max_file_bytes: 10, written, owner: None };
    let streams = BTreeMap::from([((Generation(1), Rank(0), Stream::Stdout), source)]);
    let (frames, mut sent) = mpsc::unbounded_channel();
    let (_grant, credit) = mpsc::unbounded_channel();
    let state = Written { earlier: Earlier::Known, streams, ..Written::default() };
    let (_say, written) = watch::channel(state);
    let served = serve(Wire { frames, credit }, 1, request(false), written);
    tokio::time::timeout(PATIENCE, served).await.expect("all is served").unwrap();
    assert_eq!(sent.recv().await, Some(LogFrame::Open { id: 1 }));
    let mut all = Vec::new();
    while let Some(frame) = sent.recv().await {
        all.push(frame);
    }
    all
}

fn skipped(bytes: u64) -> LogFrame {
    LogFrame::Skipped { generation: 1, rank: 0, stream: v1::Stream::Stdout, bytes }
}

fn chunk(text: &str) -> LogFrame {
    let bytes = Bytes(text.as_bytes().to_vec());
    LogFrame::Chunk { generation: 1, rank: 0, stream: v1::Stream::Stdout, bytes }
}

#[tokio::test]
async fn parts_that_are_gone_are_passed_in_one_step() {
    let files = [("stdout.7.log", "0123456789"), ("stdout.9.log", "ab"), ("stdout.08.log", "no")];
    assert_eq!(read(&files, 92).await, [skipped(70), chunk("0123456789"), skipped(10), chunk("ab")]);
    assert_eq!(read(&[("stderr.3.log", "x")], 35).await, [skipped(35)]);
}

#[tokio::test]
async fn a_shim_that_says_it_wrote_more_than_there_can_be_costs_no_more_than_what_there_is() {
    assert_eq!(read(&[], u64::MAX).await, [skipped(u64::MAX)]);
    let files = [("stdout.log", "abc"), ("stdout.1000000.log", "x")];
    let rest = u64::MAX - 10_000_010;
    assert_eq!(
        read(&files, u64::MAX).await,
        [chunk("abc"), skipped(7), skipped(9_999_990), chunk("x"), skipped(9), skipped(rest)]
    );
}

#[tokio::test]
async fn a_follower_that_is_gone_ends_its_stream_although_nothing_is_written() {
    let (frames, mut sent) = mpsc::unbounded_channel();
    let (grant, credit) = mpsc::unbounded_channel();
    let state = Written { earlier: Earlier::Known, held: true, ..Written::default() };
    let (_say, written) = watch::channel(state);
    let serving = tokio::spawn(serve(Wire { frames, credit }, 1, request(true), written));
    assert_eq!(sent.recv().await, Some(LogFrame::Open { id: 1 }));
    drop(grant);
    let served = tokio::time::timeout(PATIENCE, serving).await.expect("the stream ends").unwrap();
    assert!(served.is_err());
}
