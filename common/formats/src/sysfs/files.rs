//! Reading values out of a tree.

use std::str::FromStr;

use phalanx_common::text::shown;
use phalanx_common::topology::machine::{AcceleratorKind, CpuSet, PciDevice, PciKind};
use phalanx_common::topology::{Bdf, Guid};

use crate::text::printable;
use crate::tree::Tree;

/// The longest file of one value: a list of every second CPU of the most there may be.
const MAX_VALUE: usize = 64 << 10;
/// The most problems that are told of one tree.
const MAX_PROBLEMS: usize = 100;

/// A file that says what it cannot mean. It is taken for one that says nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path} says {}, which is not {expected}; it is left out", shown(text))]
pub struct Problem {
    /// In the tree: `sys/devices/system/cpu/online`.
    pub path: String,
    pub text: String,
    pub expected: &'static str,
}

/// A tree, and what was wrong in it so far.
pub(super) struct Files<'a> {
    tree: &'a dyn Tree,
    pub(super) problems: Vec<Problem>,
}

impl<'a> Files<'a> {
    pub(super) fn of(tree: &'a dyn Tree) -> Files<'a> {
        Files { tree, problems: Vec::new() }
    }

    /// The names in a folder that are names: a saved tree may have others.
    pub(super) fn list(&self, path: &str) -> Vec<String> {
        let mut names = self.tree.list(path);
        names.retain(|name| is_name(name));
        names
    }

    /// Those names that are `prefix` and a number, by number.
    pub(super) fn numbered(&self, path: &str, prefix: &str) -> Vec<u32> {
        let number = |name: &String| {
            let digits = name.strip_prefix(prefix)?;
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| digits.parse().ok()).flatten()
        };
        let mut numbers: Vec<u32> = self.tree.list(path).iter().filter_map(number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// The path without links.
    pub(super) fn real_path(&self, path: &str) -> Option<String> {
        self.tree.real_path(path)
    }

    /// What a link of that name leads to: the last part of its real path.
    pub(super) fn target(&self, path: &str) -> Option<String> {
        let real = self.tree.real_path(path)?;
        real.rsplit('/').next().filter(|name| is_name(name)).map(str::to_string)
    }

    /// Where an entry of a class is in the tree of devices. A saved tree may have folders where the kernel
    /// has links; their link `device` tells the same.
    fn device(&self, path: &str) -> Option<String> {
        let real = self.tree.real_path(path)?;
        if real.starts_with("sys/devices/") {
            return Some(real);
        }
        self.tree.real_path(&format!("{path}/device"))
    }

    /// Whether an entry of a class is of a real device.
    pub(super) fn is_hardware(&self, path: &str) -> bool {
        self.device(path).is_some_and(|real| !real.starts_with("sys/devices/virtual/"))
    }

    /// The PCI function that an entry of a class is of. Virtio and others have a bus of their own between.
    pub(super) fn function(&self, path: &str) -> Option<Bdf> {
        addresses(&self.device(path)?).last().copied()
    }

    /// The beginning of a file.
    pub(super) fn beginning(&self, path: &str, limit: usize) -> Option<String> {
        self.tree.read(path, limit)
    }

    /// A line, without white space around it and without the zero byte that strings of firmware end with.
    /// `None` for none.
    pub(super) fn line(&self, path: &str) -> Option<String> {
        const LONGEST: usize = 256;
        let text = self.tree.read(path, LONGEST)?;
        let line = printable(text.lines().next()?.trim());
        (!line.is_empty()).then_some(line)
    }

    /// A value; what is no such value is a problem.
    pub(super) fn value<T>(
        &mut self,
        path: &str,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.tree.read(path, MAX_VALUE)?;
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        let value = parse(text);
        if value.is_none() {
            self.problem(path, text, expected);
        }
        value
    }

    pub(super) fn problem(&mut self, path: &str, text: &str, expected: &'static str) {
        if self.problems.len() < MAX_PROBLEMS {
            let text = text.chars().take(80).collect();
            self.problems.push(Problem { path: path.to_string(), text, expected });
        }
    }

    pub(super) fn number<T: FromStr>(&mut self, path: &str) -> Option<T> {
        self.value(path, "a number", |text| text.parse().ok())
    }

    /// A number of things, for which the kernel writes -1 where it does not know.
    pub(super) fn known(&mut self, path: &str) -> Option<u32> {
        let known = |text: &str| match text {
            "-1" => Some(None),
            text => text.parse().ok().map(Some),
        };
        self.value(path, "a number, or -1 for one that is not known", known).flatten()
    }

    /// A number that the kernel writes as `0x3a4`.
    pub(super) fn hex<T: TryFrom<u32>>(&mut self, path: &str) -> Option<T> {
        self.value(path, "a hexadecimal number such as 0x10de", |text| T::try_from(hexadecimal(text)?).ok())
    }

    /// A GUID; one of zeros is none.
    pub(super) fn guid(&mut self, path: &str) -> Option<Guid> {
        self.value(path, "a GUID", |text| text.parse().ok()).filter(|guid| *guid != Guid(0))
    }

    /// A set of CPUs or nodes: of the first of these files that there is, lists first, then masks, which is
    /// all that old captures have. An empty file is the empty set.
    pub(super) fn set(&mut self, folder: &str, lists: &[&str], masks: &[&str]) -> Option<CpuSet> {
        let list = (|text: &str| text.parse().ok()) as fn(&str) -> Option<CpuSet>;
        let mask = (|text: &str| CpuSet::from_mask(text).ok()) as fn(&str) -> Option<CpuSet>;
        let lists = lists.iter().map(|name| (name, list));
        let (path, text, parse) =
            lists.chain(masks.iter().map(|name| (name, mask))).find_map(|(name, parse)| {
                let path = format!("{folder}/{name}");
                Some((path.clone(), self.tree.read(&path, MAX_VALUE)?, parse))
            })?;
        let set = parse(&text);
        if set.is_none() {
            self.problem(&path, text.trim(), "a set such as 0-3,8");
        }
        set
    }
}

fn is_name(name: &str) -> bool {
    printable(name) == name
}

/// With `0x` or without.
pub(super) fn hexadecimal(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    digits
        .bytes()
        .all(|byte| byte.is_ascii_hexdigit())
        .then(|| u32::from_str_radix(digits, 16).ok())
        .flatten()
}

/// Whether a device is a GPU or an NPU of a maker, and not a part of one that a guest has.
pub(super) fn computes(device: &PciDevice, kind: AcceleratorKind) -> bool {
    let of_maker = device.vendor.and_then(AcceleratorKind::of_vendor) == Some(kind);
    of_maker && device.kind == Some(PciKind::Gpu) && device.function_of.is_none()
}

/// The PCI addresses in a real path, from the host bridge down to the device.
pub(super) fn addresses(real_path: &str) -> Vec<Bdf> {
    let of_pci = |part: &str| part.bytes().filter(|byte| *byte == b':').count() == 2;
    real_path.split('/').filter(|part| of_pci(part)).filter_map(|part| part.parse().ok()).collect()
}
