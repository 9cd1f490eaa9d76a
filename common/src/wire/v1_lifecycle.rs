//! Hooks and init containers: messages of version 1, and domain types to them and back.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::v1_probes::{Probe, ProbePort, micros, wire};
use crate::spec::{self, ProbeKind};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifecycle {
    pub stop_signal: Option<u8>,
    pub post_start: Option<Hook>,
    pub pre_stop: Option<Hook>,
    pub init: Vec<InitContainer>,
    pub init_once: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hook {
    Exec { command: Vec<String> },
    HttpGet { path: String, at: ProbePort, headers: Vec<(String, String)> },
    Sleep { micros: u64 },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitContainer {
    pub name: String,
    pub command: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub sidecar: bool,
    pub startup: Option<Probe>,
}

impl From<&spec::Lifecycle> for Lifecycle {
    fn from(lifecycle: &spec::Lifecycle) -> Lifecycle {
        let spec::Lifecycle { stop_signal, post_start, pre_stop, init, init_once } = lifecycle.clone();
        Lifecycle {
            stop_signal,
            post_start: post_start.map(Into::into),
            pre_stop: pre_stop.map(Into::into),
            init: init.into_iter().map(Into::into).collect(),
            init_once,
        }
    }
}

impl From<Lifecycle> for spec::Lifecycle {
    fn from(lifecycle: Lifecycle) -> spec::Lifecycle {
        let Lifecycle { stop_signal, post_start, pre_stop, init, init_once } = lifecycle;
        spec::Lifecycle {
            stop_signal,
            post_start: post_start.map(Into::into),
            pre_stop: pre_stop.map(Into::into),
            init: init.into_iter().map(Into::into).collect(),
            init_once,
        }
    }
}

impl From<spec::Hook> for Hook {
    fn from(hook: spec::Hook) -> Hook {
        match hook {
            spec::Hook::Exec { command } => Hook::Exec { command },
            spec::Hook::HttpGet { path, at, headers } => Hook::HttpGet { path, at: at.into(), headers },
            spec::Hook::Sleep(time) => Hook::Sleep { micros: micros(time) },
        }
    }
}

impl From<Hook> for spec::Hook {
    fn from(hook: Hook) -> spec::Hook {
        match hook {
            Hook::Exec { command } => spec::Hook::Exec { command },
            Hook::HttpGet { path, at, headers } => spec::Hook::HttpGet { path, at: at.into(), headers },
            Hook::Sleep { micros } => spec::Hook::Sleep(Duration::from_micros(micros)),
        }
    }
}

impl From<spec::InitContainer> for InitContainer {
    fn from(init: spec::InitContainer) -> InitContainer {
        let spec::InitContainer { name, command, env, sidecar, startup } = init;
        let startup = startup.map(|probe| wire(ProbeKind::Startup, &probe));
        InitContainer { name, command, env, sidecar, startup }
    }
}

impl From<InitContainer> for spec::InitContainer {
    fn from(init: InitContainer) -> spec::InitContainer {
        let InitContainer { name, command, env, sidecar, startup } = init;
        spec::InitContainer { name, command, env, sidecar, startup: startup.map(Into::into) }
    }
}
