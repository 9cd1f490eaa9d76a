//! Whose port a GUID is, by statement. A GUID that no source has is a port that nobody sees: it is told, and makes no
//! port of a node.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::decide::{Claims, decide};
use super::derive::speaks_of;
use super::evidence::{Claim, End, Evidence};
use super::network::{Conflict, Subject, Value};
use super::nodes::NodePorts;
use super::port::Guid;

/// Statements of which is looked for what was meant: that is among all GUIDs that are known.
const MOST_GUESSED: usize = 16;

/// A GUID that a statement gives to a port of a node, and that no port has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stray {
    pub origin: String,
    /// In that file, where it is one. No fact: the hash does not cover it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    pub guid: Guid,
    /// Node and port, as stated.
    pub of: String,
    /// The GUID of a port that it is most like.
    pub nearest: Option<Guid>,
    /// The ports of the adapter whose GUID it is, where it is one's.
    pub of_adapter: Vec<Guid>,
}

/// Node and port of a port's GUID.
pub(super) type Owners<'a> = BTreeMap<Guid, (&'a str, &'a str)>;

/// The GUID of an adapter stands for that of its port where it has one alone. Where no source has GUIDs, all
/// statements count.
pub(super) fn find<'a>(
    evidence: &[&'a Evidence],
    told: &[NodePorts],
    conflicts: &mut Vec<Conflict>,
) -> (Owners<'a>, Vec<Stray>) {
    let mut claims: BTreeMap<Guid, Claims<'_, (&str, &str)>> = BTreeMap::new();
    for by in evidence {
        if let Claim::Owner { guid, node, port } = &by.claim {
            claims.entry(*guid).or_default().push((by, (node.as_str(), port.as_str())));
        }
    }
    let (mut owners, mut others) = (BTreeMap::new(), Vec::new());
    if claims.is_empty() {
        return (owners, Vec::new());
    }
    let known = Known::of(evidence, told);
    for (guid, claims) in claims {
        let said = |(node, port): &(&str, &str)| Value::Name(format!("{node} {port}"));
        if let Some(decided) = decide(claims, || Subject::Owner { guid }, said, |a, b| a == b) {
            conflicts.extend(decided.conflict);
            if known.ports.is_empty() || known.ports.contains(&guid) {
                owners.insert(guid, decided.value);
            } else {
                others.push((guid, decided.value, decided.by));
            }
        }
    }
    let mut strays = Vec::new();
    for (guid, (node, port), by) in others {
        let of_adapter: Vec<Guid> = known.adapters.get(&guid).into_iter().flatten().copied().collect();
        if let [one] = of_adapter[..]
            && !owners.contains_key(&one)
        {
            owners.insert(one, (node, port));
            continue;
        }
        let nearest = (of_adapter.is_empty() && strays.len() < MOST_GUESSED).then(|| known.nearest(guid));
        strays.push(Stray {
            origin: by.origin.clone(),
            line: by.line,
            guid,
            of: format!("{node} {port}"),
            nearest: nearest.flatten(),
            of_adapter,
        });
    }
    strays.sort();
    (owners, strays)
}

/// GUIDs that fabrics and nodes have.
#[derive(Debug, Default)]
struct Known {
    ports: BTreeSet<Guid>,
    /// The ports of each adapter.
    adapters: BTreeMap<Guid, BTreeSet<Guid>>,
}

impl Known {
    fn of(evidence: &[&Evidence], told: &[NodePorts]) -> Known {
        let (mut ids, mut ends, mut names) = (BTreeSet::new(), BTreeSet::<&End>::new(), BTreeSet::new());
        let mut known = Known::default();
        for by in evidence {
            speaks_of(&by.claim, &mut ids, &mut ends, &mut names);
            known.ports.extend(if let Claim::NoNode { guid } = by.claim { Some(guid) } else { None });
        }
        let of_ends = ends.into_iter().map(|end| (end.guid, end.node_guid));
        let of_ports = told.iter().flat_map(|node| &node.ports).map(|port| (port.guid, port.node_guid));
        for (port, adapter) in of_ends.chain(of_ports) {
            known.ports.extend(port);
            if let (Some(port), Some(adapter)) = (port, adapter) {
                known.adapters.entry(adapter).or_default().insert(port);
            }
        }
        known
    }

    /// The one GUID of a port that is a slip away. Those of one board count up, so that there may be several.
    fn nearest(&self, guid: Guid) -> Option<Guid> {
        let written = guid.to_string();
        let mut near =
            self.ports.iter().filter(|known| strsim::osa_distance(&known.to_string(), &written) == 1);
        let first = near.next().copied()?;
        near.next().is_none().then_some(first)
    }
}
