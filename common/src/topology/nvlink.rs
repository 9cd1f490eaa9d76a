//! NVLink domains over nodes: a cluster's uuid and a clique of it.

use std::collections::{BTreeMap, BTreeSet};

use super::decide::{Claims, decide};
use super::evidence::{Claim, Evidence};
use super::network::{Conflict, Row, Subject, Value, row_of};
use super::nodes::Nodes;

/// A domain's name, or a cluster's whose clique is unknown.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Domain {
    Whole(String),
    Cluster(String),
}

impl Domain {
    fn name(&self) -> &String {
        let (Domain::Whole(name) | Domain::Cluster(name)) = self;
        name
    }

    fn agrees(&self, other: &Domain) -> bool {
        match (self, other) {
            (Domain::Whole(whole), Domain::Cluster(cluster))
            | (Domain::Cluster(cluster), Domain::Whole(whole)) => is_clique_of(whole, cluster),
            (one, other) => one == other,
        }
    }
}

/// Writes each node's NVLink domain, and gives the domains' names and which of them are clusters.
pub(super) fn domains(
    evidence: &[&Evidence],
    nodes: &mut Nodes,
    conflicts: &mut Vec<Conflict>,
) -> (Vec<String>, Vec<Row>) {
    let mut claims: BTreeMap<Row, Claims<'_, Domain>> = BTreeMap::new();
    for by in evidence {
        let (node, domain) = match &by.claim {
            Claim::Nvlink { node, domain } => (node, Domain::Whole(domain.clone())),
            Claim::NvlinkCluster { node, cluster } => (node, Domain::Cluster(cluster.clone())),
            _ => continue,
        };
        if let Some(row) = nodes.row(node) {
            claims.entry(row).or_default().push((by, domain));
        }
    }
    let mut domain_of: BTreeMap<Row, Domain> = BTreeMap::new();
    for (node, claims) in claims {
        // Of a cluster the clique may be known from another source; then it is that domain.
        let whole = |said: &Domain| {
            let agree = claims.iter().filter(|(_, it)| matches!(it, Domain::Whole(_)) && it.agrees(said));
            let agree = agree.map(|(by, domain)| (*by, domain.clone())).collect();
            let name = |domain: &Domain| Value::Name(domain.name().clone());
            Some(decide(agree, || Subject::Nvlink { node }, name, |a, b| a == b)?.value)
        };
        let resolved =
            claims.iter().map(|(by, said)| (*by, (whole(said).unwrap_or(said.clone()), said.clone())));
        let decided = decide(
            resolved.collect(),
            || Subject::Nvlink { node },
            |(_, said)| Value::Name(said.name().clone()),
            |(a, _), (b, _)| a == b,
        );
        if let Some(decided) = decided {
            domain_of.insert(node, decided.value.0);
            conflicts.extend(decided.conflict);
        }
    }
    let clusters: BTreeSet<&String> =
        domain_of.values().filter(|it| matches!(it, Domain::Cluster(_))).map(Domain::name).collect();
    let names: Vec<String> =
        domain_of.values().map(Domain::name).collect::<BTreeSet<_>>().into_iter().cloned().collect();
    let row = |name: &String| names.binary_search(name).ok().map(row_of);
    let clusters = clusters.into_iter().filter_map(row).collect();
    for (node, domain) in &domain_of {
        nodes.rows[*node as usize].nvlink = row(domain.name());
    }
    (names, clusters)
}

/// Whether a domain is a clique of a cluster: `<cluster uuid>.<clique>`.
pub(super) fn is_clique_of(domain: &str, cluster: &str) -> bool {
    domain.strip_prefix(cluster).is_some_and(|clique| clique.starts_with('.'))
}
