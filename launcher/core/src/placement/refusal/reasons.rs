//! Nodes that refuse for the same reason, put together: a cluster has thousands, and few reasons.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

use phalanx_common::id::NodeId;

use super::{Refusal, Standing};

/// So many reasons are told in one line for people.
const TOLD: usize = 8;
/// So many nodes of a reason are named there.
const NAMED: usize = 4;
/// Stands for a number in the text of a reason.
const NUMBER: char = '\0';

/// Nodes that refuse alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// What each of them has or is; numbers in which they differ as a range.
    pub why: String,
    /// At least one.
    pub nodes: Vec<NodeId>,
    /// The text does not go on after the name of a node.
    apart: bool,
}

/// One for all nodes that say the same but for numbers: those that last before those that pass, and of these that of the most nodes first.
pub fn reasons(refused: &BTreeMap<NodeId, Refusal>) -> Vec<Reason> {
    let mut told: BTreeMap<String, Told<'_>> = BTreeMap::new();
    let mut before: Option<(&Refusal, String, Vec<u64>)> = None;
    for (node, refusal) in refused {
        // Neighbours are mostly alike, and a text takes its time.
        let (template, numbers) = match before.take() {
            Some((same, template, numbers)) if same == refusal => (template, numbers),
            _ => template(refusal),
        };
        match told.get_mut(&template) {
            Some(told) => told.add(node, &numbers),
            None => drop(told.insert(template.clone(), Told::new(node, refusal, &numbers))),
        }
        before = Some((refusal, template, numbers));
    }
    let mut reasons: Vec<(Standing, Reason)> =
        told.into_iter().map(|(template, told)| (told.of.standing(), told.reason(&template))).collect();
    let key = |reason: &Reason| Reverse(reason.nodes.len());
    reasons.sort_by(|(a, one), (b, other)| (a, key(one), &one.nodes).cmp(&(b, key(other), &other.nodes)));
    reasons.into_iter().map(|(_, reason)| reason).collect()
}

/// Nodes whose reasons have one template.
struct Told<'a> {
    of: &'a Refusal,
    nodes: Vec<NodeId>,
    /// The least and the most of each number.
    spans: Vec<(u64, u64)>,
}

impl<'a> Told<'a> {
    fn new(node: &NodeId, of: &'a Refusal, numbers: &[u64]) -> Told<'a> {
        Told { of, nodes: vec![node.clone()], spans: numbers.iter().map(|it| (*it, *it)).collect() }
    }

    fn add(&mut self, node: &NodeId, numbers: &[u64]) {
        self.nodes.push(node.clone());
        for ((least, most), number) in self.spans.iter_mut().zip(numbers) {
            (*least, *most) = ((*least).min(*number), (*most).max(*number));
        }
    }

    fn reason(self, template: &str) -> Reason {
        let mut spans = self.spans.iter();
        let why = template.chars().fold(String::new(), |mut why, c| {
            match (c, if c == NUMBER { spans.next() } else { None }) {
                (_, Some((least, most))) if least == most => why += &least.to_string(),
                (_, Some((least, most))) => why += &format!("{least} to {most}"),
                (c, None) => why.push(c),
            }
            why
        });
        Reason { why, nodes: self.nodes, apart: matches!(self.of, Refusal::Lacks(_)) }
    }
}

/// The text of a refusal, and its numbers where others may differ in them. In the others digits are part of a name.
fn template(refusal: &Refusal) -> (String, Vec<u64>) {
    let text = refusal.to_string();
    if !matches!(refusal, Refusal::Slots { .. } | Refusal::Lacks(_)) {
        return (text, Vec::new());
    }
    let (mut template, mut numbers) = (String::new(), Vec::new());
    let mut rest = text.as_str();
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(at);
        let (digits, after) = from.split_at(from.find(|c: char| !c.is_ascii_digit()).unwrap_or(from.len()));
        template += before;
        template.push(NUMBER);
        numbers.push(digits.parse().unwrap_or(u64::MAX));
        rest = after;
    }
    (template + rest, numbers)
}

