//! A cluster's topology as it is stored and sent: immutable, known by the hash of its content.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::derive::LIMITS;
use super::network::{Network, PortRef, Row, Said, Subject, Value};
use crate::hex;

/// Of the text form. A reader refuses another.
const VERSION: u32 = 1;
/// Fifty thousand nodes with ten ports each take some sixty megabytes.
pub const MAX_BYTES: usize = 256 << 20;

/// Beside the facts.
const NOTHING: Option<&serde_json::Value> = None;

/// SHA-256 of the content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hash(pub [u8; 32]);

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the snapshot has {bytes} bytes, and at most {limit} are read")]
    TooLarge { bytes: usize, limit: usize },
    #[error("the snapshot is not JSON of the form that this version writes: {0}")]
    Json(#[source] serde_json::Error),
    #[error("a machine's board cannot be written as JSON: {0}")]
    Board(#[source] serde_json::Error),
    #[error(
        "the snapshot has version {found}, and this program reads {VERSION}; write it again with this program"
    )]
    Version { found: u32 },
    #[error("the snapshot speaks of {what} that it does not have; it was cut or edited, write it again")]
    Row { what: &'static str },
    #[error("the snapshot has a control character at byte {at}, and names have none; write it again")]
    Control { at: usize },
    #[error("the snapshot's nodes are not in the order of their names; it was edited, write it again")]
    Order,
    #[error(
        "the snapshot's hash is {written}, and its content has {found}; it was cut or edited, write it again"
    )]
    Hash { written: String, found: Hash },
}

/// The networks of a cluster and what is on the boards of its machines. Machines that are alike share a
/// board `B`.
#[derive(Clone, Debug)]
pub struct Snapshot<B> {
    network: Network,
    boards: Vec<B>,
    /// For each node, its board.
    board_of: Vec<Option<Row>>,
    hash: Hash,
    /// For each group, its nodes.
    members: Vec<Vec<Row>>,
    switches: BTreeMap<String, Row>,
}

/// The text form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Written<N, B, R, S> {
    version: u32,
    /// Of the rest but what stands beside it, written with an empty hash and without lines of files.
    hash: String,
    network: N,
    boards: B,
    board_of: R,
    #[serde(skip_serializing_if = "Option::is_none")]
    beside: Option<S>,
}

impl<B: Clone + PartialEq + Serialize + DeserializeOwned> Snapshot<B> {
    /// `boards` by node name; those of nodes that the network does not have are left out.
    ///
    /// # Errors
    /// A board that JSON cannot express.
    pub fn new(network: Network, boards: &BTreeMap<String, B>) -> Result<Snapshot<B>, Error> {
        let mut distinct: Vec<B> = Vec::new();
        let board_of = network
            .nodes
            .iter()
            .map(|node| {
                let board = boards.get(&node.name)?;
                let known = distinct.iter().position(|known| known == board);
                let at = known.unwrap_or_else(|| {
                    distinct.push(board.clone());
                    distinct.len() - 1
                });
                Row::try_from(at).ok()
            })
            .collect();
        Snapshot::assemble(network, distinct, board_of)
    }

    fn assemble(network: Network, boards: Vec<B>, board_of: Vec<Option<Row>>) -> Result<Snapshot<B>, Error> {
        let text =
            written(&without_lines(&network), &boards, &board_of, "", NOTHING).map_err(Error::Board)?;
        let hash = Hash(Sha256::digest(&text).into());
        let mut members = vec![Vec::new(); network.groups.len()];
        for (node, row) in network.nodes.iter().zip(0..) {
            for group in node.places.iter().flat_map(|place| &place.groups) {
                members[*group as usize].push(row);
            }
        }
        let mut switches = BTreeMap::new();
        for (switch, row) in network.switches.iter().zip(0..) {
            switches.entry(switch.name.clone()).or_insert(row);
        }
        Ok(Snapshot { network, boards, board_of, hash, members, switches })
    }

    /// The text that [`Snapshot::from_json`] reads, on one line.
    pub fn to_json(&self) -> Vec<u8> {
        self.with(NOTHING)
    }

    /// The same with what was known beside the facts when it was written: JSON without control characters. The hash does
    /// not cover it: the same facts have the same one.
    pub fn to_json_with(&self, beside: &serde_json::Value) -> Vec<u8> {
        self.with(Some(beside))
    }

    fn with(&self, beside: Option<&serde_json::Value>) -> Vec<u8> {
        written(&self.network, &self.boards, &self.board_of, &self.hash.to_string(), beside)
            .expect("it could be written when its hash was made")
    }

    /// # Errors
    /// Too large a text, what is no snapshot of this version, rows that are not there, and a hash that is
    /// not that of the content.
    pub fn from_json(text: &[u8]) -> Result<Snapshot<B>, Error> {
        Ok(Snapshot::from_json_with::<IgnoredAny>(text)?.0)
    }

