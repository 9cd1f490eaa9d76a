//! A tree in memory, of lines: `PATH = CONTENT`, or `PATH -> TARGET` for a link.

use std::collections::{BTreeMap, BTreeSet};

use phalanx_formats::tree::Tree;

#[derive(Clone, Debug, Default)]
pub(crate) struct Files {
    files: BTreeMap<String, String>,
    links: BTreeMap<String, String>,
}

impl Files {
    /// `\n` in a content is a line break, `\t` a tabulator.
    pub(crate) fn of(text: &str) -> Files {
        let mut files = Files::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if let Some((path, target)) = line.split_once(" -> ") {
                files.links.insert(path.to_owned(), target.to_owned());
            } else {
                let (path, content) = line.split_once(" =").expect("a file or a link");
                let content = content.trim_start().replace("\\n", "\n").replace("\\t", "\t");
                files.files.insert(path.to_owned(), content);
            }
        }
        files
    }

    fn is_there(&self, path: &str) -> bool {
        let below = format!("{path}/");
        let any =
            |map: &BTreeMap<String, String>| map.keys().any(|key| key == path || key.starts_with(&below));
        any(&self.files) || any(&self.links)
    }
}

impl Tree for Files {
    fn read(&self, path: &str, limit: usize) -> Option<String> {
        let content = self.files.get(&self.real_path(path)?)?;
        Some(content.get(..content.floor_char_boundary(limit))?.to_owned())
    }

    fn list(&self, path: &str) -> Vec<String> {
        let Some(path) = self.real_path(path) else { return Vec::new() };
        let below = format!("{path}/");
        let all = self.files.keys().chain(self.links.keys());
        let names: BTreeSet<String> =
            all.filter_map(|key| key.strip_prefix(&below)?.split('/').next().map(str::to_owned)).collect();
        names.into_iter().collect()
    }

    fn real_path(&self, path: &str) -> Option<String> {
        let mut at = String::new();
        for part in path.split('/') {
            at = if at.is_empty() { part.to_owned() } else { format!("{at}/{part}") };
            if let Some(target) = self.links.get(&at) {
                at = self.real_path(target)?;
            }
        }
        self.is_there(&at).then_some(at)
    }
}
