//! Who is in the same layer-2 broadcast domain. It says nothing about who is on the same switch: domains
//! are stretched over switches by trunks and tunnels.

use std::collections::{BTreeMap, BTreeSet};

use super::evidence::{Claim, Evidence};
use super::network::{OneWay, PortRef, Prefix};
use super::nodes::{Found, Nodes};
use super::sets::Union;

/// Components of mutual hearing, and what was heard in one direction only.
pub(super) fn domains(evidence: &[&Evidence], nodes: &Nodes) -> (Vec<Vec<PortRef>>, Vec<OneWay>) {
    let mut heard: BTreeSet<(PortRef, PortRef)> = BTreeSet::new();
    for by in evidence {
        if let Claim::Heard { listener, speaker } = &by.claim
            && let (Found::Port(listener), Found::Port(speaker)) = (nodes.find(listener), nodes.find(speaker))
            && listener != speaker
        {
            heard.insert((listener, speaker));
        }
    }
    let ports: Vec<PortRef> = heard
        .iter()
        .flat_map(|(listener, speaker)| [*listener, *speaker])
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let place: BTreeMap<PortRef, usize> = ports.iter().enumerate().map(|(at, port)| (*port, at)).collect();
    let mut union = Union::new(ports.len());
    let mut one_way = Vec::new();
    for (listener, speaker) in &heard {
        if heard.contains(&(*speaker, *listener)) {
            union.unite(place[listener], place[speaker]);
        } else {
            one_way.push(OneWay { listener: *listener, speaker: *speaker });
        }
    }
    let domains = union
        .sets()
        .into_iter()
        .filter(|set| set.len() > 1)
        .map(|set| set.into_iter().map(|at| ports[at]).collect())
        .collect();
    (domains, one_way)
}

/// Networks by their prefix and gateway.
pub(super) fn prefixes(evidence: &[&Evidence], nodes: &Nodes) -> Vec<Prefix> {
    let mut ports: BTreeMap<(String, Option<String>), BTreeSet<PortRef>> = BTreeMap::new();
    for by in evidence {
        if let Claim::Prefix { end, prefix, gateway } = &by.claim
            && let Found::Port(port) = nodes.find(end)
        {
            ports.entry((prefix.clone(), gateway.clone())).or_default().insert(port);
        }
    }
    ports
        .into_iter()
        .map(|((prefix, gateway), ports)| Prefix { prefix, gateway, ports: ports.into_iter().collect() })
        .collect()
}
