//! The output of this worker's jobs: how far it is written, who is sent what of it, and what goes to the
//! coordinator unasked. Files and accounts are looked up on threads of their own: a disk or a directory
//! service that hangs keeps no order and no keep-alive from its time.

use std::collections::BTreeMap;
use std::future::pending;
use std::path::{Path, PathBuf};

use phalanx_common::id::JobId;
use phalanx_common::wire::v1::LogRequest;
use phalanx_worker_core::shim::{ShimPlan, Stream};
use phalanx_worker_core::{Config, log_root};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::{Interval, MissedTickBehavior};

use super::disk;
use super::logs::{self, Earlier, Key, Source, Written};
use super::tails::{self, Tails};
use crate::link::{self, Link};

/// The output of all jobs.
#[derive(Debug)]
pub(super) struct Outputs {
    written: BTreeMap<JobId, watch::Sender<Written>>,
    /// Whether the coordinator keeps tails, and what went to it on this link.
    keeps_tails: bool,
    tails: Option<Tails>,
    ticks: Interval,
    serving: JoinSet<Result<(), link::Error>>,
    /// The log requests that are answered, by number.
    readers: BTreeMap<u64, AbortHandle>,
    /// What earlier lives of this worker left of jobs that are asked for.
    searched: JoinSet<(JobId, BTreeMap<Key, Source>)>,
}

impl Outputs {
    pub(super) fn new() -> Outputs {
        let mut ticks = tokio::time::interval(tails::EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Outputs {
            written: BTreeMap::new(),
            keeps_tails: false,
            tails: None,
            ticks,
            serving: JoinSet::new(),
            readers: BTreeMap::new(),
            searched: JoinSet::new(),
        }
    }

    /// From the next link on the newest output of every rank is sent.
    pub(super) fn keep_tails(&mut self) {
        self.keeps_tails = true;
    }

    pub(super) fn on_link_up(&mut self, link: &impl Link) {
        if self.keeps_tails {
            let (tails, due) = Tails::new();
            let stream = link.open_tails();
            self.serving.spawn(async move { tails::send(stream.await?, due).await });
            self.tails = Some(tails);
        }
    }

    pub(super) fn on_link_down(&mut self) {
        self.tails = None;
        self.readers.clear();
        self.serving.abort_all();
    }

    /// Waits until there is something to be done here, and does it. Cancel-safe.
    pub(super) async fn work(&mut self) {
        tokio::select! {
            _ = self.ticks.tick(), if self.tails.is_some() => self.on_tick(),
            Some(()) = say_last_words(&mut self.tails) => {}
            Some(searched) = self.searched.join_next() => self.on_searched(searched),
            Some(_) = self.serving.join_next() => self.on_served(),
            else => pending().await,
        }
    }

    /// Answers a log request over a stream of its own. `here`: whether the job has a pod on this node.
    pub(super) fn serve(
        &mut self,
        id: u64,
        mut request: LogRequest,
        here: bool,
        (config, link): (&Config, &impl Link),
    ) {
        let job = JobId::from_existing(request.job.clone());
        let root = log_root(config, request.user.as_deref(), request.log_dir.as_deref());
        let dir = Path::new(&root).join(job.as_str());
        let user = request.user.clone();
        let state = self.written.entry(job.clone()).or_default();
        if here {
            state.send_modify(Written::arrive);
        } else if user.is_some() {
            // In a cluster output is asked for after its pod is ordered: what has none has written all it will.
            request.follow = false;
        }
        let written = state.subscribe();
        if state.borrow().earlier == Earlier::NotSought {
            state.send_modify(|state| state.earlier = Earlier::Sought);
            let (user, max_file_bytes) = (user.clone(), request.max_file_bytes);
            self.searched.spawn(async move {
                let found = match owner(user).await {
                    Ok(owner) => disk::search(dir, max_file_bytes, owner).await,
                    // Whoever asked is told.
                    Err(_) => BTreeMap::new(),
                };
                (job, found)
            });
        }
        let stream = link.open_log();
        let serving = self.serving.spawn(async move {
            match owner(user).await {
                Ok(_) => logs::serve(stream.await?, id, request, written).await,
                Err(why) => logs::refuse(stream.await?, id, why).await,
            }
        });
        self.readers.insert(id, serving);
    }

    pub(super) fn end(&mut self, id: u64) {
        if let Some(serving) = self.readers.remove(&id) {
            serving.abort();
        }
    }

    /// A generation is about to write. `owner`: whose files these will be.
    pub(super) fn expect(&mut self, job: &JobId, plan: &ShimPlan, owner: Option<u32>) {
        let sources = plan.ranks.iter().flat_map(|rank| {
            [Stream::Stdout, Stream::Stderr].map(|stream| {
                let dir = PathBuf::from(&rank.log_dir);
                let source = Source { dir, max_file_bytes: plan.max_file_bytes, written: 0, owner };
                ((plan.generation, rank.rank, stream), source)
            })
        });
        self.written.entry(job.clone()).or_default().send_modify(|state| {
            state.arrive();
            state.streams.extend(sources);
        });
    }

    /// Of a job that is forgotten there is nothing to note.
    pub(super) fn note(&self, job: &JobId, change: impl FnOnce(&mut Written)) {
        if let Some(state) = self.written.get(job) {
            state.send_modify(change);
        }
    }

    /// The last words of a job are not left to the next tick: it may be forgotten by then.
    pub(super) fn send_last_words(&mut self, job: &JobId) {
        if let (Some(tails), Some(state)) = (&mut self.tails, self.written.get(job)) {
            tails.add_last_words(job, &state.borrow().streams);
        }
    }

    /// The job is forgotten here.
    pub(super) fn close(&mut self, job: &JobId) {
        // It may have ended while there was no link.
        self.send_last_words(job);
        self.note(job, |state| (state.closed, state.held) = (true, false));
        // What a search finds for those who wait is told to them first.
        if self.written.get(job).is_some_and(|state| state.borrow().earlier != Earlier::Sought) {
            self.written.remove(job);
        }
        if let Some(tails) = &mut self.tails {
            tails.forget(job);
        }
    }

    fn on_tick(&mut self) {
        if let Some(tails) = &mut self.tails {
            tails.round(&self.written);
        }
    }

    fn on_searched(&mut self, searched: Result<(JobId, BTreeMap<Key, Source>), JoinError>) {
        match searched {
            Ok((job, found)) => {
                self.note(&job, |state| state.add_earlier(found));
                self.forget_unasked();
            }
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => {}
        }
    }

    fn on_served(&mut self) {
        self.readers.retain(|_, serving| !serving.is_finished());
        self.forget_unasked();
    }

    /// Of a job that is not here nothing stays once nobody asks.
    fn forget_unasked(&mut self) {
        self.written.retain(|_, state| state.borrow().held || state.receiver_count() > 0);
    }
}

/// `None` without a link.
async fn say_last_words(tails: &mut Option<Tails>) -> Option<()> {
    tails.as_mut()?.say_last_words().await;
    Some(())
}

/// Whose files may be read in answer: those of the job's user alone. `None` in local mode, where all
/// files are the launcher's.
async fn owner(user: Option<String>) -> Result<Option<u32>, String> {
    let Some(name) = user else { return Ok(None) };
    let looked_up = tokio::task::spawn_blocking({
        let name = name.clone();
        move || nix::unistd::User::from_name(&name)
    });
    match looked_up.await {
        Ok(Ok(Some(user))) => Ok(Some(user.uid.as_raw())),
        _ => Err(format!("there is no user {name} on this node")),
    }
}

#[cfg(test)]
mod tests;
