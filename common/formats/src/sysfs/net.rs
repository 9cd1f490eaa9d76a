//! Network interfaces (`Documentation/ABI/testing/sysfs-class-net`). Addresses and routes are not there.

use phalanx_common::topology::machine::{Machine, Nic};
use phalanx_common::topology::{Guid, LinkLayer};

use super::files::Files;

const FOLDER: &str = "sys/class/net";
/// More interfaces than any machine has ports; bridges and tunnels do not count.
const MAX_NICS: usize = 1 << 10;

/// What joins an interface to an RDMA port.
pub(super) struct Interface {
    pub(super) nic: Nic,
    /// The port of its adapter, from 0, where the driver says it.
    port: Option<u32>,
    /// Of an interface of InfiniBand: the end of its hardware address.
    pub(super) guid: Option<Guid>,
}

impl Interface {
    /// Whether it may be the port of that number, from 1, of its adapter.
    pub(super) fn may_be(&self, port: u8) -> bool {
        self.port.is_none_or(|own| own == u32::from(port.saturating_sub(1)))
    }
}

/// The interfaces that have hardware, and bonds, whose members name them and which carry their addresses.
pub(super) fn interfaces(files: &mut Files<'_>) -> Vec<Interface> {
    let mut found = Vec::new();
    for name in files.list(FOLDER) {
        if found.len() < MAX_NICS {
            found.extend(interface(files, &name));
        }
    }
    found
}

fn interface(files: &mut Files<'_>, name: &str) -> Option<Interface> {
    let at = format!("{FOLDER}/{name}");
    if !files.is_hardware(&at) && !is_bond(files, name) {
        return None;
    }
    // `type` is the hardware's as of `<linux/if_arp.h>`.
    let layer = match files.number::<u32>(&format!("{at}/type"))? {
        1 => LinkLayer::Ethernet,
        32 => LinkLayer::InfiniBand,
        _ => return None,
    };
    // A partition of InfiniBand has a parent; a representor of a virtual function is on the physical one.
    let is_part = files.line(&format!("{at}/parent")).is_some();
    if is_part || files.line(&format!("{at}/phys_port_name")).is_some_and(|name| is_representor(&name)) {
        return None;
    }
    let address = files.line(&format!("{at}/address"));
    let guid = address.as_deref().filter(|_| layer == LinkLayer::InfiniBand).and_then(guid_of);
    let master = files.target(&format!("{at}/master"));
    let mut nic = Nic::new(name, layer);
    nic.bdf = files.function(&at);
    nic.mac = address.and_then(|address| address.parse().ok());
    nic.speed_mbps = files.value(&format!("{at}/speed"), SPEED, speed).flatten();
    nic.up = is_up(files, &at);
    nic.mtu = files.number(&format!("{at}/mtu"));
    nic.bond = master.filter(|master| is_bond(files, master));
    // Drivers fill one of the two in, and leave 0 in the other.
    let port = files.number::<u32>(&format!("{at}/dev_port"));
    let port = port.max(files.hex(&format!("{at}/dev_id")));
    Some(Interface { nic, port, guid })
}

const SPEED: &str = "a speed in Mb/s, or -1 for one that is not known";

/// -1, or the same without a sign, where no link is up; an error, or 0, of drivers that do not know.
fn speed(text: &str) -> Option<Option<u32>> {
    match text {
        "-1" => Some(None),
        text => text.parse().ok().map(|speed| Some(speed).filter(|speed| !matches!(*speed, 0 | u32::MAX))),
    }
}

fn is_bond(files: &Files<'_>, name: &str) -> bool {
    files.line(&format!("{FOLDER}/{name}/bonding/mode")).is_some()
}

/// An interface that is switched off has no carrier to read.
fn is_up(files: &Files<'_>, at: &str) -> Option<bool> {
    match files.line(&format!("{at}/carrier")).as_deref() {
        Some("1") => return Some(true),
        Some("0") => return Some(false),
        _ => {}
    }
    match files.line(&format!("{at}/operstate"))?.as_str() {
        "up" => Some(true),
        "down" | "lowerlayerdown" | "notpresent" | "dormant" => Some(false),
        _ => None,
    }
}

/// `pf0vf3`, `pf0sf88`, `c1pf0vf3`, `pf0hpf`, `pf0`, but not `p0`, which is the port itself
/// (`Documentation/networking/representors.rst`).
fn is_representor(name: &str) -> bool {
    let digits = |text: &str| text.trim_start_matches(|c: char| c.is_ascii_digit()).to_string();
    let of_controller = name.strip_prefix('c').map(digits);
    of_controller.as_deref().unwrap_or(name).starts_with("pf")
}

/// The last eight bytes of the twenty of an InfiniBand interface (RFC 4391).
fn guid_of(address: &str) -> Option<Guid> {
    const WRITTEN: usize = 8 * 3 - 1;
    let (_, end) = address.split_at_checked(address.len().checked_sub(WRITTEN)?)?;
    (address.len() == 20 * 3 - 1).then(|| end.parse().ok()).flatten()
}

/// By PCI address, then name.
pub(super) fn sort(machine: &mut Machine) {
    let key = |nic: &Nic| (nic.bdf.is_none(), nic.bdf, nic.name.clone());
    machine.nics.sort_by_cached_key(key);
}
