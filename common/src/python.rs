//! Which Python an environment has, told by its files without running it.

/// The version, `3.11.2`, if the files tell: `config` is the text of `pyvenv.cfg` (PEP 405) where there is
/// one, `records` are the names of the files in `conda-meta`, of which one is that of Python.
pub fn version(config: Option<&str>, records: impl Iterator<Item = String>) -> Option<String> {
    let Some(config) = config else {
        return records.filter_map(|name| numbers(name.strip_prefix("python-")?.split('-').next()?)).min();
    };
    let lines = config.lines().filter_map(|line| line.split_once('='));
    let mut values = lines.map(|(key, value)| (key.trim(), value.trim()));
    values.find(|(key, _)| matches!(*key, "version" | "version_info")).and_then(|(_, value)| numbers(value))
}

/// The first three numbers: `virtualenv` writes `3.11.2.final.0` where `venv` writes `3.11.2`.
fn numbers(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split('.').take(3).collect();
    parts.first()?.starts_with(|c: char| c.is_ascii_digit()).then(|| parts.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_told_by_either_kind_of_environment() {
        let records = || ["python-dateutil-2.9-0.json", "python-3.12.4-h1234.json"].map(str::to_owned);
        assert_eq!(version(None, std::iter::empty()), None);
        assert_eq!(version(None, records().into_iter()).as_deref(), Some("3.12.4"));
        let of = |config: &str| version(Some(config), records().into_iter());
        assert_eq!(of("home = /usr/bin\nversion = 3.11.2\n").as_deref(), Some("3.11.2"));
        assert_eq!(of("version_info = 3.10.4.final.0\nversion = 3.10.4\n").as_deref(), Some("3.10.4"));
        assert_eq!(of("home = /usr/bin\n"), None);
        assert_eq!(of("version = \n"), None);
    }
}
