//! NVLinks.

use std::collections::BTreeMap;

use phalanx_common::topology::Bdf;
use phalanx_common::topology::machine::{Attachment, LinkKind, Machine, PciDevice, PciKind, Peer};
use phalanx_common::yaml::Node;

use super::read::{Error, MAX_GPUS, NVIDIA, bounded, number};

const MAX_SWITCHES: usize = 256;
/// NVML counts at most 18.
const MAX_LINKS: u32 = 64;

/// The NVLinks of every GPU: those of its list, else its share of the switches.
pub(super) fn links(machine: &mut Machine, nvlink: &Node) -> Result<(), Error> {
    let per_gpu: u32 = number(nvlink.get("links_per_gpu"))?.unwrap_or(0);
    bounded(nvlink, "links per GPU", per_gpu as usize, MAX_LINKS as usize)?;
    let speed: Option<u64> = number::<u32>(nvlink.get("bandwidth_per_link_mbps"))?.map(u64::from);
    let listed = nvlink.get("switches").and_then(Node::items).unwrap_or_default();
    bounded(nvlink, "switches", listed.len(), MAX_SWITCHES)?;
    let address = |node: &Node, key: &str| node.get(key).and_then(Node::text)?.parse::<Bdf>().ok();
    let switches: Vec<Option<Bdf>> = listed.iter().map(|switch| address(switch, "bdf")).collect();
    for bdf in switches.iter().flatten() {
        let switch =
            PciDevice { kind: Some(PciKind::NvSwitch), vendor: Some(NVIDIA), ..PciDevice::default() };
        machine.pci.entry(*bdf).or_insert(switch);
    }
    let by_index: BTreeMap<u32, Option<Bdf>> =
        machine.accelerators.iter().filter_map(|gpu| Some((gpu.index?, gpu.bdf))).collect();
    let lists = nvlink.get("device_links").and_then(Node::items).unwrap_or_default();
    bounded(nvlink, "lists of links", lists.len(), MAX_GPUS)?;
    for gpu in &mut machine.accelerators {
        let mut of = None;
        for list in lists {
            if number(list.get("index"))? == gpu.index {
                of = list.get("links").and_then(Node::items);
            }
        }
        // A list for no device in particular is for the first.
        let flat = || nvlink.get("links").and_then(Node::items).filter(|_| gpu.index == Some(0));
        let mut peers: BTreeMap<Peer, u32> = BTreeMap::new();
        match of.or_else(flat) {
            Some(list) => {
                bounded(nvlink, "links of a GPU", list.len(), MAX_LINKS as usize)?;
                for link in list {
                    let peer = peer(link, &by_index, address(link, "remote_pci_bus_id"))?;
                    *peers.entry(peer).or_default() += u32::from(is_up(link));
                }
            }
            None if !switches.is_empty() => {
                for link in 0..per_gpu {
                    let switch = switches[link as usize % switches.len()];
                    *peers.entry(Peer::Switch(switch)).or_default() += 1;
                }
            }
            None => {}
        }
        let attached = peers.into_iter().filter(|(_, lanes)| *lanes > 0).map(|(peer, lanes)| Attachment {
            peer,
            kind: LinkKind::NvLink,
            lanes,
            mb_per_s: speed.map(|speed| speed * u64::from(lanes)),
        });
        gpu.links = attached.collect();
    }
    Ok(())
}

fn is_up(link: &Node) -> bool {
    let state = link.get("state").and_then(Node::text);
    matches!(state, None | Some("active" | "up" | "enabled"))
}

fn peer(link: &Node, by_index: &BTreeMap<u32, Option<Bdf>>, bdf: Option<Bdf>) -> Result<Peer, Error> {
    let index: Option<u32> = number(link.get("remote_index"))?;
    let gpu = index.and_then(|index| by_index.get(&index).copied().flatten());
    let kind = link.get("remote_device_type").and_then(Node::text).unwrap_or("gpu");
    Ok(match (gpu.or(bdf), kind) {
        (bdf, "switch") => Peer::Switch(bdf),
        (Some(bdf), "gpu") => Peer::Accelerator(bdf),
        (_, "ibmnpu" | "cpu") => Peer::Cpu(None),
        _ => {
            let (line, found) = (link.span.line, "this".to_string());
            return Err(Error::Wrong { line, found, what: "link to a GPU or a switch of the profile" });
        }
    })
}
