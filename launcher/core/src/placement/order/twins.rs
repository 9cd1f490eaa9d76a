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
