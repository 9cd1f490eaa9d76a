//! What goes wrong in the runs of a profile, and when.

use std::time::Duration;

use phalanx_common::exit::ExitStatus;
use phalanx_common::id::{JobId, NodeId};
use phalanx_launcher_core::Wish;

use super::faults::Fault;
use super::hardware::{DEVICE_ERROR, OUT_OF_MEMORY};
use super::machine::PORTS;
use super::net::Way;
use super::rng::Rng;
use super::seeded::{QUIET_AFTER, three_nodes};
use super::world::World;

/// Where the faults of a seed come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Everything, the rarest as often as the most common: the corners of the protocol.
    #[default]
    Mixed,
    /// Six nodes under two leaves, and what a large cluster reported of its machines, as often as it did.
    Fleet,
}

impl Profile {
    pub const ALL: [Profile; 2] = [Profile::Mixed, Profile::Fleet];

    /// As it is written in a command and in a replay file.
    pub fn name(self) -> &'static str {
        match self {
            Profile::Mixed => "mixed",
            Profile::Fleet => "fleet",
        }
    }

    pub fn named(name: &str) -> Option<Profile> {
        Profile::ALL.into_iter().find(|profile| profile.name() == name)
    }

    /// The nodes of a run.
    pub(crate) fn nodes(self) -> Vec<NodeId> {
        match self {
            Profile::Mixed => three_nodes(),
            Profile::Fleet => LEAVES.concat().into_iter().map(NodeId::new).collect(),
        }
    }

    pub(crate) fn plan(self, world: &mut World, rng: &mut Rng, jobs: &[JobId]) {
        match self {
            Profile::Mixed => mixed(world, rng, jobs),
            Profile::Fleet => fleet(world, rng),
        }
    }
}

fn mixed(world: &mut World, rng: &mut Rng, jobs: &[JobId]) {
    let nodes = Profile::Mixed.nodes();
    for node in &nodes {
        for port in PORTS.0..=PORTS.1 {
            if rng.chance(10) {
                world.schedule(Duration::ZERO, Fault::TakePort { node: node.clone(), port });
            }
        }
    }
    let quiet = u64::try_from(QUIET_AFTER.as_millis()).unwrap_or(u64::MAX);
    // Some runs see hardly a fault, most a few, some a storm.
    let most = *rng.pick(&[2, 14, 14, 60]).unwrap_or(&14);
    for _ in 0..rng.between(0, most) {
        let at = rng.millis(0, quiet);
        let node = rng.pick(&nodes).cloned().unwrap_or_else(|| NodeId::new("a"));
        let job = rng.pick(jobs).cloned().unwrap_or_else(|| JobId::from_existing("job0"));
        let fault = match rng.between(0, 159) {
            0..=4 => Fault::Isolate { node, cut: rng.millis(0, 60_000) },
            5..=7 => Fault::CutData { node, cut: rng.millis(0, 60_000) },
            8..=24 => {
                let longest = if rng.chance(30) { 60_000 } else { 3000 };
                Fault::LoseConnection { node, cut: rng.millis(0, longest) }
            }
            25..=34 => Fault::KillNode { node, down: rng.millis(100, 40_000) },
            35..=41 => Fault::CrashWorker { node },
            42..=51 => Fault::FreezeWorker { node, time: rng.millis(10, 60_000) },
            52..=60 => Fault::KillShim { node },
            61..=66 => Fault::CrashCoordinator { down: rng.millis(100, 30_000) },
            67..=74 => {
                let commands = u32::try_from(rng.between(0, 6)).unwrap_or(0);
                Fault::CrashCoordinatorAfter { commands, down: rng.millis(100, 30_000) }
            }
            75..=78 => {
                let seconds = i64::try_from(rng.between(0, 14_400)).unwrap_or(0) - 7200;
                Fault::JumpClock { seconds }
            }
            79..=86 => Fault::StaleOrder { node },
            87..=90 => {
                let longest = rng.millis(100, 20_000);
                world.schedule(at + longest, Fault::Resume { job: job.clone() });
                Fault::Suspend { job }
            }
            91..=96 => Fault::Stop { job, force: false },
            97..=99 => Fault::Stop { job, force: true },
            100..=106 => {
                let longest = if rng.chance(50) { 60_000 } else { 6000 };
                Fault::LoseOneWay { node, way: either_way(rng), cut: rng.millis(100, longest) }
            }
            107..=111 => Fault::CutDataOneWay { node, way: either_way(rng), cut: rng.millis(0, 60_000) },
            120..=123 => {
                let uncordon = Fault::Wish { node: node.clone(), wish: Wish::Uncordon };
                world.schedule(at + rng.millis(100, 90_000), uncordon);
                let grace = rng.chance(50).then(|| rng.millis(0, 5000));
                let wish = match rng.chance(50) {
                    true => Wish::Cordon { reason: String::new() },
                    false => Wish::Drain { reason: String::new(), grace },
                };
                Fault::Wish { node, wish }
            }
            128..=133 => Fault::EndRank { node, status: OUT_OF_MEMORY },
            134..=136 => Fault::EndRank { node, status: DEVICE_ERROR },
            137..=140 => Fault::HangRank { node },
            141..=146 => slow(rng, node),
            147..=150 => Fault::LoseLeaf {
                nodes: leaf(rng, &[&["a", "b"], &["a", "b", "c"]]),
                power: rng.chance(50),
                time: rng.millis(1000, 40_000),
            },
            151..=158 => flap(rng, node),
            // Long enough for its peers to be asked in vain.
            _ => Fault::Isolate { node, cut: rng.millis(15_000, 60_000) },
        };
        world.schedule(at, fault);
    }
}

