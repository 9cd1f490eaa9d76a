//! A job from its file, flags and surroundings.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};
use phalanx_common::defaults;
use phalanx_common::spec::{
    CountError, Flags, JobFile, JobSpec, Keep, MAX_FILE_BYTES, OutputMode, StopScope, Surroundings,
};
use phalanx_worker::discovery::nvidia;
use phalanx_worker::facts::Facts;
use serde::Serialize;

use super::args::JobArgs;
use super::{Exit, pretty, print};
use crate::local::base_dir;

/// Bytes of command and env that fit a frame with all that goes beside them.
const LARGEST_COMMAND: usize = defaults::FRAME_CAP / 2;

/// Prints the job that a file and flags mean.
pub(super) fn check(args: &JobArgs) -> anyhow::Result<Exit> {
    let facts = Facts::read()?;
    print(&pretty(&Resolved::from(&resolve(args, &facts, &base_dir::path())?)))
}

/// A job with nothing left to default, as a job file: YAML takes JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Resolved<'a> {
    name: &'a str,
    nodes: u32,
    ranks_per_node: u32,
    command: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    working_dir: Option<&'a str>,
    env: &'a BTreeMap<String, String>,
    start_timeout_seconds: f64,
    termination_grace_period_seconds: f64,
    max_restarts: u32,
    stop_scope: StopScope,
    keep: Keep,
    output: ResolvedOutput<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResolvedOutput<'a> {
    mode: OutputMode,
    log_dir: &'a str,
    max_file_size: u64,
    keep_files: u32,
}

impl<'a> From<&'a JobSpec> for Resolved<'a> {
    fn from(spec: &'a JobSpec) -> Resolved<'a> {
        Resolved {
            name: &spec.name,
            nodes: spec.nodes,
            ranks_per_node: spec.ranks_per_node,
            command: &spec.command,
            working_dir: spec.working_dir.as_deref(),
            env: &spec.env,
            start_timeout_seconds: spec.start_timeout.as_secs_f64(),
            termination_grace_period_seconds: spec.termination_grace.as_secs_f64(),
            max_restarts: spec.max_restarts,
            stop_scope: spec.stop_scope,
            keep: spec.keep,
            output: ResolvedOutput {
                mode: spec.output.mode,
                log_dir: &spec.output.log_dir,
                max_file_size: spec.output.max_file_bytes,
                keep_files: spec.output.keep_files,
            },
        }
    }
}

/// The job that a file and flags mean on this machine.
pub(super) fn resolve(args: &JobArgs, facts: &Facts, base_dir: &Path) -> anyhow::Result<JobSpec> {
    let cwd = std::env::current_dir().context("the current directory is gone; cd to one that exists")?;
    let cwd = utf8(cwd.as_os_str(), "the current directory")?;
    let log_dir = base_dir.join("logs");
    let file_dir = args.file.as_deref().filter(|file| *file != Path::new("-")).and_then(Path::parent);
    let around = Surroundings {
        cwd,
        file_dir: file_dir.map(|dir| utf8(dir.as_os_str(), "the job file's directory")).transpose()?,
        log_dir: utf8(log_dir.as_os_str(), "TMPDIR")?,
        cpus: facts.cores,
        gpus: &gpus,
        env: &|name| std::env::var(name).ok(),
    };
    let file = match &args.file {
        Some(path) => JobFile::parse(&path.to_string_lossy(), &read(path)?)?,
        None => JobFile::default(),
    };
    let spec = file.overlay(&flags(args), &around)?.resolve(&around)?;
    let size = spec.command.iter().map(String::len).sum::<usize>()
        + spec.env.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    if size > LARGEST_COMMAND {
        bail!(
            "the command and env of the job are {size} bytes together, at most {LARGEST_COMMAND} travel with a job; \
             put what is long into a file"
        );
    }
    Ok(spec)
}

fn utf8<'a>(text: &'a OsStr, what: &str) -> anyhow::Result<&'a str> {
    text.to_str().with_context(|| format!("{what} is not UTF-8: {}", text.to_string_lossy()))
}

/// The file, or as much of it as shows that it is too large.
fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut content = Vec::new();
    let cap = MAX_FILE_BYTES as u64 + 1;
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(cap).read_to_end(&mut content)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(cap).read_to_end(&mut content))
    };
    match read {
        Ok(_) => Ok(content),
        Err(error) => bail!("cannot read the job file {}: {error}", path.display()),
    }
}

fn gpus() -> Result<u32, CountError> {
    let visible = std::env::var("CUDA_VISIBLE_DEVICES").ok();
    Ok(nvidia::visible_gpus(visible.as_deref(), std::env::var_os(nvidia::LIBRARY_VARIABLE))?)
}

fn flags(args: &JobArgs) -> Flags {
    let JobArgs { file: _, ranks, nodes, ranks_per_node, name, working_dir, env, .. } = args;
    Flags {
        name: name.clone(),
        ranks: ranks.clone(),
        nodes: nodes.clone(),
        ranks_per_node: ranks_per_node.clone(),
        working_dir: working_dir.clone(),
        env: env.clone(),
        start_timeout: args.start_timeout.clone(),
        grace: args.grace.clone(),
        max_restarts: args.max_restarts.clone(),
        stop_scope: args.stop_scope.clone(),
        keep: args.keep.clone(),
        output: args.output.clone(),
        log_dir: args.log_dir.clone(),
        max_file_size: args.max_file_size.clone(),
        keep_files: args.keep_files.clone(),
        command: args.command.clone(),
    }
}
