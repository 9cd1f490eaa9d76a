//! A tree of small files, as the kernel shows a machine.

/// Folders and files by path: names with `/` between, no `/` before, `sys/class/net`. `sys` and `proc` are
/// where a machine has them. What is not there and what cannot be read are the same: the kernel answers
/// some files with an error where it does not know.
pub trait Tree {
    /// The beginning of a file, `limit` bytes at most; a byte that is no UTF-8 in it is shown as `\xe9`.
    fn read(&self, path: &str, limit: usize) -> Option<String>;

    /// The names in a folder in order, [`MAX_NAMES`] at most.
    fn list(&self, path: &str) -> Vec<String>;

    /// The path without links. `None` for what is not there and for a link that leads out of the tree.
    fn real_path(&self, path: &str) -> Option<String>;
}

/// The most names of one folder that are looked at: a machine has fewer CPUs, and fewer PCI functions.
pub const MAX_NAMES: usize = 16 << 10;
