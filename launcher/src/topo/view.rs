//! What is looked at.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use phalanx_common::time::Timestamp;
use phalanx_common::topology::machine::{self, Machine};
use phalanx_common::topology::{
    Claim, Evidence, Finding, Network, NodePorts, Problem, Row, Snapshot, Source, derive, findings,
};

use serde::{Deserialize, Serialize};

use super::told::{Told, names_of};

/// A cluster's topology, its machines as far as they are known, and who told of it.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) snapshot: Snapshot<Machine>,
    /// By node. A node without an entry may still have a board in the snapshot: what machines of its kind have.
    pub(crate) machines: BTreeMap<String, Machine>,
    /// Empty where only the snapshot is at hand.
    pub(crate) told: Vec<Told>,
    /// What is wrong with machines.
    pub(crate) of_machines: Vec<Finding>,
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
        let mut evidence = evidence.to_vec();
        evidence.extend(machines.iter().flat_map(|(node, machine)| domains(node, machine, now)));
        let network = derive(&ports, &evidence, now).context("no topology can be derived")?;
        let boards: BTreeMap<String, Machine> =
            machines.iter().map(|(node, machine)| (node.clone(), machine.kind())).collect();
        let snapshot = Snapshot::new(network, &boards)?;
        told.extend(Told::summarise(&evidence));
        let of_machines = machine::findings(&machines);
        Ok(View { snapshot, machines, told, of_machines })
    }

    pub(crate) fn network(&self) -> &Network {
        self.snapshot.network()
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
        found.extend(self.of_machines.iter().cloned());
        found.sort();
        found
    }

    /// Who told what a finding rests on: rows of `told`.
    pub(crate) fn witnesses(&self, finding: &Finding) -> Vec<usize> {
        let rows = |is: &dyn Fn(&Told) -> bool| -> Vec<usize> {
            self.told.iter().enumerate().filter(|(_, told)| is(told)).map(|(row, _)| row).collect()
        };
        if let Problem::Conflict { claims, .. } = &finding.problem {
            return rows(&|told| {
                claims
                    .iter()
                    .any(|claim| claim.origin == told.origin && claim.source.to_string() == told.source)
            });
        }
        let names = self.names(&finding.subject);
        rows(&|told| names.iter().any(|name| told.about.contains(name)))
    }

    /// Everything that the subject of a finding is called: a node, a port of a node, a switch, a group.
    fn names(&self, subject: &str) -> BTreeSet<String> {
        let network = self.network();
        let of_switch = |row: Row| {
            network.switches.get(row as usize).into_iter().flat_map(|it| &it.ids).flat_map(names_of)
        };
        let mut names = BTreeSet::from([subject.to_string()]);
        names.extend(subject.rsplit_once(' ').map(|(node, _)| node.to_string()));
        let switches = network.switches.iter().filter(|switch| switch.name == subject);
        names.extend(switches.flat_map(|switch| &switch.ids).flat_map(names_of));
        let groups = network.groups.iter().filter(|group| group.name == subject);
        names.extend(groups.flat_map(|group| &group.switches).flat_map(|row| of_switch(*row)));
        for nic in self.machines.get(subject).into_iter().flat_map(|machine| &machine.nics) {
            names.extend(nic.mac.map(|mac| mac.to_string()));
            names.extend(nic.rdma.as_ref().and_then(|rdma| rdma.guid).map(|guid| guid.to_string()));
        }
        names
    }
}

/// What a coordinator tells beside its snapshot.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Witnesses {
    pub(crate) told: Vec<Told>,
    pub(crate) of_machines: Vec<Finding>,
}

/// The NVLink domains over nodes that a machine's devices say they are in.
fn domains(node: &str, machine: &Machine, now: Timestamp) -> Vec<Evidence> {
    let fabrics = machine.accelerators.iter().filter_map(|accelerator| accelerator.fabric.as_ref());
    let domains: BTreeSet<_> = fabrics.filter_map(|fabric| fabric.domain()).collect();
    domains
        .into_iter()
        .map(|domain| {
            let domain = format!("{}.{}", domain.cluster, domain.clique);
            let claim = Claim::Nvlink { node: node.to_string(), domain };
            Evidence::new(claim, Source::NvlinkFabric, node, now)
        })
        .collect()
}
