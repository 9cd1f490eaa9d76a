//! Who wants to hear of which job, and what there was to hear so far.

use std::collections::{BTreeMap, VecDeque};

use phalanx_common::event::{Event, EventKind};
use phalanx_common::id::JobId;
use phalanx_common::report::RankExit;
use tokio::sync::mpsc;

/// Events kept of a job, for those who come later: enough for its start and its last restarts.
const HISTORY: usize = 512;
/// Exits of a job that are kept with the last output of their ranks, which may be 192 KiB: of a gang that fails
/// the first few, which say why, and of many restarts the last.
const TAILS: usize = 8;
/// Events that may wait for a watcher before it hears of exits without the ranks' last output: a watcher that is
/// slow while thousands of ranks fail holds no memory for all their words.
const WORDY: usize = 64;
/// Jobs whose events are kept after their end.
const ENDED: usize = 256;

/// All watchers.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    jobs: BTreeMap<JobId, Watched>,
    ended: VecDeque<JobId>,
}

#[derive(Debug, Default)]
struct Watched {
    told: VecDeque<Event>,
    watchers: Vec<mpsc::Sender<Event>>,
}

impl Watchers {
    /// Tells `watcher` of the job. One that does not keep up is dropped: its channel ends.
    pub(super) fn watch(&mut self, job: &JobId, watcher: mpsc::Sender<Event>) {
        if self.tell_history(job, &watcher) {
            self.jobs.entry(job.clone()).or_default().watchers.push(watcher);
        }
    }

    /// Tells `watcher` of a job that has ended. Its end is told even if no history of it is there any more, and
    /// the channel ends after it.
    pub(super) fn watch_ended(&mut self, job: &JobId, watcher: &mpsc::Sender<Event>, end: Event) {
        let mut told = self.jobs.get(job).into_iter().flat_map(|watched| &watched.told);
        let has_end = told.any(|event| matches!(event.kind, EventKind::JobEnded { .. }));
        if self.tell_history(job, watcher) && !has_end {
            // One that does not keep up is dropped.
            let _ = watcher.try_send(end);
        }
    }

    /// False if `watcher` does not keep up.
    fn tell_history(&self, job: &JobId, watcher: &mpsc::Sender<Event>) -> bool {
        let mut told = self.jobs.get(job).into_iter().flat_map(|watched| &watched.told);
        told.all(|event| watcher.try_send(event.clone()).is_ok())
    }

    /// Nothing is kept of this job any more.
    pub(super) fn forget(&mut self, job: &JobId) {
        self.jobs.remove(job);
        self.ended.retain(|ended| ended != job);
    }

    /// An event of a job goes to its watchers, one of the cluster to all. Of ranks that did not fail the last
    /// output is left out: thousands of them may end at once, and their logs have it.
    pub(super) fn tell(&mut self, mut event: Event) {
        if let EventKind::RankExited { exit, .. } = &mut event.kind
            && (exit.status.success() || exit.after_stop)
        {
            exit.stdout_tail = Vec::new();
            exit.stderr_tail = Vec::new();
        }
        let Some(job) = &event.job else {
            for watched in self.jobs.values_mut() {
                watched.watchers.retain(|watcher| tell(watcher, &event));
            }
            return;
        };
        let over = matches!(event.kind, EventKind::JobEnded { .. });
        let job = job.clone();
        if matches!(event.kind, EventKind::Ignored { .. }) && !self.jobs.contains_key(&job) {
            // It may be of a job that is not there, which nothing would ever remove.
            return;
        }
        let watched = self.jobs.entry(job.clone()).or_default();
        watched.watchers.retain(|watcher| tell(watcher, &event));
        watched.keep(event);
        if over {
            // Nothing follows: whoever waits for more sees the end of the channel.
            watched.watchers.clear();
            self.ended.push_back(job);
            if self.ended.len() > ENDED
                && let Some(oldest) = self.ended.pop_front()
            {
                self.jobs.remove(&oldest);
            }
        }
    }
}

