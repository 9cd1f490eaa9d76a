//! A problem in the form that searches want: small signed numbers, distances at hand.

use super::{Level, SlotGraph, Tree};

/// Trees of at most this many leaves keep all distances in a table; it then fits a core's cache.
const TABLE_LEAVES: usize = 128;
/// No cost of an assignment reaches this, so that sums and differences of costs never overflow.
const COST_CAP: u128 = 1 << 61;

/// One end of an edge.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) to: u32,
    pub(super) weight: i64,
}

/// Slots of a class stay in one domain of a level.
#[derive(Debug)]
pub(super) struct Limit {
    pub(super) level: Level,
    pub(super) classes: Vec<u32>,
    /// Members of each slot's class.
    pub(super) sizes: Vec<u32>,
    /// The domain of that level above each leaf, or `u32::MAX`.
    pub(super) domains: Vec<u32>,
}

#[derive(Debug)]
pub(super) struct Model<'a> {
    pub(super) graph: &'a SlotGraph,
    pub(super) tree: &'a Tree,
    links: Vec<Link>,
    pub(super) uplinks: Vec<i64>,
    climbs: Vec<i64>,
    table: Vec<i64>,
    pub(super) leaves: u32,
    pub(super) limits: Vec<Limit>,
    /// Weights are stated in this unit, and costs in `unit`.
    pub(super) weight_unit: u64,
    pub(super) unit: u128,
    /// Nothing was rounded down.
    pub(super) exact: bool,
}

fn common_divisor(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers
        .fold(0, |mut a, mut b| {
            while b > 0 {
                (a, b) = (b, a % b);
            }
            a
        })
        .max(1)
}

impl<'a> Model<'a> {
    pub(super) fn new(graph: &'a SlotGraph, tree: &'a Tree) -> Self {
        let weight_unit = common_divisor(graph.edges.iter().map(|edge| edge.weight));
        let uplink_unit = common_divisor(tree.domains().iter().skip(1).map(|domain| domain.uplink));
        let total: u128 = graph.edges.iter().map(|edge| u128::from(edge.weight / weight_unit)).sum();
        let farthest = (0..tree.leaf_count())
            .map(|leaf| climb(tree, leaf, 0, |domain| tree.domains()[domain as usize].uplink / uplink_unit))
            .max();
        let farthest = 2 * u128::from(farthest.unwrap_or(0));
        // Numbers beyond any fabric's are rounded down: a lower bound stays one.
        let (mut coarse_weights, mut coarse_uplinks) = (0, 0);
        while (total >> coarse_weights).saturating_mul(farthest >> coarse_uplinks) >= COST_CAP {
            if total >> coarse_weights >= farthest >> coarse_uplinks {
                coarse_weights += 1;
            } else {
                coarse_uplinks += 1;
            }
        }
        let small =
            |number: u64, unit: u64, shift: u32| i64::try_from((number / unit) >> shift).unwrap_or(i64::MAX);
        let links = graph
            .edges
            .iter()
            .map(|edge| Link { to: edge.to, weight: small(edge.weight, weight_unit, coarse_weights) })
            .collect();
        let uplinks: Vec<i64> = tree
            .domains()
            .iter()
            .enumerate()
            .map(|(at, domain)| if at == 0 { 0 } else { small(domain.uplink, uplink_unit, coarse_uplinks) })
            .collect();
        let mut model = Model {
            graph,
            tree,
            links,
            climbs: Vec::new(),
            table: Vec::new(),
            leaves: tree.leaf_count(),
            limits: limits(graph, tree),
            weight_unit: weight_unit.saturating_mul(1 << coarse_weights.min(63)),
            unit: (u128::from(weight_unit) << coarse_weights) * (u128::from(uplink_unit) << coarse_uplinks),
            exact: coarse_weights == 0 && coarse_uplinks == 0,
            uplinks,
        };
        for leaf in 0..model.leaves {
            for depth in 0..tree.depth() {
                model.climbs.push(climb(tree, leaf, depth, |domain| model.uplinks[domain as usize]));
            }
        }
        if model.leaves as usize <= TABLE_LEAVES {
            let mut table = Vec::with_capacity((model.leaves * model.leaves) as usize);
            for a in 0..model.leaves {
                table.extend((0..model.leaves).map(|b| model.walk(a, b)));
            }
            model.table = table;
        }
        model
    }

    pub(super) fn slots(&self) -> u32 {
        self.graph.slots
    }

    pub(super) fn links(&self, slot: u32) -> &[Link] {
        let at = slot as usize;
        &self.links[self.graph.starts[at] as usize..self.graph.starts[at + 1] as usize]
    }

    #[inline]
    pub(super) fn distance(&self, a: u32, b: u32) -> i64 {
        if a == b {
            0
        } else if self.table.is_empty() {
            self.walk(a, b)
        } else {
            self.table[(a * self.leaves + b) as usize]
        }
    }

    fn walk(&self, a: u32, b: u32) -> i64 {
        if a == b {
            return 0;
        }
        let depth = self.tree.depth();
        let mut meet = depth - 1;
        while meet > 0 && self.tree.at(a, meet) != self.tree.at(b, meet) {
            meet -= 1;
        }
        self.climbs[a as usize * depth + meet] + self.climbs[b as usize * depth + meet]
    }

    /// Cost of an assignment, in units of this model.
    pub(super) fn cost(&self, leaf_of: &[u32]) -> i64 {
        let mut twice = 0;
        for slot in 0..self.slots() {
            let own = leaf_of[slot as usize];
            for link in self.links(slot) {
                twice += link.weight * self.distance(own, leaf_of[link.to as usize]);
            }
        }
        twice / 2
    }
}

/// Sum of `cost` over the domains on a leaf's way up to `depth`, that domain left out.
fn climb<T: std::iter::Sum>(tree: &Tree, leaf: u32, depth: usize, cost: impl Fn(u32) -> T) -> T {
    let top = tree.at(leaf, depth);
    let domains = tree.domains();
    let way = std::iter::successors(Some(tree.leaves()[leaf as usize]), |at| domains[*at as usize].parent);
    way.take_while(|at| *at != top).map(cost).sum()
}

fn limits(graph: &SlotGraph, tree: &Tree) -> Vec<Limit> {
    let of_level = |(level, classes): (Level, Vec<u32>)| {
        let mut counts = vec![0u32; classes.len()];
        classes.iter().for_each(|class| counts[*class as usize] += 1);
        Limit {
            level,
            sizes: classes.iter().map(|class| counts[*class as usize]).collect(),
            classes,
            domains: (0..tree.leaf_count()).map(|leaf| tree.above(leaf, level).unwrap_or(u32::MAX)).collect(),
        }
    };
    graph.together().into_iter().map(of_level).collect()
}
