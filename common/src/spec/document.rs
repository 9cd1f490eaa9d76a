//! A resolved job as a job file again: what `job check` prints and what a client sends to a coordinator.

use std::collections::BTreeMap;

use serde::Serialize;

use super::job::{JobSpec, Keep, OutputMode, Shape, StopScope};

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
    command: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    working_dir: Option<&'a str>,
    env: &'a BTreeMap<String, String>,
    start_timeout_seconds: f64,
    termination_grace_period_seconds: f64,
    max_restarts: u32,
    stop_scope: StopScope,
    keep: Keep,
    output: Output<'a>,
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
            command: &spec.command,
            working_dir: spec.working_dir.as_deref(),
            env: &spec.env,
            start_timeout_seconds: spec.start_timeout.as_secs_f64(),
            termination_grace_period_seconds: spec.termination_grace.as_secs_f64(),
            max_restarts: spec.max_restarts,
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
