//! What is kept satisfies the same limits as what is placed anew: by a checker that knows nodes by their names alone.

use std::collections::BTreeSet;

use phalanx_common::id::NodeId;
use phalanx_launcher_core::placement::gang::Gang;
use phalanx_launcher_core::stock::Stock;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::cluster::{after, anew, gpus, job, stock};

/// A job, in the words of the checker.
#[derive(Clone, Debug)]
struct Asked {
    nodes: u32,
    tp: u32,
    all: Option<&'static str>,
    of_tp: Option<&'static str>,
    spread: Option<&'static str>,
    mixed: bool,
}

const SHARE: u32 = 4;

impl Asked {
    fn keys(&self) -> String {
        let require = [("all", self.all), ("tp", self.of_tp)];
        let require: Vec<String> =
            require.iter().filter_map(|(of, tier)| Some(format!("{of}: {}", (*tier)?))).collect();
        let mut placement =
            vec![format!("require: {{{}}}", require.join(", ")), format!("mixed: {}", self.mixed)];
        placement.extend(self.spread.map(|tier| format!("spread: {tier}")));
        format!(
            "nodes: {}, ranksPerNode: {SHARE}, resources: {{devices: {{count: 1}}}}, parallelism: {{tp: {}, dp: {}}}, placement: {{{}}}",
            self.nodes,
            self.tp,
            self.nodes * SHARE / self.tp,
            placement.join(", ")
        )
    }

    /// Of what is asked, what does not hold. Names are `block/leaf/kind islands/number`.
    fn broken(&self, stock: &Stock, gang: &Gang) -> Option<String> {
        let paths: Vec<Vec<String>> = gang
            .pods
            .iter()
            .map(|pod| stock.fabric().node(pod.node).name.split('_').map(str::to_owned).collect())
            .collect();
        let place = |slot: usize, tier: &str| match tier {
            "leaf" => paths[slot][..2].join("/"),
            "block" => paths[slot][0].clone(),
            "site" => String::new(),
            _ => paths[slot].join("/"),
        };
        let places = |slots: &mut dyn Iterator<Item = usize>, tier: &str| {
            slots.map(|slot| place(slot, tier)).collect::<BTreeSet<_>>().len()
        };
        let all = || 0..paths.len();
        if all().map(|slot| place(slot, "node")).collect::<BTreeSet<_>>().len() < paths.len() {
            return Some("a node is taken twice".to_owned());
        }
        if self.all.is_some_and(|tier| places(&mut all(), tier) > 1) {
            return Some("the job is too far apart".to_owned());
        }
        if self.spread.is_some_and(|tier| places(&mut all(), tier) < paths.len()) {
            return Some("nodes are not apart".to_owned());
        }
        if !self.mixed && all().map(|slot| &paths[slot][2][..1]).collect::<BTreeSet<_>>().len() > 1 {
            return Some("devices are unlike".to_owned());
        }
        let of_slot = |rank: u32| (rank / SHARE) as usize;
        let groups = (0..self.nodes * SHARE / self.tp).map(|group| group * self.tp..(group + 1) * self.tp);
        for group in groups {
            let slots = &mut group.clone().map(of_slot);
            let close = match self.of_tp {
                None => true,
                Some(tier @ ("leaf" | "block" | "node")) => places(slots, tier) == 1,
                Some(tier) => {
                    let islands: u8 = paths[of_slot(group.start)][2][1..].parse().unwrap();
                    let size = if tier == "numa" { 4 } else { 8 / islands };
                    let part = |rank: u32| {
                        let inside = gang.pods[of_slot(rank)].inside.as_ref().unwrap();
                        inside.ranks[(rank % SHARE) as usize].devices[0] / size
                    };
                    places(slots, "node") == 1 && group.clone().map(part).collect::<BTreeSet<_>>().len() == 1
                }
            };
            if !close {
                return Some(format!("the group of ranks {group:?} is too far apart"));
            }
        }
        None
    }
}

fn asked() -> impl Strategy<Value = Asked> {
    let tier = prop::sample::select(vec![None, Some("leaf"), Some("block"), Some("site")]);
    let of_tp = vec![None, Some("numa"), Some("island"), Some("node"), Some("leaf"), Some("block")];
    let spread = prop::sample::select(vec![None, None, Some("leaf"), Some("block")]);
    let tp = prop::sample::select(vec![1u32, 2, 4, 8]);
    (2u32..6, tp, tier, prop::sample::select(of_tp), spread, any::<bool>()).prop_filter_map(
        "a job that contradicts itself",
        |(nodes, tp, all, of_tp, spread, mixed)| {
            let asked = Asked { nodes, tp, all, of_tp, spread, mixed };
            let order = ["leaf", "block", "site"];
            let rank = |tier: &str| order.iter().position(|own| *own == tier);
            let apart = spread.and_then(rank);
            let held = |tier: Option<&str>| tier.and_then(rank);
            let contradicts = |tier| apart.is_some_and(|apart| held(tier).is_some_and(|tier| tier <= apart));
            let in_node = matches!(of_tp, Some("numa" | "island" | "node"));
            let whole = (nodes * SHARE).is_multiple_of(tp);
            let fits = !contradicts(all) && !(tp > SHARE && (in_node || contradicts(of_tp)));
            (whole && fits).then_some(asked)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_kept_satisfies_the_same_limits_as_what_is_placed_anew(
        asked in asked(),
        // For each node of three blocks of two leaves, its devices: kind and islands.
        nodes in prop::collection::vec(prop::collection::vec((prop::bool::weighted(0.8), prop::sample::select(vec![1u8, 2, 2, 8])), 1..5), 6),
        lost in prop::collection::vec(any::<Index>(), 0..3),
        spares in prop::collection::vec(any::<Index>(), 0..3),
    ) {
        let mut named = Vec::new();
        for (leaf, nodes) in nodes.iter().enumerate() {
            for (number, (is_new, islands)) in nodes.iter().enumerate() {
                let (block, kind) = (leaf / 2, if *is_new { 'H' } else { 'A' });
                let model = if *is_new { "H100" } else { "A100" };
                let path = format!("{block}/{leaf}/{block}_{leaf}_{kind}{islands}_{number}");
                named.push((path, Some(gpus(model, 8, *islands, true))));
            }
        }
        let paths: Vec<_> = named.iter().map(|(path, machine)| (path.as_str(), machine.clone())).collect();
        let stock = stock(&paths);
        let spec = job(&asked.keys());
        let Some(gang) = anew(&stock, &spec) else { return Ok(()) };
        prop_assert_eq!(asked.broken(&stock, &gang), None, "placed anew");
        let id = |row: u32| stock.fabric().node(row).id.clone();
        let last: Vec<(NodeId, u32)> = gang.pods.iter().map(|pod| (id(pod.node), pod.ranks)).collect();
        let lost: Vec<NodeId> = lost.iter().map(|at| at.get(&last).0.clone()).collect();
        let all: Vec<NodeId> = (0u32..).take(paths.len()).map(id).collect();
        let spares: Vec<NodeId> = spares.iter().map(|at| at.get(&all).clone()).collect();
        let Some(kept) = after(&stock, &spec, &last, &lost, &spares) else { return Ok(()) };
        prop_assert_eq!(asked.broken(&stock, &kept), None, "kept");
        for (pod, (id, _)) in kept.pods.iter().zip(&last).filter(|(_, (id, _))| !lost.contains(id)) {
            prop_assert_eq!(&stock.fabric().node(pod.node).id, id, "no other rank moves");
        }
    }
}
