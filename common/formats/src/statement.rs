//! The operator's own file: what stands against whatever else is heard.
//!
//! ```
//! # use phalanx_common::time::Timestamp;
//! # let text = b"
//! nodes:
//!   n1: {leaf: leaf-1, block: b1}              # known to be there
//!   \"n[02-04]\": {leaf: leaf-2, nvlink: rack7}  # a hostlist, as Slurm has it
//!   n5:
//!     ports:
//!       mlx5_0: {switch: leaf-1, port: \"17\", rail: 0}
//! switches:
//!   leaf-1: {uplinks: 18, under: [spine-1, spine-2], block: b1}
//!   leaf-2: {plane: compute}
//! adapters:                                    # whose port a GUID is
//!   e09d730300156ff6: {node: n7, port: mlx5_0}
//! # ";
//! let evidence = phalanx_formats::statement::read(text, "site.yaml", Timestamp(0))?;
//! # assert_eq!(evidence.len(), 16);
//! # Ok::<(), phalanx_formats::statement::Error>(())
//! ```
//!
//! Nodes and switches may also say `core` and `site`. What a switch says, leaf or above, is so for the nodes below
//! it; what a node says stands for it alone, and what is above the group that it names comes from that group. A
//! statement from which nothing follows is a finding. Keys that are not known are errors: a misspelt
//! statement would silently be none.

use phalanx_common::text::nearest;
use phalanx_common::time::Timestamp;
use phalanx_common::topology::{Claim, End, Evidence, Guid, Member, Source, SwitchId, Tier};
use phalanx_common::yaml::{self, Bounds, Key, Node, Span};

use crate::MAX_YAML_BYTES;
use crate::hostlist::{self, expand};

/// At the top level.
pub(crate) const KEYS: [&str; 3] = ["nodes", "switches", "adapters"];
/// Four for each node that a cluster may have.
const MAX_CLAIMS: usize = 200_000;

/// Why a file was not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Yaml(#[from] yaml::Error),
    #[error("line {line}, column {column}: {problem}")]
    At { line: u32, column: u32, problem: Problem },
    #[error("the file is empty; it should have nodes, switches or adapters")]
    Empty,
}

