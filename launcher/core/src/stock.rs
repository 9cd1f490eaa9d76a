//! The nodes as placement sees them: where they hang, what is in them, and what of that is free.
//!
//! ```text
//! Topology (Input) ---+
//! Nodes (Hello, link) +--> Stock: Fabric, NodeModel, FreeInside, Free
//! Ledger (records) ---+
//! ```
//!
//! What changes is marked, and looked at again before the next placement: a node by its delta, everything only when the
//! topology is another or a node is new.

mod bare;
mod node;

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use phalanx_common::id::{JobId, NodeId};
use phalanx_common::plan::PodBinding;
use phalanx_common::time::Timestamp;
use phalanx_common::topology::machine::{CpuSet, Machine};
use phalanx_common::topology::{KnownNames, Network};

use crate::ledger::Ledger;
use crate::nodes::{Node, Nodes};
use crate::placement::fabric::{Fabric, FabricNode, Member, NodeRow};
use crate::placement::free::{Free, Room};
use crate::placement::gang::{Gang, GangPod};
use crate::placement::inside::DeviceKind;
use crate::placement::refusal::{Refusal, Stranger};
use crate::placement::request::{Cut, GangRequest};

pub(crate) use self::node::Taken;
pub use self::node::{Interior, NodeStock};
use self::node::{Models, Source, ports};

/// What was found out about the cluster, as it goes into the coordinator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    pub network: Network,
    /// Which node a name of `network` means.
    pub ids: BTreeMap<String, NodeId>,
    pub nodes: BTreeMap<NodeId, Told>,
}

/// What is known of a node beside its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    pub machine: Option<Arc<Machine>>,
    pub labels: BTreeMap<String, String>,
    /// CPUs and bytes of memory that are the system's.
    pub reserved: CpuSet,
    pub reserved_memory: u64,
    /// Devices that others compute on are handed out all the same.
    pub share: bool,
}

/// The nodes of a coordinator, ready to be placed on. A copy shares what is in the nodes until it is changed, so that it is taken
/// for a question of one moment.
#[derive(Clone, Debug, Default)]
pub struct Stock {
    topology: Arc<Topology>,
    fabric: Arc<Fabric>,
    free: Free,
    nodes: Vec<Arc<NodeStock>>,
    /// `false`: everything is made anew before the next placement.
    made: bool,
    /// These are.
    dirty: BTreeSet<NodeId>,
    odd: BTreeSet<NodeRow>,
    models: Models,
    /// [`Stock::emptied_of_jobs`], once somebody asked.
    without_jobs: Arc<OnceLock<Stock>>,
}

/// Ranks that a node takes of which nobody recorded what is in it: as many as most GPU servers have GPUs.
pub const UNKNOWN_SLOTS: u32 = 8;

impl Stock {
    pub fn fabric(&self) -> &Fabric {
        &self.fabric
    }

    pub fn free(&self) -> &Free {
        &self.free
    }

    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    pub fn node(&self, row: NodeRow) -> &NodeStock {
        &self.nodes[row as usize]
    }

    /// Nodes of which [`Free`] does not tell all: whoever counts by it has to ask for these.
    pub fn odd(&self) -> &BTreeSet<NodeRow> {
        &self.odd
    }

    /// Whether whatever is chosen in one node is what is chosen in the other.
    pub fn alike(&self, a: NodeRow, b: NodeRow) -> bool {
        let (a, b) = (self.node(a), self.node(b));
        let model = match (&a.inside, &b.inside) {
            (Some(a), Some(b)) => Arc::ptr_eq(&a.model, &b.model) && a.whole == b.whole,
            (None, None) => true,
            _ => false,
        };
        model && a.slots.1 == b.slots.1 && a.free == b.free
    }

    /// The kinds of devices in the cluster that will do for a job that asks for some.
    pub fn kinds(&self, request: &GangRequest<'_>) -> BTreeSet<DeviceKind> {
        if request.spec.resources.devices.is_none() {
            return BTreeSet::new();
        }
        let needs = request.needs(1, false);
        self.models.iter().flat_map(|model| model.kinds(&needs.device)).collect()
    }

