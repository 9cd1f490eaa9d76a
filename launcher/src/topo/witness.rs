//! Who told what a finding rests on.

use std::collections::{BTreeMap, BTreeSet};

use phalanx_common::topology::{Finding, Problem, Source, SwitchId, machine};

use super::told::{Told, names_of};
use super::view::View;

/// Who told of what, by every name that it has.
pub(super) struct Witnesses<'a> {
    pub(super) view: &'a View,
    /// Rows of `told`.
    by_name: BTreeMap<&'a str, Vec<usize>>,
    by_origin: BTreeMap<(&'a str, &'a str), usize>,
    /// What the switches of that name, or of the group of that name, are called.
    switches: BTreeMap<&'a str, Vec<&'a SwitchId>>,
}

impl<'a> Witnesses<'a> {
    pub(super) fn of(view: &'a View) -> Witnesses<'a> {
        let mut by_name: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        let mut by_origin = BTreeMap::new();
        for (row, told) in view.told.iter().enumerate() {
            by_origin.insert((told.source.as_str(), told.origin.as_str()), row);
            for name in &told.about {
                by_name.entry(name).or_default().push(row);
            }
        }
        let network = view.network();
        let mut switches: BTreeMap<&str, Vec<&SwitchId>> = BTreeMap::new();
        for switch in &network.switches {
            switches.entry(&switch.name).or_default().extend(&switch.ids);
        }
        for group in &network.groups {
            let ids = group.switches.iter().flat_map(|row| &network.switches[*row as usize].ids);
            switches.entry(&group.name).or_default().extend(ids);
        }
        Witnesses { view, by_name, by_origin, switches }
    }

    /// Rows of `told`, in order.
    pub(super) fn to(&self, finding: &Finding) -> Vec<usize> {
        if let Problem::Conflict { claims, .. } | Problem::SplitPlane { said: claims, .. } = &finding.problem
        {
            let row = |source: String, origin: &str| self.by_origin.get(&(source.as_str(), origin)).copied();
            let rows: BTreeSet<usize> =
                claims.iter().filter_map(|claim| row(claim.source.to_string(), &claim.origin)).collect();
            return rows.into_iter().collect();
        }
        if let Problem::Unseen { .. } | Problem::StrayGuids { .. } = finding.problem {
            let stated = (Source::Operator.to_string(), finding.subject.as_str());
            return self.by_origin.get(&(stated.0.as_str(), stated.1)).copied().into_iter().collect();
        }
        if let Problem::Cut { .. } = finding.problem {
            let is_it = |told: &Told| told.origin == finding.subject;
            return (0..).zip(&self.view.told).filter(|(_, told)| is_it(told)).map(|(row, _)| row).collect();
        }
        let mut names = self.names(&finding.subject);
        if let Problem::Machine(machine::Problem::SameHost { nodes }) = &finding.problem {
            names.extend(nodes.iter().map(|twin| twin.node.clone()));
        }
        let rows: BTreeSet<usize> =
            names.iter().filter_map(|name| self.by_name.get(name.as_str())).flatten().copied().collect();
        rows.into_iter().collect()
    }

    /// Everything that the subject of a finding is called: a node, a port of a node, a switch, a group.
    fn names(&self, subject: &str) -> BTreeSet<String> {
        let mut names = BTreeSet::from([subject.to_string()]);
        names.extend(subject.rsplit_once(' ').map(|(node, _)| node.to_string()));
        names.extend(self.switches.get(subject).into_iter().flatten().copied().flat_map(names_of));
        for nic in self.view.machines.get(subject).into_iter().flat_map(|machine| &machine.nics) {
            names.extend(nic.mac.map(|mac| mac.to_string()));
            names.extend(nic.rdma.as_ref().and_then(|rdma| rdma.guid).map(|guid| guid.to_string()));
        }
        names
    }
}
