//! A job from its file, flags and surroundings.

use std::ffi::OsStr;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};
use phalanx_common::spec::{CountError, Flags, JobFile, JobSpec, MAX_FILE_BYTES, Surroundings};

use super::args::JobArgs;
use super::env::{self, SecretFiles};

/// What a job is resolved for.
#[derive(Debug)]
pub(super) enum Target {
    /// This one.
    #[cfg(feature = "local")]
    Machine { cores: u32, log_dir: std::path::PathBuf },
    /// Machines whose cores, GPUs and directories are not known here.
    Cluster,
}

/// This machine, or in a client-only build a cluster.
#[cfg(feature = "local")]
pub(super) fn this_machine() -> anyhow::Result<Target> {
    let log_dir = crate::local::base_dir::path().join("logs");
    Ok(Target::Machine { cores: phalanx_worker::facts::Facts::read()?.cores, log_dir })
}

#[cfg(not(feature = "local"))]
pub(super) fn this_machine() -> anyhow::Result<Target> {
    Ok(Target::Cluster)
}

/// A job, and what its submitter has to bring for it.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) spec: JobSpec,
    /// What `spec` was made of.
    pub(super) file: JobFile,
    /// The directory that travels, as an absolute path.
    pub(super) ship: Option<String>,
}

/// The job that a file and flags mean there.
pub(super) fn resolve(args: &JobArgs, target: &Target) -> anyhow::Result<Resolved> {
    let cwd = std::env::current_dir().context("the current directory is gone; cd to one that exists")?;
    let cwd = utf8(cwd.as_os_str(), "the current directory")?;
    let (cluster, cpus, log_dir): (bool, u32, Option<&Path>) = match target {
        #[cfg(feature = "local")]
        Target::Machine { cores, log_dir } => (false, *cores, Some(log_dir.as_path())),
        Target::Cluster => (true, 1, None),
    };
    let file_dir = args.file.as_deref().filter(|file| *file != Path::new("-")).and_then(Path::parent);
    let around = Surroundings {
        cwd,
        file_dir: file_dir.map(|dir| utf8(dir.as_os_str(), "the job file's directory")).transpose()?,
        log_dir: log_dir.map(|dir| utf8(dir.as_os_str(), "TMPDIR")).transpose()?,
        cluster,
        cpus,
        gpus: &gpus,
        env: &|name| std::env::var(name).ok(),
    };
    let flags = Flags { env_file: env::of_files(&args.env_file)?, ..flags(args) };
    let file = match &args.file {
        Some(path) => JobFile::parse(&path.to_string_lossy(), &read(path)?)?,
        None => JobFile::default(),
    };
    let file = file.overlay(&flags, &around)?;
    let mut spec = file.resolve(&around)?;
    if file.output.mode.is_none() {
        spec.output.mode = args.usual_output.unwrap_or_default();
    }
    let ship = file.ship_dir(&around);
    if spec.working_dir.is_none() && ship.is_none() {
        // Nodes have no other way of knowing where this is.
        spec.working_dir = Some(cwd.to_owned());
    }
    if cluster && !args.no_virtual_env {
        spec.virtual_env = env::virtual_env();
    }
    Ok(Resolved { spec, file, ship })
}

impl Resolved {
    /// Names and values of the job's secrets.
    pub(super) fn secrets(&self, args: &JobArgs) -> anyhow::Result<Vec<(String, String)>> {
        SecretFiles::new(&args.secret).values(&self.file)
    }
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

#[cfg(feature = "local")]
fn gpus() -> Result<u32, CountError> {
    use phalanx_worker::discovery::nvidia;
    let visible = std::env::var("CUDA_VISIBLE_DEVICES").ok();
    Ok(nvidia::visible_gpus(visible.as_deref(), std::env::var_os(nvidia::LIBRARY_VARIABLE))?)
}

#[cfg(not(feature = "local"))]
fn gpus() -> Result<u32, CountError> {
    Err("this build of phalanx runs nothing on this machine".into())
}

fn flags(args: &JobArgs) -> Flags {
    let JobArgs { file: _, ranks, nodes, ranks_per_node, name, working_dir, env, .. } = args;
    Flags {
        name: name.clone(),
        ranks: ranks.clone(),
        nodes: nodes.clone(),
        ranks_per_node: ranks_per_node.clone(),
        working_dir: working_dir.clone(),
        needs: args.needs.flags(),
        ship: args.ship.clone(),
        env: env.clone(),
        env_file: Vec::new(),
        secret: args.secret.clone(),
        start_timeout: args.start_timeout.clone(),
        grace: args.grace.clone(),
        max_restarts: args.max_restarts.clone(),
        restart_policy: args.restart_policy.clone(),
        restart_scope: args.restart_scope.clone(),
        deadline: args.deadline.clone(),
        suspend: args.suspend.clone(),
        fencing: args.fencing.clone(),
        unreachable: args.unreachable.clone(),
        lease: args.lease.clone(),
        stop_scope: args.stop_scope.clone(),
        keep: args.keep.clone(),
        output: args.output.clone(),
        log_dir: args.log_dir.clone(),
        max_file_size: args.max_file_size.clone(),
        keep_files: args.keep_files.clone(),
        command: args.command.clone(),
    }
}