    /// Whether all devices of the cluster will do for a job that asks for some, so that their number tells enough.
    pub(crate) fn all_serve(&self, request: &GangRequest<'_>) -> bool {
        let need = request.needs(1, false).device;
        request.spec.resources.devices.is_none() || self.models.iter().all(|model| model.all_serve(&need))
    }

    /// Whether a node has devices of a kind.
    pub fn has(&self, row: NodeRow, request: &GangRequest<'_>, kind: &DeviceKind) -> bool {
        let needs = request.needs(1, false);
        self.node(row)
            .inside
            .as_ref()
            .is_some_and(|inside| inside.model.kinds(&needs.device).any(|own| own == *kind))
    }

    /// Those of `names` that no node goes by.
    pub fn strangers(&self, names: &[String]) -> Vec<Stranger> {
        let nodes = self.fabric.nodes();
        let rows = || (0..).take(nodes.len());
        let is_known = |name: &str| {
            self.fabric.row(&NodeId::new(name)).is_some()
                || rows().any(|row| self.fabric.is_called(row, name))
        };
        let strange: Vec<&String> = names.iter().filter(|name| !is_known(name)).collect();
        if strange.is_empty() {
            return Vec::new();
        }
        let known = KnownNames::of(nodes.iter().flat_map(|node| [node.name.as_str(), node.id.as_str()]));
        let stranger = |name: &String| Stranger {
            name: name.clone(),
            nearest: known.nearest(name).map(ToOwned::to_owned),
        };
        strange.into_iter().map(stranger).collect()
    }

    /// The nodes of a recorded cluster: all of them are there, and nothing runs on them.
    pub fn recorded(topology: Arc<Topology>) -> Stock {
        let mut stock = Stock::default();
        stock.set_topology(topology);
        let everybody =
            stock.topology.ids.values().map(|id| (id.clone(), Node::unheard(Timestamp::default())));
        let everybody: Nodes = everybody.collect();
        stock.refresh(&everybody, &Ledger::default());
        for row in 0..crate::placement::fabric::row(stock.nodes.len()) {
            let node = Arc::make_mut(&mut stock.nodes[row as usize]);
            node.reachable = true;
            let has = node.inside.as_ref().map(|inside| (inside.model.devices().len(), inside.model.cores()));
            let slots = match has {
                Some((0, cores)) => cores.max(1),
                Some((devices, _)) => crate::placement::fabric::row(devices),
                None => UNKNOWN_SLOTS,
            };
            node.slots = (slots, slots);
            stock.count(row);
        }
        stock
    }

    /// How many ranks of a pod of `cut` a node takes, so many at least.
    ///
    /// # Errors
    /// Why it does not take a pod of so many.
    pub fn ask(&self, row: NodeRow, request: &GangRequest<'_>, cut: Cut) -> Result<u32, Refusal> {
        self.node(row).ask((&self.fabric, row), request, cut)
    }

    /// What a plan says of a pod's share of its node.
    pub fn bind(&self, request: &GangRequest<'_>, gang: &Gang, pod: &GangPod) -> PodBinding {
        let nodes = u32::try_from(gang.pods.len()).unwrap_or(u32::MAX);
        let name = &self.fabric.node(pod.node).name;
        let nccl_topology =
            request.spec.placement.nccl_topology.then(|| self.topology.network.rails_of(name));
        PodBinding { nccl_topology, ..self.node(pod.node).bind(request, nodes, pod) }
    }

    /// The same with these nodes and nothing on them.
    pub(crate) fn emptied(&self, nodes: &Nodes) -> Stock {
        let mut stock = self.clone();
        stock.made = false;
        stock.refresh(nodes, &Ledger::default());
        stock
    }

