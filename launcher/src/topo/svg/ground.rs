//! What all planes of a picture are drawn from, found once.

use std::collections::{BTreeMap, BTreeSet};

use phalanx_common::text::natural;
use phalanx_common::topology::{Network, Problem, Row, Thin, findings};

use super::super::planes::{Parts, parts};
use super::super::view::View;

pub(super) struct Ground<'a> {
    pub(super) view: &'a View,
    pub(super) network: &'a Network,
    pub(super) planes: Vec<Parts>,
    /// Groups below each group.
    pub(super) children: BTreeMap<Row, Vec<Row>>,
    /// Adapters of no known node, by switch.
    pub(super) unjoined: BTreeMap<Row, usize>,
    /// Nodes with a port on another rail than its own.
    pub(super) off_rail: BTreeSet<String>,
    /// Pairs with fewer cables than usual, by the name of the lower switch.
    pub(super) thin: BTreeMap<String, Vec<Thin>>,
    /// Switches that make a group alone.
    pub(super) alone: BTreeSet<Row>,
}

impl<'a> Ground<'a> {
    pub(super) fn of(view: &'a View) -> Ground<'a> {
        let network = view.network();
        let mut ground = Ground {
            view,
            network,
            planes: parts(network),
            children: BTreeMap::new(),
            unjoined: BTreeMap::new(),
            off_rail: BTreeSet::new(),
            thin: BTreeMap::new(),
            alone: BTreeSet::new(),
        };
        for (group, row) in network.groups.iter().zip(0..) {
            if let Some(parent) = group.parent {
                ground.children.entry(parent).or_default().push(row);
            }
            if let [only] = group.switches[..] {
                ground.alone.insert(only);
            }
        }
        for rows in ground.children.values_mut() {
            rows.sort_by_cached_key(|row| natural(&network.groups[*row as usize].name));
        }
        for adapter in &network.unjoined {
            *ground.unjoined.entry(adapter.switch).or_default() += 1;
        }
        for finding in findings(network) {
            match finding.problem {
                Problem::SwappedRails { .. } | Problem::WrongRail { .. } => {
                    ground.off_rail.insert(finding.subject);
                }
                Problem::LostUplinks { thin, .. } => {
                    ground.thin.entry(finding.subject).or_default().extend(thin);
                }
                _ => {}
            }
        }
        ground
    }
}
