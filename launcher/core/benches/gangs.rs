//! How fast whole gangs are placed and ordered on a large cluster, from the request to the devices of each rank.
//!
//! ```text
//! cargo bench -p phalanx-launcher-core --bench gangs
//! ```
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints, and ends where something is wrong"
)]
#![allow(clippy::disallowed_methods, reason = "a bench measures time")]

#[path = "../tests/recorded/mod.rs"]
mod recorded;
mod timing;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use phalanx_common::spec::{JobSpec, Shape};
use phalanx_common::topology::Bdf;
use phalanx_common::topology::machine::{Accelerator, AcceleratorKind, Machine};
use phalanx_launcher_core::placement::gang::{Gang, place_gang};
use phalanx_launcher_core::placement::order::Effort;
use phalanx_launcher_core::stock::Stock;

use self::recorded::{job, of_table, request};
use self::timing::{median, say, timed};

const NODES: usize = 12_500;

fn main() {
    let (stock, took) = timed(stock);
    println!("{NODES} nodes with 8 GPUs, built in {took:.1?}");
    let one = job("nodes: 1, ranksPerNode: 8, resources: {devices: {count: 1}}");
    say(
        "an 8-GPU job, with its devices, cores and ports",
        median(1_001, || place(&stock, &one)),
        Duration::from_millis(5),
    );
    let bound = grid(", resources: {devices: {count: 1}}");
    assert_eq!(place(&stock, &bound).pods.len(), 11_520);
    say(
        "720 x 16 nodes in order, with 92,160 devices",
        median(5, || place(&stock, &bound)),
        Duration::from_secs(2),
    );
    let plain = grid("");
    say("the same without devices", median(5, || place(&stock, &plain)), Duration::from_secs(2));
}

fn place(stock: &Stock, spec: &JobSpec) -> Gang {
    let refused = BTreeMap::new();
    let request = request(spec, &refused, &[]);
    place_gang(stock, &request, &BTreeMap::new(), &Effort::default()).unwrap()
}

/// Sixteen nodes on a leaf, thirty-two leaves in a block.
fn stock() -> Stock {
    let mut table = "node,leaf,spine\n".to_owned();
    for node in 0..NODES {
        let _ = writeln!(table, "n{node:05},l{:04},b{:02}", node / 16, node / 512);
    }
    let mut machine = Machine::default();
    machine.numa.entry(0).or_default().cpus = "0-63".parse().unwrap();
    machine.cores = (0..64).map(|cpu| cpu.to_string().parse().unwrap()).collect();
    for bus in 1..=8 {
        let bdf: Bdf = format!("{bus:02x}:00.0").parse().unwrap();
        machine
            .accelerators
            .push(Accelerator { bdf: Some(bdf), ..Accelerator::new(AcceleratorKind::Nvidia) });
    }
    let machine = Arc::new(machine);
    of_table(&table, |_| Some(machine.clone()))
}

/// 720 x 16 nodes, more than a job may have so far: placement takes them all the same.
fn grid(keys: &str) -> JobSpec {
    let mut spec = job(&format!("nodes: 16, ranksPerNode: 8, parallelism: {{tp: 8, dp: 1, pp: 16}}{keys}"));
    spec.shape = Shape::Nodes { nodes: 720 * 16, ranks_per_node: 8 };
    let dp = spec.parallelism.groups.iter_mut().find(|group| group.kind == "dp");
    dp.unwrap().size = 720;
    spec
}
