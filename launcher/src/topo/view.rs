//! What is looked at.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use phalanx_common::id::NodeId;
use phalanx_common::time::Timestamp;
use phalanx_common::topology::machine::{self, Machine};
use phalanx_common::topology::{
    Claim, Evidence, Finding, Network, NodePorts, Snapshot, Source, derive, findings,
};

use serde::{Deserialize, Serialize};

use super::resolve::{Unresolved, resolve};
use super::told::Told;

/// A cluster's topology, its machines as far as they are known, and who told of it.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) snapshot: Snapshot<Machine>,
    /// By node. A node without an entry may still have a board in the snapshot: what machines of its kind have.
    pub(crate) machines: BTreeMap<String, Machine>,
    /// Which member of a cluster a name means.
    pub(crate) ids: BTreeMap<String, NodeId>,
    /// Empty where only the snapshot is at hand.
    pub(crate) told: Vec<Told>,
    /// What is wrong beside the networks, with machines and files, as it was found by whoever knew them all; `None`: it
    /// is found here.
    pub(crate) others: Option<Vec<Finding>>,
    /// Members of a cluster without a link: what they told last is what is known of them.
    pub(crate) unreachable: BTreeSet<String>,
    /// Why nodes get no new pods.
    pub(crate) closed: BTreeMap<String, String>,
}

impl View {
    /// Derives the cluster. `told` has what is not in the evidence: who told of the machines.
    pub(crate) fn derive(
        evidence: &[Evidence],
        machines: BTreeMap<String, Machine>,
        mut told: Vec<Told>,
        now: Timestamp,
    ) -> anyhow::Result<View> {
        let ports: Vec<NodePorts> = machines
            .iter()
            .map(|(node, machine)| NodePorts { node: node.clone(), ports: machine.ports() })
            .collect();
        let times: BTreeMap<&str, Timestamp> = told
            .iter()
            .flat_map(|told| told.about.iter().map(|node| (node.as_str(), told.observed_at)))
            .collect();
        let time = |node: &str| times.get(node).copied().unwrap_or(now);
        let mut evidence = evidence.to_vec();
        evidence.extend(machines.iter().flat_map(|(node, machine)| domains(node, machine, time(node))));
        let network = derive(&ports, &evidence, now).context("no topology can be derived")?;
        let boards: BTreeMap<String, Machine> =
            machines.iter().map(|(node, machine)| (node.clone(), machine.kind())).collect();
        let snapshot = Snapshot::new(network, &boards)?;
        told.extend(Told::summarise(&evidence));
        let others = None;
        Ok(View {
            snapshot,
            machines,
            ids: BTreeMap::new(),
            told,
            others,
            unreachable: BTreeSet::new(),
            closed: BTreeMap::new(),
        })
    }

    /// What a coordinator tells, or a file has of it. Without witnesses it is the facts alone.
    pub(crate) fn of_snapshot(snapshot: Snapshot<Machine>, witnesses: Option<Witnesses>) -> View {
        let others = witnesses.as_ref().map(|it| it.others.clone());
        let Witnesses { told, ids, unreachable, closed, .. } = witnesses.unwrap_or_default();
        View { snapshot, machines: BTreeMap::new(), ids, told, others, unreachable, closed }
    }

    /// What a snapshot does not say.
    pub(super) fn witnesses(&self) -> Witnesses {
        Witnesses {
            told: self.told.clone(),
            others: self.others(),
            ids: self.ids.clone(),
            unreachable: self.unreachable.clone(),
            closed: self.closed.clone(),
        }
    }

    pub(crate) fn network(&self) -> &Network {
        self.snapshot.network()
    }

    /// The node that somebody means.
    pub(crate) fn resolve(&self, meant: &str) -> Result<&str, Unresolved<'_>> {
        let names = self.network().nodes.iter().map(|node| node.name.as_str());
        resolve(names.map(|name| (name, self.ids.get(name))), meant)
    }

    /// What is known of a node's inside.
    pub(crate) fn machine(&self, node: &str) -> Option<&Machine> {
        let of_kind = || self.snapshot.board(self.network().node(node)?);
        self.machines.get(node).or_else(of_kind)
    }

    /// The name of the only machine, where nothing else is known.
    pub(crate) fn only_machine(&self) -> Option<&str> {
        let network = self.network();
        let alone = network.nodes.len() == 1 && network.switches.is_empty();
        network
            .nodes
            .first()
            .map(|node| node.name.as_str())
            .filter(|name| alone && self.machine(name).is_some())
    }

    /// Of the networks and of the machines, the most severe first.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        let mut found = findings(self.network());
        found.extend(self.others());
        found.sort();
        found
    }

    fn others(&self) -> Vec<Finding> {
        let nodes = self.network().nodes.iter().map(|node| node.name.as_str());
        match &self.others {
            Some(others) => others.clone(),
            None => machine::findings(nodes.filter_map(|node| Some((node, self.machine(node)?)))),
        }
    }
}

/// What is told beside a snapshot, by a coordinator and in a file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Witnesses {
    pub(crate) told: Vec<Told>,
    /// Findings that are not of the networks.
    pub(crate) others: Vec<Finding>,
    pub(crate) ids: BTreeMap<String, NodeId>,
    /// A coordinator's own list of nodes has them; a file has them here.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) unreachable: BTreeSet<String>,
    /// So it is with why nodes get no new pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) closed: BTreeMap<String, String>,
}

/// The NVLink domains over nodes that a machine's devices say they are in.
fn domains(node: &str, machine: &Machine, at: Timestamp) -> Vec<Evidence> {
    let fabrics = machine.accelerators.iter().filter_map(|accelerator| accelerator.fabric.as_ref());
    let domains: BTreeSet<_> = fabrics.filter_map(|fabric| fabric.domain()).collect();
    domains
        .into_iter()
        .map(|domain| {
            let domain = format!("{}.{}", domain.cluster, domain.clique);
            let claim = Claim::Nvlink { node: node.to_string(), domain };
            Evidence::new(claim, Source::NvlinkFabric, node, at)
        })
        .collect()
}
