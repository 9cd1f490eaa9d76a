//! Exact search: which set of slots each domain takes.
//!
//! ```text
//! share(domain, set): the slot that talks most to what is outside the set goes to one of the children that are left, with
//!     every set around it that cuts little enough; then the rest of the set to the rest of the children
//! ```
//! A choice is left when what it costs, what it costs below at least, and what the rest costs at least, reach the best known.
//! What a domain costs at least for each number of slots follows from the least that any set of so many cuts (found by the
//! same search), summed up over what is below. Domains of a kind stand for each other, of leaves with equal uplinks the
//! tightest is taken, of sets that a symmetry of the grid makes of each other one is looked at, and what was found out of a
//! set is kept for all that are alike.

mod cells;
mod kinds;
mod symmetry;

use std::collections::BTreeMap;

use self::cells::{Cells, Set, Wanted, len, members};
use self::kinds::{Cuts, Kinds, Least, Left, NEVER};
use self::symmetry::{Symmetry, renumber, restore};
use super::model::Model;

pub(super) use self::cells::MOST_SLOTS;

/// Trees of more leaves are not searched: what is remembered grows with them.
pub(super) const MOST_LEAVES: u32 = 256;
/// Costs of this size are not searched: sums of a few dozen have to be numbers.
const MOST_COST: i128 = 1 << 54;
/// So many sets are remembered: mostly some 20 MB.
const MOST_KNOWN: usize = 1 << 17;

/// What a search found.
pub(super) struct Found {
    /// The best assignment, if it is better than the one it began with.
    pub(super) better: Option<(i64, Vec<u32>)>,
    /// The whole space was searched.
    pub(super) complete: bool,
    /// No assignment costs less.
    pub(super) least: i64,
    pub(super) steps: u64,
}

/// The leaf of each slot, as a number among those below a domain.
type Homes = [u16; MOST_SLOTS];

/// What a set costs that is shared out, and how.
type Way = (i64, Homes);

/// What is known of a set that is shared out among what is left of a domain.
struct Known {
    at_least: i64,
    /// The best way, if that is known.
    homes: Option<Homes>,
}

/// Looks for an assignment cheaper than `known` (exclusive), within `steps` steps. Nothing costs less than `floor`.
pub(super) fn search(model: &Model<'_>, known: i64, floor: i64, steps: u64) -> Found {
    let weights = (0..model.slots()).flat_map(|slot| model.links(slot)).map(|link| i128::from(link.weight));
    let dearest = model.uplinks.iter().max().copied().unwrap_or(0);
    if weights.sum::<i128>() * i128::from(dearest) >= MOST_COST {
        return Found { better: None, complete: false, least: floor, steps: 0 };
    }
    let cells = Cells::new(model);
    let symmetry = Symmetry::new(&cells, model.graph, &model.limits);
    let mut left = steps;
    let plain = least_cuts(&cells, &symmetry, 0, &mut left);
    let is_regular = cells.walls(cells.all()) == 0;
    let walled = if is_regular { plain.clone() } else { least_cuts(&cells, &symmetry, 1, &mut left) };
    let cuts = Cuts { plain, walled };
    let kinds = Kinds::new(model, &cells, &cuts);
    let (root, all) = (kinds.root(), cells.all());
    let (plain, walled) = kinds.inner(root, cells.count);
    let least = plain.max(walled - kinds.all[root].walls_below * cells.walls(all)).max(floor);
    let mut search = Search { cells, kinds, symmetry, known: BTreeMap::new(), floor: least, steps: left };
    // The farther the best known is from the best, the more sets look promising: little above the least comes first.
    let known = known.min(NEVER);
    let mut above = least / 16 + 1;
    let way = loop {
        let below = known.min(least.saturating_add(above));
        let way = search.inner(root, all, below);
        if way.is_some() || below == known || search.steps == 0 {
            break way;
        }
        above = above.saturating_mul(2);
    };
    let better = way.map(|(cost, homes)| {
        let leaf = |home: &u16| search.kinds.leaves[usize::from(*home)];
        (cost, homes.iter().take(search.cells.count).map(leaf).collect())
    });
    Found { better, complete: search.steps > 0, least, steps: steps - search.steps }
}

/// What a set of each number of slots cuts at least; once the steps are used up, nothing.
fn least_cuts(cells: &Cells, symmetry: &Symmetry, wall: i64, steps: &mut u64) -> Vec<i64> {
    let mut cuts = vec![0; cells.count + 1];
    for size in 1..=cells.count {
        if wall == 0 && size * 2 > cells.count {
            cuts[size] = cuts[cells.count - size];
            continue;
        }
        let mut best = NEVER;
        let mut of = cells.all();
        // By the lowest slot that is in the set, of those that a symmetry makes of each other.
        while let Some(with) = members(of).next() {
            let alike = symmetry.fixing(of, with);
            let wanted = Wanted { of, with, size, uplink: 1, wall, below: best, units: &[], alike };
            best = cells.least(&wanted, steps);
            of &= !symmetry.orbit(with);
        }
        cuts[size] = if *steps > 0 { best } else { 0 };
    }
    cuts
}

struct Search {
    cells: Cells,
    kinds: Kinds,
    symmetry: Symmetry,
    known: BTreeMap<(usize, Left, Set), Known>,
    floor: i64,
    steps: u64,
}

/// A part of a set for one of the children.
#[derive(Clone, Copy)]
struct Part<'a> {
    kind: usize,
    set: Set,
    /// Is in the part.
    slot: usize,
    /// Which kind of child.
    at: usize,
    /// The children that are left for the rest, and what they cost at least.
    rest: &'a Left,
    least: &'a Least,
}

