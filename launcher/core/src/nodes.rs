//! The nodes as the coordinator sees them. Nothing here is durable: every worker tells it in its Hello.

pub(crate) mod blame;
pub(crate) mod breaker;
mod devices;
mod drain;
mod forget;
pub(crate) mod history;
mod leaf;
pub mod standing;
pub mod wishes;

use std::collections::BTreeMap;
use std::net::IpAddr;

use phalanx_common::defaults;
use phalanx_common::id::{Incarnation, NodeId};
use phalanx_common::report::{Network, NodeReport};
use phalanx_common::time::Timestamp;

use crate::timers::shifted;

/// All nodes, by id.
pub type Nodes = BTreeMap<NodeId, Node>;

/// One node.
#[derive(Clone, Debug)]
pub struct Node {
    pub link: LinkState,
    /// What it said in its last Hello; `None` for a node known from records alone.
    pub facts: Option<NodeFacts>,
    /// Why it gets no new pods, if it does not: as [`standing`] is recorded.
    pub closed: Option<String>,
    /// Ports that somebody else had, and until when they are not given out.
    taken_ports: BTreeMap<u16, Timestamp>,
}

/// Whether the coordinator can talk to a node. Unreachable is not dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    Reachable,
    Unreachable { since: Timestamp },
}

/// What a worker says about its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    pub incarnation: Incarnation,
    pub host_name: String,
    pub cores: u32,
    /// Ranks it takes at a time.
    pub slots: u32,
    /// The one Unix user whose jobs it runs; `None`: everybody's.
    pub user: Option<String>,
    pub version: String,
    pub ports: (u16, u16),
    pub address: IpAddr,
    pub interface: Option<String>,
    pub networks: Vec<Network>,
}

impl NodeFacts {
    pub(crate) fn of(report: &NodeReport) -> NodeFacts {
        NodeFacts {
            incarnation: report.incarnation,
            host_name: report.host_name.clone(),
            cores: report.cores,
            slots: report.slots,
            user: report.user.clone(),
            version: report.version.clone(),
            ports: report.ports,
            address: report.address,
            interface: report.interface.clone(),
            networks: report.networks.clone(),
        }
    }
}

impl Node {
    pub(crate) fn unheard(since: Timestamp) -> Node {
        Node {
            link: LinkState::Unreachable { since },
            facts: None,
            closed: None,
            taken_ports: BTreeMap::new(),
        }
    }

    pub fn reachable(&self) -> bool {
        self.link == LinkState::Reachable
    }

    pub(crate) fn skip_port(&mut self, port: u16, now: Timestamp) {
        self.taken_ports.retain(|_, until| *until > now);
        self.taken_ports.insert(port, now + defaults::PORT_TAKEN_SKIP);
    }

    /// Whether somebody else had this port a short while ago.
    pub fn port_is_skipped(&self, port: u16, now: Timestamp) -> bool {
        self.taken_ports.get(&port).is_some_and(|until| *until > now)
    }

    pub(crate) fn shift(&mut self, by_micros: i64) {
        if let LinkState::Unreachable { since } = &mut self.link {
            *since = shifted(*since, by_micros);
        }
        for until in self.taken_ports.values_mut() {
            *until = shifted(*until, by_micros);
        }
    }
}
