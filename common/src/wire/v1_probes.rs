//! Probes and what they found: messages of version 1, and domain types to them and back.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::v1_convert::{clipped, same_variants};
use crate::health::{self, MAX_MESSAGE, MAX_STATUS};
use crate::id::Rank;
use crate::spec::{self, LogPattern};
use crate::time::Timestamp;

/// Times are microseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    pub kind: ProbeKind,
    pub handler: ProbeHandler,
    pub initial_delay: u64,
    pub timeout: u64,
    pub period: u64,
    pub success_threshold: u32,
    pub failure_threshold: u32,
    pub grace: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProbeKind {
    Startup,
    Readiness,
    Liveness,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProbeHandler {
    Exec { command: Vec<String> },
    HttpGet { path: String, at: ProbePort, headers: Vec<(String, String)> },
    TcpSocket { at: ProbePort },
    Notify,
    Log { pattern: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbePort {
    pub host: Option<IpAddr>,
    pub port: u16,
    pub per_local_rank: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    Startup,
    Readiness,
    Liveness,
    PostStart,
    PreStop,
    Init,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankHealth {
    pub rank: u32,
    pub ready: bool,
    pub waits: Option<ProbeWord>,
    pub status: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeWord {
    pub probe: Question,
    pub message: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeFailure {
    pub probe: Question,
    pub message: String,
    pub at_micros: u64,
}

same_variants!(spec::ProbeKind, ProbeKind, Startup, Readiness, Liveness);
same_variants!(health::Question, Question, Startup, Readiness, Liveness, PostStart, PreStop, Init);

pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// All probes of a job.
pub(super) fn from_domain(probes: &spec::Probes) -> Vec<Probe> {
    probes.iter().map(|(kind, probe)| wire(kind, probe)).collect()
}

/// One probe.
pub(super) fn wire(kind: spec::ProbeKind, probe: &spec::Probe) -> Probe {
    Probe {
        kind: kind.into(),
        handler: probe.handler.clone().into(),
        initial_delay: micros(probe.initial_delay),
        timeout: micros(probe.timeout),
        period: micros(probe.period),
        success_threshold: probe.success_threshold,
        failure_threshold: probe.failure_threshold,
        grace: probe.grace.map(micros),
    }
}

/// The same back; of several of a kind the last one counts.
pub(super) fn to_domain(probes: Vec<Probe>) -> spec::Probes {
    let mut found = spec::Probes::default();
    for it in probes {
        match it.kind {
            ProbeKind::Startup => found.startup = Some(it.into()),
            ProbeKind::Readiness => found.readiness = Some(it.into()),
            ProbeKind::Liveness => found.liveness = Some(it.into()),
        }
    }
    found
}

impl From<Probe> for spec::Probe {
    fn from(it: Probe) -> spec::Probe {
        spec::Probe {
            handler: it.handler.into(),
            initial_delay: Duration::from_micros(it.initial_delay),
            timeout: Duration::from_micros(it.timeout),
            period: Duration::from_micros(it.period),
            success_threshold: it.success_threshold,
            failure_threshold: it.failure_threshold,
            grace: it.grace.map(Duration::from_micros),
        }
    }
}

impl From<spec::ProbeHandler> for ProbeHandler {
    fn from(handler: spec::ProbeHandler) -> ProbeHandler {
        match handler {
            spec::ProbeHandler::Exec { command } => ProbeHandler::Exec { command },
            spec::ProbeHandler::HttpGet { path, at, headers } => {
                ProbeHandler::HttpGet { path, at: at.into(), headers }
            }
            spec::ProbeHandler::TcpSocket { at } => ProbeHandler::TcpSocket { at: at.into() },
            spec::ProbeHandler::Notify => ProbeHandler::Notify,
            spec::ProbeHandler::Log { pattern } => ProbeHandler::Log { pattern: pattern.as_str().to_owned() },
        }
    }
}

impl From<ProbeHandler> for spec::ProbeHandler {
    fn from(handler: ProbeHandler) -> spec::ProbeHandler {
        match handler {
            ProbeHandler::Exec { command } => spec::ProbeHandler::Exec { command },
            ProbeHandler::HttpGet { path, at, headers } => {
                spec::ProbeHandler::HttpGet { path, at: at.into(), headers }
            }
            ProbeHandler::TcpSocket { at } => spec::ProbeHandler::TcpSocket { at: at.into() },
            ProbeHandler::Notify => spec::ProbeHandler::Notify,
            ProbeHandler::Log { pattern } => {
                spec::ProbeHandler::Log { pattern: LogPattern::from_existing(pattern) }
            }
        }
    }
}

impl From<spec::ProbePort> for ProbePort {
    fn from(at: spec::ProbePort) -> ProbePort {
        let spec::ProbePort { host, port, per_local_rank } = at;
        ProbePort { host, port, per_local_rank }
    }
}

impl From<ProbePort> for spec::ProbePort {
    fn from(at: ProbePort) -> spec::ProbePort {
        let ProbePort { host, port, per_local_rank } = at;
        spec::ProbePort { host, port, per_local_rank }
    }
}

impl From<health::RankHealth> for RankHealth {
    fn from(health: health::RankHealth) -> RankHealth {
        let health::RankHealth { rank, ready, waits, status } = health;
        let waits = waits.map(|it| ProbeWord { probe: it.probe.into(), message: it.message });
        RankHealth { rank: rank.0, ready, waits, status }
    }
}

impl From<RankHealth> for health::RankHealth {
    fn from(health: RankHealth) -> health::RankHealth {
        let RankHealth { rank, ready, waits, status } = health;
        let waits = waits.map(|it| health::ProbeWord {
            probe: it.probe.into(),
            message: clipped(it.message, MAX_MESSAGE),
        });
        let status = status.map(|status| clipped(status, MAX_STATUS));
        health::RankHealth { rank: Rank(rank), ready, waits, status }
    }
}

impl From<health::ProbeFailure> for ProbeFailure {
    fn from(failure: health::ProbeFailure) -> ProbeFailure {
        let health::ProbeFailure { probe, message, at } = failure;
        ProbeFailure { probe: probe.into(), message, at_micros: at.0 }
    }
}

impl From<ProbeFailure> for health::ProbeFailure {
    fn from(failure: ProbeFailure) -> health::ProbeFailure {
        let ProbeFailure { probe, message, at_micros } = failure;
        let message = clipped(message, MAX_MESSAGE);
        health::ProbeFailure { probe: probe.into(), message, at: Timestamp(at_micros) }
    }
}
