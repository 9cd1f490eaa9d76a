//! Where a gang goes. Reads and changes nothing: same input, same answer.

use std::collections::BTreeMap;
use std::fmt;

use phalanx_common::id::NodeId;
use phalanx_common::time::Timestamp;

use crate::ledger::Ledger;
use crate::nodes::{LinkState, Nodes};

/// What a gang needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GangRequest {
    pub nodes: u32,
    pub ranks_per_node: u32,
    /// Nodes of the last generation: the gang restarts in place where it can.
    pub prefer: Vec<NodeId>,
    /// Taken only if nothing else is left: its last pod could not be prepared there.
    pub shun: Option<NodeId>,
    pub now: Timestamp,
    /// See [`Config`](crate::Config).
    pub port_salt: u64,
}

/// Where a gang goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// In NODE_RANK order, which is the order of their ids.
    pub nodes: Vec<NodeId>,
    /// Port of the rendezvous, on the first node.
    pub master_port: u16,
}

/// Why a gang does not fit, node by node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoFit {
    pub needed: u32,
    pub fitting: u32,
    pub refused: BTreeMap<NodeId, Refusal>,
}

/// Why a node takes no rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Unreachable,
    /// Every port of its range is held or was taken by somebody else.
    NoPort,
}

impl fmt::Display for NoFit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "needs {} nodes, {} can take it", self.needed, self.fitting)?;
        for (node, refusal) in &self.refused {
            match refusal {
                Refusal::Unreachable => write!(f, "; node {node} is unreachable")?,
                Refusal::NoPort => write!(f, "; node {node} has no free port")?,
            }
        }
        Ok(())
    }
}

/// The reachable nodes with the fewest ranks on them, those of the last generation first, ties by node id.
pub fn place(nodes: &Nodes, ledger: &Ledger, request: &GangRequest) -> Result<Placement, NoFit> {
    let mut refused = BTreeMap::new();
    let mut candidates = Vec::new();
    for (id, node) in nodes {
        let port = node.facts.as_ref().map(|facts| {
            ledger
                .next_port(id, facts.ports, request.port_salt, |port| node.port_is_skipped(port, request.now))
        });
        match (node.link, port) {
            (LinkState::Unreachable { .. }, _) | (_, None) => {
                refused.insert(id.clone(), Refusal::Unreachable);
            }
            (LinkState::Reachable, Some(None)) => {
                refused.insert(id.clone(), Refusal::NoPort);
            }
            (LinkState::Reachable, Some(Some(port))) => candidates.push((id, port)),
        }
    }
    let no_fit = |fitting: usize, refused| NoFit {
        needed: request.nodes,
        fitting: u32::try_from(fitting).unwrap_or(u32::MAX),
        refused,
    };
    if candidates.len() < request.nodes as usize {
        return Err(no_fit(candidates.len(), refused));
    }
    candidates.sort_by_key(|(id, _)| {
        let shunned = request.shun.as_ref() == Some(id);
        (shunned, !request.prefer.contains(id), ledger.ranks_on(id), *id)
    });
    candidates.truncate(request.nodes as usize);
    candidates.sort();
    match candidates.first() {
        Some((_, master_port)) => Ok(Placement {
            master_port: *master_port,
            nodes: candidates.iter().map(|(id, _)| (*id).clone()).collect(),
        }),
        None => Err(no_fit(0, refused)),
    }
}
