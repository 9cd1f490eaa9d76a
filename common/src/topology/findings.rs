//! What an operator should look at.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::derive::LIMITS;
use super::evidence::Source;
use super::machine;
use super::network::{Capacity, Reason};
use super::owners::Stray;
use super::port::Guid;
use super::tier::Tier;

/// Something that is not as it should be, or not as it seems.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    pub severity: Severity,
    /// The node, switch or group that it is about.
    pub subject: String,
    pub problem: Problem,
}

/// How much it matters, the most first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Jobs are slower, or placed by something that is not so.
    Warning,
    /// Worth knowing.
    Notice,
}

/// What was found, with what shows it. Rails count from 0.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Problem {
    /// Ports of a node are on each other's rails.
    SwappedRails { ports: Vec<OffRail> },
    /// A port is on the leaf of another rail.
    WrongRail { port: OffRail },
    /// A unit of a rail-optimised plane has no leaf for a rail that the other units have.
    MissingLeaf { rail: u16, leaves: Vec<String>, nodes: usize, units_with: usize, units: usize },
    /// A switch has fewer working cables towards the core than it should.
    LostUplinks { uplinks: Capacity, thin: Vec<Thin> },
    /// Several machines go by one name.
    DuplicateName { port: String, guids: Vec<Guid> },
    /// A name that machines have before they are given one.
    CommonName,
    /// A port hears a beacon, and is not heard by the port that sent it.
    OneWay { listener: String, speaker: String },
    /// Sources disagree.
    Conflict { about: String, claims: Vec<Stated>, reason: Reason },
    /// Adapters on the leaves of a unit that belong to no known node.
    Unjoined { adapters: Vec<Adapter> },
    /// A node's ports in a plane are not like those of most nodes of its group.
    Unlike { plane: String, has: Ports, usual: Ports, peers: usize },
    /// A node's ports in a plane are on leaves that otherwise serve different nodes.
    Divided { plane: String, groups: Vec<String> },
    /// Leaves of one network are in several planes, because of what is written of some of them: the first of them, with
    /// the subject at their head. `nodes` hang on them.
    SplitPlane { leaves: Vec<InPlane>, more: usize, nodes: u32, bonded: bool, said: Vec<Stated> },
    /// Several switches go by one name, so that a name alone says nothing.
    SwitchName { switches: usize },
    /// A node and a switch go by one name.
    NodeAndSwitch,
    /// A statement says that a switch belongs to a group, and no group comes from it.
    Idle { tier: Tier, group: String },
    /// Nodes or switches that a statement names and no other source knows: the first of them.
    Unseen { of: Named, names: Vec<Lone>, more: usize },
    /// GUIDs that a statement gives to ports of nodes and no port has: the first of them.
    StrayGuids { guids: Vec<Stray>, more: usize },
    /// Switches that are said to be above what is above them: the first of them.
    Ring { switches: Vec<String>, more: usize },
    /// A dump has less than the fabric: so many cables from one end only, so many devices by others' cables only.
    Cut { cables: u32, devices: u32 },
    /// Evidence had names that are too long, or control characters in them, and was not taken.
    Refused { pieces: u32 },
    /// A file of the operator's is wrong, and counts as it was before it was changed.
    NotTaken { why: String },
    /// The node's machine is not as it should be, or not like its peers.
    Machine(machine::Problem),
}

/// What names are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Named {
    Nodes,
    Switches,
}

/// A name that one source alone has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lone {
    pub name: String,
    /// The known name that it is most like, where it is like any.
    pub nearest: Option<String>,
}

/// A leaf and its plane.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InPlane {
    pub leaf: String,
    pub plane: String,
}

/// A port on another rail than its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OffRail {
    pub port: String,
    /// The rail of its place among the node's adapters.
    pub rail: u16,
    pub leaf: String,
    /// The rail of that leaf.
    pub on: u16,
}

