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
    let all = names(&mut unit.clone());
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
