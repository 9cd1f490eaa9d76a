//! Why ranks do not fit into a node.

use std::fmt;

/// What is missing, need by need, and the smallest change that would make the ranks fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// Ranks that were asked for, and how many of them would fit.
    pub ranks: u32,
    pub fits: u32,
    /// In the order devices, cores, memory, ports; one at least.
    pub missing: Vec<Missing>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Missing {
    /// No device of the node passes this filter and those before it; so many devices come so far.
    Match { filter: Filter, before: u32 },
    /// Of the devices that will do the most of one class are `free`; the node has `has` of a class at most.
    Devices { needed: u64, free: u32, has: u32 },
    /// Whole cores.
    Cores { needed: u64, free: u32, has: u32 },
    /// Bytes.
    Memory { needed: u64, free: u64, has: u64 },
    /// Ports for each rank that work.
    Ports { needed: u32, up: u32, has: u32 },
}

/// What is asked of a device, in the order in which it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Filter {
    Kind,
    Mig,
    Model,
    Memory,
}

/// The smallest change with which the ranks would fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Ask for so many ranks on the node; they fit now.
    FewerRanks(u32),
    /// Wait until so much more of it is free.
    Wait { devices: u64, cores: u64, memory: u64 },
    /// Ports must come up.
    Ports { more: u32 },
    /// The node never has this: ask for less of it, or for another node.
    Never(Missing),
}

impl Missing {
    /// Whether the node has less than is needed even when nothing runs on it.
    fn is_for_ever(&self) -> bool {
        match *self {
            Missing::Match { .. } => true,
            Missing::Devices { needed, has, .. } | Missing::Cores { needed, has, .. } => {
                needed > u64::from(has)
            }
            Missing::Memory { needed, has, .. } => needed > has,
            Missing::Ports { needed, has, .. } => needed > has,
        }
    }

    /// Whether nobody told how much of it the node has.
    fn is_untold(&self) -> bool {
        matches!(self, Missing::Cores { has: 0, .. } | Missing::Memory { has: 0, .. })
    }
}

impl Lack {
    /// Whether the node does not do even when nothing runs on it, as far as it is known.
    pub fn is_for_ever(&self) -> bool {
        self.missing.iter().any(|missing| missing.is_for_ever() && !missing.is_untold())
    }

    /// Whether the node may do once more is told of it.
    pub fn is_untold(&self) -> bool {
        !self.is_for_ever() && self.missing.iter().any(Missing::is_untold)
    }

    pub fn change(&self) -> Change {
        if self.fits > 0 {
            return Change::FewerRanks(self.fits);
        }
        if let Some(never) = self.missing.iter().find(|missing| missing.is_for_ever()) {
            return Change::Never(*never);
        }
        let (mut more_devices, mut more_cores, mut more_memory) = (0, 0, 0);
        for missing in &self.missing {
            match *missing {
                Missing::Match { .. } => {}
                Missing::Devices { needed, free, .. } => more_devices = needed.saturating_sub(free.into()),
                Missing::Cores { needed, free, .. } => more_cores = needed.saturating_sub(free.into()),
                Missing::Memory { needed, free, .. } => more_memory = needed.saturating_sub(free),
                Missing::Ports { needed, up, .. } => {
                    return Change::Ports { more: needed.saturating_sub(up) };
                }
            }
        }
        Change::Wait { devices: more_devices, cores: more_cores, memory: more_memory }
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, missing) in self.missing.iter().enumerate() {
            write!(f, "{}{missing}", if at == 0 { "" } else { ", " })?;
        }
        write!(f, "; {}", self.change())
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missing::Match { before: 0, .. } => f.write_str("has no devices"),
            Missing::Match { filter, before } => {
                let what = match filter {
                    Filter::Kind => "of the kind",
                    Filter::Mig => "of the MIG profile",
                    Filter::Model => "of the model",
                    Filter::Memory => "with the memory",
                };
                write!(
                    f,
                    "none of {before} device{} is one {what} that is asked for",
                    plural((*before).into())
                )
            }
            Missing::Devices { needed, free, has } => {
                write!(f, "needs {needed} device{}, {free} of {has} free", plural(*needed))
            }
            Missing::Cores { needed, has: 0, .. } => {
                write!(f, "needs {needed} core{}, and its cores are not known", plural(*needed))
            }
            Missing::Memory { needed, has: 0, .. } => {
                write!(f, "needs {} GiB of memory, and its memory is not known", needed.div_ceil(1 << 30))
            }
            Missing::Cores { needed, free, has } => {
                write!(f, "needs {needed} core{}, {free} of {has} free", plural(*needed))
            }
            Missing::Memory { needed, free, has } => write!(
                f,
                "needs {} GiB of memory, {} of {} free",
                needed.div_ceil(1 << 30),
                free >> 30,
                has >> 30
            ),
            Missing::Ports { needed, up, has } => {
                write!(
                    f,
                    "needs {needed} network port{} for each rank, {up} of {has} up",
                    plural((*needed).into())
                )
            }
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::FewerRanks(ranks) => write!(f, "{ranks} rank{} fit now", plural((*ranks).into())),
            Change::Wait { devices, cores, memory } => {
                f.write_str("would fit with")?;
                let mut comma = " ";
                for (more, what) in [(*devices, "device"), (*cores, "core")] {
                    if more > 0 {
                        write!(f, "{comma}{more} more free {what}{}", plural(more))?;
                        comma = ", ";
                    }
                }
                if *memory > 0 {
                    write!(f, "{comma}{} GiB more free memory", memory.div_ceil(1 << 30))?;
                }
                Ok(())
            }
            Change::Ports { more } => {
                write!(f, "would fit with {more} more port{} up", plural((*more).into()))
            }
            Change::Never(Missing::Match { .. }) => f.write_str("no rank of this job ever fits here"),
            Change::Never(missing) if missing.is_untold() => {
                f.write_str("a file of its machine (lstopo) tells it")
            }
            Change::Never(Missing::Devices { has, .. }) => {
                write!(f, "the node never has more than {has} device{}", plural((*has).into()))
            }
            Change::Never(Missing::Cores { has, .. }) => {
                write!(f, "the node never has more than {has} core{}", plural((*has).into()))
            }
            Change::Never(Missing::Memory { has, .. }) => {
                write!(f, "the node never has more than {} GiB of memory", has >> 30)
            }
            Change::Never(Missing::Ports { has, .. }) => {
                write!(f, "the node never has more than {has} port{}", plural((*has).into()))
            }
        }
    }
}

/// The ending of a word of which there are so many.
pub(crate) fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}
