//! `hccn_tool -i N … -g`: the network port of an NPU. The host's kernel does not know it, and an LLDP agent of the host
//! does not hear its neighbour.

use std::net::Ipv4Addr;
use std::time::Duration;

use phalanx_common::text::shown;
use phalanx_common::topology::machine::{Accelerator, Nic};
use phalanx_common::topology::{LinkLayer, Mac};

use crate::lldp::Neighbour;
use crate::size::{TooLarge, within};
use crate::text::visible;

/// Of a port that hears one neighbour.
const MAX_BYTES: usize = 64 << 10;
/// What agents send unless told otherwise, where the text does not say it.
const DEFAULT_TTL: Duration = Duration::from_secs(120);
const MAX_ADDRESSES: usize = 8;

/// Why a text was not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    #[error("there is no {what}, but {found}; take all that `hccn_tool -i N {option} -g` writes")]
    Missing { what: &'static str, option: &'static str, found: String },
}

/// The port of an NPU, named after its index (`npu3`), at the NPU's address.
pub fn port(npu: &Accelerator, up: Option<bool>, address: Option<String>) -> Option<Nic> {
    let nic = Nic::new(&format!("npu{}", npu.index?), LinkLayer::Ethernet);
    Some(Nic { bdf: npu.bdf, up, addresses: address.into_iter().collect(), ..nic })
}

/// `-ip -g`: the address with its prefix length.
///
/// # Errors
/// More than 64 KiB, and what has no address and netmask.
pub fn address(bytes: &[u8]) -> Result<String, Error> {
    let text = text(bytes)?;
    let value = |key: &str| text.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(':'));
    let parsed = |key: &str| value(key).and_then(|address| address.trim().parse::<Ipv4Addr>().ok());
    let mask = parsed("netmask").map(u32::from).filter(|mask| mask.leading_ones() == mask.count_ones());
    let (address, mask) =
        parsed("ipaddr").zip(mask).ok_or_else(|| missing("`ipaddr` with a `netmask`", "-ip", &text))?;
    Ok(format!("{address}/{}", mask.count_ones()))
}

/// `-link -g`: whether the link works.
///
/// # Errors
/// More than 64 KiB, and what does not say it.
pub fn is_up(bytes: &[u8]) -> Result<bool, Error> {
    let text = text(bytes)?;
    let said = text.lines().find_map(|line| line.trim().strip_prefix("link status:"));
    match said.map(str::trim) {
        Some("UP") => Ok(true),
        Some("DOWN") => Ok(false),
        _ => Err(missing("`link status: UP` or `DOWN`", "-link", &text)),
    }
}

/// `-lldp -g`: who is at the other end of the cable. Its evidence is that of any port:
/// `neighbour.evidence(End::of_port(node, "npu3"), …)`.
///
/// The text has the fields of the frame with their values indented below them, as `lldptool -t -n` writes them.
///
/// # Errors
/// More than 64 KiB, and what has no chassis or no port.
pub fn neighbour(bytes: &[u8]) -> Result<Neighbour, Error> {
    let text = text(bytes)?;
    let mut found = Neighbour { ttl: DEFAULT_TTL, ..Neighbour::default() };
    let (mut chassis, mut port) = (None, None);
    let mut field = "";
    for line in text.lines() {
        // Descriptions of systems have lines that are not indented.
        if let Some(name) = line.strip_suffix(" TLV").filter(|name| !name.starts_with([' ', '\t'])) {
            field = name;
            continue;
        }
        let value = line.trim();
        if value.is_empty() || !line.starts_with([' ', '\t']) {
            continue;
        }
        let (key, said) = value.split_once(':').map_or(("", value), |(key, said)| (key, said.trim()));
        match field {
            "Chassis ID" => chassis = chassis.or_else(|| identity(key, said)),
            "Port ID" => {
                if let (None, Some((kind, id))) = (&port, identity(key, said)) {
                    found.port_is_name = matches!(kind, "ifname" | "ifalias" | "local");
                    port = Some(id);
                }
            }
            "Time to Live" => {
                let seconds = value.parse::<u16>().ok().map(|ttl| Duration::from_secs(u64::from(ttl)));
                found.ttl = seconds.unwrap_or(found.ttl);
            }
            "Port Description" => {
                found.port_description = found.port_description.or_else(|| printable(value))
            }
            "System Name" => found.system_name = found.system_name.or_else(|| printable(value)),
            "System Capabilities" if key.eq_ignore_ascii_case("Enabled capabilities") => {
                found.forwards = Some(said.split(',').any(|it| matches!(it.trim(), "Bridge" | "Router")));
            }
            "Management Address" if matches!(key, "IPv4" | "IPv6" | "MAC") => {
                found.management.extend(printable(said).filter(|_| found.management.len() < MAX_ADDRESSES));
            }
            "Port VLAN ID" if key == "PVID" => found.vlan = said.parse().ok().filter(|vlan| *vlan != 0),
            "Link Aggregation" if key == "Aggregated Port ID" => {
                found.aggregate = said.parse().ok().filter(|port| *port != 0);
            }
            "Maximum Frame Size" => found.max_frame = found.max_frame.or(value.parse().ok()),
            _ => {}
        }
    }
    let (kind, id) = chassis.ok_or_else(|| missing("`Chassis ID TLV` with a value", "-lldp", &text))?;
    found.chassis = format!("{kind} {id}");
    found.port = port.ok_or_else(|| missing("`Port ID TLV` with a value", "-lldp", &text))?;
    Ok(found)
}

/// What an id is, in the words of the other readers of LLDP, and the id.
fn identity(key: &str, said: &str) -> Option<(&'static str, String)> {
    let kind = match key {
        "MAC" => return Some(("mac", said.parse::<Mac>().ok()?.to_string())),
        "Ifname" => "ifname",
        "Ifalias" => "ifalias",
        "Local" => "local",
        "IPv4" | "IPv6" => "ip",
        "Chassis Component" => "component",
        "Port Component" => "port",
        _ => return None,
    };
    Some((kind, printable(said)?))
}

fn text(bytes: &[u8]) -> Result<String, Error> {
    let bytes = within(bytes, MAX_BYTES)?;
    Ok(visible(bytes).into_owned())
}

/// The tool says what is wrong in its first line: `Cmd os_lldp_get fail, …`.
fn missing(what: &'static str, option: &'static str, text: &str) -> Error {
    let first = text.lines().map(str::trim).find(|line| !line.is_empty());
    Error::Missing { what, option, found: first.map_or_else(|| "nothing".to_string(), shown) }
}

fn printable(text: &str) -> Option<String> {
    let text: String = text.chars().filter(|c| !c.is_control()).take(255).collect();
    (!text.is_empty()).then_some(text)
}
