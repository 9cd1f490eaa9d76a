//! Which domains give how many nodes: the lowest tier that holds the gang, the domain of it that is left the fullest, and in
//! that one the fewest domains below.
//!
//! Free domains are protected as by a buddy allocator: a large one is broken up only where no smaller one, and no
//! part of one that is broken already, holds what is asked for.

use std::cmp::Reverse;

use super::fabric::{DomainRow, Fabric, ROOT};
use super::supply::Supply;

/// How many nodes, and how close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    pub nodes: u32,
    /// No domain above this level will do.
    pub within: usize,
    /// Nodes of a parallel group that has to be in one domain of a level: `nodes` is a multiple.
    pub unit: Option<Unit>,
    /// No two nodes are in one domain of this level, so that a unit has no place in it.
    pub apart: Option<usize>,
    /// So many nodes more are in the domain of the level `within` that holds the gang.
    pub beside: u32,
}

/// So many nodes are in one domain of a level, or none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    pub nodes: u32,
    pub level: usize,
}

/// What a lowest domain gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share {
    pub domain: DomainRow,
    pub nodes: u32,
}

/// Where a gang goes, as far as domains tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The lowest domain that holds all of it.
    pub top: DomainRow,
    /// In the order of the tree.
    pub shares: Vec<Share>,
}

/// The counts of a supply, rounded down to whole units.
struct Counts<'a> {
    fabric: &'a Fabric,
    supply: &'a Supply<'a>,
    unit: Option<Unit>,
    /// By domain, where there are units.
    whole: Vec<u32>,
}

impl<'a> Counts<'a> {
    fn new(supply: &'a Supply<'a>, unit: Option<Unit>) -> Counts<'a> {
        let fabric = supply.fabric();
        let unit = unit.filter(|unit| unit.nodes > 1);
        let mut counts = Counts { fabric, supply, unit, whole: Vec::new() };
        if let Some(unit) = counts.unit {
            let mut whole = vec![0u32; fabric.domains().len()];
            // Lowest first: a domain above a unit's level has what those below it have.
            for row in (0..whole.len()).rev() {
                let domain = &fabric.domains()[row];
                let level = usize::from(domain.level);
                whole[row] = match level <= unit.level {
                    true => supply.nodes_in(super::fabric::row(row)) / unit.nodes * unit.nodes,
                    false => domain.children.clone().map(|child| whole[child as usize]).sum(),
                };
            }
            counts.whole = whole;
        }
        counts
    }

    /// Nodes that a domain can give to whole units, or below their level, to one.
    fn of(&self, domain: DomainRow) -> u32 {
        match self.unit {
            Some(unit) if usize::from(self.fabric.domain(domain).level) >= unit.level => {
                self.whole[domain as usize]
            }
            _ => self.supply.nodes_in(domain),
        }
    }

    /// The most nodes that any way of choosing has.
    fn all(&self) -> u32 {
        self.of(ROOT)
    }
}

/// The domains that hold `need`; `Err`: so many nodes there are at most in a domain that is close enough.
///
/// # Errors
/// No domain has so many nodes that take a share.
pub fn choose(supply: &Supply<'_>, need: &Need) -> Result<Chosen, u32> {
    let counts = Counts::new(supply, need.unit);
    let fabric = supply.fabric();
    if need.nodes == 0 || counts.all() < need.nodes {
        return Err(most(&counts, need));
    }
    if let Some(level) = need.apart {
        let shares = apart(&counts, level, need)?;
        let tops = shares.iter().map(|share| share.domain);
        let top = tops.reduce(|a, b| common(fabric, a, b)).unwrap_or(ROOT);
        return Ok(Chosen { top, shares });
    }
    for level in 0..=need.within.min(fabric.depth()) {
        if let Some(top) = best(&counts, level, need) {
            let mut shares = Vec::new();
            fill(&counts, top, need.nodes, &mut shares);
            shares.sort_unstable();
            return Ok(Chosen { top, shares });
        }
    }
    Err(most(&counts, need))
}

/// How many nodes the largest domain has that is close enough.
fn most(counts: &Counts<'_>, need: &Need) -> u32 {
    counts.fabric.level(need.within.min(counts.fabric.depth())).map(|row| counts.of(row)).max().unwrap_or(0)
}

