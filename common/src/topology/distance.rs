//! How far two nodes are from each other.

use std::collections::BTreeMap;

use super::network::{Network, Row};
use super::nvlink::is_clique_of;
use super::tier::{Tier, TierInterval};

impl Network {
    /// The row of a node.
    pub fn node(&self, name: &str) -> Option<Row> {
        let at = self.nodes.binary_search_by(|node| node.name.as_str().cmp(name)).ok()?;
        Row::try_from(at).ok()
    }

    /// The rails that ports of the node of this name are on, by the port's name.
    pub fn rails_of(&self, name: &str) -> BTreeMap<String, u16> {
        let node = self.node(name).and_then(|row| self.nodes.get(row as usize));
        let ports = node.iter().flat_map(|node| &node.ports);
        ports.filter_map(|port| Some((port.name.clone(), port.rail?))).collect()
    }

    /// The distance of two nodes, by the NVLink domain that they share or else by the main plane. Rows that
    /// are no nodes are as far apart as anything.
    pub fn distance(&self, a: Row, b: Row) -> TierInterval {
        let (Some(one), Some(other)) = (self.nodes.get(a as usize), self.nodes.get(b as usize)) else {
            return TierInterval::exactly(Tier::Site);
        };
        if a == b {
            TierInterval::exactly(Tier::Node)
        } else {
            let by_switches = match self.main {
                Some(main) => self.distance_in(main, a, b),
                None => TierInterval { best: Tier::Leaf, worst: Tier::Site },
            };
            match one.nvlink.zip(other.nvlink).map(|(a, b)| self.share_nvlink(a, b)) {
                Some(Some(true)) => TierInterval::exactly(Tier::Nvlink),
                Some(None) => TierInterval { best: Tier::Nvlink, ..by_switches },
                Some(Some(false)) | None => by_switches,
            }
        }
    }

    /// Whether an NVLink domain is a cluster, in which clique of which its nodes are is unknown.
    pub fn is_nvlink_cluster(&self, domain: Row) -> bool {
        self.nvlink_clusters.binary_search(&domain).is_ok()
    }

    /// Whether two NVLink domains are one. `None`: they are of one cluster, and a clique is unknown.
    fn share_nvlink(&self, a: Row, b: Row) -> Option<bool> {
        let is_cluster = |row: &Row| self.is_nvlink_cluster(*row);
        let name = |row: Row| self.nvlink[row as usize].as_str();
        let clique_of = |whole: Row, cluster: Row| is_clique_of(name(whole), name(cluster));
        match (is_cluster(&a), is_cluster(&b)) {
            (false, false) => Some(a == b),
            (true, true) => (a != b).then_some(false),
            (true, false) => (!clique_of(b, a)).then_some(false),
            (false, true) => (!clique_of(a, b)).then_some(false),
        }
    }

    /// The distance of two different nodes by the switches of one plane. The best is the closest tier in
    /// which they may be together, the worst the closest in which they are known to be.
    pub fn distance_in(&self, plane: Row, a: Row, b: Row) -> TierInterval {
        let tiers = self.planes.get(plane as usize).map_or(&[][..], |plane| &plane.tiers);
        let mut best = None;
        for tier in tiers {
            match (self.group_of(a, plane, *tier), self.group_of(b, plane, *tier)) {
                (Some(one), Some(other)) if one == other => {
                    return TierInterval { best: best.unwrap_or(*tier), worst: *tier };
                }
                (Some(_), Some(_)) => {}
                _ => best = best.or(Some(*tier)),
            }
        }
        // Above the highest known tier nothing is known, so that they may meet in the next.
        let next = || match tiers.last() {
            Some(last) => Tier::OF_SWITCHES.into_iter().find(|tier| tier > last).unwrap_or(Tier::Site),
            None => Tier::Leaf,
        };
        TierInterval { best: best.unwrap_or_else(next), worst: Tier::Site }
    }

    /// The group of a tier that a node is in. `None`: unknown.
    pub fn group_of(&self, node: Row, plane: Row, tier: Tier) -> Option<Row> {
        let places = &self.nodes.get(node as usize)?.places;
        let place = places.iter().find(|place| place.plane == plane)?;
        place.groups.iter().copied().find(|group| self.groups[*group as usize].tier == tier)
    }
}
