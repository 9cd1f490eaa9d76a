//! What no assignment can undercut.
//!
//! A domain that holds `c` of the slots cuts at least `cut(c)`, whichever they are. For a grid that follows from
//! its lines: `P_i`, the lines of kind `i` that `c` slots touch, multiply to at least `c^(d-1)` (Loomis and
//! Whitney, 1949), at most `(c - P_i) / (L_i - 1)` of them are full and cut nothing, and every other line cuts
//! what its pattern cannot avoid. A chain or tree shared by `k` domains of a depth has at least `k - 1` edges
//! between them, each cut on both sides: where all leaves are equally deep, its `2 (k - 1)` are two for every
//! domain that it touches less two for the whole, which is more than the one that each domain alone is sure of. Both
//! ways are tried. The bound is the least sum of `uplink * cut(c)` over all ways to share the
//! slots out among domains, found by dynamic programming over the tree; where that would take long, each
//! function of `c` is replaced by its lower convex hull, and hulls are added in linear time.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::layout::Pattern;
use super::model::Model;
use super::twins::classes;

/// Slots and leaves up to which counts are shared out exactly.
const EXACT_SLOTS: u32 = 256;
const EXACT_LEAVES: u32 = 512;

/// Least cost of any assignment, in units of the model.
pub(super) fn lower_bound(model: &Model<'_>) -> i64 {
    let slots = model.slots() as usize;
    let domains = model.tree.domains();
    let mut below: Vec<u64> = domains.iter().map(|domain| u64::from(domain.capacity)).collect();
    for at in (1..domains.len()).rev() {
        if let Some(parent) = domains[at].parent {
            below[parent as usize] += below[at];
        }
    }
    let depths = depths(model);
    let even =
        model.tree.leaves().windows(2).all(|pair| depths[pair[0] as usize] == depths[pair[1] as usize]);
    let most = below.iter().skip(1).max().map_or(0, |most| (*most).min(slots as u64)) as usize;
    let cuts = Cuts::new(model);
    let mut sharing = Sharing {
        model,
        slots,
        below,
        cuts: cuts.table(most),
        shared: vec![0; most + 1],
        least_uplinks: vec![0; model.tree.depth()],
        depths,
        exact: model.slots() <= EXACT_SLOTS && model.leaves <= EXACT_LEAVES,
        class: classes(model),
        known: BTreeMap::new(),
    };
    let alone = sharing.least(0).get(slots).copied().unwrap_or(0);
    let whole = cuts.whole_chains();
    if !even || whole == 0 {
        return alone;
    }
    sharing.shared = cuts.shared_table(most);
    sharing.least_uplinks = least_uplinks(&sharing);
    sharing.known.clear();
    let levels: i64 = sharing.least_uplinks.iter().sum();
    let together = sharing.least(0).get(slots).copied().unwrap_or(0);
    alone.max(together.saturating_sub(levels.saturating_mul(whole)))
}

fn depths(model: &Model<'_>) -> Vec<usize> {
    let mut depths = vec![0; model.tree.domains().len()];
    for (at, domain) in model.tree.domains().iter().enumerate() {
        depths[at] = domain.parent.map_or(0, |parent| depths[parent as usize] + 1);
    }
    depths
}

/// For each depth the cheapest uplink of a domain that can hold slots.
fn least_uplinks(sharing: &Sharing<'_>) -> Vec<i64> {
    let of_depth = |depth: usize| {
        let domains =
            (1..sharing.depths.len()).filter(|at| sharing.depths[*at] == depth && sharing.below[*at] > 0);
        domains.map(|at| sharing.model.uplinks[at]).min().unwrap_or(0)
    };
    (0..sharing.model.tree.depth()).map(of_depth).collect()
}

