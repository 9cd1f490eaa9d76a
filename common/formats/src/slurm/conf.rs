//! `topology.conf`.

use crate::hostlist::{self, expand};
use crate::outline::Outline;
use crate::size::{TooLarge, within};

/// Trees of fifty thousand nodes have a few megabytes.
pub const MAX_BYTES: usize = 32 << 20;
/// Names and pairs of names of one file.
pub(super) const MAX_PAIRS: usize = 200_000;

/// Why a file was not read. Lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfError {
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    #[error("line {line}: {source}")]
    Hostlist { line: usize, source: hostlist::Error },
    #[error("line {line}: expected SwitchName=, BlockName= or BlockSizes=, found {found}")]
    Line { line: usize, found: String },
    #[error("line {line}: the file names more than {limit} members")]
    TooMany { line: usize, limit: usize },
    #[error("the file has no line with SwitchName= or BlockName=; it is no topology.conf")]
    Nothing,
}

/// Reads the tree, the blocks or both. Keys are taken in any case, as Slurm takes them; sizes of blocks and
/// speeds of links are passed over.
///
/// # Errors
/// More than [`MAX_BYTES`], lines of another kind, and expressions that are none.
pub fn read_conf(bytes: &[u8]) -> Result<Outline, ConfError> {
    let bytes = within(bytes, MAX_BYTES)?;
    let text = String::from_utf8_lossy(bytes);
    let mut outline = Outline::default();
    let mut found = false;
    let mut members = 0;
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
        found |= take(&entry, line, &mut outline, &mut members)?;
    }
    if found { Ok(outline) } else { Err(ConfError::Nothing) }
}

/// Whether the line is of a switch or a block.
fn take(entry: &str, line: usize, outline: &mut Outline, members: &mut usize) -> Result<bool, ConfError> {
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
    *members += nodes.len() + switches.len();
    if *members > MAX_PAIRS {
        return Err(ConfError::TooMany { line, limit: MAX_PAIRS });
    }
    match (switch, block) {
        (Some(switch), _) => {
            outline.switches.insert(switch.to_string());
            outline.switches.extend(switches.iter().cloned());
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