impl fmt::Display for Reason {
    /// `node a is unreachable`, `each of 12 nodes (a, b, c, d and 8 more) is unreachable`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.nodes.as_slice() {
            [node] => write!(f, "node {node}")?,
            nodes => {
                write!(f, "each of {} nodes (", nodes.len())?;
                // A single one more is named rather than counted.
                let named = if nodes.len() == NAMED + 1 { NAMED + 1 } else { NAMED };
                for (node, at) in nodes.iter().take(named).zip(0..) {
                    write!(f, "{}{node}", if at == 0 { "" } else { ", " })?;
                }
                match nodes.len().saturating_sub(named) {
                    0 => f.write_str(")")?,
                    more => write!(f, " and {more} more)")?,
                }
            }
        }
        write!(f, "{} {}", if self.apart { ":" } else { "" }, self.why)
    }
}

/// All of them, in one line that has a bound.
pub(super) fn in_one_line(refused: &BTreeMap<NodeId, Refusal>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let reasons = reasons(refused);
    for reason in reasons.iter().take(TOLD) {
        write!(f, "; {reason}")?;
    }
    match reasons.iter().skip(TOLD).map(|reason| reason.nodes.len()).sum::<usize>() {
        0 => Ok(()),
        1 => f.write_str("; and one more node"),
        more => write!(f, "; and {more} more nodes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::inside::{Lack, Missing};

    fn refused(of: impl IntoIterator<Item = (&'static str, Refusal)>) -> BTreeMap<NodeId, Refusal> {
        of.into_iter().map(|(node, refusal)| (NodeId::new(node), refusal)).collect()
    }

    fn told(refused: &BTreeMap<NodeId, Refusal>) -> Vec<String> {
        reasons(refused).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn nodes_of_one_reason_are_told_once_and_those_of_the_most_nodes_first() {
        let all = refused([
            ("a", Refusal::Unreachable),
            ("b", Refusal::Held),
            ("c", Refusal::Held),
            ("d", Refusal::Unreachable),
            ("e", Refusal::Held),
            ("f", Refusal::Avoided),
        ]);
        assert_eq!(
            told(&all),
            [
                "each of 3 nodes (b, c, e) is all of another job's",
                "each of 2 nodes (a, d) is unreachable",
                "node f is to be avoided",
            ]
        );
        let many = (0..6).map(|at| (NodeId::new(format!("n{at}")), Refusal::Held)).collect();
        assert_eq!(told(&many), ["each of 6 nodes (n0, n1, n2, n3 and 2 more) is all of another job's"]);
    }

    #[test]
    fn nodes_that_differ_in_a_number_alone_are_told_with_its_range() {
        let slots = |free| Refusal::Slots { free, of: 8 };
        let all = refused([("a", slots(3)), ("b", slots(0)), ("c", slots(7))]);
        assert_eq!(told(&all), ["each of 3 nodes (a, b, c) has 0 to 7 of 8 slots free"]);
        let lack = |free| {
            let missing = vec![Missing::Devices { needed: 8, free, has: 8 }];
            Refusal::Lacks(Lack { ranks: 8, fits: 0, missing })
        };
        let all = refused([("a", lack(0)), ("b", lack(4))]);
        assert_eq!(
            told(&all),
            [
                "each of 2 nodes (a, b): needs 8 devices, 0 to 4 of 8 free; would fit with 4 to 8 more free devices"
            ]
        );
    }

    #[test]
    fn what_lasts_is_told_before_what_passes_and_what_the_job_chose_itself_last() {
        let lack = |needed, free| {
            let missing = vec![Missing::Devices { needed, free, has: 8 }];
            Refusal::Lacks(Lack { ranks: 1, fits: 0, missing })
        };
        let all = refused([
            ("a", Refusal::NotNamed),
            ("b", Refusal::NotNamed),
            ("c", Refusal::NotNamed),
            ("d", lack(8, 0)),
            ("e", lack(8, 0)),
            ("f", lack(9, 8)),
        ]);
        assert_eq!(
            told(&all),
            [
                "node f: needs 9 devices, 8 of 8 free; the node never has more than 8 devices",
                "each of 2 nodes (d, e): needs 8 devices, 0 of 8 free; would fit with 8 more free devices",
                "each of 3 nodes (a, b, c) is none of the nodes that the job names",
            ]
        );
    }

    #[test]
    fn digits_of_names_are_no_numbers() {
        let user = |user: &str| Refusal::RunsOnly { user: user.into() };
        assert_eq!(
            told(&refused([("a", user("u1")), ("b", user("u2"))])),
            ["node a runs jobs of u1 only", "node b runs jobs of u2 only"]
        );
    }
}
