//! What a job brings along from the submitter's environment: named variables, secrets, the active
//! Python environment. Nothing else travels.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use phalanx_common::spec::VirtualEnv;

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

/// The variable that `--secret NAME[=FILE]` names.
pub(super) fn secret_name(typed: &str) -> &str {
    typed.split_once('=').map_or(typed, |(name, _)| name)
}

/// Names and values of secrets.
pub(super) fn secrets(typed: &[String]) -> anyhow::Result<Vec<(String, String)>> {
    let mut secrets = Vec::new();
    for typed in typed {
        let name = secret_name(typed);
        if name.is_empty() {
            bail!("--secret {typed}: expected NAME or NAME=FILE");
        }
        let value = match typed.split_once('=') {
            Some((_, path)) => {
                let text = read(Path::new(path), LARGEST_SECRET, "--secret")?;
                text.strip_suffix('\n').map_or_else(|| text.clone(), str::to_owned)
            }
            None => std::env::var(name).ok().with_context(|| {
                format!("--secret {name}: no such variable is set here, or it is not UTF-8")
            })?,
        };
        if value.contains('\0') {
            bail!("--secret {name}: a NUL character cannot be passed to a process");
        }
        secrets.push((name.to_owned(), value));
    }
    let size: usize = secrets.iter().map(|(name, value)| name.len() + value.len()).sum();
    if size > LARGEST_SECRETS {
        bail!("the secrets are {size} bytes together, at most {LARGEST_SECRETS} travel with a job");
    }
    Ok(secrets)
}

/// The environment that is active here.
pub(super) fn virtual_env() -> Option<VirtualEnv> {
    let prefix = ["VIRTUAL_ENV", "CONDA_PREFIX"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|prefix| prefix.starts_with('/'))?;
    Some(VirtualEnv { prefix, version: None })
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
        let typed = [format!("KEY={}", path.display()), "PATH".to_owned()];
        let found = secrets(&typed).unwrap();
        assert_eq!(found[0], ("KEY".to_owned(), "hush".to_owned()));
        assert_eq!(found[1], ("PATH".to_owned(), std::env::var("PATH").unwrap()));
        std::fs::remove_file(&path).unwrap();
        assert!(secrets(&["NO_SUCH_VARIABLE_HERE".to_owned()]).is_err());
        assert!(secrets(&["=x".to_owned()]).is_err());
    }
}
