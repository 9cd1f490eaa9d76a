//! RDMA ports, joined to the interfaces that are the same ports.

use phalanx_common::topology::machine::{Nic, Rdma};
use phalanx_common::topology::{Bdf, Guid, LinkLayer};

use super::net::bdf;
use crate::tree::{Ask, Tree};

const RDMA: &str = "sys/class/infiniband";

pub(super) fn read(tree: &dyn Tree, nics: &mut Vec<Nic>) {
    for device in tree.list(RDMA) {
        let folder = format!("{RDMA}/{device}");
        let bdf = tree.resolve(&format!("{folder}/device")).and_then(|path| bdf(&path));
        let node_guid = tree.value::<Guid>(&format!("{folder}/node_guid")).filter(|guid| guid.0 != 0);
        let ports = tree.list(&format!("{folder}/ports"));
        for port in ports.iter().filter_map(|port| port.parse::<u8>().ok()) {
            let folder = format!("{folder}/ports/{port}");
            let found = Found { folder: &folder, device: &device, port, bdf, node_guid };
            found.join(tree, nics);
        }
    }
}

struct Found<'a> {
    folder: &'a str,
    device: &'a str,
    port: u8,
    bdf: Option<Bdf>,
    node_guid: Option<Guid>,
}

impl Found<'_> {
    fn join(&self, tree: &dyn Tree, nics: &mut Vec<Nic>) {
        let file = |name: &str| format!("{}/{name}", self.folder);
        let infiniband = tree.text(&file("link_layer")).is_none_or(|layer| layer == "InfiniBand");
        let layer = if infiniband { LinkLayer::InfiniBand } else { LinkLayer::Ethernet };
        let halves = tree.text(&file("gids/0")).and_then(|gid| halves(&gid)).filter(|_| infiniband);
        let lid = |name: &str| {
            let text = tree.text(&file(name))?;
            u16::from_str_radix(text.strip_prefix("0x")?, 16).ok()
        };
        let rdma = Rdma {
            device: self.device.to_owned(),
            port: self.port,
            guid: halves.map(|(_, guid)| guid),
            node_guid: self.node_guid,
            subnet: halves.map(|(subnet, _)| subnet),
            lid: lid("lid").filter(|_| infiniband),
            sm_lid: lid("sm_lid").filter(|_| infiniband),
        };
        let up = tree.text(&file("state")).map(|state| state.starts_with("4:"));
        let speed = tree.text(&file("rate")).and_then(|rate| megabits(&rate));
        match self.interface(tree, nics, layer) {
            Some(nic) => {
                // A port of InfiniBand carries RDMA whether somebody configured IP on it or not.
                if infiniband {
                    nic.up = up.or(nic.up);
                }
                nic.speed_mbps = nic.speed_mbps.or(speed);
                nic.rdma = Some(rdma);
            }
            None => nics.push(Nic {
                bdf: self.bdf,
                up,
                speed_mbps: speed,
                rdma: Some(rdma),
                ..Nic::new(&format!("{}/{}", self.device, self.port), layer)
            }),
        }
    }

    /// The interface that the kernel names for the port's addresses, else the one of this function and port.
    fn interface<'n>(&self, tree: &dyn Tree, nics: &'n mut [Nic], layer: LinkLayer) -> Option<&'n mut Nic> {
        let named = tree.text(&format!("{}/gid_attrs/ndevs/0", self.folder));
        let number = |nic: &Nic| {
            let file = |name: &str| tree.text(&format!("sys/class/net/{}/{name}", nic.name));
            let number = |text: String| match text.strip_prefix("0x") {
                Some(hex) => u32::from_str_radix(hex, 16).ok(),
                None => text.parse().ok(),
            };
            // Kernels before 3.15 say it in the one, later ones in the other (from 0).
            let told = ["dev_port", "dev_id"].map(|name| file(name).and_then(number).unwrap_or(0));
            told[0].max(told[1]) + 1
        };
        let same = |nic: &Nic| nic.bdf.is_some() && nic.bdf == self.bdf && nic.layer == layer;
        let at = nics
            .iter()
            .position(|nic| named.as_deref() == Some(nic.name.as_str()) && same(nic))
            .or_else(|| {
                nics.iter()
                    .position(|nic| same(nic) && nic.rdma.is_none() && number(nic) == u32::from(self.port))
            })?;
        nics.get_mut(at)
    }
}

/// Subnet prefix and GUID of `fe80:0000:0000:0000:0002:c903:00f9:bfa1`.
fn halves(gid: &str) -> Option<(Guid, Guid)> {
    let parts: Vec<&str> = gid.split(':').collect();
    if parts.len() != 8 {
        return None;
    }
    let half = |parts: &[&str]| parts.concat().parse::<Guid>().ok().filter(|guid| guid.0 != 0);
    Some((half(&parts[..4])?, half(&parts[4..])?))
}

/// Of `56 Gb/sec (4X FDR)`, `2.5 Gb/sec (1X SDR)`.
fn megabits(rate: &str) -> Option<u32> {
    let (number, unit) = rate.split_once(' ')?;
    let (whole, tenth) = number.split_once('.').unwrap_or((number, "0"));
    let whole: u32 = whole.parse().ok()?;
    let tenth: u32 = tenth.get(..1)?.parse().ok()?;
    unit.starts_with("Gb/sec").then(|| whole.checked_mul(1000)?.checked_add(tenth * 100)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_addresses_are_read_as_the_kernel_writes_them() {
        assert_eq!(megabits("56 Gb/sec (4X FDR)"), Some(56_000));
        assert_eq!(megabits("2.5 Gb/sec (1X SDR)"), Some(2_500));
        assert_eq!(megabits("fast"), None);
        let (subnet, guid) = halves("fe80:0000:0000:0000:0002:c903:00f9:bfa1").unwrap();
        assert_eq!((subnet, guid), (Guid(0xfe80 << 48), Guid(0x0002_c903_00f9_bfa1)));
        assert_eq!(halves("0000:0000:0000:0000:0000:0000:0000:0000"), None);
        assert_eq!(halves("fe80::1"), None);
    }
}
