//! What a user asks for: from the text of a job file and the flags laid over it to a `JobSpec`.
//!
//! ```text
//! bytes -- JobFile::parse --> JobFile -- overlay(Flags) --> JobFile -- resolve(Surroundings) --> JobSpec
//!                |                           |                               |
//!                +---------------------------+-------------------------------+--> Error: all problems, placed
//! ```
//!
//! Every value of a `JobFile` knows where it was written (`Given`), so that a problem found late is still
//! reported with its line and column, or with the flag it came from.
//!
//! ```
//! use phalanx_common::spec::{Flags, JobFile, Surroundings};
//!
//! # fn main() -> Result<(), phalanx_common::spec::Error> {
//! let text = b"command: [python, train.py]\nworkingDir: src\nmaxRestarts: 3\n";
//! let flags = Flags { ranks: Some("4".into()), max_restarts: Some("1".into()), ..Flags::default() };
//! let around = Surroundings {
//!     cwd: "/home/ada",
//!     file_dir: Some("jobs"),
//!     log_dir: Some("phalanx-logs"),
//!     cluster: false,
//!     cpus: 8,
//!     gpus: &|| Ok(0),
//!     env: &|_| None,
//! };
//! // Without `-f`, start from `JobFile::default()`.
//! let job = JobFile::parse("jobs/train.yaml", text)?.overlay(&flags, &around)?.resolve(&around)?;
//! assert_eq!((job.name.as_str(), job.world_size(), job.max_restarts), ("train", 4, 1));
//! assert_eq!(job.working_dir.as_deref(), Some("/home/ada/jobs/src"));
//! assert_eq!(job.output.log_dir.as_deref(), Some("/home/ada/phalanx-logs"));
//!
//! let error = JobFile::parse("job.yaml", b"ranks: 2\ncomand: [python]\n").unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "job.yaml:2:1: unknown key \"comand\"; did you mean \"command\"?\n  2 | comand: [python]\n    | ^^^^^^",
//! );
//! # Ok(())
//! # }
//! ```

mod client;
mod decode;
mod decoder;
mod document;
mod error;
mod file;
mod flags;
mod job;
mod json;
mod keys;
mod lifecycle;
mod lifetime;
mod name;
mod needs;
mod place;
mod probes;
mod problem;
mod read;
mod recovery;
mod resolve;
mod schema;
mod secret;
mod yaml;

pub use client::{ClientFile, Color};
pub use document::{Document, DocumentError};
pub use error::{Error, Excerpt, Place, Problem};
pub use file::{
    JobFile, MAX_SECONDS, MIN_LOG_FILE_BYTES, Output, Positive, Ranks, Seconds, Size, Text, Variable,
};
pub use flags::Flags;
pub use job::{Choice, Fencing, JobSpec, Keep, OutputMode, OutputSpec, Shape, Ship, StopScope, VirtualEnv};
pub use lifecycle::{
    Hook, HookKeys, HooksKeys, InitContainer, InitKeys, InitRestart, Lifecycle, LifecycleProblem,
    MAX_INIT_CONTAINERS, SleepKeys,
};
pub use lifetime::{
    Lifetime, LifetimeProblem, MAX_RANGES, MAX_SUCCESS_RULES, SuccessKeys, SuccessRule, SuccessRuleKeys,
};
pub use name::MAX_NAME;
pub use needs::{
    Bytes, CpuBinding, DeviceKeys, DeviceKind, DeviceNeeds, DeviceView, Elastic, ElasticKeys, Exclusive,
    GroupKeys, GroupSpec, Limit, MAX_CPUS_PER_RANK, MAX_DEVICES_PER_RANK, MAX_GROUPS, MAX_KIND, MAX_MODEL,
    MAX_NICS_PER_RANK, MAX_VOLUME_BYTES, MIN_MEMORY_LIMIT, MemoryBinding, NeedsFlags, NeedsProblem,
    Parallelism, ParallelismKeys, Pattern, PlacementKeys, PlacementSpec, ResourceKeys, Resources, TierKeys,
    TierLimits,
};
pub use place::{Given, Origin};
pub use probes::{
    ExecKeys, HeaderKeys, HttpGetKeys, LogKeys, LogPattern, MAX_HEADERS, MAX_PATTERN, MIN_PERIOD, NotifyKeys,
    Period, Probe, ProbeHandler, ProbeKeys, ProbeKind, ProbePort, ProbeProblem, Probes, TcpSocketKeys,
};
pub use problem::{Expected, ProblemKind};
pub use recovery::{
    Backoff, BackoffKeys, BudgetKeys, CodeKeys, DO_NOT_RESTART, ExitCodes, FailureAction, FailureReason,
    FailureRule, InPlace, MAX_IN_WINDOW, MAX_RULES, Recovery, RecoveryProblem, ReplaceKeys, RestartPolicy,
    RestartScope, RuleKeys, StepKeys, TimeSpan,
};
pub use resolve::{CountError, MAX_TEXT_BYTES, Surroundings};
pub use schema::json_schema;
pub use yaml::MAX_FILE_BYTES;

pub use crate::yaml::{Found, Span};
