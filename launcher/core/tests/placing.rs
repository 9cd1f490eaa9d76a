//! Gangs on recorded clusters: where they go, in which order, and what becomes of them when nodes are lost.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "helpers of tests end where something is wrong"
)]

mod recorded;

use std::collections::BTreeMap;

use phalanx_common::explanation::{Explained, Placed, Refused};
use phalanx_common::id::NodeId;
use phalanx_common::time::Timestamp;
use phalanx_common::topology::machine::{Machine, Nic, Rdma};
use phalanx_common::topology::{Claim, End, Evidence, LinkLayer, NodePorts, Port, Source, SwitchId};
use phalanx_launcher_core::placement::fabric::NodeRow;
use phalanx_launcher_core::placement::gang::place_gang;
use phalanx_launcher_core::placement::order::Effort;
use phalanx_launcher_core::placement::replace::keep;
use phalanx_launcher_core::placement::request::GangRequest;
use phalanx_launcher_core::plan;
use phalanx_launcher_core::stock::Stock;

use self::recorded::{job, recorded, request, stock, stock_of};

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
fn nodes_that_are_to_be_apart_are_so_with_groups_that_are_to_be_close() {
    // Three leaves in a block, two in the other: two pairs that each stay within a block, and no two nodes on a leaf.
    let stock = stock(&cluster());
    let keys = "nodes: 4, ranksPerNode: 8, parallelism: {tp: 16, dp: 2}, \
                placement: {spread: leaf, require: {tp: block}}";
    let found = placed(&stock, keys);
    assert_eq!((found.domains, found.groups[0].worst.name()), (4, "block"), "{:?}", names(&found));
    for pair in names(&found).chunks(2) {
        assert_eq!(pair[0][..2], pair[1][..2], "{:?}", names(&found));
    }
}

#[test]
fn what_does_not_fit_is_refused_with_what_would() {
    let stock = stock(&cluster());
    let far = refused(&stock, "nodes: 5, ranksPerNode: 8, placement: {require: {all: leaf}}");
    assert_eq!(
        far.why,
        "it needs 5 nodes within one leaf, and the largest leaf, b1-s1, has 4 that can take a share"
    );
    assert_eq!(
        far.changes,
        [
            "it fits with --require-tier block (`require: {all: block}`)",
            "it fits with --nodes 4 (`nodes: 4`)"
        ]
    );
    let many = refused(&stock, "nodes: 19, ranksPerNode: 8");
    assert_eq!(many.changes, ["it fits with --nodes 18 (`nodes: 18`)"]);
    let elastic = refused(&stock, "ranks: 160, elastic: {min: 152, step: 8}");
    assert_eq!(elastic.changes, ["it fits with `elastic: {min: 144}`"]);
    let odd = refused(&stock, "ranks: 143, placement: {nodes: [b1-1-1, b1-1-2], avoid: [b2-1-1]}");
    assert_eq!(
        odd.nodes.iter().filter(|node| node.why == "is none of the nodes that the job names").count(),
        15
    );
    let uneven = refused(&stock, "ranks: 11, placement: {nodes: [b1-1-1, b1-1-2]}");
    assert_eq!(uneven.changes[0], "it fits with --uneven (`uneven: true`)");
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
    let stock = recorded(&names.map(node), &evidence, |_| None);
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
            !refused(&stock, &keys).changes.contains(&"it fits with --uneven (`uneven: true`)".to_owned()),
            "{keys}"
        );
    }
}

#[test]
fn the_most_ranks_that_fit_are_found_though_not_all_fewer_do() {
    let stock = stock(&cluster());
    assert_eq!(refused(&stock, "ranks: 145").changes, ["144 ranks fit now"]);
    let one = stock_of(&cluster(), Some(Machine::of_gpus(1)));
    let two = "ranks: 2, placement: {nodes: [b1-1-1]}";
    assert_eq!(refused(&one, two).changes, ["1 rank fits now"]);
    let leaf = refused(&stock, "ranks: 33, placement: {require: {all: leaf}}");
    assert_eq!(leaf.changes.last().map(String::as_str), Some("32 ranks fit now"));
}

