//! `JobSpec`: a job as the coordinator takes it, every value resolved and within its limits.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::lifecycle::Lifecycle;
use super::lifetime::Lifetime;
use super::needs::{Elastic, Parallelism, PlacementSpec, Resources};
use super::probes::Probes;
use super::recovery::Recovery;
use crate::defaults;

/// A job, resolved: no value is missing and each was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// Lower-case letters, digits and `-`, at most 40 characters.
    pub name: String,
    pub shape: Shape,
    /// What each rank takes of its node.
    pub resources: Resources,
    /// In which groups the ranks talk.
    pub parallelism: Parallelism,
    /// Where the gang may run.
    pub placement: PlacementSpec,
    /// Other numbers of ranks that the job can train with.
    pub elastic: Option<Elastic>,
    /// Program and arguments; never empty.
    pub command: Vec<String>,
    /// Absolute path the ranks start in; `None` is the directory of the launcher or the worker.
    pub working_dir: Option<String>,
    /// A directory that travels with the job; ranks then start in its copy.
    pub ship: Option<Ship>,
    /// The Python environment that was active where the job was submitted.
    pub virtual_env: Option<VirtualEnv>,
    /// Variables the user set for this job; they win over everything Phalanx sets.
    pub env: BTreeMap<String, String>,
    /// Variables whose values are secret: they travel apart and are never stored or shown.
    pub secrets: BTreeSet<String>,
    /// Prepare to Running.
    pub start_timeout: Duration,
    /// Stop signal to SIGKILL.
    pub termination_grace: Duration,
    /// How it is found out whether a rank has started, is ready and is alive.
    pub probes: Probes,
    /// What is done before the ranks run, beside them, and at their ends.
    pub lifecycle: Lifecycle,
    /// Gang restarts the job may use.
    pub max_restarts: u32,
    /// What follows a failure.
    pub recovery: Recovery,
    /// How long it lasts.
    pub lifetime: Lifetime,
    /// A pod on a node that was unreachable for this long is given up.
    pub unreachable: Duration,
    /// How long a pod may run without hearing from a coordinator.
    pub lease: Duration,
    pub fencing: Fencing,
    pub stop_scope: StopScope,
    pub keep: Keep,
    pub output: OutputSpec,
}

impl JobSpec {
    /// A job that says nothing else: every other value is the default, as in a job file without its key.
    pub fn of(name: &str, shape: Shape, command: &[&str]) -> JobSpec {
        JobSpec {
            name: name.to_owned(),
            shape,
            resources: Resources::default(),
            parallelism: Parallelism::default(),
            placement: PlacementSpec::default(),
            elastic: None,
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            working_dir: None,
            ship: None,
            virtual_env: None,
            env: BTreeMap::new(),
            secrets: BTreeSet::new(),
            start_timeout: defaults::START_TIMEOUT,
            termination_grace: defaults::TERMINATION_GRACE,
            probes: Probes::default(),
            lifecycle: Lifecycle::default(),
            max_restarts: defaults::MAX_RESTARTS,
            recovery: Recovery::default(),
            lifetime: Lifetime::default(),
            unreachable: defaults::UNREACHABLE,
            lease: defaults::LEASE,
            fencing: Fencing::default(),
            stop_scope: StopScope::default(),
            keep: Keep::default(),
            output: OutputSpec {
                mode: OutputMode::default(),
                log_dir: None,
                max_file_bytes: defaults::LOG_FILE_CAP,
                keep_files: defaults::LOG_FILES_KEPT,
            },
        }
    }

    /// Ranks of the whole gang.
    pub fn world_size(&self) -> u32 {
        self.shape.ranks()
    }

    /// A rank is not ready before a probe or a hook said so.
    pub fn gate(&self) -> bool {
        self.probes.gate() || self.lifecycle.post_start.is_some()
    }
}

/// How many ranks, and on how many nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shape {
    /// The same number of ranks on each of so many nodes.
    Nodes { nodes: u32, ranks_per_node: u32 },
    /// So many ranks, on as few nodes as take them.
    Ranks(u32),
}

impl Shape {
    /// Ranks of the whole gang; the largest number if they are too many to count.
    pub fn ranks(self) -> u32 {
        match self {
            Shape::Nodes { nodes, ranks_per_node } => nodes.saturating_mul(ranks_per_node),
            Shape::Ranks(ranks) => ranks,
        }
    }
}

/// A directory packed into a tar archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ship {
    /// SHA-256 of the archive, in lower-case hexadecimal.
    pub digest: String,
    /// Size of the archive.
    pub bytes: u64,
}

/// A virtual environment or conda prefix: the same path on every node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualEnv {
    /// Absolute path; the interpreter is `bin/python` in it.
    pub prefix: String,
    /// Python's version where the job was submitted, `3.11.2`, if it could be read there.
    pub version: Option<String>,
}

/// What must be known before a gang starts anew without a node that cannot be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Fencing {
    /// Peers do not hear the node either, or it was unreachable for long enough.
    #[default]
    Lenient,
    /// The lease of its pod has lapsed: nothing of the job runs there.
    Strict,
}

impl Choice for Fencing {
    const CHOICES: &'static [(&'static str, Fencing)] =
        &[("lenient", Fencing::Lenient), ("strict", Fencing::Strict)];
}

/// A value that is one of a few words, as job files and flags write them.
pub trait Choice: Copy + PartialEq + 'static {
    /// Every word and what it stands for.
    const CHOICES: &'static [(&'static str, Self)];
}

/// Who gets the stop signal. SIGKILL always goes to the whole tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StopScope {
    /// The rank's process group: what a terminal's Ctrl-C would reach.
    #[default]
    Group,
    /// The rank's own process alone, which tells its children itself.
    Process,
}

impl Choice for StopScope {
    const CHOICES: &'static [(&'static str, StopScope)] =
        &[("group", StopScope::Group), ("process", StopScope::Process)];
}

/// When the pod's directory (TMPDIR, PHALANX_JOB_DIR) outlives the job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Keep {
    /// It is removed when the job ends.
    #[default]
    Never,
    /// It stays if the job failed.
    OnFailure,
    /// It stays.
    Always,
}

impl Choice for Keep {
    const CHOICES: &'static [(&'static str, Keep)] =
        &[("never", Keep::Never), ("onFailure", Keep::OnFailure), ("always", Keep::Always)];
}

/// What is shown of the ranks' output. All of it is always in the log files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OutputMode {
    /// Every line with its `[rank]`.
    #[default]
    Label,
    /// Bytes as they come.
    Raw,
    /// Rank 0's bytes alone.
    Rank0,
    /// Nothing: only the files.
    Files,
}

impl Choice for OutputMode {
    const CHOICES: &'static [(&'static str, OutputMode)] = &[
        ("label", OutputMode::Label),
        ("raw", OutputMode::Raw),
        ("rank0", OutputMode::Rank0),
        ("files", OutputMode::Files),
    ];
}

/// Where output goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputSpec {
    pub mode: OutputMode,
    /// Absolute path; files are `<log_dir>/<job>/<generation>/<rank>/{stdout,stderr}.log`. `None`: each
    /// worker's own directory for the job's user.
    pub log_dir: Option<String>,
    /// A log file is rotated at this size, bytes.
    pub max_file_bytes: u64,
    /// Rotated files kept beside the current one.
    pub keep_files: u32,
}
