//! Connections as QUIC has them: each direction is an ordered stream; when a connection is lost, everything
//! that had not arrived is gone with it; nothing is ordered between two connections.

use std::collections::BTreeMap;

use phalanx_common::id::NodeId;
use phalanx_common::time::Timestamp;

/// One connection of a worker to a coordinator.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) node: NodeId,
    pub(crate) lost: bool,
    /// When the last message of each direction arrives: the next one comes no earlier.
    up: Timestamp,
    down: Timestamp,
}

/// All connections ever made, and the one the coordinator believes in for each node.
#[derive(Debug, Default)]
pub(crate) struct Net {
    pub(crate) connections: BTreeMap<u64, Connection>,
    pub(crate) peers: BTreeMap<NodeId, u64>,
    last: u64,
}

impl Net {
    pub(crate) fn connect(&mut self, node: &NodeId, now: Timestamp) -> u64 {
        self.last += 1;
        let connection = Connection { node: node.clone(), lost: false, up: now, down: now };
        self.connections.insert(self.last, connection);
        self.last
    }

    pub(crate) fn alive(&self, connection: u64) -> bool {
        self.connections.get(&connection).is_some_and(|connection| !connection.lost)
    }

    /// When a message sent now with this much delay arrives at the coordinator.
    pub(crate) fn arrives_up(&mut self, connection: u64, at: Timestamp) -> Timestamp {
        let Some(connection) = self.connections.get_mut(&connection) else { return at };
        connection.up = connection.up.max(at);
        connection.up
    }

    /// When a message sent now with this much delay arrives at the worker.
    pub(crate) fn arrives_down(&mut self, connection: u64, at: Timestamp) -> Timestamp {
        let Some(connection) = self.connections.get_mut(&connection) else { return at };
        connection.down = connection.down.max(at);
        connection.down
    }

    /// The live connections of a node.
    pub(crate) fn of(&self, node: &NodeId) -> Vec<u64> {
        let live =
            self.connections.iter().filter(|(_, connection)| !connection.lost && connection.node == *node);
        live.map(|(id, _)| *id).collect()
    }
}