struct Sharing<'m> {
    model: &'m Model<'m>,
    slots: usize,
    below: Vec<u64>,
    /// Least cut of each number of slots in one domain.
    cuts: Vec<i64>,
    /// The same with chains counted twice for every domain they touch.
    shared: Vec<i64>,
    /// What of the uplinks of each depth is charged by `shared`.
    least_uplinks: Vec<i64>,
    depths: Vec<usize>,
    exact: bool,
    class: Vec<u32>,
    /// Equal domains have equal answers.
    known: BTreeMap<u32, Rc<Vec<i64>>>,
}

impl Sharing<'_> {
    /// Least cost of `domain` and all below for each number of slots that it may hold.
    fn least(&mut self, domain: u32) -> Rc<Vec<i64>> {
        let class = self.class[domain as usize];
        if let Some(known) = self.known.get(&class) {
            return Rc::clone(known);
        }
        let most = self.below[domain as usize].min(self.slots as u64) as usize;
        let children: Vec<Rc<Vec<i64>>> =
            self.model.tree.children(domain).iter().map(|child| self.least(*child)).collect();
        let mut least = match children.as_slice() {
            [] => vec![0; most + 1],
            _ if self.exact => add_exact(&children, most),
            _ => add_hulls(&children, most),
        };
        let uplink = self.model.uplinks[domain as usize];
        if domain != 0 {
            let common = self.least_uplinks[self.depths[domain as usize]].min(uplink);
            for (cost, (cut, shared)) in least.iter_mut().zip(self.cuts.iter().zip(&self.shared)) {
                let own = (uplink - common).saturating_mul(*cut);
                *cost = cost.saturating_add(own).saturating_add(common.saturating_mul(*shared));
            }
        }
        let least = Rc::new(least);
        self.known.insert(class, Rc::clone(&least));
        least
    }
}

fn add_exact(children: &[Rc<Vec<i64>>], most: usize) -> Vec<i64> {
    let mut sum = vec![0i64];
    for child in children {
        let length = (sum.len() + child.len() - 1).min(most + 1);
        let mut next = vec![i64::MAX; length];
        for (a, left) in sum.iter().enumerate() {
            for (b, right) in child.iter().enumerate().take(length.saturating_sub(a)) {
                next[a + b] = next[a + b].min(left.saturating_add(*right));
            }
        }
        sum = next;
    }
    sum
}

fn add_hulls(children: &[Rc<Vec<i64>>], most: usize) -> Vec<i64> {
    let mut steps: Vec<(i64, i64)> = Vec::new();
    for child in children {
        let hull = hull(child);
        steps.extend(hull.windows(2).map(|pair| (pair[1].0 - pair[0].0, pair[1].1 - pair[0].1)));
    }
    // Cheapest rate first. A hull's own steps rise, so each child gives them in its order.
    steps.sort_by(|a, b| (i128::from(a.1) * i128::from(b.0)).cmp(&(i128::from(b.1) * i128::from(a.0))));
    let mut sum = Vec::with_capacity(most + 1);
    let mut base = children.iter().filter_map(|child| child.first()).sum::<i64>();
    sum.push(base);
    for (slots, cost) in steps {
        for part in 1..=slots {
            if sum.len() > most {
                return sum;
            }
            let share = (i128::from(cost) * i128::from(part)).div_euclid(i128::from(slots));
            sum.push(base.saturating_add(i64::try_from(share).unwrap_or(i64::MAX)));
        }
        base = base.saturating_add(cost);
    }
    sum
}

/// Corners of the lower convex hull of `(index, value)`.
fn hull(values: &[i64]) -> Vec<(i64, i64)> {
    let mut corners: Vec<(i64, i64)> = Vec::new();
    for point in (0i64..).zip(values.iter().copied()) {
        while let [.., a, b] = corners.as_slice() {
            let straight = i128::from(b.1 - a.1) * i128::from(point.0 - b.0);
            if straight < i128::from(point.1 - b.1) * i128::from(b.0 - a.0) {
                break;
            }
            corners.pop();
        }
        corners.push(point);
    }
    corners
}

