//! What goes wrong, and how often it met something that it could harm.

use std::time::Duration;

use phalanx_common::exit::ExitStatus;
use phalanx_common::id::{JobId, NodeId};
use phalanx_launcher_core::Wish;
use phalanx_worker_core::Input as WorkerInput;

use super::net::Way;
use super::shim;
use super::world::{Happening, World};

/// One thing that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection of this node is gone, with all that is under way. A new one can be made after this time.
    LoseConnection {
        node: NodeId,
        cut: Duration,
    },
    /// Every link of the node is gone for this time: to the coordinator and to its peers.
    Isolate {
        node: NodeId,
        cut: Duration,
    },
    /// Its peers do not hear the node for this time; the coordinator does.
    CutData {
        node: NodeId,
        cut: Duration,
    },
    /// Between the node and the coordinator nothing gets through this way for this time.
    LoseOneWay {
        node: NodeId,
        way: Way,
        cut: Duration,
    },
    /// Between the node and its peers nothing gets through this way for this time.
    CutDataOneWay {
        node: NodeId,
        way: Way,
        cut: Duration,
    },
    /// Power off, and on again after this time.
    KillNode {
        node: NodeId,
        down: Duration,
    },
    /// The worker process dies; its shims end their pods, the next worker begins after that.
    CrashWorker {
        node: NodeId,
    },
    /// The worker process does not run for this long; its shims do.
    FreezeWorker {
        node: NodeId,
        time: Duration,
    },
    /// One shim of this node dies.
    KillShim {
        node: NodeId,
    },
    /// A rank of this node ends: by the kernel for want of memory, by its device, by itself.
    EndRank {
        node: NodeId,
        status: ExitStatus,
    },
    /// A rank of this node makes no progress any more, and does not end.
    HangRank {
        node: NodeId,
    },
    /// What begins on the node within this time takes so many times as long.
    SlowNode {
        node: NodeId,
        times: u32,
        time: Duration,
    },
    /// All nodes of a leaf go at once, and come back: the machines themselves (`power`), or their links alone.
    LoseLeaf {
        nodes: Vec<NodeId>,
        power: bool,
        time: Duration,
    },
    /// Every link of the node goes down so many times, and comes up again.
    FlapLink {
        node: NodeId,
        times: u32,
        down: Duration,
        up: Duration,
    },
    CrashCoordinator {
        down: Duration,
    },
    /// It dies in the middle of what it does next, after this many commands.
    CrashCoordinatorAfter {
        commands: u32,
        down: Duration,
    },
    /// The coordinator's clock jumps by this many seconds.
    JumpClock {
        seconds: i64,
    },
    /// Somebody takes this port on the node.
    TakePort {
        node: NodeId,
        port: u16,
    },
    /// An order of an earlier reign reaches the node.
    StaleOrder {
        node: NodeId,
    },
    Stop {
        job: JobId,
        force: bool,
    },
    Suspend {
        job: JobId,
    },
    Resume {
        job: JobId,
    },
    /// An operator wants something of the node: no fault, but as untimely as one.
    Wish {
        node: NodeId,
        wish: Wish,
    },
}

/// Without a word for this long, QUIC calls a connection dead.
const IDLE_TIMEOUT: Duration = Duration::from_secs(6);
/// From a worker's end to the SIGKILL its shims send.
const ORPHAN_GRACE: Duration = Duration::from_secs(1);

