//! The directories that travel with this node's jobs: each Prepare that needs one waits until it is here, over
//! as many links as that takes.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::path::PathBuf;

use phalanx_common::id::{Generation, JobId};
use phalanx_worker_core::shim::{ShimOrder, ShimPlan};
use tokio::task::JoinSet;

use super::ship::{self, Shelf, Wanted};
use crate::link::Link;

type Key = (JobId, Generation);

/// The archives of jobs, and who waits for them.
#[derive(Debug)]
pub(super) struct Archives {
    dir: PathBuf,
    shelf: Shelf,
    waiting: BTreeMap<Key, Waiting>,
    coming: JoinSet<Came>,
    of_jobs: BTreeMap<JobId, PathBuf>,
    /// Links there have been so far.
    links: u64,
}

/// A Prepare that waits for its archive.
#[derive(Debug)]
struct Waiting {
    plan: Box<ShimPlan>,
    wanted: Wanted,
    /// The link that it is asked for over; `None`: it waits for one.
    over: Option<u64>,
}

/// What became of one that was asked for.
#[derive(Debug)]
pub(super) struct Came {
    key: Key,
    fetched: Result<(), ship::Error>,
}

/// A Prepare that waits no more.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) job: JobId,
    pub(super) order: Result<ShimOrder, (Generation, ship::Error)>,
}

impl Archives {
    /// None on their way yet. Each user's are in a directory of `dir`.
    pub(super) fn new(dir: PathBuf) -> Archives {
        Archives {
            dir,
            shelf: Shelf::default(),
            waiting: BTreeMap::new(),
            coming: JoinSet::new(),
            of_jobs: BTreeMap::new(),
            links: 0,
        }
    }

    /// Keeps a Prepare until its archive, at `path`, is here.
    pub(super) fn wait_for(
        &mut self,
        plan: Box<ShimPlan>,
        path: PathBuf,
        owner: Option<u32>,
        link: Option<&impl Link>,
    ) {
        let (job, generation) = (plan.job.clone(), plan.generation);
        self.of_jobs.insert(job.clone(), path.clone());
        let digest = path.file_stem().map(|digest| digest.to_string_lossy().into_owned()).unwrap_or_default();
        let wanted = Wanted { job: job.clone(), generation, digest, path, owner };
        let key = (job, generation);
        self.waiting.insert(key.clone(), Waiting { plan, wanted, over: None });
        self.ask(key, link);
    }

    /// The job's orders are not waited for any more: a Prepare that came after its Stop would revive the
    /// generation.
    pub(super) fn give_up(&mut self, job: &JobId) {
        self.waiting.retain(|(of, _), _| of != job);
    }

    /// The job is forgotten here.
    pub(super) fn forget(&mut self, job: &JobId) {
        self.of_jobs.remove(job);
    }

    pub(super) fn on_link_up(&mut self, link: &impl Link) {
        self.links += 1;
        let left = self.waiting.iter().filter(|(_, waiting)| waiting.over.is_none());
        for key in left.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.ask(key, Some(link));
        }
    }

    /// The next that came, or did not. Cancel-safe.
    pub(super) async fn next(&mut self) -> Came {
        loop {
            match self.coming.join_next().await {
                Some(Ok(came)) => return came,
                Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Some(Err(_)) => {}
                None => pending().await,
            }
        }
    }

    /// What can go on; `None` if it is asked for again, over this link or the next, or nobody waits.
    pub(super) fn on_came(&mut self, came: Came, link: Option<&impl Link>) -> Option<Ready> {
        let Came { key, fetched } = came;
        let waiting = self.waiting.get_mut(&key)?;
        if fetched.as_ref().is_err_and(ship::Error::is_the_links) {
            // Over the link that failed nothing comes, even if nobody else has noticed yet.
            let there_is_another = waiting.over.take() != Some(self.links);
            if there_is_another {
                self.ask(key, link);
            }
            return None;
        }
        let Waiting { plan, .. } = self.waiting.remove(&key)?;
        let (job, generation) = key;
        let order = fetched.map(|()| ShimOrder::Prepare(plan)).map_err(|error| (generation, error));
        Some(Ready { job, order })
    }

    fn ask(&mut self, key: Key, link: Option<&impl Link>) {
        let Some(waiting) = self.waiting.get_mut(&key) else { return };
        waiting.over = Some(self.links);
        let (wanted, shelf) = (waiting.wanted.clone(), Shelf::clone(&self.shelf));
        let opening = link.map(Link::open_file);
        self.coming.spawn(async move { Came { key, fetched: ship::fetch(&wanted, shelf, opening).await } });
    }

    /// Removes archives that no job used for long; `jobs` are those that are here.
    pub(super) fn prune(&mut self, jobs: &BTreeSet<JobId>) {
        self.of_jobs.retain(|job, _| jobs.contains(job));
        let in_use: BTreeSet<PathBuf> = self.of_jobs.values().cloned().collect();
        let (shelf, dir) = (Shelf::clone(&self.shelf), self.dir.clone());
        tokio::task::spawn_blocking(move || ship::tidy(&shelf, &dir, &in_use));
    }
}
