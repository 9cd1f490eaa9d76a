//! What large clusters report of their machines: ranks that die or hang, slow nodes, leaves and links that go.

use std::time::Duration;

use phalanx_common::exit::ExitStatus;
use phalanx_common::id::NodeId;

use super::faults::Fault;
use super::net::Way;
use super::shim::Shim;
use super::world::World;

/// SIGKILL, which the kernel sends where memory is short.
pub(crate) const OUT_OF_MEMORY: ExitStatus = ExitStatus::Signal(9);
/// SIGABRT, by which a program ends whose device is gone.
pub(crate) const DEVICE_ERROR: ExitStatus = ExitStatus::Signal(6);

impl World {
    /// Of all faults those of machines.
    pub(crate) fn apply_hardware(&mut self, fault: Fault) {
        match fault {
            Fault::EndRank { node, status } => self.end_rank(&node, status),
            Fault::HangRank { node } => self.hang_rank(&node),
            Fault::SlowNode { node, times, time } => {
                let until = self.now + time;
                if let Some(machine) = self.machines.get_mut(&node) {
                    machine.slow = (until, times);
                    self.injected("slow node");
                }
            }
            Fault::LoseLeaf { nodes, power, time } => self.lose_leaf(&nodes, power, time),
            Fault::FlapLink { node, times, down, up } => {
                self.injected("flapping link");
                self.flap(node, times, down, up);
            }
            _ => {}
        }
    }

    fn end_rank(&mut self, node: &NodeId, status: ExitStatus) {
        let Some((shim, rank)) = self.some_rank(node) else { return };
        self.injected(match status {
            OUT_OF_MEMORY => "out of memory",
            DEVICE_ERROR => "device error",
            _ => "error of the program",
        });
        self.with_shim(node, shim, |shim, around| shim.rank_ends(rank, status.into(), around));
    }

    fn hang_rank(&mut self, node: &NodeId) {
        let Some((shim, rank)) = self.some_rank(node) else { return };
        self.injected("hang");
        self.with_shim(node, shim, |shim, _| shim.hang(rank));
    }

    /// One of the ranks whose programs run on the node, and its shim.
    fn some_rank(&mut self, node: &NodeId) -> Option<(u64, phalanx_common::id::Rank)> {
        let machine = self.machines.get(node)?;
        let ranks = |(id, shim): (&u64, &Shim)| {
            let id = *id;
            shim.running(&machine.processes).into_iter().map(move |rank| (id, rank))
        };
        let running: Vec<_> = machine.shims.iter().flat_map(ranks).collect();
        self.rng.pick(&running).copied()
    }

    fn lose_leaf(&mut self, nodes: &[NodeId], power: bool, time: Duration) {
        self.injected(if power { "leaf without power" } else { "leaf switch lost" });
        for node in nodes {
            if power {
                self.kill_node(node, time);
            } else {
                self.cut_data(node, Way::In, time);
                self.cut_data(node, Way::Out, time);
                self.lose_link(node, time);
            }
        }
    }

    /// Down, and the next time once it was up for a while. A connection outlives what is short.
    fn flap(&mut self, node: NodeId, times: u32, down: Duration, up: Duration) {
        for way in [Way::In, Way::Out] {
            self.lose_one_way(&node, way, down);
            self.cut_data(&node, way, down);
        }
        if let Some(times) = times.checked_sub(1).filter(|left| *left > 0) {
            self.schedule(down + up, Fault::FlapLink { node, times, down, up });
        }
    }
}
