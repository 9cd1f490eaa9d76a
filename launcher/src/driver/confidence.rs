//! What must not reach a record, an event or a log: the values of secrets, and the keys of probes.

use std::collections::BTreeMap;
use std::fmt;

use phalanx_common::id::JobId;
use phalanx_common::plan::PodPlan;
use phalanx_common::wire::v1::Confidential;
use ring::hmac;

/// Secret variables of a job: name and value.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Secrets(pub(crate) Vec<(String, String)>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// Keeps them in memory, for as long as their jobs live.
#[derive(Debug, Default)]
pub(crate) struct Confidence {
    /// The cluster's key, of which that of every generation is derived; `None` in local mode, where
    /// nobody probes.
    root: Option<hmac::Key>,
    secrets: BTreeMap<JobId, Secrets>,
}

impl Confidence {
    pub(crate) fn new(root: &[u8; 32]) -> Confidence {
        Confidence { root: Some(hmac::Key::new(hmac::HMAC_SHA256, root)), secrets: BTreeMap::new() }
    }

    pub(super) fn keep(&mut self, job: &JobId, secrets: Secrets) {
        if !secrets.0.is_empty() {
            self.secrets.insert(job.clone(), secrets);
        }
    }

    pub(super) fn forget(&mut self, job: &JobId) {
        self.secrets.remove(job);
    }

    /// What a worker needs beside this plan; `None` if nothing.
    pub(super) fn of(&self, plan: &PodPlan) -> Option<Confidential> {
        let secrets = self.secrets.get(&plan.job).map(|secrets| secrets.0.clone());
        let mut probe_key = [0; 32];
        match (&self.root, &secrets) {
            (None, None) => return None,
            (None, Some(_)) => {}
            (Some(root), _) => {
                let what = format!("phalanx-probe/1 {} {}", plan.job, plan.generation);
                probe_key.copy_from_slice(hmac::sign(root, what.as_bytes()).as_ref());
            }
        }
        let secrets = secrets.unwrap_or_default();
        Some(Confidential { job: plan.job.to_string(), generation: plan.generation.0, secrets, probe_key })
    }
}
