//! What happened to nodes lately. Of a gang that fails it is told beside the first cause: a port that went down, or a clock
//! that is off, may well be why.
//!
//! Not durable by itself: what was around a failure is stored with it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use phalanx_common::event::{Cause, EventKind, NodeNote};
use phalanx_common::id::{JobId, NodeId};
use phalanx_common::time::Timestamp;
use phalanx_common::topology::machine::Machine;

use crate::coordinator::Coordinator;
use crate::durable::Job;
use crate::evidence::is_fault;
use crate::records::{NodeNoteRecord, Record};
use crate::stock::Topology;
use crate::timers::shifted;

/// What is longer ago has nothing to do with a failure.
const NEAR: Duration = Duration::from_secs(60);
/// Notes that are kept of one node, and that are told of one failure.
const MOST: usize = 16;

/// What happened to each node, oldest first.
#[derive(Debug, Default)]
pub(crate) struct History(BTreeMap<NodeId, VecDeque<(Timestamp, String)>>);

impl History {
    fn note(&mut self, now: Timestamp, node: &NodeId, what: String) {
        let notes = self.0.entry(node.clone()).or_default();
        notes.retain(|(at, _)| now.since(*at) < NEAR);
        if notes.len() == MOST {
            notes.pop_front();
        }
        notes.push_back((now, what));
    }

    pub(crate) fn forget(&mut self, node: &NodeId) {
        self.0.remove(node);
    }

    pub(crate) fn shift(&mut self, by_micros: i64) {
        for (at, _) in self.0.values_mut().flatten() {
            *at = shifted(*at, by_micros);
        }
    }

    /// What happened to this node not long before `cause`, or since.
    fn around<'a>(&'a self, node: &'a NodeId, cause: Timestamp) -> impl Iterator<Item = NodeNote> + 'a {
        let notes = self.0.get(node).into_iter().flatten().filter(move |(at, _)| cause.since(*at) < NEAR);
        notes.map(|(at, what)| NodeNote { at: *at, node: node.clone(), what: what.clone() })
    }
}

impl Coordinator {
    /// Keeps what an event says of a node.
    pub(crate) fn remember(&mut self, event: &EventKind) {
        let (node, what) = match event {
            EventKind::NodeUnreachable { node } => (node, "the coordinator lost its connection".to_owned()),
            EventKind::NodeReachable { node } => (node, "the coordinator has a connection again".to_owned()),
            EventKind::NodeRestarted { node } => (node, "it restarted".to_owned()),
            EventKind::NodeClockOff { node, ahead_ms } => {
                let way = if *ahead_ms < 0 { "behind" } else { "ahead" };
                (node, format!("its clock is {} ms {way}", ahead_ms.unsigned_abs()))
            }
            EventKind::NodeDraining { node, by, .. } => (node, format!("{by} drains it")),
            EventKind::NodeQuarantined { node, why, .. } => (node, format!("quarantined: {why}")),
            _ => return,
        };
        self.history.note(self.now, node, what);
    }

    /// Keeps what is new about devices and ports. `before`: what was known.
    pub(crate) fn remember_machines(&mut self, before: &Topology) {
        let stock = self.stock.clone();
        for (node, told) in &stock.topology().nodes {
            let was = before.nodes.get(node).and_then(|told| told.machine.as_ref());
            if let (Some(was), Some(now)) = (was, &told.machine)
                && !Arc::ptr_eq(was, now)
            {
                news(was, now).into_iter().for_each(|what| self.history.note(self.now, node, what));
            }
        }
    }

    /// Stores and tells what happened to the job's nodes around the first cause of its failure.
    pub(crate) fn tell_of_nodes(&mut self, job: &JobId, cause: &Cause, cause_at: Timestamp) {
        let active = self.durable.jobs.get(job).and_then(Job::active);
        // What kept a pod from being prepared says itself why.
        let told = is_fault(cause) || matches!(cause, Cause::StartTimeout { .. });
        let Some(active) = active.filter(|_| told) else { return };
        let others = active.pods.iter().map(|place| &place.node).filter(|node| !tells_of(cause, node));
        let mut notes: Vec<NodeNote> = others.flat_map(|node| self.history.around(node, cause_at)).collect();
        notes.sort_by(|a, b| (a.at, &a.node).cmp(&(b.at, &b.node)));
        notes.truncate(MOST);
        if notes.is_empty() {
            return;
        }
        let generation = active.number;
        let records = notes.iter().map(NodeNoteRecord::from).collect();
        self.persist(Record::NodesAround { job: job.clone(), generation, notes: records });
        self.emit_for(job, EventKind::NodesAround { cause_at, notes });
    }
}

/// The cause itself is what happened to the node.
fn tells_of(cause: &Cause, node: &NodeId) -> bool {
    match cause {
        Cause::NodeLost { node: lost } | Cause::NodeRestarted { node: lost } => lost == node,
        Cause::DeviceFailed { node: its, .. } => its == node,
        Cause::LeafLost { nodes, .. } => nodes.contains(node),
        _ => false,
    }
}

/// Devices that are ill and were not, and ports whose link went or came.
fn news(was: &Machine, now: &Machine) -> Vec<String> {
    let mut news = Vec::new();
    for device in &now.accelerators {
        let before = was.accelerators.iter().find(|it| it.uuid == device.uuid && it.index == device.index);
        let known = before.and_then(|before| before.ailments.as_ref());
        let new = device.ailments.iter().flatten().filter(|it| !known.is_some_and(|all| all.contains(it)));
        let name = device.index.map_or("device".to_owned(), |index| format!("device {index}"));
        news.extend(new.map(|ailment| format!("{name}: {ailment}")));
    }
    for nic in &now.nics {
        let before = was.nics.iter().find(|it| it.name == nic.name).and_then(|it| it.up);
        match (before, nic.up) {
            (Some(true), Some(false)) => news.push(format!("{} has no link any more", nic.name)),
            (Some(false), Some(true)) => news.push(format!("{} has a link again", nic.name)),
            _ => {}
        }
    }
    news
}
