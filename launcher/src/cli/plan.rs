//! `phalanx plan` and `phalanx explain`: where a job would go, where it is, and why.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use phalanx_common::explanation::{Explained, Placed, Pod, Refused};
use phalanx_common::id::NodeId;
use phalanx_common::spec::JobSpec;
use phalanx_common::time::Timestamp;
use phalanx_common::topology::Tier;
use phalanx_common::topology::machine::Machine;
use phalanx_common::wire::client_v1::Request;
use phalanx_formats::hostlist::collapse;
use phalanx_launcher_core::placement::free::MOST;
use phalanx_launcher_core::placement::request::{GangRequest, NONE_SHUNNED};
use phalanx_launcher_core::stock::{Stock, Told, Topology, UNKNOWN_SLOTS};

use super::args::{ExplainArgs, PlanArgs};
use super::cluster::{Purpose, document_as, need_identity};
use super::job::{self, Target};
use super::topo::of_files;
use super::{Exit, pretty, print};
use crate::topo::counted;

/// Pods in the text; JSON has all.
const PODS_SHOWN: usize = 32;
/// Reasons of nodes that refuse, in the text.
const REASONS_SHOWN: usize = 16;
/// Of a list of nodes in a line.
const LONGEST_LIST: usize = 80;

pub(super) fn plan(args: &PlanArgs) -> anyhow::Result<Exit> {
    let spec = job::resolve(&args.job, &Target::Cluster)?.spec;
    let explained = if args.topology.is_empty() {
        let purpose = if args.as_user.is_some() { Purpose::Administer } else { Purpose::Work };
        need_identity(&args.cluster, purpose).context(
            "files that tell of a cluster do as well, `phalanx plan --topology PATH`; to ask a cluster",
        )?;
        let request = Request::Plan { document: spec.to_document(), as_user: args.as_user.clone() };
        document_as(&args.cluster, purpose, &request)?
    } else {
        offline(&args.topology, args.gpus_per_node, &spec)?
    };
    show(&explained, "does not fit", args.json)
}

pub(super) fn explain(args: &ExplainArgs) -> anyhow::Result<Exit> {
    let request = Request::Explain { job: args.id.clone() };
    let explained = document_as(&args.cluster, Purpose::Work, &request)?;
    show(&explained, "waits", args.json)
}

/// Where a job would go on a recorded cluster with nothing on it. `gpus`: of each node of which no file tells what is in it.
fn offline(paths: &[PathBuf], gpus: Option<u32>, spec: &JobSpec) -> anyhow::Result<Explained> {
    if let Some(gpus) = gpus.filter(|gpus| !(1..=MOST).contains(gpus)) {
        bail!("--gpus-per-node {gpus}: a node has from 1 to {MOST}");
    }
    let view = of_files(paths, false)?;
    let network = view.network().clone();
    let mut recorded = Topology::default();
    let assumed = gpus.map(|gpus| Arc::new(Machine::of_gpus(gpus)));
    let mut unknown = 0;
    for node in &network.nodes {
        let id = NodeId::new(&node.name);
        let machine = view.machine(&node.name).cloned().map(Arc::new);
        unknown += usize::from(machine.is_none());
        let machine = machine.or_else(|| assumed.clone());
        recorded.nodes.insert(id.clone(), Told { machine, ..Told::default() });
        recorded.ids.insert(node.name.clone(), id);
    }
    recorded.network = network;
    let stock = Stock::recorded(Arc::new(recorded));
    let refused = BTreeMap::new();
    let request = GangRequest {
        spec,
        user: None,
        probes: true,
        last: &[],
        spares: &[],
        shun: NONE_SHUNNED,
        refused: &refused,
        now: Timestamp::default(),
        port_salt: 0,
    };
    let mut explained = phalanx_launcher_core::plan(&stock, &request);
    let notes = match &mut explained {
        Explained::Placed(placed) => Some(&mut placed.notes),
        Explained::Refused(refused) => Some(&mut refused.notes),
        Explained::Ended { .. } | Explained::Runs { .. } => None,
    };
    if let (1.., Some(notes)) = (unknown, notes) {
        notes.push(assumption(unknown, gpus));
    }
    Ok(explained)
}

/// What was taken for granted of nodes of which no file tells what is in them.
fn assumption(nodes: usize, gpus: Option<u32>) -> String {
    let of = format!("no file tells what is in {}", counted(nodes, "node"));
    match gpus {
        Some(gpus) => format!("{of}: {} each, as --gpus-per-node says", counted(gpus as usize, "GPU")),
        None => format!(
            "{of}: {UNKNOWN_SLOTS} ranks are taken to fit on each, and no devices; --gpus-per-node says how many GPUs they have, \
             and a file of a machine (lstopo, nvidia-smi topo -m, an NCCL topology) says all of it"
        ),
    }
}

/// `waiting`: what comes before the reason of a job that has no nodes.
fn show(explained: &Explained, waiting: &str, json: bool) -> anyhow::Result<Exit> {
    let fits = !matches!(explained, Explained::Refused(_));
    print(&if json { pretty(explained) } else { text(explained, waiting) })?;
    Ok(if fits { Exit::Success } else { Exit::Findings })
}

fn text(explained: &Explained, waiting: &str) -> String {
    match explained {
        Explained::Placed(placed) => placed_text(placed),
        Explained::Refused(refused) => refused_text(refused, waiting),
        Explained::Ended { why } | Explained::Runs { why } => format!("{why}\n"),
    }
}