    /// With what stands beside the facts, if anything does.
    ///
    /// # Errors
    /// Those of [`Snapshot::from_json`], and what stands there is no `S`.
    pub fn from_json_with<S: DeserializeOwned>(text: &[u8]) -> Result<(Snapshot<B>, Option<S>), Error> {
        if text.len() > MAX_BYTES {
            return Err(Error::TooLarge { bytes: text.len(), limit: MAX_BYTES });
        }
        if let Some(at) = control(text) {
            return Err(Error::Control { at });
        }
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let Version { version } = serde_json::from_slice(text).map_err(Error::Json)?;
        if version != VERSION {
            return Err(Error::Version { found: version });
        }
        let read: Written<Network, Vec<B>, Vec<Option<Row>>, S> =
            serde_json::from_slice(text).map_err(Error::Json)?;
        check(&read.network)?;
        let boards = read.boards.len();
        if read.board_of.len() != read.network.nodes.len()
            || read.board_of.iter().flatten().any(|row| *row as usize >= boards)
        {
            return Err(Error::Row { what: "boards" });
        }
        let snapshot = Snapshot::assemble(read.network, read.boards, read.board_of)?;
        if snapshot.hash.to_string() != read.hash {
            return Err(Error::Hash { written: read.hash.chars().take(64).collect(), found: snapshot.hash });
        }
        Ok((snapshot, read.beside))
    }

    pub fn hash(&self) -> Hash {
        self.hash
    }

    pub fn network(&self) -> &Network {
        &self.network
    }

    pub fn board(&self, node: Row) -> Option<&B> {
        let row = (*self.board_of.get(node as usize)?)?;
        self.boards.get(row as usize)
    }

    /// The nodes of a group, in order.
    pub fn members(&self, group: Row) -> &[Row] {
        self.members.get(group as usize).map_or(&[], Vec::as_slice)
    }

    /// The first switch of that name.
    pub fn switch(&self, name: &str) -> Option<Row> {
        self.switches.get(name).copied()
    }
}

fn written<B: Serialize>(
    network: &Network,
    boards: &[B],
    board_of: &[Option<Row>],
    hash: &str,
    beside: Option<&serde_json::Value>,
) -> serde_json::Result<Vec<u8>> {
    let hash = hash.to_string();
    let whole = Written { version: VERSION, hash, network, boards, board_of, beside };
    serde_json::to_vec(&whole)
}

/// The facts without the lines of the files that state them: an empty line more above a statement is no other cluster.
fn without_lines(network: &Network) -> Cow<'_, Network> {
    let said = network.conflicts.iter().flat_map(|conflict| &conflict.claims);
    let mut said = said.chain(network.splits.iter().flat_map(|split| &split.said));
    let has_lines =
        said.any(|said| said.line.is_some()) || network.strays.iter().any(|stray| stray.line.is_some());
    if !has_lines {
        return Cow::Borrowed(network);
    }
    let strip = |said: &mut Vec<Said>| {
        let mut seen = BTreeSet::new();
        said.iter_mut().for_each(|said| said.line = None);
        said.retain(|said| seen.insert(said.clone()));
    };
    let mut facts = network.clone();
    facts.conflicts.iter_mut().for_each(|conflict| strip(&mut conflict.claims));
    facts.splits.iter_mut().for_each(|split| strip(&mut split.said));
    facts.strays.iter_mut().for_each(|stray| stray.line = None);
    // They are in the order of their lines.
    facts.strays.sort();
    Cow::Owned(facts)
}

/// Where JSON has a control character in a string: what is printed is no order to a terminal. Only DEL and those
/// of two bytes (U+0080 to U+009F) stand in JSON as they are.
fn control(json: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(byte) = json.get(at) {
        let rest = &json[at + 1..];
        let (is_control, length) = match (byte, rest) {
            (b'\\', [b'b' | b'f' | b'n' | b'r' | b't', ..]) => (true, 2),
            (b'\\', [b'u', b'0', b'0', high, low, ..]) => {
                let is_delete = *high == b'7' && low.eq_ignore_ascii_case(&b'f');
                (matches!(high, b'0' | b'1' | b'8' | b'9') || is_delete, 6)
            }
            // An escape of two bytes may be a backslash.
            (b'\\', _) => (false, 2),
            (0x7f, _) | (0xc2, [0x80..=0x9f, ..]) => (true, 1),
            _ => (false, 1),
        };
        if is_control {
            return Some(at);
        }
        at += length;
    }
    None
}

