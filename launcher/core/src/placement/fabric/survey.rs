//! A fabric from what was found out about the networks.

use std::collections::{BTreeMap, BTreeSet};

use phalanx_common::id::NodeId;
use phalanx_common::topology::{Capacity, Network, Node, NodePort, Row, Tier};

use super::{Blemish, Fabric, Member, Place};

impl Fabric {
    /// The fabric of the nodes that `ids` knows by their names, by the plane that jobs' traffic takes, and of `others`, of
    /// which nothing is known.
    pub fn of(
        network: &Network,
        ids: &BTreeMap<String, NodeId>,
        others: impl IntoIterator<Item = Member>,
    ) -> Fabric {
        let tiers = tiers(network);
        let usual = Usual::of(network);
        let above = Above::of(network, &tiers);
        let named = network.nodes.iter().filter_map(|node| Some((node, ids.get(&node.name)?)));
        let members = named.map(|(node, id)| Member {
            id: id.clone(),
            name: node.name.clone(),
            places: above.places(network, node, &tiers),
            blemishes: blemishes(network, node, &tiers, &usual),
        });
        let unplaced = |member| {
            let known = tiers.iter().filter(|tier| **tier != Tier::Nvlink);
            Member { blemishes: known.map(|tier| Blemish::Unplaced(*tier)).collect(), ..member }
        };
        Fabric::build(&tiers, members.chain(others.into_iter().map(unplaced))).fabric
    }

    /// The fabric of every node of a recorded cluster, which has no ids but the names.
    pub fn recorded(network: &Network) -> Fabric {
        let ids = network.nodes.iter().map(|node| (node.name.clone(), NodeId::new(&node.name))).collect();
        Fabric::of(network, &ids, [])
    }
}

/// Those of the main plane, with NVLink domains over nodes below where there are any.
fn tiers(network: &Network) -> Vec<Tier> {
    let nvlink = network.nodes.iter().any(|node| node.nvlink.is_some()).then_some(Tier::Nvlink);
    let plane = network.main.and_then(|main| network.planes.get(main as usize));
    nvlink.into_iter().chain(plane.iter().flat_map(|plane| plane.tiers.iter().copied())).collect()
}

/// An NVLink cluster whose cliques are unknown unites nobody for sure.
fn place(network: &Network, node: &Node, tier: Tier) -> Option<Place> {
    if tier == Tier::Nvlink {
        let domain = node.nvlink.filter(|domain| !network.is_nvlink_cluster(*domain))?;
        return Some(Place { name: network.nvlink.get(domain as usize)?.clone(), cables: None });
    }
    let groups = &node.places.iter().find(|place| Some(place.plane) == network.main)?.groups;
    let mut groups = groups.iter().filter_map(|group| network.groups.get(*group as usize));
    let group = groups.find(|group| group.tier == tier)?;
    Some(Place { name: group.name.clone(), cables: group.uplinks })
}

/// What is above a group, as any node of it tells: where it is one, it is so for all of them.
struct Above(BTreeMap<(usize, Place), Vec<Option<Place>>>);

impl Above {
    fn of(network: &Network, tiers: &[Tier]) -> Above {
        let mut all: BTreeMap<(usize, Place), Vec<BTreeSet<Place>>> = BTreeMap::new();
        for node in &network.nodes {
            let places: Vec<Option<Place>> = tiers.iter().map(|tier| place(network, node, *tier)).collect();
            for (level, at) in places.iter().enumerate() {
                let Some(at) = at else { continue };
                let told =
                    all.entry((level, at.clone())).or_insert_with(|| vec![BTreeSet::new(); tiers.len()]);
                for (above, place) in places.iter().enumerate().skip(level + 1) {
                    told[above].extend(place.clone());
                }
            }
        }
        let one = |told: BTreeSet<Place>| if told.len() == 1 { told.into_iter().next() } else { None };
        Above(all.into_iter().map(|(key, told)| (key, told.into_iter().map(one).collect())).collect())
    }

