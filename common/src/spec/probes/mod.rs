//! Probes of a rank: how the shim finds out that it has started, is ready and is alive. Names, defaults and rules are
//! Kubernetes', with two handlers more.
//!
//! ```text
//! keys.rs      as it was written       <- decode.rs
//! resolve.rs   from there to the types of this page
//! document.rs  from the types of this page to a job file again
//! ```

mod decode;
mod document;
mod keys;
mod problem;
mod read;
mod resolve;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use keys::{ExecKeys, HeaderKeys, HttpGetKeys, LogKeys, NotifyKeys, Period, ProbeKeys, TcpSocketKeys};
pub use problem::ProbeProblem;

pub(super) use document::{Document as ProbeDocument, Handler as HandlerDocument, Probes as ProbesDocument};
pub(super) use resolve::{Asked, HttpGet};

/// Longest pattern of a `log` probe, bytes.
pub const MAX_PATTERN: usize = 1024;
/// Most bytes that a pattern takes once it is compiled: a rank's output waits for no monster.
const MAX_COMPILED: usize = 256 << 10;
/// Most headers of a request.
pub const MAX_HEADERS: usize = 32;
/// The shortest period: an `exec` probe is a process each time.
pub const MIN_PERIOD: Duration = Duration::from_millis(100);

/// The probes of each rank of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probes {
    pub startup: Option<Probe>,
    pub readiness: Option<Probe>,
    pub liveness: Option<Probe>,
}

/// Which question a probe asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProbeKind {
    /// Has it started? Until it has, the others wait.
    Startup,
    /// Is it ready? The gang is Running when every rank is.
    Readiness,
    /// Is it alive? If not, it is ended.
    Liveness,
}

/// One probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    pub handler: ProbeHandler,
    /// From the start of the program to the first probe.
    pub initial_delay: Duration,
    /// An answer that takes longer is a failure.
    pub timeout: Duration,
    pub period: Duration,
    /// So many in a row make it good; 1 for all but readiness.
    pub success_threshold: u32,
    /// So many in a row make it bad.
    pub failure_threshold: u32,
    /// From the stop signal to SIGKILL for a rank that this probe ends; `None`: as the job has it.
    pub grace: Option<Duration>,
}

/// How a probe asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProbeHandler {
    /// A program that ends with 0, in the rank's environment.
    Exec { command: Vec<String> },
    /// GET over HTTP/1.1 that is answered with 200 to 399.
    HttpGet { path: String, at: ProbePort, headers: Vec<(String, String)> },
    /// A port that takes connections.
    TcpSocket { at: ProbePort },
    /// What the rank says on its socket in NOTIFY_SOCKET, sd_notify(3): READY=1, for liveness WATCHDOG=1.
    Notify,
    /// A line of its output that has this in it; for liveness, again and again.
    Log { pattern: LogPattern },
}

/// Where a rank listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbePort {
    /// `None`: the loopback address, 127.0.0.1.
    pub host: Option<std::net::IpAddr>,
    pub port: u16,
    /// The port is that of the first rank on the node; the others have those behind it.
    pub per_local_rank: bool,
}

impl ProbePort {
    /// Where this rank listens. The sum was checked when the job was read.
    pub fn address(&self, local_rank: u32) -> std::net::SocketAddr {
        let above = if self.per_local_rank { u16::try_from(local_rank).unwrap_or(u16::MAX) } else { 0 };
        let host = self.host.unwrap_or(std::net::Ipv4Addr::LOCALHOST.into());
        (host, self.port.saturating_add(above)).into()
    }
}

/// A regular expression over the bytes of a line, ASCII classes, without its line end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPattern(String);

impl LogPattern {
    /// # Errors
    /// It is empty or too long, no regular expression, or one that takes too much memory.
    pub fn new(text: &str) -> Result<LogPattern, ProbeProblem> {
        if text.is_empty() || text.len() > MAX_PATTERN {
            return Err(ProbeProblem::PatternLength { bytes: text.len() });
        }
        let pattern = LogPattern(text.to_owned());
        match pattern.compile() {
            Ok(_) => Ok(pattern),
            Err(error) => Err(ProbeProblem::Pattern { why: why(&error) }),
        }
    }

