//! What each port is attached to, and how switches are linked.

use std::collections::{BTreeMap, BTreeSet};

use super::decide::{Claims, decide, strongest_first};
use super::evidence::{Claim, Evidence, Source};
use super::network::{At, Conflict, PortRef, Row, Subject, Unjoined, Value};
use super::nodes::{Found, Nodes};
use super::port::{Guid, Mac};
use super::switches::Switches;

/// What the evidence says of cables.
#[derive(Debug, Default)]
pub(super) struct Cables<'a> {
    /// Claims about a node without a port. They are weighed against its ports, by plane.
    pub(super) of_nodes: BTreeMap<Row, Claims<'a, Row>>,
    pub(super) unjoined: BTreeSet<Unjoined>,
    /// Working cables and their rate, for each pair with the lower row first.
    pub(super) links: BTreeMap<(Row, Row), Cable>,
    /// Lower and upper switch, as stated.
    pub(super) under: BTreeSet<(Row, Row)>,
    /// Switches that are stated to be under themselves.
    pub(super) under_itself: BTreeSet<Row>,
    pub(super) expected: BTreeMap<Row, u32>,
    /// Switches whose cables somebody counts: a dump that has cables between switches speaks of them.
    pub(super) counted: BTreeSet<Row>,
    /// What the fabric's names say of the place of a joined node's adapter.
    pub(super) called: BTreeMap<PortRef, u16>,
    pub(super) conflicts: Vec<Conflict>,
}

/// How many cables work, and the rate of one.
pub(super) type Cable = (u32, Option<u32>);

/// A port's claims: switch, the switch's port, speed.
type Attachment = (Row, Option<String>, Option<u32>);

/// What tells an adapter that is no node's from others, in whatever dump it is seen.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Stranger {
    Guid(Guid),
    Mac(Mac),
    /// By all that is said of it.
    Other(Unjoined),
}

impl Stranger {
    fn of(unjoined: &Unjoined) -> Stranger {
        let by_guid = unjoined.guid.map(Stranger::Guid);
        by_guid.or(unjoined.mac.map(Stranger::Mac)).unwrap_or_else(|| Stranger::Other(unjoined.clone()))
    }
}

/// An adapter as the strongest source has it: several dumps that show it show one adapter. One dump may have
/// several cables of it, where it has the adapter's GUID for all its ports; one that was cut, some of them.
fn once(mut claims: Claims<'_, Unjoined>, cut: &Cut<'_>) -> Vec<Unjoined> {
    if claims.iter().any(|(by, _)| !cut.contains(&who(by))) {
        claims.retain(|(by, _)| !cut.contains(&who(by)));
    }
    strongest_first(&mut claims);
    let dump = |by: &Evidence| (by.source, by.origin.clone(), by.observed_at);
    let strongest = claims.first().map(|(by, _)| dump(by));
    // A weaker dump may know a name where the stronger does not.
    let called = claims.iter().filter_map(|(_, it)| it.called.as_ref()).min();
    let of_dump = claims.iter().filter(|(by, _)| Some(dump(by)) == strongest);
    of_dump.map(|(_, it)| Unjoined { called: it.called.as_ref().or(called).cloned(), ..it.clone() }).collect()
}

/// Dumps that were cut: they have some of the cables.
type Cut<'a> = BTreeSet<(Source, &'a str)>;

/// Which dump it is of.
fn who(by: &Evidence) -> (Source, &str) {
    (by.source, by.origin.as_str())
}

