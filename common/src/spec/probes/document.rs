//! Probes as keys of a job file again.

use serde::Serialize;

use super::{Probe, ProbeHandler, ProbePort};
use crate::spec::document::seconds;
use crate::spec::job::JobSpec;

/// The probes that a job has, with nothing left to default.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::spec) struct Probes<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    startup_probe: Option<Document<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    readiness_probe: Option<Document<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    liveness_probe: Option<Document<'a>>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::spec) struct Document<'a> {
    #[serde(flatten)]
    handler: Handler<'a>,
    initial_delay_seconds: f64,
    timeout_seconds: f64,
    period_seconds: f64,
    success_threshold: u32,
    failure_threshold: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    termination_grace_period_seconds: Option<f64>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::spec) enum Handler<'a> {
    Exec {
        command: &'a [String],
    },
    #[serde(rename_all = "camelCase")]
    HttpGet {
        path: &'a str,
        #[serde(flatten)]
        at: Port,
        http_headers: Vec<Header<'a>>,
    },
    TcpSocket(Port),
    Notify {},
    Log {
        pattern: &'a str,
    },
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::spec) struct Port {
    port: u16,
    port_per_local_rank: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub(in crate::spec) struct Header<'a> {
    name: &'a str,
    value: &'a str,
}

impl<'a> From<&'a JobSpec> for Probes<'a> {
    fn from(spec: &'a JobSpec) -> Probes<'a> {
        let probes = &spec.probes;
        Probes {
            startup_probe: probes.startup.as_ref().map(Into::into),
            readiness_probe: probes.readiness.as_ref().map(Into::into),
            liveness_probe: probes.liveness.as_ref().map(Into::into),
        }
    }
}

impl<'a> From<&'a Probe> for Document<'a> {
    fn from(probe: &'a Probe) -> Document<'a> {
        Document {
            handler: (&probe.handler).into(),
            initial_delay_seconds: seconds(probe.initial_delay),
            timeout_seconds: seconds(probe.timeout),
            period_seconds: seconds(probe.period),
            success_threshold: probe.success_threshold,
            failure_threshold: probe.failure_threshold,
            termination_grace_period_seconds: probe.grace.map(seconds),
        }
    }
}

impl<'a> Handler<'a> {
    pub(in crate::spec) fn http_get(
        path: &'a str,
        at: &ProbePort,
        headers: &'a [(String, String)],
    ) -> Handler<'a> {
        let http_headers = headers.iter().map(|(name, value)| Header { name, value }).collect();
        Handler::HttpGet { path, at: at.into(), http_headers }
    }
}

impl<'a> From<&'a ProbeHandler> for Handler<'a> {
    fn from(handler: &'a ProbeHandler) -> Handler<'a> {
        match handler {
            ProbeHandler::Exec { command } => Handler::Exec { command },
            ProbeHandler::HttpGet { path, at, headers } => Handler::http_get(path, at, headers),
            ProbeHandler::TcpSocket { at } => Handler::TcpSocket(at.into()),
            ProbeHandler::Notify => Handler::Notify {},
            ProbeHandler::Log { pattern } => Handler::Log { pattern: pattern.as_str() },
        }
    }
}

impl From<&ProbePort> for Port {
    fn from(at: &ProbePort) -> Port {
        Port {
            port: at.port,
            port_per_local_rank: at.per_local_rank,
            host: at.host.map(|host| host.to_string()),
        }
    }
}
