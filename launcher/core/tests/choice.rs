//! Which of several ways a gang is placed in, and which nodes are held back for it.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "helpers of tests end where something is wrong"
)]

mod recorded;

use std::collections::BTreeMap;
use std::sync::Arc;

use phalanx_common::explanation::{Explained, Placed, Refused};
use phalanx_common::topology::Bdf;
use phalanx_common::topology::machine::{Accelerator, AcceleratorKind, CpuSet, Machine};
use phalanx_launcher_core::placement::fabric::NodeRow;
use phalanx_launcher_core::placement::replace::anew;
use phalanx_launcher_core::plan;
use phalanx_launcher_core::stock::{Stock, Told};

use self::recorded::{job, of_table, request, stock};

/// Leaves of `nodes` nodes in blocks of `leaves`.
fn tree(blocks: usize, leaves: usize, nodes: usize) -> Stock {
    let mut table = "node,leaf,spine\n".to_owned();
    for leaf in 0..blocks * leaves {
        for node in 0..nodes {
            table += &format!("l{leaf}n{node},l{leaf},b{}\n", leaf / leaves);
        }
    }
    stock(&table)
}

/// A job that avoids the first so many nodes of each leaf, as if they were in use.
fn placed(stock: &Stock, keys: &str, placement: &str, used: &[usize]) -> Placed {
    let avoid = used
        .iter()
        .enumerate()
        .flat_map(|(leaf, used)| (0..*used).map(move |node| format!("l{leaf}n{node}")));
    let avoid = avoid.collect::<Vec<_>>().join(", ");
    let keys = format!("{keys}, placement: {{avoid: [{avoid}]{placement}}}");
    match plan(stock, &request(&job(&keys), &BTreeMap::new(), &[])) {
        Explained::Placed(placed) => *placed,
        other => panic!("{keys}: {other:?}"),
    }
}

fn leaf(name: &str) -> &str {
    name.split_once('n').unwrap().0
}

#[test]
fn a_spare_is_on_another_leaf_near_the_gang_and_rather_where_something_runs() {
    let stock = tree(2, 4, 4);
    // The gang has the first two free leaves of the fuller block; one leaf of that is partly used, another untouched.
    let with = |keys: &str, used: &[usize]| placed(&stock, keys, ", spares: 1", used);
    let found = with("nodes: 8, ranksPerNode: 8", &[0, 0, 2, 0, 4, 4, 4, 2]);
    assert_eq!((found.tier.name(), found.spares.len()), ("block", 1), "{found:?}");
    assert_eq!(leaf(&found.spares[0]), "l2", "partly used, of the gang's block: {:?}", found.spares);
    let gang: Vec<&str> = found.pods.iter().map(|pod| leaf(&pod.name)).collect();
    assert!(!gang.contains(&"l2"), "{gang:?}");
    // Nothing else is left in the block.
    let found = with("nodes: 8, ranksPerNode: 8", &[0, 0, 4, 4, 4, 4, 4, 2]);
    assert_eq!(leaf(&found.spares[0]), "l7", "{:?}", found.spares);
}