fn placed_text(placed: &Placed) -> String {
    let mut text = String::new();
    let nodes = placed.pods.len();
    let _ = write!(text, "{}", counted(placed.ranks as usize, "rank"));
    if placed.ranks != placed.asked {
        let _ = write!(text, " of the {} that the job asks for", placed.asked);
    }
    let _ = write!(text, " on {}", counted(nodes, "node"));
    let _ = match (nodes, placed.domains) {
        (1, _) => writeln!(text),
        (_, 0 | 1) => writeln!(text, ", all within one {}", placed.tier.one()),
        (_, domains) => {
            writeln!(text, ", within one {}, on {domains} {}", placed.tier.one(), placed.of.several())
        }
    };
    for pod in placed.pods.iter().take(PODS_SHOWN) {
        pod_text(&mut text, pod);
    }
    if nodes > PODS_SHOWN {
        let _ = writeln!(text, "  … and {} more; --json has them all", counted(nodes - PODS_SHOWN, "node"));
    }
    if !placed.spares.is_empty() {
        let _ = writeln!(text, "held back: {}", placed.spares.join(", "));
    }
    for group in placed.groups.iter().filter(|group| group.size > 1) {
        let _ =
            writeln!(text, "{:<4} groups of {}: within one {}", group.kind, group.size, group.worst.one());
    }
    if nodes > 1 {
        traffic_text(&mut text, placed);
    }
    for note in &placed.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text
}

fn pod_text(text: &mut String, pod: &Pod) {
    let last = pod.first_rank + u32::try_from(pod.ranks.len()).unwrap_or(0).saturating_sub(1);
    let ranks = match pod.ranks.len() {
        1 => format!("rank {}", pod.first_rank),
        _ => format!("ranks {}-{last}", pod.first_rank),
    };
    let place: Vec<String> =
        pod.domains.iter().map(|domain| format!("{} {}", domain.tier.one(), domain.name)).collect();
    let _ = writeln!(text, "  {:<20} {ranks:<15} {}", pod.name, place.join(", "));
    for rank in &pod.ranks {
        let mut parts = rank.devices.clone();
        if !rank.cpus.is_empty() {
            parts.push(format!("CPUs {}", rank.cpus));
        }
        if !rank.memory.is_empty() {
            parts.push(format!("memory of node {}", rank.memory));
        }
        if !rank.ports.is_empty() {
            let s = if rank.ports.len() == 1 { "" } else { "s" };
            parts.push(format!("network port{s} {}", rank.ports.join(" ")));
        }
        if !parts.is_empty() {
            let _ = writeln!(text, "    rank {}: {}", rank.rank, parts.join(", "));
        }
    }
    if !pod.hca.is_empty() {
        let _ = writeln!(text, "    RDMA ports {}", pod.hca.join(", "));
    }
    for blemish in &pod.blemishes {
        let _ = writeln!(text, "    taken last: {blemish}");
    }
}

fn traffic_text(text: &mut String, placed: &Placed) {
    let _ = writeln!(
        text,
        "traffic in a step, by the tier that it meets at (by name: nodes in the order of their names)"
    );
    let _ = writeln!(text, "  {:<8} {:>14} {:>14}", "tier", "this order", "by name");
    for traffic in placed.traffic.iter().filter(|it| it.volume > 0 || it.naive > 0) {
        let tier = if traffic.tier == Tier::Node { "in nodes".to_owned() } else { traffic.tier.to_string() };
        let _ = writeln!(text, "  {tier:<8} {:>14} {:>14}", traffic.volume, traffic.naive);
    }
    let cost = &placed.cost;
    let proof = match (cost.exact, cost.cost) {
        (_, 0) if placed.domains == 0 && placed.pods.len() > 1 => {
            "no leaf of these nodes is known, so no uplink counts".to_owned()
        }
        (_, 0) => "nothing crosses an uplink".to_owned(),
        (true, _) => "the least possible".to_owned(),
        (false, _) => format!("at most {:.1} % above the least possible", cost.gap * 100.0),
    };
    let _ = writeln!(text, "cost of uplinks {}, by name {}: {proof}", cost.cost, cost.naive);
    if cost.cost > 0 || cost.naive > 0 {
        let _ = writeln!(
            text,
            "  (volume times 64 for each leaf or NVLink domain that it leaves or comes into, 128 for a block, 256 for a core, 512 for \
             a site; more where cables are broken)"
        );
    }
}

fn refused_text(refused: &Refused, waiting: &str) -> String {
    let mut text = format!("{waiting}: {}\n", refused.why);
    for reason in refused.reasons.iter().take(REASONS_SHOWN) {
        let count = match reason.nodes.len() {
            1 => String::new(),
            count => format!(" ({})", counted(count, "node")),
        };
        let _ = writeln!(text, "  {:<20} {}{count}", host_list(&reason.nodes), reason.why);
    }
    let more: usize = refused.reasons.iter().skip(REASONS_SHOWN).map(|reason| reason.nodes.len()).sum();
    if more > 0 {
        let _ = writeln!(text, "  … and {}; --json has them all", counted(more, "more node"));
    }
    for change in &refused.changes {
        let _ = writeln!(text, "change: {change}");
    }
    for note in &refused.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text
}

/// Nodes as Slurm writes them, or as many as fit into a line.
fn host_list(nodes: &[String]) -> String {
    let whole = collapse(nodes.iter().map(String::as_str));
    if whole.len() <= LONGEST_LIST {
        return whole;
    }
    let list = &whole[..whole.floor_char_boundary(LONGEST_LIST)];
    format!("{}…", list.rfind(',').map_or(list, |comma| &list[..=comma]))
}
