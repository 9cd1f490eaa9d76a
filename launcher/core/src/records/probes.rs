//! The probes of a job, as they are stored.

use std::net::IpAddr;
use std::time::Duration;

use phalanx_common::spec::{LogPattern, Probe, ProbeHandler, ProbePort, Probes};
use serde::{Deserialize, Serialize};

/// See [`Probes`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbesRecord {
    pub startup: Option<ProbeRecord>,
    pub readiness: Option<ProbeRecord>,
    pub liveness: Option<ProbeRecord>,
}

/// See [`Probe`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeRecord {
    pub handler: HandlerRecord,
    pub initial_delay: Duration,
    pub timeout: Duration,
    pub period: Duration,
    pub success_threshold: u32,
    pub failure_threshold: u32,
    pub grace: Option<Duration>,
}

/// See [`ProbeHandler`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HandlerRecord {
    Exec { command: Vec<String> },
    HttpGet { path: String, at: PortRecord, headers: Vec<(String, String)> },
    TcpSocket { at: PortRecord },
    Notify,
    Log { pattern: String },
}

/// See [`ProbePort`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRecord {
    pub host: Option<IpAddr>,
    pub port: u16,
    pub per_local_rank: bool,
}

impl From<&Probes> for ProbesRecord {
    fn from(probes: &Probes) -> ProbesRecord {
        let Probes { startup, readiness, liveness } = probes.clone();
        ProbesRecord {
            startup: startup.map(Into::into),
            readiness: readiness.map(Into::into),
            liveness: liveness.map(Into::into),
        }
    }
}

impl From<&ProbesRecord> for Probes {
    fn from(record: &ProbesRecord) -> Probes {
        let ProbesRecord { startup, readiness, liveness } = record.clone();
        Probes {
            startup: startup.map(Into::into),
            readiness: readiness.map(Into::into),
            liveness: liveness.map(Into::into),
        }
    }
}

impl From<Probe> for ProbeRecord {
    fn from(probe: Probe) -> ProbeRecord {
        let Probe { initial_delay, timeout, period, success_threshold, failure_threshold, grace, .. } = probe;
        let handler = match probe.handler {
            ProbeHandler::Exec { command } => HandlerRecord::Exec { command },
            ProbeHandler::HttpGet { path, at, headers } => {
                HandlerRecord::HttpGet { path, at: at.into(), headers }
            }
            ProbeHandler::TcpSocket { at } => HandlerRecord::TcpSocket { at: at.into() },
            ProbeHandler::Notify => HandlerRecord::Notify,
            ProbeHandler::Log { pattern } => HandlerRecord::Log { pattern: pattern.as_str().to_owned() },
        };
        ProbeRecord { handler, initial_delay, timeout, period, success_threshold, failure_threshold, grace }
    }
}

impl From<ProbeRecord> for Probe {
    fn from(record: ProbeRecord) -> Probe {
        let ProbeRecord {
            initial_delay, timeout, period, success_threshold, failure_threshold, grace, ..
        } = record;
        let handler = match record.handler {
            HandlerRecord::Exec { command } => ProbeHandler::Exec { command },
            HandlerRecord::HttpGet { path, at, headers } => {
                ProbeHandler::HttpGet { path, at: at.into(), headers }
            }
            HandlerRecord::TcpSocket { at } => ProbeHandler::TcpSocket { at: at.into() },
            HandlerRecord::Notify => ProbeHandler::Notify,
            HandlerRecord::Log { pattern } => {
                ProbeHandler::Log { pattern: LogPattern::from_existing(pattern) }
            }
        };
        Probe { handler, initial_delay, timeout, period, success_threshold, failure_threshold, grace }
    }
}

impl From<ProbePort> for PortRecord {
    fn from(at: ProbePort) -> PortRecord {
        let ProbePort { host, port, per_local_rank } = at;
        PortRecord { host, port, per_local_rank }
    }
}

impl From<PortRecord> for ProbePort {
    fn from(record: PortRecord) -> ProbePort {
        let PortRecord { host, port, per_local_rank } = record;
        ProbePort { host, port, per_local_rank }
    }
}
