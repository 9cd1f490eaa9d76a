//! A job from its file, flags and surroundings.

use std::ffi::OsStr;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};
use phalanx_common::defaults;
use phalanx_common::spec::{CountError, Document, Flags, JobFile, JobSpec, MAX_FILE_BYTES, Surroundings};
use phalanx_worker::discovery::nvidia;
use phalanx_worker::facts::Facts;

use super::args::JobArgs;
use super::{Exit, pretty, print};
use crate::local::base_dir;

/// Bytes of command and env that fit a frame with all that goes beside them.
const LARGEST_COMMAND: usize = defaults::FRAME_CAP / 2;

/// Prints the job that a file and flags mean.
pub(super) fn check(args: &JobArgs) -> anyhow::Result<Exit> {
    let facts = Facts::read()?;
    print(&pretty(&Document::from(&resolve(args, &facts, &base_dir::path())?)))
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
        log_dir: Some(utf8(log_dir.as_os_str(), "TMPDIR")?),
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
