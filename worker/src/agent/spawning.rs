//! How a pod gets its shim: as its job's user, in directories of that user's, or as who the worker is.

use std::path::Path;

use phalanx_common::id::JobId;
use phalanx_worker_core::{Input, log_root, mark};
use tokio::task::JoinError;

use super::Agent;
use crate::link::Link;
use crate::shim::account::{self, Account};
use crate::shim::spawn::{self, Own, ShimProcess, spawn};
use crate::shim::wall_clock;
use crate::sweep;

impl<L: Link> Agent<L> {
    pub(super) fn spawn_shim(&mut self, job: JobId, user: Option<String>) {
        match user {
            Some(user) => {
                let allow_root = self.allow_root;
                self.accounts.spawn_blocking(move || (job, Account::of(&user, allow_root)));
            }
            None => {
                let shim = match self.spare.take() {
                    Some(spare) => Ok(spare),
                    None => spawn(&self.options, None).map_err(|error| spawn_failed(&error)),
                };
                self.adopt(job, shim);
            }
        }
    }

    pub(super) fn on_account(
        &mut self,
        looked_up: Result<(JobId, Result<Account, account::Error>), JoinError>,
    ) {
        let (job, account) = match looked_up {
            Ok(looked_up) => looked_up,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => return,
        };
        let shim =
            account.map_err(|error| error.to_string()).and_then(|account| self.spawn_as(&job, &account));
        self.adopt(job, shim);
    }

    fn adopt(&mut self, job: JobId, shim: Result<ShimProcess, String>) {
        let adopted = shim.and_then(|shim| {
            self.shims.adopt(job.clone(), shim).map_err(|error| format!("its socket does not work: {error}"))
        });
        if let Err(why) = adopted {
            self.worker.handle(wall_clock(), Input::ShimLost { job, why });
        }
    }

    /// A shim that is its user's own process, in directories of that user's.
    fn spawn_as(&mut self, job: &JobId, account: &Account) -> Result<ShimProcess, String> {
        self.owners.insert(job.clone(), account.uid());
        let pod = Path::new(&self.config.base_dir).join(job.as_str());
        let logs = log_root(&self.config, Some(account.name()), None);
        let ships = Path::new(&self.config.ship_dir).join(account.name());
        for dir in [&pod, Path::new(&logs), &ships] {
            account.directory(dir).map_err(|error| error.to_string())?;
        }
        // Written here, because what stands in a user's directory is what that user likes.
        let mark = mark(&self.config, job);
        sweep::note_mark(&pod, &mark).map_err(|error| format!("cannot note the pod's mark: {error}"))?;
        let cgroup = self.cgroups.as_ref().and_then(|cgroups| match cgroups.make(job, account) {
            Ok(cgroup) => Some(cgroup),
            Err(error) => {
                tracing::warn!(%job, %error, "no cgroup for a pod");
                None
            }
        });
        spawn(&self.options, Some(Own { account, cgroup })).map_err(|error| spawn_failed(&error))
    }
}

fn spawn_failed(error: &spawn::Error) -> String {
    use std::error::Error as _;
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
