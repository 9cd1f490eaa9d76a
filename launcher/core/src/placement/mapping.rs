//! From the domains that were chosen to the domain of each slot.

use super::across::Chosen;
use super::fabric::{DomainRow, Fabric};
use super::order::{Domain, Effort, Level, Problem, SlotGraph, Solution, Tree, TreeError, solve};
use super::supply::Supply;

/// Up to so many slots the gang may also go to domains that give none at first: choice and order are one problem.
const JOINT: u32 = 64;

/// The part of a fabric that a gang may use, as the order of slots sees it.
#[derive(Debug)]
pub struct Part {
    pub tree: Tree,
    /// The lowest domain of each leaf of the tree.
    pub leaves: Vec<DomainRow>,
}

impl Part {
    /// `room` for each lowest domain, in the order of the fabric; those above come along.
    ///
    /// # Errors
    /// Uplinks that cost more than a number holds.
    pub fn new(fabric: &Fabric, room: impl IntoIterator<Item = (DomainRow, u32)>) -> Result<Part, TreeError> {
        let mut rows = vec![u32::MAX; fabric.domains().len()];
        let mut wanted: Vec<(DomainRow, u32)> = room.into_iter().collect();
        let leaves: Vec<DomainRow> = wanted.iter().map(|(row, _)| *row).collect();
        let mut at = 0;
        while at < wanted.len() {
            let (row, _) = wanted[at];
            at += 1;
            let parent = fabric.domain(row).parent;
            if parent != row && rows[parent as usize] == u32::MAX {
                rows[parent as usize] = 0;
                wanted.push((parent, 0));
            }
        }
        // A fabric's rows rise from the top down, as a tree's must.
        wanted.sort_unstable();
        for ((row, _), at) in wanted.iter().zip(0..) {
            rows[*row as usize] = at;
        }
        let domain = |(row, capacity): &(DomainRow, u32)| {
            let it = fabric.domain(*row);
            let parent = (it.parent != *row).then(|| rows[it.parent as usize]);
            Domain { parent, uplink: it.uplink, level: it.level, capacity: *capacity }
        };
        let tree = Tree::new(wanted.iter().map(domain).collect())?;
        Ok(Part { tree, leaves })
    }
}

/// Which domain each slot goes to, and what that costs.
#[derive(Clone, Debug)]
pub struct Mapped {
    pub domains: Vec<DomainRow>,
    pub solution: Solution,
}

/// The best way found to give the slots to the domains; `None`: the limits of the graph leave none. `joint`: domains that give
/// nothing so far may as well.
///
/// # Errors
/// Uplinks that cost more than a number holds.
pub fn map(
    supply: &Supply<'_>,
    chosen: &Chosen,
    graph: &SlotGraph,
    joint: bool,
    effort: &Effort,
) -> Result<Option<Mapped>, TreeError> {
    let fabric = supply.fabric();
    let given: Vec<(DomainRow, u32)> =
        chosen.shares.iter().map(|share| (share.domain, share.nodes)).collect();
    let room = if joint && graph.len() <= JOINT { room_below(supply, chosen.top) } else { given.clone() };
    let part = Part::new(fabric, room)?;
    let count = |leaf: &DomainRow| match given.binary_search_by_key(leaf, |(row, _)| *row) {
        Ok(at) => given[at].1,
        Err(_) => 0,
    };
    let counts: Vec<u32> = part.leaves.iter().map(count).collect();
    let Ok(problem) = Problem::new(graph, &part.tree, Some(&counts)) else { return Ok(None) };
    let solution = solve(&problem, effort);
    Ok(solution.map(|solution| Mapped {
        domains: solution.leaves.iter().map(|leaf| part.leaves[*leaf as usize]).collect(),
        solution,
    }))
}

/// The lowest domains below one that have nodes to give, and how many.
fn room_below(supply: &Supply<'_>, top: DomainRow) -> Vec<(DomainRow, u32)> {
    let fabric = supply.fabric();
    let nodes = &fabric.domain(top).nodes;
    let lowest = fabric.level(0);
    let below = lowest.filter(|row| {
        let own = &fabric.domain(*row).nodes;
        nodes.start <= own.start && own.end <= nodes.end
    });
    below.map(|row| (row, supply.nodes_in(row))).filter(|(_, room)| *room > 0).collect()
}

/// The level of a fabric as the order of slots counts it.
pub fn level(level: usize) -> Level {
    Level::try_from(level).unwrap_or(Level::MAX)
}
