//! A job as it is stored.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use phalanx_common::spec::{
    Fencing, JobSpec, Keep, OutputMode, OutputSpec, Shape, Ship, StopScope, VirtualEnv,
};
use serde::{Deserialize, Serialize};

use super::lifecycle::LifecycleRecord;
use super::lifetime::LifetimeRecord;
use super::needs::NeedsRecord;
use super::probes::ProbesRecord;
use super::recovery::RecoveryRecord;

/// A job, as stored; see [`JobSpec`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecRecord {
    pub name: String,
    pub shape: Shape,
    pub needs: NeedsRecord,
    pub command: Vec<String>,
    pub working_dir: Option<String>,
    pub ship: Option<Ship>,
    pub virtual_env: Option<VirtualEnv>,
    pub env: BTreeMap<String, String>,
    pub secrets: BTreeSet<String>,
    pub start_timeout: Duration,
    pub termination_grace: Duration,
    pub max_restarts: u32,
    pub recovery: RecoveryRecord,
    pub lifetime: LifetimeRecord,
    pub unreachable: Duration,
    pub lease: Duration,
    pub fencing: Fencing,
    pub stop_scope: StopScope,
    pub keep: Keep,
    pub output_mode: OutputMode,
    pub log_dir: Option<String>,
    pub max_file_bytes: u64,
    pub keep_files: u32,
    pub probes: ProbesRecord,
    pub lifecycle: LifecycleRecord,
}

impl From<&JobSpec> for SpecRecord {
    fn from(spec: &JobSpec) -> SpecRecord {
        SpecRecord {
            name: spec.name.clone(),
            shape: spec.shape,
            needs: spec.into(),
            command: spec.command.clone(),
            working_dir: spec.working_dir.clone(),
            ship: spec.ship.clone(),
            virtual_env: spec.virtual_env.clone(),
            env: spec.env.clone(),
            secrets: spec.secrets.clone(),
            start_timeout: spec.start_timeout,
            termination_grace: spec.termination_grace,
            max_restarts: spec.max_restarts,
            recovery: (&spec.recovery).into(),
            lifetime: (&spec.lifetime).into(),
            unreachable: spec.unreachable,
            lease: spec.lease,
            fencing: spec.fencing,
            stop_scope: spec.stop_scope,
            keep: spec.keep,
            output_mode: spec.output.mode,
            log_dir: spec.output.log_dir.clone(),
            max_file_bytes: spec.output.max_file_bytes,
            keep_files: spec.output.keep_files,
            probes: (&spec.probes).into(),
            lifecycle: (&spec.lifecycle).into(),
        }
    }
}

impl From<&SpecRecord> for JobSpec {
    fn from(record: &SpecRecord) -> JobSpec {
        JobSpec {
            name: record.name.clone(),
            shape: record.shape,
            resources: record.needs.resources(),
            parallelism: record.needs.parallelism(),
            placement: record.needs.placement.clone().into(),
            elastic: record.needs.elastic(),
            command: record.command.clone(),
            working_dir: record.working_dir.clone(),
            ship: record.ship.clone(),
            virtual_env: record.virtual_env.clone(),
            env: record.env.clone(),
            secrets: record.secrets.clone(),
            start_timeout: record.start_timeout,
            termination_grace: record.termination_grace,
            probes: (&record.probes).into(),
            lifecycle: (&record.lifecycle).into(),
            max_restarts: record.max_restarts,
            recovery: (&record.recovery).into(),
            lifetime: (&record.lifetime).into(),
            unreachable: record.unreachable,
            lease: record.lease,
            fencing: record.fencing,
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
