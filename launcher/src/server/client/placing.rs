//! Where jobs go and would go, and why.

use phalanx_common::id::JobId;
use phalanx_common::spec::JobSpec;
use phalanx_launcher_core::access::Action;
use phalanx_launcher_core::gang::GangPhase;
use phalanx_net::frames::Sending;

use super::{Failed, Session, bad, document, ending};
use crate::driver::look;

impl Session {
    /// Nothing is submitted; whoever may submit the job may ask.
    pub(super) async fn plan(
        &self,
        job: &str,
        as_user: Option<String>,
        send: &mut Sending,
    ) -> Result<(), Failed> {
        let owner = self.owner(as_user).await?;
        let spec = JobSpec::from_document(job.as_bytes()).map_err(bad)?;
        let planning = look(&self.service.inbox, |coordinator, _| coordinator.planning());
        let planning = planning.await.ok_or_else(ending)?;
        let planned = elsewhere(move || planning.plan(&spec, owner.unix_user.as_deref())).await;
        document(&planned, send).await
    }

    pub(super) async fn explain(&self, job: &str, send: &mut Sending) -> Result<(), Failed> {
        self.may(Action::Look)?;
        let (job, _) = self.find(job).await?;
        let found = look(&self.service.inbox, move |coordinator, _| coordinator.planning_of(&job));
        // It was there a moment ago.
        let (planning, job, waits) = found.await.flatten().ok_or_else(ending)?;
        let explained = elsewhere(move || planning.explain(&job, waits.as_ref())).await;
        document(&explained, send).await
    }

    /// What to tell whoever submitted this job a moment ago. `hears`: they hear its events.
    pub(super) async fn warnings(&self, job: &JobId, hears: bool) -> Result<Vec<String>, Failed> {
        let job = job.clone();
        let found = look(&self.service.inbox, move |coordinator, _| {
            // Most jobs are placed at once and name no nodes: nothing is copied for them.
            let view = coordinator.job(&job)?;
            let placement = &view.job.spec.placement;
            let names_nodes = !placement.nodes.is_empty() || !placement.avoid.is_empty();
            if !names_nodes && view.phase != GangPhase::Queued {
                return None;
            }
            coordinator.planning_of(&job)
        });
        let Some((planning, job, waits)) = found.await.ok_or_else(ending)? else { return Ok(Vec::new()) };
        Ok(elsewhere(move || planning.warnings(&job, waits.as_ref(), hears)).await)
    }
}

/// Off the event loops: large gangs take a while, and those that do not fit are tried in several ways.
async fn elsewhere<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(what).await;
    done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
