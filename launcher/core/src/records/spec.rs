//! A job as it is stored.

use std::collections::BTreeMap;
use std::time::Duration;

use phalanx_common::spec::{JobSpec, Keep, OutputMode, OutputSpec, StopScope};
use serde::{Deserialize, Serialize};

/// A job, as stored; see [`JobSpec`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecRecord {
    pub name: String,
    pub nodes: u32,
    pub ranks_per_node: u32,
    pub command: Vec<String>,
    pub working_dir: Option<String>,
    pub env: BTreeMap<String, String>,
    pub start_timeout: Duration,
    pub termination_grace: Duration,
    pub max_restarts: u32,
    pub stop_scope: StopScope,
    pub keep: Keep,
    pub output_mode: OutputMode,
    pub log_dir: String,
    pub max_file_bytes: u64,
    pub keep_files: u32,
}

impl From<&JobSpec> for SpecRecord {
    fn from(spec: &JobSpec) -> SpecRecord {
        SpecRecord {
            name: spec.name.clone(),
            nodes: spec.nodes,
            ranks_per_node: spec.ranks_per_node,
            command: spec.command.clone(),
            working_dir: spec.working_dir.clone(),
            env: spec.env.clone(),
            start_timeout: spec.start_timeout,
            termination_grace: spec.termination_grace,
            max_restarts: spec.max_restarts,
            stop_scope: spec.stop_scope,
            keep: spec.keep,
            output_mode: spec.output.mode,
            log_dir: spec.output.log_dir.clone(),
            max_file_bytes: spec.output.max_file_bytes,
            keep_files: spec.output.keep_files,
        }
    }
}

impl From<&SpecRecord> for JobSpec {
    fn from(record: &SpecRecord) -> JobSpec {
        JobSpec {
            name: record.name.clone(),
            nodes: record.nodes,
            ranks_per_node: record.ranks_per_node,
            command: record.command.clone(),
            working_dir: record.working_dir.clone(),
            env: record.env.clone(),
            start_timeout: record.start_timeout,
            termination_grace: record.termination_grace,
            max_restarts: record.max_restarts,
            stop_scope: record.stop_scope,
            keep: record.keep,
            output: OutputSpec {
                mode: record.output_mode,
                log_dir: record.log_dir.clone(),
                max_file_bytes: record.max_file_bytes,
                keep_files: record.keep_files,
            },
        }
    }
}
