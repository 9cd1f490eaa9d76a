//! Why a gang does not fit: node by node, domain by domain, and the smallest change that would make it fit.

mod reasons;

use std::collections::BTreeMap;
use std::fmt;

use phalanx_common::id::NodeId;
use phalanx_common::spec::Shape;
use phalanx_common::topology::Tier;

use super::inside::{Lack, plural};
use super::order::LayoutError;
use super::request::UnknownTier;

pub use reasons::{Reason, reasons};

/// So many shares are named in one line for people.
const SHARES: usize = 8;
/// So many names that no node has.
const NAMES: usize = 4;

/// Why a gang does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoFit {
    /// Of an elastic job the least that it can do with.
    pub needed: Shape,
    /// Nodes that can take a share of it, or ranks that fit, as `needed` counts.
    pub fitting: u32,
    pub refused: BTreeMap<NodeId, Refusal>,
    /// Names among those that the job wants to choose from and no node has.
    pub strangers: Vec<Stranger>,
    /// What is in its way beside single nodes.
    pub obstacle: Option<Obstacle>,
}

/// A name that no node goes by: misspelt, or of one that is to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stranger {
    pub name: String,
    /// The node that may be meant.
    pub nearest: Option<String>,
}

/// What is asked of all nodes together and is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// There are enough nodes, but not within one domain of this tier: the largest has so many.
    TooFarApart {
        tier: Tier,
        domain: String,
        nodes: u32,
        needed: u32,
    },
    /// No two nodes may share a domain of this tier, and so many domains have a node that can take a share.
    TooFewDomains {
        tier: Tier,
        domains: u32,
        needed: u32,
    },
    /// It has to be on one node, and none has room for more than `most` ranks. `tier` is what it is to be within: a node, or
    /// a tier of which nothing is known in this cluster, so that no two nodes are sure to share a domain.
    OneNode {
        tier: Tier,
        most: u32,
        needed: u32,
    },
    /// It fits but for the nodes to hold back: so many could be.
    Spares {
        spares: u32,
        more: u32,
    },
    /// Groups of this kind have to be within one domain of a tier, and there is no way to do that for all.
    Groups {
        kind: String,
        tier: Tier,
    },
    /// Equal shares are not possible: the nodes that are there would take these.
    Uneven {
        shares: Vec<u32>,
    },
    /// The nodes have devices of several kinds, and none has enough.
    Unlike {
        kinds: Vec<String>,
    },
    Layout(LayoutError),
    /// Nobody told of this tier here, so that nothing is known to be within one of it, or to be apart.
    Unknown(UnknownTier),
}

impl From<UnknownTier> for Obstacle {
    fn from(unknown: UnknownTier) -> Obstacle {
        Obstacle::Unknown(unknown)
    }
}

/// Something that would let the gang in, said as a flag and as the key of a job file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It fits with so many ranks now.
    Ranks(u32),
    /// It fits with so many nodes now.
    Nodes(u32),
    /// It fits if it may run with so few ranks.
    Min(u32),
    /// It fits if this may be as far apart as the tier.
    Require { of: String, tier: Tier },
    /// It fits with unequal shares.
    Uneven,
    /// It fits on unlike nodes.
    Mixed,
    /// It fits with so many nodes held back.
    Spares(u32),
    /// It fits as soon as the other jobs have ended.
    Wait,
}

/// Why a node takes no rank, or not as many as it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    Unreachable,
    /// An operator or its failures keep new pods away: `cordoned by ann: …`, `quarantined: …`.
    Closed {
        why: String,
    },
    /// Every port of its range is held or was taken by somebody else.
    NoPort,
    /// It could not take a pod of this job before.
    Cannot {
        why: String,
    },
    /// Its worker is not privileged, and runs jobs of this user only.
    RunsOnly {
        user: String,
    },
    /// So many of its slots are free.
    Slots {
        free: u32,
        of: u32,
    },
    /// What is in it does not do.
    Lacks(Lack),
    /// It told nothing of its devices, cores and memory, and the job asks for some.
    Untold,
    /// It told nothing of its network ports, and the job asks for some.
    PortsUntold,
    /// It has not this label.
    Label {
        name: String,
        value: String,
    },
    /// The job names others.
    NotNamed,
    /// The job avoids it.
    Avoided,
    /// The job wants it for itself, and others are there.
    Shared,
    /// A job has it for itself.
    Held,
}