impl Search {
    /// The least cost below a domain that holds the set, if it is less than `below`.
    fn inner(&mut self, kind: usize, set: Set, below: i64) -> Option<Way> {
        let it = &self.kinds.all[kind];
        if it.children.is_empty() {
            let fits = len(set) <= it.room && set & !it.allowed == 0;
            return (fits && below > 0).then_some((0, [0; MOST_SLOTS]));
        }
        self.share(kind, set, self.kinds.children(kind), below)
    }

    /// The least cost of a set shared out among children that are left, if it is less than `below`.
    fn share(&mut self, kind: usize, set: Set, left: Left, below: i64) -> Option<Way> {
        if set == 0 {
            return (below > 0).then_some((0, [0; MOST_SLOTS]));
        }
        let (plain, walled) = self.kinds.rest(kind, &left).of(len(set));
        let walled = walled - self.kinds.all[kind].walls_below * self.cells.walls(set);
        if plain.max(walled).max(self.edges(kind, set, &left)) >= below || self.steps == 0 {
            return None;
        }
        let (first, numbers) = self.symmetry.first(set);
        let key = (kind, left, first);
        match self.known.get(&key) {
            Some(known) if known.at_least >= below => return None,
            Some(Known { at_least, homes: Some(homes) }) => {
                return Some((*at_least, restore(&numbers, homes)));
            }
            _ => {}
        }
        let best = self.split(kind, set, &key.1, below);
        // What was not searched to its end is not known.
        if self.steps > 0 && (self.known.len() < MOST_KNOWN || self.known.contains_key(&key)) {
            let homes = best.map(|(_, homes)| renumber(&numbers, &homes));
            self.known.insert(key, Known { at_least: best.map_or(below, |(cost, _)| cost), homes });
        }
        best
    }

    /// Edges that leave a set are cut by its parts, whichever they are.
    fn edges(&self, kind: usize, set: Set, left: &Left) -> i64 {
        let open = self.kinds.open(kind, left);
        let cheapest = open.map(|(_, child)| self.kinds.all[child].uplink).min();
        cheapest.map_or(0, |uplink| uplink.saturating_mul(self.cells.cut(set)))
    }

    fn split(&mut self, kind: usize, set: Set, left: &Left, below: i64) -> Option<Way> {
        let others = self.cells.all() & !set;
        let walled = |slot: &usize| (self.cells.between(*slot, others), std::cmp::Reverse(*slot));
        let slot = members(set).max_by_key(walled)?;
        let open: Vec<(usize, usize)> = self.kinds.open(kind, left).collect();
        let is_all = kind == self.kinds.root() && others == 0;
        let enough = if is_all { self.floor } else { i64::MIN };
        let (mut most, mut best) = (below, None);
        for (at, child) in open {
            self.steps = self.steps.saturating_sub(1);
            let mut rest = left.clone();
            rest[at] -= 1;
            let least = self.kinds.rest(kind, &rest);
            let part = Part { kind, set, slot, at, rest: &rest, least: &least };
            let sizes = self.kinds.tighter(kind, left, at) + 1..=self.kinds.all[child].room.min(len(set));
            for size in sizes.rev() {
                if let Some(found) = self.give(part, size, most, enough) {
                    (most, best) = (found.0, Some(found));
                }
                if most <= enough {
                    return best;
                }
            }
        }
        best
    }

    /// The best that comes of a set of a size for a child and the rest for the others, if it is less than `below`.
    fn give(&mut self, part: Part<'_>, size: usize, below: i64, enough: i64) -> Option<Way> {
        let it = &self.kinds.all[part.kind];
        let child = it.children[part.at].0;
        let (uplink, allowed) = (self.kinds.all[child].uplink, self.kinds.all[child].allowed);
        let (others, others_walled) = part.least.of(len(part.set) - size);
        let (inner, inner_walled) = self.kinds.inner(child, size);
        if inner.saturating_add(others) >= below {
            return None;
        }
        let walls = it.walls_below * self.cells.walls(part.set);
        // What is left for the uplink and the walls that it pays for.
        let margin = below.saturating_sub(inner_walled).saturating_sub(others_walled).saturating_add(walls);
        let sets = if size == len(part.set) {
            vec![(0, part.set)]
        } else {
            let alike = self.symmetry.fixing(part.set, part.slot);
            let (of, with, wall) = (part.set & allowed, part.slot, self.kinds.all[child].wall);
            let wanted = Wanted { of, with, size, uplink, wall, below: margin, units: &it.units, alike };
            self.cells.sets(&wanted, &mut self.steps)
        };
        let first = it.before[part.at] + self.kinds.all[child].leaves * usize::from(part.rest[part.at]);
        let (mut most, mut best) = (below, None);
        for (sum, set) in sets {
            if sum.saturating_add(below - most) >= margin || most <= enough || self.steps == 0 {
                break;
            }
            let own = uplink * self.cells.cut(set);
            if own.saturating_add(inner).saturating_add(others) >= most {
                continue;
            }
            self.steps -= 1;
            let Some((cost, homes)) = self.inner(child, set, most - own - others) else { continue };
            let cost = own + cost;
            let rest = self.share(part.kind, part.set & !set, part.rest.clone(), most - cost);
            if let Some((more, mut both)) = rest {
                members(set).for_each(|slot| both[slot] = homes[slot] + first as u16);
                most = cost + more;
                best = Some((most, both));
            }
        }
        best
    }
}
