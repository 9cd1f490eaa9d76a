//! One frame: IEEE 802.1AB-2016, clause 8.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use phalanx_common::time::Timestamp;
use phalanx_common::topology::{Claim, End, Evidence, Mac, Source, SwitchId};

use crate::text::visible;

/// Of LLDP.
pub const ETHERTYPE: u16 = 0x88cc;
const VLAN: u16 = 0x8100;
/// Information strings of a frame are at most this long (8.4.2: nine bits of length, chassis id 255).
const MAX_TEXT: usize = 255;
/// More management addresses say nothing new.
const MAX_ADDRESSES: usize = 8;
const ORG_8021: [u8; 3] = [0x00, 0x80, 0xc2];
const ORG_8023: [u8; 3] = [0x00, 0x12, 0x0f];

/// Who is at the other end of a cable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Neighbour {
    /// Chassis id with its kind: `mac 3e:cc:04:9c:17:ad`, `ifname eth0`, `local sw1`.
    pub chassis: String,
    /// Port id as its kind would have it: a name, or a MAC.
    pub port: String,
    /// The port id is an interface name or a name of the switch's own, so that people know it.
    pub port_is_name: bool,
    pub port_description: Option<String>,
    pub system_name: Option<String>,
    pub management: Vec<String>,
    pub ttl: Duration,
    /// Of frames without a tag.
    pub vlan: Option<u16>,
    /// The aggregated port that this port is a member of, by its interface number.
    pub aggregate: Option<u32>,
    pub max_frame: Option<u16>,
    /// It says that it is a bridge or a router, and that this is switched on. `None`: it does not say.
    pub forwards: Option<bool>,
}

/// Why a frame was not read. Offsets count bytes from the frame's begin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("this is no LLDP frame: its type is not 0x88cc; capture with `ether proto 0x88cc`")]
    NotLldp,
    #[error("the frame ends at byte {offset}, inside of a field of {length} bytes; capture whole frames")]
    Short { offset: usize, length: usize },
    #[error("the frame has no {what}, which every LLDP frame has; its sender does not follow IEEE 802.1AB")]
    Missing { what: &'static str },
}

/// Reads an Ethernet frame, with or without a VLAN tag. Fields that are too short for what they are, or of
/// another organisation, are passed over.
///
/// # Errors
/// No LLDP, a frame that was cut, and one without chassis id, port id or time to live.
pub fn frame(bytes: &[u8]) -> Result<Neighbour, Error> {
    let mut offset = 12;
    let mut kind = ethertype(bytes, offset).ok_or(Error::NotLldp)?;
    if kind == VLAN {
        offset += 4;
        kind = ethertype(bytes, offset).ok_or(Error::NotLldp)?;
    }
    if kind != ETHERTYPE {
        return Err(Error::NotLldp);
    }
    offset += 2;
    let mut found = Neighbour::default();
    let (mut chassis, mut port, mut ttl) = (None, None, None);
    while let Some(header) = bytes.get(offset..offset + 2) {
        let header = u16::from_be_bytes([header[0], header[1]]);
        let (kind, length) = (header >> 9, usize::from(header & 0x1ff));
        offset += 2;
        let Some(value) = bytes.get(offset..offset + length) else {
            return Err(Error::Short { offset: bytes.len(), length });
        };
        offset += length;
        match kind {
            0 => break,
            1 => chassis = chassis.or_else(|| chassis_id(value)),
            2 => {
                if let (None, Some((id, is_name))) = (&port, port_id(value)) {
                    port = Some(id);
                    found.port_is_name = is_name;
                }
            }
            3 => ttl = ttl.or(value.first_chunk().map(|ttl| u16::from_be_bytes(*ttl))),
            4 => found.port_description = found.port_description.or_else(|| text(value)),
            5 => found.system_name = found.system_name.or_else(|| text(value)),
            7 => found.forwards = found.forwards.or_else(|| forwards(value)),
            8 => {
                found.management.extend(management(value).filter(|_| found.management.len() < MAX_ADDRESSES))
            }
            127 => organisation(&mut found, value),
            _ => {}
        }
    }
    found.chassis = chassis.ok_or(Error::Missing { what: "chassis id" })?;
    found.port = port.ok_or(Error::Missing { what: "port id" })?;
    found.ttl = Duration::from_secs(u64::from(ttl.ok_or(Error::Missing { what: "time to live" })?));
    Ok(found)
}

impl Neighbour {
    /// The switch that it claims to be. Of several management addresses the first that is not link-local.
    pub fn switch(&self) -> SwitchId {
        let routed = |address: &&String| !address.to_ascii_lowercase().starts_with("fe80:");
        SwitchId {
            guid: None,
            chassis: Some(self.chassis.clone()),
            address: self.management.iter().find(routed).cloned(),
            name: self.system_name.clone(),
        }
    }

