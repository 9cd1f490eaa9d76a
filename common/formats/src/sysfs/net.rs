//! Interfaces with hardware behind them.

use phalanx_common::topology::machine::Nic;
use phalanx_common::topology::{Bdf, LinkLayer};

use crate::tree::{Ask, Tree};

const NET: &str = "sys/class/net";
/// Of `if_arp.h`.
const ETHERNET: u32 = 1;
const INFINIBAND: u32 = 32;

pub(super) fn read(tree: &dyn Tree) -> Vec<Nic> {
    tree.list(NET).iter().filter_map(|name| nic(tree, name)).collect()
}

/// `None` for what is no hardware: bridges, bonds, tunnels.
fn nic(tree: &dyn Tree, name: &str) -> Option<Nic> {
    let folder = format!("{NET}/{name}");
    let bdf = bdf(&tree.resolve(&format!("{folder}/device"))?);
    let layer = match tree.value(&format!("{folder}/type"))? {
        ETHERNET => LinkLayer::Ethernet,
        INFINIBAND => LinkLayer::InfiniBand,
        _ => return None,
    };
    let master = tree.resolve(&format!("{folder}/master"));
    Some(Nic {
        bdf,
        mac: tree.value(&format!("{folder}/address")),
        speed_mbps: speed(tree, &format!("{folder}/speed")),
        up: up(tree, &folder),
        mtu: tree.value(&format!("{folder}/mtu")),
        bond: master
            .filter(|master| !tree.list(&format!("{master}/bonding")).is_empty())
            .and_then(|master| master.rsplit('/').next().map(str::to_owned)),
        ..Nic::new(name, layer)
    })
}

/// The deepest PCI device of the path: `…/0000:00:03.0/virtio0`.
pub(super) fn bdf(path: &str) -> Option<Bdf> {
    path.rsplit('/').find_map(|part| part.parse().ok())
}

/// A link that is down has -1, or no number at all.
fn speed(tree: &dyn Tree, path: &str) -> Option<u32> {
    tree.value::<i64>(path).and_then(|speed| u32::try_from(speed).ok()).filter(|speed| *speed > 0)
}

/// The kernel tells the carrier of an interface only while that is switched on.
fn up(tree: &dyn Tree, folder: &str) -> Option<bool> {
    let carrier = tree.value::<u8>(&format!("{folder}/carrier")).map(|carrier| carrier == 1);
    carrier.or_else(|| match tree.text(&format!("{folder}/operstate"))?.as_str() {
        "up" => Some(true),
        "down" | "lowerlayerdown" | "notpresent" => Some(false),
        _ => None,
    })
}
