//! Domains that stand for each other.

use std::collections::BTreeMap;

use super::model::Model;

/// A class for each domain: two domains of a class differ in nothing but their place.
pub(super) fn classes(model: &Model<'_>) -> Vec<u32> {
    let domains = model.tree.domains();
    let mut class = vec![0; domains.len()];
    let mut known = BTreeMap::new();
    // Children come after their parents.
    for (at, domain) in domains.iter().enumerate().rev() {
        let mut below: Vec<u32> =
            model.tree.children(at as u32).iter().map(|child| class[*child as usize]).collect();
        below.sort_unstable();
        let next = known.len() as u32;
        class[at] = *known.entry((model.uplinks[at], domain.level, domain.capacity, below)).or_insert(next);
    }
    class
}

/// For each domain, the sibling of its class that comes last before it.
pub(super) fn earlier_twins(model: &Model<'_>) -> Vec<Option<u32>> {
    let class = classes(model);
    let mut twins = vec![None; class.len()];
    for domain in 0..class.len() as u32 {
        let mut last = BTreeMap::new();
        for child in model.tree.children(domain) {
            twins[*child as usize] = last.insert(class[*child as usize], *child);
        }
    }
    twins
}
