//! What nodes and files tell of the cluster's machines and networks, gathered until the facts are derived.
//!
//! ```text
//! nodes: machine, neighbours, beacons, fabric --+
//! files of the operator ------------------------+--> Survey --> evidence --> derive() --> Network
//! ```
//!
//! A node speaks of itself alone: which node a piece of evidence is about is never taken from what a worker
//! sent. What a node told stays when its link is lost, as cables do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use phalanx_common::id::NodeId;
use phalanx_common::time::Timestamp;
use phalanx_common::topology::machine::{Machine, Nic};
use phalanx_common::topology::{
    Claim, End, Evidence, LinkLayer, Network, NodePorts, Source, SwitchId, derive,
};
use phalanx_common::wire::topology_v1::{Heard, Neighbour, Policy};

/// What is known of the cluster.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    nodes: BTreeMap<NodeId, Told>,
    /// By the subnet.
    fabrics: BTreeMap<u64, Vec<Evidence>>,
    /// Who was asked for the fabric of a subnet.
    asked: BTreeMap<u64, NodeId>,
    /// What the operator's files say.
    files: Vec<Evidence>,
}

/// What one node told, and when.
#[derive(Clone, Debug, Default)]
struct Told {
    machine: Option<Arc<Machine>>,
    policy: Policy,
    neighbours: (Timestamp, Vec<Neighbour>),
    heard: (Timestamp, Vec<Heard>),
    machine_at: Timestamp,
    /// Subnets whose fabric it can tell.
    fabrics: BTreeSet<u64>,
    linked: bool,
}

/// The facts, and the machines by the names that the facts know them by.
#[derive(Clone, Debug)]
pub struct Surveyed {
    pub network: Network,
    pub machines: BTreeMap<String, Arc<Machine>>,
    /// Which node a name means.
    pub ids: BTreeMap<String, NodeId>,
    pub policies: BTreeMap<NodeId, Policy>,
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

    /// True if that is new.
    pub fn machine(&mut self, now: Timestamp, node: &NodeId, machine: Arc<Machine>) -> bool {
        let told = self.nodes.entry(node.clone()).or_default();
        let new = told.machine.as_ref() != Some(&machine);
        (told.machine, told.machine_at) = (Some(machine), now);
        new
    }

    /// True if that is new.
    pub fn policy(&mut self, node: &NodeId, policy: Policy) -> bool {
        let told = &mut self.nodes.entry(node.clone()).or_default().policy;
        let new = *told != policy;
        *told = policy;
        new
    }

    /// True if that is new.
    pub fn neighbours(&mut self, now: Timestamp, node: &NodeId, mut neighbours: Vec<Neighbour>) -> bool {
        neighbours.sort();
        let told = &mut self.nodes.entry(node.clone()).or_default().neighbours;
        let new = told.1 != neighbours;
        *told = (now, neighbours);
        new
    }

    /// True if that is new.
    pub fn heard(&mut self, now: Timestamp, node: &NodeId, mut heard: Vec<Heard>) -> bool {
        heard.sort();
        let told = &mut self.nodes.entry(node.clone()).or_default().heard;
        let new = told.1 != heard;
        *told = (now, heard);
        new
    }

    pub fn can_tell_fabrics(&mut self, node: &NodeId, subnets: BTreeSet<u64>) {
        self.nodes.entry(node.clone()).or_default().fabrics = subnets;
    }

    /// Who is to be asked for a subnet's fabric by now: one node for each, until that is gone or cannot tell any
    /// more, then the first by its id.
    pub fn ask(&mut self) -> Vec<(u64, NodeId)> {
        let can = |node: &NodeId, subnet: &u64| {
            self.nodes.get(node).is_some_and(|told| told.linked && told.fabrics.contains(subnet))
        };
        self.asked.retain(|subnet, node| can(node, subnet));
        let mut new = Vec::new();
        for (node, told) in self.nodes.iter().filter(|(_, told)| told.linked) {
            for subnet in &told.fabrics {
                if !self.asked.contains_key(subnet) {
                    self.asked.insert(*subnet, node.clone());
                    new.push((*subnet, node.clone()));
                }
            }
        }
        new
    }