#[test]
fn a_spare_could_stand_in_for_every_slot_of_what_is_required() {
    let stock = tree(2, 4, 4);
    let all = "nodes: 3, ranksPerNode: 8";
    // Of a job that has to be on one leaf, on that leaf; one that has no node more is none for it.
    let found = placed(&stock, all, ", spares: 1, require: {all: leaf}", &[1, 0, 1, 1, 1, 1, 1, 1]);
    assert_eq!(found.pods.iter().map(|pod| leaf(&pod.name)).collect::<Vec<_>>(), ["l1"; 3]);
    assert_eq!(leaf(&found.spares[0]), "l1", "{:?}", found.spares);
    let found = placed(&stock, all, ", spares: 1", &[1, 0, 1, 1, 1, 1, 1, 1]);
    assert_ne!(leaf(&found.spares[0]), leaf(&found.pods[0].name), "else on another");
    // Of a block.
    let found = placed(
        &stock,
        "nodes: 6, ranksPerNode: 8",
        ", spares: 3, require: {all: block}",
        &[4, 4, 2, 0, 0, 0, 2, 0],
    );
    assert!(
        found.spares.iter().all(|name| ["l4", "l5", "l6", "l7"].contains(&leaf(name))),
        "{:?}",
        found.spares
    );
    // Of groups that have to be on one leaf: where it can stand in for some of them at all.
    let found = placed(
        &stock,
        "nodes: 6, ranksPerNode: 8, parallelism: {tp: 16, dp: 3}",
        ", spares: 1, require: {tp: leaf}",
        &[0, 1, 0, 4, 4, 4, 4, 4],
    );
    assert!(found.pods.iter().any(|pod| leaf(&pod.name) == leaf(&found.spares[0])), "{:?}", found.spares);
    // Of one whose nodes are apart: of a leaf that none of them is on.
    let found =
        placed(&stock, "nodes: 4, ranksPerNode: 8", ", spares: 2, spread: leaf", &[1, 0, 0, 0, 0, 0, 0, 0]);
    assert!(found.pods.iter().all(|pod| found.spares.iter().all(|spare| leaf(&pod.name) != leaf(spare))));
    assert_ne!(leaf(&found.spares[0]), leaf(&found.spares[1]));
}

#[test]
fn groups_that_talk_the_most_are_kept_together_only_where_that_gains_something() {
    let stock = tree(2, 4, 8);
    // No leaf has room for two groups of seven nodes, and none of the ways to split them is on one block.
    let keys = "nodes: 28, ranksPerNode: 2, parallelism: {tp: 2, ep: 7, dp: 4}";
    let found = placed(&stock, keys, "", &[3, 0, 4, 2, 1, 3, 1, 4]);
    assert_eq!((found.tier.name(), found.domains), ("site", 4), "{:?}", found.cost);
    assert!(
        found.cost.cost <= 210_944,
        "whole groups on blocks, but on five leaves, cost 374,784: {:?}",
        found.cost
    );
    // All of the job on one block comes before groups on one leaf.
    let keys = "nodes: 28, ranksPerNode: 4, parallelism: {tp: 2, ep: 4, dp: 7, pp: 2}";
    let found = placed(&stock, keys, "", &[1, 1, 0, 2, 1, 2, 0, 1]);
    assert_eq!((found.tier.name(), found.groups[1].worst.name()), ("block", "block"));
}

/// A machine with eight devices of each of these kinds.
fn machine(kinds: &[AcceleratorKind]) -> Arc<Machine> {
    let mut machine = Machine::default();
    machine.numa.entry(0).or_default().cpus = "0-63".parse().unwrap();
    machine.cores = (0..64).map(|cpu| cpu.to_string().parse().unwrap()).collect();
    for (kind, domain) in kinds.iter().zip(0..) {
        for bus in 1..=8 {
            let bdf: Bdf = format!("{domain:04x}:{bus:02x}:00.0").parse().unwrap();
            machine.accelerators.push(Accelerator { bdf: Some(bdf), ..Accelerator::new(*kind) });
        }
    }
    Arc::new(machine)
}

/// The same cluster, with eight devices in every node.
fn with_devices(stock: &Stock, kind: AcceleratorKind) -> Stock {
    let machine = machine(&[kind]);
    let mut topology = stock.topology().clone();
    for told in topology.nodes.values_mut() {
        *told = Told { machine: Some(machine.clone()), ..Told::default() };
    }
    Stock::recorded(Arc::new(topology))
}

