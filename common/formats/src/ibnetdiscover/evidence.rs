//! A dump as evidence.

use std::collections::BTreeMap;

use phalanx_common::time::Timestamp;
use phalanx_common::topology::{Claim, End, Evidence, Guid, Source, SwitchId};

use super::describe;
use super::read::{Device, Fabric, Kind};

impl Fabric {
    /// What the dump claims: where adapters are attached, and the cables between switches. Adapters without
    /// a name are in it by their GUIDs.
    pub fn evidence(&self, origin: &str, at: Timestamp) -> Vec<Evidence> {
        let mut claims = Vec::new();
        let mut pairs: BTreeMap<(usize, usize), (u32, Option<u32>)> = BTreeMap::new();
        for link in &self.links {
            let [(a, a_port, a_guid), (b, b_port, b_guid)] = link.ends;
            let (one, other) = (&self.devices[a], &self.devices[b]);
            match (one.kind == Kind::Switch, other.kind == Kind::Switch) {
                (true, true) => {
                    let pair = pairs.entry((a.min(b), a.max(b))).or_insert((0, link.mbps));
                    pair.0 += 1;
                    pair.1 = pair.1.min(link.mbps);
                }
                (true, false) => claims.extend(attached(other, b_port, b_guid, one, a_port, link.mbps)),
                (false, true) => claims.extend(attached(one, a_port, a_guid, other, b_port, link.mbps)),
                // Two adapters back to back hang on no switch.
                (false, false) => {}
            }
        }
        claims.extend(pairs.into_iter().map(|((a, b), (links, rate_mbps))| Claim::Linked {
            a: switch(&self.devices[a]),
            b: switch(&self.devices[b]),
            links,
            rate_mbps,
        }));
        if self.one_ended + self.unrecorded > 0 {
            let bounded = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
            let (cables, devices) = (bounded(self.one_ended), bounded(self.unrecorded));
            claims.push(Claim::Cut { cables, devices });
        }
        claims.into_iter().map(|claim| Evidence::new(claim, Source::InfiniBand, origin, at)).collect()
    }
}

fn attached(
    device: &Device,
    port: u16,
    guid: Option<Guid>,
    on: &Device,
    switch_port: u16,
    speed_mbps: Option<u32>,
) -> Vec<Claim> {
    if device.kind == Kind::Router {
        return Vec::new();
    }
    let guid = guid.or(device.guid);
    let description = device.description.as_deref();
    if description.is_some_and(describe::is_aggregation) {
        return guid.map(|guid| Claim::NoNode { guid }).into_iter().collect();
    }
    // A simulated net has no descriptions, and calls its adapters as it likes.
    let called =
        description.or(device.guid.is_none().then_some(device.id.as_str()).filter(|_| guid.is_none()));
    let host = called.and_then(describe::host);
    let end = End {
        node: host.as_ref().map(|host| host.name.to_string()),
        port: host.as_ref().and_then(|host| host.adapter).map(|adapter| match port {
            1 => adapter.to_string(),
            port => format!("{adapter}/{port}"),
        }),
        guid,
        node_guid: device.guid,
        mac: None,
        index: host.and_then(|host| host.adapter).and_then(describe::index),
    };
    let switch_port = Some(switch_port.to_string());
    vec![Claim::Attached { end, switch: switch(on), switch_port, speed_mbps }]
}

fn switch(device: &Device) -> SwitchId {
    let name = device.description.as_deref().and_then(describe::switch);
    match device.guid {
        Some(guid) => SwitchId::with_guid(guid, name),
        None => SwitchId::named(name.unwrap_or(&device.id)),
    }
}
