//! Hooks and init containers as keys of a job file again.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Hook, InitContainer, InitRestart};
use crate::exit::signal_name;
use crate::spec::document::seconds;
use crate::spec::job::JobSpec;
use crate::spec::probes::{HandlerDocument, ProbeDocument};

/// What is done before a pod's ranks run, beside them, and at their ends; what there is not is left out.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::spec) struct Lifecycle<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_signal: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lifecycle: Option<Hooks<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    init_containers: Vec<Init<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    init_once: bool,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Hooks<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    post_start: Option<Document<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pre_stop: Option<Document<'a>>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
enum Document<'a> {
    Sleep { sleep: Sleep },
    Asked(HandlerDocument<'a>),
}

#[derive(Clone, Debug, Serialize)]
struct Sleep {
    seconds: f64,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Init<'a> {
    name: &'a str,
    command: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    env: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    restart_policy: Option<InitRestart>,
    #[serde(skip_serializing_if = "Option::is_none")]
    startup_probe: Option<ProbeDocument<'a>>,
}

impl<'a> From<&'a JobSpec> for Lifecycle<'a> {
    fn from(spec: &'a JobSpec) -> Lifecycle<'a> {
        let lifecycle = &spec.lifecycle;
        let hook = |hook: &'a Option<Hook>| hook.as_ref().map(Into::into);
        let hooks = Hooks { post_start: hook(&lifecycle.post_start), pre_stop: hook(&lifecycle.pre_stop) };
        Lifecycle {
            stop_signal: lifecycle.stop_signal.and_then(signal_name),
            lifecycle: (hooks.post_start.is_some() || hooks.pre_stop.is_some()).then_some(hooks),
            init_containers: lifecycle.init.iter().map(Into::into).collect(),
            init_once: lifecycle.init_once,
        }
    }
}

impl<'a> From<&'a Hook> for Document<'a> {
    fn from(hook: &'a Hook) -> Document<'a> {
        match hook {
            Hook::Exec { command } => Document::Asked(HandlerDocument::Exec { command }),
            Hook::HttpGet { path, at, headers } => {
                Document::Asked(HandlerDocument::http_get(path, at, headers))
            }
            Hook::Sleep(time) => Document::Sleep { sleep: Sleep { seconds: seconds(*time) } },
        }
    }
}

impl<'a> From<&'a InitContainer> for Init<'a> {
    fn from(init: &'a InitContainer) -> Init<'a> {
        Init {
            name: &init.name,
            command: &init.command,
            env: &init.env,
            restart_policy: init.sidecar.then_some(InitRestart::Always),
            startup_probe: init.startup.as_ref().map(Into::into),
        }
    }
}
