//! A resolved job as a job file again: what `check` prints, and with what a job file does not hold around
//! it what a client sends to a coordinator.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::decode::decode_tree;
use super::error::Error;
use super::file::JobFile;
use super::job::{Fencing, JobSpec, Keep, OutputMode, Shape, Ship, StopScope, VirtualEnv};
use super::json;
use super::lifecycle::LifecycleDocument;
use super::lifetime::LifetimeDocument;
use super::needs::NeedsDocument;
use super::place::Source;
use super::probes::ProbesDocument;
use super::read;
use super::recovery::RecoveryDocument;
use super::resolve::{MAX_TEXT_BYTES, Surroundings};
use crate::defaults::SHIP_CAP;
use crate::hex;

/// A job with nothing left to default; as JSON it is a job file, because YAML takes JSON.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Document<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ranks: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ranks_per_node: Option<u32>,
    #[serde(flatten)]
    needs: NeedsDocument<'a>,
    command: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    working_dir: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ship: Option<&'a str>,
    env: BTreeMap<&'a str, Variable<'a>>,
    start_timeout_seconds: f64,
    termination_grace_period_seconds: f64,
    #[serde(flatten)]
    recovery: RecoveryDocument,
    #[serde(flatten)]
    lifetime: LifetimeDocument,
    #[serde(flatten)]
    probes: ProbesDocument<'a>,
    #[serde(flatten)]
    lifecycle: LifecycleDocument<'a>,
    fencing: Fencing,
    unreachable_seconds: f64,
    lease_seconds: f64,
    stop_scope: StopScope,
    keep: Keep,
    output: Output<'a>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
enum Variable<'a> {
    Plain(&'a str),
    Secret { secret: &'a str },
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Output<'a> {
    mode: OutputMode,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_dir: Option<&'a str>,
    max_file_size: u64,
    keep_files: u32,
}

impl<'a> From<&'a JobSpec> for Document<'a> {
    fn from(spec: &'a JobSpec) -> Document<'a> {
        let (ranks, nodes, ranks_per_node) = match spec.shape {
            Shape::Ranks(ranks) => (Some(ranks), None, None),
            Shape::Nodes { nodes, ranks_per_node } => (None, Some(nodes), Some(ranks_per_node)),
        };
        Document {
            name: &spec.name,
            ranks,
            nodes,
            ranks_per_node,
            needs: spec.into(),
            command: &spec.command,
            working_dir: spec.working_dir.as_deref(),
            ship: None,
            env: spec.env.iter().map(|(name, value)| (name.as_str(), Variable::Plain(value))).collect(),
            start_timeout_seconds: seconds(spec.start_timeout),
            termination_grace_period_seconds: seconds(spec.termination_grace),
            recovery: spec.into(),
            lifetime: spec.into(),
            probes: spec.into(),
            lifecycle: spec.into(),
            fencing: spec.fencing,
            unreachable_seconds: seconds(spec.unreachable),
            lease_seconds: seconds(spec.lease),
            stop_scope: spec.stop_scope,
            keep: spec.keep,
            output: Output {
                mode: spec.output.mode,
                log_dir: spec.output.log_dir.as_deref(),
                max_file_size: spec.output.max_file_bytes,
                keep_files: spec.output.keep_files,
            },
        }
    }
}

impl<'a> Document<'a> {
    /// The same with what the job's submitter brings: the directory `ship`, and the secrets of `file`, of
    /// which the job was made.
    pub fn bringing(mut self, file: &'a JobFile, ship: Option<&'a str>) -> Document<'a> {
        self.ship = ship;
        self.env.extend(file.secrets().map(|(name, secret)| (name, Variable::Secret { secret })));
        self
    }
}

/// Exact: a float holds the microseconds of the longest time a job file can ask for.
pub(super) fn seconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e6
}

/// What a client sends: the job file, and what the client found out for it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Submission {
    job: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ship: Option<Ship>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    virtual_env: Option<VirtualEnv>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    secrets: BTreeSet<String>,
}

