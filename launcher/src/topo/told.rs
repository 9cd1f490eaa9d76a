//! Who told something, for people.

use std::collections::{BTreeMap, BTreeSet};

use phalanx_common::time::Timestamp;
use phalanx_common::topology::{Claim, End, Evidence, Member, SwitchId};
use serde::{Deserialize, Serialize};

/// One origin of one source, and what it spoke of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Told {
    /// The source in words: `LLDP`, `the operator`.
    pub(crate) source: String,
    pub(crate) origin: String,
    /// The newest of what it told.
    pub(crate) observed_at: Timestamp,
    pub(crate) claims: usize,
    /// Names and GUIDs of nodes and switches.
    pub(crate) about: BTreeSet<String>,
}

impl Told {
    /// Evidence by where it came from.
    pub(crate) fn summarise(evidence: &[Evidence]) -> Vec<Told> {
        let mut told: BTreeMap<(_, &str), Told> = BTreeMap::new();
        for by in evidence {
            let told = told.entry((by.source, by.origin.as_str())).or_insert_with(|| Told {
                source: by.source.to_string(),
                origin: by.origin.clone(),
                observed_at: by.observed_at,
                claims: 0,
                about: BTreeSet::new(),
            });
            told.observed_at = told.observed_at.max(by.observed_at);
            told.claims += 1;
            about(&by.claim, &mut told.about);
        }
        told.into_values().collect()
    }
}

fn about(claim: &Claim, names: &mut BTreeSet<String>) {
    let end = |end: &End, names: &mut BTreeSet<String>| {
        names.extend(end.node.clone());
        names.extend(end.guid.map(|guid| guid.to_string()));
        names.extend(end.mac.map(|mac| mac.to_string()));
    };
    let switch = |id: &SwitchId, names: &mut BTreeSet<String>| names.extend(names_of(id));
    match claim {
        Claim::Attached { end: of, switch: on, .. } => {
            end(of, names);
            switch(on, names);
        }
        Claim::Linked { a, b, .. } | Claim::Under { lower: a, upper: b } => {
            switch(a, names);
            switch(b, names);
        }
        Claim::ExpectedUplinks { switch: of, .. }
        | Claim::Plane { switch: of, .. }
        | Claim::Member { member: Member::Switch(of), .. } => switch(of, names),
        Claim::Nvlink { node, .. }
        | Claim::NvlinkCluster { node, .. }
        | Claim::Node { node }
        | Claim::Member { member: Member::Node(node), .. } => {
            names.insert(node.clone());
        }
        Claim::Heard { listener, speaker } => {
            end(listener, names);
            end(speaker, names);
        }
        Claim::Prefix { end: of, .. } | Claim::Rail { end: of, .. } => end(of, names),
        Claim::Owner { guid, node, .. } => names.extend([guid.to_string(), node.clone()]),
        Claim::Cut { .. } => {}
        Claim::NoNode { guid } => {
            names.insert(guid.to_string());
        }
    }
}

/// Everything that a switch is called.
pub(super) fn names_of(id: &SwitchId) -> impl Iterator<Item = String> {
    let texts = [&id.name, &id.chassis, &id.address].map(Clone::clone);
    id.guid.map(|guid| guid.to_string()).into_iter().chain(texts.into_iter().flatten())
}