/// What kind of reason a refusal is, in the order in which people are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    /// The node does not do, whatever else runs on it.
    Lasting,
    /// It may do once something ends, comes back or is told.
    Passing,
    /// The job wants others.
    Chosen,
}

impl Refusal {
    /// The node does not do, whatever else runs on it.
    pub(crate) fn lasts(&self) -> bool {
        self.standing() == Standing::Lasting
    }

    fn standing(&self) -> Standing {
        match self {
            Refusal::Lacks(lack) if lack.is_for_ever() => Standing::Lasting,
            Refusal::Cannot { .. } | Refusal::RunsOnly { .. } => Standing::Lasting,
            Refusal::Label { .. } | Refusal::NotNamed | Refusal::Avoided => Standing::Chosen,
            Refusal::Unreachable
            | Refusal::Closed { .. }
            | Refusal::NoPort
            | Refusal::Slots { .. }
            | Refusal::Lacks(_)
            | Refusal::Untold
            | Refusal::PortsUntold
            | Refusal::Shared
            | Refusal::Held => Standing::Passing,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Unreachable => f.write_str("is unreachable"),
            Refusal::Closed { why } => write!(f, "is {why}"),
            Refusal::NoPort => f.write_str("has no free port"),
            Refusal::Cannot { why } => write!(f, "cannot take it: {why}"),
            Refusal::RunsOnly { user } => write!(f, "runs jobs of {user} only"),
            Refusal::Slots { free, of } => write!(f, "has {free} of {of} slots free"),
            Refusal::Lacks(lack) => write!(f, "{lack}"),
            Refusal::Untold => f.write_str("has not told of its devices, cores and memory (a file of its machine beside the network says it)"),
            Refusal::PortsUntold => f.write_str("has not told of its network ports"),
            Refusal::Label { name, value } => write!(f, "has not the label {name}={value}"),
            Refusal::NotNamed => f.write_str("is none of the nodes that the job names"),
            Refusal::Avoided => f.write_str("is to be avoided"),
            Refusal::Shared => f.write_str("has other jobs, and this one wants nodes of its own"),
            Refusal::Held => f.write_str("is all of another job's"),
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::TooFarApart { tier, domain, nodes, needed } => {
                let tier = tier.one();
                let named = if domain.is_empty() { String::new() } else { format!(", {domain},") };
                write!(
                    f,
                    "it needs {needed} nodes within one {tier}, and the largest {tier}{named} has {nodes} that can take a share"
                )
            }
            Obstacle::TooFewDomains { tier, domains, needed } => write!(
                f,
                "no two of its nodes may share a {}: it needs {needed} {}, and {domains} {} a node that can take a share",
                tier.one(),
                tier.several(),
                if *domains == 1 { "has" } else { "have" }
            ),
            Obstacle::OneNode { tier, most, needed } => {
                match tier {
                    Tier::Node => f.write_str("it has to be on one node")?,
                    tier => write!(
                        f,
                        "it has to be within one {}, and as nothing is known here of those, on one node",
                        tier.one()
                    )?,
                }
                write!(f, "; none has room for more than {most} of its {needed} ranks")
            }
            Obstacle::Spares { spares, more } => {
                let (s, do_not) = if *spares == 1 { ("", "does not") } else { ("s", "do not") };
                write!(f, "its ranks fit, and its {spares} spare{s} {do_not}: ")?;
                match more {
                    0 => f.write_str("no other node could take the share of one of its own"),
                    1 => f.write_str("only one other node can take a share"),
                    more => write!(f, "only {more} other nodes can take a share"),
                }
            }
            Obstacle::Groups { kind, tier } => {
                write!(f, "not every group of {kind} can be within one {}", tier.one())
            }
            Obstacle::Uneven { shares } => {
                let named: Vec<String> = shares.iter().take(SHARES).map(u32::to_string).collect();
                let more = if shares.len() > SHARES { " + …" } else { "" };
                let ranks = shares.iter().fold(0u32, |sum, share| sum.saturating_add(*share));
                write!(
                    f,
                    "its {ranks} ranks do not fit in equal shares, only in unequal ones such as {}{more}",
                    named.join(" + ")
                )
            }
            Obstacle::Unlike { kinds } => write!(f, "no one kind of device is enough: {}", kinds.join(", ")),
            Obstacle::Layout(error) => write!(f, "{error}"),
            Obstacle::Unknown(UnknownTier { of, tier, known }) => {
                write!(f, "no {} is known here", tier.one())?;
                if let Some(known) = known {
                    write!(f, " that holds several {}", known.several())?;
                }
                f.write_str(": state it with --topology")?;
                match (known, of.as_str()) {
                    (_, "spread") => Ok(()),
                    (Some(known), _) => write!(f, ", or require {known} or site for {of}"),
                    (None, _) => write!(f, ", or require site for {of}"),
                }
            }
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Ranks(1) => f.write_str("1 rank fits now"),
            Change::Ranks(ranks) => write!(f, "{ranks} ranks fit now"),
            Change::Nodes(nodes) => write!(f, "it fits with --nodes {nodes} (`nodes: {nodes}`)"),
            Change::Min(ranks) => write!(f, "it fits with `elastic: {{min: {ranks}}}`"),
            Change::Require { of, tier } => {
                let kind = if of == "all" { String::new() } else { format!("{of}=") };
                write!(f, "it fits with --require-tier {kind}{tier} (`require: {{{of}: {tier}}}`)")
            }
            Change::Uneven => f.write_str("it fits with --uneven (`uneven: true`)"),
            Change::Mixed => f.write_str("it fits with --mixed (`mixed: true`)"),
            Change::Spares(spares) => write!(f, "it fits with --spares {spares} (`spares: {spares}`)"),
            Change::Wait => f.write_str("it fits when other jobs have ended"),
        }
    }
}

