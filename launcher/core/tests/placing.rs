//! Gangs on recorded clusters: where they go, in which order, and what becomes of them when nodes are lost.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "helpers of tests end where something is wrong"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use phalanx_common::explanation::{Explained, Placed, Refused};
use phalanx_common::id::NodeId;
use phalanx_common::spec::{Flags, JobFile, JobSpec, Surroundings};
use phalanx_common::time::Timestamp;
use phalanx_common::topology::{Claim, End, Evidence, LinkLayer, NodePorts, Port, Source, SwitchId, derive};
use phalanx_formats::csv;
use phalanx_launcher_core::placement::fabric::NodeRow;
use phalanx_launcher_core::placement::gang::place_gang;
use phalanx_launcher_core::placement::order::Effort;
use phalanx_launcher_core::placement::replace::keep;
use phalanx_launcher_core::placement::request::GangRequest;
use phalanx_launcher_core::plan;
use phalanx_launcher_core::stock::{Stock, Told, Topology};

/// Two blocks: of three leaves with four nodes each, and of two leaves with three.
fn cluster() -> String {
    let mut table = "node,leaf,spine\n".to_owned();
    for (spine, leaves, nodes) in [("b1", 3, 4), ("b2", 2, 3)] {
        for leaf in 1..=leaves {
            for node in 1..=nodes {
                table += &format!("{spine}-{leaf}-{node},{spine}-s{leaf},{spine}\n");
            }
        }
    }
    table
}

fn stock(table: &str) -> Stock {
    let outline = csv::read(table.as_bytes()).unwrap();
    recorded(&[], &outline.evidence(Source::Csv, "the table", Timestamp(1)))
}

fn recorded(ports: &[NodePorts], evidence: &[Evidence]) -> Stock {
    let network = derive(ports, evidence, Timestamp(2)).unwrap();
    let ids: BTreeMap<String, NodeId> =
        network.nodes.iter().map(|node| (node.name.clone(), NodeId::new(&node.name))).collect();
    let nodes = ids.values().map(|id| (id.clone(), Told::default())).collect();
    Stock::recorded(Arc::new(Topology { network, ids, nodes }))
}

/// A job of a file of one line of YAML.
fn job(keys: &str) -> JobSpec {
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

fn request<'a>(
    spec: &'a JobSpec,
    refused: &'a BTreeMap<NodeId, String>,
    last: &'a [(NodeId, u32)],
) -> GangRequest<'a> {
    let now = Timestamp(3);
    GangRequest { spec, user: None, probes: true, last, spares: &[], shun: None, refused, now, port_salt: 0 }
}

fn explained(stock: &Stock, keys: &str) -> Explained {
    plan(stock, &request(&job(keys), &BTreeMap::new(), &[]))
}

fn placed(stock: &Stock, keys: &str) -> Placed {
    match explained(stock, keys) {
        Explained::Placed(placed) => *placed,
        other => panic!("{keys}: {other:?}"),
    }
}

fn refused(stock: &Stock, keys: &str) -> Refused {
    match explained(stock, keys) {
        Explained::Refused(refused) => refused,
        other => panic!("{keys}: {other:?}"),
    }
}

fn names(placed: &Placed) -> Vec<&str> {
    placed.pods.iter().map(|pod| pod.name.as_str()).collect()
}

#[test]
fn a_gang_is_within_the_lowest_tier_that_holds_it() {
    let stock = stock(&cluster());
    let small = placed(&stock, "nodes: 3, ranksPerNode: 8");
    assert_eq!(names(&small), ["b2-1-1", "b2-1-2", "b2-1-3"], "the leaf that is full then");
    assert_eq!((small.tier.name(), small.cost.cost, small.cost.exact), ("leaf", 0, true));
    let block = placed(&stock, "nodes: 6, ranksPerNode: 8");
    assert_eq!((block.tier.name(), block.domains), ("block", 2));
    assert!(names(&block).iter().all(|name| name.starts_with("b2")), "{:?}", names(&block));
    // A ring crosses each of two leaves twice, there and back: four times 64 for each of eight units.
    assert_eq!((block.cost.cost, block.cost.bound), (4 * 64 * 8, 4 * 64 * 8));
    let all = placed(&stock, "nodes: 18, ranksPerNode: 8");
    assert_eq!((all.tier > block.tier, all.domains), (true, 5));
    assert!(all.cost.cost <= all.cost.naive && all.cost.bound <= all.cost.cost, "{:?}", all.cost);
}

