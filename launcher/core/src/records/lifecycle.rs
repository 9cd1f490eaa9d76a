//! Hooks and init containers of a job, as they are stored.

use std::collections::BTreeMap;
use std::time::Duration;

use phalanx_common::spec::{Hook, InitContainer, Lifecycle};
use serde::{Deserialize, Serialize};

use super::probes::{PortRecord, ProbeRecord};

/// See [`Lifecycle`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleRecord {
    pub stop_signal: Option<u8>,
    pub post_start: Option<HookRecord>,
    pub pre_stop: Option<HookRecord>,
    pub init: Vec<InitRecord>,
    pub init_once: bool,
}

/// See [`Hook`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookRecord {
    Exec { command: Vec<String> },
    HttpGet { path: String, at: PortRecord, headers: Vec<(String, String)> },
    Sleep { time: Duration },
}

/// See [`InitContainer`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitRecord {
    pub name: String,
    pub command: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub sidecar: bool,
    pub startup: Option<ProbeRecord>,
}

impl From<&Lifecycle> for LifecycleRecord {
    fn from(lifecycle: &Lifecycle) -> LifecycleRecord {
        let Lifecycle { stop_signal, post_start, pre_stop, init, init_once } = lifecycle.clone();
        LifecycleRecord {
            stop_signal,
            post_start: post_start.map(Into::into),
            pre_stop: pre_stop.map(Into::into),
            init: init.into_iter().map(Into::into).collect(),
            init_once,
        }
    }
}

impl From<&LifecycleRecord> for Lifecycle {
    fn from(record: &LifecycleRecord) -> Lifecycle {
        let LifecycleRecord { stop_signal, post_start, pre_stop, init, init_once } = record.clone();
        Lifecycle {
            stop_signal,
            post_start: post_start.map(Into::into),
            pre_stop: pre_stop.map(Into::into),
            init: init.into_iter().map(Into::into).collect(),
            init_once,
        }
    }
}

impl From<Hook> for HookRecord {
    fn from(hook: Hook) -> HookRecord {
        match hook {
            Hook::Exec { command } => HookRecord::Exec { command },
            Hook::HttpGet { path, at, headers } => HookRecord::HttpGet { path, at: at.into(), headers },
            Hook::Sleep(time) => HookRecord::Sleep { time },
        }
    }
}

impl From<HookRecord> for Hook {
    fn from(record: HookRecord) -> Hook {
        match record {
            HookRecord::Exec { command } => Hook::Exec { command },
            HookRecord::HttpGet { path, at, headers } => Hook::HttpGet { path, at: at.into(), headers },
            HookRecord::Sleep { time } => Hook::Sleep(time),
        }
    }
}

impl From<InitContainer> for InitRecord {
    fn from(init: InitContainer) -> InitRecord {
        let InitContainer { name, command, env, sidecar, startup } = init;
        InitRecord { name, command, env, sidecar, startup: startup.map(Into::into) }
    }
}

impl From<InitRecord> for InitContainer {
    fn from(record: InitRecord) -> InitContainer {
        let InitRecord { name, command, env, sidecar, startup } = record;
        InitContainer { name, command, env, sidecar, startup: startup.map(Into::into) }
    }
}
