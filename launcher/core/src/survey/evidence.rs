//! What a node tells of itself, as evidence.

use std::collections::{BTreeMap, BTreeSet};

use phalanx_common::id::NodeId;
use phalanx_common::topology::{Claim, End, Evidence, LinkLayer, Source, SwitchId};

use super::Survey;

impl Survey {
    /// What a node tells, as evidence about itself.
    pub(super) fn told_by(
        &self,
        id: &NodeId,
        name: &str,
        names: &BTreeMap<&NodeId, String>,
    ) -> Vec<Evidence> {
        let Some(told) = self.nodes.get(id) else { return Vec::new() };
        let origin = format!("node {name}");
        let by = |claim, source, at| Evidence::new(claim, source, &origin, at);
        let mut evidence = Vec::new();
        let (at, neighbours) = &told.neighbours;
        for neighbour in neighbours.iter() {
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
        for heard in heard.iter() {
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
                let claim = Claim::Prefix { end: self.end(id, name, &nic.name), prefix, gateway: None };
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