#[test]
fn the_order_of_ranks_follows_their_groups() {
    let stock = stock(&cluster());
    // Pairs of nodes hold a tensor-parallel group of sixteen: no pair is on two leaves.
    let paired = placed(&stock, "nodes: 12, ranksPerNode: 8, parallelism: {tp: 16, dp: 6}");
    let leaf = |name: &str| name[..4].to_owned();
    for pair in names(&paired).chunks(2) {
        assert_eq!(leaf(pair[0]), leaf(pair[1]), "{:?}", names(&paired));
    }
    assert_eq!((paired.groups[0].kind.as_str(), paired.groups[0].worst.name()), ("tp", "leaf"));
    let apart = explained(&stock, "nodes: 6, ranksPerNode: 8, placement: {spread: leaf}");
    assert!(matches!(apart, Explained::Refused(_)), "there are five leaves");
    let apart = placed(&stock, "nodes: 5, ranksPerNode: 8, placement: {spread: leaf}");
    assert_eq!(apart.domains, 5);
}

#[test]
fn what_does_not_fit_is_refused_with_what_would() {
    let stock = stock(&cluster());
    let far = refused(&stock, "nodes: 5, ranksPerNode: 8, placement: {require: {all: leaf}}");
    assert!(far.why.contains("the largest leaf, b1-s1, has 4 of 5 nodes that can take it"), "{}", far.why);
    assert_eq!(far.changes, ["it fits with `require: {all: block}`", "32 ranks fit now"]);
    let many = refused(&stock, "nodes: 19, ranksPerNode: 8");
    assert_eq!(many.changes, ["144 ranks fit now"]);
    let odd = refused(&stock, "ranks: 143, placement: {nodes: [b1-1-1, b1-1-2], avoid: [b2-1-1]}");
    assert_eq!(
        odd.nodes.iter().filter(|node| node.why == "is none of the nodes that the job names").count(),
        15
    );
    let uneven = refused(&stock, "ranks: 11, placement: {nodes: [b1-1-1, b1-1-2]}");
    assert_eq!(uneven.changes[0], "it fits with `uneven: true`");
    let shares = placed(&stock, "ranks: 11, placement: {nodes: [b1-1-1, b1-1-2], uneven: true}");
    assert_eq!(shares.pods.iter().map(|pod| pod.ranks.len()).collect::<Vec<_>>(), [6, 5]);
    let asked = refused(&stock, "ranks: 1, resources: {devices: {count: 1}}");
    assert!(asked.nodes.iter().all(|node| node.why.contains("has not told")), "{:?}", asked.nodes[0]);
}

#[test]
fn the_order_of_lines_and_another_run_change_nothing() {
    let table = cluster();
    let (head, lines) = table.split_once('\n').unwrap();
    let mut lines: Vec<&str> = lines.lines().collect();
    let keys = "nodes: 14, ranksPerNode: 8, parallelism: {tp: 8, pp: 7, dp: 2}, placement: {spares: 1}";
    let once = format!("{:?}", explained(&stock(&table), keys));
    for at in 0..lines.len() {
        lines.swap(at, (at * 7 + 3) % 18);
        let shuffled = format!("{head}\n{}\n", lines.join("\n"));
        assert_eq!(format!("{:?}", explained(&stock(&shuffled), keys)), once);
    }
}

#[test]
fn a_gang_that_lost_a_node_takes_the_nearest_in_and_moves_no_other_rank() {
    let stock = stock(&cluster());
    let spec = job("nodes: 4, ranksPerNode: 8, placement: {avoid: [b1-2-2]}");
    let none = BTreeMap::new();
    let names = ["b1-1-1", "b1-1-2", "b1-2-1", "b1-2-2"];
    let last: Vec<(NodeId, u32)> = names.iter().map(|name| (NodeId::new(*name), 8)).collect();
    // The last is lost: it is to be avoided from now on.
    let kept = keep(&stock, &request(&spec, &none, &last), &BTreeMap::new()).unwrap();
    let name = |row: NodeRow| stock.fabric().node(row).name.as_str();
    let pods: Vec<&str> = kept.pods.iter().map(|pod| name(pod.node)).collect();
    assert_eq!(pods[..3], names[..3]);
    assert!(["b1-1-3", "b1-1-4", "b1-2-3", "b1-2-4"].contains(&pods[3]), "{pods:?}");
    let held = [NodeId::new("b2-1-1")];
    let with_spare = GangRequest { spares: &held, ..request(&spec, &none, &last) };
    let kept = keep(&stock, &with_spare, &BTreeMap::new()).unwrap();
    assert_eq!(name(kept.pods[3].node), "b2-1-1", "what was held back comes first");
    let elsewhere = job("nodes: 4, ranksPerNode: 8, placement: {avoid: [b1-1-1, b1-1-2, b1-2-2]}");
    assert!(
        keep(&stock, &request(&elsewhere, &none, &last), &BTreeMap::new()).is_none(),
        "most of it is lost"
    );
    let fresh =
        place_gang(&stock, &request(&elsewhere, &none, &[]), &BTreeMap::new(), &Effort::default()).unwrap();
    assert_eq!(fresh.pods.len(), 4);
}

