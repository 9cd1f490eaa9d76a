//! Machines that are known twice: one that was installed anew joins as another node, while what it told before
//! stays, as that of every node whose link is lost. The living overrules its former self.

use std::collections::{BTreeMap, BTreeSet};

use phalanx_common::id::NodeId;
use phalanx_common::topology::machine::{AcceleratorKind, Machine};
use phalanx_common::topology::{Guid, Mac, Port};

use super::Survey;

/// What one machine alone has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mark<'a> {
    Guid(Guid),
    Mac(Mac),
    Serial(AcceleratorKind, &'a str),
}

/// Nodes without a link beside linked ones that have the same marks.
#[derive(Debug, Default)]
pub(super) struct Twins {
    /// At least half of a node's marks are those of linked nodes: it is the same machine, or what is left of it.
    pub(super) former: BTreeSet<NodeId>,
    guids: BTreeSet<Guid>,
    macs: BTreeSet<Mac>,
    /// Whoever has a mark of another.
    pub(super) all: BTreeSet<NodeId>,
}

impl Twins {
    /// Whether a port of a node without a link is elsewhere by now: adapters are moved, too.
    pub(super) fn have(&self, port: &Port) -> bool {
        port.guid.is_some_and(|guid| self.guids.contains(&guid))
            || port.mac.is_some_and(|mac| self.macs.contains(&mac))
    }
}

impl Survey {
    pub(super) fn twins(&self) -> Twins {
        let machines = || self.nodes.iter().filter_map(|(id, told)| Some((id, told, told.machine.as_ref()?)));
        let mut owners: BTreeMap<Mark<'_>, Vec<&NodeId>> = BTreeMap::new();
        for (id, _, machine) in machines() {
            for mark in marks(machine) {
                owners.entry(mark).or_default().push(id);
            }
        }
        owners.retain(|_, ids| ids.len() > 1);
        let all = owners.values().flatten().map(|id| (*id).clone()).collect();
        let mut twins = Twins { all, ..Twins::default() };
        let is_linked = |id: &NodeId| self.nodes.get(id).is_some_and(|told| told.linked);
        owners.retain(|_, ids| ids.iter().any(|id| is_linked(id)));
        for mark in owners.keys() {
            match mark {
                Mark::Guid(guid) => drop(twins.guids.insert(*guid)),
                Mark::Mac(mac) => drop(twins.macs.insert(*mac)),
                Mark::Serial(..) => {}
            }
        }
        for (id, told, machine) in machines().filter(|(id, ..)| twins.all.contains(*id)) {
            let marks = marks(machine);
            let lost = marks.iter().filter(|mark| owners.contains_key(mark)).count();
            if !told.linked && 2 * lost >= marks.len() && lost > 0 {
                twins.former.insert(id.clone());
            }
        }
        twins
    }
}

fn marks(machine: &Machine) -> BTreeSet<Mark<'_>> {
    let mut marks = BTreeSet::new();
    for port in machine.ports() {
        marks.extend(port.guid.filter(|guid| guid.0 != 0).map(Mark::Guid));
        marks.extend(port.mac.filter(|mac| mac.0 != [0; 6]).map(Mark::Mac));
    }
    for accelerator in &machine.accelerators {
        // What stands there where nobody wrote a number.
        let serial = accelerator.serial.as_deref().filter(|it| it.contains(|c| ('1'..='9').contains(&c)));
        marks.extend(serial.map(|serial| Mark::Serial(accelerator.kind, serial)));
    }
    marks
}
