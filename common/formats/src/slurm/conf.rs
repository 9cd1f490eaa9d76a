//! `topology.conf`.

use std::collections::BTreeMap;

use phalanx_common::text::shown;

use crate::hostlist::{self, expand};
use crate::outline::Outline;
use crate::size::{TooLarge, within};
use crate::text::{NotUtf8, utf8};

/// Trees of fifty thousand nodes have a few megabytes.
pub const MAX_BYTES: usize = 32 << 20;
/// Names and pairs of names of one file.
pub(super) const MAX_PAIRS: usize = 200_000;

/// Why a file was not read. Lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfError {
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    #[error(transparent)]
    NotUtf8(#[from] NotUtf8),
    #[error("line {line}: {source}")]
    Hostlist { line: usize, source: hostlist::Error },
    #[error("line {line}: expected SwitchName=, BlockName= or BlockSizes=, found {found}")]
    Line { line: usize, found: String },
    #[error("line {line}: the switch {} is defined a second time; the first is in line {first}", shown(name))]
    Twice { line: usize, name: String, first: usize },
    #[error(
        "line {line}: {} is below {}, and no line defines it with SwitchName=; it is misspelt, or the file was cut",
        shown(child),
        shown(name)
    )]
    Undefined { line: usize, name: String, child: String },
    #[error("line {line}: the file names more than {limit} members")]
    TooMany { line: usize, limit: usize },
    #[error("the file has no line with SwitchName= or BlockName=; it is no topology.conf")]
    Nothing,
}

/// Reads the tree, the blocks or both. Keys are taken in any case, as Slurm takes them; sizes of blocks and
/// speeds of links are passed over.
///
/// # Errors
/// More than [`MAX_BYTES`], what is no UTF-8, lines of another kind, and expressions that are none.
pub fn read_conf(bytes: &[u8]) -> Result<Outline, ConfError> {
    let bytes = within(bytes, MAX_BYTES)?;
    let text = utf8(bytes)?;
    let mut outline = Outline::default();
    let mut found = false;
    let mut seen = Seen::default();
    // Lines that end with a backslash go on.
    let mut whole = String::new();
    let end = text.lines().count();
    for (text, line) in text.lines().zip(1..) {
        let text = text.split('#').next().unwrap_or_default().trim_end();
        let goes_on = text.strip_suffix('\\');
        whole.push_str(goes_on.unwrap_or(text));
        if goes_on.is_some() && line < end {
            whole.push(' ');
            continue;
        }
        let entry = std::mem::take(&mut whole);
        if entry.trim().is_empty() {
            continue;
        }
        found |= take(&entry, line, &mut outline, &mut seen)?;
    }
    if let Some((child, (name, line))) =
        seen.children.iter().find(|(child, _)| !seen.lines.contains_key(*child))
    {
        let (line, name, child) = (*line, name.clone(), child.clone());
        return Err(ConfError::Undefined { line, name, child });
    }
    if found { Ok(outline) } else { Err(ConfError::Nothing) }
}

/// What was read so far.
#[derive(Default)]
struct Seen {
    members: usize,
    /// Where each switch is defined.
    lines: BTreeMap<String, usize>,
    /// The switch that each is below first, and where that is said.
    children: BTreeMap<String, (String, usize)>,
}

/// Whether the line is of a switch or a block.
fn take(entry: &str, line: usize, outline: &mut Outline, seen: &mut Seen) -> Result<bool, ConfError> {
    let hostlist = |source| ConfError::Hostlist { line, source };
    let (mut switch, mut block, mut nodes, mut switches, mut other) = (None, None, "", "", false);
    for word in entry.split_whitespace() {
        let wrong = || ConfError::Line { line, found: word.chars().take(40).collect() };
        let (key, value) = word.split_once('=').ok_or_else(wrong)?;
        match key.to_ascii_lowercase().as_str() {
            "switchname" => switch = Some(value),
            "blockname" => block = Some(value),
            "nodes" => nodes = value,
            "switches" => switches = value,
            "blocksizes" | "linkspeed" => other = true,
            _ => return Err(wrong()),
        }
    }
    let nodes = expand(nodes).map_err(hostlist)?;
    let switches = expand(switches).map_err(hostlist)?;
    seen.members += nodes.len() + switches.len();
    if seen.members > MAX_PAIRS {
        return Err(ConfError::TooMany { line, limit: MAX_PAIRS });
    }
    match (switch, block) {
        (Some(switch), _) => {
            if let Some(first) = seen.lines.insert(switch.to_string(), line) {
                return Err(ConfError::Twice { line, name: switch.to_string(), first });
            }
            for child in &switches {
                seen.children.entry(child.clone()).or_insert_with(|| (switch.to_string(), line));
            }
            outline.switches.insert(switch.to_string());
            outline.under.extend(switches.into_iter().map(|lower| (lower, switch.to_string())));
            outline.nodes.extend(nodes.into_iter().map(|node| (node, switch.to_string())));
            Ok(true)
        }
        (None, Some(block)) => {
            outline.blocks.extend(nodes.into_iter().map(|node| (node, block.to_string())));
            Ok(true)
        }
        (None, None) if other => Ok(false),
        (None, None) => Err(ConfError::Line { line, found: entry.trim().chars().take(40).collect() }),
    }
}
