//! `JobFile`: a job as it was written, every value optional and none resolved.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::error::Error;
use super::job::{Fencing, Keep, OutputMode, StopScope};
use super::lifecycle::{HooksKeys, InitKeys, MAX_INIT_CONTAINERS};
use super::lifetime::SuccessKeys;
use super::needs::{ElasticKeys, ParallelismKeys, PlacementKeys, ResourceKeys};
use super::place::{Given, Source};
use super::probes::ProbeKeys;
use super::recovery::{BudgetKeys, MAX_RULES, RestartPolicy, RestartScope, RuleKeys};
use crate::defaults::{MAX_NODES, MAX_RANKS, MAX_RANKS_PER_NODE};

/// A training job for `phalanx run -f`.
///
/// Every key is optional: a flag can give what the file leaves out, and a flag wins over the file.
// Key order, names and types are the document's; `keys::SUPPORTED` and the schema are compared in a test.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, transform = super::schema::without_null)]
#[schemars(title = "Phalanx job", example = super::schema::example())]
pub struct JobFile {
    /// Name of the job; its id is the name with a short suffix. Default: made from the command.
    #[schemars(regex(pattern = "^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$"))]
    pub name: Option<Given<String>>,
    /// Ranks of the whole job: a number; on one machine also `gpu` for one per GPU, or `cpu` for one per
    /// core. Without `nodes` a cluster puts them on as few nodes as take them. Default: 1.
    pub ranks: Option<Given<Ranks>>,
    /// Nodes the job spans, the same number of ranks on each. More than one takes a cluster.
    #[schemars(range(min = 1, max = MAX_NODES))]
    pub nodes: Option<Given<u32>>,
    /// Ranks on each node, instead of `ranks`.
    #[schemars(range(min = 1, max = MAX_RANKS_PER_NODE))]
    pub ranks_per_node: Option<Given<u32>>,
    /// What each rank takes of its node: devices, cores, memory, ports. What is left out is not counted.
    #[schemars(default)]
    pub resources: ResourceKeys,
    /// The groups in which the ranks talk, by size; a rank's number follows from its places in them. They multiply to
    /// the ranks of the job, and dp may be left out. Default: one ring of all ranks.
    #[schemars(default)]
    pub parallelism: ParallelismKeys,
    /// Where the job may run, and how much of its nodes is its own.
    #[schemars(default)]
    pub placement: PlacementKeys,
    /// The numbers of ranks that the job can train with, `ranks` among them.
    pub elastic: Option<ElasticKeys>,
    /// Program and arguments. No shell reads them.
    #[schemars(length(min = 1))]
    pub command: Option<Given<Vec<Text>>>,
    /// Directory the ranks start in; a relative one starts at the job file. Default: the launcher's.
    #[schemars(length(min = 1))]
    pub working_dir: Option<Given<String>>,
    /// Directory to send along, honouring .gitignore; a relative one starts at the job file. Ranks start in a
    /// copy of it, in place of `workingDir`; on one machine, in the directory itself.
    #[schemars(length(min = 1))]
    pub ship: Option<Given<String>>,
    /// Variables for the ranks. They win over what Phalanx sets and over the inherited environment. A value is
    /// text, or `{secret: KEY}`: then it is given when the job is submitted, and stored and shown nowhere.
    #[schemars(default)]
    pub env: BTreeMap<String, Given<Variable>>,
    /// Seconds from the first preparation until every rank is ready. Default: 600.
    pub start_timeout_seconds: Option<Given<Positive>>,
    /// Seconds between the stop signal and SIGKILL. Default: 30.
    pub termination_grace_period_seconds: Option<Given<Seconds>>,
    /// The signal that asks a rank to end, by its name. Default: SIGTERM.
    #[schemars(with = "Option<String>")]
    pub stop_signal: Option<Given<u8>>,
    /// Whether a rank has started; until it has, the other two probes wait. A rank that has not in time is ended.
    pub startup_probe: Option<ProbeKeys>,
    /// Whether a rank is ready. The job is running once every rank is; default: once its program runs.
    pub readiness_probe: Option<ProbeKeys>,
    /// Whether a rank is alive. One that is not is ended.
    pub liveness_probe: Option<ProbeKeys>,
    /// What is done for each rank when it starts, and before it is stopped.
    #[schemars(default)]
    pub lifecycle: HooksKeys,
    /// Programs that run on each node before its ranks, one after another; with `restartPolicy: Always` beside them.
    #[schemars(length(min = 1, max = MAX_INIT_CONTAINERS))]
    pub init_containers: Option<Given<Vec<InitKeys>>>,
    /// Whether init containers that ended well on a node are run there once, and not again with each restart. Default:
    /// false.
    pub init_once: Option<Given<bool>>,
    /// How often the job may be started again after a failure. Default: 0.
    pub max_restarts: Option<Given<u32>>,
    /// Whether ranks start again: `Never`, `OnFailure`, or `Always`, after a good end as well. Default: OnFailure.
    pub restart_policy: Option<Given<RestartPolicy>>,
    /// What starts again after a failure of a rank: `rank`, that rank alone, or `pod`, all ranks on its node, while the
    /// others go on; or `gang`, all ranks. Default: gang.
    pub restart_scope: Option<Given<RestartScope>>,
    /// How restarts are counted.
    #[schemars(default)]
    pub restart_budget: BudgetKeys,
    /// What failures of some kinds do; the first rule that matches decides.
    #[schemars(length(min = 1, max = MAX_RULES))]
    pub failure_rules: Option<Given<Vec<RuleKeys>>>,
    /// When the job has succeeded before every rank has ended with 0.
    pub success_policy: Option<SuccessKeys>,
    /// Seconds from its first placement after which the job is ended; the time in which it is suspended does not
    /// count. Default: as long as it takes.
    pub active_deadline_seconds: Option<Given<Positive>>,
    /// Seconds after which the ended job is forgotten, if it is not for other reasons before.
    pub ttl_seconds_after_finished: Option<Given<Seconds>>,
    /// Whether the job begins suspended: it gets nodes once it is resumed. Default: false.
    pub suspend: Option<Given<bool>>,
    /// What must be known before the job starts anew without a node that cannot be reached: `lenient`, that
    /// its peers do not hear it either or that it was unreachable for long enough; `strict`, that the lease
    /// of its pod has lapsed, so that no rank is ever doubled. Default: lenient.
    pub fencing: Option<Given<Fencing>>,
    /// Seconds after which a pod on a node that cannot be reached, but may be alive, is given up. Default: 120.
    pub unreachable_seconds: Option<Given<Positive>>,
    /// Seconds a pod may run without hearing from a coordinator; at least 5. Default: 600.
    pub lease_seconds: Option<Given<Positive>>,
    /// Who gets the stop signal. SIGKILL always goes to the whole tree. Default: group.
    pub stop_scope: Option<Given<StopScope>>,
    /// When the job's temporary directory outlives it. Default: never.
    pub keep: Option<Given<Keep>>,
    /// What is shown of the ranks' output, and how its files are kept; a plain mode is short for `{mode: …}`.
    #[schemars(default)]
    pub output: Output,
    /// Devices of the whole job, which a flag alone can give.
    #[schemars(skip)]
    pub devices_in_all: Option<Given<u32>>,
    #[schemars(skip)]
    pub(super) source: Option<Source>,
}

