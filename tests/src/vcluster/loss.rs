//! Links that lose what is sent over them: both ways, or one way alone. See [`super::net`] for what QUIC makes
//! of it.

use std::time::Duration;

use phalanx_common::id::NodeId;
use phalanx_common::time::Timestamp;

use super::net::Way;
use super::world::{Happening, World};

/// Bounds of the time, in milliseconds, from the begin of a silence to its end's own timeout. The last packet
/// heard is up to a second old, and the first one sent since is up to a second away.
const GIVES_UP: (u64, u64) = (5000, 7000);
/// An order sent just before the timeout puts that off once.
const PUT_OFF: u64 = 5000;
/// Between two packets of an end that nobody acknowledges.
const REPEATS: u64 = 3000;

impl World {
    /// No connection comes up, and those there are go.
    pub(crate) fn lose_link(&mut self, node: &NodeId, cut: Duration) {
        if let Some(machine) = self.machines.get_mut(node) {
            machine.cut_until = machine.cut_until.max(self.now + cut);
        }
        self.lose_connections(node);
    }

    pub(crate) fn lose_connections(&mut self, node: &NodeId) {
        for id in self.net.of(node) {
            if let Some(connection) = self.net.connections.get_mut(&id) {
                connection.lost = true;
            }
            let (coordinator, worker) = (self.rng.millis(10, 6000), self.rng.millis(10, 6000));
            self.gives_up(id, node, self.now + coordinator, self.now + worker);
        }
    }

    /// Nothing gets through one way for this time.
    pub(crate) fn lose_one_way(&mut self, node: &NodeId, way: Way, cut: Duration) {
        let until = self.now + cut;
        if let Some(machine) = self.machines.get_mut(node) {
            machine.cut_until = machine.cut_until.max(until);
        }
        for id in self.net.of(node) {
            self.silence(id, node, way, until);
        }
    }

    fn silence(&mut self, id: u64, node: &NodeId, way: Way, until: Timestamp) {
        let now = self.now;
        let Some(direction) = self.net.connections.get_mut(&id).map(|connection| connection.direction(way))
        else {
            return;
        };
        if direction.dead {
            return;
        }
        // A loss that follows another before anything was heard is one with it.
        let (since, held) = direction.silence.filter(|(_, held)| *held > now).unwrap_or((now, now));
        let until = until.max(held);
        let lasted = u64::try_from(until.since(since).as_millis()).unwrap_or(u64::MAX);
        let heard_again = until + self.rng.millis(0, lasted.min(GIVES_UP.1));
        let first = since + self.rng.millis(GIVES_UP.0, GIVES_UP.1);
        if heard_again < first {
            direction.silence = Some((since, heard_again));
            return self.injected(match way {
                Way::In => "deaf for a moment",
                Way::Out => "mute for a moment",
            });
        }
        direction.dead = true;
        match way {
            Way::In => {
                self.injected("deaf");
                let coordinator = first + self.rng.millis(6000 - REPEATS, 6000);
                self.gives_up(id, node, coordinator, first);
            }
            Way::Out => {
                self.injected("mute");
                let ordered = self.rng.chance(50);
                let put_off = if ordered { self.rng.millis(0, PUT_OFF) } else { Duration::ZERO };
                let coordinator = first + put_off;
                let worker = if ordered {
                    coordinator + self.rng.millis(0, 6000)
                } else {
                    since + self.rng.millis(GIVES_UP.0, GIVES_UP.1)
                };
                let reset = until.max(coordinator) + self.rng.millis(1, REPEATS);
                self.gives_up(id, node, coordinator, worker.min(reset));
            }
        }
    }

    fn gives_up(&mut self, connection: u64, node: &NodeId, coordinator: Timestamp, worker: Timestamp) {
        self.at(coordinator.max(self.now), Happening::CoordinatorNotices { connection, node: node.clone() });
        self.at(worker.max(self.now), Happening::WorkerNotices { connection, node: node.clone() });
    }

    /// On the data plane nothing gets through one way for this time.
    pub(crate) fn cut_data(&mut self, node: &NodeId, way: Way, cut: Duration) {
        let until = self.now + cut;
        let Some(machine) = self.machines.get_mut(node) else { return };
        let known = match way {
            Way::In => &mut machine.data_deaf_until,
            Way::Out => &mut machine.data_mute_until,
        };
        *known = until.max(*known);
    }
}