    /// A node's groups, and those of which others of its groups tell.
    fn places(&self, network: &Network, node: &Node, tiers: &[Tier]) -> Vec<Option<Place>> {
        let mut places: Vec<Option<Place>> = Vec::with_capacity(tiers.len());
        for (level, tier) in tiers.iter().enumerate() {
            let told = |below: usize| {
                let key = (below, places.get(below)?.clone()?);
                self.0.get(&key)?.get(level)?.clone()
            };
            let found = place(network, node, *tier).or_else(|| (0..level).rev().find_map(told));
            places.push(found);
        }
        places
    }
}

/// What most nodes have: on how many a port of a name has a link, and on how many it has none.
struct Usual<'a> {
    ports: BTreeMap<&'a str, Capacity>,
    /// Of the main plane.
    rails: BTreeSet<u16>,
}

impl<'a> Usual<'a> {
    fn of(network: &'a Network) -> Usual<'a> {
        let mut ports: BTreeMap<&str, Capacity> = BTreeMap::new();
        for port in network.nodes.iter().flat_map(|node| &node.ports) {
            let count = ports.entry(&port.name).or_default();
            count.live += u32::from(!port.down);
            count.expected += 1;
        }
        Usual { ports, rails: rails(network) }
    }

    fn is_up(&self, port: &str) -> bool {
        self.ports.get(port).is_some_and(|count| count.live * 2 > count.expected)
    }
}

fn blemishes(network: &Network, node: &Node, tiers: &[Tier], usual: &Usual<'_>) -> Vec<Blemish> {
    let unplaced =
        tiers.iter().filter(|tier| **tier != Tier::Nvlink && place(network, node, **tier).is_none());
    let switch = |port: &NodePort| network.switches.get(port.at.as_ref()?.switch as usize);
    // A node with fewer ports than there are rails (a management host) need not follow them.
    let follows = |plane: Row| {
        let own = node.ports.iter().filter(|port| switch(port).is_some_and(|on| on.plane == Some(plane)));
        network.planes.get(plane as usize).is_some_and(|plane| own.count() >= usize::from(plane.rails))
    };
    let off = node.ports.iter().filter_map(|port| {
        let switch = switch(port)?;
        let (rail, on) = (port.rail?, switch.rail?);
        (rail != on && follows(switch.plane?)).then(|| Blemish::WrongRail {
            port: port.name.clone(),
            rail,
            on,
        })
    });
    let down = node.ports.iter().filter(|port| port.down && usual.is_up(&port.name));
    let down = down.map(|port| Blemish::PortDown { port: port.name.clone() });
    let no_rail = no_rail(network, node, &usual.rails, &follows).map(|rails| Blemish::NoRail { rails });
    unplaced.map(|tier| Blemish::Unplaced(*tier)).chain(off).chain(down).chain(no_rail).collect()
}

/// The rails of the main plane.
fn rails(network: &Network) -> BTreeSet<u16> {
    let of_main =
        network.switches.iter().filter(|switch| switch.plane.is_some() && switch.plane == network.main);
    of_main.filter_map(|switch| switch.rail).collect()
}

/// The rails that a node is not on, where these are half of them at most: a node on fewer (a management host) need not be on
/// all. A port without a link is told by itself, and so is one on the leaf of another rail where the node `follows` the rails.
fn no_rail(
    network: &Network,
    node: &Node,
    all: &BTreeSet<u16>,
    follows: &dyn Fn(Row) -> bool,
) -> Option<Vec<u16>> {
    let rails_of = |port: &NodePort| {
        let Some(at) = &port.at else { return [None, port.rail] };
        let on = network.switches.get(at.switch as usize).filter(|on| on.plane == network.main);
        let numbered = on.and_then(|on| on.plane).is_some_and(follows).then_some(port.rail).flatten();
        [on.and_then(|on| on.rail), numbered]
    };
    let own: BTreeSet<u16> = node.ports.iter().flat_map(rails_of).flatten().collect();
    let missing: Vec<u16> = all.difference(&own).copied().collect();
    (!missing.is_empty() && missing.len() * 2 <= all.len()).then_some(missing)
}
