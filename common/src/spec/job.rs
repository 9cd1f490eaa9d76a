//! `JobSpec`: a job as the coordinator takes it, every value resolved and within its limits.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A job, resolved: no value is missing and each was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// Lower-case letters, digits and `-`, at most 40 characters.
    pub name: String,
    /// Nodes the gang spans.
    pub nodes: u32,
    /// Ranks on each node.
    pub ranks_per_node: u32,
    /// Program and arguments; never empty.
    pub command: Vec<String>,
    /// Absolute path the ranks start in; `None` is the launcher's own directory.
    pub working_dir: Option<String>,
    /// Variables the user set for this job; they win over everything Phalanx sets.
    pub env: BTreeMap<String, String>,
    /// Prepare to Running.
    pub start_timeout: Duration,
    /// Stop signal to SIGKILL.
    pub termination_grace: Duration,
    /// Gang restarts the job may use.
    pub max_restarts: u32,
    pub stop_scope: StopScope,
    pub keep: Keep,
    pub output: OutputSpec,
}

impl JobSpec {
    /// Ranks of the whole gang.
    pub fn world_size(&self) -> u32 {
        self.nodes * self.ranks_per_node
    }
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
    /// Absolute path; files are `<log_dir>/<job>/<generation>/<rank>/{stdout,stderr}.log`.
    pub log_dir: String,
    /// A log file is rotated at this size, bytes.
    pub max_file_bytes: u64,
    /// Rotated files kept beside the current one.
    pub keep_files: u32,
}
