//! A tree in memory.

use std::cell::Cell;
use std::collections::BTreeMap;

use phalanx_formats::tree::{MAX_NAMES, Tree};

/// What a bridge says of itself.
pub(crate) const BRIDGE: [(&str, &str); 4] =
    [("class", "0x060400"), ("vendor", "0x8086"), ("device", "0x347a"), ("max_link_speed", "Unknown")];

/// Files and links by path, as a test wrote them.
#[derive(Clone, Default)]
pub(crate) struct Written {
    pub(crate) files: BTreeMap<String, String>,
    links: BTreeMap<String, String>,
    /// How often it was asked for anything.
    pub(crate) asked: Cell<usize>,
}

impl Written {
    pub(crate) fn file(&mut self, path: &str, text: impl ToString) -> &mut Written {
        self.files.insert(path.to_string(), text.to_string() + "\n");
        self
    }

    /// A link to a path from the root.
    pub(crate) fn link(&mut self, path: &str, target: &str) -> &mut Written {
        self.links.insert(path.to_string(), target.to_string());
        self
    }

    /// A PCI function in the tree of devices: its place there, with bridges above it, and its values.
    pub(crate) fn pci(&mut self, place: &str, values: &[(&str, &str)]) -> String {
        let folder = format!("sys/devices/{place}");
        let name = place.rsplit('/').next().unwrap();
        self.link(&format!("sys/bus/pci/devices/{name}"), &folder);
        for (file, text) in values {
            self.file(&format!("{folder}/{file}"), text);
        }
        folder
    }

    /// The path with every link in it replaced.
    fn resolve(&self, path: &str) -> Option<String> {
        let mut path = path.to_string();
        for _ in 0..10 {
            let is_below = |link: &str| {
                path.strip_prefix(link).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            let Some((link, target)) = self.links.iter().find(|(link, _)| is_below(link)) else {
                return Some(path);
            };
            path = format!("{target}{}", &path[link.len()..]);
        }
        None
    }
}

impl Tree for Written {
    fn read(&self, path: &str, limit: usize) -> Option<String> {
        self.asked.set(self.asked.get() + 1);
        let text = self.files.get(&self.resolve(path)?)?;
        Some(text.chars().take(limit).collect())
    }

    fn list(&self, path: &str) -> Vec<String> {
        self.asked.set(self.asked.get() + 1);
        let Some(real) = self.resolve(path) else { return Vec::new() };
        let below = |all: &String| {
            let rest = all.strip_prefix(&real)?.strip_prefix('/')?;
            Some(rest.split('/').next()?.to_string())
        };
        let mut names: Vec<String> = self.files.keys().chain(self.links.keys()).filter_map(below).collect();
        names.sort();
        names.dedup();
        names.truncate(MAX_NAMES);
        names
    }

    fn real_path(&self, path: &str) -> Option<String> {
        self.asked.set(self.asked.get() + 1);
        let real = self.resolve(path)?;
        let inside = format!("{real}/");
        let is_there = self.files.keys().any(|file| *file == real || file.starts_with(&inside));
        is_there.then_some(real)
    }
}
