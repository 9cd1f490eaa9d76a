//! From the tree of a file to the keys of a probe.

use super::keys::{ExecKeys, HeaderKeys, HttpGetKeys, LogKeys, NotifyKeys, ProbeKeys, TcpSocketKeys};
use super::{MAX_HEADERS, ProbeProblem, read};
use crate::spec::decoder::Decoder;
use crate::spec::keys;
use crate::spec::place::Origin;
use crate::spec::problem::Expected;
use crate::spec::read::{boolean, positive, seconds};
use crate::yaml::{Key, Node, Value};

impl Decoder<'_> {
    /// One of `startupProbe`, `readinessProbe` and `livenessProbe`.
    pub(in crate::spec) fn probe(&mut self, name: &'static str, origin: Origin, node: &Node) -> ProbeKeys {
        self.probe_at(name, name, origin, node)
    }

    /// The same that stands elsewhere.
    pub(in crate::spec) fn probe_at(
        &mut self,
        within: &str,
        name: &'static str,
        origin: Origin,
        node: &Node,
    ) -> ProbeKeys {
        let mut it = ProbeKeys::at(origin);
        for (key, node) in self.mapping(within, node, "keys such as `notify: {}`").unwrap_or_default() {
            let path = format!("{within}.{}", key.text);
            let origin = Origin::File(key.span);
            match key.text.as_str() {
                "exec" => it.exec = Some(self.exec(&path, origin, node)),
                "httpGet" => it.http_get = Some(self.http_get(&path, origin, node)),
                "tcpSocket" => it.tcp_socket = Some(self.tcp_socket(&path, origin, node)),
                "notify" => {
                    for (key, _) in self.mapping(&path, node, "no keys: `notify: {}`").unwrap_or_default() {
                        self.unknown_in(key, "notify", &[]);
                    }
                    it.notify = Some(NotifyKeys { origin });
                }
                "log" => it.log = Some(self.log(&path, origin, node)),
                "initialDelaySeconds" => it.initial_delay_seconds = self.scalar(&path, node, seconds),
                "timeoutSeconds" => it.timeout_seconds = self.scalar(&path, node, positive),
                "periodSeconds" => it.period_seconds = self.scalar(&path, node, read::period),
                "successThreshold" => it.success_threshold = self.scalar(&path, node, read::threshold),
                "failureThreshold" => it.failure_threshold = self.scalar(&path, node, read::threshold),
                "terminationGracePeriodSeconds" => {
                    it.termination_grace_period_seconds = self.scalar(&path, node, positive);
                }
                _ => self.unknown_in(key, name, keys::PROBE),
            }
        }
        it
    }

    pub(in crate::spec) fn exec(&mut self, path: &str, origin: Origin, node: &Node) -> ExecKeys {
        let mut it = ExecKeys { command: None, origin };
        for (key, node) in self.mapping(path, node, "a command: `command: [program]`").unwrap_or_default() {
            match key.text.as_str() {
                "command" => it.command = self.command(&format!("{path}.command"), node),
                _ => self.unknown_in(key, "exec", keys::EXEC),
            }
        }
        it
    }

    pub(in crate::spec) fn http_get(&mut self, within: &str, origin: Origin, node: &Node) -> HttpGetKeys {
        let mut it = HttpGetKeys {
            path: None,
            port: None,
            port_per_local_rank: None,
            host: None,
            scheme: None,
            http_headers: Vec::new(),
            origin,
        };
        for (key, node) in self.mapping(within, node, "keys such as `port: 8000`").unwrap_or_default() {
            let path = format!("{within}.{}", key.text);
            match key.text.as_str() {
                "path" => it.path = self.scalar(&path, node, read::path),
                "port" => it.port = self.scalar(&path, node, read::port),
                "portPerLocalRank" => it.port_per_local_rank = self.scalar(&path, node, boolean),
                "host" => it.host = self.scalar(&path, node, read::host),
                "scheme" => it.scheme = self.scalar(&path, node, read::scheme),
                "httpHeaders" => it.http_headers = self.headers(&path, node),
                _ => self.unknown_in(key, "httpGet", keys::HTTP_GET),
            }
        }
        it
    }

    fn headers(&mut self, within: &str, node: &Node) -> Vec<HeaderKeys> {
        let Value::List(items) = &node.value else {
            self.expected(within, node, Expected::List("headers such as `{name: X-Probe, value: yes}`"));
            return Vec::new();
        };
        if items.len() > MAX_HEADERS {
            self.problem(node.span, Some(within.to_owned()), ProbeProblem::TooManyHeaders.into());
            return Vec::new();
        }
        let mut headers = Vec::with_capacity(items.len());
        for (i, item) in items.iter().enumerate() {
            let path = format!("{within}[{i}]");
            let mut header = HeaderKeys { name: None, value: None, origin: Origin::File(item.span) };
            for (key, node) in self.mapping(&path, item, "name and value").unwrap_or_default() {
                let path = format!("{path}.{}", key.text);
                match key.text.as_str() {
                    "name" => header.name = self.scalar(&path, node, read::header_name),
                    "value" => header.value = self.scalar(&path, node, read::header_value),
                    _ => self.unknown_in(key, "a header", keys::HEADER),
                }
            }
            headers.push(header);
        }
        headers
    }

    fn tcp_socket(&mut self, within: &str, origin: Origin, node: &Node) -> TcpSocketKeys {
        let mut it = TcpSocketKeys { port: None, port_per_local_rank: None, host: None, origin };
        for (key, node) in self.mapping(within, node, "keys such as `port: 8000`").unwrap_or_default() {
            let path = format!("{within}.{}", key.text);
            match key.text.as_str() {
                "port" => it.port = self.scalar(&path, node, read::port),
                "portPerLocalRank" => it.port_per_local_rank = self.scalar(&path, node, boolean),
                "host" => it.host = self.scalar(&path, node, read::host),
                _ => self.unknown_in(key, "tcpSocket", keys::TCP_SOCKET),
            }
        }
        it
    }

    fn log(&mut self, path: &str, origin: Origin, node: &Node) -> LogKeys {
        let mut it = LogKeys { pattern: None, origin };
        for (key, node) in self.mapping(path, node, "a pattern: `pattern: TEXT`").unwrap_or_default() {
            match key.text.as_str() {
                "pattern" => it.pattern = self.scalar(&format!("{path}.pattern"), node, read::pattern),
                _ => self.unknown_in(key, "log", keys::LOG),
            }
        }
        it
    }

    pub(in crate::spec) fn unknown_in(
        &mut self,
        key: &Key,
        within: &'static str,
        known: &'static [&'static str],
    ) {
        self.unknown(key, Some(within), |name| keys::nearest(name, known), known);
    }
}

impl ProbeKeys {
    /// One of which nothing is known but where it was written.
    fn at(origin: Origin) -> ProbeKeys {
        ProbeKeys {
            exec: None,
            http_get: None,
            tcp_socket: None,
            notify: None,
            log: None,
            initial_delay_seconds: None,
            timeout_seconds: None,
            period_seconds: None,
            success_threshold: None,
            failure_threshold: None,
            termination_grace_period_seconds: None,
            origin,
        }
    }
}