#[test]
fn nodes_with_ascend_devices_are_in_the_dictionary_order_of_their_servers_and_the_plan_says_what_that_costs()
{
    // Servers of two leaves take turns in the dictionary, where 10 comes before 9.
    let servers = stock("node,leaf\n9,l1\n11,l1\n10,l2\n12,l2\n");
    let devices = |kind| if kind == AcceleratorKind::Ascend { "npu" } else { "gpu" };
    let planned = |kind, keys: &str| {
        let keys = format!("{keys}, resources: {{devices: {{kind: {}, count: 1}}}}", devices(kind));
        match plan(&with_devices(&servers, kind), &request(&job(&keys), &BTreeMap::new(), &[])) {
            Explained::Placed(placed) => *placed,
            other => panic!("{other:?}"),
        }
    };
    let of = |kind| planned(kind, "nodes: 4, ranksPerNode: 8");
    let names = |placed: &Placed| placed.pods.iter().map(|pod| pod.name.clone()).collect::<Vec<_>>();
    let other = of(AcceleratorKind::Nvidia);
    assert_eq!((names(&other), other.notes.len()), (["9", "11", "10", "12"].map(String::from).to_vec(), 0));
    let ascend = of(AcceleratorKind::Ascend);
    let names_in_order = ["10", "11", "12", "9"].map(String::from).to_vec();
    assert_eq!(names(&ascend), names_in_order);
    let first: Vec<u32> = ascend.pods.iter().map(|pod| pod.first_rank).collect();
    assert_eq!(first, [0, 8, 16, 24]);
    assert_eq!((other.cost.cost * 2, ascend.cost.bound), (ascend.cost.cost, other.cost.bound));
    assert_eq!(
        ascend.notes,
        [format!(
            "nodes are in the dictionary order of their addresses, as Ascend's rank table wants them: cost {}, in the best order found {}",
            ascend.cost.cost, other.cost.cost
        )]
    );
    let uneven = |kind| planned(kind, "ranks: 31, placement: {uneven: true}");
    let (other, ascend) = (uneven(AcceleratorKind::Nvidia), uneven(AcceleratorKind::Ascend));
    assert_eq!((names(&ascend), other.cost.cost < ascend.cost.cost), (names_in_order.clone(), true));
    let costs = format!("cost {}, in the best order found {}", ascend.cost.cost, other.cost.cost);
    assert!(ascend.notes[0].ends_with(&costs), "{:?}, not {costs}", ascend.notes);
    let groups = "nodes: 4, ranksPerNode: 8, resources: {devices: {kind: npu, count: 1}}, parallelism: {tp: 16, dp: 2}, \
                  placement: {require: {tp: leaf}}";
    let ascend = with_devices(&servers, AcceleratorKind::Ascend);
    let found = plan(&ascend, &request(&job(groups), &BTreeMap::new(), &[]));
    assert!(matches!(found, Explained::Refused(_)), "no order has 10 beside 12 but after 11: {found:?}");
}

#[test]
fn a_gang_that_would_cost_less_if_it_were_placed_anew_is_told_how_much() {
    let stock = tree(2, 4, 4);
    let spec = job("nodes: 4, ranksPerNode: 8");
    let refused = BTreeMap::new();
    let request = request(&spec, &refused, &[]);
    let on = |rows: [NodeRow; 4]| rows.map(|row| (row, 8));
    let scattered = anew(&stock, &request, &on([0, 1, 2, 16])).unwrap();
    assert_eq!(scattered.fresh, 0, "a whole leaf is free");
    assert_eq!(
        scattered.to_string(),
        format!("a fresh placement would cost 0 instead of {} (100 % less)", scattered.kept)
    );
    assert_eq!(anew(&stock, &request, &on([0, 1, 2, 3])), None, "it could not be better");
}

