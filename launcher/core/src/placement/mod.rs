//! Where a gang goes. Reads and changes nothing: same input, same answer.

pub mod across;
pub mod fabric;
pub mod free;
pub mod order;
pub mod partly;
pub mod supply;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use phalanx_common::id::NodeId;
use phalanx_common::spec::Shape;
use phalanx_common::time::Timestamp;

use crate::ledger::Ledger;
use crate::nodes::{Node, Nodes};

/// What a gang needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GangRequest {
    pub shape: Shape,
    /// The Unix user it runs as; `None` in local mode.
    pub user: Option<String>,
    /// Every pod gets a port for the probes of its peers.
    pub probes: bool,
    /// Nodes of the last generation: the gang restarts in place where it can.
    pub prefer: BTreeSet<NodeId>,
    /// Taken only if nothing else is left: its last pod could not be prepared there.
    pub shun: Option<NodeId>,
    /// Never taken, and why: they cannot take a pod of this job.
    pub refused: BTreeMap<NodeId, String>,
    pub now: Timestamp,
    /// See [`Config`](crate::Config).
    pub port_salt: u64,
}

/// Where a gang goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// In NODE_RANK order, which is the order of their ids.
    pub pods: Vec<PlacedPod>,
    /// Port of the rendezvous, on the first node.
    pub master_port: u16,
}

/// A node's share of a gang.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedPod {
    pub node: NodeId,
    pub ranks: u32,
    pub probe_port: Option<u16>,
}

/// Why a gang does not fit, node by node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoFit {
    pub needed: Shape,
    /// Nodes that can take a share of it, or ranks that fit, as `needed` counts.
    pub fitting: u32,
    pub refused: BTreeMap<NodeId, Refusal>,
}

/// Why a node takes no rank, or not as many as it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    Unreachable,
    /// Every port of its range is held or was taken by somebody else.
    NoPort,
    /// It could not take a pod of this job before.
    Cannot {
        why: String,
    },
    /// Its worker is not privileged, and runs jobs of this user only.
    RunsOnly {
        user: String,
    },
    /// So many of its slots are free.
    Slots {
        free: u32,
        of: u32,
    },
}

impl fmt::Display for NoFit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.needed {
            Shape::Nodes { nodes, ranks_per_node } => write!(
                f,
                "needs {nodes} node{} with {ranks_per_node} free slot{} each, {} can take it",
                plural(nodes),
                plural(ranks_per_node),
                self.fitting
            )?,
            Shape::Ranks(ranks) => {
                write!(f, "needs {ranks} free slot{}, there are {}", plural(ranks), self.fitting)?;
            }
        }
        for (node, refusal) in &self.refused {
            match refusal {
                Refusal::Unreachable => write!(f, "; node {node} is unreachable")?,
                Refusal::NoPort => write!(f, "; node {node} has no free port")?,
                Refusal::Cannot { why } => write!(f, "; node {node} cannot take it: {why}")?,
                Refusal::RunsOnly { user } => write!(f, "; node {node} runs jobs of {user} only")?,
                Refusal::Slots { free, of } => write!(f, "; node {node} has {free} of {of} slots free")?,
            }
        }
        Ok(())
    }
}

fn plural(count: u32) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// A node that can take ranks.
struct Candidate<'a> {
    id: &'a NodeId,
    ports: Vec<u16>,
    free: u32,
    /// Nodes of the last generation before others, a shunned one last.
    rank: (bool, bool),
}

