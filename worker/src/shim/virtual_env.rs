//! A Python environment that the job brings along by its path: it has to be on this node too.

use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};
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

/// From `pyvenv.cfg` (PEP 405), or from the name of conda's record of its Python.
fn version(prefix: &Path, conda: &Path) -> Option<String> {
    let config = prefix.join("pyvenv.cfg");
    if fs::metadata(&config).is_ok_and(|meta| meta.is_file() && meta.len() <= LARGEST)
        && let Ok(text) = fs::read_to_string(&config)
    {
        let lines = text.lines().filter_map(|line| line.split_once('='));
        let mut values = lines.map(|(key, value)| (key.trim(), value.trim()));
        let found = values.find(|(key, _)| matches!(*key, "version" | "version_info"))?;
        return Some(found.1.to_owned());
    }
    let records = fs::read_dir(conda).ok()?.flatten().map(|entry| PathBuf::from(entry.file_name()));
    records
        .filter_map(|name| {
            let rest = name.to_str()?.strip_prefix("python-")?;
            let version = rest.split('-').next()?;
            version.starts_with(|c: char| c.is_ascii_digit()).then(|| version.to_owned())
        })
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_either_kind_of_environment() {
        let dir = std::env::temp_dir().join(format!("phalanx-venv-{}", std::process::id()));
        let conda = dir.join("conda-meta");
        fs::create_dir_all(&conda).unwrap();
        assert_eq!(version(&dir, &conda), None);
        fs::write(conda.join("python-dateutil-2.9-0.json"), "").unwrap();
        fs::write(conda.join("python-3.12.4-h1234.json"), "").unwrap();
        assert_eq!(version(&dir, &conda).as_deref(), Some("3.12.4"));
        fs::write(dir.join("pyvenv.cfg"), "home = /usr/bin\nversion = 3.11.2\n").unwrap();
        assert_eq!(version(&dir, &conda).as_deref(), Some("3.11.2"));
        fs::remove_dir_all(&dir).unwrap();
    }
}
