//! NVIDIA NetQ: the graph of its topology view, and the compute nodes of NVLink domains (both JSON).

use std::collections::{BTreeMap, BTreeSet};

use phalanx_common::time::Timestamp;
use phalanx_common::topology::{Claim, End, Evidence, Source, SwitchId};
use serde::Deserialize;

use crate::outline::nvlink;
use crate::size::{TooLarge, within};

pub const MAX_BYTES: usize = 128 << 20;

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    #[error("this is neither a topology graph of NetQ nor its list of compute nodes: {0}")]
    Json(#[source] serde_json::Error),
}

#[derive(Deserialize)]
struct Graph {
    links: Vec<Link>,
    nodes: Vec<Layer>,
}

#[derive(Deserialize)]
struct Layer {
    compounded_nodes: Vec<Device>,
}

#[derive(Deserialize)]
struct Device {
    id: String,
    name: String,
    device_type: String,
}

#[derive(Deserialize)]
struct Link {
    compounded_links: Vec<Cable>,
}

#[derive(Deserialize)]
struct Cable {
    interfaces: Vec<Interface>,
}

#[derive(Deserialize)]
struct Interface {
    #[serde(default)]
    interface: Option<String>,
    node: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Compute {
    name: String,
    #[serde(rename = "DomainUUID")]
    domain: String,
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Error> {
    let bytes = within(bytes, MAX_BYTES)?;
    serde_json::from_slice(bytes).map_err(Error::Json)
}

/// The cables of a topology graph: those of hosts by port, those between switches counted.
///
/// # Errors
/// More than [`MAX_BYTES`], and what is no such graph.
pub fn graph(bytes: &[u8], origin: &str, at: Timestamp) -> Result<Vec<Evidence>, Error> {
    let graphs: Vec<Graph> = read(bytes)?;
    let mut claims = BTreeSet::new();
    for graph in graphs {
        let devices: BTreeMap<&str, &Device> = graph
            .nodes
            .iter()
            .flat_map(|layer| &layer.compounded_nodes)
            .map(|device| (device.id.as_str(), device))
            .collect();
        let mut pairs: BTreeMap<(&str, &str), u32> = BTreeMap::new();
        for cable in graph.links.iter().flat_map(|link| &link.compounded_links) {
            let [a, b] = &cable.interfaces[..] else { continue };
            let (Some(one), Some(other)) = (devices.get(a.node.as_str()), devices.get(b.node.as_str()))
            else {
                continue;
            };
            match (one.device_type == "switch", other.device_type == "switch") {
                (true, true) => {
                    let (a, b) = (one.name.as_str(), other.name.as_str());
                    *pairs.entry((a.min(b), a.max(b))).or_default() += 1;
                }
                (true, false) => {
                    claims.insert(attached(other, b, one, a));
                }
                (false, true) => {
                    claims.insert(attached(one, a, other, b));
                }
                (false, false) => {}
            }
        }
        claims.extend(pairs.into_iter().map(|((a, b), links)| Claim::Linked {
            a: SwitchId::named(a),
            b: SwitchId::named(b),
            links,
            rate_mbps: None,
        }));
    }
    Ok(claims.into_iter().map(|claim| Evidence::new(claim, Source::NetQ, origin, at)).collect())
}

fn attached(node: &Device, port: &Interface, switch: &Device, on: &Interface) -> Claim {
    Claim::Attached {
        end: End { port: port.interface.clone(), ..End::of_node(&node.name) },
        switch: SwitchId::named(&switch.name),
        switch_port: on.interface.clone(),
        speed_mbps: None,
    }
}

/// The NVLink domains of a list of compute nodes. It has the cluster's uuid and not the clique, so that nodes of
/// one uuid may be in one domain or not. A uuid of zeros is none.
///
/// # Errors
/// More than [`MAX_BYTES`], and what is no such list.
pub fn compute_nodes(bytes: &[u8], origin: &str, at: Timestamp) -> Result<Vec<Evidence>, Error> {
    let nodes: Vec<Compute> = read(bytes)?;
    let claims = nodes.into_iter().filter_map(|node| nvlink(&node.name, &node.domain));
    Ok(claims.map(|claim| Evidence::new(claim, Source::NetQ, origin, at)).collect())
}
