//! `lldpctl -f json0`, and the `-f json` whose shape depends on how much there is: where `json0` always has
//! arrays, it has an object for one neighbour and an array for two, and names objects by their name.

use std::time::Duration;

use phalanx_common::time::Timestamp;
use phalanx_common::topology::{End, Evidence, Mac};
use serde_json::Value;

use super::frame::Neighbour;

use crate::size::{TooLarge, within};

/// A switch with a thousand neighbours has two megabytes.
pub const MAX_BYTES: usize = 32 << 20;
/// Seconds, where the list has none: what agents send unless told otherwise.
const DEFAULT_TTL: u16 = 120;

/// Why the list was not read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    #[error("this is not JSON: {0}")]
    Json(#[source] serde_json::Error),
    #[error("there is no key `lldp`; write the list with `lldpctl -f json0`")]
    NoLldp,
}

/// A neighbour, and the interface of this machine that hears it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    pub interface: String,
    pub neighbour: Neighbour,
}

impl Heard {
    /// That node `node` hears it.
    pub fn evidence(&self, node: &str, origin: &str, at: Timestamp) -> Option<Evidence> {
        self.neighbour.evidence(End::of_port(node, &self.interface), origin, at)
    }
}

/// The neighbours in the order of the list. Those without a chassis or a port id are left out: lldpd lists
/// neighbours of other protocols too.
///
/// # Errors
/// More than [`MAX_BYTES`], and what is no such list.
pub fn lldpctl(text: &[u8]) -> Result<Vec<Heard>, Error> {
    let text = within(text, MAX_BYTES)?;
    let root: Value = serde_json::from_slice(text).map_err(Error::Json)?;
    let lldp = root.get("lldp").ok_or(Error::NoLldp)?;
    let mut found = Vec::new();
    for lldp in each(lldp) {
        for interface in lldp.get("interface").into_iter().flat_map(each) {
            found.extend(heard(interface, None));
        }
    }
    Ok(found)
}

/// One interface, or an object that names interfaces.
fn heard(interface: &Value, name: Option<&str>) -> Vec<Heard> {
    let name = name.or_else(|| interface.get("name").and_then(Value::as_str));
    match (name, interface) {
        (Some(name), body) => each(body)
            .into_iter()
            .filter_map(|body| Some(Heard { interface: name.to_string(), neighbour: neighbour(body)? }))
            .collect(),
        (None, Value::Object(named)) => {
            named.iter().flat_map(|(name, body)| heard(body, Some(name))).collect()
        }
        _ => Vec::new(),
    }
}

fn neighbour(interface: &Value) -> Option<Neighbour> {
    let (name, chassis) = chassis(interface.get("chassis")?)?;
    let port = each(interface.get("port")?).into_iter().next()?;
    let (kind, id) = id_of(chassis)?;
    let (port_kind, port_id) = id_of(port)?;
    let ttl = text(port.get("ttl")).and_then(|ttl| ttl.parse::<u16>().ok()).unwrap_or(DEFAULT_TTL);
    let management = chassis.get("mgmt-ip").into_iter().flat_map(each);
    let vlan = interface.get("vlan").into_iter().flat_map(each).find_map(|vlan| {
        let untagged = vlan.get("pvid").and_then(Value::as_bool).unwrap_or(true);
        text(vlan.get("vlan-id")).filter(|_| untagged)?.parse().ok()
    });
    Some(Neighbour {
        chassis: format!("{kind} {id}"),
        port_is_name: matches!(port_kind, "ifname" | "ifalias" | "local"),
        port: port_id,
        port_description: text(port.get("descr")),
        system_name: text(chassis.get("name")).or_else(|| name.map(str::to_string)),
        management: management.filter_map(|address| text(Some(address))).take(8).collect(),
        ttl: Duration::from_secs(u64::from(ttl)),
        vlan,
        aggregate: port.get("aggregation").and_then(|it| text(Some(it))).and_then(|it| it.parse().ok()),
        forwards: forwards(chassis),
        max_frame: text(port.get("mfs")).and_then(|mfs| mfs.parse().ok()),
    })
}

fn forwards(chassis: &Value) -> Option<bool> {
    let capabilities = each(chassis.get("capability")?);
    let on = |it: &Value| it.get("enabled").and_then(Value::as_bool) == Some(true);
    let forwards = |it: &Value| matches!(it.get("type").and_then(Value::as_str), Some("Bridge" | "Router"));
    Some(capabilities.into_iter().any(|it| on(it) && forwards(it)))
}

/// A chassis, and its name where it is named by it.
fn chassis(value: &Value) -> Option<(Option<&str>, &Value)> {
    let first = each(value).into_iter().next()?;
    if first.get("id").is_some() {
        return Some((None, first));
    }
    let (name, body) = first.as_object()?.iter().find(|(_, body)| body.get("id").is_some())?;
    Some((Some(name), body))
}

fn id_of(of: &Value) -> Option<(&str, String)> {
    let id = each(of.get("id")?).into_iter().next()?;
    let kind = id.get("type")?.as_str()?;
    let value = text(id.get("value"))?;
    let value = match kind {
        "mac" => value.parse::<Mac>().ok()?.to_string(),
        _ => value,
    };
    Some((kind, value))
}

/// The items of an array, or the value itself.
fn each(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        other => vec![other],
    }
}

/// `"x"`, `{"value": "x"}`, `["x"]`, `[{"value": "x"}]`, or a number.
fn text(value: Option<&Value>) -> Option<String> {
    let first = each(value?).into_iter().next()?;
    let text = match first.get("value").unwrap_or(first) {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let text: String = text.chars().filter(|c| !c.is_control()).take(255).collect();
    (!text.is_empty()).then_some(text)
}
