//! Hard limits: slots that must share a domain are placed as one.
//!
//! The classes of the farthest limited level become slots of a smaller problem, whose leaves are the domains of
//! that level with room for so many whole classes; each domain then shares out what it was given by the same
//! rule for the next closer level. With classes of equal size, which every grid has, that finds a feasible start
//! whenever there is one.

use super::SlotGraph;
use super::model::Limit;
use super::solve::{Budget, best_start};
use super::tree::{Domain, Tree};

/// An assignment that keeps all limits, or none: classes do not fit whole.
pub(super) fn start(
    graph: &SlotGraph,
    tree: &Tree,
    limits: &[Limit],
    budget: &mut Budget,
) -> Option<Vec<u32>> {
    let sizes: Vec<(u8, u64)> = limits
        .iter()
        .map(|limit| (limit.level, u64::from(limit.sizes.iter().copied().max().unwrap_or(1))))
        .collect();
    let usable = usable(tree, &sizes);
    let (limit, size) = match (limits.last(), sizes.last()) {
        (Some(limit), Some((_, size))) => (limit, *size),
        _ => return best_start(graph, tree, None, budget),
    };
    let (upper, homes) = cut_at(tree, limit.level, |domain| usable[domain as usize] / size)?;
    let classes: Vec<Option<u32>> = limit.classes.iter().copied().map(Some).collect();
    let whole = graph.quotient(&classes, limit.level);
    if upper.room() < u64::from(whole.len()) {
        return None;
    }
    let home_of = best_start(&whole, &upper, None, budget)?;
    let mut leaf_of = vec![0; graph.len() as usize];
    for (home, domain) in (0u32..).zip(homes) {
        let slots: Vec<u32> =
            (0..graph.len()).filter(|slot| home_of[limit.classes[*slot as usize] as usize] == home).collect();
        if slots.is_empty() {
            continue;
        }
        let mut own = vec![None; graph.len() as usize];
        (0u32..).zip(&slots).for_each(|(place, slot)| own[*slot as usize] = Some(place));
        let part = graph.quotient(&own, limit.level);
        let (lower, first) = below(tree, domain)?;
        let model = super::model::Model::new(&part, &lower);
        let inner = start(&part, &lower, &model.limits, budget)?;
        for (slot, leaf) in slots.iter().zip(inner) {
            leaf_of[*slot as usize] = first + leaf;
        }
    }
    Some(leaf_of)
}

/// Slots that each domain can take in whole classes, given level and class size of each limit, closest first.
fn usable(tree: &Tree, sizes: &[(u8, u64)]) -> Vec<u64> {
    let domains = tree.domains();
    let mut usable = vec![0u64; domains.len()];
    for (at, domain) in domains.iter().enumerate().rev() {
        let parent = domain.parent.map(|parent| parent as usize);
        let lowest = tree.children(at as u32).is_empty();
        let mut slots = usable[at] + u64::from(domain.capacity);
        for (level, size) in sizes {
            let top = domain.level <= *level && parent.is_none_or(|parent| domains[parent].level > *level);
            if top || (lowest && domain.level > *level) {
                // A leaf that is farther than the limit holds no class, however small.
                slots = if top { slots / size * size } else { 0 };
            }
        }
        usable[at] = slots;
        if let Some(parent) = parent {
            usable[parent] += slots;
        }
    }
    usable
}

/// The tree down to the domains of `level`, which become leaves; and which domain each leaf was.
fn cut_at(tree: &Tree, level: u8, capacity: impl Fn(u32) -> u64) -> Option<(Tree, Vec<u32>)> {
    let domains = tree.domains();
    let mut kept = Vec::new();
    let mut new_index = vec![None; domains.len()];
    for (at, domain) in (0u32..).zip(domains) {
        let parent = match domain.parent {
            None => None,
            Some(parent) if domains[parent as usize].level > level => new_index[parent as usize],
            Some(_) => continue,
        };
        let leaf = domain.level <= level || tree.children(at).is_empty();
        let holds = domain.level <= level;
        let room = if leaf && holds { u32::try_from(capacity(at)).unwrap_or(u32::MAX) } else { 0 };
        new_index[at as usize] = u32::try_from(kept.len()).ok();
        kept.push((at, Domain { parent, capacity: room, ..*domain }));
    }
    let upper = Tree::new(kept.iter().map(|(_, domain)| *domain).collect()).ok()?;
    let homes = upper.leaves().iter().map(|leaf| kept[*leaf as usize].0).collect();
    Some((upper, homes))
}

/// The tree below `domain`, and the number that its first leaf has in the whole.
fn below(tree: &Tree, domain: u32) -> Option<(Tree, u32)> {
    let mut new_index = vec![None; tree.domains().len()];
    let mut kept = Vec::new();
    for (at, stated) in (0u32..).zip(tree.domains()).skip(domain as usize) {
        let parent = stated.parent.and_then(|parent| new_index[parent as usize]);
        if at == domain || parent.is_some() {
            new_index[at as usize] = u32::try_from(kept.len()).ok();
            kept.push(Domain { parent, ..*stated });
        }
    }
    Some((Tree::new(kept).ok()?, tree.leaves_below(domain).start))
}
