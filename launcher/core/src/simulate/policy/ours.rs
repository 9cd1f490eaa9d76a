//! The placement of Phalanx.

use std::collections::BTreeSet;

use super::{Ask, Cluster, Pattern, Policy};
use crate::placement::across::{Need, choose};
use crate::placement::fabric::NodeRow;
use crate::placement::free::Class;
use crate::placement::supply::Supply;

/// Which domains give how many nodes by [`choose`], in them the nodes with the least left over, and of the pattern the order that
/// costs least.
#[derive(Clone, Debug, Default)]
pub struct Ours {}

impl Policy for Ours {
    fn choose(&mut self, cluster: &Cluster<'_>, ask: &Ask) -> Option<Vec<NodeRow>> {
        let fabric = cluster.fabric();
        let supply = Supply::indexed(fabric, cluster.free(), Class::Devices, ask.gpus, BTreeSet::new());
        let need = Need { nodes: ask.nodes, within: fabric.depth(), unit: None, spread: None };
        let chosen = choose(&supply, &need).ok()?;
        let mut nodes = Vec::with_capacity(ask.nodes as usize);
        for share in chosen.shares {
            let mut here: Vec<NodeRow> = supply.of(share.domain).collect();
            here.sort_by_key(|node| cluster.free_on(*node));
            nodes.extend(here.into_iter().take(share.nodes as usize));
        }
        nodes.sort_unstable();
        Some(nodes)
    }
}
