//! Which nodes of the domains: for a pod alone, and for every slot.

use std::collections::BTreeMap;

use super::{Miss, Placing};
use crate::placement::across::{Need, choose};
use crate::placement::fabric::{DomainRow, NodeRow, ROOT};
use crate::placement::free::MOST;
use crate::placement::partly::partly_used;
use crate::placement::request::Cut;
use crate::placement::supply::Supply;

impl Placing<'_> {
    /// One that is partly used where that is possible, else an untouched one on the fullest of the lowest domains; of each one
    /// without a blemish where there is any.
    pub(super) fn one(&self, supply: &Supply<'_>, cut: Cut) -> Result<NodeRow, Miss> {
        let (fabric, free) = (self.stock.fabric(), self.stock.free());
        let class = self.class();
        let each = self.request.spec.resources.devices.as_ref().map_or(1, |devices| devices.count.max(1));
        let amount = cut.ranks.saturating_mul(each);
        // More is not counted.
        if amount <= MOST {
            let whole = (1..=MOST).rev().find(|amount| free.at_least(class, ROOT, *amount) > 0).unwrap_or(0);
            let partly = partly_used(fabric, free, class, (amount, whole), |row| supply.takes(row));
            if let Some(row) = partly {
                return Ok(row);
            }
        }
        let row = self.untouched(supply).ok_or(Miss::Obstacle(None))?;
        if fabric.node(row).blemishes.is_empty() {
            return Ok(row);
        }
        // A node of unknown place has a domain of its own, which is the fullest then.
        let is_whole = |row| supply.takes(row) && fabric.node(row).blemishes.is_empty();
        Ok(self.untouched(&Supply::counted(fabric, free, is_whole)).unwrap_or(row))
    }

    fn untouched(&self, supply: &Supply<'_>) -> Option<NodeRow> {
        let (fabric, free) = (self.stock.fabric(), self.stock.free());
        let need = Need { nodes: 1, within: fabric.depth(), unit: None, apart: None, beside: 0 };
        let chosen = choose(supply, &need).ok()?;
        let domain = chosen.shares.first().map_or(ROOT, |share| share.domain);
        let key =
            |row: &NodeRow| (!fabric.node(*row).blemishes.is_empty(), free.amount(self.class(), *row), *row);
        supply.of(domain).min_by_key(key)
    }

    /// Nodes for the slots in the order of the tree, those with a blemish last: they are taken where nothing else is left, and hold
    /// the last slots of their domain.
    pub(super) fn nodes_of(&self, supply: &Supply<'_>, domains: &[DomainRow]) -> Vec<NodeRow> {
        let fabric = self.stock.fabric();
        let class = self.class();
        let mut slots: BTreeMap<DomainRow, Vec<usize>> = BTreeMap::new();
        for (slot, domain) in domains.iter().enumerate() {
            slots.entry(*domain).or_default().push(slot);
        }
        let mut rows = vec![0; domains.len()];
        for (domain, slots) in slots {
            let mut nodes: Vec<NodeRow> = supply.of(domain).collect();
            let blemished = |row: &NodeRow| !fabric.node(*row).blemishes.is_empty();
            nodes.sort_by_key(|row| (blemished(row), self.stock.free().amount(class, *row), *row));
            nodes.truncate(slots.len());
            nodes.sort_by_key(|row| (blemished(row), *row));
            for (slot, node) in slots.into_iter().zip(nodes) {
                rows[slot] = node;
            }
        }
        rows
    }
}
