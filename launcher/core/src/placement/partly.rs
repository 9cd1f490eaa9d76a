//! Which node takes a share that leaves some of a node free.
//!
//! Two rules are known to keep few nodes partly used. Always looking from the same end lets what is at the other end run empty; taking
//! the tightest fit lets those nodes run empty that have little on them. The first does better where many small jobs
//! come and go, the second where they are few; so the tightest of the first few is taken. The end to begin with are
//! the domains with the fewest untouched nodes: they are of the least use to a gang.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::fabric::{DomainRow, Fabric, NodeRow, ROOT};
use super::free::{Class, Free};

/// Nodes that are looked at, and those that share a lowest domain with the last of them. Of 1, 4, 8 and all, 4 is the one that is
/// nowhere far behind, measured as docs/placement.md says.
const FEW: u32 = 4;
/// After so many with a blemish one of these is taken, though there may be others.
const MANY: u32 = 64;

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
    // Above the lowest level only to pass over what has none.
    let mut above = vec![ROOT];
    let mut lowest = BinaryHeap::new();
    while let Some(row) = above.pop() {
        let domain = fabric.domain(row);
        match domain.level {
            0 => lowest.push(Reverse((free.at_least(class, row, whole), row))),
            _ => above.extend(domain.children.clone().filter(|child| count(*child) > 0)),
        }
    }
    let mut best: Option<(bool, u32, NodeRow)> = None;
    let (mut seen, mut blemished) = (0, 0);
    while let Some(Reverse((_, row))) = lowest.pop() {
        let mut left = count(row);
        for node in fabric.domain(row).nodes.clone() {
            let has = free.amount(class, node);
            if !(amount..whole).contains(&has) {
                continue;
            }
            if takes(node) {
                let is_blemished = !fabric.node(node).blemishes.is_empty();
                *(if is_blemished { &mut blemished } else { &mut seen }) += 1;
                let key = (is_blemished, has, node);
                best = Some(best.map_or(key, |best| best.min(key)));
            }
            left -= 1;
            if left == 0 {
                break;
            }
        }
        if seen >= FEW || blemished >= MANY {
            break;
        }
    }
    best.map(|(.., node)| node)
}

#[cfg(test)]
mod tests;
