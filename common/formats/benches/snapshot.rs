//! How long the topology of a cluster of ten thousand nodes takes: facts, findings, text and back. Run it
//! with `cargo bench -p phalanx-formats`; it prints and asserts nothing.

#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a bench reads the clock and prints")]

use std::collections::BTreeMap;
use std::time::Instant;

use phalanx_common::time::Timestamp;
use phalanx_common::topology::{Claim, End, Evidence, Guid, Snapshot, Source, SwitchId, derive, findings};

const NODES: u64 = 10_000;
const RAILS: u64 = 8;
const NODES_PER_UNIT: u64 = 32;
const UNITS_PER_POD: u64 = 16;
const SPINES_PER_POD: u64 = 32;

fn main() {
    let evidence = evidence();
    println!("{} pieces of evidence", evidence.len());
    let network = timed("facts", || derive(&[], &evidence, Timestamp(1)).expect("within the limits"));
    println!(
        "{} nodes, {} switches, {} groups",
        network.nodes.len(),
        network.switches.len(),
        network.groups.len()
    );
    timed("findings", || findings(&network));
    let snapshot: Snapshot<()> =
        timed("hash", || Snapshot::new(network, &BTreeMap::new()).expect("it has no boards"));
    let text = timed("write", || snapshot.to_json());
    println!("{} bytes", text.len());
    let again = timed("read", || Snapshot::<()>::from_json(&text).expect("as it was written"));
    timed("compare", || again.diff(&snapshot));

    for (what, evidence) in [("hubs", hubs()), ("planes", planes())] {
        println!("{what}: {} pieces of evidence", evidence.len());
        let network = timed("facts", || derive(&[], &evidence, Timestamp(1)).expect("within the limits"));
        println!("{} planes, {} groups", network.planes.len(), network.groups.len());
        timed("findings", || findings(&network));
        let snapshot: Snapshot<()> =
            timed("hash", || Snapshot::new(network, &BTreeMap::new()).expect("it has no boards"));
        timed("compare", || snapshot.diff(&derived(&evidence[1..])));
    }
}

fn derived(evidence: &[Evidence]) -> Snapshot<()> {
    let network = derive(&[], evidence, Timestamp(1)).expect("within the limits");
    Snapshot::new(network, &BTreeMap::new()).expect("it has no boards")
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let done = work();
    println!("{what}: {:?}", begin.elapsed());
    done
}

/// Units of 32 nodes with eight rails, pods of 16 units under 32 spines, four switches above all.
fn evidence() -> Vec<Evidence> {
    let switch =
        |kind: u64, number: u64, name: String| SwitchId::with_guid(Guid(kind << 40 | number), Some(&name));
    let mut claims = Vec::new();
    for node in 0..NODES {
        for rail in 0..RAILS {
            let unit = node / NODES_PER_UNIT;
            claims.push(Claim::Attached {
                end: End {
                    guid: Some(Guid(1 << 40 | node << 8 | rail)),
                    index: u16::try_from(rail).ok(),
                    ..End::of_port(&format!("gpu-{node:05}"), &format!("mlx5_{rail}"))
                },
                switch: switch(2, unit << 8 | rail, format!("leaf-{unit:03}-{rail}")),
                switch_port: Some((node % NODES_PER_UNIT + 1).to_string()),
                speed_mbps: Some(400_000),
            });
        }
    }
    let mut cable = |a, b| claims.push(Claim::Linked { a, b, links: 1, rate_mbps: Some(400_000) });
    let units = NODES.div_ceil(NODES_PER_UNIT);
    let spine = |pod: u64, at: u64| switch(3, pod << 8 | at, format!("spine-{pod:02}-{at:02}"));
    for unit in 0..units {
        for rail in 0..RAILS {
            let leaf = || switch(2, unit << 8 | rail, format!("leaf-{unit:03}-{rail}"));
            (0..SPINES_PER_POD).for_each(|at| cable(leaf(), spine(unit / UNITS_PER_POD, at)));
        }
    }
    for pod in 0..units.div_ceil(UNITS_PER_POD) {
        for at in 0..SPINES_PER_POD {
            (0..4).for_each(|top| cable(spine(pod, at), switch(4, top, format!("core-{top}"))));
        }
    }
    let say = |claim| Evidence::new(claim, Source::InfiniBand, "bench", Timestamp(0));
    claims.into_iter().map(say).collect()
}

/// What is hard to cluster: ten thousand leaves of four nodes each, and six nodes that somebody wrote under every
/// leaf.
fn hubs() -> Vec<Evidence> {
    let under = |node: String, leaf: u64| Claim::Attached {
        end: End::of_node(&node),
        switch: SwitchId::named(&format!("leaf-{leaf}")),
        switch_port: None,
        speed_mbps: None,
    };
    let of_leaf = |leaf: u64| {
        let own = (0..4).map(move |at| under(format!("n-{leaf}-{at}"), leaf));
        own.chain((0..6).map(move |hub| under(format!("hub-{hub}"), leaf)))
    };
    let say = |claim| Evidence::new(claim, Source::Csv, "bench", Timestamp(0));
    (0..10_000).flat_map(of_leaf).map(say).collect()
}

/// Ten thousand subnets of one switch and two nodes each: as many planes.
fn planes() -> Vec<Evidence> {
    let on = |node: u64| Claim::Attached {
        end: End {
            guid: Some(Guid(1 << 40 | node)),
            index: Some(0),
            ..End::of_port(&format!("n-{node}"), "mlx5_0")
        },
        switch: SwitchId::with_guid(Guid((2 << 40) | (node / 2)), None),
        switch_port: None,
        speed_mbps: Some(400_000),
    };
    let say = |claim| Evidence::new(claim, Source::InfiniBand, "bench", Timestamp(0));
    (0..20_000).map(on).map(say).collect()
}