/// A pair of switches with fewer cables than is usual.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thin {
    pub to: String,
    pub live: u32,
    pub usual: u32,
}

/// A claim of a conflict, in words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stated {
    pub source: Source,
    pub origin: String,
    /// In that file, where it is one that people write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    pub value: String,
}

/// An adapter without a node, by where it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adapter {
    pub switch: String,
    pub switch_port: Option<String>,
    pub guid: Option<Guid>,
    pub called: Option<String>,
}

/// How many ports a node has in a plane, and their speeds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ports {
    pub count: usize,
    /// Of those that tell, sorted. Megabits per second.
    pub speeds_mbps: Vec<u32>,
    pub down: usize,
}

impl Finding {
    /// What to do about it.
    pub fn advice(&self) -> &'static str {
        match &self.problem {
            Problem::SwappedRails { .. } => "swap the two cables, or their ends at the leaves",
            Problem::WrongRail { .. } => "move the cable to the leaf of its rail",
            Problem::MissingLeaf { .. } => {
                "look for a leaf that is down or was left out of the dump; these nodes do without the rail"
            }
            Problem::LostUplinks { .. } => "look at cables and transceivers of the ports that are down",
            Problem::DuplicateName { .. } => {
                "give each machine a name of its own; until then they are known only by their GUIDs"
            }
            Problem::CommonName => "give the machine a name of its own",
            Problem::OneWay { .. } => "look for multicast filters and for a receiver that is deaf",
            Problem::Conflict { .. } => "find out which is right, and correct the other or state it",
            Problem::Unjoined { .. } => {
                "start the worker on these machines, or state which node has which GUID"
            }
            Problem::Unlike { .. } => "compare the node's adapters and cables with its neighbours'",
            Problem::Divided { .. } => "look for a cable that goes to another unit's leaf",
            Problem::SplitPlane { .. } => {
                "state of all of these leaves what is stated of the first (`plane`, or what they are `under`); if they are networks of their own, state a `plane` of each"
            }
            Problem::SwitchName { .. } => "give each switch a name of its own",
            Problem::NodeAndSwitch => {
                "look which of the two it is: hosts that are cabled to each other hear one another as switches, and a list that a switch made of its neighbours makes a node of it"
            }
            Problem::Idle { .. } => {
                "state it of a leaf, or of a switch above that makes such a group; look for a misspelt name"
            }
            Problem::Unseen { of: Named::Nodes, .. } => {
                "correct the names that are misspelt; nodes that have not joined are known once they do"
            }
            Problem::Unseen { of: Named::Switches, .. } => {
                "correct the names that are misspelt; a switch that nothing but the statement can tell of is as it says"
            }
            Problem::StrayGuids { .. } => {
                "state the GUID of the port: `ibstat` calls it Port GUID, a dump has it in brackets behind the port; of a port that is down a dump has nothing"
            }
            Problem::Ring { .. } => "correct the file that says so: a tree has no rings",
            Problem::Cut { .. } => {
                "make the dump anew; what this one lacks proves nothing, and is not looked at"
            }
            Problem::Refused { .. } => {
                "look for a source with such names; what they are of is not in the topology"
            }
            Problem::NotTaken { .. } => {
                "correct it where the coordinator runs, which reads all files of --topology again once one changes"
            }
            Problem::Machine(problem) => problem.advice(),
        }
    }
}

