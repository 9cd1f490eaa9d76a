//! The worker as a task: carries orders to shims and reports to the coordinator, serves output.
//! What it decides is decided in `phalanx_worker_core::Worker`.

mod archives;
mod checks;
mod disk;
mod logs;
mod outputs;
mod shims;
mod ship;
mod spawning;
mod tails;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use phalanx_common::id::{Generation, JobId};
use phalanx_common::report::{PrepareFailure, PrepareFailureKind};
use phalanx_common::wire::v1::{self, ToWorker};
use phalanx_worker_core::shim::{Secrets, ShimOrder, ShimPlan, ShimReport};
use phalanx_worker_core::{Command, Confidential, Input, ProbeKey, Worker};
pub use phalanx_worker_core::{Config, Facts};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};

use crate::check::Checker;
use crate::link::{self, Link};
use crate::shim::account::{self, Account};
use crate::shim::pod_cgroup::PodCgroups;
use crate::shim::spawn::{ShimProcess, SpawnOptions};
use crate::shim::wall_clock;
use crate::sweep;
use archives::{Archives, Ready};
use checks::{Checked, Checks, Looked};
use outputs::Outputs;
use shims::{FromShim, Shims};

/// Reports of all shims that may wait for the agent; a shim beyond that waits in its socket, and its
/// ranks do not notice.
const SHIM_REPORTS_QUEUED: usize = 256;

/// Why the worker ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Link(#[from] link::Error),
}

/// How shims are started.
#[derive(Debug)]
pub struct Shimming {
    pub options: SpawnOptions,
    /// One that was started ahead, while this process was small.
    pub spare: Option<ShimProcess>,
    /// Where pods get cgroups of their own; `None` where the host allows none, and in local mode.
    pub cgroups: Option<PodCgroups>,
    /// Whether root may run jobs here.
    pub allow_root: bool,
    /// Looks at what a pod gets of the node before it is prepared.
    pub checker: Checker,
}

/// A connection to a coordinator, as it was just made.
#[derive(Debug)]
pub struct Dialed<L> {
    pub link: L,
    /// What the node is by now.
    pub facts: Facts,
}

/// The worker and all it holds.
#[derive(Debug)]
pub struct Agent<L: Link> {
    worker: Worker,
    config: Config,
    /// `None` between two connections.
    link: Option<L>,
    links: mpsc::Receiver<Dialed<L>>,
    options: SpawnOptions,
    spare: Option<ShimProcess>,
    cgroups: Option<PodCgroups>,
    allow_root: bool,
    checks: Checks,
    shims: Shims,
    said: mpsc::Receiver<(JobId, FromShim)>,
    outputs: Outputs,
    /// Users of pods that are to come, on the way from a directory that may be elsewhere.
    accounts: JoinSet<(JobId, Result<Account, account::Error>)>,
    /// User ids of jobs that run as their user.
    owners: BTreeMap<JobId, u32>,
    swept: JoinSet<Input>,
    archives: Archives,
}

impl<L: Link> Agent<L> {
    /// A worker that gets its links from whoever dials: one at a time, the next when the last is lost.
    pub fn new(
        config: Config,
        facts: Facts,
        links: mpsc::Receiver<Dialed<L>>,
        shimming: Shimming,
    ) -> Agent<L> {
        let (say, said) = mpsc::channel(SHIM_REPORTS_QUEUED);
        let archives = Archives::new(PathBuf::from(&config.ship_dir));
        let Shimming { options, spare, cgroups, allow_root, checker } = shimming;
        Agent {
            worker: Worker::new(config.clone(), facts),
            config,
            link: None,
            links,
            options,
            spare,
            cgroups,
            allow_root,
            checks: Checks::new(checker),
            shims: Shims::new(say),
            said,
            outputs: Outputs::new(),
            accounts: JoinSet::new(),
            owners: BTreeMap::new(),
            swept: JoinSet::new(),
            archives,
        }
    }

    /// Sends the newest output of every rank, because a coordinator elsewhere keeps it.
    #[must_use]
    pub fn with_tails(mut self) -> Agent<L> {
        self.outputs.keep_tails();
        self
    }

    /// How many shims are alive, as it changes: a launcher that ends has to leave none behind.
    pub fn shims_alive(&self) -> watch::Receiver<usize> {
        self.shims.alive()
    }

