//! What can be wrong with a probe, and how it is put into words.

use std::time::Duration;

use super::{MAX_HEADERS, MAX_PATTERN, ProbeKind};
use crate::spec::error::{At, Place};

/// The handlers, as messages name them.
const HANDLERS: &str = "exec, httpGet, tcpSocket, notify and log";

/// What is wrong with a probe.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeProblem {
    #[error("a probe has one of {HANDLERS}, and this one has none")]
    NoHandler,
    #[error("a probe has one of {HANDLERS}; {first} is there already ({})", At(at))]
    TwoHandlers { first: &'static str, at: Place },
    #[error("the key {0} is missing")]
    Missing(&'static str),
    #[error("a {0} probe is good after one success: successThreshold is 1, or left out")]
    OneSuccess(ProbeKind),
    #[error("{0} is said once, and once is enough: successThreshold is 1, or left out")]
    SaidOnce(&'static str),
    #[error(
        "a readiness probe ends no rank, so it has no grace; startupProbe and livenessProbe may have a terminationGracePeriodSeconds"
    )]
    ReadinessGrace,
    #[error(
        "the first probe comes after {} s, and the job fails if it is not ready within {} s (startTimeoutSeconds)",
        delay.as_secs_f64(),
        deadline.as_secs_f64()
    )]
    AfterDeadline { delay: Duration, deadline: Duration },
    #[error(
        "HTTPS is not spoken here, because nothing of the answer could be verified; ask with `exec: {{command: [curl, -fsk, \"https://…\"]}}`, or listen on plain HTTP too"
    )]
    Https,
    #[error("port {port} and one more for each of {ranks} ranks on a node go beyond 65535")]
    PortsEnd { port: u16, ranks: u32 },
    #[error("a request has at most {MAX_HEADERS} headers")]
    TooManyHeaders,
    #[error("a pattern has from 1 to {MAX_PATTERN} bytes, and this one has {bytes}")]
    PatternLength { bytes: usize },
    #[error("the pattern is no regular expression that can be used: {why}")]
    Pattern { why: String },
    #[error(
        "the job sets NOTIFY_SOCKET itself ({}), so nothing that its ranks say arrives here; leave one of the two out",
        At(at)
    )]
    NotifyTaken { at: Place },
}