#[test]
fn the_first_words_of_a_refusal_say_what_is_in_the_way() {
    let stock = stock(&cluster());
    for (keys, why) in [
        (
            "ranks: 11, placement: {nodes: [b1-1-1, b1-1-2]}",
            "its 11 ranks do not fit in equal shares, only in unequal ones such as 6 + 5",
        ),
        (
            "nodes: 17, ranksPerNode: 8, placement: {spares: 3}",
            "its ranks fit, and its 3 spares do not: only one other node can take a share",
        ),
        (
            "nodes: 18, ranksPerNode: 8, placement: {spares: 1}",
            "its ranks fit, and its 1 spare does not: no other node could take the share of one of its own",
        ),
        (
            "nodes: 5, ranksPerNode: 8, placement: {spares: 20, require: {all: leaf}}",
            "it needs 5 nodes within one leaf, and the largest leaf, b1-s1, has 4 that can take a share",
        ),
        (
            "nodes: 6, ranksPerNode: 8, placement: {spread: leaf}",
            "no two of its nodes may share a leaf: it needs 6 leaves, and 5 have a node that can take a share",
        ),
        (
            "ranks: 9, placement: {require: {all: node}}",
            "it has to be on one node; none has room for more than 8 of its 9 ranks",
        ),
        (
            "nodes: 2, ranksPerNode: 8, placement: {require: {all: nvlink}}",
            "it has to be within one NVLink domain, and as nothing is known here of those, on one node; \
             none has room for more than 8 of its 16 ranks",
        ),
        (
            "ranks: 48, parallelism: {tp: 16}, placement: {require: {tp: node}}",
            "not every group of tp can be within one node",
        ),
        // The leaves of four nodes have room for one group of three nodes each.
        (
            "nodes: 18, ranksPerNode: 8, parallelism: {tp: 24}, placement: {require: {tp: leaf}}",
            "not every group of tp can be within one leaf",
        ),
        ("nodes: 19, ranksPerNode: 8", "needs 19 nodes with 8 free slots each, 18 can take it"),
        ("ranks: 145", "needs 145 free slots, there are 144"),
    ] {
        assert_eq!(refused(&stock, keys).why, why, "{keys}");
    }
    let elastic = "ranks: 64, placement: {nodes: [b1-1-1, b1-1-2]}, elastic: {min: 24, step: 8}";
    assert_eq!(
        refused(&stock, elastic).why,
        "needs 24 free slots, there are 16",
        "the least that it can do with"
    );
}

#[test]
fn a_gang_that_fits_without_some_of_its_spares_is_told_how_many_there_can_be() {
    let stock = stock(&cluster());
    let two = refused(&stock, "nodes: 16, ranksPerNode: 8, placement: {spares: 5}");
    assert_eq!(two.changes[0], "it fits with --spares 2 (`spares: 2`)");
    let none = refused(&stock, "nodes: 18, ranksPerNode: 8, placement: {spares: 1}");
    assert_eq!(none.changes[0], "it fits with --spares 0 (`spares: 0`)");
    let never = refused(&stock, "nodes: 19, ranksPerNode: 8, placement: {spares: 1}");
    assert!(!never.changes.iter().any(|change| change.contains("spares")), "{:?}", never.changes);
}

#[test]
fn nodes_that_refuse_alike_are_put_together_and_each_has_its_own_entry() {
    let stock = stock(&cluster());
    let odd = refused(&stock, "ranks: 143, placement: {nodes: [b1-1-1, b1-1-2], avoid: [b2-1-1]}");
    let counts: Vec<(&str, usize)> =
        odd.reasons.iter().map(|reason| (reason.why.as_str(), reason.nodes.len())).collect();
    assert_eq!(counts, [("is none of the nodes that the job names", 15), ("is to be avoided", 1)]);
    assert_eq!(odd.nodes.len(), 16);
}

