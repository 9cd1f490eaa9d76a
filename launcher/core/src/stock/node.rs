//! A node of the stock: what is in it, what of that is free, and what a job gets of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use phalanx_common::plan::PodBinding;
use phalanx_common::spec::Exclusive;
use phalanx_common::topology::Network;
use phalanx_common::topology::machine::{CpuSet, Machine};

use crate::placement::fabric::{Fabric, NodeRow};
use crate::placement::gang::GangPod;
use crate::placement::inside::{
    Force, FreeInside, Inside, JobPorts, Lack, NodeIdentity, NodeModel, RankNeeds, capacity, choose,
};
use crate::placement::refusal::Refusal;
use crate::placement::request::{Cut, GangRequest};

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
    pub(super) reachable: bool,
    /// Why it gets no new pods, if it does not.
    pub(super) closed: Option<String>,
    /// The one Unix user whose jobs it runs; `None`: everybody's.
    pub user: Option<String>,
    /// Pods are there; one has the node for itself.
    pub(super) taken: Taken,
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
    pub(super) fn implies_devices(&self) -> bool {
        let devices = self.inside.as_ref().map_or(0, |inside| inside.model.devices().len());
        devices > 0 && self.slots.1 as usize <= devices
    }

    /// Whether nobody told anything of it, and it did not say what it is either.
    pub(crate) fn is_silent(&self) -> bool {
        self.inside.is_none() && self.slots.1 == 0
    }

    fn needs(&self, request: &GangRequest<'_>, cut: Cut) -> RankNeeds {
        let implied = request.spec.resources.devices.is_none() && self.implies_devices();
        request.needs(cut.ranks, implied)
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

    /// How many ranks of a pod of `cut` it takes, so many at least.
    ///
    /// # Errors
    /// Why it does not take a pod of so many.
    pub(super) fn ask(
        &self,
        (fabric, row): (&Fabric, NodeRow),
        request: &GangRequest<'_>,
        cut: Cut,
    ) -> Result<u32, Refusal> {
        let placement = &request.spec.placement;
        if !self.reachable {
            return Err(Refusal::Unreachable);
        }
        if let Some(why) = &self.closed {
            return Err(Refusal::Closed { why: why.clone() });
        }
        if let (Some(only), Some(user)) = (&self.user, request.user)
            && only != user
        {
            return Err(Refusal::RunsOnly { user: only.clone() });
        }
        let is_named = |names: &[String]| names.iter().any(|name| fabric.is_called(row, name));
        if is_named(&placement.avoid) {
            return Err(Refusal::Avoided);
        }
        if !placement.nodes.is_empty() && !is_named(&placement.nodes) {
            return Err(Refusal::NotNamed);
        }
        if let Some((name, value)) =
            placement.node_selector.iter().find(|(name, value)| self.labels.get(*name) != Some(value))
        {
            return Err(Refusal::Label { name: name.clone(), value: value.clone() });
        }
        match self.taken {
            Taken::Alone => return Err(Refusal::Held),
            Taken::Shared if placement.exclusive == Exclusive::Node => return Err(Refusal::Shared),
            Taken::Shared | Taken::No => {}
        }
        let (free, of) = self.slots;
        if free < cut.ranks {
            return Err(Refusal::Slots { free, of });
        }
        let needs = self.needs(request, cut);
        if needs.devices == 0 && needs.cpus.is_none() && needs.memory == 0 && needs.ports == 0 {
            return Ok(free);
        }
        let ports_alone = needs.devices == 0 && needs.cpus.is_none() && needs.memory == 0;
        let (Some(inside), Some(left)) = (&self.inside, &self.free) else {
            return Err(if ports_alone { Refusal::PortsUntold } else { Refusal::Untold });
        };
        // Nobody looked for them, or there is none but those of the kernel alone.
        if needs.ports > 0 && inside.of.machine.nics.is_empty() {
            return Err(Refusal::PortsUntold);
        }
        let left = self.open(inside, left, request);
        let fits = capacity(&inside.model, &left, &needs).min(free);
        if fits >= cut.ranks {
            return Ok(fits);
        }
        match choose(&inside.model, &left, &needs) {
            Err(lack) => Err(Refusal::Lacks(lack)),
            Ok(_) => Err(Refusal::Slots { free: fits, of }),
        }
    }

    /// What a plan says of the share of a pod of a gang of so many nodes.
    pub(super) fn bind(&self, request: &GangRequest<'_>, nodes: u32, pod: &GangPod) -> PodBinding {
        let (Some(chosen), Some(inside), Some(free)) = (&pod.inside, &self.inside, &self.free) else {
            return PodBinding::default();
        };
        let placement = &request.spec.placement;
        let cut = Cut { nodes, ranks: pod.ranks };
        let force = Force {
            view: placement.device_view,
            memory: placement.memory_binding,
            cores: request.binds_cores(&self.needs(request, cut)),
            ports: nodes > 1 || request.spec.resources.nics.is_some(),
        };
        chosen.bind(&inside.model, &inside.identity, free, force)
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
    pub(super) of: Source,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) machine: Arc<Machine>,
    pub(super) reserved: CpuSet,
    pub(super) reserved_memory: u64,
    pub(super) share: bool,
    /// Ports of the plane that jobs use.
    pub(super) ports: Vec<String>,
    pub(super) address: Option<IpAddr>,
}

/// Models that nodes share.
pub(super) type Models = BTreeSet<Arc<NodeModel>>;

impl Interior {
    /// The address by which jobs know the node; `None`: nobody told.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.of.address
    }

    pub(super) fn new(of: Source, models: &mut Models) -> Interior {
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

/// The ports of a node that are in the plane which jobs' traffic takes; none where that is not known.
pub(super) fn ports(network: &Network, name: &str) -> Vec<String> {
    let node = network.node(name).and_then(|row| network.nodes.get(row as usize));
    let in_main = |switch: u32| {
        let switch = network.switches.get(switch as usize);
        switch.is_some_and(|switch| switch.plane.is_some() && switch.plane == network.main)
    };
    let ports = node.iter().flat_map(|node| &node.ports);
    let attached = ports.filter(|port| port.at.as_ref().is_some_and(|at| in_main(at.switch)));
    attached.map(|port| port.name.clone()).collect()
}
