//! Which node takes a share that leaves some of a node free.
//!
//! Two rules are known to keep few nodes partly used. Always looking from the same end of the tree lets the nodes at the other end
//! run empty; taking the tightest fit lets those run empty that have little on them. The first does better where
//! many small jobs come and go, the second where they are few; so the tightest of the first few is taken.

use super::fabric::{DomainRow, Fabric, NodeRow, ROOT};
use super::free::{Class, Free};

/// Nodes that are looked at, and those that share a lowest domain with the last of them. Of 1, 4, 8 and all on traces of
/// GPU jobs (docs/placement.md) 4 is never more than 2 % behind the best.
const FEW: u32 = 4;

/// A node with at least `amount` and less than `whole` of a class free that `takes`; `None` if there is none, and an untouched node
/// has to be broken into.
pub fn partly_used(
    fabric: &Fabric,
    free: &Free,
    class: Class,
    (amount, whole): (u32, u32),
    takes: impl Fn(NodeRow) -> bool,
) -> Option<NodeRow> {
    let count = |domain: DomainRow| {
        let at_least = |amount| free.at_least(class, domain, amount);
        at_least(amount).saturating_sub(at_least(whole))
    };
    if amount >= whole || count(ROOT) == 0 {
        return None;
    }
    let mut best: Option<(u32, NodeRow)> = None;
    let mut seen = 0;
    // The next in the order of the tree is last.
    let mut open = vec![ROOT];
    while let Some(row) = open.pop() {
        let domain = fabric.domain(row);
        if domain.level > 0 {
            open.extend(domain.children.clone().rev().filter(|child| count(*child) > 0));
            continue;
        }
        let mut left = count(row);
        for node in domain.nodes.clone() {
            let has = free.amount(class, node);
            if !(amount..whole).contains(&has) {
                continue;
            }
            if takes(node) {
                seen += 1;
                best = Some(best.map_or((has, node), |best| best.min((has, node))));
            }
            left -= 1;
            if left == 0 {
                break;
            }
        }
        if seen >= FEW {
            break;
        }
    }
    best.map(|(_, node)| node)
}

#[cfg(test)]
mod tests;
