//! From the keys of probes to probes.

use std::time::Duration;

use super::keys::{ExecKeys, HttpGetKeys, ProbeKeys};
use super::{LogPattern, Probe, ProbeHandler, ProbeKind, ProbePort, ProbeProblem, Probes, read};
use crate::defaults;
use crate::spec::error::Problem;
use crate::spec::file::JobFile;
use crate::spec::job::Shape;
use crate::spec::place::{Given, Origin};

impl JobFile {
    /// Fills in the defaults of the probes and checks what depends on more than one value.
    ///
    /// # Errors
    /// All that is wrong with them, at least one problem.
    pub(in crate::spec) fn resolve_probes(
        &self,
        shape: Shape,
        deadline: Duration,
    ) -> Result<Probes, Vec<Problem>> {
        let mut reader = Reader { asked: Asked::new(self, shape), within: "", deadline };
        let probes = Probes {
            startup: reader.probe(ProbeKind::Startup, &self.startup_probe),
            readiness: reader.probe(ProbeKind::Readiness, &self.readiness_probe),
            liveness: reader.probe(ProbeKind::Liveness, &self.liveness_probe),
        };
        if reader.asked.problems.is_empty() { Ok(probes) } else { Err(reader.asked.problems) }
    }
}

impl<'a> Asked<'a> {
    /// The startup probe of something that is no rank; `within` is what its path begins with.
    pub(in crate::spec) fn startup(
        self,
        within: &str,
        keys: &Option<ProbeKeys>,
        deadline: Duration,
    ) -> (Asked<'a>, Option<Probe>) {
        let mut reader = Reader { asked: self, within, deadline };
        let probe = reader.probe(ProbeKind::Startup, keys);
        (reader.asked, probe)
    }
}

struct Reader<'a, 'p> {
    asked: Asked<'a>,
    /// What its path begins with.
    within: &'p str,
    /// By then the job is ready, or fails.
    deadline: Duration,
}

impl Reader<'_, '_> {
    fn probe(&mut self, kind: ProbeKind, keys: &Option<ProbeKeys>) -> Option<Probe> {
        let keys = keys.as_ref()?;
        let handler = self.handler(kind, keys)?;
        if let Some(given) = keys.success_threshold.as_ref().filter(|given| given.value > 1) {
            let problem = match (kind, &handler) {
                (ProbeKind::Readiness, handler) if handler.is_told() => {
                    Some(ProbeProblem::SaidOnce(handler.word()))
                }
                (ProbeKind::Readiness, _) => None,
                (kind, _) => Some(ProbeProblem::OneSuccess(kind)),
            };
            problem.into_iter().for_each(|problem| {
                self.problem(kind, "successThreshold", &given.origin, problem);
            });
        }
        if let (ProbeKind::Readiness, Some(given)) = (kind, &keys.termination_grace_period_seconds) {
            let key = "terminationGracePeriodSeconds";
            self.problem(kind, key, &given.origin, ProbeProblem::ReadinessGrace);
        }
        let delay = keys.initial_delay_seconds.as_ref();
        if let Some(given) =
            delay.filter(|given| kind != ProbeKind::Liveness && given.value.0 >= self.deadline)
        {
            let problem = ProbeProblem::AfterDeadline { delay: given.value.0, deadline: self.deadline };
            self.problem(kind, "initialDelaySeconds", &given.origin, problem);
        }
        Some(Probe {
            handler,
            initial_delay: delay.map_or(Duration::ZERO, |given| given.value.0),
            timeout: keys.timeout_seconds.as_ref().map_or(defaults::PROBE_TIMEOUT, |given| given.value.0),
            period: keys.period_seconds.as_ref().map_or(defaults::PROBE_PERIOD, |given| given.value.0),
            success_threshold: value(&keys.success_threshold, defaults::PROBE_SUCCESSES),
            failure_threshold: value(&keys.failure_threshold, defaults::PROBE_FAILURES),
            grace: keys.termination_grace_period_seconds.as_ref().map(|given| given.value.0),
        })
    }

