//! What nodes and files tell of the cluster's machines and networks, gathered until the facts are derived.
//!
//! ```text
//! nodes: machine, neighbours, beacons, fabric --+
//! files of the operator ------------------------+--> Survey --> evidence --> derive() --> Network
//! ```
//!
//! A node speaks of itself alone: which node a piece of evidence is about is never taken from what a worker
//! sent. What a node told stays when its link is lost, as cables do.

mod evidence;
mod twins;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use phalanx_common::id::NodeId;
use phalanx_common::time::Timestamp;
use phalanx_common::topology::machine::{Machine, Nic};
use phalanx_common::topology::{Evidence, Guid, LIMITS, Network, NodePorts, Port, derive};
use phalanx_common::wire::topology_v1::{Heard, Neighbour};

use self::evidence::Known;
use self::twins::Twins;

/// Subnets of one node, which has a port in each.
const MOST_SUBNETS: usize = 16;

/// What is known of the cluster. A copy shares what nodes told.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    nodes: BTreeMap<NodeId, Told>,
    /// By the subnet.
    fabrics: BTreeMap<u64, Arc<[Evidence]>>,
    /// Who was asked for the fabric of a subnet.
    asked: BTreeMap<u64, NodeId>,
    /// What the operator's files say.
    files: Arc<[Evidence]>,
}

/// What follows from something that a node told, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum News {
    Nothing,
    /// Machines are looked at anew. Jobs change them: who computes on a device, and how fast its bus then runs.
    Machines,
    /// The facts are derived anew.
    Facts,
}

impl News {
    /// Facts, or nothing.
    pub fn of(facts: bool) -> News {
        if facts { News::Facts } else { News::Nothing }
    }
}

/// What one node told, and when.
#[derive(Clone, Debug, Default)]
struct Told {
    machine: Option<Arc<Machine>>,
    neighbours: (Timestamp, Arc<[Neighbour]>),
    /// With whether they are all that there are to hear.
    heard: (Timestamp, Arc<[Heard]>, bool),
    machine_at: Timestamp,
    /// Subnets whose fabric it can tell.
    fabrics: BTreeSet<u64>,
    linked: bool,
}

impl Told {
    /// Whether it is believed to tell the fabric of a subnet: it says so, and has a port there.
    fn tells(&self, subnet: u64) -> bool {
        let mut nics = self.machine.iter().flat_map(|machine| &machine.nics);
        let is_there = |nic: &Nic| nic.rdma.as_ref().and_then(|rdma| rdma.subnet) == Some(Guid(subnet));
        self.fabrics.contains(&subnet) && nics.any(is_there)
    }
}

/// The facts, and the machines by the names that the facts know them by.
#[derive(Clone, Debug)]
pub struct Surveyed {
    pub network: Network,
    pub machines: BTreeMap<String, Arc<Machine>>,
    /// Which node a name means.
    pub ids: BTreeMap<String, NodeId>,
    /// Nodes that have ports or devices of others. Who of them is there, by its link, decides whose these are.
    pub twins: BTreeSet<NodeId>,
    /// Beacons that do not count, as there would be more evidence than is taken.
    pub unheard: usize,
    /// From which the network was derived.
    pub evidence: Vec<Evidence>,
}

impl Survey {
    /// A node's link is up, perhaps another than before, or down. It decides alone who is asked for a fabric.
    pub fn linked(&mut self, node: &NodeId, linked: bool) {
        let told = self.nodes.entry(node.clone()).or_default();
        told.linked = linked;
        // What was asked on a former link is forgotten there; what it can tell it says on each.
        told.fabrics.clear();
        self.asked.retain(|_, asked| asked != node);
    }

    pub fn machine(&mut self, now: Timestamp, node: &NodeId, machine: Arc<Machine>) -> News {
        let told = self.nodes.entry(node.clone()).or_default();
        let news = match &told.machine {
            Some(before) if *before == machine => News::Nothing,
            Some(before) if before.lasting() == machine.lasting() => News::Machines,
            _ => News::Facts,
        };
        (told.machine, told.machine_at) = (Some(machine), now);
        news
    }

    /// The machine of a node that told of it.
    pub fn machine_of(&self, node: &NodeId) -> Option<&Arc<Machine>> {
        self.nodes.get(node)?.machine.as_ref()
    }

    pub fn neighbours(&mut self, now: Timestamp, node: &NodeId, mut neighbours: Vec<Neighbour>) -> News {
        neighbours.sort();
        neighbours.dedup();
        let told = &mut self.nodes.entry(node.clone()).or_default().neighbours;
        let new = *told.1 != *neighbours;
        *told = (now, neighbours.into());
        News::of(new)
    }

    /// The beacons that a node hears; `whole`: had it the time to hear all that there are?
    pub fn heard(&mut self, now: Timestamp, node: &NodeId, mut heard: Vec<Heard>, whole: bool) -> News {
        heard.sort();
        heard.dedup();
        let told = &mut self.nodes.entry(node.clone()).or_default().heard;
        let new = *told.1 != *heard || told.2 != whole;
        *told = (now, heard.into(), whole);
        News::of(new)
    }

    /// Of more than a node has ports in, the first count; it is asked for those that its machine has a port in.
    pub fn can_tell_fabrics(&mut self, node: &NodeId, subnets: impl IntoIterator<Item = u64>) {
        let subnets = subnets.into_iter().take(MOST_SUBNETS).collect();
        self.nodes.entry(node.clone()).or_default().fabrics = subnets;
    }

