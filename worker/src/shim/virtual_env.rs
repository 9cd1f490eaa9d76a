//! A Python environment that the job brings along by its path: it has to be on this node too.

use std::fs;
use std::path::Path;

use nix::unistd::{AccessFlags, access};
use phalanx_common::python;
use phalanx_worker_core::shim::ShimPlan;

use super::refusal::Refusal;

/// Where programs are looked for if nobody says otherwise (execvp(3)).
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// Largest pyvenv.cfg that is read, bytes.
const LARGEST: u64 = 64 << 10;

/// Puts the environment into the plan's variables, unless the job sets them itself. Returns the version
/// of its interpreter, if that can be read without running it.
pub(super) fn activate(plan: &mut ShimPlan) -> Result<Option<String>, Refusal> {
    let Some(prefix) = plan.virtual_env.clone() else { return Ok(None) };
    let bin = Path::new(&prefix).join("bin");
    let python = bin.join("python");
    access(&python, AccessFlags::X_OK)
        .map_err(|errno| Refusal::VirtualEnv { python: python.clone(), error: errno.into() })?;
    let conda = Path::new(&prefix).join("conda-meta");
    let name = if conda.is_dir() { "CONDA_PREFIX" } else { "VIRTUAL_ENV" };
    let set =
        |name: &str| plan.env.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    let path = set("PATH").or_else(|| std::env::var("PATH").ok()).unwrap_or_else(|| DEFAULT_PATH.to_owned());
    let named = set(name).is_some();
    let first = bin.to_string_lossy().into_owned();
    if !path.split(':').any(|dir| dir == first) {
        plan.env.push(("PATH".to_owned(), format!("{first}:{path}")));
    }
    if !named {
        plan.env.push((name.to_owned(), prefix.clone()));
    }
    Ok(version(Path::new(&prefix), &conda))
}

fn version(prefix: &Path, conda: &Path) -> Option<String> {
    let config = prefix.join("pyvenv.cfg");
    let small = fs::metadata(&config).is_ok_and(|meta| meta.is_file() && meta.len() <= LARGEST);
    let config = small.then(|| fs::read_to_string(&config).ok()).flatten();
    let records = fs::read_dir(conda).into_iter().flatten().flatten();
    python::version(config.as_deref(), records.filter_map(|entry| entry.file_name().into_string().ok()))
}