/// The fewest nodes that have room, those of the last generation first, then in the order of their ids.
pub fn place(nodes: &Nodes, ledger: &Ledger, request: &GangRequest) -> Result<Placement, NoFit> {
    let mut refused = BTreeMap::new();
    let mut candidates = Vec::new();
    for (id, node) in nodes {
        match candidate(id, node, ledger, request) {
            Ok(candidate) => candidates.push(candidate),
            Err(refusal) => {
                refused.insert(id.clone(), refusal);
            }
        }
    }
    let chosen = match request.shape {
        Shape::Nodes { nodes, ranks_per_node } => whole_nodes(candidates, nodes, ranks_per_node),
        Shape::Ranks(ranks) => fewest_nodes(candidates, ranks),
    };
    let mut chosen =
        chosen.map_err(|fitting| NoFit { needed: request.shape, fitting, refused: refused.clone() })?;
    chosen.sort_by_key(|(candidate, _)| candidate.id);
    let Some(master_port) = chosen.first().and_then(|(first, _)| first.ports.first().copied()) else {
        return Err(NoFit { needed: request.shape, fitting: 0, refused });
    };
    let pods = chosen.into_iter().zip(0u32..).map(|((candidate, ranks), node_rank)| {
        // The first node gives its first port to the rendezvous.
        let probe_port = candidate.ports.get(usize::from(node_rank == 0)).copied();
        PlacedPod { node: candidate.id.clone(), ranks, probe_port: probe_port.filter(|_| request.probes) }
    });
    Ok(Placement { pods: pods.collect(), master_port })
}

fn candidate<'a>(
    id: &'a NodeId,
    node: &Node,
    ledger: &Ledger,
    request: &GangRequest,
) -> Result<Candidate<'a>, Refusal> {
    if let Some(why) = request.refused.get(id) {
        return Err(Refusal::Cannot { why: why.clone() });
    }
    let facts = node.facts.as_ref().filter(|_| node.reachable()).ok_or(Refusal::Unreachable)?;
    if let (Some(only), Some(user)) = (&facts.user, &request.user)
        && only != user
    {
        return Err(Refusal::RunsOnly { user: only.clone() });
    }
    let free = facts.slots.saturating_sub(ledger.ranks_on(id));
    let wanted = match request.shape {
        Shape::Nodes { ranks_per_node, .. } => ranks_per_node,
        Shape::Ranks(_) => 1,
    };
    if free < wanted {
        return Err(Refusal::Slots { free, of: facts.slots });
    }
    let mut ports: Vec<u16> = Vec::new();
    for _ in 0..1 + usize::from(request.probes) {
        let skip = |port| node.port_is_skipped(port, request.now) || ports.contains(&port);
        let port = ledger.next_port(id, facts.ports, request.port_salt, skip).ok_or(Refusal::NoPort)?;
        ports.push(port);
    }
    let rank = (request.shun.as_ref() == Some(id), !request.prefer.contains(id));
    Ok(Candidate { id, ports, free, rank })
}

/// So many nodes with the same share each; else how many there are.
fn whole_nodes(
    mut candidates: Vec<Candidate<'_>>,
    nodes: u32,
    share: u32,
) -> Result<Vec<(Candidate<'_>, u32)>, u32> {
    if candidates.len() < nodes as usize {
        return Err(count(candidates.len()));
    }
    candidates.sort_by_key(|candidate| (candidate.rank, candidate.id));
    candidates.truncate(nodes as usize);
    Ok(candidates.into_iter().map(|candidate| (candidate, share)).collect())
}

/// As few nodes as hold `ranks`, with shares as even as their room allows; else how many ranks fit.
fn fewest_nodes(mut candidates: Vec<Candidate<'_>>, ranks: u32) -> Result<Vec<(Candidate<'_>, u32)>, u32> {
    candidates.sort_by_key(|candidate| (candidate.rank, Reverse(candidate.free), candidate.id));
    let mut room = 0u64;
    let enough = candidates.iter().position(|candidate| {
        room += u64::from(candidate.free);
        room >= u64::from(ranks)
    });
    let Some(last) = enough else { return Err(u32::try_from(room).unwrap_or(u32::MAX)) };
    candidates.truncate(last + 1);
    candidates.sort_by_key(|candidate| candidate.id);
    let mut chosen: Vec<(Candidate<'_>, u32)> =
        candidates.into_iter().map(|candidate| (candidate, 0)).collect();
    let mut left = ranks;
    while left > 0 {
        let open = count(chosen.iter().filter(|(candidate, share)| share < &candidate.free).count());
        let each = left.div_ceil(open.max(1));
        for (candidate, share) in &mut chosen {
            let more = each.min(candidate.free - *share).min(left);
            *share += more;
            left -= more;
        }
    }
    chosen.retain(|(_, share)| *share > 0);
    Ok(chosen)
}

fn count(items: usize) -> u32 {
    u32::try_from(items).unwrap_or(u32::MAX)
}
