//! The keys of `lifecycle` and of `initContainers`: as they were written, every value optional.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::spec::file::{Positive, Text};
use crate::spec::job::Choice;
use crate::spec::place::{Given, Origin};
use crate::spec::probes::{ExecKeys, HttpGetKeys, ProbeKeys};
use crate::spec::schema::without_null;

/// The keys of `lifecycle`.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, transform = without_null)]
pub struct HooksKeys {
    /// For each rank once its program runs, beside it; it is not ready before this is done, and ended if it fails.
    pub post_start: Option<HookKeys>,
    /// For each rank before its stop signal, within its grace: where the job is stopped or moved, not after a failure.
    pub pre_stop: Option<HookKeys>,
}

/// The keys of a hook: exactly one of `exec`, `httpGet` and `sleep`.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, transform = without_null)]
pub struct HookKeys {
    /// A program that ends with 0, in the rank's environment and directory.
    pub exec: Option<ExecKeys>,
    /// GET over HTTP/1.1 that is answered with 200 to 399.
    pub http_get: Option<HttpGetKeys>,
    /// Nothing but time.
    pub sleep: Option<SleepKeys>,
    #[schemars(skip)]
    pub origin: Origin,
}

/// The keys of `sleep`.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, transform = without_null)]
pub struct SleepKeys {
    /// How long, seconds.
    pub seconds: Option<Given<Positive>>,
    #[schemars(skip)]
    pub origin: Origin,
}

/// The keys of an init container.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, transform = without_null)]
pub struct InitKeys {
    /// What messages and log files call it.
    #[schemars(regex(pattern = "^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$"))]
    pub name: Option<Given<String>>,
    /// Program and arguments. No shell reads them.
    #[schemars(length(min = 1))]
    pub command: Option<Given<Vec<Text>>>,
    /// Variables for it alone, over those of the job.
    #[schemars(default)]
    pub env: BTreeMap<String, Given<Text>>,
    /// `Always` makes it a sidecar: it runs beside the ranks. Default: it runs to its end before they start.
    pub restart_policy: Option<Given<InitRestart>>,
    /// Of a sidecar: what comes after it waits until this is good.
    pub startup_probe: Option<ProbeKeys>,
    #[schemars(skip)]
    pub origin: Origin,
}

/// What an init container may say of its restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum InitRestart {
    /// It is a sidecar.
    Always,
}

impl Choice for InitRestart {
    const CHOICES: &'static [(&'static str, InitRestart)] = &[("Always", InitRestart::Always)];
}