impl fmt::Display for Finding {
    /// One sentence without a full stop; [`Finding::advice`] says what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = &self.subject;
        match &self.problem {
            Problem::SwappedRails { ports } => {
                let rails: Vec<String> = ports.iter().map(|port| port.rail.to_string()).collect();
                let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
                write!(f, "{subject}: rails {} are swapped: {}", rails.join(" and "), ports.join(", "))
            }
            Problem::WrongRail { port } => write!(f, "{subject}: a cable is on the wrong rail: {port}"),
            Problem::MissingLeaf { rail, leaves, nodes, units_with, units } => write!(
                f,
                "{subject}: no leaf for rail {rail}, which {units_with} of {units} units have; its {nodes} nodes have the leaves {}",
                leaves.join(", ")
            ),
            Problem::LostUplinks { uplinks, thin } => {
                write!(f, "{subject}: {uplinks} uplinks work")?;
                let thin: Vec<String> = thin
                    .iter()
                    .map(|thin| format!("{} of {} to {}", thin.live, thin.usual, thin.to))
                    .collect();
                if thin.is_empty() { Ok(()) } else { write!(f, " ({})", thin.join(", ")) }
            }
            Problem::DuplicateName { port, guids } => {
                write!(f, "{subject}: {} machines go by this name: {port} has the GUIDs", guids.len())?;
                guids.iter().try_for_each(|guid| write!(f, " {guid}"))
            }
            Problem::CommonName => write!(f, "{subject}: a name that machines have before they get one"),
            Problem::OneWay { listener, speaker } => {
                write!(f, "{listener} hears {speaker}, and is not heard by it")
            }
            Problem::Conflict { about, claims, reason } => {
                write!(f, "{subject}: sources disagree about {about}: ")?;
                for (claim, at) in claims.iter().zip(0..) {
                    let comma = if at == 0 { "" } else { ", " };
                    write!(f, "{comma}{} ({}) says {}", claim.source, claim.place(), claim.value)?;
                }
                write!(f, "; the first counts, {reason}")
            }
            Problem::Unjoined { adapters } => {
                let first = adapters.first();
                let named = first
                    .and_then(|adapter| adapter.called.as_deref())
                    .map(|called| format!(" (\"{called}\")"));
                let at = first
                    .map(|adapter| format!(", the first on {}{}", adapter.switch, named.unwrap_or_default()));
                let count = adapters.len();
                let (plural, belong) = if count == 1 { ("", "belongs") } else { ("s", "belong") };
                write!(
                    f,
                    "{subject}: {count} adapter{plural} {belong} to no known node{}",
                    at.unwrap_or_default()
                )
            }
            Problem::Unlike { plane, has, usual, peers } => {
                write!(f, "{subject}: has {has} in {plane}, where {peers} of its neighbours have {usual}")
            }
            Problem::Divided { plane, groups } => {
                write!(f, "{subject}: its ports in {plane} are in several units: {}", groups.join(", "))
            }
            Problem::SplitPlane { leaves, more, nodes, bonded, said } => {
                let hang = if *nodes == 1 { "node hangs" } else { "nodes hang" };
                let by = if *bonded { ", by bonds" } else { "" };
                write!(
                    f,
                    "{subject}: {nodes} {hang} on leaves of one network{by}, and what is written of some of them puts these into several planes: "
                )?;
                let leaves: Vec<String> = leaves.iter().map(ToString::to_string).collect();
                f.write_str(&leaves.join(", "))?;
                if *more > 0 {
                    write!(f, " and {more} more")?;
                }
                let Some(first) = said.first() else { return Ok(()) };
                write!(f, "; {} ({}) wrote of {}", first.source, first.place(), first.value)
            }
            Problem::NodeAndSwitch => write!(f, "{subject}: a node and a switch go by this name"),
            Problem::SwitchName { switches } => write!(f, "{subject}: {switches} switches go by this name"),
            Problem::Idle { tier, group } => {
                write!(f, "{subject}: nothing follows from the statement that its {tier} is {group}")
            }
            Problem::StrayGuids { guids, more } => {
                let plural = if guids.len() + more == 1 { "" } else { "s" };
                let guids: Vec<String> = guids.iter().map(ToString::to_string).collect();
                write!(f, "{subject}: no port has the GUID{plural} {}", guids.join(", "))?;
                if *more > 0 { write!(f, " and {more} more") } else { Ok(()) }
            }
            Problem::Ring { switches, more: 0 } if switches.len() == 1 => {
                write!(f, "{subject}: it is said to be under itself, or to be its own member")
            }
            Problem::Ring { switches, more } => {
                write!(f, "{subject}: switches are above what is above them: {}", switches.join(", "))?;
                if *more > 0 { write!(f, " and {more} more") } else { Ok(()) }
            }
            Problem::Cut { cables, devices } => {
                let parts = [
                    (*cables, "cable is seen from one end only", "cables are seen from one end only"),
                    (*devices, "device has no record of its own", "devices have no record of their own"),
                ];
                let told = parts.iter().filter(|(count, ..)| *count > 0);
                let told: Vec<String> = told
                    .map(|(count, one, more)| format!("{count} {}", if *count == 1 { one } else { more }))
                    .collect();
                write!(f, "{subject}: the dump was cut, or changed while it was taken: {}", told.join(", "))
            }
            Problem::Refused { pieces } => {
                let (plural, have) = if *pieces == 1 { ("", "has") } else { ("s", "have") };
                write!(
                    f,
                    "{pieces} piece{plural} of evidence {have} a name of more than {} bytes, or one with control characters, and {have} not been taken",
                    LIMITS.name
                )
            }
            Problem::Unseen { of, names, more } => {
                let (one, several) = match of {
                    Named::Nodes => ("node", "nodes"),
                    Named::Switches => ("switch", "switches"),
                };
                let what = if names.len() + more == 1 { one } else { several };
                let names: Vec<String> = names.iter().map(ToString::to_string).collect();
                write!(f, "{subject}: no other source knows the {what} {}", names.join(", "))?;
                if *more > 0 { write!(f, " and {more} more") } else { Ok(()) }
            }
            Problem::NotTaken { why } => write!(
                f,
                "{subject}: it is not in force, and what all files of --topology said before counts: {why}"
            ),
            Problem::Machine(problem) => write!(f, "{subject}: {problem}"),
        }
    }
}

