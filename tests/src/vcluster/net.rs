//! Connections as QUIC has them: each direction is an ordered stream; when a connection is lost, everything
//! that had not arrived is gone with it; nothing is ordered between two connections.
//!
//! Loss in one direction alone: what goes the other way arrives, but nobody acknowledges it. RFC 9000 section
//! 10.1 counts the idle timeout (6 s) from the last packet heard, or from the first one sent since that asks to
//! be acknowledged; the worker sends such a keep-alive every second, the coordinator sends orders alone.
//!
//! | lost | the worker | the coordinator |
//! |---|---|---|
//! | [`Way::In`]: it is deaf | hears nothing: gives up after 5 to 7 s, without a word | hears it until then, its reports count; gives up 6 s after the last packet |
//! | [`Way::Out`]: it is mute | is acknowledged nothing, but hears orders and their repetitions: gives up after 5 to 7 s if none come, at most 6 s after the coordinator if some do, or at the stateless reset that its next packet meets once the loss is over | hears nothing: gives up after 5 to 7 s, up to 12 if it sent an order meanwhile |
//!
//! A loss that is over before anybody gives up costs time alone: what was sent arrives, in order, once it is
//! sent again, which takes at most as long as the loss did (the timeout of QUIC's probes doubles). No new
//! connection comes up while either direction is lost: a handshake needs both. That a sender without
//! acknowledgements is stopped by its window is left out: control messages are small.

use std::collections::BTreeMap;

use phalanx_common::id::NodeId;
use phalanx_common::time::Timestamp;

/// A direction, as a node sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// What is sent to the node.
    In,
    /// What the node sends.
    Out,
}

/// One connection of a worker to a coordinator.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) node: NodeId,
    pub(crate) lost: bool,
    inward: Direction,
    outward: Direction,
}

/// One direction of a connection.
#[derive(Debug)]
pub(crate) struct Direction {
    /// When the last message arrives: the next one comes no earlier.
    last: Timestamp,
    /// Since when nothing arrives, and until when it is held up.
    pub(crate) silence: Option<(Timestamp, Timestamp)>,
    /// Nothing arrives any more.
    pub(crate) dead: bool,
}

/// What becomes of a message when it would arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passage {
    Arrives,
    HeldUntil(Timestamp),
    Lost,
}

/// All connections ever made, and the one the coordinator believes in for each node.
#[derive(Debug, Default)]
pub(crate) struct Net {
    pub(crate) connections: BTreeMap<u64, Connection>,
    pub(crate) peers: BTreeMap<NodeId, u64>,
    last: u64,
}

impl Connection {
    pub(crate) fn direction(&mut self, way: Way) -> &mut Direction {
        match way {
            Way::In => &mut self.inward,
            Way::Out => &mut self.outward,
        }
    }
}

impl Net {
    pub(crate) fn connect(&mut self, node: &NodeId, now: Timestamp) -> u64 {
        self.last += 1;
        let open = || Direction { last: now, silence: None, dead: false };
        let connection = Connection { node: node.clone(), lost: false, inward: open(), outward: open() };
        self.connections.insert(self.last, connection);
        self.last
    }

    pub(crate) fn alive(&self, connection: u64) -> bool {
        self.connections.get(&connection).is_some_and(|connection| !connection.lost)
    }

    /// When a message sent now, that is due at `at`, arrives at the end of `way`.
    pub(crate) fn arrives(&mut self, connection: u64, way: Way, at: Timestamp) -> Timestamp {
        let Some(connection) = self.connections.get_mut(&connection) else { return at };
        let direction = connection.direction(way);
        direction.last = direction.last.max(at);
        direction.last
    }

    /// What becomes of a message whose time has come.
    pub(crate) fn passage(&mut self, connection: u64, way: Way, now: Timestamp) -> Passage {
        let Some(connection) = self.connections.get_mut(&connection).filter(|connection| !connection.lost)
        else {
            return Passage::Lost;
        };
        let direction = connection.direction(way);
        match direction.silence {
            _ if direction.dead => Passage::Lost,
            Some((_, until)) if until > now => Passage::HeldUntil(until),
            _ => Passage::Arrives,
        }
    }

    /// The live connections of a node.
    pub(crate) fn of(&self, node: &NodeId) -> Vec<u64> {
        let live =
            self.connections.iter().filter(|(_, connection)| !connection.lost && connection.node == *node);
        live.map(|(id, _)| *id).collect()
    }
}