/// Of the domains of a level that hold so many nodes the one of which the least is left, of equals one in the fullest domain
/// above, and then one with the fewest blemished nodes to take; where nodes hang on several domains, before that the one that takes the fewest, and of these the one with the widest uplinks.
fn best(counts: &Counts<'_>, level: usize, need: &Need) -> Option<DomainRow> {
    let nodes = need.nodes;
    let is_roomy = |row: &DomainRow| need.beside == 0 || has_beside(counts, *row, need);
    if level >= counts.fabric.depth() {
        return (counts.all() >= nodes && is_roomy(&ROOT)).then_some(ROOT);
    }
    // By the domains above: looked up once, and passed over where they hold less.
    let above = counts.fabric.level(level + 1).map(|row| (counts.of(row), row));
    let fits = above.filter(|(room, _)| *room >= nodes).flat_map(|(room, parent)| {
        let children = counts.fabric.domain(parent).children.clone();
        children
            .map(move |row| (counts.of(row), room, blemished(counts, row, nodes), row))
            .filter(|(count, .., row)| *count >= nodes && is_roomy(row))
    });
    if level == 0 {
        return fits.min().map(|(.., row)| row);
    }
    let fits: Vec<(u32, u32, u32, DomainRow)> = fits.collect();
    let least = match fits.as_slice() {
        [] => None,
        [one] => Some(one),
        // Where hundreds hold it, how full they are tells enough.
        many if many.len() > 64 => many.iter().min(),
        several => several.iter().min_by_key(|fit| {
            let mut shares = Vec::new();
            fill(counts, fit.3, nodes, &mut shares);
            (shares.len(), uplinks(counts.fabric, fit.3, &shares), **fit)
        }),
    };
    least.map(|(.., row)| *row)
}

/// How many nodes with a blemish there are among so many that a domain can give, if it gives the others first.
fn blemished(counts: &Counts<'_>, row: DomainRow, nodes: u32) -> u32 {
    let worse = blemished_of(counts, row);
    if worse == 0 { 0 } else { nodes.saturating_sub(counts.supply.nodes_in(row) - worse) }
}

/// How many nodes with a blemish a domain can give.
fn blemished_of(counts: &Counts<'_>, row: DomainRow) -> u32 {
    // Few domains have any: only there nodes are looked at one by one.
    if counts.fabric.domain(row).blemished == 0 {
        return 0;
    }
    let worse = counts.supply.of(row).filter(|node| !counts.fabric.node(*node).blemishes.is_empty());
    super::fabric::row(worse.count())
}

/// Whether the domain above that the gang must stay in has nodes to hold back.
fn has_beside(counts: &Counts<'_>, row: DomainRow, need: &Need) -> bool {
    let mut at = row;
    while usize::from(counts.fabric.domain(at).level) < need.within && at != ROOT {
        at = counts.fabric.domain(at).parent;
    }
    counts.supply.nodes_in(at) >= need.nodes.saturating_add(need.beside)
}

/// Takes so many nodes, which it has, from a domain: level by level down, the fewest of all domains below those that were
/// taken before, so that a large domain is not emptied to its last corner while the next has a better place.
fn fill(counts: &Counts<'_>, top: DomainRow, nodes: u32, shares: &mut Vec<Share>) {
    let mut level = usize::from(counts.fabric.domain(top).level);
    // Units are given out at their level, and each is then looked after by itself.
    let unit = counts.unit.map_or(0, |unit| unit.level);
    let lowest = if level > unit { unit } else { 0 };
    let mut taken = vec![(nodes, top)];
    while level > lowest {
        let below = taken.iter().flat_map(|(_, row)| counts.fabric.domain(*row).children.clone());
        let open = below.map(|child| (counts.of(child), child)).filter(|(count, _)| *count > 0);
        taken = fewest(counts, open.collect(), nodes);
        level -= 1;
    }
    let mut left = nodes;
    for (count, row) in taken {
        let share = count.min(left);
        left -= share;
        match (share, level) {
            (0, _) => {}
            (_, 0) => shares.push(Share { domain: row, nodes: share }),
            _ => fill(counts, row, share, shares),
        }
    }
}

/// What the uplinks cost of all domains below one that these shares are in.
fn uplinks(fabric: &Fabric, top: DomainRow, shares: &[Share]) -> u64 {
    let mut touched: Vec<DomainRow> = Vec::new();
    for share in shares {
        let mut row = share.domain;
        while row != top && row != ROOT {
            touched.push(row);
            row = fabric.domain(row).parent;
        }
    }
    touched.sort_unstable();
    touched.dedup();
    touched.iter().fold(0, |sum: u64, row| sum.saturating_add(fabric.domain(*row).uplink))
}