impl JobFile {
    /// Reads the content of a job file. `name` is the file as the user named it; it begins every message.
    ///
    /// # Errors
    /// Everything that is wrong with the file, each with its line and column: what is no YAML, unknown keys,
    /// keys of later versions, values of a wrong type or outside their range.
    pub fn parse(name: &str, content: &[u8]) -> Result<JobFile, Error> {
        super::decode::decode(super::yaml::text(name, content)?)
    }
}

/// The keys of `output`.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, transform = super::schema::mode_or_mapping)]
pub struct Output {
    /// What is shown. All output is in the log files in every mode. Default: label.
    pub mode: Option<Given<OutputMode>>,
    /// Directory for log files; a relative one starts at the job file.
    #[schemars(length(min = 1))]
    pub log_dir: Option<Given<String>>,
    /// A log file is rotated at this size. Default: 1Gi.
    pub max_file_size: Option<Given<Size>>,
    /// Rotated files kept for each stream. Default: 3.
    pub keep_files: Option<Given<u32>>,
}

/// How many ranks were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ranks {
    Number(u32),
    /// One for each GPU the launcher may use.
    Gpu,
    /// One for each core the launcher may use.
    Cpu,
}

impl JsonSchema for Ranks {
    fn schema_name() -> Cow<'static, str> {
        "Ranks".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [
            {"type": "integer", "minimum": 1, "maximum": MAX_RANKS},
            {"enum": ["gpu", "cpu"]},
        ]})
    }
}

/// Text; a number or a boolean stands for the characters it was written with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(pub String);

impl JsonSchema for Text {
    fn schema_name() -> Cow<'static, str> {
        "Text".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "number", "boolean"]})
    }
}

/// The value of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variable {
    Plain(Text),
    /// The submitter gives it under this name, when the job is submitted.
    Secret(String),
}

impl JsonSchema for Variable {
    fn schema_name() -> Cow<'static, str> {
        "Variable".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [
            Text::json_schema(generator),
            {
                "type": "object",
                "properties": {"secret": {"type": "string", "pattern": "^[^=]+$"}},
                "required": ["secret"],
                "additionalProperties": false,
            },
        ]})
    }
}

/// A time in seconds, zero or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seconds(pub Duration);

impl JsonSchema for Seconds {
    fn schema_name() -> Cow<'static, str> {
        "Seconds".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "number", "minimum": 0, "maximum": MAX_SECONDS})
    }
}

/// A time in seconds above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Positive(pub Duration);

impl JsonSchema for Positive {
    fn schema_name() -> Cow<'static, str> {
        "Positive".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "number", "exclusiveMinimum": 0, "maximum": MAX_SECONDS})
    }
}

/// A size in bytes: a number, or a number with `Ki`, `Mi`, `Gi`, `Ti` (powers of 1024) or `k`, `M`, `G`,
/// `T` (powers of 1000).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [
            {"type": "integer", "minimum": MIN_LOG_FILE_BYTES},
            {"type": "string", "pattern": "^[0-9]+(Ki|Mi|Gi|Ti|k|M|G|T)$"},
        ]})
    }
}

/// The longest time a job file can ask for: 31 years, far below what a timestamp can hold.
pub const MAX_SECONDS: u32 = 1_000_000_000;
/// A log file is rotated at this size at the least; below, a rank makes files faster than lines.
pub const MIN_LOG_FILE_BYTES: u64 = 4096;
