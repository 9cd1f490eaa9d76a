//! Where jobs go and would go, and why.

use phalanx_common::spec::JobSpec;
use phalanx_launcher_core::access::Action;
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
        let found = look(&self.service.inbox, move |coordinator, _| {
            coordinator.plan_job(&spec, owner.unix_user.as_deref())
        });
        document(&found.await.ok_or_else(ending)?, send).await
    }

    pub(super) async fn explain(&self, job: &str, send: &mut Sending) -> Result<(), Failed> {
        self.may(Action::Look)?;
        let (job, _) = self.find(job).await?;
        let found = look(&self.service.inbox, move |coordinator, _| coordinator.explain_job(&job));
        document(&found.await.ok_or_else(ending)?, send).await
    }
}
