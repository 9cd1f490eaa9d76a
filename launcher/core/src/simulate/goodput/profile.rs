//! What goes wrong with how many nodes, and what a job and its cluster do about it.

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The node is gone until a part of it, or it, is replaced.
    Replace,
    /// Ranks die of a device: 7 of 10 are reset, 3 replaced (the split is an assumption).
    Device,
    /// A link or a switch: one node, or all of a leaf, for as long as that takes to mend.
    Network,
    /// Announced: work is saved, and the node comes back after a reboot.
    Planned,
    /// Ranks make no progress and do not end; the device is reset.
    Hang,
    /// Wrong or slow, without an error: what was computed since is worth nothing; the node is replaced.
    Silent,
    /// The program fails; no node does.
    Program,
}

/// One class of faults.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Class {
    pub name: &'static str,
    pub effect: Effect,
    /// Per 1,000 node-days.
    pub rate: f64,
}

/// Everything that a simulation of goodput is asked with. Times are in seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    pub classes: Vec<Class>,
    /// Failures of the program, however many nodes it has.
    pub job_failures_per_day: f64,
    /// Of 1: network faults that hit all nodes of a leaf.
    pub leaf_share: f64,
    pub leaf_nodes: u32,
    /// From a rank's end until that is known.
    pub detect_exit: f64,
    /// From the loss of a node until that is known.
    pub detect_node: f64,
    pub detect_hang: f64,
    pub detect_silent: f64,
    /// Phases of a restart: ranks end, ranks run again, they have loaded their checkpoint.
    pub stop: f64,
    pub start: f64,
    pub load: f64,
    /// Between the ends of two checkpoints, without the stall.
    pub checkpoint: f64,
    /// For so long a checkpoint holds up the training.
    pub stall: f64,
    /// Nodes held back.
    pub spares: u32,
    /// Mean times until a node is back.
    pub reset: f64,
    pub reboot: f64,
    pub mend_link: f64,
    pub replace: f64,
    pub max_restarts: u32,
    /// In which `max_restarts` count.
    pub restart_window: f64,
    /// Until somebody submits a job again that was given up.
    pub resubmit: f64,
}

/// Node-days, in thousands, of the table below: 2,048 nodes for 54 days.
const OBSERVED: f64 = 110.592;
/// Unexpected interruptions in them: Llama 3 (arXiv 2407.21783), table 5. Its percentages do not fit its counts, which are
/// what is taken.
const LLAMA_3: [(&str, Effect, u32); 13] = [
    ("gpu", Effect::Replace, 148),
    ("hbm", Effect::Device, 72),
    ("network", Effect::Network, 35),
    ("maintenance", Effect::Planned, 32),
    ("sram", Effect::Device, 19),
    ("gsp", Effect::Hang, 17),
    ("nic", Effect::Hang, 7),
    ("watchdog", Effect::Hang, 7),
    ("corruption", Effect::Silent, 6),
    ("thermal", Effect::Silent, 6),
    ("ssd", Effect::Replace, 3),
    ("psu", Effect::Replace, 3),
    ("other", Effect::Replace, 10),
];
/// Bugs of the program in the same table, per day: 54 in 54 days.
const PROGRAM: f64 = 1.0;

impl Default for Profile {
    fn default() -> Profile {
        let class = |(name, effect, count)| Class { name, effect, rate: f64::from(count) / OBSERVED };
        Profile {
            classes: LLAMA_3.into_iter().map(class).collect(),
            job_failures_per_day: PROGRAM,
            leaf_share: 0.2,
            leaf_nodes: 16,
            detect_exit: 1.0,
            detect_node: 10.0,
            detect_hang: 600.0,
            detect_silent: 1800.0,
            stop: 15.0,
            start: 60.0,
            load: 120.0,
            checkpoint: 600.0,
            stall: 1.0,
            spares: 16,
            reset: 120.0,
            reboot: 600.0,
            mend_link: 600.0,
            replace: 43_200.0,
            max_restarts: 8,
            restart_window: 3600.0,
            resubmit: 900.0,
        }
    }
}