    /// One that was read before: it came with a plan or a record.
    pub fn from_existing(text: impl Into<String>) -> LogPattern {
        LogPattern(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// # Errors
    /// None for one that was made by `new`; a plan of another version may hold anything.
    pub fn compile(&self) -> Result<regex::bytes::Regex, regex::Error> {
        regex::bytes::RegexBuilder::new(&self.0)
            .unicode(false)
            .size_limit(MAX_COMPILED)
            .dfa_size_limit(MAX_COMPILED)
            .build()
    }
}

impl fmt::Display for LogPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// In one line: the crate draws the pattern and points at the place.
fn why(error: &regex::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once("error: ") {
        Some((_, why)) => why.trim().to_owned(),
        None => text.lines().map(str::trim).collect::<Vec<_>>().join(" "),
    }
}

impl ProbeKind {
    /// All of them, in the order in which they begin.
    pub const ALL: [ProbeKind; 3] = [ProbeKind::Startup, ProbeKind::Readiness, ProbeKind::Liveness];

    /// `startup`, `readiness` or `liveness`.
    pub fn word(self) -> &'static str {
        match self {
            ProbeKind::Startup => "startup",
            ProbeKind::Readiness => "readiness",
            ProbeKind::Liveness => "liveness",
        }
    }

    /// Its key in a job file.
    pub(super) fn key(self) -> &'static str {
        match self {
            ProbeKind::Startup => "startupProbe",
            ProbeKind::Readiness => "readinessProbe",
            ProbeKind::Liveness => "livenessProbe",
        }
    }
}

impl fmt::Display for ProbeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Probes {
    /// The probe of this kind.
    pub fn get(&self, kind: ProbeKind) -> Option<&Probe> {
        match kind {
            ProbeKind::Startup => self.startup.as_ref(),
            ProbeKind::Readiness => self.readiness.as_ref(),
            ProbeKind::Liveness => self.liveness.as_ref(),
        }
    }

    /// Each that there is.
    pub fn iter(&self) -> impl Iterator<Item = (ProbeKind, &Probe)> {
        ProbeKind::ALL.into_iter().filter_map(|kind| Some((kind, self.get(kind)?)))
    }

    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// A rank is not ready before a probe said so.
    pub fn gate(&self) -> bool {
        self.startup.is_some() || self.readiness.is_some()
    }

    /// How long a rank may be silent on its notify socket, for WATCHDOG_USEC; `None`: as long as it likes.
    pub fn watchdog(&self) -> Option<Duration> {
        let liveness = self.liveness.as_ref().filter(|probe| probe.handler == ProbeHandler::Notify)?;
        Some(liveness.period.saturating_mul(liveness.failure_threshold))
    }

    /// The text in them that is as long as its writer likes, bytes.
    pub(super) fn text_bytes(&self) -> usize {
        self.iter().map(|(_, probe)| probe.handler.text_bytes()).sum()
    }
}

impl ProbeHandler {
    /// The rank speaks by itself; otherwise it is asked.
    pub fn is_told(&self) -> bool {
        matches!(self, ProbeHandler::Notify | ProbeHandler::Log { .. })
    }

    /// The text in it that is as long as its writer likes, bytes.
    pub(super) fn text_bytes(&self) -> usize {
        match self {
            ProbeHandler::Exec { command } => command.iter().map(String::len).sum(),
            ProbeHandler::HttpGet { path, headers, .. } => {
                path.len() + headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
            }
            ProbeHandler::Log { pattern } => pattern.0.len(),
            ProbeHandler::TcpSocket { .. } | ProbeHandler::Notify => 0,
        }
    }

    /// Its key in a job file.
    pub fn word(&self) -> &'static str {
        match self {
            ProbeHandler::Exec { .. } => "exec",
            ProbeHandler::HttpGet { .. } => "httpGet",
            ProbeHandler::TcpSocket { .. } => "tcpSocket",
            ProbeHandler::Notify => "notify",
            ProbeHandler::Log { .. } => "log",
        }
    }
}