impl<'a> Cables<'a> {
    /// Decides what is attached to what, and writes it to the ports of `nodes`.
    pub(super) fn trace(evidence: &[&'a Evidence], nodes: &mut Nodes, switches: &Switches) -> Cables<'a> {
        let mut cables = Cables::default();
        let cut = evidence.iter().filter(|by| matches!(by.claim, Claim::Cut { .. }));
        let cut: Cut<'_> = cut.map(|by| who(by)).collect();
        cables.attach(evidence, nodes, switches, &cut);
        cables.link(evidence, switches, &cut);
        cables.expect(evidence, switches);
        cables.find_counted(evidence, switches, &cut);
        cables
    }

    fn attach(&mut self, evidence: &[&'a Evidence], nodes: &mut Nodes, switches: &Switches, cut: &Cut<'_>) {
        let serving: BTreeSet<Guid> = evidence
            .iter()
            .filter_map(|by| if let Claim::NoNode { guid } = by.claim { Some(guid) } else { None })
            .collect();
        let mut of_ports: BTreeMap<PortRef, Claims<'a, Attachment>> = BTreeMap::new();
        let mut strangers: BTreeMap<Stranger, Claims<'a, Unjoined>> = BTreeMap::new();
        for by in evidence {
            let Claim::Attached { end, switch, switch_port, speed_mbps } = &by.claim else { continue };
            let Some(row) = switches.row(switch) else { continue };
            match nodes.find(end) {
                Found::Port(port) => {
                    if let Some(index) = end.index.filter(|_| nodes.rows[port.node as usize].joined) {
                        let called = self.called.entry(port).or_insert(index);
                        *called = index.min(*called);
                    }
                    of_ports.entry(port).or_default().push((by, (row, switch_port.clone(), *speed_mbps)));
                }
                Found::Node(node) => self.of_nodes.entry(node).or_default().push((by, row)),
                Found::Nobody => {
                    if !end.guid.is_some_and(|guid| serving.contains(&guid)) {
                        let unjoined = Unjoined {
                            switch: row,
                            switch_port: switch_port.clone(),
                            guid: end.guid,
                            mac: end.mac,
                            called: end.node.clone(),
                        };
                        strangers.entry(Stranger::of(&unjoined)).or_default().push((by, unjoined));
                    }
                }
            }
        }
        self.unjoined = strangers.into_values().flat_map(|claims| once(claims, cut)).collect();
        for (at, claims) in of_ports {
            let port_of_switch =
                claims.iter().map(|(_, (row, port, _))| (*row, port.clone())).collect::<Vec<_>>();
            let speed = claims.iter().filter_map(|(_, (.., speed))| *speed).max();
            let decided = decide(
                claims,
                || Subject::Port(at),
                |(row, ..)| Value::Switch(*row),
                |(a, ..), (b, ..)| a == b,
            );
            let Some(decided) = decided else { continue };
            let (row, port, _) = decided.value;
            // A weaker source that agrees may know the switch's port where the stronger does not.
            let known =
                || port_of_switch.into_iter().filter(|(of, _)| *of == row).filter_map(|(_, port)| port);
            let port = port.or_else(|| known().min());
            let end = &mut nodes.rows[at.node as usize].ports[at.port as usize];
            end.at = Some(At { switch: row, port, source: decided.by.source });
            end.speed_mbps = end.speed_mbps.or(speed);
            self.conflicts.extend(decided.conflict);
        }
    }

    fn link(&mut self, evidence: &[&'a Evidence], switches: &Switches, cut: &Cut<'_>) {
        let mut claims: BTreeMap<(Row, Row), Claims<'a, Cable>> = BTreeMap::new();
        for by in evidence {
            match &by.claim {
                Claim::Linked { a, b, links, rate_mbps } => {
                    if let (Some(a), Some(b)) = (switches.row(a), switches.row(b))
                        && a != b
                    {
                        claims.entry((a.min(b), a.max(b))).or_default().push((by, (*links, *rate_mbps)));
                    }
                }
                Claim::Under { lower, upper } => match (switches.row(lower), switches.row(upper)) {
                    (Some(lower), Some(upper)) if lower == upper => {
                        self.under_itself.insert(lower);
                    }
                    (Some(lower), Some(upper)) => {
                        self.under.insert((lower, upper));
                    }
                    _ => {}
                },
                _ => {}
            }
        }
        for ((a, b), mut claims) in claims {
            // A dump that was cut lacks cables that a whole one has, and is no witness that they are gone.
            let is_cut = |by: &Evidence| cut.contains(&who(by));
            let whole = claims.iter().filter(|(by, _)| !is_cut(by)).map(|(_, (links, _))| *links).max();
            claims.retain(|(by, (links, _))| !is_cut(by) || whole.is_none_or(|whole| *links > whole));
            let decided = decide(
                claims,
                || Subject::Link { a, b },
                |(links, _)| Value::Number(*links),
                |(one, _), (other, _)| one == other,
            );
            if let Some(decided) = decided {
                self.links.insert((a, b), decided.value);
                self.conflicts.extend(decided.conflict);
            }
        }
    }

    fn expect(&mut self, evidence: &[&'a Evidence], switches: &Switches) {
        let mut claims: BTreeMap<Row, Claims<'a, u32>> = BTreeMap::new();
        for by in evidence {
            if let Claim::ExpectedUplinks { switch, links } = &by.claim
                && let Some(row) = switches.row(switch)
            {
                claims.entry(row).or_default().push((by, *links));
            }
        }
        for (switch, claims) in claims {
            let decided =
                decide(claims, || Subject::Uplinks { switch }, |links| Value::Number(*links), |a, b| a == b);
            if let Some(decided) = decided {
                self.expected.insert(switch, decided.value);
                self.conflicts.extend(decided.conflict);
            }
        }
    }

    fn find_counted(&mut self, evidence: &[&'a Evidence], switches: &Switches, cut: &Cut<'_>) {
        let counts = |by: &&&Evidence| matches!(by.claim, Claim::Linked { .. });
        let mut counting: BTreeSet<(Source, &str)> =
            evidence.iter().filter(counts).map(|by| who(by)).collect();
        counting.retain(|who| !cut.contains(who));
        for by in evidence.iter().filter(|by| counting.contains(&who(by))) {
            match &by.claim {
                Claim::Attached { switch, .. } => self.counted.extend(switches.row(switch)),
                Claim::Linked { a, b, .. } => {
                    self.counted.extend([a, b].into_iter().filter_map(|id| switches.row(id)));
                }
                _ => {}
            }
        }
    }
}
