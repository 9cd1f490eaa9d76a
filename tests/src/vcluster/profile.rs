//! What goes wrong in the runs of a profile, and when.

use std::time::Duration;

use phalanx_common::id::{JobId, NodeId};
use phalanx_launcher_core::Wish;

use super::faults::Fault;
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
}

impl Profile {
    pub const ALL: [Profile; 1] = [Profile::Mixed];

    /// As it is written in a command and in a replay file.
    pub fn name(self) -> &'static str {
        match self {
            Profile::Mixed => "mixed",
        }
    }

    pub fn named(name: &str) -> Option<Profile> {
        Profile::ALL.into_iter().find(|profile| profile.name() == name)
    }

    /// The nodes of a run.
    pub(crate) fn nodes(self) -> Vec<NodeId> {
        match self {
            Profile::Mixed => three_nodes(),
        }
    }

    pub(crate) fn plan(self, world: &mut World, rng: &mut Rng, jobs: &[JobId]) {
        match self {
            Profile::Mixed => mixed(world, rng, jobs),
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
        let fault = match rng.between(0, 127) {
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
            // Long enough for its peers to be asked in vain.
            _ => Fault::Isolate { node, cut: rng.millis(15_000, 60_000) },
        };
        world.schedule(at, fault);
    }
}

fn either_way(rng: &mut Rng) -> Way {
    if rng.chance(50) { Way::In } else { Way::Out }
}
