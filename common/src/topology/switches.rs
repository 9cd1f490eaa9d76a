//! Which of the names that sources give are the same switch.

use std::collections::{BTreeMap, BTreeSet};

use super::evidence::SwitchId;
use super::network::{Row, Switch};
use super::sets::Union;

/// Merged switches, and the row of everything they are called.
#[derive(Debug, Default)]
pub(super) struct Switches {
    pub(super) rows: Vec<Switch>,
    row_of: BTreeMap<SwitchId, Row>,
}

impl Switches {
    /// Merges by GUID, then by chassis id, then by management address (a chassis may have an id for each
    /// line card), then by name. A name unites only what nothing else tells apart: `switch` is a common
    /// name. An id that is only a name goes to the switch of that name, if there is one and no second.
    pub(super) fn merge(ids: BTreeSet<SwitchId>) -> Switches {
        let ids: Vec<SwitchId> = ids.into_iter().collect();
        let mut union = Union::new(ids.len());
        unite(&mut union, &ids, |id| id.guid.map(|guid| guid.0.to_string()));
        unite_unless_apart(&mut union, &ids, chassis);
        unite_unless_apart(&mut union, &ids, address);
        unite_names(&mut union, &ids);

        let mut rows: Vec<Switch> = union
            .sets()
            .into_iter()
            .map(|set| {
                let ids: Vec<SwitchId> = set.into_iter().map(|at| ids[at].clone()).collect();
                Switch { name: display_name(&ids), ids, ..Switch::default() }
            })
            .collect();
        rows.sort_by(|a, b| (&a.name, &a.ids).cmp(&(&b.name, &b.ids)));
        let row_of = rows
            .iter()
            .zip(0..)
            .flat_map(|(switch, row)| switch.ids.iter().map(move |id| (id.clone(), row)))
            .collect();
        Switches { rows, row_of }
    }

    pub(super) fn row(&self, id: &SwitchId) -> Option<Row> {
        self.row_of.get(id).copied()
    }
}

/// The name that comes first in order, or what else there is.
fn display_name(ids: &[SwitchId]) -> String {
    let name = ids.iter().filter_map(|id| id.name.clone()).min();
    let guid = || ids.iter().filter_map(|id| id.guid).min().map(|guid| guid.to_string());
    let address = || ids.iter().filter_map(|id| id.address.clone()).min();
    let chassis = || ids.iter().filter_map(|id| id.chassis.clone()).min();
    name.or_else(guid).or_else(address).or_else(chassis).unwrap_or_default()
}

fn unite(union: &mut Union, ids: &[SwitchId], key: impl Fn(&SwitchId) -> Option<String>) {
    let mut first: BTreeMap<String, usize> = BTreeMap::new();
    for (at, id) in ids.iter().enumerate() {
        if let Some(key) = key(id) {
            let first = *first.entry(key).or_insert(at);
            union.unite(first, at);
        }
    }
}

/// By a key, unless the two have different GUIDs.
fn unite_unless_apart(union: &mut Union, ids: &[SwitchId], key: impl Fn(&SwitchId) -> Option<String>) {
    let mut guids: BTreeMap<usize, BTreeSet<u64>> = BTreeMap::new();
    for (at, id) in ids.iter().enumerate() {
        if let Some(guid) = id.guid {
            guids.entry(union.find(at)).or_default().insert(guid.0);
        }
    }
    let mut first: BTreeMap<String, usize> = BTreeMap::new();
    for (at, id) in ids.iter().enumerate() {
        let Some(key) = key(id) else { continue };
        let first = *first.entry(key).or_insert(at);
        let (a, b) = (union.find(first), union.find(at));
        let apart = match (guids.get(&a), guids.get(&b)) {
            (Some(a), Some(b)) => a.is_disjoint(b),
            _ => false,
        };
        if a != b && !apart {
            union.unite(a, b);
            let both = [a, b].into_iter().filter_map(|set| guids.remove(&set)).flatten().collect();
            guids.insert(union.find(a), both);
        }
    }
}

/// A MAC is one switch's in the world; of the other kinds of chassis ids (`ifname eth0`, `local sw`) many switches
/// may have the same, so that the name has to be the same too.
fn chassis(id: &SwitchId) -> Option<String> {
    let chassis = id.chassis.as_ref()?;
    match chassis.strip_prefix("mac ") {
        Some("00:00:00:00:00:00") => None,
        Some(_) => Some(chassis.clone()),
        None => Some(format!("{chassis} {}", id.name.as_ref()?)),
    }
}

