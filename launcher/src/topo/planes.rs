//! What is in each plane, found once, so that many planes do not each ask for everything.

use phalanx_common::topology::{Network, Row};

/// The parts of one plane.
#[derive(Clone, Debug, Default)]
pub(super) struct Parts {
    /// How many have a place in it.
    pub(super) nodes: usize,
    pub(super) switches: Vec<Row>,
    pub(super) groups: Vec<Row>,
    /// Those whose lower switch is in it, by their place among the network's links.
    pub(super) links: Vec<usize>,
}

/// The parts of every plane, in the order of planes.
pub(super) fn parts(network: &Network) -> Vec<Parts> {
    let mut parts = vec![Parts::default(); network.planes.len()];
    for place in network.nodes.iter().flat_map(|node| &node.places) {
        parts[place.plane as usize].nodes += 1;
    }
    for (switch, row) in network.switches.iter().zip(0..) {
        if let Some(plane) = switch.plane {
            parts[plane as usize].switches.push(row);
        }
    }
    for (group, row) in network.groups.iter().zip(0..) {
        parts[group.plane as usize].groups.push(row);
    }
    for (link, at) in network.links.iter().zip(0..) {
        if let Some(plane) = network.switches[link.lower as usize].plane {
            parts[plane as usize].links.push(at);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use phalanx_common::time::Timestamp;
    use phalanx_common::topology::{Claim, End, Evidence, Source, SwitchId, derive};

    use super::*;

    #[test]
    fn each_plane_has_its_own_parts_and_all_of_them() {
        let claims = (0..3).flat_map(|plane| {
            let switch = |kind: &str| SwitchId::named(&format!("{kind}-{plane}"));
            let attached = |node: &str| Claim::Attached {
                end: End::of_node(node),
                switch: switch("leaf"),
                switch_port: None,
                speed_mbps: None,
            };
            let upper = Claim::Linked { a: switch("leaf"), b: switch("spine"), links: 2, rate_mbps: None };
            let own = format!("n{plane}");
            let named = Claim::Plane { switch: switch("leaf"), plane: format!("p{plane}") };
            [attached("all"), attached(&own), upper, named]
        });
        let evidence: Vec<Evidence> =
            claims.map(|claim| Evidence::new(claim, Source::Operator, "test", Timestamp(0))).collect();
        let network = derive(&[], &evidence, Timestamp(1)).unwrap();
        let parts = parts(&network);
        assert_eq!(parts.len(), 3);
        for (of, row) in parts.iter().zip(0..) {
            assert_eq!((of.nodes, of.switches.len(), of.links.len()), (2, 2, 1), "{of:?}");
            assert!(of.switches.iter().all(|at| network.switches[*at as usize].plane == Some(row)));
            assert!(!of.groups.is_empty());
            assert!(of.groups.iter().all(|at| network.groups[*at as usize].plane == row));
        }
    }
}