    /// The one handler; `None` if there is none that could be, which is told.
    fn handler(&mut self, kind: ProbeKind, keys: &ProbeKeys) -> Option<ProbeHandler> {
        let mut found: Vec<(&'static str, &Origin)> = [
            keys.exec.as_ref().map(|it| ("exec", &it.origin)),
            keys.http_get.as_ref().map(|it| ("httpGet", &it.origin)),
            keys.tcp_socket.as_ref().map(|it| ("tcpSocket", &it.origin)),
            keys.notify.as_ref().map(|it| ("notify", &it.origin)),
            keys.log.as_ref().map(|it| ("log", &it.origin)),
        ]
        .into_iter()
        .flatten()
        .collect();
        found.sort_by_key(|(_, origin)| origin.position());
        let Some((first, at)) = found.first().copied() else {
            self.problem(kind, "", &keys.origin, ProbeProblem::NoHandler);
            return None;
        };
        if let Some((second, origin)) = found.get(1).copied() {
            let problem = ProbeProblem::TwoHandlers { first, at: self.asked.file.place_of(at) };
            self.problem(kind, second, origin, problem);
            return None;
        }
        let within = self.within;
        let path = |handler: &str| format!("{within}{}.{handler}", kind.key());
        if let Some(exec) = &keys.exec {
            let command = self.asked.command(&path("exec"), exec)?;
            return Some(ProbeHandler::Exec { command });
        }
        if let Some(get) = &keys.http_get {
            let HttpGet { path, at, headers } = self.asked.http_get(&path("httpGet"), get)?;
            return Some(ProbeHandler::HttpGet { path, at, headers });
        }
        if let Some(tcp) = &keys.tcp_socket {
            let at = At { port: &tcp.port, per_local_rank: &tcp.port_per_local_rank, host: &tcp.host };
            let at = self.asked.port(&path("tcpSocket"), &tcp.origin, at)?;
            return Some(ProbeHandler::TcpSocket { at });
        }
        if let Some(log) = &keys.log {
            let Some(pattern) = &log.pattern else {
                return self.asked.missing(&path("log"), &log.origin, "pattern");
            };
            return match LogPattern::new(&pattern.value) {
                Ok(pattern) => Some(ProbeHandler::Log { pattern }),
                Err(problem) => {
                    self.problem(kind, "log.pattern", &pattern.origin, problem);
                    None
                }
            };
        }
        if let (Some(taken), Some(notify)) = (self.asked.file.env.get("NOTIFY_SOCKET"), &keys.notify) {
            let problem = ProbeProblem::NotifyTaken { at: self.asked.file.place_of(&taken.origin) };
            self.problem(kind, "notify", &notify.origin, problem);
        }
        Some(ProbeHandler::Notify)
    }

    fn problem(&mut self, kind: ProbeKind, key: &str, origin: &Origin, problem: ProbeProblem) {
        let dot = if key.is_empty() { "" } else { "." };
        let path = format!("{}{}{dot}{key}", self.within, kind.key());
        self.asked.problem(&path, origin, problem);
    }
}

/// What is asked of ranks, by their probes and hooks; `path` is where it stands in the file.
pub(in crate::spec) struct Asked<'a> {
    pub(in crate::spec) file: &'a JobFile,
    shape: Shape,
    pub(in crate::spec) problems: Vec<Problem>,
}

/// A request to a rank.
pub(in crate::spec) struct HttpGet {
    pub(in crate::spec) path: String,
    pub(in crate::spec) at: ProbePort,
    pub(in crate::spec) headers: Vec<(String, String)>,
}

impl<'a> Asked<'a> {
    pub(in crate::spec) fn new(file: &'a JobFile, shape: Shape) -> Asked<'a> {
        Asked { file, shape, problems: Vec::new() }
    }

    pub(in crate::spec) fn command(&mut self, path: &str, exec: &ExecKeys) -> Option<Vec<String>> {
        let Some(command) = &exec.command else { return self.missing(path, &exec.origin, "command") };
        Some(command.value.iter().map(|word| word.0.clone()).collect())
    }

    pub(in crate::spec) fn http_get(&mut self, path: &str, get: &HttpGetKeys) -> Option<HttpGet> {
        let keys = At { port: &get.port, per_local_rank: &get.port_per_local_rank, host: &get.host };
        let at = self.port(path, &get.origin, keys)?;
        let mut headers = Vec::with_capacity(get.http_headers.len());
        for header in &get.http_headers {
            let within = format!("{path}.httpHeaders");
            match (&header.name, &header.value) {
                (Some(name), Some(value)) => headers.push((name.value.clone(), value.value.clone())),
                (None, _) => return self.missing(&within, &header.origin, "name"),
                (_, None) => return self.missing(&within, &header.origin, "value"),
            }
        }
        let path = get.path.as_ref().map_or_else(|| "/".to_owned(), |path| path.value.clone());
        Some(HttpGet { path, at, headers })
    }

    fn port(&mut self, path: &str, origin: &Origin, keys: At<'_>) -> Option<ProbePort> {
        let Some(given) = keys.port else { return self.missing(path, origin, "port") };
        let port = u16::try_from(given.value).unwrap_or(u16::MAX);
        let per_local_rank = keys.per_local_rank.as_ref().is_some_and(|given| given.value);
        let ranks = match self.shape {
            Shape::Nodes { ranks_per_node, .. } => ranks_per_node,
            Shape::Ranks(ranks) => ranks.min(defaults::MAX_RANKS_PER_NODE),
        };
        if per_local_rank && u32::from(port) + ranks.saturating_sub(1) > u16::MAX.into() {
            let problem = ProbeProblem::PortsEnd { port, ranks };
            self.problem(&format!("{path}.port"), &given.origin, problem);
        }
        let host = keys.host.as_ref().and_then(|host| read::address(&host.value));
        Some(ProbePort { host, port, per_local_rank })
    }

    pub(in crate::spec) fn missing<T>(&mut self, path: &str, at: &Origin, key: &'static str) -> Option<T> {
        self.problem(path, at, ProbeProblem::Missing(key));
        None
    }

    fn problem(&mut self, path: &str, origin: &Origin, problem: ProbeProblem) {
        self.problems.push(self.file.problem(path, origin, problem.into()));
    }
}

/// Where a rank listens, as it was written.
struct At<'a> {
    port: &'a Option<Given<u32>>,
    per_local_rank: &'a Option<Given<bool>>,
    host: &'a Option<Given<String>>,
}

fn value<T: Copy>(given: &Option<Given<T>>, default: T) -> T {
    given.as_ref().map_or(default, |given| given.value)
}