/// A document that a client sent is no job.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    #[error("the job's document is not JSON of this version: {0}")]
    Json(serde_json::Error),
    #[error(transparent)]
    Job(#[from] Error),
    #[error(
        "the job's directory does not travel as {digest}, {bytes} bytes: a SHA-256 in hexadecimal, at most {SHIP_CAP} bytes"
    )]
    Ship { digest: String, bytes: u64 },
    #[error("{0} is no absolute path of a virtual environment")]
    VirtualEnv(String),
    #[error("{0:?} is not a name for a secret variable")]
    Secret(String),
    #[error("{0} is a variable of the job and a secret too, and only one of the two can be its value")]
    Twice(String),
    #[error(
        "the job's text is {bytes} bytes in all, at most {MAX_TEXT_BYTES} are taken; put what is long into a file"
    )]
    TooMuchText { bytes: usize },
    #[error("{0} of a job file is for its submitter, and a coordinator makes nothing of it")]
    Submitters(&'static str),
    #[error("{what} {path} of a job in a cluster has to be an absolute path")]
    Relative { what: &'static str, path: String },
}

impl JobSpec {
    /// The job as a client sends it.
    pub fn to_document(&self) -> String {
        let submission = Submission {
            job: serde_json::to_value(Document::from(self)).unwrap_or_default(),
            ship: self.ship.clone(),
            virtual_env: self.virtual_env.clone(),
            secrets: self.secrets.clone(),
        };
        // Text and numbers always have a JSON form.
        serde_json::to_string(&submission).unwrap_or_default()
    }

    /// Reads what a client sent, and believes none of it: the same checks as for a job file, and that it
    /// depends on nothing of this host.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_document(document: &[u8]) -> Result<JobSpec, DocumentError> {
        let submission: Submission = serde_json::from_slice(document).map_err(DocumentError::Json)?;
        let around = Surroundings {
            cwd: "/",
            file_dir: None,
            log_dir: None,
            cluster: true,
            cpus: 1,
            gpus: &|| Ok(0),
            env: &|_| None,
        };
        let file = decode_tree(Source::new("the job", ""), &json::tree(submission.job))?;
        for (what, path) in [("workingDir", &file.working_dir), ("output.logDir", &file.output.log_dir)] {
            if let Some(path) = path.as_ref().filter(|path| !path.value.starts_with('/')) {
                return Err(DocumentError::Relative { what, path: path.value.clone() });
            }
        }
        if file.ship.is_some() {
            return Err(DocumentError::Submitters("the directory `ship`"));
        }
        if file.secrets().next().is_some() {
            return Err(DocumentError::Submitters("a secret in `env`"));
        }
        let mut spec = file.resolve(&around)?;
        if let Some(ship) = submission.ship {
            if hex::decode::<32>(&ship.digest).is_none() || ship.bytes > SHIP_CAP {
                return Err(DocumentError::Ship { digest: ship.digest, bytes: ship.bytes });
            }
            spec.ship = Some(ship);
        }
        if let Some(virtual_env) = submission.virtual_env {
            if !virtual_env.prefix.starts_with('/') || virtual_env.prefix.contains('\0') {
                return Err(DocumentError::VirtualEnv(virtual_env.prefix));
            }
            spec.virtual_env = Some(virtual_env);
        }
        if let Some(name) = submission.secrets.iter().find(|name| read::variable(name).is_err()) {
            return Err(DocumentError::Secret(name.clone()));
        }
        if let Some(name) = submission.secrets.iter().find(|name| spec.env.contains_key(*name)) {
            return Err(DocumentError::Twice(name.clone()));
        }
        spec.secrets = submission.secrets;
        let bytes = text_bytes(&spec);
        if bytes > MAX_TEXT_BYTES {
            return Err(DocumentError::TooMuchText { bytes });
        }
        Ok(spec)
    }
}

/// What of a job is as long as its submitter likes: it has to fit a record and a plan, each of one frame.
fn text_bytes(spec: &JobSpec) -> usize {
    let environment = spec.env.iter().map(|(name, value)| name.len() + value.len());
    let virtual_env =
        spec.virtual_env.iter().map(|it| it.prefix.len() + it.version.as_ref().map_or(0, String::len));
    let paths = [&spec.working_dir, &spec.output.log_dir].into_iter().flatten().map(String::len);
    let words = spec.command.iter().map(String::len);
    let names = spec.secrets.iter().map(String::len);
    words
        .chain([spec.placement.text_bytes(), spec.probes.text_bytes(), spec.lifecycle.text_bytes()])
        .chain(environment)
        .chain(virtual_env)
        .chain(paths)
        .chain(names)
        .chain([spec.name.len()])
        .sum()
}