/// Least volumes that leave a set of so many slots.
struct Cuts {
    slots: u64,
    lines: Vec<Lines>,
    /// What any cut takes at least where there is no grid.
    lightest: i64,
}

/// Lines of a dimension.
struct Lines {
    size: u64,
    /// How many there are.
    count: u64,
    weight: i64,
    pattern: Pattern,
    /// Chains are counted twice per line, full or not.
    shared: bool,
}

/// Sets up to this size are examined for all numbers of lines, by number of dimensions; beyond, lines are taken
/// as divisible.
fn examined(dims: usize) -> u64 {
    match dims {
        0..=2 => 768,
        3 => 48,
        _ => 24,
    }
}

impl Cuts {
    fn new(model: &Model<'_>) -> Self {
        let graph = model.graph;
        let slots = u64::from(model.slots());
        let of_dim = |dim: &super::slots::Dim| Lines {
            size: u64::from(dim.size),
            count: slots / u64::from(dim.size),
            weight: i64::try_from(dim.weight / model.weight_unit).unwrap_or(i64::MAX / 4),
            pattern: dim.pattern,
            shared: false,
        };
        if graph.whole {
            return Cuts { slots, lines: graph.dims().iter().map(of_dim).collect(), lightest: 0 };
        }
        let links = || (0..model.slots()).flat_map(|slot| model.links(slot));
        let lightest = if connected(model) { links().map(|link| link.weight).min().unwrap_or(0) } else { 0 };
        Cuts { slots, lines: Vec::new(), lightest }
    }

    /// `cut(c)` for `c` up to `most`.
    fn table(&self, most: usize) -> Vec<i64> {
        (0..=most as u64).map(|c| self.least(c).max(self.least(self.slots - c))).collect()
    }

    /// What `shared_table` counts too much for each depth: two per line of a chain.
    fn whole_chains(&self) -> i64 {
        let lines = self.lines.iter().filter(|lines| lines.chained());
        lines.map(|lines| lines.weight.saturating_mul(2 * lines.count as i64)).sum()
    }

    /// The least of the same sum with chains counted twice for each line touched.
    fn shared_table(&self, most: usize) -> Vec<i64> {
        let lines = self.lines.iter().map(|lines| Lines { shared: true, ..*lines }).collect();
        let cuts = Cuts { lines, ..*self };
        (0..=most as u64).map(|c| if c == 0 { 0 } else { cuts.touching(c) }).collect()
    }

    fn least(&self, c: u64) -> i64 {
        if c == 0 || c == self.slots { 0 } else { self.touching(c) }
    }

    fn touching(&self, c: u64) -> i64 {
        if self.lines.is_empty() {
            self.lightest
        } else if c <= examined(self.lines.len()) {
            let mut best = i64::MAX;
            let needed = u128::from(c).saturating_pow(self.lines.len() as u32 - 1);
            self.examine(c, 0, needed, 0, &mut best);
            if best == i64::MAX { 0 } else { best }
        } else {
            self.divisible(c)
        }
    }

    /// All numbers of touched lines of the dimensions from `at` on, that multiply to at least `needed`.
    fn examine(&self, c: u64, at: usize, needed: u128, cost: i64, best: &mut i64) {
        let Some(lines) = self.lines.get(at) else { return };
        let fewest = c.div_ceil(lines.size);
        let most = c.min(lines.count);
        if at + 1 == self.lines.len() {
            // More lines cut more, so the fewest will do.
            let touched = u128::from(fewest).max(needed);
            if touched <= u128::from(most) {
                *best = (*best).min(cost.saturating_add(lines.cut(c, touched as u64)));
            }
            return;
        }
        for touched in fewest..=most {
            let cost = cost.saturating_add(lines.cut(c, touched));
            if cost >= *best {
                return;
            }
            self.examine(c, at + 1, needed.div_ceil(u128::from(touched)), cost, best);
        }
    }

