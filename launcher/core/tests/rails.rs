//! Gangs on a real rail-optimised fabric: 122 hosts known by name in eight units of four rails, under one layer of
//! spines. A unit is a domain of tier leaf: what stays in it goes over the leaves of the ranks' own rails, what leaves it
//! over spines.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "helpers of tests end where something is wrong"
)]

mod capture;
mod recorded;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use capture::capture;
use phalanx_common::explanation::{Explained, Placed, Traffic};
use phalanx_common::time::Timestamp;
use phalanx_common::topology::Tier;
use phalanx_formats::ibnetdiscover;
use phalanx_launcher_core::placement::fabric::ROOT;
use phalanx_launcher_core::plan;
use phalanx_launcher_core::stock::Stock;

use self::recorded::{job, recorded, request};

fn stock() -> Option<Stock> {
    let dump = capture("topology/ibnetdiscover/topograph-dgx-ndr-railopt-40sw-582ca.out")?;
    let evidence = ibnetdiscover::read(&dump).unwrap().evidence("the dump", Timestamp(1));
    Some(recorded(&[], &evidence, |_| None))
}

fn placed(stock: &Stock, keys: &str) -> Placed {
    match plan(stock, &request(&job(keys), &BTreeMap::new(), &[])) {
        Explained::Placed(placed) => *placed,
        other => panic!("{keys}: {other:?}"),
    }
}

/// Volumes over the leaves of a rail alone, and over spines: of this order, and of the order of names.
fn volumes(placed: &Placed) -> [(u64, u64); 2] {
    let sum = |of: &dyn Fn(Tier) -> bool| {
        let own = placed.traffic.iter().filter(|traffic| of(traffic.tier));
        own.fold((0, 0), |(own, naive), traffic: &Traffic| (own + traffic.volume, naive + traffic.naive))
    };
    [sum(&|tier| tier == Tier::Leaf), sum(&|tier| tier > Tier::Leaf)]
}

#[test]
fn replicas_stay_on_the_rails_of_their_unit_and_names_would_cross_spines() {
    let Some(stock) = stock() else { return };
    // Four stages of eight nodes: what stages send is little beside what replicas do.
    let keys = "nodes: 32, ranksPerNode: 8, parallelism: {tp: 8, dp: 8, pp: 4}";
    let found = placed(&stock, keys);
    let [(rails, _), (spines, naive)] = volumes(&found);
    println!("32 nodes: {rails} over rails, {spines} over spines, {naive} in the order of names");
    assert!(rails > spines, "{:?}", found.traffic);
    assert!(spines < naive, "{:?}", found.traffic);
    assert!(found.cost.cost < found.cost.naive, "{:?}", found.cost);
}

#[test]
fn hosts_that_are_not_on_every_rail_are_the_last_of_their_unit_and_their_unit_the_last_of_equals() {
    let Some(stock) = stock() else { return };
    let unit_of = |placed: &Placed| placed.pods[0].domains[0].name.clone();
    let names =
        |placed: &Placed| placed.pods.iter().map(|pod| pod.name.clone()).collect::<BTreeSet<String>>();
    // What is left of the cluster where these hosts have no port on the first rail.
    let without = |hosts: &BTreeSet<String>| {
        let mut topology = stock.topology().clone();
        let switches = topology.network.switches.clone();
        let first = switches.iter().filter_map(|switch| switch.rail).min();
        for node in topology.network.nodes.iter_mut().filter(|node| hosts.contains(&node.name)) {
            let rail = |at: u32| switches[at as usize].rail;
            node.ports.retain(|port| port.at.as_ref().is_none_or(|at| rail(at.switch) != first));
        }
        Stock::recorded(Arc::new(topology))
    };
    let keys = "nodes: 16, ranksPerNode: 8";
    let usual = placed(&stock, keys);
    let lame = without(&names(&usual));
    let other = placed(&lame, keys);
    assert_ne!(unit_of(&other), unit_of(&usual), "another unit is as large and has all rails");

    let list: Vec<String> = names(&usual).into_iter().collect();
    let of_unit = |count: usize| {
        format!("nodes: {count}, ranksPerNode: 8, placement: {{nodes: [{}]}}", list.join(", "))
    };
    // Of parts of two units the clean one, however many others each has.
    let clean = other.pods.iter().filter(|pod| pod.blemishes.is_empty());
    let spare: Vec<String> = clean.map(|pod| pod.name.clone()).take(4).collect();
    let few = without(&list[..2].iter().cloned().collect());
    let parts = [&list[..4], &spare[..]].concat().join(", ");
    let chosen = placed(&few, &format!("nodes: 4, ranksPerNode: 8, placement: {{nodes: [{parts}]}}"));
    assert_eq!(names(&chosen), spare.into_iter().collect());

    let one = without(&BTreeSet::from([list[0].clone()]));
    assert!(!names(&placed(&one, &of_unit(15))).contains(&list[0]));
    let whole = placed(&one, &of_unit(16));
    let last = whole.pods.last().unwrap();
    assert_eq!(last.name, list[0]);
    assert!(last.blemishes[0].starts_with("it is not on rail"), "{:?}", last.blemishes);
}

