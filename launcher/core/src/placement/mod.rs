//! Where a gang goes, which rank is where, and what each rank gets there. Reads and changes nothing: same input, same answer.
//!
//! ```text
//! GangRequest --+
//! Stock --------+--> replace: the nodes it had --+
//!   Fabric      |                                +--> Gang --> ports --> Placement
//!   Free        +--> gang: cut, supply, across, -+      \
//!   NodeModel         mapping (order), inside            report: what that costs, and why
//! ```

pub mod across;
mod bounds;
mod close;
pub mod explain;
pub mod fabric;
pub mod free;
pub mod gang;
pub mod inside;
pub mod mapping;
pub mod order;
pub mod partly;
pub mod refusal;
pub mod replace;
pub mod report;
pub mod request;
pub mod supply;
mod worlds;

use std::collections::BTreeMap;

use phalanx_common::id::NodeId;
use phalanx_common::plan::PodBinding;

use self::fabric::NodeRow;
use self::gang::{Gang, GangPod, place_gang};
use self::inside::Held;
use self::order::Effort;
use self::refusal::{NoFit, Refusal};
use self::request::GangRequest;
use crate::ledger::Ledger;
use crate::nodes::Nodes;
use crate::stock::Stock;

/// Where a gang goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// In NODE_RANK order: the order in which ranks are numbered.
    pub pods: Vec<PlacedPod>,
    /// Port of the rendezvous, on the first node.
    pub master_port: u16,
    /// Nodes that are held back.
    pub spares: Vec<NodeId>,
}

/// A node's share of a gang.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedPod {
    pub node: NodeId,
    pub ranks: u32,
    pub probe_port: Option<u16>,
    pub binding: PodBinding,
    /// What it holds of the node beside devices; `None`: nobody told what is in the node.
    pub held: Option<Held>,
}

/// Places a gang on nodes that have ports for it.
///
/// # Errors
/// What is missing, node by node.
pub fn place(
    nodes: &Nodes,
    ledger: &Ledger,
    stock: &Stock,
    request: &GangRequest<'_>,
    effort: &Effort,
) -> Result<Placement, Box<NoFit>> {
    let mut without: BTreeMap<NodeRow, Refusal> = BTreeMap::new();
    loop {
        let kept = replace::keep(stock, request, &without);
        let gang = match kept {
            Some(gang) => gang,
            None => place_gang(stock, request, &without, effort)?,
        };
        match with_ports(nodes, ledger, stock, request, &gang) {
            Ok(placement) => return Ok(placement),
            // Each round finds fewer nodes.
            Err(portless) => without.extend(portless.into_iter().map(|row| (row, Refusal::NoPort))),
        }
    }
}

/// The gang with its ports, or the nodes that have none.
fn with_ports(
    nodes: &Nodes,
    ledger: &Ledger,
    stock: &Stock,
    request: &GangRequest<'_>,
    gang: &Gang,
) -> Result<Placement, Vec<NodeRow>> {
    let mut placement =
        Placement { pods: Vec::with_capacity(gang.pods.len()), master_port: 0, spares: Vec::new() };
    let mut portless = Vec::new();
    for (at, pod) in gang.pods.iter().enumerate() {
        let id = &stock.fabric().node(pod.node).id;
        let wanted = usize::from(at == 0) + usize::from(request.probes);
        match ports(nodes, ledger, request, id, wanted) {
            Some(mut ports) => {
                // The first node gives its first port to the rendezvous.
                let probe_port = if request.probes { ports.pop() } else { None };
                placement.master_port = ports.pop().unwrap_or(placement.master_port);
                placement.pods.push(PlacedPod {
                    node: id.clone(),
                    ranks: pod.ranks,
                    probe_port,
                    binding: stock.bind(request, gang, pod),
                    held: held(stock, pod),
                });
            }
            None => portless.push(pod.node),
        }
    }
    placement.spares = gang.spares.iter().map(|row| stock.fabric().node(*row).id.clone()).collect();
    if portless.is_empty() { Ok(placement) } else { Err(portless) }
}

/// What a pod holds of its node beside devices; nothing where its ranks share what the worker may use.
fn held(stock: &Stock, pod: &GangPod) -> Option<Held> {
    let inside = stock.node(pod.node).inside.as_ref()?;
    Some(pod.inside.as_ref().map(|chosen| chosen.held(&inside.model)).unwrap_or_default())
}

/// So many free ports of a node.
fn ports(
    nodes: &Nodes,
    ledger: &Ledger,
    request: &GangRequest<'_>,
    id: &NodeId,
    wanted: usize,
) -> Option<Vec<u16>> {
    let node = nodes.get(id)?;
    let facts = node.facts.as_ref()?;
    let mut ports: Vec<u16> = Vec::with_capacity(wanted);
    while ports.len() < wanted {
        let skip = |port| node.port_is_skipped(port, request.now) || ports.contains(&port);
        let port = ledger.next_port(id, facts.ports, request.port_salt, skip)?;
        ports.push(port);
    }
    Some(ports)
}
