//! Who chooses the nodes of a gang: the placement of Phalanx, and what others publish about theirs.
//!
//! The others are implemented from the descriptions named at each, none from code. Where a description leaves a
//! choice open, the one that is better for them is taken.

mod kueue;
mod lists;
mod ours;
mod slurm;
mod volcano;

use super::cluster::{Ask, Cluster};
use super::cost::Pattern;
use crate::placement::fabric::{DomainRow, Fabric, NodeRow};

pub use kueue::Kueue;
pub use lists::{ByName, BySwitch, Random};
pub use ours::Ours;
pub use slurm::Slurm;
pub use volcano::Volcano;

/// Chooses nodes.
pub trait Policy {
    /// As many nodes as are asked for, each with so many GPUs free, in rank order; `None`: it has no place for them now.
    fn choose(&mut self, cluster: &Cluster<'_>, ask: &Ask) -> Option<Vec<NodeRow>>;

    /// The same nodes in rank order for this pattern. Most know nothing of patterns.
    fn order(&mut self, cluster: &Cluster<'_>, nodes: &[NodeRow], pattern: Pattern) -> Vec<NodeRow> {
        let _ = (cluster, pattern);
        nodes.to_vec()
    }
}

/// Names of policies, ours first.
pub const POLICIES: [&str; 7] = ["phalanx", "random", "first-fit", "slurm", "volcano", "kueue", "asw"];

/// The policy of a name in [`POLICIES`] for a fabric.
pub fn policy(name: &str, fabric: &Fabric, seed: u64) -> Option<Box<dyn Policy>> {
    Some(match name {
        "phalanx" => Box::new(Ours::default()),
        "random" => Box::new(Random::new(seed)),
        "first-fit" => Box::new(ByName::new(fabric)),
        "slurm" => Box::new(Slurm),
        "volcano" => Box::new(Volcano::new(fabric)),
        "kueue" => Box::new(Kueue),
        "asw" => Box::new(BySwitch::new(fabric)),
        _ => return None,
    })
}

/// The nodes of a domain that have so many GPUs free, in the order of the tree.
fn open(cluster: &Cluster<'_>, domain: DomainRow, gpus: u32) -> impl Iterator<Item = NodeRow> {
    cluster.fabric().domain(domain).nodes.clone().filter(move |node| cluster.free_on(*node) >= gpus)
}

/// The lowest domains within a domain.
fn lowest(fabric: &Fabric, domain: DomainRow) -> Vec<DomainRow> {
    let mut open = vec![domain];
    let mut found = Vec::new();
    while let Some(domain) = open.pop() {
        match fabric.domain(domain).level {
            0 => found.push(domain),
            _ => open.extend(fabric.domain(domain).children.clone()),
        }
    }
    found.sort_unstable();
    found
}

/// Levels from the lowest to the root, with their domains.
fn levels(fabric: &Fabric) -> impl Iterator<Item = std::ops::Range<DomainRow>> + '_ {
    (0..=fabric.depth()).map(|level| fabric.level(level))
}
