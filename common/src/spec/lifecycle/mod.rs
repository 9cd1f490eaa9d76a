//! What is done before a pod's ranks run, beside them, and at their ends: init containers, sidecars, hooks and the stop
//! signal. Names, defaults and rules are Kubernetes'; in the process runtime a container is a process.
//!
//! ```text
//! init containers, one after another -> ranks, sidecars beside them -> sidecars end, the last one first
//! each rank: postStart once its program runs; preStop, then the stop signal, if its end is somebody's wish
//! ```

mod decode;
mod document;
mod keys;
mod problem;
mod resolve;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use keys::{HookKeys, HooksKeys, InitKeys, InitRestart, SleepKeys};
pub use problem::LifecycleProblem;

pub(super) use decode::stop_signal;
pub(super) use document::Lifecycle as LifecycleDocument;
pub(super) use resolve::Times;

use super::probes::{Probe, ProbeHandler, ProbePort};

/// Most init containers of a job, sidecars among them.
pub const MAX_INIT_CONTAINERS: usize = 16;
/// SIGTERM.
const SIGTERM: u8 = 15;

/// Beginning and end of a pod and its ranks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifecycle {
    /// What asks a rank to end; `None`: SIGTERM.
    pub stop_signal: Option<u8>,
    /// Done for each rank once its program runs; it is not ready before.
    pub post_start: Option<Hook>,
    /// Done for each rank before its stop signal, within the grace, where its end is somebody's wish.
    pub pre_stop: Option<Hook>,
    /// One after another on each node before its ranks run.
    pub init: Vec<InitContainer>,
    /// Those that ended well on a node are not run again there.
    pub init_once: bool,
}

/// Something that is done at a turn of a rank's life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hook {
    /// A program that ends with 0, in the rank's environment.
    Exec { command: Vec<String> },
    /// GET over HTTP/1.1 that is answered with 200 to 399.
    HttpGet { path: String, at: ProbePort, headers: Vec<(String, String)> },
    /// Nothing, for this long.
    Sleep(Duration),
}

/// A program that runs on each node before the ranks, or beside them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitContainer {
    /// Lower-case letters, digits and `-`; its own within the job.
    pub name: String,
    /// Program and arguments; never empty.
    pub command: Vec<String>,
    /// Over the variables of the job.
    pub env: BTreeMap<String, String>,
    /// It runs beside the ranks, is started again whenever it ends, and ends after them.
    pub sidecar: bool,
    /// Of a sidecar: what comes after it waits until this is good.
    pub startup: Option<Probe>,
}

impl Lifecycle {
    /// The signal that asks a rank to end.
    pub fn stop_signal(&self) -> u8 {
        self.stop_signal.unwrap_or(SIGTERM)
    }

    /// The text in it that is as long as its writer likes, bytes.
    pub(super) fn text_bytes(&self) -> usize {
        let hooks = [&self.post_start, &self.pre_stop].into_iter().flatten();
        let hooks: usize = hooks.filter_map(Hook::handler).map(|handler| handler.text_bytes()).sum();
        let init = self.init.iter().map(|init| {
            let env: usize = init.env.iter().map(|(name, value)| name.len() + value.len()).sum();
            let probe = init.startup.as_ref().map_or(0, |probe| probe.handler.text_bytes());
            init.name.len() + init.command.iter().map(String::len).sum::<usize>() + env + probe
        });
        hooks + init.sum::<usize>()
    }
}

impl Hook {
    /// What is asked; `None` if it only waits.
    pub fn handler(&self) -> Option<ProbeHandler> {
        match self.clone() {
            Hook::Exec { command } => Some(ProbeHandler::Exec { command }),
            Hook::HttpGet { path, at, headers } => Some(ProbeHandler::HttpGet { path, at, headers }),
            Hook::Sleep(_) => None,
        }
    }
}