impl NoFit {
    /// What is in the way in one sentence, without single nodes. What holds however many nodes there are comes first; numbers
    /// that would do stand there only where something else is in the way.
    pub fn headline(&self) -> String {
        let (counted, enough) = match self.needed {
            Shape::Nodes { nodes, ranks_per_node } => (
                format!(
                    "needs {nodes} node{} with {ranks_per_node} free slot{} each",
                    plural(nodes.into()),
                    plural(ranks_per_node.into())
                ),
                self.fitting >= nodes,
            ),
            Shape::Ranks(ranks) => {
                let counted = match self.is_tight() {
                    true => format!("needs room for {ranks} rank{}", plural(ranks.into())),
                    false => format!("needs {ranks} free slot{}", plural(ranks.into())),
                };
                (counted, self.fitting >= ranks)
            }
        };
        let there = match self.needed {
            Shape::Nodes { .. } => format!("{} can take it", self.fitting),
            Shape::Ranks(_) if self.is_tight() => format!("there is room for {}", self.fitting),
            Shape::Ranks(_) => format!("there are {}", self.fitting),
        };
        let why = match (&self.obstacle, enough) {
            (Some(obstacle), true) => obstacle.to_string(),
            (Some(obstacle), false) => format!("{obstacle}; {counted}, {there}"),
            (None, false) => format!("{counted}, {there}"),
            (None, true) => {
                format!("{counted}, and no way was found to have all of it on those that are there")
            }
        };
        match unknown(&self.strangers) {
            Some(unknown) => format!("{unknown}; {why}"),
            None => why,
        }
    }

    /// Whether nodes take fewer ranks than they have slots or devices for.
    fn is_tight(&self) -> bool {
        self.refused.values().any(|refusal| matches!(refusal, Refusal::Lacks(lack) if lack.fits > 0))
    }

    /// What single nodes lack, in the same line.
    pub(crate) fn nodes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        reasons::in_one_line(&self.refused, f)
    }
}

/// `no node is called gpu-7 (is gpu-07 meant?), rack`; `None` where all names are known.
pub fn unknown(strangers: &[Stranger]) -> Option<String> {
    let named: Vec<String> = strangers.iter().take(NAMES).map(ToString::to_string).collect();
    let more = match strangers.len().saturating_sub(NAMES) {
        0 => String::new(),
        more => format!(", nor by {more} more of these names"),
    };
    (!named.is_empty()).then(|| format!("no node is called {}{more}", named.join(", ")))
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.nearest.as_ref().map_or(Ok(()), |nearest| write!(f, " (is {nearest} meant?)"))
    }
}

impl fmt::Display for NoFit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.headline())?;
        self.nodes(f)
    }
}