/// That every row is there, so that nobody has to ask again.
fn check(network: &Network) -> Result<(), Error> {
    let all = |what, count: usize, mut rows: Box<dyn Iterator<Item = Row> + '_>| {
        if rows.any(|row| row as usize >= count) { Err(Error::Row { what }) } else { Ok(()) }
    };
    let (nodes, switches) = (&network.nodes, &network.switches);
    if nodes.len() > LIMITS.nodes || switches.len() > LIMITS.switches {
        return Err(Error::Row { what: "more nodes or switches than a cluster has" });
    }
    if nodes.windows(2).any(|pair| pair[0].name >= pair[1].name) {
        return Err(Error::Order);
    }
    let ats = nodes.iter().flat_map(|node| &node.ports).filter_map(|port| port.at.as_ref());
    let link_rows = network.links.iter().flat_map(|link| [link.lower, link.upper]);
    let group_switches = network.groups.iter().flat_map(|group| group.switches.iter().copied());
    let said = network.conflicts.iter().flat_map(|conflict| &conflict.claims);
    let said = said.chain(network.splits.iter().flat_map(|split| &split.said));
    let said = said.filter_map(|said| if let Value::Switch(row) = said.value { Some(row) } else { None });
    let subjects = network.conflicts.iter().flat_map(|conflict| match conflict.subject {
        Subject::Link { a, b } => vec![a, b],
        Subject::Uplinks { switch } | Subject::Plane { switch } => vec![switch],
        _ => vec![],
    });
    let rows = ats
        .map(|at| at.switch)
        .chain(link_rows)
        .chain(group_switches)
        .chain(network.unjoined.iter().map(|unjoined| unjoined.switch))
        .chain(network.idle.iter().map(|idle| idle.switch))
        .chain(network.unseen.iter().flat_map(|unseen| unseen.switches.iter().copied()))
        .chain(network.splits.iter().flat_map(|split| split.leaves.iter().copied()))
        .chain(said)
        .chain(subjects);
    all("switches", switches.len(), Box::new(rows))?;

    let places = || nodes.iter().flat_map(|node| &node.places);
    let leaf_planes = network.conflicts.iter().filter_map(|conflict| match conflict.subject {
        Subject::Leaf { plane, .. } => Some(plane),
        _ => None,
    });
    let rows = places()
        .map(|place| place.plane)
        .chain(switches.iter().filter_map(|switch| switch.plane))
        .chain(network.groups.iter().map(|group| group.plane))
        .chain(network.main)
        .chain(network.cut.iter().flat_map(|cut| cut.planes.iter().copied()))
        .chain(leaf_planes);
    all("planes", network.planes.len(), Box::new(rows))?;

    let rows = places()
        .flat_map(|place| place.groups.iter().copied())
        .chain(switches.iter().filter_map(|switch| switch.group))
        .chain(network.groups.iter().filter_map(|group| group.parent));
    all("groups", network.groups.len(), Box::new(rows))?;
    // Towards the top only, so that every way up ends.
    let level = |row: Row| network.groups[row as usize].tier;
    if network.groups.iter().any(|group| group.parent.is_some_and(|parent| level(parent) <= group.tier)) {
        return Err(Error::Row { what: "groups above others" });
    }
    let domains = nodes.iter().filter_map(|node| node.nvlink).chain(network.nvlink_clusters.iter().copied());
    all("NVLink domains", network.nvlink.len(), Box::new(domains))?;

    let node_rows = network.conflicts.iter().filter_map(|conflict| match conflict.subject {
        Subject::Nvlink { node } | Subject::Leaf { node, .. } => Some(node),
        _ => None,
    });
    let node_rows = node_rows.chain(network.unseen.iter().flat_map(|unseen| unseen.nodes.iter().copied()));
    all("nodes", nodes.len(), Box::new(node_rows))?;
    let subjects = network.conflicts.iter().filter_map(|conflict| match conflict.subject {
        Subject::Port(at) | Subject::Rail(at) => Some(at),
        _ => None,
    });
    let ports: BTreeSet<PortRef> = subjects
        .chain(network.layer2.iter().flatten().copied())
        .chain(network.one_way.iter().flat_map(|one| [one.listener, one.speaker]))
        .chain(network.prefixes.iter().flat_map(|prefix| prefix.ports.iter().copied()))
        .collect();
    let there =
        |at: &PortRef| nodes.get(at.node as usize).is_some_and(|node| (at.port as usize) < node.ports.len());
    if ports.iter().all(there) { Ok(()) } else { Err(Error::Row { what: "ports" }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_found_however_json_writes_them() {
        for (json, at) in [
            (r#""a\u001b[2J""#, Some(2)),
            (r#""\n""#, Some(1)),
            (r#""\u007F""#, Some(1)),
            (r#""\u009b""#, Some(1)),
            ("\"\u{9b}\"", Some(1)),
            ("\"\u{7f}\"", Some(1)),
            (r#""\\n \\u001b \" \u00e9 \/ é""#, None),
            (r#""\"#, None),
        ] {
            assert_eq!(control(json.as_bytes()), at, "{json}");
        }
        type Plain = Snapshot<u32>;
        let node = super::super::network::Node { name: "n\u{1b}[2J".to_owned(), ..Default::default() };
        let network = Network { nodes: vec![node], ..Network::default() };
        let text = Plain::new(network, &BTreeMap::new()).unwrap().to_json();
        assert!(matches!(Plain::from_json(&text), Err(Error::Control { .. })));
    }
}