/// What is wrong at a place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error(
        "\"{found}\" is no key here{}; known are {}",
        nearest.map_or(String::new(), |nearest| format!(" (is {nearest} meant?)")),
        known.join(", ")
    )]
    Key { found: String, nearest: Option<&'static str>, known: &'static [&'static str] },
    #[error("expected {expected}")]
    Expected { expected: &'static str },
    #[error(transparent)]
    Hostlist(#[from] hostlist::Error),
    #[error("the file states more than {MAX_CLAIMS} things")]
    TooMany,
}

/// Reads the file. Its statements do not expire.
///
/// # Errors
/// What is no YAML, keys that are not known, and values of another kind.
pub fn read(bytes: &[u8], origin: &str, at: Timestamp) -> Result<Vec<Evidence>, Error> {
    let roots = yaml::read(bytes, &Bounds { bytes: MAX_YAML_BYTES, depth: 8, documents: 1 })?;
    let root = roots.first().ok_or(Error::Empty)?;
    let (mut stated, mut named) = (Vec::new(), 0);
    for (key, value) in mapping(root)? {
        match key.text.as_str() {
            "nodes" => each(value, &mut named, &mut stated, node)?,
            "switches" => each(value, &mut named, &mut stated, switch)?,
            "adapters" => each(value, &mut named, &mut stated, adapter)?,
            _ => return Err(unknown(key, &KEYS)),
        }
    }
    let evidence = |(claim, line)| {
        let line = Some(line);
        Evidence { line, ..Evidence::new(claim, Source::Operator, origin, at) }
    };
    Ok(stated.into_iter().map(evidence).collect())
}

type Claims = Vec<Claim>;

/// For every name of the mapping, which may be a hostlist. Each claim comes with the line of the name.
fn each(
    of: &Node,
    named: &mut usize,
    stated: &mut Vec<(Claim, u32)>,
    take: fn(&str, &Key, &Node, &mut Claims) -> Result<(), Error>,
) -> Result<(), Error> {
    for (key, value) in mapping(of)? {
        let names = expand(&key.text).map_err(|error| wrong(key.span, error.into()))?;
        *named += names.len();
        if *named > MAX_CLAIMS {
            return Err(wrong(key.span, Problem::TooMany));
        }
        for name in names {
            let mut claims = Claims::new();
            take(&name, key, value, &mut claims)?;
            stated.extend(claims.into_iter().map(|claim| (claim, key.span.line)));
            if stated.len() > MAX_CLAIMS {
                return Err(wrong(key.span, Problem::TooMany));
            }
        }
    }
    Ok(())
}

fn node(name: &str, _: &Key, of: &Node, claims: &mut Claims) -> Result<(), Error> {
    for (key, value) in mapping(of)? {
        match key.text.as_str() {
            "leaf" => claims.push(Claim::Attached {
                end: End::of_node(name),
                switch: SwitchId::named(text(value)?),
                switch_port: None,
                speed_mbps: None,
            }),
            "nvlink" => {
                claims.push(Claim::Nvlink { node: name.to_string(), domain: text(value)?.to_string() })
            }
            "ports" => {
                for (port, of) in mapping(value)? {
                    ports(name, &port.text, of, claims)?;
                }
            }
            tier => {
                let known = &["leaf", "block", "core", "site", "nvlink", "ports"];
                let tier = group_tier(tier).ok_or_else(|| unknown(key, known))?;
                let member = Member::Node(name.to_string());
                claims.push(Claim::Member { member, tier, group: text(value)?.to_string() });
            }
        }
    }
    Ok(())
}

fn ports(node: &str, port: &str, of: &Node, claims: &mut Claims) -> Result<(), Error> {
    let end = || End::of_port(node, port);
    let mut switch_port = None;
    let mut on = None;
    for (key, value) in mapping(of)? {
        match key.text.as_str() {
            "switch" => on = Some(text(value)?),
            "port" => switch_port = Some(text(value)?.to_string()),
            "rail" => {
                claims.push(Claim::Rail { end: end(), rail: number(value, "a number from 0 to 65535")? })
            }
            _ => return Err(unknown(key, &["switch", "port", "rail"])),
        }
    }
    claims.extend(on.map(|on| Claim::Attached {
        end: end(),
        switch: SwitchId::named(on),
        switch_port,
        speed_mbps: None,
    }));
    Ok(())
}

fn switch(name: &str, _: &Key, of: &Node, claims: &mut Claims) -> Result<(), Error> {
    let id = || SwitchId::named(name);
    for (key, value) in mapping(of)? {
        match key.text.as_str() {
            "uplinks" => claims.push(Claim::ExpectedUplinks {
                switch: id(),
                links: number(value, "a number from 0 to 4294967295")?,
            }),
            "plane" => claims.push(Claim::Plane { switch: id(), plane: text(value)?.to_string() }),
            "under" => {
                for upper in value.items().unwrap_or(std::slice::from_ref(value)) {
                    claims.push(Claim::Under { lower: id(), upper: SwitchId::named(text(upper)?) });
                }
            }
            tier => {
                let known = &["uplinks", "plane", "under", "leaf", "block", "core", "site"];
                let tier = Tier::named(tier).filter(|tier| Tier::OF_SWITCHES.contains(tier));
                let tier = tier.ok_or_else(|| unknown(key, known))?;
                claims.push(Claim::Member {
                    member: Member::Switch(id()),
                    tier,
                    group: text(value)?.to_string(),
                });
            }
        }
    }
    Ok(())
}

fn adapter(guid: &str, key: &Key, of: &Node, claims: &mut Claims) -> Result<(), Error> {
    let expected = Problem::Expected { expected: "a GUID of up to 16 hexadecimal digits" };
    let guid: Guid = guid.parse().map_err(|_| wrong(key.span, expected))?;
    let (mut node, mut port) = (None, None);
    for (key, value) in mapping(of)? {
        match key.text.as_str() {
            "node" => node = Some(text(value)?.to_string()),
            "port" => port = Some(text(value)?.to_string()),
            _ => return Err(unknown(key, &["node", "port"])),
        }
    }
    let both = node.zip(port);
    let (node, port) =
        both.ok_or_else(|| wrong(key.span, Problem::Expected { expected: "a node and a port" }))?;
    claims.push(Claim::Owner { guid, node, port });
    Ok(())
}

fn group_tier(name: &str) -> Option<Tier> {
    Tier::named(name).filter(|tier| [Tier::Block, Tier::Core, Tier::Site].contains(tier))
}

fn mapping(of: &Node) -> Result<&[(Key, Node)], Error> {
    of.entries().ok_or_else(|| wrong(of.span, Problem::Expected { expected: "a mapping" }))
}

fn text(of: &Node) -> Result<&str, Error> {
    of.text().ok_or_else(|| wrong(of.span, Problem::Expected { expected: "a name" }))
}

fn number<T: std::str::FromStr>(of: &Node, expected: &'static str) -> Result<T, Error> {
    let number = of.text().and_then(|text| text.parse().ok());
    number.ok_or_else(|| wrong(of.span, Problem::Expected { expected }))
}

fn unknown(key: &Key, known: &'static [&'static str]) -> Error {
    let (found, nearest) = (key.text.chars().take(40).collect(), nearest(&key.text, known));
    wrong(key.span, Problem::Key { found, nearest, known })
}

fn wrong(span: Span, problem: Problem) -> Error {
    Error::At { line: span.line, column: span.column, problem }
}