/// Addresses that every switch may have do not count.
fn address(id: &SwitchId) -> Option<String> {
    id.address.clone().filter(|address| is_own(address))
}

/// Neither link-local nor loopback nor unset, in text form.
fn is_own(address: &str) -> bool {
    let lower = address.to_ascii_lowercase();
    !["fe80:", "127.", "169.254.", "0.0.0.0", "::"].iter().any(|prefix| lower.starts_with(prefix))
}

/// Sets that share a name are united if at most one of them is known by more than names.
fn unite_names(union: &mut Union, ids: &[SwitchId]) {
    let mut with: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut identified = vec![false; ids.len()];
    for (at, id) in ids.iter().enumerate() {
        if let Some(name) = id.name.as_deref() {
            with.entry(name).or_default().push(at);
        }
        identified[union.find(at)] |= id.guid.is_some() || id.chassis.is_some() || id.address.is_some();
    }
    for same in with.into_values() {
        let sets: BTreeSet<usize> = same.iter().map(|at| union.find(*at)).collect();
        let (known, named): (Vec<usize>, Vec<usize>) = sets.into_iter().partition(|set| identified[*set]);
        let together = if let [one] = known[..] { [vec![one], named].concat() } else { named };
        for other in together.iter().skip(1) {
            union.unite(together[0], *other);
            identified[union.find(together[0])] = known.len() == 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::port::Guid;
    use super::*;

    fn id(guid: u64, chassis: &str, address: &str, name: &str) -> SwitchId {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_string());
        SwitchId {
            guid: (guid != 0).then_some(Guid(guid)),
            chassis: text(chassis),
            address: text(address),
            name: text(name),
        }
    }

    fn merged(ids: &[SwitchId]) -> Vec<Vec<usize>> {
        let switches = Switches::merge(ids.iter().cloned().collect());
        let mut sets: BTreeMap<Row, Vec<usize>> = BTreeMap::new();
        for (at, id) in ids.iter().enumerate() {
            sets.entry(switches.row(id).unwrap()).or_default().push(at);
        }
        let mut sets: Vec<Vec<usize>> = sets.into_values().collect();
        sets.sort();
        sets
    }

    #[test]
    fn line_cards_of_one_chassis_are_one_switch_by_their_management_address() {
        let cards = [
            id(0, "mac 02:00:00:00:00:01", "10.0.0.1", "core-1"),
            id(0, "mac 02:00:00:00:00:02", "10.0.0.1", "core-1"),
            id(0, "mac 02:00:00:00:00:03", "10.0.0.2", "core-1"),
        ];
        assert_eq!(merged(&cards), [vec![0, 1], vec![2]]);
    }

    #[test]
    fn a_common_name_unites_nothing_that_is_told_apart() {
        let names = [
            id(1, "", "", "Switch Mellanox Technologies"),
            id(2, "", "", "Switch Mellanox Technologies"),
            id(0, "", "", "Switch Mellanox Technologies"),
        ];
        assert_eq!(merged(&names), [vec![0], vec![1], vec![2]]);
        let leaf = [id(1, "", "", "leaf-1"), id(0, "", "", "leaf-1")];
        assert_eq!(merged(&leaf), [vec![0, 1]], "the operator's word for the only leaf of that name");
    }

    #[test]
    fn a_chassis_id_that_many_switches_may_have_unites_those_of_one_name_alone() {
        let eth0 = "ifname eth0";
        let tors =
            [id(0, eth0, "10.0.0.1", "tor-1"), id(0, eth0, "10.0.0.2", "tor-2"), id(0, eth0, "", "tor-2")];
        assert_eq!(merged(&tors), [vec![0], vec![1, 2]]);
        let zero = "mac 00:00:00:00:00:00";
        assert_eq!(merged(&[id(0, zero, "10.0.0.1", "a"), id(0, zero, "10.0.0.2", "b")]), [vec![0], vec![1]]);
        let own = "mac 02:00:00:00:00:01";
        assert_eq!(
            merged(&[id(1, own, "", "a"), id(2, own, "", "b")]),
            [vec![0], vec![1]],
            "two GUIDs are two"
        );
    }

    #[test]
    fn addresses_that_every_switch_has_are_no_identity() {
        let links = [
            id(0, "mac 02:00:00:00:00:01", "fe80::1", ""),
            id(0, "mac 02:00:00:00:00:02", "fe80::1", ""),
            id(5, "", "10.0.0.1", ""),
            id(6, "", "10.0.0.1", ""),
        ];
        assert_eq!(merged(&links), [vec![0], vec![1], vec![2], vec![3]]);
    }
}
