//! Recorded clusters, and jobs for them.
#![allow(dead_code, reason = "each test file uses its part of this")]

use std::collections::BTreeMap;
use std::sync::Arc;

use phalanx_common::id::NodeId;
use phalanx_common::spec::{Flags, JobFile, JobSpec, Surroundings};
use phalanx_common::time::Timestamp;
use phalanx_common::topology::machine::Machine;
use phalanx_common::topology::{Evidence, NodePorts, Source, derive};
use phalanx_formats::csv;
use phalanx_launcher_core::placement::request::{GangRequest, NONE_SHUNNED};
use phalanx_launcher_core::stock::{Stock, Told, Topology};

pub(crate) fn stock(table: &str) -> Stock {
    stock_of(table, None)
}

/// Every node is such a machine.
pub(crate) fn stock_of(table: &str, machine: Option<Machine>) -> Stock {
    let machine = machine.map(Arc::new);
    of_table(table, |_| machine.clone())
}

/// Nodes are what `machine` says of their names.
pub(crate) fn of_table(table: &str, machine: impl Fn(&str) -> Option<Arc<Machine>>) -> Stock {
    let outline = csv::read(table.as_bytes()).unwrap();
    recorded(&[], &outline.evidence(Source::Csv, "the table", Timestamp(1)), machine)
}

pub(crate) fn recorded(
    ports: &[NodePorts],
    evidence: &[Evidence],
    machine: impl Fn(&str) -> Option<Arc<Machine>>,
) -> Stock {
    let network = derive(ports, evidence, Timestamp(2)).unwrap();
    let ids: BTreeMap<String, NodeId> =
        network.nodes.iter().map(|node| (node.name.clone(), NodeId::new(&node.name))).collect();
    let told = |name: &str| Told { machine: machine(name), ..Told::default() };
    let nodes = ids.iter().map(|(name, id)| (id.clone(), told(name))).collect();
    Stock::recorded(Arc::new(Topology { network, ids, nodes }))
}

/// A job of a file of one line of YAML.
pub(crate) fn job(keys: &str) -> JobSpec {
    let around = Surroundings {
        cwd: "/",
        file_dir: None,
        log_dir: None,
        cluster: true,
        cpus: 1,
        gpus: &|| Ok(1),
        env: &|_| None,
    };
    let text = format!("{{name: j, command: [train], {keys}}}");
    let file = JobFile::parse("job.yaml", text.as_bytes()).unwrap();
    file.overlay(&Flags::default(), &around).unwrap().resolve(&around).unwrap()
}

pub(crate) fn request<'a>(
    spec: &'a JobSpec,
    refused: &'a BTreeMap<NodeId, String>,
    last: &'a [(NodeId, u32)],
) -> GangRequest<'a> {
    let now = Timestamp(3);
    GangRequest {
        spec,
        user: None,
        probes: true,
        last,
        spares: &[],
        shun: NONE_SHUNNED,
        refused,
        now,
        port_salt: 0,
    }
}