impl Watched {
    /// Keeps an event for those who come later.
    fn keep(&mut self, mut event: Event) {
        let generation = event.generation;
        if let EventKind::RankExited { exit, .. } = &mut event.kind
            && self.told.iter_mut().filter(|told| told.generation == generation).filter_map(tail).count()
                >= TAILS
        {
            drop_tail(exit);
        }
        self.told.push_back(event);
        if self.told.len() > HISTORY {
            self.told.pop_front();
        }
        self.told.iter_mut().rev().filter_map(tail).skip(TAILS).for_each(drop_tail);
    }
}

/// False if the watcher does not keep up.
fn tell(watcher: &mpsc::Sender<Event>, event: &Event) -> bool {
    let mut event = event.clone();
    if watcher.max_capacity() - watcher.capacity() >= WORDY
        && let Some(exit) = tail(&mut event)
    {
        drop_tail(exit);
    }
    watcher.try_send(event).is_ok()
}

/// The exit of a rank, if it comes with the rank's last output.
fn tail(event: &mut Event) -> Option<&mut RankExit> {
    let EventKind::RankExited { exit, .. } = &mut event.kind else { return None };
    let has_tail = !exit.stdout_tail.is_empty() || !exit.stderr_tail.is_empty() || exit.error_file.is_some();
    has_tail.then_some(exit)
}

fn drop_tail(exit: &mut RankExit) {
    exit.stdout_tail = Vec::new();
    exit.stderr_tail = Vec::new();
    exit.error_file = None;
}

#[cfg(test)]
mod tests {
    use phalanx_common::exit::ExitStatus;
    use phalanx_common::id::{Generation, NodeId, Rank};
    use phalanx_common::time::Timestamp;

    use super::*;

    #[tokio::test]
    async fn the_history_has_the_last_output_of_few_ranks_that_failed_and_those_who_watch_hear_of_all() {
        let (job, mut watchers) = (JobId::from_existing("train-1"), Watchers::default());
        let (watcher, mut live) = mpsc::channel(64);
        let (slow, mut wordless) = mpsc::channel(WORDY + 22);
        for _ in 0..WORDY {
            slow.try_send(Event {
                at: Timestamp(0),
                job: None,
                generation: None,
                kind: EventKind::JobSuspended,
            })
            .unwrap();
        }
        watchers.watch(&job, watcher);
        watchers.watch(&job, slow);
        for rank in 0..22 {
            let exit = RankExit {
                rank: Rank(rank),
                attempt: 0,
                status: ExitStatus::Code(1),
                at: Timestamp(0),
                after_stop: false,
                port_conflict: false,
                stderr_tail: b"why".to_vec(),
                stdout_tail: b"what".to_vec(),
                error_file: Some(b"{}".to_vec()),
                probe: None,
                oom: None,
            };
            let kind = EventKind::RankExited { node: NodeId::new("a"), exit };
            let generation = Some(Generation(if rank < 20 { 1 } else { 2 }));
            watchers.tell(Event { at: Timestamp(0), job: Some(job.clone()), generation, kind });
        }
        let (watcher, mut late) = mpsc::channel(64);
        watchers.watch(&job, watcher);
        drop(watchers);
        let ranks = async |events: &mut mpsc::Receiver<Event>| {
            let mut ranks = Vec::new();
            while let Some(mut event) = events.recv().await {
                ranks.extend(tail(&mut event).map(|exit| exit.rank.0));
            }
            ranks
        };
        assert_eq!(ranks(&mut live).await, Vec::from_iter(0..22));
        assert_eq!(wordless.len(), WORDY + 22);
        assert_eq!(
            ranks(&mut wordless).await,
            Vec::<u32>::new(),
            "one that is behind hears of the exits, not the last words"
        );
        assert_eq!(ranks(&mut late).await, [2, 3, 4, 5, 6, 7, 20, 21]);
    }
}
