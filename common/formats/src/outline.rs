//! What a tree that somebody wrote down says, whatever the format: which node is below which switch, which
//! switch below which, and which nodes are in a domain or a block.

use std::collections::{BTreeMap, BTreeSet};

use phalanx_common::time::Timestamp;
use phalanx_common::topology::{Claim, End, Evidence, Member, Network, Row, Source, SwitchId, Tier};

/// No network has as many tiers.
const MAX_ABOVE: usize = 16;

/// A tree of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// Every switch that is spoken of, those without anything below too.
    pub switches: BTreeSet<String>,
    /// Lower switch, upper switch.
    pub under: BTreeSet<(String, String)>,
    /// Node, switch.
    pub nodes: BTreeSet<(String, String)>,
    /// NVLink domains over nodes: node, domain.
    pub domains: BTreeSet<(String, String)>,
    /// Groups of nodes without a switch: node, group.
    pub blocks: BTreeSet<(String, String)>,
    /// Nodes below a switch that do not hang on it, where what is between is not known: node, the switch's tier,
    /// switch.
    pub within: BTreeSet<(String, Tier, String)>,
    /// Nodes of which nothing else is said.
    pub unplaced: BTreeSet<String>,
    /// Nodes of which a place is known in other trees alone, each with all of these by their names.
    pub elsewhere: BTreeSet<(String, String)>,
    /// Members that are named by something else than a name (a pattern, a label), so that nobody knows here
    /// who they are.
    pub unknown: usize,
}

impl Outline {
    /// The claims of the tree, by a source of imports.
    pub fn evidence(&self, source: Source, origin: &str, at: Timestamp) -> Vec<Evidence> {
        let switch = |name: &String| SwitchId::named(name);
        let under = self
            .under
            .iter()
            .map(|(lower, upper)| Claim::Under { lower: switch(lower), upper: switch(upper) });
        let nodes = self.nodes.iter().map(|(node, on)| Claim::Attached {
            end: End::of_node(node),
            switch: switch(on),
            switch_port: None,
            speed_mbps: None,
        });
        let domains = self.domains.iter().filter_map(|(node, domain)| nvlink(node, domain));
        let blocks = self.blocks.iter().map(|(node, group)| Claim::Member {
            member: Member::Node(node.clone()),
            tier: Tier::Block,
            group: group.clone(),
        });
        let within = self.within.iter().map(|(node, tier, group)| Claim::Member {
            member: Member::Node(node.clone()),
            tier: *tier,
            group: group.clone(),
        });
        let elsewhere = self.elsewhere.iter().map(|(node, _)| node);
        let unplaced: BTreeSet<&String> = self.unplaced.iter().chain(elsewhere).collect();
        let unplaced = unplaced.into_iter().map(|node| Claim::Node { node: node.clone() });
        let claims = under.chain(nodes).chain(domains).chain(blocks).chain(within).chain(unplaced);
        claims.map(|claim| Evidence::new(claim, source, origin, at)).collect()
    }

    /// The tree of a network's main plane: its groups are the switches. Nodes hang on the closest group; where
    /// there are groups below it that one is not the node's own, and they are within it.
    pub fn of(network: &Network) -> Outline {
        let mut outline = Outline::default();
        let names = group_names(network);
        let parents: BTreeSet<Row> = network.groups.iter().filter_map(|group| group.parent).collect();
        for (group, row) in network.groups.iter().zip(0..) {
            if Some(group.plane) == network.main {
                outline.switches.insert(names[&row].clone());
                if let Some(parent) = group.parent {
                    outline.under.insert((names[&row].clone(), names[&parent].clone()));
                }
            }
        }
        for node in &network.nodes {
            let place = node.places.iter().find(|place| Some(place.plane) == network.main);
            match place.and_then(|place| place.groups.first()) {
                Some(group)
                    if parents.contains(group) && network.groups[*group as usize].tier > Tier::Leaf =>
                {
                    let tier = network.groups[*group as usize].tier;
                    outline.within.insert((node.name.clone(), tier, names[group].clone()));
                }
                Some(group) => {
                    outline.nodes.insert((node.name.clone(), names[group].clone()));
                }
                None => {}
            }
            // Nodes of one cluster in cliques that nobody knows are not known to be together.
            let domain = node.nvlink.filter(|domain| !network.is_nvlink_cluster(*domain));
            if let Some(domain) = domain {
                outline.domains.insert((node.name.clone(), network.nvlink[domain as usize].clone()));
            }
            if domain.is_none() && place.is_none_or(|place| place.groups.is_empty()) {
                let known = node.places.iter().filter(|place| !place.groups.is_empty());
                let planes = known.map(|place| network.planes[place.plane as usize].name.clone());
                let before = outline.elsewhere.len();
                outline.elsewhere.extend(planes.map(|plane| (node.name.clone(), plane)));
                if outline.elsewhere.len() == before {
                    outline.unplaced.insert(node.name.clone());
                }
            }
        }
        outline
    }

    /// The switches above a switch, the closest first, by the first of several, no more than a cluster has tiers.
    /// A ring ends where it began.
    pub fn above<'a>(&'a self, switch: &'a str) -> Vec<&'a str> {
        let mut above: Vec<&str> = Vec::new();
        let mut at = switch;
        while let Some(upper) = self.upper(at).filter(|_| above.len() < MAX_ABOVE) {
            if upper == switch || above.contains(&upper) {
                break;
            }
            above.push(upper);
            at = upper;
        }
        above
    }

    fn upper(&self, lower: &str) -> Option<&str> {
        let from = (lower.to_string(), String::new());
        self.under.range(from..).next().filter(|(of, _)| of == lower).map(|(_, upper)| upper.as_str())
    }
}

/// The claim that a node is in an NVLink domain of that name. A name that is a uuid alone is a cluster's, whose
/// clique is not said; a uuid of zeros is no domain, whatever its clique.
pub(crate) fn nvlink(node: &str, domain: &str) -> Option<Claim> {
    let node = node.to_string();
    let (cluster, clique) = domain.split_once('.').unwrap_or((domain, ""));
    let is_uuid = || {
        let lengths = cluster.split('-').map(str::len);
        lengths.eq([8, 4, 4, 4, 12]) && cluster.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
    };
    if !cluster.chars().any(|c| c.is_alphanumeric() && c != '0') {
        None
    } else if clique.is_empty() && is_uuid() {
        Some(Claim::NvlinkCluster { node, cluster: cluster.to_string() })
    } else {
        Some(Claim::Nvlink { node, domain: domain.to_string() })
    }
}

/// A name without what files of other tools take for more: separators, brackets, ends of lines.
pub(crate) fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect()
}

/// Names of groups that other tools take for names of switches: unique, and without what they take for more.
fn group_names(network: &Network) -> BTreeMap<Row, String> {
    let mut taken = BTreeSet::new();
    let mut names = BTreeMap::new();
    for (group, row) in network.groups.iter().zip(0..) {
        let plain = plain(&group.name);
        let mut name = if plain.is_empty() { group.tier.to_string() } else { plain };
        if taken.contains(&name) {
            name = format!("{name}-{}-{row}", group.tier);
        }
        taken.insert(name.clone());
        names.insert(row, name);
    }
    names
}