#[test]
fn the_miscabled_host_is_the_last_of_its_unit_and_the_plan_says_why() {
    let Some(stock) = stock() else { return };
    let fabric = stock.fabric();
    let swapped: Vec<u32> = fabric
        .domain(ROOT)
        .nodes
        .clone()
        .filter(|row| fabric.node(*row).blemishes.iter().any(|it| format!("{it:?}").starts_with("WrongRail")))
        .collect();
    let [host] = swapped[..] else { panic!("{swapped:?}") };
    let unit = fabric.domain(fabric.domain_of(host, 0)).nodes.clone();
    let names = |rows: &mut dyn Iterator<Item = u32>| -> Vec<String> {
        rows.map(|row| fabric.node(row).name.clone()).collect()
    };
    // A host on half of the rails, which is there too, is as bad.
    let halves =
        |row: &u32| fabric.node(*row).blemishes.iter().any(|it| format!("{it:?}").starts_with("NoRail"));
    let all = names(&mut unit.clone().filter(|row| !halves(row)));
    let keys = |count: usize| {
        let list = all.join(", ");
        format!("nodes: {count}, ranksPerNode: 8, placement: {{nodes: [{list}]}}")
    };
    let host = &fabric.node(host).name;
    let but_one = placed(&stock, &keys(all.len() - 1));
    let used: BTreeSet<&str> = but_one.pods.iter().map(|pod| pod.name.as_str()).collect();
    assert!(!used.contains(host.as_str()), "{used:?}");
    let whole = placed(&stock, &keys(all.len()));
    let last = whole.pods.last().unwrap();
    assert_eq!(&last.name, host);
    assert!(last.blemishes.iter().any(|why| why.contains("is on the leaf of rail")), "{:?}", last.blemishes);
}

#[test]
fn hosts_with_ports_on_half_of_the_rails_do_not_come_first() {
    let Some(stock) = stock() else { return };
    let halves = ["B11-P1-CUFM-02", "ubuntu"];
    let large = placed(&stock, "nodes: 32, ranksPerNode: 8, parallelism: {tp: 8, pp: 4}");
    let first = &large.pods[0].name;
    assert!(!halves.contains(&first.as_str()), "{first} is numbered before nodes with all rails");
    let keys = format!("nodes: 1, ranksPerNode: 8, placement: {{nodes: [{}, b08-p1-dgx-08-c04]}}", halves[0]);
    assert_eq!(placed(&stock, &keys).pods[0].name, "b08-p1-dgx-08-c04");
    let alone = placed(&stock, &format!("nodes: 1, ranksPerNode: 8, placement: {{nodes: [{}]}}", halves[0]));
    assert!(alone.pods[0].blemishes[0].starts_with("it is not on rail"), "{:?}", alone.pods[0].blemishes);
}
