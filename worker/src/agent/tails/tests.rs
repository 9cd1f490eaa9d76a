//! Rounds of many streams, over a link without bounds.

use phalanx_common::id::{Generation, Rank};
use phalanx_worker_core::shim::Stream;

use super::*;

fn job(name: &str) -> JobId {
    JobId::from_existing(name)
}

/// Jobs with so many ranks each, all of which have written so much.
fn written(jobs: &[(&str, u32)], written: u64) -> BTreeMap<JobId, watch::Sender<Written>> {
    let source = || Source { dir: "/nonexistent".into(), max_file_bytes: 1 << 30, written, owner: None };
    let streams = |ranks: u32| (0..ranks).map(|rank| ((Generation(1), Rank(rank), Stream::Stdout), source()));
    let state = |ranks| Written { streams: streams(ranks).collect(), ..Written::default() };
    jobs.iter().map(|(name, ranks)| (job(name), watch::Sender::new(state(*ranks)))).collect()
}

fn queued(due: &mut mpsc::Receiver<Due>) -> Vec<(String, u32)> {
    let next = || due.try_recv().ok().map(|due| (due.job.to_string(), due.key.1.0));
    std::iter::from_fn(next).collect()
}

#[tokio::test]
async fn each_round_begins_where_the_last_found_no_room() {
    let jobs = [("a", 40), ("b", 40), ("c", 1)];
    let (mut tails, mut due) = Tails::new();
    let mut seen = Vec::new();
    // All write all the time.
    for round in 1..=4 {
        tails.round(&written(&jobs, round * 10));
        let queued = queued(&mut due);
        assert_eq!(queued.len(), QUEUED);
        seen.extend(queued);
    }
    let all: Vec<_> =
        jobs.iter().flat_map(|(job, ranks)| (0..*ranks).map(|rank| ((*job).to_owned(), rank))).collect();
    let in_turn: Vec<_> = all.iter().cycle().take(seen.len()).cloned().collect();
    assert_eq!(seen, in_turn);

    // The same where bytes are what there is no room for.
    let (mut tails, mut due) = Tails::new();
    let few = MOST_PER_ROUND / LOG_TAIL;
    for round in 0..3u32 {
        tails.round(&written(&[("a", 40)], u64::from(round + 1) << 20));
        let from = round * few as u32;
        let wanted: Vec<_> = (from..from + few as u32).map(|rank| ("a".to_owned(), rank % 40)).collect();
        assert_eq!(queued(&mut due), wanted);
    }
    // Nothing is new, and the place of the last round is no more.
    tails.round(&written(&[("b", 1)], 0));
    assert_eq!(queued(&mut due), []);
}

#[tokio::test]
async fn the_last_words_of_a_large_pod_all_go_on_their_way_though_its_job_is_forgotten() {
    let (mut tails, mut due) = Tails::new();
    let jobs = written(&[("a", 1000)], 10);
    tails.round(&jobs);
    tails.add_last_words(&job("a"), &jobs[&job("a")].borrow().streams);
    tails.forget(&job("a"));
    let mut ranks = Vec::new();
    while ranks.len() < 1000 {
        tokio::select! {
            () = tails.say_last_words() => {}
            due = due.recv() => ranks.push(due.unwrap().key.1.0),
        }
    }
    assert_eq!(ranks, Vec::from_iter(0..1000), "each once");
    tokio::time::timeout(Duration::from_millis(50), tails.say_last_words()).await.unwrap_err();
}

struct Wire(mpsc::UnboundedSender<String>);

impl TailLink for Wire {
    async fn send(&mut self, frame: TailFrame) -> Result<(), Error> {
        self.0.send(frame.job).map_err(|_| Error::Stream(phalanx_net::frames::Error::Closed))
    }
}

#[tokio::test]
async fn a_disk_that_hangs_costs_one_thread_and_no_other_job_s_tails() {
    // Hangs as long as this test wants.
    static DISK: std::sync::Mutex<u32> = std::sync::Mutex::new(0);
    fn read(due: Due) -> TailFrame {
        if due.job.as_str() == "hangs" {
            *DISK.lock().unwrap() += 1;
        }
        due.read()
    }
    let hung = std::thread::spawn(|| {
        let held = DISK.lock().unwrap();
        std::thread::park();
        drop(held);
    });
    while DISK.try_lock().is_ok() {
        std::thread::yield_now();
    }
    let (mut tails, due) = Tails::new();
    let (sent_in, mut sent) = mpsc::unbounded_channel();
    let sending = tokio::spawn(send_read(Wire(sent_in), due, read));
    tails.round(&written(&[("hangs", 3), ("other", 2)], 0));
    tails.round(&written(&[("hangs", 3), ("other", 2)], 10));
    for _ in 0..2 {
        assert_eq!(sent.recv().await.as_deref(), Some("other"));
    }
    hung.thread().unpark();
    hung.join().unwrap();
    while *DISK.lock().unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    drop(tails);
    sending.await.unwrap().unwrap();
    assert_eq!(*DISK.lock().unwrap(), 1, "its other tails did not try");
}