/// The fewest domains that hold so many nodes, and of these rather small ones, of equals those with the widest uplinks and the fewest
/// nodes with a blemish; the last is the one that is not needed whole.
fn fewest(counts: &Counts<'_>, mut children: Vec<(u32, DomainRow)>, nodes: u32) -> Vec<(u32, DomainRow)> {
    let worse = |row: DomainRow| (counts.fabric.domain(row).uplink, blemished_of(counts, row));
    let key = |(count, row): &(u32, DomainRow)| (Reverse(*count), worse(*row), *row);
    children.sort_by_cached_key(key);
    let mut total = 0u64;
    let fewest = children.iter().position(|(count, _)| {
        total += u64::from(*count);
        total >= u64::from(nodes)
    });
    let mut rest = children.split_off(fewest.map_or(children.len(), |last| last + 1));
    let mut taken = children;
    // As many, but smaller ones where they do as well, the last first: it is the one that is not needed whole.
    for at in (0..taken.len()).rev() {
        let spare = total - u64::from(nodes);
        let (count, _) = taken[at];
        // `rest` is in descending order.
        let enough = rest.partition_point(|(other, _)| u64::from(*other) + spare >= u64::from(count));
        if enough > 0 && rest[enough - 1].0 < count {
            // Of those that have as few the last of the best.
            let smallest = rest[enough - 1].0;
            let first = rest.partition_point(|(other, _)| *other > smallest);
            let best = worse(rest[first].1);
            let equal = rest[first..enough].partition_point(|(_, row)| worse(*row) == best);
            let smaller = rest.remove(first + equal - 1);
            total -= u64::from(count - smaller.0);
            let larger = std::mem::replace(&mut taken[at], smaller);
            let back = rest.partition_point(|other| key(other) < key(&larger));
            rest.insert(back, larger);
        }
    }
    taken
}

/// One node of each domain of a level, those next to each other: as far apart as is asked for, and no farther; where there are
/// units, whole ones. `Err`: in so many domains there is one at most, within a domain that is close enough.
fn apart(counts: &Counts<'_>, level: usize, need: &Need) -> Result<Vec<Share>, u32> {
    let fabric = counts.fabric;
    let level = level.min(fabric.depth());
    let within = need.within.min(fabric.depth());
    let nodes = need.nodes as usize;
    if counts.unit.is_some_and(|unit| unit.level <= level) {
        return Err(1);
    }
    let give: Vec<DomainRow> = fabric.level(level).filter(|row| counts.supply.nodes_in(*row) > 0).collect();
    let meet = |a: &DomainRow, b: &DomainRow| usize::from(fabric.domain(common(fabric, *a, *b)).level);
    let top = |few: &[DomainRow]| meet(&few[0], &few[few.len() - 1]);
    // A stretch that is in one domain of a unit's level may begin anywhere, as it is whole units. One that goes over several takes
    // whole units of each: it begins with one, and what is too much in a domain is left out.
    let (unit, at) = counts.unit.map_or((1, 0), |unit| (unit.nodes as usize, unit.level.min(within)));
    let of_units = give.chunk_by(|a, b| meet(a, b) <= at);
    let whole: Vec<DomainRow> = match counts.unit {
        Some(_) => of_units.flat_map(|few| &few[..few.len() / unit * unit]).copied().collect(),
        None => give.clone(),
    };
    let inside = give.windows(nodes).filter(|few| counts.unit.is_some() && top(few) <= at);
    let over = whole.windows(nodes).step_by(unit);
    // Of these one that fits into the lowest domain, the first of equals.
    let stretches = inside.chain(over).map(|few| (top(few), few));
    let best = stretches.filter(|(top, _)| *top <= within).min_by_key(|(top, _)| *top);
    let Some((_, few)) = best else {
        let together = whole.chunk_by(|a, b| meet(a, b) <= within);
        return Err(together.map(|few| super::fabric::row(few.len())).max().unwrap_or(0));
    };
    let mut shares = Vec::new();
    for row in few {
        fill(counts, *row, 1, &mut shares);
    }
    shares.sort_unstable();
    Ok(shares)
}

/// The lowest domain that holds both.
fn common(fabric: &Fabric, mut a: DomainRow, mut b: DomainRow) -> DomainRow {
    while a != b {
        // Rows are in the order of levels from the top: the larger is not above the other.
        match a > b {
            true => a = fabric.domain(a).parent,
            false => b = fabric.domain(b).parent,
        }
    }
    a
}

#[cfg(test)]
mod tests;