    /// The same where a job holds nothing of these nodes.
    pub(crate) fn without<'a>(
        &self,
        nodes: &Nodes,
        ledger: &Ledger,
        job: &JobId,
        held: impl Iterator<Item = &'a NodeId>,
    ) -> Stock {
        let (mut stock, mut ledger) = (self.clone(), ledger.clone());
        for node in held {
            ledger.remove_pod(node, job);
            stock.touch(node);
        }
        stock.refresh(nodes, &ledger);
        stock
    }

    /// The same nodes with nothing on them, as far as they can be reached. `away`: those as well that cannot be reached at the
    /// moment, if they ever said what they are.
    pub fn idle(&self, away: bool) -> Stock {
        let mut idle = Stock { without_jobs: Arc::default(), ..self.clone() };
        for row in 0..crate::placement::fabric::row(idle.nodes.len()) {
            let node = Arc::make_mut(&mut idle.nodes[row as usize]);
            node.reachable |= away && node.slots.1 > 0;
            node.free = node.inside.as_ref().map(|inside| inside.whole.clone());
            node.slots.0 = node.slots.1;
            node.taken = Taken::No;
            idle.count(row);
        }
        idle
    }

    /// What is there when every job has ended, and every node is back: made once for all who ask, as it does not change while jobs
    /// come and go.
    pub(crate) fn emptied_of_jobs(&self) -> &Stock {
        self.without_jobs.get_or_init(|| self.idle(true))
    }

    /// Whether nothing is to be looked at again.
    pub(crate) fn is_fresh(&self) -> bool {
        self.made && self.dirty.is_empty()
    }

    /// What was known before.
    pub(crate) fn set_topology(&mut self, topology: Arc<Topology>) -> Arc<Topology> {
        let before = std::mem::replace(&mut self.topology, topology);
        self.made = false;
        before
    }

    /// A node is gone: everything is made anew.
    pub(crate) fn remake(&mut self) {
        self.made = false;
    }

    /// Something about a node is not as it was.
    pub(crate) fn touch(&mut self, node: &NodeId) {
        if self.made {
            self.dirty.insert(node.clone());
        }
    }

    /// Makes everything as `nodes` and `ledger` are.
    pub(crate) fn refresh(&mut self, nodes: &Nodes, ledger: &Ledger) {
        let known = |id: &NodeId| self.fabric.row(id).is_some();
        // A node without a place hangs by its name, which it tells in its Hello.
        let placed = LazyCell::new(|| self.topology.ids.values().collect::<BTreeSet<&NodeId>>());
        let renamed = |id: &NodeId| {
            let facts = nodes.get(id).and_then(|node| node.facts.as_ref());
            let row = self.fabric.row(id);
            let name = row.map(|row| &self.fabric.node(row).name);
            facts.is_some_and(|facts| name.is_some_and(|name| *name != facts.host_name))
                && !placed.contains(id)
        };
        let anew = |id: &NodeId| nodes.contains_key(id) && !known(id) || renamed(id);
        if !self.made || self.dirty.iter().any(anew) {
            return self.rebuild(nodes, ledger);
        }
        for id in std::mem::take(&mut self.dirty) {
            if let Some(row) = self.fabric.row(&id) {
                self.look(row, nodes.get(&id), ledger);
            }
        }
    }

    fn rebuild(&mut self, nodes: &Nodes, ledger: &Ledger) {
        let topology = self.topology.clone();
        let ids: BTreeMap<String, NodeId> = topology
            .ids
            .iter()
            .filter(|(_, id)| nodes.contains_key(*id))
            .map(|(n, id)| (n.clone(), id.clone()))
            .collect();
        let placed: BTreeSet<&NodeId> = ids.values().collect();
        let others = nodes.iter().filter(|(id, _)| !placed.contains(id)).map(|(id, node)| Member {
            id: id.clone(),
            name: node.facts.as_ref().map_or_else(|| id.to_string(), |facts| facts.host_name.clone()),
            places: Vec::new(),
            blemishes: Vec::new(),
        });
        let fabric = Fabric::of(&topology.network, &ids, others);
        let former = std::mem::replace(&mut self.fabric, Arc::new(fabric));
        let names: BTreeMap<&NodeId, &str> = ids.iter().map(|(name, id)| (id, name.as_str())).collect();
        let mut before: BTreeMap<NodeId, Arc<NodeStock>> =
            former.nodes().iter().map(|node| node.id.clone()).zip(std::mem::take(&mut self.nodes)).collect();
        let mut models = Models::new();
        let mut stock = |node: &FabricNode| {
            let Some(told) = topology.nodes.get(&node.id) else { return NodeStock::default() };
            let source = told.machine.clone().map(|machine| Source {
                machine,
                reserved: told.reserved.clone(),
                reserved_memory: told.reserved_memory,
                share: told.share,
                ports: names.get(&node.id).map(|name| ports(&topology.network, name)).unwrap_or_default(),
                address: nodes.get(&node.id).and_then(|node| Some(node.facts.as_ref()?.address)),
            });
            let known = before.remove(&node.id).and_then(|known| Arc::unwrap_or_clone(known).inside);
            let inside = source.map(|source| match known.filter(|known| known.of == source) {
                Some(known) => {
                    models.insert(known.model.clone());
                    known
                }
                None => Interior::new(source, &mut models),
            });
            NodeStock { inside, labels: told.labels.clone(), ..NodeStock::default() }
        };
        self.nodes = self.fabric.nodes().iter().map(|node| Arc::new(stock(node))).collect();
        self.models = models;
        self.free = Free::new(&self.fabric);
        self.dirty.clear();
        self.odd.clear();
        self.without_jobs = Arc::default();
        self.made = true;
        for row in 0..crate::placement::fabric::row(self.nodes.len()) {
            let id = self.fabric.node(row).id.clone();
            self.look(row, nodes.get(&id), ledger);
        }
    }

    /// What is free on a node by now.
    fn look(&mut self, row: NodeRow, node: Option<&Node>, ledger: &Ledger) {
        let id = &self.fabric.node(row).id;
        let stock = Arc::make_mut(&mut self.nodes[row as usize]);
        let before = (stock.reachable, stock.slots.1, stock.user.clone(), stock.closed.clone());
        let mut is_another = false;
        // Known from records or the topology before it said where it is: which ports jobs may use depends on that.
        let address = node.and_then(|node| Some(node.facts.as_ref()?.address));
        if let Some(inside) = stock.inside.as_mut().filter(|inside| inside.of.address != address) {
            *inside = Interior::new(Source { address, ..inside.of.clone() }, &mut self.models);
            is_another = true;
        }
        stock.free = stock.inside.as_ref().map(|inside| ledger.left(id, inside));
        let facts = node.and_then(|node| node.facts.as_ref());
        let of = facts.map_or(0, |facts| facts.slots);
        stock.reachable = facts.is_some() && node.is_some_and(Node::reachable);
        stock.closed = node.and_then(|node| node.closed.clone());
        stock.user = facts.and_then(|facts| facts.user.clone());
        stock.slots = (of.saturating_sub(ledger.ranks_on(id)), of);
        stock.taken = ledger.taken(id);
        if is_another || before != (stock.reachable, of, stock.user.clone(), stock.closed.clone()) {
            self.without_jobs = Arc::default();
        }
        self.count(row);
    }

    /// Puts what is free on a node into the counts.
    fn count(&mut self, row: NodeRow) {
        let node = &self.nodes[row as usize];
        let devices = node.free.as_ref().map_or(0, |free| free.devices);
        let slots = match node.implies_devices() {
            true => node.slots.0.min(devices.count_ones()),
            false => node.slots.0,
        };
        // Devices without slots, of several classes, or without a core to themselves: a number does not tell it all.
        let classes = node.inside.as_ref().map_or(0, |inside| inside.model.classes().len());
        let is_odd = node.user.is_some()
            || devices.count_ones() > node.slots.0
            || classes > 1
            || node.taken == Taken::Alone
            || node.free.as_ref().is_some_and(|free| free.cores.len() < devices.count_ones());
        match is_odd {
            true => self.odd.insert(row),
            false => self.odd.remove(&row),
        };
        let room = (node.reachable && node.closed.is_none()).then_some(Room { devices, slots });
        self.free.set(&self.fabric, row, room);
    }
}

#[cfg(test)]
mod tests;