    /// The same with fractional lines: a box of side `t_i <= L_i` and volume `c` cuts `sum a_i (c / t_i - c / L_i)`,
    /// least where `t_i = min(L_i, x a_i)`.
    fn divisible(&self, c: u64) -> i64 {
        let c = c as f64;
        let rates: Vec<(f64, f64)> =
            self.lines.iter().map(|lines| (lines.rate(), lines.size as f64)).collect();
        let mut free: Vec<usize> = (0..rates.len()).filter(|at| rates[*at].0 > 0.0).collect();
        // A dimension that costs nothing is cut to pieces and leaves the whole volume to the others.
        let mut volume = c;
        // Full lines of shared chains are counted too.
        let chains = self.lines.iter().filter(|lines| lines.shared && lines.chained());
        let mut cost: f64 = chains.map(|lines| 2.0 * lines.weight as f64 * c / lines.size as f64).sum();
        while !free.is_empty() {
            let product: f64 = free.iter().map(|at| rates[*at].0).product();
            let scale = root(volume / product, free.len());
            let full: Vec<usize> =
                free.iter().copied().filter(|at| rates[*at].0 * scale >= rates[*at].1).collect();
            if full.is_empty() {
                for at in &free {
                    let (rate, size) = rates[*at];
                    cost += rate * (c / (rate * scale).max(1e-9) - c / size).max(0.0);
                }
                break;
            }
            for at in &full {
                volume /= rates[*at].1;
            }
            free.retain(|at| !full.contains(at));
        }
        // Less a little for the rounding of floating point.
        (cost * (1.0 - 1e-9)).floor() as i64
    }
}

/// The root of that degree, by operations that every machine rounds alike.
fn root(number: f64, degree: usize) -> f64 {
    match degree {
        1 => number,
        2 => number.sqrt(),
        _ => {
            let (mut low, mut high) = (0.0, number.max(1.0));
            for _ in 0..64 {
                let middle = (low + high) / 2.0;
                let power: f64 = std::iter::repeat_n(middle, degree).product();
                if power < number { low = middle } else { high = middle }
            }
            high
        }
    }
}

impl Lines {
    fn chained(&self) -> bool {
        matches!(self.pattern, Pattern::Chain | Pattern::Tree)
    }

    /// What `touched` lines that hold `c` slots cut at least: as many as can be are full, the rest hold one.
    fn cut(&self, c: u64, touched: u64) -> i64 {
        let full = ((c - touched) / (self.size - 1)).min(touched);
        let partial = (touched - full) as i64;
        if self.shared && self.chained() {
            return self.weight.saturating_mul(2 * touched as i64);
        }
        let per_line = match self.pattern {
            Pattern::Ring => 2,
            Pattern::Chain | Pattern::Tree => 1,
            Pattern::AllToAll if partial > 0 => {
                let held = (1 + (c - touched) - full * (self.size - 1)) as i64;
                let size = self.size as i64;
                return self.weight.saturating_mul((partial - 1) * (size - 1) + held * (size - held));
            }
            Pattern::AllToAll => 0,
        };
        self.weight.saturating_mul(per_line * partial)
    }

    /// `cut` is at least this times `touched - c / size`, and for shared chains the volume of full lines on top.
    fn rate(&self) -> f64 {
        let size = self.size as f64;
        let partial = match self.pattern {
            Pattern::Chain | Pattern::Tree if self.shared => return 2.0 * self.weight as f64,
            Pattern::Ring => 2.0,
            Pattern::Chain | Pattern::Tree => 1.0,
            Pattern::AllToAll => size - 1.0,
        };
        self.weight as f64 * partial * size / (size - 1.0)
    }
}

fn connected(model: &Model<'_>) -> bool {
    let mut seen = vec![false; model.slots() as usize];
    let mut reached = vec![0u32];
    let mut count = 0;
    while let Some(slot) = reached.pop() {
        if !std::mem::replace(&mut seen[slot as usize], true) {
            count += 1;
            reached.extend(model.links(slot).iter().map(|link| link.to).filter(|to| !seen[*to as usize]));
        }
    }
    count == model.slots()
}