    /// What a node says of a whole fabric. True if that is new; nobody but the one who was asked tells it.
    pub fn fabric(&mut self, node: &NodeId, subnet: u64, evidence: Vec<Evidence>) -> bool {
        if self.asked.get(&subnet) != Some(node) {
            return false;
        }
        let claims =
            |evidence: &[Evidence]| evidence.iter().map(|by| by.claim.clone()).collect::<BTreeSet<_>>();
        let new = self.fabrics.get(&subnet).is_none_or(|old| claims(old) != claims(&evidence));
        self.fabrics.insert(subnet, evidence);
        new
    }

    /// What the operator's files say, in place of what they said before.
    pub fn files(&mut self, evidence: Vec<Evidence>) {
        self.files = evidence;
    }

    /// Names for people and for what other tools wrote: the host's name where one node has it, else the node's id.
    fn names(&self) -> BTreeMap<&NodeId, String> {
        let host = |told: &Told| told.machine.as_ref().and_then(|machine| machine.host.clone());
        let mut users: BTreeMap<String, usize> = BTreeMap::new();
        for told in self.nodes.values() {
            *users.entry(host(told).unwrap_or_default()).or_default() += 1;
        }
        let name = |id: &NodeId, told| {
            let alone = host(told).filter(|host| users.get(host) == Some(&1) && !host.is_empty());
            alone.unwrap_or_else(|| id.to_string())
        };
        let known = self.nodes.iter().filter(|(_, told)| told.machine.is_some());
        known.map(|(id, told)| (id, name(id, told))).collect()
    }

    /// Host names that several nodes have, with their ids.
    pub fn shared_names(&self) -> BTreeMap<String, Vec<NodeId>> {
        let mut users: BTreeMap<String, Vec<NodeId>> = BTreeMap::new();
        for (id, told) in &self.nodes {
            if let Some(host) = told.machine.as_ref().and_then(|machine| machine.host.clone()) {
                users.entry(host).or_default().push(id.clone());
            }
        }
        users.retain(|_, ids| ids.len() > 1);
        users
    }

    /// The facts.
    ///
    /// # Errors
    /// More than a cluster has.
    pub fn derive(&self, now: Timestamp) -> Result<Surveyed, phalanx_common::topology::Error> {
        let names = self.names();
        let machines: BTreeMap<String, Arc<Machine>> = names
            .iter()
            .filter_map(|(id, name)| Some((name.clone(), self.nodes.get(*id)?.machine.clone()?)))
            .collect();
        let ports: Vec<NodePorts> = machines
            .iter()
            .map(|(name, machine)| NodePorts { node: name.clone(), ports: machine.ports() })
            .collect();
        let mut evidence = self.files.clone();
        evidence.extend(self.fabrics.values().flatten().cloned());
        for (id, name) in &names {
            evidence.extend(self.told_by(id, name, &names));
        }
        let network = derive(&ports, &evidence, now)?;
        let ids = names.into_iter().map(|(id, name)| (name, id.clone())).collect();
        let policies = self.nodes.iter().map(|(id, told)| (id.clone(), told.policy.clone())).collect();
        Ok(Surveyed { network, machines, ids, policies, evidence })
    }

    /// What a node tells, as evidence about itself.
    fn told_by(&self, id: &NodeId, name: &str, names: &BTreeMap<&NodeId, String>) -> Vec<Evidence> {
        let Some(told) = self.nodes.get(id) else { return Vec::new() };
        let origin = format!("node {name}");
        let by = |claim, source, at| Evidence::new(claim, source, &origin, at);
        let mut evidence = Vec::new();
        let (at, neighbours) = &told.neighbours;
        for neighbour in neighbours {
            let claim = Claim::Attached {
                end: self.end(id, name, &neighbour.interface),
                switch: SwitchId {
                    guid: None,
                    chassis: Some(neighbour.chassis.clone()),
                    address: neighbour.address.clone(),
                    name: neighbour.name.clone(),
                },
                switch_port: Some(neighbour.port.clone()),
                speed_mbps: None,
            };
            evidence.push(by(claim, Source::Lldp, *at));
        }
        let (at, heard) = &told.heard;
        for heard in heard {
            let speaker = NodeId::new(&heard.node);
            let Some(speaker_name) = names.get(&speaker) else { continue };
            let claim = Claim::Heard {
                listener: self.end(id, name, &heard.interface),
                speaker: self.end(&speaker, speaker_name, &heard.by),
            };
            evidence.push(by(claim, Source::Beacon, *at));
        }
        let Some(machine) = &told.machine else { return evidence };
        let domains = machine.accelerators.iter().filter_map(|it| it.fabric.as_ref()?.domain());
        for domain in domains.collect::<BTreeSet<_>>() {
            let domain = format!("{}.{}", domain.cluster, domain.clique);
            let claim = Claim::Nvlink { node: name.to_owned(), domain };
            evidence.push(by(claim, Source::NvlinkFabric, told.machine_at));
        }
        for nic in machine.nics.iter().filter(|nic| nic.layer == LinkLayer::Ethernet) {
            for prefix in nic.addresses.iter().filter_map(|address| network_of(address)) {
                let (end, gateway) = (self.end(id, name, &nic.name), gateway(nic, &prefix));
                let claim = Claim::Prefix { end, prefix, gateway };
                evidence.push(by(claim, Source::Prefix, told.machine_at));
            }
        }
        evidence
    }

