//! The keys of a probe: as they were written, every value optional.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{MAX_HEADERS, MAX_PATTERN};
use crate::spec::file::{MAX_SECONDS, Positive, Seconds, Text};
use crate::spec::place::{Given, Origin};
use crate::spec::schema::without_null;

/// The keys of a probe: exactly one of `exec`, `httpGet`, `tcpSocket`, `notify` and `log`, and when it asks.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, transform = without_null)]
pub struct ProbeKeys {
    /// A program that ends with 0, in the rank's environment and directory.
    pub exec: Option<ExecKeys>,
    /// GET over HTTP/1.1 that is answered with 200 to 399.
    pub http_get: Option<HttpGetKeys>,
    /// A port that takes connections.
    pub tcp_socket: Option<TcpSocketKeys>,
    /// READY=1 on the rank's NOTIFY_SOCKET; for liveness WATCHDOG=1, again and again.
    pub notify: Option<NotifyKeys>,
    /// A line of the rank's output; for liveness one after another.
    pub log: Option<LogKeys>,
    /// Seconds from the start of the program to the first probe. Default: 0.
    pub initial_delay_seconds: Option<Given<Seconds>>,
    /// Seconds after which no answer is a failure. Default: 1.
    pub timeout_seconds: Option<Given<Positive>>,
    /// Seconds from one probe to the next. Default: 10.
    pub period_seconds: Option<Given<Period>>,
    /// Successes in a row that make it good; for startup and liveness, and for notify and log, 1. Default: 1.
    #[schemars(range(min = 1))]
    pub success_threshold: Option<Given<u32>>,
    /// Failures in a row that make it bad. Default: 3.
    #[schemars(range(min = 1))]
    pub failure_threshold: Option<Given<u32>>,
    /// Seconds between the stop signal and SIGKILL for a rank that a startup or liveness probe ends. Default: the
    /// job's.
    pub termination_grace_period_seconds: Option<Given<Positive>>,
    /// Where the probe was written.
    #[schemars(skip)]
    pub origin: Origin,
}

/// The keys of `exec`.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, transform = without_null)]
pub struct ExecKeys {
    /// Program and arguments. No shell reads them.
    #[schemars(length(min = 1))]
    pub command: Option<Given<Vec<Text>>>,
    #[schemars(skip)]
    pub origin: Origin,
}

/// The keys of `httpGet`.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, transform = without_null)]
pub struct HttpGetKeys {
    /// What is asked for. Default: /.
    #[schemars(regex(pattern = "^/"))]
    pub path: Option<Given<String>>,
    /// Where the rank listens.
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<Given<u32>>,
    /// The port is that of the first rank on a node, and the others have those behind it: the rank with LOCAL_RANK k
    /// listens on port + k. Default: false.
    pub port_per_local_rank: Option<Given<bool>>,
    /// An IP address, or localhost. Default: 127.0.0.1.
    pub host: Option<Given<String>>,
    /// HTTP alone. Default: HTTP.
    #[schemars(default, schema_with = "http_alone")]
    pub scheme: Option<Given<String>>,
    /// Headers of the request.
    #[schemars(default, length(max = MAX_HEADERS))]
    pub http_headers: Vec<HeaderKeys>,
    #[schemars(skip)]
    pub origin: Origin,
}

/// A header of a request.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, transform = without_null)]
pub struct HeaderKeys {
    pub name: Option<Given<String>>,
    pub value: Option<Given<String>>,
    #[schemars(skip)]
    pub origin: Origin,
}

/// The keys of `tcpSocket`.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, transform = without_null)]
pub struct TcpSocketKeys {
    /// Where the rank listens.
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<Given<u32>>,
    /// As in `httpGet`. Default: false.
    pub port_per_local_rank: Option<Given<bool>>,
    /// An IP address, or localhost. Default: 127.0.0.1.
    pub host: Option<Given<String>>,
    #[schemars(skip)]
    pub origin: Origin,
}

/// `notify` has no keys.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct NotifyKeys {
    #[schemars(skip)]
    pub origin: Origin,
}

/// The keys of `log`.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, transform = without_null)]
pub struct LogKeys {
    /// A regular expression that is somewhere in the line.
    #[schemars(length(min = 1, max = MAX_PATTERN))]
    pub pattern: Option<Given<String>>,
    #[schemars(skip)]
    pub origin: Origin,
}

fn http_alone(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"enum": ["HTTP"]})
}

/// A time in seconds, a tenth or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period(pub Duration);

impl JsonSchema for Period {
    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "number", "minimum": 0.1, "maximum": MAX_SECONDS})
    }
}
