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

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use phalanx_common::id::NodeId;
use phalanx_common::plan::PodBinding;
use phalanx_common::spec::Exclusive;
use phalanx_common::time::Timestamp;
use phalanx_common::topology::Network;
use phalanx_common::topology::machine::{CpuSet, Machine};

use crate::ledger::Ledger;
use crate::nodes::{Node, Nodes};
use crate::placement::fabric::{Fabric, FabricNode, Member, NodeRow};
use crate::placement::free::{Free, Room};
use crate::placement::gang::{Gang, GangPod};
use crate::placement::inside::{
    DeviceKind, Force, FreeInside, Inside, JobPorts, Lack, NodeIdentity, NodeModel, RankNeeds, capacity,
    choose,
};
use crate::placement::refusal::Refusal;
use crate::placement::request::{Cut, GangRequest};

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

/// The nodes of a coordinator, ready to be placed on.
#[derive(Clone, Debug, Default)]
pub struct Stock {
    topology: Arc<Topology>,
    fabric: Fabric,
    free: Free,
    nodes: Vec<NodeStock>,
    /// `false`: everything is made anew before the next placement.
    made: bool,
    /// These are.
    dirty: BTreeSet<NodeId>,
    odd: BTreeSet<NodeRow>,
    models: Models,
}

/// Ranks that a node takes of which nobody recorded what is in it: as many as most GPU servers have GPUs.
const UNKNOWN_SLOTS: u32 = 8;

/// A node, in the order of the fabric.
#[derive(Clone, Debug, Default)]
pub struct NodeStock {
    /// `None`: nobody told what is in it, and only its slots count.
    pub inside: Option<Interior>,
    pub labels: BTreeMap<String, String>,
    /// What is free by the ledger.
    pub free: Option<FreeInside>,
    /// Ranks that it still takes, and takes at a time.
    pub slots: (u32, u32),
    /// Its link works, and it said what it is.
    reachable: bool,
    /// The one Unix user whose jobs it runs; `None`: everybody's.
    pub user: Option<String>,
    /// Pods are there; one has the node for itself.
    taken: Taken,
}

/// Whether pods are on a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Taken {
    #[default]
    No,
    Shared,
    Alone,
}

impl NodeStock {
    /// Whether every rank that asks for no devices gets one: the node takes no more ranks than it has devices.
    fn implies_devices(&self) -> bool {
        let devices = self.inside.as_ref().map_or(0, |inside| inside.model.devices().len());
        devices > 0 && self.slots.1 as usize <= devices
    }

    fn needs(&self, request: &GangRequest<'_>, cut: Cut) -> RankNeeds {
        let implied = request.spec.resources.devices.is_none() && self.implies_devices();
        request.needs(cut.ranks, cut.nodes, implied)
    }