    /// A port of a node by its interface; a bond is its first member that works.
    fn end(&self, id: &NodeId, name: &str, interface: &str) -> End {
        let nics = self.nodes.get(id).and_then(|told| told.machine.as_ref()).map(|machine| &machine.nics);
        let mut members = nics
            .into_iter()
            .flatten()
            .filter(|nic| nic.bond.as_deref() == Some(interface) && nic.up != Some(false));
        End::of_port(name, members.next().map_or(interface, |member| member.name.as_str()))
    }
}

/// The gateway in that network.
fn gateway(nic: &Nic, prefix: &str) -> Option<String> {
    let length = prefix.rsplit_once('/')?.1;
    let within = |gateway: &&String| network_of(&format!("{gateway}/{length}")).as_deref() == Some(prefix);
    nic.gateways.iter().find(within).cloned()
}

/// `10.0.0.0/24` of `10.0.0.3/24`.
fn network_of(address: &str) -> Option<String> {
    use std::net::IpAddr;
    let (address, length) = address.split_once('/')?;
    let length: u32 = length.parse().ok()?;
    let network: IpAddr = match address.parse().ok()? {
        IpAddr::V4(v4) if length <= 32 => {
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) if length <= 128 => {
            let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
        _ => return None,
    };
    Some(format!("{network}/{length}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use phalanx_common::topology::machine::{Accelerator, AcceleratorKind, Fabric, FabricState, PciDevice};

    fn machine(host: &str, ports: &[(&str, Option<&str>)]) -> Arc<Machine> {
        let mut machine = Machine { host: Some(host.to_owned()), ..Machine::default() };
        for (bus, (port, bond)) in (1u8..).zip(ports) {
            let bdf = format!("{bus:02x}:00.0").parse().unwrap();
            machine.pci.insert(bdf, PciDevice::default());
            machine.nics.push(Nic {
                bdf: Some(bdf),
                up: Some(true),
                bond: bond.map(str::to_owned),
                ..Nic::new(port, LinkLayer::Ethernet)
            });
        }
        Arc::new(machine)
    }

    fn heard(interface: &str, node: &NodeId, by: &str) -> Heard {
        Heard { interface: interface.to_owned(), node: node.to_string(), by: by.to_owned() }
    }

    fn neighbour(interface: &str, switch: &str) -> Neighbour {
        Neighbour {
            interface: interface.to_owned(),
            chassis: format!("local {switch}"),
            name: Some(switch.to_owned()),
            address: None,
            port: "swp1".to_owned(),
        }
    }

    const NOW: Timestamp = Timestamp(1_000_000);

    #[test]
    fn nodes_are_known_by_their_hosts_names_and_by_their_ids_where_two_share_one() {
        let mut survey = Survey::default();
        let [a, b, c] = ["a-000001", "x-000001", "x-000002"].map(NodeId::new);
        for (id, host) in [(&a, "a"), (&b, "x"), (&c, "x")] {
            assert!(survey.machine(NOW, id, machine(host, &[("eth0", None)])));
            assert!(!survey.machine(NOW, id, machine(host, &[("eth0", None)])));
        }
        let found = survey.derive(NOW).unwrap();
        assert_eq!(found.ids.keys().collect::<Vec<_>>(), ["a", "x-000001", "x-000002"]);
        assert_eq!(found.network.nodes.len(), 3);
        assert_eq!(survey.shared_names(), BTreeMap::from([("x".to_owned(), vec![b, c])]));
    }

    #[test]
    fn a_node_speaks_of_itself_whatever_it_hears() {
        let mut survey = Survey::default();
        let [a, b] = ["a-000001", "b-000001"].map(NodeId::new);
        survey.machine(NOW, &a, machine("a", &[("eth0", Some("bond0")), ("eth1", Some("bond0"))]));
        survey.machine(NOW, &b, machine("b", &[("eth0", None)]));
        survey.neighbours(NOW, &a, vec![neighbour("eth0", "leaf1"), neighbour("eth1", "leaf2")]);
        survey.neighbours(NOW, &b, vec![neighbour("eth0", "leaf1")]);
        survey.heard(
            NOW,
            &a,
            vec![heard("bond0", &b, "eth0"), heard("bond0", &NodeId::new("nobody"), "eth0")],
        );
        let one_way = survey.derive(NOW).unwrap().network;
        assert_eq!((one_way.layer2.len(), one_way.one_way.len()), (0, 1));
        assert!(survey.heard(NOW, &b, vec![heard("eth0", &a, "bond0")]));
        assert!(!survey.heard(NOW, &b, vec![heard("eth0", &a, "bond0")]));
        let network = survey.derive(NOW).unwrap().network;
        assert_eq!((network.layer2.len(), network.layer2[0].len()), (1, 2));
        assert_eq!(
            network.switches.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(),
            ["leaf1", "leaf2"]
        );
    }

    #[test]
    fn nvlink_domains_are_those_that_the_gpus_registered_with() {
        let mut survey = Survey::default();
        let fabric = |uuid: &str| Fabric {
            state: FabricState::Completed,
            succeeded: Some(true),
            cluster: Some(uuid.parse().unwrap()),
            clique: Some(0),
        };
        let (one, zero) = ("00000001-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000000");
        for (host, uuid) in [("a", one), ("b", one), ("c", zero)] {
            let mut machine = machine(host, &[]);
            let fabric = Some(fabric(uuid));
            Arc::make_mut(&mut machine).accelerators =
                vec![Accelerator { fabric, ..Accelerator::new(AcceleratorKind::Nvidia) }];
            survey.machine(NOW, &NodeId::new(format!("{host}-000001")), machine);
        }
        let network = survey.derive(NOW).unwrap().network;
        assert_eq!(network.nvlink, [format!("{one}.0")]);
        let domains: Vec<_> = network.nodes.iter().map(|node| node.nvlink).collect();
        assert_eq!(domains, [Some(0), Some(0), None]);
    }

    #[test]
    fn one_node_at_a_time_tells_a_fabric_and_another_takes_over_when_it_is_gone() {
        let mut survey = Survey::default();
        let [a, b] = ["a-000001", "b-000001"].map(NodeId::new);
        let can = |survey: &mut Survey, node: &NodeId| {
            survey.linked(node, true);
            survey.can_tell_fabrics(node, BTreeSet::from([7]));
            survey.ask()
        };
        assert_eq!(can(&mut survey, &b), [(7, b.clone())]);
        assert_eq!(can(&mut survey, &a), [], "one is enough");
        assert!(!survey.fabric(&a, 7, Vec::new()), "nobody asked it");
        assert!(survey.fabric(&b, 7, Vec::new()));
        survey.linked(&b, false);
        assert_eq!(survey.ask(), [(7, a.clone())]);
        assert!(!survey.fabric(&a, 7, Vec::new()), "the same as before");
        assert_eq!(can(&mut survey, &b), [], "whoever tells it already");
        assert_eq!(can(&mut survey, &a), [(7, a.clone())], "a new link knows of no question");
    }

    #[test]
    fn a_gateway_is_told_of_the_network_that_it_is_in() {
        let gateways = vec!["10.1.0.1".to_owned(), "fd00::1".to_owned()];
        let nic = Nic { gateways, ..Nic::new("eth0", LinkLayer::Ethernet) };
        assert_eq!(gateway(&nic, "10.1.0.0/16").as_deref(), Some("10.1.0.1"));
        assert_eq!(gateway(&nic, "fd00::/64").as_deref(), Some("fd00::1"));
        assert_eq!(gateway(&nic, "10.2.0.0/16"), None);
    }

    #[test]
    fn networks_of_addresses_are_their_upper_bits() {
        assert_eq!(network_of("10.1.2.3/24").as_deref(), Some("10.1.2.0/24"));
        assert_eq!(network_of("10.1.2.3/0").as_deref(), Some("0.0.0.0/0"));
        assert_eq!(network_of("fd00::1:2/64").as_deref(), Some("fd00::/64"));
        for wrong in ["10.1.2.3", "10.1.2.3/33", "x/8", "fd00::/129"] {
            assert_eq!(network_of(wrong), None, "{wrong}");
        }
    }
}
