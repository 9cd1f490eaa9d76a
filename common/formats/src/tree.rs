//! Folders of small files, as the kernel shows itself in /sys and /proc, and as a recording of them has.

/// Largest file read, bytes: a /proc/cpuinfo of thousands of CPUs.
pub const MAX_FILE: usize = 8 << 20;
/// Most entries of a folder.
pub const MAX_ENTRIES: usize = 65_536;

/// A tree of folders. Paths are relative to its root and have no leading slash: `sys/class/net`.
pub trait Tree {
    /// The file's bytes; `None` if it is not there, cannot be read, or is larger than [`MAX_FILE`].
    fn read(&self, path: &str) -> Option<Vec<u8>>;
    /// Names in the folder, sorted; none if it is not there.
    fn list(&self, path: &str) -> Vec<String>;
    /// Where the path leads once its links are followed, in the same form; `None` if it leads nowhere, or out of
    /// the tree.
    fn resolve(&self, path: &str) -> Option<String>;
}

/// What readers ask of a tree.
pub(crate) trait Ask: Tree {
    /// Its text without the white space around it; `None` also if there is none.
    fn text(&self, path: &str) -> Option<String> {
        let bytes = self.read(path)?;
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
        (!text.is_empty())
            .then(|| text.chars().filter(|c| *c == '\n' || *c == '\t' || !c.is_control()).collect())
    }

    /// What its text says.
    fn value<T: std::str::FromStr>(&self, path: &str) -> Option<T> {
        self.text(path)?.parse().ok()
    }

    /// The last part of where the path leads.
    fn target(&self, path: &str) -> Option<String> {
        let resolved = self.resolve(path)?;
        resolved.rsplit('/').next().map(str::to_owned)
    }
}

impl<T: Tree + ?Sized> Ask for T {}