impl Stated {
    /// The file, service or port that says it, with the line.
    pub fn place(&self) -> String {
        let line = self.line.map_or(String::new(), |line| format!(", line {line}"));
        format!("{}{line}", self.origin)
    }
}

impl fmt::Display for InPlane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.leaf, self.plane)
    }
}

impl fmt::Display for Lone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.nearest.as_ref().map_or(Ok(()), |nearest| write!(f, " (is {nearest} meant?)"))
    }
}

impl fmt::Display for Stray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, stated of {}", self.guid, self.of)?;
        self.line.map_or(Ok(()), |line| write!(f, " in line {line}"))?;
        let ports: Vec<String> = self.of_adapter.iter().map(ToString::to_string).collect();
        match (self.nearest, &ports[..]) {
            (_, [port]) => write!(f, " (it is an adapter's, and its port {port} is stated too)"),
            (_, [_, ..]) => write!(f, " (it is an adapter's, which has the ports {})", ports.join(" and ")),
            (Some(nearest), []) => write!(f, " (is {nearest} meant?)"),
            (None, []) => Ok(()),
        }
    }
}

impl fmt::Display for OffRail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (rail {}) is on {} (rail {})", self.port, self.rail, self.leaf, self.on)
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} port{}", self.count, if self.count == 1 { "" } else { "s" })?;
        if let (Some(slowest), Some(fastest)) = (self.speeds_mbps.first(), self.speeds_mbps.last()) {
            let giga = |mbps: u32| f64::from(mbps) / 1000.0;
            match slowest == fastest {
                true => write!(f, " of {}G", giga(*fastest))?,
                false => write!(f, " of {}G to {}G", giga(*slowest), giga(*fastest))?,
            }
        }
        if self.down > 0 { write!(f, ", {} down", self.down) } else { Ok(()) }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Rank => "for its source ranks higher",
            Reason::Confidence => "for it is surer",
            Reason::Newest => "for it is newer",
            Reason::Order => "for nothing tells them apart",
            Reason::Itself => "for it is said of the node itself",
        })
    }
}
