//! Who wants to hear of which job, and what there was to hear so far.

use std::collections::{BTreeMap, VecDeque};

use phalanx_common::event::{Event, EventKind};
use phalanx_common::id::JobId;
use tokio::sync::mpsc;

/// Events kept of a job, for those who come later: enough for its start and its last restarts.
const HISTORY: usize = 512;
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
                watched.watchers.retain(|watcher| watcher.try_send(event.clone()).is_ok());
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
        watched.watchers.retain(|watcher| watcher.try_send(event.clone()).is_ok());
        watched.told.push_back(event);
        if watched.told.len() > HISTORY {
            watched.told.pop_front();
        }
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
