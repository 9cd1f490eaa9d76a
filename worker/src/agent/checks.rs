//! Prepares that wait until what they are given was looked at. One look at a time: drivers do not like more, and
//! one that hangs holds up no pod without devices.

use std::collections::{BTreeMap, VecDeque};
use std::future::pending;

use phalanx_common::id::{Generation, JobId};
use phalanx_common::plan::PodBinding;
use phalanx_common::report::{PrepareFailure, PrepareFailureKind};
use phalanx_worker_core::shim::ShimPlan;
use tokio::task::JoinSet;

use crate::check::{Checker, Error};

type Key = (JobId, Generation);

/// The look that is on its way, and those that wait for it.
#[derive(Debug)]
pub(super) struct Checks {
    /// `None` while it looks.
    checker: Option<Checker>,
    queue: VecDeque<Key>,
    waiting: BTreeMap<Key, (Box<ShimPlan>, PodBinding)>,
    looking: JoinSet<Looked>,
}

/// What a look found.
#[derive(Debug)]
pub(super) struct Looked {
    checker: Checker,
    key: Key,
    /// With a topology file for NCCL where the binding wants one.
    found: Result<Option<String>, Error>,
}

/// A Prepare that can go on, or why it cannot.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) job: JobId,
    pub(super) generation: Generation,
    pub(super) plan: Result<Box<ShimPlan>, PrepareFailure>,
}

impl Checks {
    pub(super) fn new(checker: Checker) -> Checks {
        Checks {
            checker: Some(checker),
            queue: VecDeque::new(),
            waiting: BTreeMap::new(),
            looking: JoinSet::new(),
        }
    }

    /// Keeps a Prepare until it is known whether what `binding` gives is fit.
    pub(super) fn wait_for(&mut self, plan: Box<ShimPlan>, binding: PodBinding) {
        let key = (plan.job.clone(), plan.generation);
        self.waiting.insert(key.clone(), (plan, binding));
        self.queue.push_back(key);
        self.look();
    }

    /// The job's orders are not waited for any more: a Prepare that came after its Stop would revive the
    /// generation.
    pub(super) fn give_up(&mut self, job: &JobId) {
        self.waiting.retain(|(of, _), _| of != job);
    }

    /// The next look that is over. Cancel-safe.
    pub(super) async fn next(&mut self) -> Looked {
        match self.looking.join_next().await {
            Some(Ok(looked)) => looked,
            Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // None is ever aborted.
            Some(Err(_)) | None => pending().await,
        }
    }

    /// What can go on; `None` if nobody waits.
    pub(super) fn on_looked(&mut self, looked: Looked) -> Option<Checked> {
        let Looked { checker, key, found } = looked;
        self.checker = Some(checker);
        let waited = self.waiting.remove(&key);
        self.look();
        let (mut plan, _) = waited?;
        let (job, generation) = key;
        let kind = PrepareFailureKind::Node;
        let plan = match found {
            Ok(topology) => {
                plan.nccl_topology = topology;
                Ok(plan)
            }
            Err(error) => Err(PrepareFailure { kind, message: error.to_string() }),
        };
        Some(Checked { job, generation, plan })
    }

    fn look(&mut self) {
        while let Some(mut checker) = self.checker.take() {
            let Some(key) = self.queue.pop_front() else {
                self.checker = Some(checker);
                return;
            };
            let Some((_, binding)) = self.waiting.get(&key) else {
                self.checker = Some(checker);
                continue;
            };
            let binding = binding.clone();
            self.looking.spawn_blocking(move || {
                let found = checker.check(&binding).and_then(|()| {
                    binding.nccl_topology.as_ref().map(|rails| checker.nccl_topology(rails)).transpose()
                });
                Looked { checker, key, found }
            });
        }
    }
}