fn either_way(rng: &mut Rng) -> Way {
    if rng.chance(50) { Way::In } else { Way::Out }
}

fn slow(rng: &mut Rng, node: NodeId) -> Fault {
    let times = u32::try_from(rng.between(2, 40)).unwrap_or(2);
    Fault::SlowNode { node, times, time: rng.millis(1000, 60_000) }
}

/// Some flaps are so short that connections outlive them, some are not.
fn flap(rng: &mut Rng, node: NodeId) -> Fault {
    let longest = if rng.chance(50) { 3000 } else { 15_000 };
    let times = u32::try_from(rng.between(2, 8)).unwrap_or(2);
    Fault::FlapLink { node, times, down: rng.millis(10, longest), up: rng.millis(100, 10_000) }
}

fn leaf(rng: &mut Rng, leaves: &[&[&str]]) -> Vec<NodeId> {
    let leaf = rng.pick(leaves).copied().unwrap_or_default();
    leaf.iter().copied().map(NodeId::new).collect()
}

/// The leaves of a fleet, by their nodes.
const LEAVES: [&[&str]; 2] = [&["a", "b", "c"], &["d", "e", "f"]];

/// What a machine of a fleet may meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Incident {
    /// A GPU, a disk, a power supply: the node is gone, and comes back much later.
    Lost,
    /// Memory of a GPU, its firmware: the process dies.
    Device,
    /// A bug of the program.
    Program,
    /// A switch or a cable.
    Network,
    Maintenance,
    /// A network port, or a watchdog that fires: no exit code.
    Hang,
    /// Heat, silent corruption.
    Slow,
}

/// Unexpected and planned interruptions of 54 days on 2,048 nodes: Llama 3 (arXiv 2407.21783), table 5, by what
/// becomes of a node.
const INCIDENTS: [(u64, Incident); 7] = [
    (164, Incident::Lost),
    (108, Incident::Device),
    (54, Incident::Program),
    (35, Incident::Network),
    (32, Incident::Maintenance),
    (14, Incident::Hang),
    (12, Incident::Slow),
];

fn fleet(world: &mut World, rng: &mut Rng) {
    let nodes = Profile::Fleet.nodes();
    let all: u64 = INCIDENTS.iter().map(|(weight, _)| weight).sum();
    for _ in 0..rng.between(0, 20) {
        let at = rng.millis(0, u64::try_from(QUIET_AFTER.as_millis()).unwrap_or(u64::MAX));
        let node = rng.pick(&nodes).cloned().unwrap_or_else(|| NodeId::new("a"));
        let mut drawn = rng.between(1, all);
        let met = INCIDENTS.into_iter().find(|(weight, _)| {
            let hit = drawn <= *weight;
            drawn = drawn.saturating_sub(*weight);
            hit
        });
        let incident = met.map_or(Incident::Lost, |(_, incident)| incident);
        strike(world, rng, (at, node), incident);
    }
}

fn strike(world: &mut World, rng: &mut Rng, (at, node): (Duration, NodeId), incident: Incident) {
    let fault = match incident {
        Incident::Lost => Fault::KillNode { node, down: rng.millis(20_000, 40_000) },
        Incident::Device if rng.chance(30) => Fault::EndRank { node, status: OUT_OF_MEMORY },
        Incident::Device => Fault::EndRank { node, status: DEVICE_ERROR },
        Incident::Program => Fault::EndRank { node, status: ExitStatus::Code(1) },
        Incident::Network if rng.chance(50) => flap(rng, node),
        Incident::Network => Fault::LoseLeaf {
            nodes: leaf(rng, &LEAVES),
            power: rng.chance(30),
            time: rng.millis(1000, 40_000),
        },
        Incident::Maintenance => {
            let uncordon = Fault::Wish { node: node.clone(), wish: Wish::Uncordon };
            world.schedule(at + rng.millis(10_000, 90_000), uncordon);
            let grace = rng.chance(50).then(|| rng.millis(0, 5000));
            Fault::Wish { node, wish: Wish::Drain { reason: String::new(), grace } }
        }
        Incident::Hang => Fault::HangRank { node },
        Incident::Slow => slow(rng, node),
    };
    world.schedule(at, fault);
}
