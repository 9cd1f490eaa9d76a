//! What is given to whom: ports, and how many ranks stand on each node. Changed by records alone.

use std::collections::BTreeMap;

use phalanx_common::id::{Generation, JobId, NodeId};

/// Ports and ranks given out, per node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    nodes: BTreeMap<NodeId, NodeLedger>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct NodeLedger {
    /// The port given last. The next search begins behind it, so a straggler of one generation
    /// does not reach the next.
    last_port: Option<u16>,
    ports: BTreeMap<u16, (JobId, Generation)>,
    ranks: u32,
}

impl Ledger {
    /// The port a new generation gets on `node`: the first free one behind the last given, within `range`
    /// (first and last, inclusive); `salt` says where the very first search begins. `None` if every port is
    /// held or skipped.
    pub fn next_port(
        &self,
        node: &NodeId,
        range: (u16, u16),
        salt: u64,
        skip: impl Fn(u16) -> bool,
    ) -> Option<u16> {
        let (first, last) = range;
        let size = u64::from(last.checked_sub(first)?) + 1;
        let entry = self.nodes.get(node);
        let start = match entry.and_then(|entry| entry.last_port) {
            Some(port) if (first..=last).contains(&port) => u64::from(port - first) + 1,
            _ => salt,
        };
        (0..size)
            .map(|step| {
                // Below `size`, hence below 2^16.
                let offset = (start % size + step) % size;
                first + u16::try_from(offset).unwrap_or(0)
            })
            .find(|port| !skip(*port) && entry.is_none_or(|entry| !entry.ports.contains_key(port)))
    }

    /// Ranks of live generations on `node`.
    pub fn ranks_on(&self, node: &NodeId) -> u32 {
        self.nodes.get(node).map_or(0, |entry| entry.ranks)
    }

    /// Every port given out, with its holder (invariant I5: each at most once).
    pub fn ports(&self) -> impl Iterator<Item = (&NodeId, u16, &JobId, Generation)> {
        self.nodes.iter().flat_map(|(node, entry)| {
            entry.ports.iter().map(move |(port, (job, generation))| (node, *port, job, *generation))
        })
    }

    pub(crate) fn give_port(&mut self, node: &NodeId, port: u16, job: &JobId, generation: Generation) {
        let entry = self.nodes.entry(node.clone()).or_default();
        entry.ports.insert(port, (job.clone(), generation));
        entry.last_port = Some(port);
    }

    pub(crate) fn take_back_port(&mut self, node: &NodeId, port: u16) {
        if let Some(entry) = self.nodes.get_mut(node) {
            entry.ports.remove(&port);
        }
    }

    pub(crate) fn add_ranks(&mut self, node: &NodeId, ranks: u32) {
        self.nodes.entry(node.clone()).or_default().ranks += ranks;
    }

    pub(crate) fn remove_ranks(&mut self, node: &NodeId, ranks: u32) {
        if let Some(entry) = self.nodes.get_mut(node) {
            entry.ranks = entry.ranks.saturating_sub(ranks);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_generation_gets_a_new_port_until_the_range_wraps() {
        let node = NodeId::new("a");
        let job = JobId::from_existing("j");
        let mut ledger = Ledger::default();
        let mut seen = Vec::new();
        for generation in 1..=4 {
            let port = ledger.next_port(&node, (100, 103), 2, |_| false).unwrap();
            ledger.give_port(&node, port, &job, Generation(generation));
            ledger.take_back_port(&node, port);
            seen.push(port);
        }
        assert_eq!(seen, [102, 103, 100, 101]);
    }

    #[test]
    fn a_held_or_skipped_port_is_not_given() {
        let node = NodeId::new("a");
        let job = JobId::from_existing("j");
        let mut ledger = Ledger::default();
        ledger.give_port(&node, 100, &job, Generation(1));
        assert_eq!(ledger.next_port(&node, (100, 102), 0, |port| port == 101), Some(102));
        assert_eq!(ledger.next_port(&node, (100, 101), 0, |port| port == 101), None);
        assert_eq!(ledger.next_port(&node, (2, 1), 0, |_| false), None, "an empty range has no port");
        assert_eq!(ledger.next_port(&NodeId::new("b"), (1, u16::MAX), u64::MAX, |_| false), Some(1));
    }
}
