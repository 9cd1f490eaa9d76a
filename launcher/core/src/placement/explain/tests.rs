use phalanx_common::id::NodeId;
use phalanx_common::time::Timestamp;

use super::super::fabric::{Fabric, Member};
use super::*;
use crate::placement::request::NONE_SHUNNED;
use crate::testing::job;

/// So many nodes that take eight ranks each.
fn stock(nodes: u32) -> Stock {
    let member = |at: u32| Member {
        id: NodeId::new(format!("n{at:04}")),
        name: format!("n{at:04}"),
        places: Vec::new(),
        blemishes: Vec::new(),
    };
    Stock::bare(Fabric::build(&[], (0..nodes).map(member)).fabric, 8)
}

/// What `fewer` finds where `fits` says so of a number of ranks, and how often it asks.
fn most(nodes: u32, keys: &str, fits: impl Fn(u32) -> bool) -> (Option<Change>, u32) {
    let spec = job(keys);
    let refused = BTreeMap::new();
    let request = GangRequest {
        spec: &spec,
        user: None,
        probes: false,
        last: &[],
        spares: &[],
        shun: NONE_SHUNNED,
        refused: &refused,
        now: Timestamp(1),
        port_salt: 0,
    };
    let asked = Cell::new(0);
    let trial = |change: &Alter<'_>| {
        asked.set(asked.get() + 1);
        let mut altered = spec.clone();
        change(&mut altered);
        assert_eq!(altered.elastic, None);
        fits(altered.world_size())
    };
    (fewer(&stock(nodes), &request, &trial), asked.get())
}

#[test]
fn the_most_ranks_that_fit_are_found_with_a_few_dozen_trials() {
    for fit in [0, 1, 100, 4_000, 7_000, 8_000] {
        let (found, asked) = most(1000, "ranks: 100000", |ranks| ranks <= fit);
        assert!(asked <= 64, "{fit}: {asked}");
        let Some(Change::Ranks(ranks)) = found else {
            assert_eq!((found, fit), (None, 0));
            continue;
        };
        assert!(ranks <= fit && ranks >= fit / 8 * 8, "{ranks} of {fit}");
    }
    let (found, _) = most(1000, "nodes: 5000, ranksPerNode: 8", |ranks| ranks <= 4_000);
    assert_eq!(found, Some(Change::Nodes(500)));
}

#[test]
fn full_nodes_are_found_where_nothing_between_them_fits() {
    for fit in [8, 40, 800, 4_712, 6_992] {
        let (found, asked) = most(1000, "ranks: 100000", |ranks| ranks <= fit && ranks % 8 == 0);
        assert_eq!(found, Some(Change::Ranks(fit)), "after {asked}");
    }
    // And what is a little more than full nodes, as where one has something on it.
    let (found, _) = most(12, "ranks: 100", |ranks| ranks <= 60);
    assert_eq!(found, Some(Change::Ranks(60)));
}

#[test]
fn fewer_ranks_are_fewer_than_an_elastic_job_can_do_with() {
    // Of 23 and 22 there are no equal pods on four nodes.
    let (found, asked) = most(4, "ranks: 64, elastic: {min: 24, max: 64, step: 8}", |_| true);
    assert!(asked <= 2, "{asked}");
    assert_eq!(found, Some(Change::Min(16)), "by its steps");
    let (found, _) = most(4, "ranks: 64, elastic: {min: 25, max: 64, step: 3}", |_| true);
    assert_eq!(found, Some(Change::Ranks(24)), "no step leads there");
}