#[test]
fn gpus_are_no_npus_in_unlike_nodes_nor_in_one() {
    let of = |stock: &Stock, keys: &str| plan(stock, &request(&job(keys), &BTreeMap::new(), &[]));
    // Of each kind more nodes than are tried one after another.
    let table: String = (0..70).map(|at| format!("a{at:02},l1\nb{at:02},l2\n")).collect();
    let (gpus, npus) = (machine(&[AcceleratorKind::Nvidia]), machine(&[AcceleratorKind::Ascend]));
    for (first, second) in [(&gpus, &npus), (&npus, &gpus)] {
        let is_first = |name: &str| Some(if name.starts_with('a') { first.clone() } else { second.clone() });
        let stock = of_table(&format!("node,leaf\n{table}"), is_first);
        for (kind, machine) in [("gpu", &gpus), ("npu", &npus)] {
            let keys =
                format!("nodes: 2, ranksPerNode: 8, resources: {{devices: {{kind: {kind}, count: 1}}}}");
            let Explained::Placed(placed) = of(&stock, &keys) else {
                panic!("{kind}: {:?}", of(&stock, &keys))
            };
            let wanted = if Arc::ptr_eq(first, machine) { 'a' } else { 'b' };
            assert!(placed.pods.iter().all(|pod| pod.name.starts_with(wanted)), "{kind}: {:?}", placed.pods);
        }
    }
    let both = of_table("node,leaf\nn1,l1\n", |_| {
        Some(machine(&[AcceleratorKind::Nvidia, AcceleratorKind::Ascend]))
    });
    for kind in ["gpu", "npu"] {
        let keys = |ranks: u32| {
            format!(
                "ranks: {ranks}, resources: {{devices: {{kind: {kind}, count: 1}}}}, placement: {{require: {{all: node}}}}"
            )
        };
        let Explained::Placed(placed) = of(&both, &keys(8)) else { panic!("{:?}", of(&both, &keys(8))) };
        let devices: Vec<&String> = placed.pods[0].ranks.iter().flat_map(|rank| &rank.devices).collect();
        assert!(devices.iter().all(|name| name.to_lowercase().contains(kind)), "{devices:?}");
        let Explained::Refused(refused) = of(&both, &keys(9)) else { panic!("{:?}", of(&both, &keys(9))) };
        let room = "it has to be on one node; none has room for more than 8 of its 9 ranks";
        assert!(refused.why.starts_with(room), "{}", refused.why);
    }
}

/// Two nodes of eight GPUs and so many cores, of which nobody told if there are none.
fn eight_gpus(cores: u32) -> Stock {
    let mut machine = Machine::of_gpus(8);
    for core in 0..cores {
        let mut cpus = CpuSet::new();
        cpus.insert(core).unwrap();
        machine.numa.entry(0).or_default().cpus.insert(core).unwrap();
        machine.cores.push(cpus);
    }
    let machine = Arc::new(machine);
    of_table("node,leaf\na,l\nb,l\n", |_| Some(machine.clone()))
}

fn refused(stock: &Stock, keys: &str) -> Refused {
    match plan(stock, &request(&job(keys), &BTreeMap::new(), &[])) {
        Explained::Refused(refused) => refused,
        other => panic!("{keys}: {other:?}"),
    }
}

#[test]
fn nodes_that_take_fewer_ranks_than_they_have_devices_for_say_what_they_are_short_of() {
    let keys = "ranks: 16, resources: {devices: {kind: gpu, count: 1}, cpus: 4}";
    let short = refused(&eight_gpus(16), keys);
    assert_eq!(short.why, "needs room for 16 ranks, there is room for 8");
    assert_eq!(short.reasons[0].why, "needs 32 cores, 16 of 16 free; 4 ranks fit now");
    assert_eq!(short.changes, ["8 ranks fit now"]);
    let untold = refused(&eight_gpus(0), keys);
    assert_eq!(
        untold.reasons[0].why,
        "needs 4 cores, and its cores are not known; a file of its machine (lstopo) tells it"
    );
    let untold = refused(&eight_gpus(16), "ranks: 1, resources: {memory: 9Gi}");
    assert!(untold.reasons[0].why.starts_with("needs 9 GiB of memory, and its memory is not known"));
}

#[test]
fn nodes_without_an_nvlink_domain_are_counted_by_their_leaves() {
    let some = "node,leaf,nvlink\na,l0,d\nb,l0,d\nc,l1,\nd,l1,\ne,l2,\nf,l2,\n";
    let on = |table: &str, keys: &str| match plan(&stock(table), &request(&job(keys), &BTreeMap::new(), &[]))
    {
        Explained::Placed(placed) => *placed,
        other => panic!("{other:?}"),
    };
    let found = on(some, "nodes: 6, ranksPerNode: 8");
    assert_eq!((found.domains, found.of.name()), (3, "leaf"));
    let all = "node,leaf,nvlink\na,l0,d\nb,l0,d\nc,l1,e\nd,l1,e\n";
    let found = on(all, "nodes: 4, ranksPerNode: 8");
    assert_eq!((found.domains, found.of.name()), (2, "nvlink"));
}