#[test]
fn a_name_that_no_node_has_is_told_with_the_one_that_may_be_meant() {
    let stock = stock(&cluster());
    let misspelt = refused(&stock, "ranks: 8, placement: {nodes: [c1-1-1, rack]}");
    assert!(
        misspelt.why.starts_with("no node is called c1-1-1 (is b1-1-1 meant?), rack; needs 8 free slots"),
        "{}",
        misspelt.why
    );
    let one_of_two = placed(&stock, "ranks: 8, placement: {nodes: [b1-1-1, rack]}");
    assert_eq!(one_of_two.notes, ["no node is called rack"]);
    let avoided = placed(&stock, "ranks: 8, placement: {avoid: [c1-1-1]}");
    assert_eq!(avoided.notes, ["no node is called c1-1-1 (is b1-1-1 meant?)"]);
    let by_the_beginning = placed(&stock, "ranks: 8, placement: {nodes: [b1-1]}");
    assert!(by_the_beginning.notes.is_empty(), "{:?}", by_the_beginning.notes);
}

/// A machine with two GPUs, and with so many RDMA ports.
fn machine(ports: u8) -> Machine {
    let port = |at: u8| {
        let rdma = Rdma {
            device: format!("mlx5_{at}"),
            port: 1,
            guid: None,
            node_guid: None,
            subnet: None,
            lid: None,
            sm_lid: None,
        };
        let bdf = Some(format!("0000:{at:02x}:00.0").parse().unwrap());
        Nic { bdf, rdma: Some(rdma), ..Nic::new(&format!("ib{at}"), LinkLayer::InfiniBand) }
    };
    Machine { nics: (0..ports).map(port).collect(), ..Machine::of_gpus(2) }
}

#[test]
fn a_node_promises_the_ports_alone_that_it_told_of_to_a_job_on_one_node_too() {
    let keys = "ranks: 1, resources: {nics: 2, devices: {count: 1}}";
    for stock in [stock_of(&cluster(), Some(machine(0))), stock_of(&cluster(), Some(Machine::of_gpus(2)))] {
        let untold = refused(&stock, keys);
        assert_eq!(untold.reasons.len(), 1);
        assert_eq!(untold.reasons[0].why, "has not told of its network ports");
    }
    let without_machines = refused(&stock(&cluster()), "ranks: 1, resources: {nics: 1}");
    assert_eq!(without_machines.reasons[0].why, "has not told of its network ports");
    let few = refused(&stock_of(&cluster(), Some(machine(1))), keys);
    assert!(
        few.reasons[0].why.starts_with("needs 2 network ports for each rank, 1 of 1 up"),
        "{}",
        few.reasons[0].why
    );
    let enough = placed(&stock_of(&cluster(), Some(machine(3))), keys);
    assert_eq!(enough.pods[0].ranks[0].ports, ["ib0", "ib1"]);
    let not_asked =
        placed(&stock_of(&cluster(), Some(machine(3))), "ranks: 1, resources: {devices: {count: 1}}");
    assert!(not_asked.pods[0].ranks[0].ports.is_empty());
}

#[test]
fn what_is_told_of_a_gang_has_the_number_of_every_rank_and_what_was_asked_for() {
    let stock = stock(&cluster());
    let fewer = placed(
        &stock,
        "nodes: 20, ranksPerNode: 8, parallelism: {tp: 8, dp: 20}, elastic: {min: 8, max: 160, step: 8}",
    );
    assert_eq!((fewer.asked, fewer.ranks, fewer.of.name(), fewer.domains), (160, 144, "leaf", 5));
    let numbers: Vec<u32> =
        fewer.pods.iter().flat_map(|pod| pod.ranks.iter().map(|rank| rank.rank)).collect();
    assert_eq!(numbers, (0..144).collect::<Vec<u32>>());
}

#[test]
fn what_is_only_preferred_is_not_told_as_what_is_in_the_way() {
    let keys = "nodes: 40, ranksPerNode: 8, placement: {prefer: {all: nvlink}}";
    let why = refused(&stock(&cluster()), keys).why;
    assert!(why.starts_with("needs 40 nodes") && !why.contains("NVLink"), "{why}");
}
