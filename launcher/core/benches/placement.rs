//! How fast domains and nodes are chosen on large clusters, and what the structures take.
//!
//! ```text
//! cargo bench -p phalanx-launcher-core --bench placement
//! ```
//!
//! Times are medians; the bounds that end it are ten times what one core of 2020 needs.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints, and ends where something is wrong"
)]
#![allow(clippy::disallowed_methods, reason = "a bench measures time, and looks up its own memory")]

mod timing;

use std::collections::BTreeSet;
use std::time::Duration;

use phalanx_common::id::NodeId;
use phalanx_common::topology::Tier;
use phalanx_launcher_core::placement::across::{Chosen, Need, choose};
use phalanx_launcher_core::placement::fabric::{Fabric, Member, NodeRow, Place};
use phalanx_launcher_core::placement::free::{Class, Free, Room};
use phalanx_launcher_core::placement::partly::partly_used;
use phalanx_launcher_core::placement::supply::Supply;

use self::timing::{median, say, timed};

const GPUS: u32 = 8;

fn main() {
    let before = resident();
    let (fabric, took) = timed(|| fabric(12_500, &[16, 512, 4_096]));
    let mut free = all_free(&fabric);
    let megabytes = resident().saturating_sub(before) as f64 / 1e6;
    let (nodes, domains) = (fabric.nodes().len(), fabric.domains().len());
    println!("{nodes} nodes with {GPUS} GPUs, {domains} domains: {megabytes:.1} MB, built in {took:.1?}");
    assert!(megabytes < 200.0);

    let large = median(5, || drop(across(&fabric, &free, 11_520).unwrap()));
    say("which domains give 11,520 nodes", large, Duration::from_millis(30));

    // Two nodes of three in use, one of ten of them in part.
    for node in (0..).take(nodes).filter(|node| node % 3 > 0) {
        let left = if node % 10 == 0 { (1 << (node % 7 + 1)) - 1 } else { 0 };
        free.set(&fabric, node, Some(Room { devices: left, slots: 0 }));
    }
    let whole = median(1_001, || place(&fabric, &free, GPUS).unwrap());
    say("the node of an 8-GPU job", whole, Duration::from_micros(500));
    let part = median(1_001, || place(&fabric, &free, 2).unwrap());
    say("the node of a 2-GPU job", part, Duration::from_micros(500));
    let none = median(1_001, || assert!(across(&fabric, &free, 11_520).is_err()));
    say("that 11,520 nodes are not free", none, Duration::from_micros(500));

    let mut free = all_free(&fabric);
    let (given, took) = timed(|| {
        let mut given = 0;
        for _ in 0..10_000 {
            let node = place(&fabric, &free, GPUS).unwrap();
            free.set(&fabric, node, Some(Room::default()));
            given += 1;
        }
        given
    });
    say(&format!("{given} one-node gangs, one after another"), took, Duration::from_secs(5));

    let fabric = self::fabric(6_000, &[1, 2, 10]);
    let mut free = all_free(&fabric);
    for node in (0..6_000).filter(|node| node % 5 == 0) {
        free.set(&fabric, node, Some(Room::default()));
    }
    println!("{} nodes, {} domains", fabric.nodes().len(), fabric.domains().len());
    for nodes in [1, 8, 256, 4_096] {
        let took = median(101, || drop(across(&fabric, &free, nodes).unwrap()));
        say(&format!("which of them give {nodes} nodes"), took, Duration::from_millis(100));
    }
}

/// Nodes by number, so many to each domain of a level.
fn fabric(nodes: u32, sizes: &[u32]) -> Fabric {
    let tiers = [Tier::Leaf, Tier::Block, Tier::Core];
    let members = (0..nodes).map(|node| Member {
        id: NodeId::new(format!("node-{node:05}")),
        name: format!("node-{node:05}"),
        places: sizes
            .iter()
            .map(|size| Some(Place { name: format!("s{}", node / size), cables: None }))
            .collect(),
        blemishes: Vec::new(),
    });
    Fabric::build(&tiers, members).fabric
}

fn all_free(fabric: &Fabric) -> Free {
    let mut free = Free::new(fabric);
    for node in (0..).take(fabric.nodes().len()) {
        free.set(fabric, node, Some(Room { devices: (1 << GPUS) - 1, slots: 0 }));
    }
    free
}

fn across(fabric: &Fabric, free: &Free, nodes: u32) -> Result<Chosen, u32> {
    let supply = Supply::indexed(fabric, free, Class::Devices, GPUS, BTreeSet::new());
    choose(&supply, &Need { nodes, within: fabric.depth(), unit: None, apart: None, beside: 0 })
}

fn place(fabric: &Fabric, free: &Free, gpus: u32) -> Option<NodeRow> {
    if let Some(node) = partly_used(fabric, free, Class::Devices, (gpus, GPUS), |_| true) {
        return Some(node);
    }
    let supply = Supply::indexed(fabric, free, Class::Devices, gpus, BTreeSet::new());
    let need = Need { nodes: 1, within: fabric.depth(), unit: None, apart: None, beside: 0 };
    let chosen = choose(&supply, &need).ok()?;
    supply.of(chosen.shares.first()?.domain).next()
}

/// Bytes of this process that are in memory.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1_000
}