impl World {
    pub(crate) fn apply_fault(&mut self, fault: Fault) {
        match fault {
            Fault::LoseConnection { node, cut } => {
                self.injected_where("lost connection", |world| !world.net.of(&node).is_empty());
                self.lose_link(&node, cut);
            }
            Fault::Isolate { node, cut } => {
                self.injected_where("isolation", |world| !world.net.of(&node).is_empty());
                self.cut_data(&node, Way::In, cut);
                self.cut_data(&node, Way::Out, cut);
                self.lose_link(&node, cut);
            }
            Fault::CutData { node, cut } => {
                self.injected("data plane cut");
                self.cut_data(&node, Way::In, cut);
                self.cut_data(&node, Way::Out, cut);
            }
            Fault::LoseOneWay { node, way, cut } => self.lose_one_way(&node, way, cut),
            Fault::CutDataOneWay { node, way, cut } => {
                self.injected(match way {
                    Way::In => "deaf on the data plane",
                    Way::Out => "mute on the data plane",
                });
                self.cut_data(&node, way, cut);
            }
            Fault::KillNode { node, down } => self.kill_node(&node, down),
            Fault::CrashWorker { node } => self.crash_worker(&node),
            Fault::FreezeWorker { node, time } => self.freeze(&node, time),
            Fault::KillShim { node } => self.kill_shim(&node),
            Fault::EndRank { .. }
            | Fault::HangRank { .. }
            | Fault::SlowNode { .. }
            | Fault::LoseLeaf { .. }
            | Fault::FlapLink { .. } => self.apply_hardware(fault),
            Fault::CrashCoordinator { down } => self.crash_coordinator(down),
            Fault::CrashCoordinatorAfter { commands, down } => self.crash_after = Some((commands, down)),
            Fault::JumpClock { seconds } => {
                self.injected_where("clock jump", |world| world.reign.is_some());
                self.jump_clock(seconds * 1_000_000);
            }
            Fault::TakePort { node, port } => {
                if let Some(machine) = self.machines.get_mut(&node) {
                    machine.foreign_ports.push(port);
                    self.injected("port taken");
                }
            }
            Fault::StaleOrder { node } => self.deliver_stale_order(&node),
            Fault::Stop { job, force } => {
                self.injected_where("stop", |world| world.reign.is_some());
                self.stop(&job, force);
            }
            Fault::Suspend { job } => {
                self.injected_where("suspension", |world| world.reign.is_some());
                self.suspend(&job);
            }
            Fault::Resume { job } => self.resume(&job),
            Fault::Wish { node, wish } => {
                self.injected_where(
                    match wish {
                        Wish::Cordon { .. } => "cordon",
                        Wish::Uncordon => "uncordon",
                        Wish::Drain { .. } => "drain",
                        Wish::Forget => "forgetting of a node",
                    },
                    |world| world.reign.is_some(),
                );
                self.wish(&node, wish);
            }
        }
    }

    fn injected_where(&mut self, what: &'static str, harms: impl Fn(&World) -> bool) {
        if harms(self) {
            self.injected(what);
        }
    }

    /// The shims live on for their grace, then the next worker finds nothing of them.
    fn crash_worker(&mut self, node: &NodeId) {
        let Some(machine) = self.machines.get_mut(node).filter(|machine| machine.worker.is_some()) else {
            return;
        };
        machine.worker = None;
        machine.life += 1;
        machine.connection = None;
        machine.frozen_until = None;
        self.injected("worker crash");
        self.lose_connections(node);
        let life = self.life_of(node);
        self.after(ORPHAN_GRACE, Happening::Orphans { node: node.clone(), life });
    }

    pub(crate) fn kill_node(&mut self, node: &NodeId, down: Duration) {
        let Some(machine) = self.machines.get_mut(node) else { return };
        machine.stop_everything();
        self.injected("power loss");
        self.lose_connections(node);
        let life = self.life_of(node);
        self.after(down, Happening::StartWorker { node: node.clone(), life });
    }

    fn freeze(&mut self, node: &NodeId, time: Duration) {
        let until = self.now + time;
        let Some(machine) = self.machines.get_mut(node).filter(|machine| machine.worker.is_some()) else {
            return;
        };
        machine.frozen_until = Some(machine.frozen_until.map_or(until, |known| known.max(until)));
        if time >= Duration::from_secs(1) {
            self.injected("worker paused for a second or more");
        }
        if time >= Duration::from_secs(30) {
            self.injected("worker paused for half a minute or more");
        }
        if time > IDLE_TIMEOUT {
            self.injected("worker paused beyond the idle timeout");
            let node = node.clone();
            self.after(IDLE_TIMEOUT, Happening::Fault(Fault::LoseConnection { node, cut: Duration::ZERO }));
        }
    }

    fn kill_shim(&mut self, node: &NodeId) {
        let Some(machine) = self.machines.get_mut(node).filter(|machine| machine.worker.is_some()) else {
            return;
        };
        let current: Vec<(JobId, u64)> = machine.shim_of.iter().map(|(job, id)| (job.clone(), *id)).collect();
        let Some((job, id)) = self.rng.pick(&current).cloned() else { return };
        if let Some(shim) = machine.shims.remove(&id) {
            shim::die(&shim, &mut machine.processes);
            machine.shim_of.remove(&job);
            self.injected("shim killed");
            self.tell_worker(node, WorkerInput::ShimLost { job, why: "killed".to_owned() });
        }
    }
}