    /// Works until the link is lost and nobody dials any more. What it holds of its shims is dropped
    /// then, and each does with its pod what `Orphans` says.
    ///
    /// # Errors
    /// Why the last link was lost.
    pub async fn run(mut self) -> Result<(), Error> {
        self.prune_archives();
        loop {
            if let Err(lost) = self.carry_out().await {
                self.on_link_lost(lost)?;
            }
            tokio::select! {
                message = received(&mut self.link) => match message {
                    Ok(message) => self.on_message(message),
                    Err(lost) => self.on_link_lost(lost)?,
                },
                Some(dialed) = self.links.recv() => self.on_dialed(dialed),
                () = self.outputs.work() => {}
                Some(account) = self.accounts.join_next() => self.on_account(account),
                Some((job, said)) = self.said.recv() => self.on_shim(job, said),
                job = self.shims.overdue() => self.on_overdue(&job),
                Some(swept) = self.swept.join_next() => self.on_swept(swept),
                came = self.archives.next() => self.on_archive(came),
                looked = self.checks.next() => self.on_looked(looked),
            }
        }
    }

    fn on_dialed(&mut self, dialed: Dialed<L>) {
        if self.link.is_some() {
            self.drop_link();
        }
        self.outputs.on_link_up(&dialed.link);
        self.archives.on_link_up(&dialed.link);
        self.link = Some(dialed.link);
        self.worker.handle(wall_clock(), Input::Facts(dialed.facts));
        self.worker.handle(wall_clock(), Input::LinkUp);
    }

    fn on_link_lost(&mut self, lost: link::Error) -> Result<(), Error> {
        self.drop_link();
        if self.links.is_closed() && self.links.is_empty() { Err(Error::Link(lost)) } else { Ok(()) }
    }

    fn drop_link(&mut self) {
        self.link = None;
        self.outputs.on_link_down();
        self.worker.handle(wall_clock(), Input::LinkDown);
    }

    fn on_message(&mut self, message: ToWorker) {
        match message {
            ToWorker::Order { epoch, order } => {
                self.worker.handle(wall_clock(), Input::Order(order.into_domain(epoch)));
            }
            ToWorker::Logs { id, request } => {
                let here = self.worker.holds(&JobId::from_existing(request.job.clone()));
                if let Some(link) = &self.link {
                    self.outputs.serve(id, request, here, (&self.config, link));
                }
            }
            ToWorker::EndLogs { id } => self.outputs.end(id),
            ToWorker::Confidential(confidential) => self.on_confidential(confidential),
        }
    }

    fn on_confidential(&mut self, confidential: v1::Confidential) {
        let confidential = Confidential {
            job: JobId::from_existing(confidential.job),
            generation: Generation(confidential.generation),
            secrets: Secrets(confidential.secrets),
            probe_key: ProbeKey(confidential.probe_key),
        };
        self.worker.handle(wall_clock(), Input::Confidential(confidential));
    }

    fn on_shim(&mut self, job: JobId, said: FromShim) {
        let input = match said {
            FromShim::Up => Input::ShimUp { job },
            FromShim::Lost { why } => {
                self.shims.close(&job);
                sweep::remove_emptied(&Path::new(&self.config.base_dir).join(job.as_str()));
                // Nothing more will be written: what was told of is all there is to send.
                self.outputs.note(&job, |state| state.ended = state.streams.keys().map(|key| key.0).max());
                Input::ShimLost { job, why }
            }
            FromShim::Report(ShimReport::Output { generation, rank, stream, written }) => {
                self.outputs.note(&job, |state| {
                    if let Some(source) = state.streams.get_mut(&(generation, rank, stream)) {
                        source.written = written;
                    }
                });
                return;
            }
            FromShim::Report(report) => {
                if let ShimReport::Ended { generation, .. } = &report {
                    self.shims.ended(&job);
                    self.outputs.note(&job, |state| state.ended = Some(*generation));
                    self.outputs.send_last_words(&job);
                }
                Input::ShimReport { job, report }
            }
        };
        self.worker.handle(wall_clock(), input);
    }

    /// Its guardian, its cgroup and the sweep that follows end the pod.
    fn on_overdue(&mut self, job: &JobId) {
        tracing::warn!(%job, "the shim has not ended its pod in time: it counts as lost");
        self.shims.give_up(job);
    }

