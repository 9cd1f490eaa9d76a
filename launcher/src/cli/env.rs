//! What a job brings along from the submitter's environment: named variables, secrets, the active
//! Python environment. Nothing else travels.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use phalanx_common::python;
use phalanx_common::spec::{JobFile, VirtualEnv};

/// Largest file with variables, bytes.
const LARGEST_FILE: u64 = 256 << 10;
/// Largest secret, bytes.
const LARGEST_SECRET: u64 = 64 << 10;
/// Largest secrets of a job together, bytes: they travel in one frame.
const LARGEST_SECRETS: usize = 256 << 10;

/// Variables of these files, in order, as `--env` takes them.
pub(super) fn of_files(paths: &[PathBuf]) -> anyhow::Result<Vec<String>> {
    let mut variables = Vec::new();
    for path in paths {
        let text = read(path, LARGEST_FILE, "--env-file")?;
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let line = line.strip_prefix("export ").unwrap_or(line);
            let Some((name, value)) = line.split_once('=') else {
                // The line is not shown: it may be a secret.
                bail!("{}:{number}: expected NAME=VALUE", path.display());
            };
            variables.push(format!("{}={}", name.trim_end(), unquoted(value.trim())));
        }
    }
    Ok(variables)
}

/// A value in quotes is what stands between them; nothing else is special.
fn unquoted(value: &str) -> &str {
    let inside = |quote| value.strip_prefix(quote).and_then(|rest: &str| rest.strip_suffix(quote));
    inside('"').or_else(|| inside('\'')).unwrap_or(value)
}

/// Where the secrets of a job come from: files that `--secret NAME=FILE` names, else variables set here.
pub(super) struct SecretFiles<'a>(BTreeMap<&'a str, &'a Path>);

impl<'a> SecretFiles<'a> {
    pub(super) fn new(typed: &'a [String]) -> SecretFiles<'a> {
        SecretFiles(
            typed
                .iter()
                .filter_map(|typed| typed.split_once('='))
                .map(|(name, path)| (name, Path::new(path)))
                .collect(),
        )
    }

    /// Where the secret that is given under this name comes from, for people.
    pub(super) fn source(&self, key: &str) -> String {
        match self.0.get(key) {
            Some(path) => format!("from the file {}", path.display()),
            None if std::env::var(key).is_ok() => format!("from your variable {key}"),
            None => "not given".to_owned(),
        }
    }

    /// Names and values of the job's secrets.
    pub(super) fn values(&self, job: &JobFile) -> anyhow::Result<Vec<(String, String)>> {
        let mut of_files = BTreeMap::new();
        for (name, path) in &self.0 {
            let text = read(path, LARGEST_SECRET, "--secret")?;
            of_files.insert(*name, text.strip_suffix('\n').unwrap_or(&text).to_owned());
        }
        let given = |key: &str| of_files.get(key).cloned().or_else(|| std::env::var(key).ok());
        let secrets = job.secret_values(&given)?;
        let size: usize = secrets.iter().map(|(name, value)| name.len() + value.len()).sum();
        if size > LARGEST_SECRETS {
            bail!("the secrets are {size} bytes together, at most {LARGEST_SECRETS} travel with a job");
        }
        Ok(secrets)
    }
}

/// The environment that is active here.
pub(super) fn virtual_env() -> Option<VirtualEnv> {
    let prefix = ["VIRTUAL_ENV", "CONDA_PREFIX"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|prefix| prefix.starts_with('/'))?;
    let version = python_version(Path::new(&prefix));
    Some(VirtualEnv { prefix, version })
}

/// Read as the nodes read theirs, to be compared with it; `None` if the environment is on the nodes alone.
fn python_version(prefix: &Path) -> Option<String> {
    let config = prefix.join("pyvenv.cfg");
    let small = std::fs::metadata(&config).is_ok_and(|meta| meta.is_file() && meta.len() <= LARGEST_FILE);
    let config = small.then(|| std::fs::read_to_string(&config).ok()).flatten();
    let records = std::fs::read_dir(prefix.join("conda-meta")).into_iter().flatten().flatten();
    python::version(config.as_deref(), records.filter_map(|entry| entry.file_name().into_string().ok()))
}

fn read(path: &Path, largest: u64, flag: &str) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(largest + 1).read_to_string(&mut text));
    read.with_context(|| format!("{flag}: cannot read {}", path.display()))?;
    if text.len() as u64 > largest {
        bail!("{flag}: {} is larger than {largest} bytes", path.display());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_variables_is_read_line_by_line_and_a_wrong_line_is_named() {
        let path = std::env::temp_dir().join(format!("phalanx-env-{}", std::process::id()));
        std::fs::write(&path, "# comment\n\nA=1\nexport B = \"two words\"\nC='x=y'\nD=\n").unwrap();
        assert_eq!(of_files(std::slice::from_ref(&path)).unwrap(), ["A=1", "B=two words", "C=x=y", "D="]);
        std::fs::write(&path, "A=1\nnonsense\n").unwrap();
        let error = of_files(std::slice::from_ref(&path)).unwrap_err().to_string();
        assert!(error.ends_with(":2: expected NAME=VALUE"), "{error}");
        std::fs::remove_file(&path).unwrap();
        assert!(of_files(&[path]).unwrap_err().to_string().starts_with("--env-file: cannot read "));
    }

    #[test]
    fn a_secret_comes_from_a_file_without_its_last_newline_or_from_a_variable() {
        let path = std::env::temp_dir().join(format!("phalanx-secret-{}", std::process::id()));
        std::fs::write(&path, "hush\n").unwrap();
        let text = b"command: [a]\nenv: {A: {secret: KEY}, B: {secret: PATH}, C: {secret: KEY}}\n";
        let job = JobFile::parse("job.yaml", text).unwrap();
        let typed = [format!("KEY={}", path.display()), "PATH".to_owned()];
        let found = SecretFiles::new(&typed).values(&job).unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let of_path = std::env::var("PATH").unwrap();
        assert_eq!(found, [pair("A", "hush"), pair("B", &of_path), pair("C", "hush")]);
        std::fs::write(&path, "x".repeat(200 << 10)).unwrap();
        let error = SecretFiles::new(&typed).values(&job).unwrap_err().to_string();
        assert!(error.ends_with("is larger than 65536 bytes"), "{error}");
        std::fs::remove_file(&path).unwrap();
        let error = SecretFiles::new(&typed).values(&job).unwrap_err().to_string();
        assert!(error.starts_with("--secret: cannot read "), "{error}");
    }
}
