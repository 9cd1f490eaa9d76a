//! What is given to whom: ports, and what the pods on each node hold. Changed by records alone.

use std::collections::BTreeMap;

use phalanx_common::id::{Generation, JobId, NodeId};
use phalanx_common::plan::PodBinding;
use phalanx_common::spec::Exclusive;

use crate::placement::inside::{FreeInside, Held};
use crate::stock::{Interior, Taken};

/// Ports given out and pods, per node.
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
    pods: BTreeMap<JobId, PodShare>,
}

/// What a pod holds of its node, beside ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodShare {
    pub ranks: u32,
    pub binding: PodBinding,
    /// `None`: it was planned before anybody told what is in the node.
    pub held: Option<Held>,
    pub exclusive: Exclusive,
}

impl PodShare {
    fn take_from(&self, free: &mut FreeInside, inside: &Interior) {
        match &self.held {
            Some(held) => free.take_held(&inside.model, &inside.identity, &self.binding, held),
            // By habit its ranks take the devices by LOCAL_RANK.
            None => free.devices &= u64::MAX.checked_shl(self.ranks).unwrap_or(0),
        }
    }

    /// A node that is held back for a job.
    pub(crate) fn spare() -> PodShare {
        let held = Some(Held::default());
        PodShare { ranks: 0, binding: PodBinding::default(), held, exclusive: Exclusive::Node }
    }
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
        self.pods_on(node).map(|pod| pod.ranks).fold(0, u32::saturating_add)
    }

    fn pods_on(&self, node: &NodeId) -> impl Iterator<Item = &PodShare> {
        self.nodes.get(node).into_iter().flat_map(|entry| entry.pods.values())
    }

    /// What the pods on a node leave of it.
    pub fn left(&self, node: &NodeId, inside: &Interior) -> FreeInside {
        let mut free = inside.whole.clone();
        for pod in self.pods_on(node) {
            pod.take_from(&mut free, inside);
            if pod.exclusive == Exclusive::Numa {
                let mut beside = inside.whole.clone();
                pod.take_from(&mut beside, inside);
                free.close(&inside.model, beside.touched(&inside.model, &inside.whole));
            }
        }
        free
    }

    pub(crate) fn taken(&self, node: &NodeId) -> Taken {
        let alone = |pod: &PodShare| pod.exclusive == Exclusive::Node;
        match self.pods_on(node).next() {
            None => Taken::No,
            Some(_) if self.pods_on(node).any(alone) => Taken::Alone,
            Some(_) => Taken::Shared,
        }
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

    pub(crate) fn add_pod(&mut self, node: &NodeId, job: &JobId, pod: PodShare) {
        self.nodes.entry(node.clone()).or_default().pods.insert(job.clone(), pod);
    }

    pub(crate) fn remove_pod(&mut self, node: &NodeId, job: &JobId) {
        if let Some(entry) = self.nodes.get_mut(node) {
            entry.pods.remove(job);
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
