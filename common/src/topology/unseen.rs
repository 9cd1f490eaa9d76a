//! Names that the operator's statements alone have. A statement makes nodes and switches of what it names, so that a
//! misspelt one is another node.

use std::collections::{BTreeMap, BTreeSet};

use super::derive::speaks_of;
use super::evidence::{Evidence, Source};
use super::network::{Row, Switch, Unseen};
use super::nodes::{Found, Nodes};
use super::switches::Switches;

/// Rows that a piece of evidence speaks of, and the names in it, whatever it takes them for: of a dump that was cut
/// nobody knows what is at the other end of a cable, and a node's name may be on another machine's adapter.
#[derive(Debug, Default)]
struct Rows<'a> {
    nodes: BTreeSet<Row>,
    switches: BTreeSet<Row>,
    names: BTreeSet<&'a str>,
}

impl<'a> Rows<'a> {
    fn add(&mut self, by: &'a Evidence, nodes: &Nodes, switches: &Switches) {
        let (mut ids, mut ends, mut names) = Default::default();
        speaks_of(&by.claim, &mut ids, &mut ends, &mut names);
        self.names.extend(ids.iter().filter_map(|id| id.name.as_deref()));
        self.names.extend(ends.iter().filter_map(|end| end.node.as_deref()));
        self.switches.extend(ids.into_iter().filter_map(|id| switches.row(id)));
        self.nodes.extend(names.into_iter().filter_map(|name| nodes.row(name)));
        self.nodes.extend(ends.into_iter().filter_map(|end| match nodes.find(end) {
            Found::Port(at) => Some(at.node),
            Found::Node(row) => Some(row),
            Found::Nobody => None,
        }));
    }
}

/// By the file that has them. Nothing is unseen where nobody else sees any of the kind: a cluster may be stated as a
/// whole, and so may the switches of a level.
pub(super) fn find(evidence: &[&Evidence], nodes: &Nodes, switches: &Switches) -> Vec<Unseen> {
    let (mut seen, mut stated) = (Rows::default(), BTreeMap::<&str, Rows<'_>>::new());
    for by in evidence {
        let rows = match by.source {
            Source::Operator => stated.entry(&by.origin).or_default(),
            _ => &mut seen,
        };
        rows.add(by, nodes, switches);
    }
    let joined = nodes.rows.iter().zip(0..).filter(|(node, _)| node.joined);
    seen.nodes.extend(joined.map(|(_, row)| row));
    let level = |row: &Row| switches.rows.get(*row as usize).map_or(0, |switch: &Switch| switch.level);
    let levels: BTreeSet<u8> = seen.switches.iter().map(level).collect();
    let is_compared = |row: &Row| match level(row) {
        0 => !levels.is_empty(),
        level => levels.contains(&level),
    };
    let node_is_named = |row: &Row| seen.names.contains(nodes.rows[*row as usize].name.as_str());
    let switch_is_named = |row: &Row| {
        let mut names = switches.rows[*row as usize].ids.iter().filter_map(|id| id.name.as_deref());
        names.any(|name| seen.names.contains(name))
    };
    let unseen = stated.into_iter().map(|(origin, rows)| {
        let of_nodes = rows.nodes.difference(&seen.nodes).filter(|_| !seen.nodes.is_empty());
        let of_switches = rows.switches.difference(&seen.switches).filter(|row| is_compared(row));
        Unseen {
            origin: origin.to_string(),
            nodes: of_nodes.filter(|row| !node_is_named(row)).copied().collect(),
            switches: of_switches.filter(|row| !switch_is_named(row)).copied().collect(),
        }
    });
    unseen.filter(|unseen| !unseen.nodes.is_empty() || !unseen.switches.is_empty()).collect()
}

/// Known names by the numbers in them, for the one that was meant: `gpu-7` is near `gpu-07`, and far from `gpu-8`.
#[derive(Debug)]
pub struct Known<'a>(BTreeMap<Vec<&'a str>, Vec<&'a str>>);

impl<'a> Known<'a> {
    pub fn of(names: impl Iterator<Item = &'a str>) -> Known<'a> {
        let mut known: BTreeMap<_, Vec<&str>> = BTreeMap::new();
        for name in names {
            known.entry(numbers(name)).or_default().push(name);
        }
        Known(known)
    }

    /// The known name that is a slip away, if there is one.
    pub fn nearest(&self, name: &str) -> Option<&'a str> {
        let slips = |known: &str| strsim::osa_distance(&letters(name), &letters(known));
        let near = self.0.get(&numbers(name))?.iter().map(|known| (slips(known), *known)).min()?;
        (near.0 <= if name.len() < 8 { 1 } else { 2 }).then_some(near.1)
    }
}

/// As they count: without the zeros before them.
fn numbers(name: &str) -> Vec<&str> {
    let digits = name.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
    digits.map(|digits| digits.trim_start_matches('0')).collect()
}

fn letters(name: &str) -> String {
    name.chars().filter(|c| !c.is_ascii_digit()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_near_and_another_number_is_not() {
        let known = Known::of(["gpu-07", "gpu-08", "leaf-a1", "n1"].into_iter());
        for (name, near) in [
            ("gpu-7", Some("gpu-07")),
            ("gup-08", Some("gpu-08")),
            ("GPU-O8", Some("gpu-08")),
            ("gpu-09", None),
            ("laef-a1", Some("leaf-a1")),
            ("m1", Some("n1")),
            ("rack1", None),
            ("spine", None),
        ] {
            assert_eq!(known.nearest(name), near, "{name}");
        }
    }
}
