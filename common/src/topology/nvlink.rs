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

    fn is_whole(&self) -> bool {
        matches!(self, Domain::Whole(_))
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
        // Who names a cluster says less than who names a domain, and may call the cluster by another uuid
        // than the driver does (NetQ has one of its own): the two agree or not, and nobody can tell.
        let (whole, clusters): (Claims<'_, Domain>, Claims<'_, Domain>) =
            claims.into_iter().partition(|(_, domain)| domain.is_whole());
        let claims = if whole.is_empty() { clusters } else { whole };
        let said = |domain: &Domain| Value::Name(domain.name().clone());
        let decided = decide(claims, || Subject::Nvlink { node }, said, |a, b| a == b);
        if let Some(decided) = decided {
            domain_of.insert(node, decided.value);
            conflicts.extend(decided.conflict);
        }
    }
    let clusters: BTreeSet<&String> =
        domain_of.values().filter(|it| !it.is_whole()).map(Domain::name).collect();
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
