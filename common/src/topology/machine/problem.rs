//! What may be wrong with a machine.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Names in a sentence.
const NAMED: usize = 8;

/// What was found about a machine. Devices are named as people know them: `GPU3`, `mlx5_0`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Problem {
    /// All of the ports nearest to an accelerator are down.
    NearestDown { device: String, ports: Vec<String> },
    /// A device is not fit for work.
    Ailing { device: String, ailments: Vec<String> },
    /// There are fewer accelerators of a model, or more, than in machines of its kind.
    Accelerators { model: String, has: usize, usual: usize, peers: usize },
    /// It has accelerators of another model than machines of its kind, in place of theirs.
    OtherModel { model: String, has: usize, usual_model: String, usual: usize, peers: usize },
    /// Memory in bytes.
    Memory { has: u64, usual: u64, peers: usize },
    /// CPUs (hardware threads).
    Cpus { has: usize, usual: usize, peers: usize },
    /// A port is down that is up in machines of its kind.
    PortDown { port: String, peers: usize },
    /// A port is slower than the same port of its peers. Megabits per second.
    SlowPort { port: String, has: u32, usual: u32, peers: usize },
    /// A device uses fewer lanes of PCI than its peers.
    NarrowLink { device: String, has: u8, usual: u8, peers: usize },
    /// Several machines, by their nodes' names, have the host name that is the finding's subject.
    SameHost { nodes: Vec<Twin> },
    /// An accelerator has fewer NVLinks than its peers.
    LostLinks { device: String, has: u32, usual: u32, peers: usize },
}

/// One of several machines of one host name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Twin {
    pub node: String,
    /// By which people find it: an address, else a MAC or a GUID of its first port that has one.
    pub at: Option<String>,
}

impl Problem {
    /// What to do about it.
    pub fn advice(&self) -> &'static str {
        match self {
            Problem::NearestDown { .. } => {
                "look at the cable and the port; until it is up the device's traffic takes a longer way"
            }
            Problem::Ailing { .. } => "drain the node, then reset or replace the device",
            Problem::Accelerators { has, usual, .. } if has > usual => {
                "it has more than its peers: look whether it is meant to be one of them"
            }
            Problem::Accelerators { .. } => {
                "look for a device that fell off its bus in the kernel's log, and reseat or replace it"
            }
            Problem::OtherModel { .. } => {
                "if that is meant, it is a kind of its own: label it, and let jobs ask for the model that they need"
            }
            Problem::Memory { .. } => "look for a failed or missing memory module in the firmware's log",
            Problem::Cpus { .. } => "compare what the firmware and the kernel's command line switch off",
            Problem::PortDown { .. } => "look at the cable, the transceiver and the switch's port",
            Problem::SlowPort { .. } => "look at the cable and at the speed that the switch's port is set to",
            Problem::NarrowLink { .. } => {
                "reseat the device, and look for errors of the link in the kernel's log"
            }
            Problem::SameHost { .. } => {
                "give each machine a host name of its own; Phalanx tells them apart, people and other tools may not"
            }
            Problem::LostLinks { .. } => {
                "look at `nvidia-smi nvlink --status`, and reset or replace the device"
            }
        }
    }
}

impl fmt::Display for Problem {
    /// What follows the machine's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gib = |bytes: &u64| bytes >> 30;
        match self {
            Problem::NearestDown { device, ports } if ports.len() == 1 => {
                write!(f, "the port nearest to {device} is down: {}", ports.join(", "))
            }
            Problem::NearestDown { device, ports } => {
                write!(f, "all ports nearest to {device} are down: {}", ports.join(", "))
            }
            Problem::Ailing { device, ailments } => write!(f, "{device}: {}", ailments.join(", ")),
            Problem::Accelerators { model, has, usual, peers } => {
                write!(f, "has {has} of {model}, where {peers} machines of its kind have {usual}")
            }
            Problem::OtherModel { model, has, usual_model, usual, peers } => write!(
                f,
                "has {has} of {model}, where {peers} machines of its kind have {usual} of {usual_model}"
            ),
            Problem::Memory { has, usual, peers } => write!(
                f,
                "has {} GiB of memory, where {peers} machines of its kind have about {} GiB",
                gib(has),
                gib(usual)
            ),
            Problem::Cpus { has, usual, peers } => {
                write!(f, "has {has} CPUs, where {peers} machines of its kind have {usual}")
            }
            Problem::PortDown { port, peers } => {
                write!(f, "port {port} is down, which is up in {peers} machines of its kind")
            }
            Problem::SlowPort { port, has, usual, peers } => write!(
                f,
                "port {port} runs at {}G, where {peers} machines of its kind have {}G",
                f64::from(*has) / 1000.0,
                f64::from(*usual) / 1000.0
            ),
            Problem::NarrowLink { device, has, usual, peers } => {
                write!(f, "{device} uses {has} lanes of PCI, where {peers} like it use {usual}")
            }
            Problem::SameHost { nodes } => {
                let more = nodes.len().saturating_sub(NAMED);
                let named: Vec<String> = nodes.iter().take(NAMED).map(ToString::to_string).collect();
                write!(f, "{} machines have this host name: {}", nodes.len(), named.join(", "))?;
                if more > 0 { write!(f, " and {more} more") } else { Ok(()) }
            }
            Problem::LostLinks { device, has, usual, peers } => {
                write!(f, "{device} has {has} NVLinks, where {peers} like it have {usual}")
            }
        }
    }
}

impl fmt::Display for Twin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.node)?;
        self.at.as_ref().map_or(Ok(()), |at| write!(f, " ({at})"))
    }
}
