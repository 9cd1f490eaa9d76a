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
        let watched = self.jobs.entry(job.clone()).or_default();
        if watched.told.iter().all(|event| watcher.try_send(event.clone()).is_ok()) {
            watched.watchers.push(watcher);
        }
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