    fn on_swept(&mut self, swept: Result<Input, JoinError>) {
        match swept {
            Ok(input) => self.worker.handle(wall_clock(), input),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => {}
        }
    }

    async fn carry_out(&mut self) -> Result<(), link::Error> {
        while let Some(command) = self.worker.poll_command() {
            match command {
                Command::SpawnShim { job, user } => self.spawn_shim(job, user),
                Command::ToShim { job, order } => self.send_to_shim(&job, order),
                Command::CloseShim { job } => self.close_shim(&job),
                Command::Sweep { job, mark } => self.sweep(job, mark),
                Command::ToCoordinator(report) => {
                    // Without a link it is dropped: the next Hello tells the same.
                    if let Some(link) = &mut self.link {
                        link.send((&report).into()).await?;
                    }
                }
            }
        }
        Ok(())
    }

    fn send_to_shim(&mut self, job: &JobId, order: ShimOrder) {
        match order {
            ShimOrder::Prepare(plan) => {
                let binding = self.worker.binding(job, plan.generation);
                match binding.filter(|it| Checker::looks_at(it)).cloned() {
                    Some(binding) => self.checks.wait_for(plan, binding),
                    None => self.bring_archive(job, plan),
                }
            }
            order => {
                if matches!(order, ShimOrder::Stop { .. } | ShimOrder::Exit { .. }) {
                    self.checks.give_up(job);
                    self.archives.give_up(job);
                }
                self.hand_to_shim(job, order);
            }
        }
    }

    fn on_looked(&mut self, looked: Looked) {
        let Some(Checked { job, generation, plan }) = self.checks.on_looked(looked) else { return };
        match plan {
            Ok(plan) => self.bring_archive(&job, plan),
            Err(reason) => self.not_prepared(job, generation, reason),
        }
    }

    fn bring_archive(&mut self, job: &JobId, plan: Box<ShimPlan>) {
        match plan.ship.as_ref().map(PathBuf::from) {
            Some(path) => self.wait_for_archive(job, plan, path),
            None => self.hand_to_shim(job, ShimOrder::Prepare(plan)),
        }
    }

    fn not_prepared(&mut self, job: JobId, generation: Generation, reason: PrepareFailure) {
        let report = ShimReport::NotPrepared { generation, reason };
        self.worker.handle(wall_clock(), Input::ShimReport { job, report });
    }

    fn wait_for_archive(&mut self, job: &JobId, plan: Box<ShimPlan>, path: PathBuf) {
        let owner = self.owners.get(job).copied();
        self.archives.wait_for(plan, path, owner, self.link.as_ref());
        self.prune_archives();
    }

    fn prune_archives(&mut self) {
        let pods = self.worker.report(wall_clock()).pods;
        self.archives.prune(&pods.into_iter().map(|pod| pod.job).collect());
    }

    fn on_archive(&mut self, came: archives::Came) {
        let Some(Ready { job, order }) = self.archives.on_came(came, self.link.as_ref()) else { return };
        match order {
            Ok(order) => self.hand_to_shim(&job, order),
            Err((generation, error)) => {
                let reason = PrepareFailure { kind: PrepareFailureKind::Node, message: error.to_string() };
                self.not_prepared(job, generation, reason);
            }
        }
    }

    fn hand_to_shim(&mut self, job: &JobId, order: ShimOrder) {
        if let ShimOrder::Prepare(plan) = &order {
            let owner = self.owners.get(job).copied();
            self.outputs.expect(job, plan, owner);
        }
        if !self.shims.send(job, order) {
            tracing::warn!(%job, "the shim takes no orders: it counts as lost");
            self.shims.give_up(job);
        }
    }

    fn close_shim(&mut self, job: &JobId) {
        self.shims.close(job);
        self.outputs.close(job);
        self.owners.remove(job);
        self.archives.forget(job);
    }

    /// Killing may take a while (a process in the kernel): not on this thread's time.
    fn sweep(&mut self, job: JobId, mark: String) {
        self.swept.spawn_blocking(move || {
            let killed = sweep::count_marked(&mark);
            let survivors = sweep::end_marked(&mark, &[]);
            Input::Swept { job, killed, survivors }
        });
    }
}

/// The next message of the link; never without one.
async fn received<L: Link>(link: &mut Option<L>) -> Result<ToWorker, link::Error> {
    match link {
        Some(link) => link.recv().await,
        None => std::future::pending().await,
    }
}
