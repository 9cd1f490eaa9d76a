//! What a node tells of itself, as evidence.

use std::collections::{BTreeMap, BTreeSet};

use phalanx_common::defaults::BEACONS_TOLD;
use phalanx_common::id::NodeId;
use phalanx_common::topology::machine::{Machine, Nic};
use phalanx_common::topology::{Claim, End, Evidence, LinkLayer, Network, Source, SwitchId};

use super::{Survey, Told};

impl Survey {
    /// What a node tells of itself and its cables.
    pub(super) fn told_by(&self, id: &NodeId, all: &BTreeMap<&NodeId, Known<'_>>) -> Vec<Evidence> {
        let (Some(told), Some(own)) = (self.nodes.get(id), all.get(id)) else { return Vec::new() };
        let name = own.name;
        let origin = format!("node {name}");
        let by = |claim, source, at| Evidence::new(claim, source, &origin, at);
        let mut evidence = Vec::new();
        let (at, neighbours) = &told.neighbours;
        for neighbour in neighbours.iter() {
            let claim = Claim::Attached {
                end: own.end(&neighbour.interface),
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
        let domains = own.machine.accelerators.iter().filter_map(|it| it.fabric.as_ref()?.domain());
        for domain in domains.collect::<BTreeSet<_>>() {
            let domain = format!("{}.{}", domain.cluster, domain.clique);
            let claim = Claim::Nvlink { node: name.to_owned(), domain };
            evidence.push(by(claim, Source::NvlinkFabric, told.machine_at));
        }
        for nic in own.machine.nics.iter().filter(|nic| nic.layer == LinkLayer::Ethernet) {
            for prefix in nic.addresses.iter().filter_map(|address| network_of(address)) {
                let (end, gateway) = (own.end(&nic.name), gateway(nic, &prefix));
                let claim = Claim::Prefix { end, prefix, gateway };
                evidence.push(by(claim, Source::Prefix, told.machine_at));
            }
        }
        evidence
    }

    /// That a port is not heard by another shows in the list of that other, if there is one and it is whole: of many
    /// ports a node tells a part.
    pub(super) fn keep_whole(&self, network: &mut Network, names: &BTreeMap<&NodeId, String>) {
        let mut part: BTreeSet<(&str, String)> = BTreeSet::new();
        let mut told: BTreeSet<&str> = BTreeSet::new();
        for (id, name) in names {
            let Some(Told { machine: Some(machine), heard: (_, heard, whole), .. }) = self.nodes.get(*id)
            else {
                continue;
            };
            if *whole {
                told.insert(name);
            }
            let own = Known::of(name, machine);
            for heard in heard.chunk_by(|a, b| a.interface == b.interface) {
                if let Some(first) = heard.first().filter(|_| heard.len() >= BEACONS_TOLD) {
                    part.extend(own.end(&first.interface).port.map(|port| (name.as_str(), port)));
                }
            }
        }
        let nodes = &network.nodes;
        network.one_way.retain(|one| {
            let speaker = &nodes[one.speaker.node as usize];
            let port = speaker.ports[one.speaker.port as usize].name.clone();
            told.contains(speaker.name.as_str()) && !part.contains(&(speaker.name.as_str(), port))
        });
    }

    /// The beacons that a node hears.
    pub(super) fn heard_by(&self, id: &NodeId, all: &BTreeMap<&NodeId, Known<'_>>) -> Vec<Evidence> {
        let (Some(told), Some(own)) = (self.nodes.get(id), all.get(id)) else { return Vec::new() };
        let origin = format!("node {}", own.name);
        let by = |claim, source, at| Evidence::new(claim, source, &origin, at);
        let mut evidence = Vec::new();
        let (at, heard, _) = &told.heard;
        for heard in heard.iter() {
            // Nobody makes a port of another node by hearing it.
            let speaker = all.get(&NodeId::new(&heard.node)).and_then(|speaker| speaker.own_end(&heard.by));
            let Some(speaker) = speaker else { continue };
            let claim = Claim::Heard { listener: own.end(&heard.interface), speaker };
            evidence.push(by(claim, Source::Beacon, *at));
        }
        evidence
    }
}

/// A node that told of its machine.
#[derive(Debug)]
pub(super) struct Known<'a> {
    name: &'a str,
    machine: &'a Machine,
    ports: BTreeSet<String>,
}

impl Known<'_> {
    pub(super) fn of<'a>(name: &'a str, machine: &'a Machine) -> Known<'a> {
        Known { name, machine, ports: machine.ports().into_iter().map(|port| port.name).collect() }
    }

    /// A port by its interface; a bond is its first member that works.
    fn end(&self, interface: &str) -> End {
        let mut members = self
            .machine
            .nics
            .iter()
            .filter(|nic| nic.bond.as_deref() == Some(interface) && nic.up != Some(false));
        End::of_port(self.name, members.next().map_or(interface, |member| member.name.as_str()))
    }

    /// The same of what the node told of alone.
    fn own_end(&self, interface: &str) -> Option<End> {
        Some(self.end(interface))
            .filter(|end| end.port.as_ref().is_some_and(|port| self.ports.contains(port)))
    }
}

/// The gateway in that network.
pub(super) fn gateway(nic: &Nic, prefix: &str) -> Option<String> {
    let length = prefix.rsplit_once('/')?.1;
    let within = |gateway: &&String| network_of(&format!("{gateway}/{length}")).as_deref() == Some(prefix);
    nic.gateways.iter().find(within).cloned()
}

/// `10.0.0.0/24` of `10.0.0.3/24`.
pub(super) fn network_of(address: &str) -> Option<String> {
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