    /// Who is to be asked for a subnet's fabric by now: one node for each, until that is gone or cannot tell any
    /// more, then the first by its id.
    pub fn ask(&mut self) -> Vec<(u64, NodeId)> {
        let can = |node: &NodeId, subnet: &u64| {
            self.nodes.get(node).is_some_and(|told| told.linked && told.tells(*subnet))
        };
        self.asked.retain(|subnet, node| can(node, subnet));
        let mut new = Vec::new();
        for (node, told) in self.nodes.iter().filter(|(_, told)| told.linked) {
            for subnet in told.fabrics.iter().filter(|subnet| told.tells(**subnet)) {
                if !self.asked.contains_key(subnet) {
                    self.asked.insert(*subnet, node.clone());
                    new.push((*subnet, node.clone()));
                }
            }
        }
        new
    }

    /// The question did not reach the node: the next [`Survey::ask`] has it again.
    pub fn not_asked(&mut self, subnet: u64) {
        self.asked.remove(&subnet);
    }

    /// What a node says of a whole fabric, in the order of the claims. Nobody but the one who was asked tells it.
    pub fn fabric(&mut self, node: &NodeId, subnet: u64, evidence: Vec<Evidence>) -> News {
        if self.asked.get(&subnet) != Some(node) {
            return News::Nothing;
        }
        let claims =
            |old: &Arc<[Evidence]>| old.iter().map(|by| &by.claim).eq(evidence.iter().map(|by| &by.claim));
        let new = !self.fabrics.get(&subnet).is_some_and(claims);
        self.fabrics.insert(subnet, evidence.into());
        News::of(new)
    }

    /// What the operator's files say, in place of what they said before.
    pub fn files(&mut self, evidence: Vec<Evidence>) {
        self.files = evidence.into();
    }

    /// Names for people and for what other tools wrote: the host's name where one node has it and no other node has
    /// it for an id, else the node's id.
    fn names(&self, former: &BTreeSet<NodeId>) -> BTreeMap<&NodeId, String> {
        let host = |told: &Told| told.machine.as_ref().and_then(|machine| machine.host.clone());
        let mut users: BTreeMap<String, usize> = BTreeMap::new();
        for (_, told) in self.nodes.iter().filter(|(id, _)| !former.contains(*id)) {
            *users.entry(host(told).unwrap_or_default()).or_default() += 1;
        }
        let name = |id: &NodeId, told| {
            let is_free = |host: &String| {
                let other = NodeId::new(host);
                users.get(host) == Some(&1) && (other == *id || !self.nodes.contains_key(&other))
            };
            let alone = host(told).filter(|host| !host.is_empty() && is_free(host));
            alone.unwrap_or_else(|| id.to_string())
        };
        let is_former = |id: &NodeId| former.contains(id);
        let known = self.nodes.iter().filter(|(id, told)| told.machine.is_some() && !is_former(id));
        known.map(|(id, told)| (id, name(id, told))).collect()
    }

    fn ports(&self, id: &NodeId, twins: &Twins) -> Vec<Port> {
        let Some(Told { machine: Some(machine), linked, .. }) = self.nodes.get(id) else { return Vec::new() };
        machine.ports().into_iter().filter(|port| *linked || !twins.have(port)).collect()
    }

    /// The facts.
    ///
    /// # Errors
    /// More than a cluster has.
    pub fn derive(&self, now: Timestamp) -> Result<Surveyed, phalanx_common::topology::Error> {
        self.derive_within(LIMITS.evidence, now)
    }

    fn derive_within(
        &self,
        most: usize,
        now: Timestamp,
    ) -> Result<Surveyed, phalanx_common::topology::Error> {
        let twins = self.twins();
        let names = self.names(&twins.former);
        let machines: BTreeMap<String, Arc<Machine>> = names
            .iter()
            .filter_map(|(id, name)| Some((name.clone(), self.nodes.get(*id)?.machine.clone()?)))
            .collect();
        let ports: Vec<NodePorts> = names
            .iter()
            .map(|(id, name)| NodePorts { node: name.clone(), ports: self.ports(id, &twins) })
            .collect();
        let mut evidence = self.files.to_vec();
        evidence.extend(self.fabrics.values().flat_map(|told| told.iter()).cloned());
        let known: BTreeMap<&NodeId, Known<'_>> = names
            .iter()
            .filter_map(|(id, name)| Some((*id, Known::of(name, self.machine_of(id)?))))
            .collect();
        for id in names.keys() {
            evidence.extend(self.told_by(id, &known));
        }
        // Beacons are the most and prove the least. All or none: half of them would be one-way.
        let heard: usize = self.nodes.values().map(|told| told.heard.1.len()).sum();
        let unheard = if evidence.len().saturating_add(heard) > most { heard } else { 0 };
        if unheard == 0 {
            for id in names.keys() {
                evidence.extend(self.heard_by(id, &known));
            }
        }
        let mut network = derive(&ports, &evidence, now)?;
        self.keep_whole(&mut network, &names);
        let ids = names.into_iter().map(|(id, name)| (name, id.clone())).collect();
        Ok(Surveyed { network, machines, ids, twins: twins.all, unheard, evidence })
    }
}

#[cfg(test)]
mod tests;