#[test]
fn a_pod_that_wants_a_topology_file_gets_the_rails_of_its_node() {
    let port = |(name, order): (&str, u16)| Port {
        name: name.to_owned(),
        order,
        layer: LinkLayer::Ethernet,
        mac: None,
        guid: None,
        node_guid: None,
        speed_mbps: Some(400_000),
        up: true,
        bond: None,
    };
    let names = ["n1", "n2", "n3", "n4"];
    let node = |name: &str| NodePorts { node: name.to_owned(), ports: [("a", 0), ("b", 1)].map(port).into() };
    let attached = |node: &str, port: &str| Claim::Attached {
        end: End::of_port(node, port),
        switch: SwitchId::named(&format!("leaf-{port}")),
        switch_port: None,
        speed_mbps: None,
    };
    let claims = names.iter().flat_map(|node| ["a", "b"].map(|port| attached(node, port)));
    let evidence: Vec<Evidence> =
        claims.map(|claim| Evidence::new(claim, Source::Lldp, "lldp", Timestamp(1))).collect();
    let stock = recorded(&names.map(node), &evidence);
    let rails = |keys: &str| {
        let spec = job(keys);
        let none = BTreeMap::new();
        let request = request(&spec, &none, &[]);
        let gang = place_gang(&stock, &request, &BTreeMap::new(), &Effort::default()).unwrap();
        gang.pods.iter().map(|pod| stock.bind(&request, &gang, pod).nccl_topology).collect::<Vec<_>>()
    };
    let own = Some(BTreeMap::from([("a".to_owned(), 0), ("b".to_owned(), 1)]));
    let wants = "nodes: 2, ranksPerNode: 1, placement: {ncclTopology: true}";
    assert_eq!(rails(wants), [own.clone(), own]);
    assert_eq!(rails("nodes: 2, ranksPerNode: 1"), [None, None]);
}

#[test]
fn an_elastic_job_gets_as_many_replicas_as_fit() {
    let stock = stock(&cluster());
    let keys =
        "nodes: 20, ranksPerNode: 8, parallelism: {tp: 8, dp: 20}, elastic: {min: 8, max: 160, step: 8}";
    let fits = placed(&stock, keys);
    assert_eq!((fits.ranks, fits.pods.len()), (144, 18));
    let more = "nodes: 2, ranksPerNode: 8, parallelism: {tp: 8, dp: 2}, elastic: {min: 8, max: 160, step: 8}";
    let grown = placed(&stock, more);
    assert_eq!((grown.ranks, grown.pods.len()), (144, 18), "as many as fit, not as many as it was given");
}

#[test]
fn replicas_and_stages_do_not_make_pods_small() {
    let stock = stock(&cluster());
    let pairs = placed(&stock, "ranks: 112, parallelism: {tp: 2, pp: 8, dp: 7}");
    assert_eq!((pairs.pods.len(), pairs.pods[0].ranks.len()), (14, 8));
}

#[test]
fn unequal_pods_are_as_few_as_hold_the_ranks_and_drop_nothing_that_is_required() {
    let stock = stock(&cluster());
    let few = placed(&stock, "ranks: 17, placement: {uneven: true}");
    assert_eq!(few.pods.len(), 3);
    for wish in ["require: {all: leaf}", "spares: 16"] {
        let keys = format!("ranks: 33, placement: {{uneven: true, {wish}}}");
        assert!(
            !refused(&stock, &keys).changes.contains(&"it fits with `uneven: true`".to_owned()),
            "{keys}"
        );
    }
}

#[test]
fn the_most_ranks_that_fit_are_found_though_not_all_fewer_do() {
    let stock = stock(&cluster());
    assert_eq!(refused(&stock, "ranks: 145").changes, ["144 ranks fit now"]);
    let leaf = refused(&stock, "ranks: 33, placement: {require: {all: leaf}}");
    assert_eq!(leaf.changes.last().map(String::as_str), Some("32 ranks fit now"));
}