    /// What ranks of a pod get of the node; `None`: they share what the worker may use.
    ///
    /// # Errors
    /// What is missing.
    pub fn choose(&self, request: &GangRequest<'_>, cut: Cut) -> Result<Option<Inside>, Lack> {
        let needs = self.needs(request, cut);
        let counts = needs.devices > 0 || needs.cpus.is_some() || needs.memory > 0 || needs.ports > 0;
        match (&self.inside, &self.free) {
            (Some(inside), Some(free)) if counts => {
                choose(&inside.model, &self.open(inside, free, request), &needs).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// What of a node is open to a job: for one that wants NUMA nodes of its own, those where nothing runs.
    fn open(&self, inside: &Interior, free: &FreeInside, request: &GangRequest<'_>) -> FreeInside {
        match request.spec.placement.exclusive {
            Exclusive::Numa => free.untouched(&inside.model, &inside.whole),
            Exclusive::None | Exclusive::Node => free.clone(),
        }
    }
}

/// What is in a node.
#[derive(Clone, Debug)]
pub struct Interior {
    pub model: Arc<NodeModel>,
    pub identity: Arc<NodeIdentity>,
    /// What is free where nothing runs.
    pub whole: FreeInside,
    /// Of which this was made.
    of: Source,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Source {
    machine: Arc<Machine>,
    reserved: CpuSet,
    reserved_memory: u64,
    share: bool,
    /// Ports of the plane that jobs use.
    ports: Vec<String>,
    address: Option<IpAddr>,
}

/// Models that nodes share.
type Models = BTreeSet<Arc<NodeModel>>;

impl Interior {
    fn new(of: Source, models: &mut Models) -> Interior {
        let model = NodeModel::new(&of.machine, &of.reserved);
        let model = match models.get(&model) {
            Some(known) => known.clone(),
            None => Arc::new(model),
        };
        models.insert(model.clone());
        let identity = NodeIdentity::new(&of.machine, &model);
        let ports: Vec<&str> = of.ports.iter().map(String::as_str).collect();
        let only = (!ports.is_empty()).then_some(ports.as_slice());
        let known = JobPorts { exclude: &[], only, control: of.address };
        let mut whole = FreeInside::whole(&model, &identity, &known);
        whole.reserve(of.reserved_memory);
        if !of.share {
            whole.devices &= !identity.in_use();
        }
        Interior { model, identity: Arc::new(identity), whole, of }
    }
}

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
        let needs = request.needs(1, 1, false);
        self.models.iter().flat_map(|model| model.kinds(&needs.device)).collect()
    }

    /// Whether a node has devices of a kind.
    pub fn has(&self, row: NodeRow, request: &GangRequest<'_>, kind: &DeviceKind) -> bool {
        let needs = request.needs(1, 1, false);
        self.node(row)
            .inside
            .as_ref()
            .is_some_and(|inside| inside.model.kinds(&needs.device).any(|own| own == *kind))
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
            let node = &mut stock.nodes[row as usize];
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
        let (node, id) = (self.node(row), &self.fabric.node(row).id);
        let placement = &request.spec.placement;
        if !node.reachable {
            return Err(Refusal::Unreachable);
        }
        if let (Some(only), Some(user)) = (&node.user, request.user)
            && only != user
        {
            return Err(Refusal::RunsOnly { user: only.clone() });
        }
        // By its name, or by its id or the beginning of that.
        let is_named = |names: &[String]| {
            names
                .iter()
                .any(|name| id.as_str().starts_with(name.as_str()) || *name == self.fabric.node(row).name)
        };
        if is_named(&placement.avoid) {
            return Err(Refusal::Avoided);
        }
        if !placement.nodes.is_empty() && !is_named(&placement.nodes) {
            return Err(Refusal::NotNamed);
        }
        if let Some((name, value)) =
            placement.node_selector.iter().find(|(name, value)| node.labels.get(*name) != Some(value))
        {
            return Err(Refusal::Label { name: name.clone(), value: value.clone() });
        }
        match node.taken {
            Taken::Alone => return Err(Refusal::Held),
            Taken::Shared if placement.exclusive == Exclusive::Node => return Err(Refusal::Shared),
            Taken::Shared | Taken::No => {}
        }
        let (free, of) = node.slots;
        if free < cut.ranks {
            return Err(Refusal::Slots { free, of });
        }
        let needs = node.needs(request, cut);
        if needs.devices == 0 && needs.cpus.is_none() && needs.memory == 0 && needs.ports == 0 {
            return Ok(free);
        }
        let (Some(inside), Some(left)) = (&node.inside, &node.free) else { return Err(Refusal::Untold) };
        let left = node.open(inside, left, request);
        let fits = capacity(&inside.model, &left, &needs).min(free);
        if fits >= cut.ranks {
            return Ok(fits);
        }
        match choose(&inside.model, &left, &needs) {
            Err(lack) => Err(Refusal::Lacks(lack)),
            Ok(_) => Err(Refusal::Slots { free: fits, of }),
        }
    }

    /// What a plan says of a pod's share of its node.
    pub fn bind(&self, request: &GangRequest<'_>, gang: &Gang, pod: &GangPod) -> PodBinding {
        let node = self.node(pod.node);
        let placement = &request.spec.placement;
        let nccl_topology =
            placement.nccl_topology.then(|| self.topology.network.rails_of(&self.fabric.node(pod.node).name));
        let (Some(chosen), Some(inside), Some(free)) = (&pod.inside, &node.inside, &node.free) else {
            return PodBinding { nccl_topology, ..PodBinding::default() };
        };
        let cut = Cut { nodes: u32::try_from(gang.pods.len()).unwrap_or(u32::MAX), ranks: pod.ranks };
        let force = Force {
            view: placement.device_view,
            memory: placement.memory_binding,
            cores: request.binds_cores(&node.needs(request, cut)),
            ports: gang.pods.len() > 1,
        };
        PodBinding { nccl_topology, ..chosen.bind(&inside.model, &inside.identity, free, force) }
    }

    /// The same with these nodes and nothing on them.
    pub(crate) fn emptied(&self, nodes: &Nodes) -> Stock {
        let mut stock = self.clone();
        stock.made = false;
        stock.refresh(nodes, &Ledger::default());
        stock
    }

    /// The same nodes, as far as they can be reached, with nothing on them.
    pub fn idle(&self) -> Stock {
        let mut idle = self.clone();
        for row in 0..crate::placement::fabric::row(idle.nodes.len()) {
            let node = &mut idle.nodes[row as usize];
            node.free = node.inside.as_ref().map(|inside| inside.whole.clone());
            node.slots.0 = node.slots.1;
            node.taken = Taken::No;
            idle.count(row);
        }
        idle
    }

    pub(crate) fn set_topology(&mut self, topology: Arc<Topology>) {
        self.topology = topology;
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
        if !self.made || self.dirty.iter().any(|id| nodes.contains_key(id) && !known(id)) {
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
        let former = std::mem::replace(&mut self.fabric, fabric);
        let names: BTreeMap<&NodeId, &str> = ids.iter().map(|(name, id)| (id, name.as_str())).collect();
        let mut before: BTreeMap<NodeId, NodeStock> =
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
            let known = before.remove(&node.id).and_then(|known| known.inside);
            let inside = source.map(|source| match known.filter(|known| known.of == source) {
                Some(known) => {
                    models.insert(known.model.clone());
                    known
                }
                None => Interior::new(source, &mut models),
            });
            NodeStock { inside, labels: told.labels.clone(), ..NodeStock::default() }
        };
        self.nodes = self.fabric.nodes().iter().map(&mut stock).collect();
        self.models = models;
        self.free = Free::new(&self.fabric);
        self.dirty.clear();
        self.odd.clear();
        self.made = true;
        for row in 0..crate::placement::fabric::row(self.nodes.len()) {
            let id = self.fabric.node(row).id.clone();
            self.look(row, nodes.get(&id), ledger);
        }
    }

    /// What is free on a node by now.
    fn look(&mut self, row: NodeRow, node: Option<&Node>, ledger: &Ledger) {
        let id = &self.fabric.node(row).id;
        let stock = &mut self.nodes[row as usize];
        stock.free = stock.inside.as_ref().map(|inside| ledger.left(id, inside));
        let facts = node.filter(|node| node.reachable()).and_then(|node| node.facts.as_ref());
        let of = facts.map_or(0, |facts| facts.slots);
        stock.reachable = facts.is_some();
        stock.user = facts.and_then(|facts| facts.user.clone());
        stock.slots = (of.saturating_sub(ledger.ranks_on(id)), of);
        stock.taken = ledger.taken(id);
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
        let room = node.reachable.then_some(Room { devices, slots });
        self.free.set(&self.fabric, row, room);
    }
}

/// The ports of a node that are in the plane which jobs' traffic takes; none where that is not known.
fn ports(network: &Network, name: &str) -> Vec<String> {
    let node = network.node(name).and_then(|row| network.nodes.get(row as usize));
    let in_main = |switch: u32| {
        let switch = network.switches.get(switch as usize);
        switch.is_some_and(|switch| switch.plane.is_some() && switch.plane == network.main)
    };
    let ports = node.iter().flat_map(|node| &node.ports);
    let attached = ports.filter(|port| port.at.as_ref().is_some_and(|at| in_main(at.switch)));
    attached.map(|port| port.name.clone()).collect()
}
