//! Nodes of which nothing is known but how many ranks they take: what a simulation places on.

use std::sync::Arc;

use super::{NodeStock, Stock};
use crate::placement::fabric::{Fabric, NodeRow};

impl Stock {
    /// Every node of a fabric takes so many ranks, and nothing runs on any.
    pub(crate) fn bare(fabric: Fabric, slots: u32) -> Stock {
        let mut stock = Stock {
            free: crate::placement::free::Free::new(&fabric),
            fabric: Arc::new(fabric),
            ..Stock::default()
        };
        for row in (0..).take(stock.fabric.nodes().len()) {
            let node = NodeStock { reachable: true, slots: (slots, slots), ..NodeStock::default() };
            stock.nodes.push(Arc::new(node));
            stock.count(row);
        }
        stock
    }

    /// A node takes so many more ranks from here on.
    pub(crate) fn set_slots(&mut self, node: NodeRow, free: u32) {
        Arc::make_mut(&mut self.nodes[node as usize]).slots.0 = free;
        self.count(node);
    }
}