    /// The port as people know it.
    pub fn switch_port(&self) -> &str {
        match &self.port_description {
            Some(description) if !self.port_is_name => description,
            _ => &self.port,
        }
    }

    /// Not so if it takes leave (time to live 0), or says that it forwards nothing (an adapter's own agent, a host
    /// back to back).
    pub fn is_switch(&self) -> bool {
        !self.ttl.is_zero() && self.forwards != Some(false)
    }

    /// That the node's port `end` heard it at that time. It lapses with the neighbour's time to live.
    /// `None` of what is no switch.
    pub fn evidence(&self, end: End, origin: &str, at: Timestamp) -> Option<Evidence> {
        let claim = Claim::Attached {
            end,
            switch: self.switch(),
            switch_port: Some(self.switch_port().to_string()),
            speed_mbps: None,
        };
        let mut evidence = Evidence::new(claim, Source::Lldp, origin, at);
        evidence.expires = Some(at + self.ttl);
        self.is_switch().then_some(evidence)
    }
}

fn ethertype(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(offset..)?.first_chunk()?))
}

/// 8.5.2.2.
fn chassis_id(value: &[u8]) -> Option<String> {
    let (kind, id) = value.split_first()?;
    let (kind, id) = match kind {
        1 => ("component", readable(id)?),
        2 => ("ifalias", text(id)?),
        3 => ("port", readable(id)?),
        4 => ("mac", mac(id)?),
        5 => ("ip", address(id)?),
        6 => ("ifname", text(id)?),
        7 => ("local", readable(id)?),
        _ => return None,
    };
    Some(format!("{kind} {id}"))
}

/// 8.5.3.2, and whether it is a name.
fn port_id(value: &[u8]) -> Option<(String, bool)> {
    let (kind, id) = value.split_first()?;
    match kind {
        1 | 5 => Some((text(id)?, true)),
        3 => Some((mac(id)?, false)),
        4 => Some((address(id)?, false)),
        7 => Some((readable(id)?, true)),
        2 | 6 => Some((readable(id)?, false)),
        _ => None,
    }
}

/// 8.5.8: what it can do, and what of it is switched on; bit 2 is a bridge, bit 4 a router.
fn forwards(value: &[u8]) -> Option<bool> {
    let [_, _, high, low] = value.first_chunk()?;
    Some(u16::from_be_bytes([*high, *low]) & (1 << 2 | 1 << 4) != 0)
}

/// The address of 8.5.9: its length counts the family.
fn management(value: &[u8]) -> Option<String> {
    let (length, rest) = value.split_first()?;
    address(rest.get(..usize::from(*length))?)
}

/// Family (IANA address family numbers) and address.
fn address(value: &[u8]) -> Option<String> {
    let (family, address) = value.split_first()?;
    match (family, address.len()) {
        (1, 4) => Some(Ipv4Addr::from(*address.first_chunk()?).to_string()),
        (2, 16) => Some(Ipv6Addr::from(*address.first_chunk()?).to_string()),
        (6, 6) => mac(address),
        _ => None,
    }
}

fn mac(id: &[u8]) -> Option<String> {
    Some(Mac(id.try_into().ok()?).to_string())
}

/// Text without what a terminal would take for an order.
fn text(value: &[u8]) -> Option<String> {
    let text: String = visible(value.get(..MAX_TEXT).unwrap_or(value))
        .trim_matches(|c: char| c == '\0' || c.is_whitespace())
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    (!text.is_empty()).then_some(text)
}

/// Text, or hexadecimal digits of what is none.
fn readable(value: &[u8]) -> Option<String> {
    let value = value.get(..MAX_TEXT / 2).unwrap_or(value);
    let is_text = value.iter().all(|byte| (0x20..0x7f).contains(byte));
    if is_text { text(value) } else { Some(phalanx_common::hex::encode(value)) }
}

/// Annexes D (802.1) and E (802.3) of the 2005 edition, which is what switches send.
fn organisation(found: &mut Neighbour, value: &[u8]) {
    let Some(([a, b, c, kind], rest)) = value.split_first_chunk() else { return };
    let two = |from: usize| Some(u16::from_be_bytes(*rest.get(from..)?.first_chunk()?));
    match ([*a, *b, *c], kind) {
        (ORG_8021, 1) => found.vlan = found.vlan.or(two(0).filter(|vlan| *vlan != 0)),
        (ORG_8021, 7) | (ORG_8023, 3) => {
            // Bit 1 of the status: it is aggregated.
            let port =
                rest.get(1..).and_then(|rest| rest.first_chunk()).map(|port| u32::from_be_bytes(*port));
            let aggregated = rest.first().is_some_and(|status| status & 2 != 0);
            found.aggregate = found.aggregate.or(port.filter(|_| aggregated));
        }
        (ORG_8023, 4) => found.max_frame = found.max_frame.or(two(0)),
        _ => {}
    }
}
