//! The kinds of problems, and how each is put into words.

use std::fmt;

use super::error::{At, Place};
use super::file::MAX_SECONDS;
use super::lifecycle::LifecycleProblem;
use super::lifetime::LifetimeProblem;
use super::needs::{MAX_KIND, MAX_MODEL, NeedsProblem};
use super::probes::ProbeProblem;
use super::recovery::RecoveryProblem;
use crate::defaults::{MAX_NODES, MAX_RANKS, MAX_RANKS_PER_NODE, MIN_LEASE};
use crate::text::shown;
use crate::yaml::{self, Found};

/// What is wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProblemKind {
    /// It is no YAML, or YAML that none of our files needs.
    #[error(transparent)]
    Yaml(#[from] yaml::Kind),
    /// Resources, groups or wishes that cannot be.
    #[error(transparent)]
    Needs(#[from] NeedsProblem),
    /// A hook or an init container that cannot be.
    #[error(transparent)]
    Lifecycle(#[from] LifecycleProblem),
    /// A success policy that cannot be.
    #[error(transparent)]
    Lifetime(#[from] LifetimeProblem),
    /// A policy, a budget or a rule that cannot be.
    #[error(transparent)]
    Recovery(#[from] RecoveryProblem),
    #[error("a list of {of} has from 1 to {most} items, and this one has {length}")]
    ListLength { of: &'static str, length: usize, most: usize },
    /// A probe that cannot be.
    #[error(transparent)]
    Probe(#[from] ProbeProblem),
    #[error("the file has no content; a job file needs at least `command: [program, argument]`")]
    Empty,
    #[error("{}", UnknownKey { key, within, nearest: *nearest, known })]
    UnknownKey {
        key: String,
        /// The mapping it stands in; `None` at the top level.
        within: Option<&'static str>,
        nearest: Option<&'static str>,
        known: &'static [&'static str],
    },
    #[error("the key {} stands here a second time; the first is in line {first}", shown(key))]
    DuplicateKey { key: String, first: u32 },
    /// Something of a later version.
    #[error("{what} is not supported yet: {why}")]
    NotYet { what: &'static str, why: &'static str },
    #[error("expected {expected}, found {found}{}", Hint { expected, found, nearest: *nearest })]
    Expected { expected: Expected, found: Found, nearest: Option<&'static str> },
    #[error("expected a list, found one string; no shell reads it: write {advice}")]
    CommandIsText { advice: String },
    #[error("the list is empty; expected a program and its arguments")]
    EmptyCommand,
    #[error("the program is an empty string")]
    EmptyProgram,
    #[error("a NUL character cannot be passed to a process")]
    Nul,
    #[error("{} is not a name for a variable: it must not be empty nor contain `=` or NUL", shown(.0))]
    VariableName(String),
    #[error("this variable marks the processes of a pod and cannot be set")]
    ReservedVariable,
    #[error("the variable is not set here, so there is no value to pass on; write NAME=VALUE")]
    VariableNotSet,
    #[error("ranks start in the copy of this directory and in workingDir too; leave one of the two keys out")]
    TwoStarts,
    #[error("{name} {what} too ({}); leave one of the two out", At(other))]
    PlainAndSecret {
        name: String,
        /// What it is at the other place.
        what: &'static str,
        other: Place,
    },
    #[error(
        "the secret {key} is not given: the variable {key} is not set here or is not UTF-8; set it, or submit with `--secret {key}=FILE`"
    )]
    SecretNotGiven { key: String },
    #[error("{ranks} ranks contradict nodes {nodes} x ranksPerNode {ranks_per_node} = {}", u64::from(*nodes) * u64::from(*ranks_per_node))]
    Contradiction { ranks: u32, nodes: u32, ranks_per_node: u32 },
    #[error(
        "{nodes} nodes take a cluster, and this is one machine: start one with `phalanx serve`, or use `--nodes 1`"
    )]
    OneMachine { nodes: u32 },
    #[error("{ranks} ranks cannot be shared evenly by {nodes} nodes{}", Unequal { cluster: *cluster, asked: *unequal, key: "nodes" })]
    Uneven {
        ranks: u32,
        nodes: u32,
        /// The job is for a cluster, where nodes may have unequal shares.
        cluster: bool,
        /// It asks for those.
        unequal: bool,
    },
    #[error("{what} means one machine's, and a cluster has several: write a number")]
    WhichMachine { what: &'static str },
    #[error("{ranks} ranks are no whole number of nodes with {ranks_per_node} ranks each{}", Unequal { cluster: true, asked: *unequal, key: "ranksPerNode" })]
    PartOfNode { ranks: u32, ranks_per_node: u32, unequal: bool },
    #[error("these ranks would take {nodes} nodes; a job has at most {MAX_NODES}")]
    TooManyNodes { nodes: u32 },
    #[error("{count} ranks in all; a job has at most {MAX_RANKS}")]
    TooManyInAll { count: u64 },
    #[error("{count} ranks on one machine; at most {MAX_RANKS_PER_NODE} can run on a node")]
    TooManyOnNode { count: u32 },
    #[error(
        "the command, the variables and the names of nodes are {bytes} bytes together, at most {cap} travel with a job; put what is long into a file"
    )]
    TooMuchText { bytes: usize, cap: usize },
    #[error("no command: write it after `--`, or as `command: [program, argument]` in a job file")]
    NoCommand,
    #[error("this machine has no GPU that the launcher may use")]
    NoGpu,
    #[error("the GPUs cannot be counted: {0}")]
    GpusUnknown(Box<dyn std::error::Error + Send + Sync>),
    #[error("one rank per core would be {count} ranks; at most {MAX_RANKS_PER_NODE} can run on a node")]
    TooManyRanks { count: u32 },
}

/// What would have been right.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expected {
    /// A mapping, for what.
    Mapping(&'static str),
    /// A list of strings.
    Command,
    Name,
    Path,
    File,
    Address,
    /// An address or a list of them.
    Addresses,
    /// An argument.
    Text,
    /// The value of a variable.
    Variable,
    /// The name of a secret.
    Secret,
    Ranks,
    /// A whole number from `min` on.
    Whole {
        min: u32,
        max: u32,
    },
    Seconds,
    PositiveSeconds,
    Lease,
    /// A number of bytes.
    Size {
        min: u64,
        max: u64,
    },
    Boolean,
    /// A list of what.
    List(&'static str),
    /// A size or the keys of a group.
    Group,
    /// The name of a kind of groups.
    Kind,
    /// A node's id, host name or what one alone begins with.
    Node,
    /// The value of a label.
    Label,
    /// A device's model.
    Model,
    /// A profile of MIG slices.
    Mig,
    /// The name of a signal.
    Signal,
    /// A time with its unit.
    TimeSpan,
    /// Seconds from one probe to the next.
    Period,
    /// What a probe asks for.
    HttpPath,
    /// Whom a probe asks.
    ProbeHost,
    HeaderName,
    HeaderValue,
    OneOf(Vec<&'static str>),
    /// A mode or the mapping of `output`.
    Output,
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expected::Mapping(of) => write!(f, "a mapping of {of}"),
            Expected::Command => f.write_str("a list of strings"),
            Expected::Name => f.write_str(
                "a name of at most 40 lower-case letters, digits and `-`, with a letter or digit at both ends",
            ),
            Expected::Path => f.write_str("the path of a directory"),
            Expected::File => f.write_str("the path of a file"),
            Expected::Address => f.write_str("an address: HOST, HOST:PORT or \"[IPV6]:PORT\""),
            Expected::Addresses => f.write_str("an address such as head.lab:7429, or a list of addresses"),
            Expected::Text => f.write_str("a string, a number or a boolean"),
            Expected::Variable => f.write_str("a string, a number, a boolean or `{secret: KEY}`"),
            Expected::Secret => f.write_str("the name under which the secret is given"),
            Expected::Ranks => write!(f, "a whole number from 1 to {MAX_RANKS}, `gpu` or `cpu`"),
            Expected::Whole { min, max: u32::MAX } => write!(f, "a whole number, {min} or more"),
            Expected::Whole { min, max } => write!(f, "a whole number from {min} to {max}"),
            Expected::Seconds => write!(f, "a number of seconds from 0 to {MAX_SECONDS}, such as 30 or 1.5"),
            Expected::PositiveSeconds => {
                write!(f, "a number of seconds above 0 and up to {MAX_SECONDS}, such as 600 or 1.5")
            }
            Expected::Lease => {
                write!(f, "a number of seconds from {} to {MAX_SECONDS}, such as 600", MIN_LEASE.as_secs())
            }
            Expected::Size { min: 1, max } if *max < i64::MAX as u64 => {
                write!(f, "a size of 1 to {max} bytes, such as 512Mi or 1Gi")
            }
            Expected::Size { min, .. } => {
                let s = if *min == 1 { "" } else { "s" };
                write!(f, "a size of at least {min} byte{s}, such as 512Mi or 1Gi")
            }
            Expected::Boolean => f.write_str("true or false"),
            Expected::List(of) => write!(f, "a list of {of}"),
            Expected::Group => f.write_str("a size or a mapping of size, pattern and volume"),
            Expected::Kind => write!(
                f,
                "a kind of groups: tp, cp, ep, dp, pp or a name of at most {MAX_KIND} lower-case letters, digits and `-` that begins with a letter"
            ),
            Expected::Node => {
                f.write_str("a node's id or the beginning of it: letters, digits, `.`, `_` and `-`")
            }
            Expected::Label => {
                f.write_str("the value of a label: letters, digits, `-`, `_`, `.` and `/`, 63 at most")
            }
            Expected::Model => write!(f, "a part of a model's name, such as H100, at most {MAX_MODEL} bytes"),
            Expected::Mig => f.write_str("a profile of MIG slices, such as 1g.10gb or 3g.40gb"),
            Expected::Signal => f.write_str("the name of a signal, such as SIGKILL"),
            Expected::TimeSpan => f.write_str("a time above 0: seconds, or a number with ms, s, m, h or d, such as 1h"),
            Expected::Period => {
                write!(f, "a number of seconds from 0.1 to {MAX_SECONDS}, such as 1 or 10")
            }
            Expected::HttpPath => f.write_str("a path such as /healthz: it begins with `/` and has no spaces"),
            Expected::ProbeHost => f.write_str("an IP address or localhost; no name server is asked"),
            Expected::HeaderName => f.write_str("the name of a header, such as X-Probe"),
            Expected::HeaderValue => f.write_str("the value of a header, of printable ASCII characters"),
            Expected::OneOf(words) => write!(f, "one of {}", words.join(", ")),
            Expected::Output => f.write_str("a mode or a mapping of mode, logDir, maxFileSize and keepFiles"),
        }
    }
}

/// How to write a job whose nodes have unequal shares.
struct Unequal {
    cluster: bool,
    asked: bool,
    key: &'static str,
}

impl fmt::Display for Unequal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key;
        match (self.cluster, self.asked) {
            (false, _) => Ok(()),
            (true, true) => {
                write!(f, "; with `uneven: true` leave {key} out: as few nodes as hold the ranks are chosen")
            }
            (true, false) => {
                write!(
                    f,
                    "; for unequal shares leave {key} out and write `uneven: true` (--uneven) in its place"
                )
            }
        }
    }
}

struct Hint<'a> {
    expected: &'a Expected,
    found: &'a Found,
    nearest: Option<&'static str>,
}

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.expected, self.found) {
            (Expected::Name | Expected::Path | Expected::File | Expected::Secret, Found::Literal(_)) => {
                f.write_str(", which is text only in quotes")
            }
            _ => did_you_mean(f, self.nearest),
        }
    }
}

pub(super) fn did_you_mean(f: &mut fmt::Formatter<'_>, nearest: Option<&str>) -> fmt::Result {
    match nearest {
        Some(nearest) => write!(f, "; did you mean \"{nearest}\"?"),
        None => Ok(()),
    }
}

struct UnknownKey<'a> {
    key: &'a str,
    within: &'a Option<&'static str>,
    nearest: Option<&'static str>,
    known: &'a [&'static str],
}

impl fmt::Display for UnknownKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown key {}", shown(self.key))?;
        if let Some(within) = self.within {
            write!(f, " in {within}")?;
        }
        match self.nearest {
            Some(_) => did_you_mean(f, self.nearest),
            None => write!(f, "; expected one of {}", self.known.join(", ")),
        }
    }
}
