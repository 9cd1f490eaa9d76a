//! The facts as they are, and what is ready to be given out about them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use phalanx_common::id::NodeId;
use phalanx_common::time::Timestamp;
use phalanx_common::topology::machine::{self, Machine};
use phalanx_common::topology::{Change, Finding, Snapshot, SnapshotError};
use phalanx_launcher_core::survey::{News, Survey};

use crate::topo::{Told, Witnesses};

/// Lines of the log for one change of the topology; the rest is counted.
const MOST_LINES: usize = 20;

/// Why there is no topology.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Derive(#[from] phalanx_common::topology::Error),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error("what was told of it cannot be written as JSON: {0}")]
    Witnesses(#[source] serde_json::Error),
}

/// The facts, and the machines as they are by now.
#[derive(Debug)]
pub(crate) struct Current {
    pub(crate) facts: Arc<Facts>,
    /// By the names that the facts know them by.
    pub(crate) machines: BTreeMap<String, Arc<Machine>>,
    /// [`Witnesses`] in JSON.
    pub(crate) witnesses: String,
}

/// What was derived.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) snapshot: Snapshot<Machine>,
    /// The same in JSON.
    pub(crate) json: String,
    /// Which node a name means.
    pub(crate) ids: BTreeMap<String, NodeId>,
    /// Nodes whose coming and going changes whose ports are whose.
    pub(super) twins: BTreeSet<NodeId>,
    /// Beacons that do not count.
    unheard: usize,
    /// Who told of it.
    told: Vec<Told>,
}

/// What came of it, for the log.
#[derive(Debug)]
pub(super) enum Changes {
    First,
    /// Where there was a topology before.
    Since(Vec<Change>),
}

/// `not_taken`: files of the operator's that are wrong. Takes a second for ten thousand nodes: not for an event loop.
pub(super) fn renew(
    survey: &Survey,
    old: Option<&Current>,
    news: News,
    now: Timestamp,
    not_taken: &[Finding],
) -> Result<(Current, Changes), Error> {
    match old {
        Some(old) if news < News::Facts => {
            let machines = old.facts.ids.iter();
            let machines =
                machines.filter_map(|(name, id)| Some((name.clone(), Arc::clone(survey.machine_of(id)?))));
            let current = Current::of(Arc::clone(&old.facts), machines.collect(), not_taken)?;
            Ok((current, Changes::Since(Vec::new())))
        }
        _ => {
            let surveyed = survey.derive(now)?;
            let beacons = surveyed.unheard;
            if beacons > 0 && old.is_none_or(|old| old.facts.unheard == 0) {
                tracing::warn!(
                    beacons,
                    "nodes tell of more beacons than are taken: none counts, and who shares a layer-2 domain is unknown"
                );
            }
            let kinds =
                surveyed.machines.iter().map(|(name, machine)| (name.clone(), machine.kind())).collect();
            let snapshot = Snapshot::new(surveyed.network, &kinds)?;
            let changes =
                old.map_or(Changes::First, |old| Changes::Since(snapshot.diff(&old.facts.snapshot)));
            let json = String::from_utf8_lossy(&snapshot.to_json()).into_owned();
            let told = Told::summarise(&surveyed.evidence);
            let facts = Facts {
                snapshot,
                json,
                ids: surveyed.ids,
                twins: surveyed.twins,
                unheard: surveyed.unheard,
                told,
            };
            Ok((Current::of(Arc::new(facts), surveyed.machines, not_taken)?, changes))
        }
    }
}

impl Current {
    fn of(
        facts: Arc<Facts>,
        machines: BTreeMap<String, Arc<Machine>>,
        not_taken: &[Finding],
    ) -> Result<Current, Error> {
        let mut others =
            machine::findings(machines.iter().map(|(name, machine)| (name.as_str(), &**machine)));
        others.extend_from_slice(not_taken);
        let (told, ids) = (facts.told.clone(), facts.ids.clone());
        let witnesses =
            Witnesses { told, others, ids, unreachable: BTreeSet::new(), closed: BTreeMap::new() };
        let witnesses = serde_json::to_string(&witnesses).map_err(Error::Witnesses)?;
        Ok(Current { facts, machines, witnesses })
    }

    pub(super) fn log(&self, changes: &Changes) {
        let Changes::Since(changes) = changes else {
            let nodes = self.facts.snapshot.network().nodes.len();
            tracing::info!(nodes, hash = %self.facts.snapshot.hash(), "topology");
            return;
        };
        for change in changes.iter().take(MOST_LINES) {
            tracing::info!("topology: {change}");
        }
        if changes.len() > MOST_LINES {
            tracing::info!("topology: and {} changes more", changes.len() - MOST_LINES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use phalanx_common::topology::machine::{Accelerator, AcceleratorKind};

    #[test]
    fn a_machine_that_works_is_given_out_and_looked_at_under_the_same_facts() {
        let (mut survey, node, now) = (Survey::default(), NodeId::new("a-000001"), Timestamp(1));
        let mut machine = Machine { host: Some("a".to_owned()), ..Machine::default() };
        machine.accelerators = vec![Accelerator::new(AcceleratorKind::Nvidia)];
        survey.machine(now, &node, Arc::new(machine.clone()));
        let (first, changes) = renew(&survey, None, News::Machines, now, &[]).unwrap();
        assert!(matches!(changes, Changes::First));
        machine.accelerators[0].processes = Some(vec![7]);
        machine.accelerators[0].ailments = Some(vec![machine::Ailment::RowRemapFailed]);
        let news = survey.machine(now, &node, Arc::new(machine.clone()));
        let (second, changes) = renew(&survey, Some(&first), news, now, &[]).unwrap();
        assert!(Arc::ptr_eq(&first.facts, &second.facts));
        assert!(matches!(changes, Changes::Since(changes) if changes.is_empty()));
        assert_eq!(*second.machines["a"], machine);
        assert!(second.witnesses.contains("could not be remapped"), "{}", second.witnesses);
    }
}
