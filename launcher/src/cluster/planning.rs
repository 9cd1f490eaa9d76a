//! Tells the coordinator what was found out about the cluster, whenever that is something else.

use std::collections::BTreeMap;
use std::sync::Arc;

use phalanx_common::id::NodeId;
use phalanx_common::topology::machine::CpuSet;
use phalanx_common::wire::topology_v1::Policy;
use phalanx_launcher_core::stock::{Told, Topology};
use tokio::sync::mpsc;

use super::Cluster;
use super::surveys::Current;
use crate::driver::Message;

/// Until the driver is gone.
pub(super) async fn run(cluster: Arc<Cluster>, driver: mpsc::Sender<Message>) {
    let mut facts = cluster.surveys.facts();
    let mut policies = cluster.surveys.policies();
    loop {
        let current = facts.borrow_and_update().clone();
        let told: BTreeMap<NodeId, Policy> = policies.borrow_and_update().clone();
        let topology = topology(&cluster, current.as_deref(), &told).await;
        if driver.send(Message::Topology(Arc::new(topology))).await.is_err() {
            return;
        }
        let changed = tokio::select! {
            changed = facts.changed() => changed.is_ok(),
            changed = policies.changed() => changed.is_ok(),
            () = cluster.relabelled.notified() => true,
        };
        if !changed {
            return;
        }
    }
}

async fn topology(
    cluster: &Cluster,
    current: Option<&Current>,
    policies: &BTreeMap<NodeId, Policy>,
) -> Topology {
    let mut nodes: BTreeMap<NodeId, Told> = BTreeMap::new();
    for (id, policy) in policies {
        let told = nodes.entry(id.clone()).or_default();
        told.labels = cluster.registry.labels(id, &policy.labels).await;
        // A worker checked it before it joined; another version's is taken as none.
        told.reserved = policy.reserved_cpus.parse().unwrap_or_else(|_| CpuSet::new());
        told.reserved_memory = policy.reserved_memory_bytes;
        told.share = policy.share;
    }
    let Some(current) = current else { return Topology { nodes, ..Topology::default() } };
    for (name, id) in &current.facts.ids {
        nodes.entry(id.clone()).or_default().machine = current.machines.get(name).cloned();
    }
    let network = current.facts.snapshot.network().clone();
    Topology { network, ids: current.facts.ids.clone(), nodes }
}
