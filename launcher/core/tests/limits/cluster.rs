//! Clusters and jobs to try things on.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use phalanx_common::explanation::{Explained, Placed, Refused};
use phalanx_common::id::NodeId;
use phalanx_common::spec::JobSpec;
use phalanx_common::time::Timestamp;
use phalanx_common::topology::Bdf;
use phalanx_common::topology::machine::{
    Accelerator, AcceleratorKind, Attachment, LinkKind, Machine, PciDevice, PciKind, Peer,
};
use phalanx_launcher_core::placement::gang::{Gang, place_gang};
use phalanx_launcher_core::placement::order::Effort;
use phalanx_launcher_core::placement::replace::keep;
use phalanx_launcher_core::placement::request::{GangRequest, NONE_SHUNNED};
use phalanx_launcher_core::plan;
use phalanx_launcher_core::stock::Stock;

pub(crate) use crate::recorded::job;
use crate::recorded::of_table;

/// GPUs of this model, linked to each other in `islands` of equal size; half of them near each of two NUMA nodes, or near none that
/// is known.
pub(crate) fn gpus(model: &str, count: u8, islands: u8, numa: bool) -> Arc<Machine> {
    let mut machine = Machine::default();
    for (node, cpus) in [(0, "0-15"), (1, "16-31")] {
        machine.numa.entry(node).or_default().cpus = cpus.parse().unwrap();
    }
    machine.cores = (0..32).map(|cpu: u32| cpu.to_string().parse().unwrap()).collect();
    let bdf = |gpu: u8| format!("{:02x}:00.0", gpu + 1).parse::<Bdf>().unwrap();
    for gpu in 0..count {
        let near = numa.then_some(u32::from(gpu >= count / 2));
        machine
            .pci
            .insert(bdf(gpu), PciDevice { kind: Some(PciKind::Gpu), numa: near, ..PciDevice::default() });
        let mut it = Accelerator {
            bdf: Some(bdf(gpu)),
            index: Some(gpu.into()),
            model: Some(model.into()),
            ..Accelerator::new(AcceleratorKind::Nvidia)
        };
        let size = count / islands;
        let island = gpu / size * size..(gpu / size + 1) * size;
        for other in island.filter(|other| *other != gpu) {
            let peer = Peer::Accelerator(bdf(other));
            it.links.push(Attachment { peer, kind: LinkKind::NvLink, lanes: 2, mb_per_s: None });
        }
        machine.accelerators.push(it);
    }
    Arc::new(machine)
}

/// Nodes, where they hang (`block/leaf/name`, `-` where that is not known), and what is in them.
pub(crate) fn stock(nodes: &[(&str, Option<Arc<Machine>>)]) -> Stock {
    let mut table = "node,leaf,spine\n".to_owned();
    for (path, _) in nodes {
        let parts: Vec<&str> = path.split('/').collect();
        let known = |at: usize| parts[at].trim_matches('-');
        let _ = writeln!(table, "{},{},{}", parts[2], known(1), known(0));
    }
    let machines = nodes.iter().map(|(path, machine)| (path.rsplit('/').next().unwrap(), machine.clone()));
    let machines: BTreeMap<&str, Option<Arc<Machine>>> = machines.collect();
    of_table(&table, |name| machines.get(name).cloned().flatten())
}

/// Nodes on leaves, and nothing is known above these.
pub(crate) fn leaves(nodes: &[(&str, &str)]) -> Stock {
    let mut table = "node,leaf\n".to_owned();
    for (node, leaf) in nodes {
        let _ = writeln!(table, "{node},{leaf}");
    }
    of_table(&table, |_| None)
}

pub(crate) fn explained(stock: &Stock, keys: &str) -> Explained {
    let (spec, refused) = (job(keys), BTreeMap::new());
    plan(stock, &request(&spec, &refused, &[], &[]))
}

pub(crate) fn placed(stock: &Stock, keys: &str) -> Placed {
    match explained(stock, keys) {
        Explained::Placed(placed) => *placed,
        other => panic!("{keys}: {other:?}"),
    }
}

pub(crate) fn refused(stock: &Stock, keys: &str) -> Refused {
    match explained(stock, keys) {
        Explained::Refused(refused) => refused,
        other => panic!("{keys}: {other:?}"),
    }
}

pub(crate) fn names(placed: &Placed) -> Vec<&str> {
    placed.pods.iter().map(|pod| pod.name.as_str()).collect()
}

pub(crate) fn request<'a>(
    spec: &'a JobSpec,
    refused: &'a BTreeMap<NodeId, String>,
    last: &'a [(NodeId, u32)],
    spares: &'a [NodeId],
) -> GangRequest<'a> {
    let now = Timestamp(3);
    GangRequest {
        spec,
        user: None,
        probes: true,
        last,
        spares,
        shun: NONE_SHUNNED,
        refused,
        now,
        port_salt: 0,
    }
}

/// The gang that was on `last`, without the nodes that are `lost`.
pub(crate) fn after(
    stock: &Stock,
    spec: &JobSpec,
    last: &[(NodeId, u32)],
    lost: &[NodeId],
    spares: &[NodeId],
) -> Option<Gang> {
    let refused = lost.iter().map(|id| (id.clone(), "it is lost".to_owned())).collect();
    keep(stock, &request(spec, &refused, last, spares), &BTreeMap::new())
}

/// What `after` keeps of eight ranks on each of these nodes, by name.
pub(crate) fn kept(
    stock: &Stock,
    keys: &str,
    last: &[&str],
    lost: &[&str],
    spares: &[&str],
) -> Option<Vec<String>> {
    let ids = |names: &[&str]| names.iter().copied().map(NodeId::new).collect::<Vec<_>>();
    let spec = job(keys);
    let each = spec.world_size() / u32::try_from(last.len()).unwrap();
    let last: Vec<(NodeId, u32)> = ids(last).into_iter().map(|id| (id, each)).collect();
    let gang = after(stock, &spec, &last, &ids(lost), &ids(spares))?;
    Some(gang.pods.iter().map(|pod| stock.fabric().node(pod.node).name.clone()).collect())
}

/// The gang placed anew.
pub(crate) fn anew(stock: &Stock, spec: &JobSpec) -> Option<Gang> {
    let effort = Effort { proposals: 0, search_nodes: 0, exact: false, ..Effort::default() };
    place_gang(stock, &request(spec, &BTreeMap::new(), &[], &[]), &BTreeMap::new(), &effort).ok()
}
